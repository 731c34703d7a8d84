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
	hidden  *device.Tensor
	w       *weight
	targets []int32
	weights []float32 // nil: every row counts once
	vocab   int
	teacher *device.Teacher
	found   *device.Tensor // log-probabilities of the rows that count, then their divergences
	dh      *device.Tensor // or nil
}

// headGrad works through the rows that count, LossRows at a time: logits, their derivative in the same memory, and those of
// hidden and w that follow from it. The values are on their way when it returns.
func (d *Device) headGrad(hidden *device.Tensor, w *weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, needHidden bool) (func() device.Distillation, *device.Tensor) {
	if len(targets) != hidden.Rows || weights != nil && len(weights) != hidden.Rows {
		panic(fmt.Sprintf("device: %d targets and %d weights for %v", len(targets), len(weights), hidden))
	}
	if vocab == 0 {
		vocab = w.rows
	}
	l := &headLoss{Device: d, hidden: hidden, w: w, targets: targets, weights: weights, vocab: vocab, teacher: teacher}
	if needHidden {
		l.dh = d.New(hidden.Rows, hidden.Cols)
		d.zero(d.at(l.dh), hidden.Rows*hidden.Cols)
	}
	rows := l.counted()
	if len(rows) == 0 {
		return func() device.Distillation { return l.values(nil, rows, nil) }, l.dh
	}
	l.found = d.New(2, len(rows))
	lo := 0
	for part := range slices.Chunk(rows, LossRows(w.rows)) {
		l.chunk(part, lo)
		lo += len(part)
	}
	return l.later(rows), l.dh
}

// counted lists the rows whose weight is not zero.
func (l *headLoss) counted() []int32 {
	var rows []int32
	for i, t := range l.targets {
		if l.weights != nil && l.weights[i] == 0 {
			continue
		}
		if t < 0 || int(t) >= l.vocab {
			panic(fmt.Sprintf("device: target %d of a vocabulary of %d", t, l.vocab))
		}
		rows = append(rows, int32(i))
	}
	return rows
}

func (l *headLoss) weight(row int) float32 {
	if l.weights == nil {
		return 1
	}
	return l.weights[row]
}

// chunk runs some rows forward and backward; theirs are the results from at on.
func (l *headLoss) chunk(part []int32, at int) {
	x := l.Gather(l.hidden, part)
	y := l.Linear(x, l.w)
	taught, known := uint64(0), 0
	var q *device.Tensor
	op := uint32(0)
	if t := l.teacher; t != nil {
		h := l.Gather(t.Hidden, part)
		q = l.Linear(h, t.Head)
		l.Release(h)
		op, taught, known = 1, l.at(q), min(l.vocab, t.Vocab)
	}
	logits, found := l.at(y), l.at(l.found)
	var p push
	p.addrs(logits, l.pairs(len(part), func(i int) (int32, float32) { return l.targets[part[i]], l.weight(int(part[i])) }),
		found+uint64(4*at), taught, found+uint64(4*(l.found.Cols+at)))
	p.words(y.Cols, l.vocab)
	if q != nil {
		p.words(q.Cols, known)
		p.float(l.teacher.Alpha)
		p.float(l.teacher.Temperature)
	} else {
		p.words(0, 0, 0, 0)
	}
	l.run(kernelKey{"score", [2]uint32{op}}, &p, len(part), 1, false)
	if l.dh != nil {
		dx := l.LinearGradInput(y, l.w, nil)
		from := l.at(dx)
		l.derive(opPlace, derivation{a: from, b: l.ints(part), y: l.at(l.dh), n: dx.Rows * dx.Cols, cols: dx.Cols})
		l.Release(dx)
	}
	if l.w.trains {
		l.LinearGradWeight(x, y, l.w)
	}
	l.Release(x, y, q)
}

// later returns what waits for the results of the rows, and lets the device's part of them go.
func (l *headLoss) later(rows []int32) func() device.Distillation {
	// Copies: the arguments are the caller's again.
	weights, n := slices.Clone(l.weights), len(rows)
	var arrived []float32
	if m := mat(l.found); m.buf.Size > 0 {
		l.gpu.Fetch(m.buf, 8*n, func(b []byte) {
			arrived = make([]float32, 2*n)
			for i := range arrived {
				arrived[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
			}
		})
	}
	l.Release(l.found)
	l = &headLoss{Device: l.Device, weights: weights, teacher: l.teacher, targets: make([]int32, len(l.targets))}
	return func() device.Distillation {
		if arrived == nil {
			if err := l.gpu.Sync(); err != nil {
				l.gpu.Fail(err)
			}
		}
		if arrived == nil { // after an error, which Sync reports
			return l.values(nil, nil, nil)
		}
		return l.values(arrived[:n], rows, arrived[n:])
	}
}

// values adds up the rows in their order.
func (l *headLoss) values(logProbs []float32, rows []int32, divergences []float32) device.Distillation {
	s := device.Distillation{CrossEntropy: device.CrossEntropy{LogProbs: make([]float32, len(l.targets))}}
	for i, r := range rows {
		weight := float64(l.weight(int(r)))
		s.LogProbs[r] = logProbs[i]
		s.Loss -= weight * float64(logProbs[i])
		if l.teacher != nil {
			s.Divergence += weight * float64(divergences[i])
		}
	}
	return s
}
