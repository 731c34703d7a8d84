package device

import (
	"fmt"
	"slices"
)

// Head is one pass of the output head, as LinearCrossEntropy, its derivative and LinearDistillGrad are: which rows count,
// and what was found for them. Devices fill in LogProbs and Divergences.
type Head struct {
	Targets []int32
	Weights []float32 // nil: every row counts once
	Vocab   int       // columns that count

	LogProbs    []float32 // by row
	Divergences []float64 // by row, from a teacher; nil without one
}

// NewHead describes a pass over hidden states of that many rows and a head of that many columns, of which the first vocab
// count; 0 means all. Arguments that don't fit each other panic.
func NewHead(rows, cols int, targets []int32, weights []float32, vocab int) Head {
	if len(targets) != rows || weights != nil && len(weights) != rows {
		panic(fmt.Sprintf("device: %d targets and %d weights for %d rows", len(targets), len(weights), rows))
	}
	if vocab == 0 {
		vocab = cols
	}
	return Head{Targets: targets, Weights: weights, Vocab: vocab, LogProbs: make([]float32, rows)}
}

// Weight is how much a row counts.
func (h *Head) Weight(row int) float32 {
	if h.Weights == nil {
		return 1
	}
	return h.Weights[row]
}

// Counted lists the rows whose weight is not zero. A target beyond the columns that count panics.
func (h *Head) Counted() []int32 {
	var rows []int32
	for i, t := range h.Targets {
		if h.Weight(i) == 0 {
			continue
		}
		if t < 0 || int(t) >= h.Vocab {
			panic(fmt.Sprintf("device: target %d of a vocabulary of %d", t, h.Vocab))
		}
		rows = append(rows, int32(i))
	}
	return rows
}

// Sum adds up what was found, in the order of rows.
func (h *Head) Sum() Distillation {
	s := Distillation{CrossEntropy: CrossEntropy{LogProbs: h.LogProbs}}
	for i, lp := range h.LogProbs {
		if w := h.Weight(i); w != 0 {
			s.Loss -= float64(w) * float64(lp)
		}
	}
	for i, kl := range h.Divergences {
		s.Divergence += float64(h.Weight(i)) * kl
	}
	return s
}

// HeadScore takes what a pass of the head wants of the logits [len(rows), columns] of some rows; taught are a teacher's, or
// nil. Where derivatives follow, it puts those of the loss in the logits' place.
type HeadScore func(rows []int32, logits, taught *Tensor)

// ScoreHead is the decomposition of LinearCrossEntropy into other operations, for devices that have none of their own: some
// rows at a time, so that the logits of all never exist. Rows are those that count, in chunks.
func ScoreHead(ops Ops, hidden *Tensor, w Weight, rows []int32, chunk int, score HeadScore) {
	for part := range slices.Chunk(rows, chunk) {
		x := ops.Gather(hidden, part)
		logits := ops.Linear(x, w)
		score(part, logits, nil)
		ops.Release(x, logits)
	}
}

// ScoreHeadGrad is that of LinearCrossEntropyGrad and, with a teacher, of LinearDistillGrad. place puts dx, the derivative with
// respect to some rows of hidden, where it belongs; nil: nobody wants it.
func ScoreHeadGrad(dev Device, hidden *Tensor, w Weight, teacher *Teacher, rows []int32, chunk int, score HeadScore, place func(rows []int32, dx *Tensor)) {
	for part := range slices.Chunk(rows, chunk) {
		x := dev.Gather(hidden, part)
		logits := dev.Linear(x, w)
		var taught *Tensor
		if teacher != nil {
			h := dev.Gather(teacher.Hidden, part)
			taught = dev.Linear(h, teacher.Head)
			dev.Release(h)
		}
		score(part, logits, taught)
		if place != nil {
			dx := dev.LinearGradInput(logits, w, nil)
			place(part, dx)
			dev.Release(dx)
		}
		if w.Trainable() {
			dev.LinearGradWeight(x, logits, w)
		}
		dev.Release(x, logits, taught)
	}
}
