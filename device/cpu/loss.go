package cpu

import (
	"fmt"

	"leolm/device"
	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// lossLogits bounds the logits that exist at one time (64 MiB), lossRows the rows from below.
const (
	lossLogits = 1 << 24
	lossRows   = 128
)

// LossRows is the number of rows whose logits over a vocabulary exist at one time.
func LossRows(vocab int) int { return max(lossRows, lossLogits/vocab) }

// LinearCrossEntropy implements device.Ops.
func (d *Device) LinearCrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) device.CrossEntropy {
	ce, _ := d.crossEntropy(mat(hidden), of(w), targets, weights, vocab, false, false)
	return ce
}

// LinearCrossEntropyGrad implements device.Derivatives.
func (d *Device) LinearCrossEntropyGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, needHidden bool) (device.CrossEntropy, *device.Tensor) {
	ce, dh := d.crossEntropy(mat(hidden), of(w), targets, weights, vocab, true, needHidden)
	if dh == nil {
		return ce, nil
	}
	return ce, &dh.Tensor
}

// crossEntropy works through the rows that count, lossRows at a time: logits,
// log-sum-exp and, if wanted, the gradient of the logits in the same memory,
// from which those of hidden and w follow at once.
func (d *Device) crossEntropy(hidden *matrix, c *weight, targets []int32, weights []float32, vocab int, grads, needHidden bool) (device.CrossEntropy, *matrix) {
	if len(targets) != hidden.Rows || weights != nil && len(weights) != hidden.Rows {
		panic(fmt.Sprintf("device: %d targets and %d weights for %d rows", len(targets), len(weights), hidden.Rows))
	}
	if vocab == 0 {
		vocab = c.rows
	}
	ce := device.CrossEntropy{LogProbs: make([]float32, hidden.Rows)}
	var dh *matrix
	if grads && needHidden {
		dh = d.alloc(hidden.Rows, hidden.Cols)
		clear(dh.f32)
	}
	var rows []int32
	for i := range targets {
		if weights == nil || weights[i] != 0 {
			rows = append(rows, int32(i))
		}
	}
	trainable := grads && c.grad != nil
	n := c.rows
	chunk := LossRows(n)
	if c.vec != nil && len(rows) > 0 {
		d.packForward(&d.head, c)
	}
	if dh != nil && len(rows) > 0 {
		d.packBackward(&d.headBack, c)
	}
	for len(rows) > 0 {
		part := rows[:min(chunk, len(rows))]
		rows = rows[len(part):]
		x := d.gather(hidden, part)
		var y *matrix
		if c.vec != nil {
			y = d.alloc(x.Rows, n)
			d.multiply(y.f32, x.Rows, x, x.Cols, 1, &d.head, false)
		} else {
			y = mat(d.Linear(&x.Tensor, c))
		}
		if grads && d.compute == tensor.BF16 {
			y.h = d.take16(len(part) * n)
		}
		d.rows(len(part), n, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				r, t := part[i], targets[part[i]]
				row := y.f32[i*n : i*n+vocab]
				lse := vec.LogSumExp(row)
				ce.LogProbs[r] = row[t] - lse
				if !grads {
					continue
				}
				weight := float32(1)
				if weights != nil {
					weight = weights[r]
				}
				vec.CrossEntropyBackward(row, row, lse, int(t), weight)
				clear(y.f32[i*n+vocab : (i+1)*n])
				if y.h != nil { // while the row is near
					narrowBF16(y.h[i*n:(i+1)*n], y.f32[i*n:(i+1)*n])
				}
			}
		})
		if dh != nil {
			dx := d.gradInput(y, &d.headBack, nil)
			for i, r := range part {
				copy(dh.f32[int(r)*dh.Cols:(int(r)+1)*dh.Cols], dx.f32[i*dx.Cols:])
			}
			d.free(dx)
		}
		if trainable {
			d.gradWeight(x, y, c)
		}
		d.free(x)
		d.free(y)
	}
	for i, lp := range ce.LogProbs {
		if weights == nil {
			ce.Loss -= float64(lp)
		} else if weights[i] != 0 {
			ce.Loss -= float64(weights[i]) * float64(lp)
		}
	}
	return ce, dh
}
