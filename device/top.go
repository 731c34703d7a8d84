package device

import (
	"cmp"
	"math"
	"slices"
)

// MostTop is the most logits of a row that TopLogits returns.
const MostTop = 128

// TopLogits is what the choice of the next token needs of a row of logits, in most cases.
type TopLogits struct {
	// IDs are the columns of the largest logits, in descending order; of equal ones the lower column comes first. Logits are
	// their values.
	IDs    []int32
	Logits []float32
	// LogSumExp is log Σ exp(logit) over the row, with an error below 1e-5.
	LogSumExp float64
	// Odd reports that a logit is NaN or plus infinity. The other fields are then worth nothing.
	Odd bool
}

// TopFinder is a Runner that finds the largest logits where they are, so that rows need not be read.
type TopFinder interface {
	Runner
	// TopLogits returns the k largest of the first vocab columns of each row of logits, 1 ≤ k ≤ MostTop and k ≤ vocab. It
	// waits for the logits, as Read does.
	TopLogits(logits *Tensor, vocab, k int) []TopLogits
}

// TopOf is the TopLogits of a row that was read: what a TopFinder must find.
func TopOf(row []float32, k int) TopLogits {
	t := TopLogits{}
	ids := make([]int32, len(row))
	top := float32(math.Inf(-1))
	for i, v := range row {
		ids[i] = int32(i)
		t.Odd = t.Odd || v != v || v > math.MaxFloat32
		top = max(top, v)
	}
	slices.SortFunc(ids, func(a, b int32) int { return cmp.Or(cmp.Compare(row[b], row[a]), cmp.Compare(a, b)) })
	t.IDs = slices.Clone(ids[:min(k, len(ids))])
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v) - float64(top))
	}
	t.LogSumExp = float64(top) + math.Log(sum)
	for _, id := range t.IDs {
		t.Logits = append(t.Logits, row[id])
	}
	return t
}
