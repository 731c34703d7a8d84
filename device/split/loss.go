package split

import (
	"runtime"
	"slices"
	"sync"

	"leolm/device"
	"leolm/device/cpu"
	"leolm/internal/kernel/vec"
)

// A chunk of the loss has as many rows as keep its logits below lossLogits (16 MiB), and at least lossRows. With
// derivatives it has as many as package device/cpu has, which decides how gradients of the head are summed up.
const (
	lossLogits = 1 << 22
	lossRows   = 16
)

// LinearCrossEntropy implements device.Ops. It takes the logits of all ranks, and log-probabilities as package device/cpu.
func (d *Device) LinearCrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) device.CrossEntropy {
	if c := of(w); c.cut == nil {
		return d.Device.LinearCrossEntropy(d.whole(hidden), c.Weight, targets, weights, vocab)
	}
	l := d.headLoss(hidden.Rows, w, targets, weights, vocab)
	l.run(hidden, max(lossRows, lossLogits/l.w.rows), false)
	return l.Sum().CrossEntropy
}

// LinearCrossEntropyGrad implements device.Derivatives.
func (d *Device) LinearCrossEntropyGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, needHidden bool) (func() device.CrossEntropy, *device.Tensor) {
	if c := of(w); c.cut == nil {
		return d.Device.LinearCrossEntropyGrad(d.whole(hidden), c.Weight, targets, weights, vocab, needHidden)
	}
	l := d.headLoss(hidden.Rows, w, targets, weights, vocab)
	l.grads = true
	dh := l.run(hidden, cpu.LossRows(l.w.rows), needHidden)
	return func() device.CrossEntropy { return l.Sum().CrossEntropy }, dh
}

// LinearDistillGrad implements device.Derivatives.
func (d *Device) LinearDistillGrad(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int, teacher *device.Teacher, needHidden bool) (func() device.Distillation, *device.Tensor) {
	c, head := of(w), of(teacher.Head)
	if c.cut == nil && head.cut == nil {
		t := *teacher
		t.Hidden, t.Head = d.whole(teacher.Hidden), head.Weight
		return d.Device.LinearDistillGrad(d.whole(hidden), c.Weight, targets, weights, vocab, &t, needHidden)
	}
	l := d.headLoss(hidden.Rows, w, targets, weights, vocab)
	l.grads, l.teacher, l.Divergences = true, teacher, make([]float64, len(targets))
	dh := l.run(hidden, cpu.LossRows(c.rows), needHidden)
	return l.Sum, dh
}

// headLoss is one pass of the output head. Every rank has the logits of all words for a chunk of rows, and takes of their
// derivatives the columns of its words.
type headLoss struct {
	*Device
	device.Head
	head    device.Weight
	w       *weight
	teacher *device.Teacher
	grads   bool
}

func (d *Device) headLoss(rows int, w device.Weight, targets []int32, weights []float32, vocab int) *headLoss {
	c := of(w)
	return &headLoss{Device: d, Head: device.NewHead(rows, c.rows, targets, weights, vocab), head: w, w: c}
}

// run goes through the rows that count, chunk by chunk.
func (l *headLoss) run(hidden *device.Tensor, chunk int, needHidden bool) (dh *device.Tensor) {
	rows := l.Counted()
	d := l.Device
	logits := make([]float32, min(chunk, len(rows))*l.w.rows)
	var taught []float32
	if l.teacher != nil {
		taught = make([]float32, min(chunk, len(rows))*l.teacher.Head.Rows())
	}
	for part := range slices.Chunk(rows, chunk) {
		x := d.Gather(hidden, part)
		l.logits(logits, x, l.head)
		if l.teacher != nil {
			q := d.Gather(l.teacher.Hidden, part)
			l.logits(taught, q, l.teacher.Head)
			d.Release(q)
		}
		l.score(part, logits, taught)
		if l.grads {
			dh = l.back(x, part, logits, hidden.Rows, dh, needHidden)
		}
		d.Release(x)
	}
	if dh == nil && l.grads && needHidden { // no row counts
		dh = d.FromSlice(hidden.Rows, hidden.Cols, make([]float32, hidden.Rows*hidden.Cols))
	}
	return dh
}

// logits reads those of all words for the rows of x.
func (l *headLoss) logits(dst []float32, x *device.Tensor, w device.Weight) {
	y := l.Linear(x, w)
	if p := partOf(y); p != nil { // without a copy on the device below
		l.gatherBlocks(p)
		l.toRows(dst, p)
	} else {
		l.Read(y, dst)
	}
	l.Release(y)
}

// score takes the log-probabilities of a chunk's targets, and turns logits into their derivative if gradients are wanted.
func (l *headLoss) score(part []int32, logits, taught []float32) {
	n := l.w.rows
	inParallel(len(part), func(lo, hi int) {
		var dist cpu.Distiller
		for i := lo; i < hi; i++ {
			r := part[i]
			row, target := logits[i*n:i*n+l.Vocab], int(l.Targets[r])
			lse := vec.LogSumExp(row)
			l.LogProbs[r] = row[target] - lse
			switch {
			case !l.grads:
				continue
			case l.teacher == nil:
				vec.CrossEntropyBackward(row, row, lse, target, l.Weight(int(r)))
			default:
				cols := l.teacher.Head.Rows()
				q := taught[i*cols : i*cols+min(l.Vocab, l.teacher.Vocab)]
				l.Divergences[r] = dist.Backward(row, q, lse, target, l.Weight(int(r)), l.teacher)
			}
			clear(logits[i*n+l.Vocab : (i+1)*n])
		}
	})
}

// back adds the gradients of a chunk, whose logits' derivatives are given, and returns dh with that of its rows.
func (l *headLoss) back(x *device.Tensor, part []int32, logits []float32, total int, dh *device.Tensor, needHidden bool) *device.Tensor {
	d, n, mine := l.Device, l.w.rows, Span{0, l.w.rows}
	if l.w.cut != nil {
		mine = l.w.cut[d.rank]
	}
	for i := range part { // rows move to the front, over what is not needed any more
		copy(logits[i*mine.Len():(i+1)*mine.Len()], logits[i*n+mine.From:i*n+mine.To])
	}
	dy := d.FromSlice(len(part), mine.Len(), logits[:len(part)*mine.Len()])
	if l.w.Trainable() && !l.w.idle(d.rank) {
		d.Device.LinearGradWeight(d.whole(x), dy, l.w.Weight)
	}
	if needHidden {
		dx := d.Device.LinearGradInput(dy, l.w.Weight, nil)
		all := d.Device.GatherGrad(dx, part, total)
		d.Device.Release(dx)
		if l.w.cut != nil {
			all = d.sumTensor(all)
		}
		if dh == nil {
			dh = all
		} else {
			dh = d.Accumulate(dh, all)
			d.Release(all)
		}
	}
	d.Device.Release(dy)
	return dh
}

// inParallel calls f for parts of n rows, on all processors.
func inParallel(n int, f func(lo, hi int)) {
	workers := max(1, min(n, runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() { f(k*n/workers, (k+1)*n/workers) })
	}
	wg.Wait()
}
