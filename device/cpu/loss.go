package cpu

import (
	"fmt"
	"slices"

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
func (d *Device) LinearCrossEntropyGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, needHidden bool) (func() device.CrossEntropy, *device.Tensor) {
	ce, dh := d.crossEntropy(mat(hidden), of(w), targets, weights, vocab, nil, true, needHidden)
	loss := func() device.CrossEntropy { return ce.CrossEntropy }
	if dh == nil {
		return loss, nil
	}
	return loss, &dh.Tensor
}

// LinearDistillGrad implements device.Derivatives.
func (d *Device) LinearDistillGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, needHidden bool) (func() device.Distillation, *device.Tensor) {
	if teacher.Hidden.Rows != hidden.Rows {
		panic(fmt.Sprintf("device: hidden states of %d and %d rows", hidden.Rows, teacher.Hidden.Rows))
	}
	found, dh := d.crossEntropy(mat(hidden), of(w), targets, weights, vocab, teacher, true, needHidden)
	loss := func() device.Distillation { return found }
	if dh == nil {
		return loss, nil
	}
	return loss, &dh.Tensor
}

// crossEntropy works through the rows that count, LossRows at a time: logits,
// log-sum-exp and, if wanted, the gradient of the logits in the same memory,
// from which those of hidden and w follow at once. A teacher's logits come a chunk at a time, too.
func (d *Device) crossEntropy(hidden *matrix, c *weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, grads, needHidden bool) (device.Distillation, *matrix) {
	l := headLoss{Device: d, Head: device.NewHead(hidden.Rows, c.rows, targets, weights, vocab), w: c, teacher: teacher, grads: grads}
	if teacher != nil {
		l.Divergences = make([]float64, hidden.Rows)
	}
	var dh *matrix
	if grads && needHidden {
		dh = d.alloc(hidden.Rows, hidden.Cols)
		clear(dh.f32)
	}
	rows := l.Counted()
	if c.vec != nil && len(rows) > 0 {
		d.packForward(&d.head, c)
	}
	if dh != nil && len(rows) > 0 {
		d.packBackward(&d.headBack, c)
	}
	for part := range slices.Chunk(rows, LossRows(c.rows)) {
		x := d.gather(hidden, part)
		y, q := l.logits(x), l.teacherLogits(part)
		l.score(part, y, q)
		if dh != nil {
			dx := d.gradInput(y, &d.headBack, nil)
			for i, r := range part {
				copy(dh.f32[int(r)*dh.Cols:(int(r)+1)*dh.Cols], dx.f32[i*dx.Cols:])
			}
			d.free(dx)
		}
		if grads && c.trains {
			d.gradWeight(x, y, c)
		}
		d.free(x)
		d.free(y)
		if q != nil {
			d.free(q)
		}
	}
	return l.Sum(), dh
}

// headLoss is one pass of the output head: what all chunks share, and what they find for every row.
type headLoss struct {
	*Device
	device.Head
	w       *weight // the head
	teacher *device.Teacher
	grads   bool
}

// logits multiplies the rows of a chunk by the head.
func (l *headLoss) logits(x *matrix) *matrix {
	if l.w.vec == nil {
		return mat(l.Linear(&x.Tensor, l.w))
	}
	y := l.alloc(x.Rows, l.w.rows)
	l.multiply(y.f32, x.Rows, x, x.Cols, 1, &l.head, false)
	return y
}

// teacherLogits are the teacher's for the same rows, nil without one.
func (l *headLoss) teacherLogits(part []int32) *matrix {
	if l.teacher == nil {
		return nil
	}
	x := l.gather(mat(l.teacher.Hidden), part)
	q := mat(l.Linear(&x.Tensor, l.teacher.Head))
	l.free(x)
	return q
}

// score takes the log-probabilities of a chunk's targets from its logits y, and turns y into its derivative if gradients
// are wanted. q are the teacher's logits.
func (l *headLoss) score(part []int32, y, q *matrix) {
	n := l.w.rows
	if l.grads && l.compute == tensor.BF16 {
		y.h = l.take16(len(part) * n)
	}
	l.rows(len(part), n, func(lo, hi int) {
		var dist Distiller
		for i := lo; i < hi; i++ {
			r, t := int(part[i]), int(l.Targets[part[i]])
			row := y.f32[i*n : i*n+l.Vocab]
			lse := vec.LogSumExp(row)
			l.LogProbs[r] = row[t] - lse
			if !l.grads {
				continue
			}
			if l.teacher == nil {
				vec.CrossEntropyBackward(row, row, lse, t, l.Weight(r))
			} else {
				taught := q.f32[i*q.Cols : i*q.Cols+min(l.Vocab, l.teacher.Vocab)]
				l.Divergences[r] = dist.Backward(row, taught, lse, t, l.Weight(r), l.teacher)
			}
			clear(y.f32[i*n+l.Vocab : (i+1)*n])
			if y.h != nil { // while the row is in cache
				narrowBF16(y.h[i*n:(i+1)*n], y.f32[i*n:(i+1)*n])
			}
		}
	})
}

// Distiller takes the loss of rows against a teacher's. It is the room that the rows of one goroutine take.
type Distiller struct{ soft, p []float32 }

// Backward turns the logits y of a row, whose log-sum-exp is lse, into their derivative
// weight·(α·(softmax(y) − onehot) + (1−α)·T·(softmax(y/T) − softmax(q/T))) and returns KL(softmax(q/T) ‖ softmax(y/T)). q,
// the teacher's logits of the leading columns, is overwritten.
func (b *Distiller) Backward(y, q []float32, lse float32, target int, weight float32, t *device.Teacher) float64 {
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
