package cpu

import (
	"fmt"

	"leolm/device"
	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// A chunk has as many rows as keep its logits below lossLogits (64 MiB), and at least lossRows.
const (
	lossLogits = 1 << 24
	lossRows   = 128
)

// LossRows is the number of rows whose logits over a vocabulary exist at one time.
func LossRows(vocab int) int { return max(lossRows, lossLogits/vocab) }

// LinearCrossEntropy implements device.Ops.
func (d *Device) LinearCrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) device.CrossEntropy {
	ce, _ := d.crossEntropy(mat(hidden), of(w), targets, weights, vocab, nil, false, false)
	return ce.CrossEntropy
}

// LinearCrossEntropyGrad implements device.Derivatives.
func (d *Device) LinearCrossEntropyGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, needHidden bool) (device.CrossEntropy, *device.Tensor) {
	ce, dh := d.crossEntropy(mat(hidden), of(w), targets, weights, vocab, nil, true, needHidden)
	if dh == nil {
		return ce.CrossEntropy, nil
	}
	return ce.CrossEntropy, &dh.Tensor
}

// LinearDistillGrad implements device.Derivatives.
func (d *Device) LinearDistillGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, needHidden bool) (device.Distillation, *device.Tensor) {
	if teacher.Hidden.Rows != hidden.Rows {
		panic(fmt.Sprintf("device: hidden states of %d and %d rows", hidden.Rows, teacher.Hidden.Rows))
	}
	loss, dh := d.crossEntropy(mat(hidden), of(w), targets, weights, vocab, teacher, true, needHidden)
	if dh == nil {
		return loss, nil
	}
	return loss, &dh.Tensor
}

// crossEntropy works through the rows that count, LossRows at a time: logits,
// log-sum-exp and, if wanted, the gradient of the logits in the same memory,
// from which those of hidden and w follow at once. A teacher's logits come a chunk at a time, too.
func (d *Device) crossEntropy(hidden *matrix, c *weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, grads, needHidden bool) (device.Distillation, *matrix) {
	if len(targets) != hidden.Rows || weights != nil && len(weights) != hidden.Rows {
		panic(fmt.Sprintf("device: %d targets and %d weights for %d rows", len(targets), len(weights), hidden.Rows))
	}
	if vocab == 0 {
		vocab = c.rows
	}
	ce := device.Distillation{CrossEntropy: device.CrossEntropy{LogProbs: make([]float32, hidden.Rows)}}
	var divergences []float64
	if teacher != nil {
		divergences = make([]float64, hidden.Rows)
	}
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
		var q *matrix // the teacher's
		if teacher != nil {
			tx := d.gather(mat(teacher.Hidden), part)
			q = mat(d.Linear(&tx.Tensor, teacher.Head))
			d.free(tx)
		}
		if grads && d.compute == tensor.BF16 {
			y.h = d.take16(len(part) * n)
		}
		d.rows(len(part), n, func(lo, hi int) {
			var dist distiller
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
				if teacher == nil {
					vec.CrossEntropyBackward(row, row, lse, int(t), weight)
				} else {
					divergences[r] = dist.backward(row, q.f32[i*q.Cols:i*q.Cols+min(vocab, teacher.Vocab)], lse, int(t), weight, teacher)
				}
				clear(y.f32[i*n+vocab : (i+1)*n])
				if y.h != nil { // while the row is in cache
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
		if q != nil {
			d.free(q)
		}
	}
	for i, lp := range ce.LogProbs {
		if weights == nil {
			ce.Loss -= float64(lp)
		} else if weights[i] != 0 {
			ce.Loss -= float64(weights[i]) * float64(lp)
		}
	}
	for i, kl := range divergences {
		if weights == nil {
			ce.Divergence += kl
		} else {
			ce.Divergence += float64(weights[i]) * kl
		}
	}
	return ce, dh
}

// distiller is the room that the rows of a worker take.
type distiller struct{ soft, p []float32 }

// backward turns the logits y of a row, whose log-sum-exp is lse, into their derivative
// weight·(α·(softmax(y) − onehot) + (1−α)·T·(softmax(y/T) − softmax(q/T))) and returns KL(softmax(q/T) ‖ softmax(y/T)). q,
// the teacher's logits of the leading columns, is overwritten.
func (b *distiller) backward(y, q []float32, lse float32, target int, weight float32, t *device.Teacher) float64 {
	if b.p == nil {
		b.soft, b.p = make([]float32, len(y)), make([]float32, len(q))
	}
	vec.Scale(q, q, 1/t.Temperature)
	vec.Scale(b.soft, y, 1/t.Temperature)
	lseT, lseQ := vec.LogSumExp(b.soft), vec.LogSumExp(q)
	vec.ExpSum(b.p, q, lseQ)
	var kl float64
	for i, p := range b.p {
		kl += float64(p) * (float64(q[i]-lseQ) - float64(b.soft[i]-lseT))
	}
	vec.ExpSum(b.soft, b.soft, lseT)
	vec.CrossEntropyBackward(y, y, lse, target, t.Alpha*weight)
	even := (1 - t.Alpha) * t.Temperature * weight
	vec.Axpy(y, even, b.soft)
	vec.Axpy(y[:len(q)], -even, b.p)
	return kl
}
