package vulkan

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"leolm/device"
)

// A chunk has as many rows as keep its logits below lossLogits (64 MiB), and at least leastLossRows.
const (
	lossLogits    = 1 << 24
	leastLossRows = 128
)

// LossRows is the number of rows whose logits over a vocabulary exist at one time in training.
func LossRows(vocab int) int { return min(max(leastLossRows, lossLogits/vocab), mostGroups) }

// LinearCrossEntropyGrad implements device.Derivatives.
func (d *Device) LinearCrossEntropyGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, needHidden bool) (func() device.CrossEntropy, *device.Tensor) {
	loss, dh := d.headGrad(hidden, of(w), targets, weights, vocab, nil, needHidden)
	return func() device.CrossEntropy { return loss().CrossEntropy }, dh
}

// LinearDistillGrad implements device.Derivatives.
func (d *Device) LinearDistillGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, needHidden bool) (func() device.Distillation, *device.Tensor) {
	if teacher.Hidden.Rows != hidden.Rows {
		panic(fmt.Sprintf("device: hidden states of %d and %d rows", hidden.Rows, teacher.Hidden.Rows))
	}
	return d.headGrad(hidden, of(w), targets, weights, vocab, teacher, needHidden)
}

// headLoss is one pass of the output head.
type headLoss struct {
	*Device
	device.Head
	teacher *device.Teacher
	found   *device.Tensor // log-probabilities of the rows that count, then their divergences
	at      int            // how many rows are done
}

// headGrad works through the rows that count, LossRows at a time: logits, their derivative in the same memory, and those of
// hidden and w that follow from it. The values are on their way when it returns.
func (d *Device) headGrad(hidden *device.Tensor, w *weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, needHidden bool) (func() device.Distillation, *device.Tensor) {
	l := &headLoss{Device: d, Head: device.NewHead(hidden.Rows, w.rows, targets, weights, vocab), teacher: teacher}
	var dh *device.Tensor
	var place func(rows []int32, dx *device.Tensor)
	if needHidden {
		dh = d.New(hidden.Rows, hidden.Cols)
		d.zero(d.at(dh), hidden.Rows*hidden.Cols)
		place = func(rows []int32, dx *device.Tensor) {
			from := d.at(dx)
			d.derive(opPlace, derivation{a: from, b: d.ints(rows), y: d.at(dh), n: dx.Rows * dx.Cols, cols: dx.Cols})
		}
	}
	rows := l.Counted()
	if len(rows) == 0 {
		return l.Sum, dh
	}
	l.found = d.New(2, len(rows))
	heads := []device.Weight{w}
	if teacher != nil {
		heads = append(heads, teacher.Head)
	}
	d.holding(func() { device.ScoreHeadGrad(d, hidden, w, teacher, rows, LossRows(w.rows), l.score, place) }, heads...)
	return l.later(rows), dh
}

// score finds the results of some rows, the next in order, and turns their logits into derivatives.
func (l *headLoss) score(part []int32, y, q *device.Tensor) {
	taught, known := uint64(0), 0
	op := uint32(0)
	if q != nil {
		op, taught, known = 1, l.Device.at(q), min(l.Vocab, l.teacher.Vocab)
	}
	logits, found := l.Device.at(y), l.Device.at(l.found)
	var p push
	p.addrs(logits, l.pairs(len(part), func(i int) (int32, float32) { return l.Targets[part[i]], l.Weight(int(part[i])) }),
		found+uint64(4*l.at), taught, found+uint64(4*(l.found.Cols+l.at)))
	p.words(y.Cols, l.Vocab)
	if q != nil {
		p.words(q.Cols, known)
		p.float(l.teacher.Alpha)
		p.float(l.teacher.Temperature)
	} else {
		p.words(0, 0, 0, 0)
	}
	l.run(kernelKey{"score", [2]uint32{op}}, &p, len(part), 1, false)
	l.at += len(part)
}

// later returns what waits for the results of the rows, and lets the device's part of them go.
func (l *headLoss) later(rows []int32) func() device.Distillation {
	d, n := l.Device, len(rows)
	var arrived []float32
	if m := mat(l.found); m.buf.Size > 0 {
		d.gpu.Fetch(m.buf, 8*n, func(b []byte) {
			arrived = make([]float32, 2*n)
			for i := range arrived {
				arrived[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
			}
		})
	}
	d.Release(l.found)
	head := l.Head
	head.Targets, head.Weights = nil, slices.Clone(l.Weights) // the arguments are the caller's again
	taught := l.teacher != nil
	return func() device.Distillation {
		if arrived == nil {
			if err := d.gpu.Sync(); err != nil {
				d.gpu.Fail(err)
			}
		}
		if arrived == nil { // after an error, which Sync reports
			return device.Distillation{CrossEntropy: device.CrossEntropy{LogProbs: head.LogProbs}}
		}
		for i, r := range rows {
			head.LogProbs[r] = arrived[i]
		}
		if taught {
			head.Divergences = make([]float64, len(head.LogProbs))
			for i, r := range rows {
				head.Divergences[r] = float64(arrived[n+i])
			}
		}
		return head.Sum()
	}
}
