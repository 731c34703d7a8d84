package loader

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"leolm/dataset/shard"
	"leolm/internal/pynum"
)

// Subset is the part of a set that indices name, in their order.
type Subset struct {
	Set     shard.Set
	Indices []int
}

// Len is the number of samples.
func (s Subset) Len() int { return len(s.Indices) }

// Length is the number of ids of sample i.
func (s Subset) Length(i int) int { return s.Set.Length(s.Indices[i]) }

// Sample reads sample i.
func (s Subset) Sample(i int) shard.Sample { return s.Set.Sample(s.Indices[i]) }

// HoldOut splits a set by scikit-learn's shuffled split: ceil(n*share)
// samples are held out. The card's "examples per epoch" are such a 1 % split
// of its 132540 samples (docs/leolm.md#held-out-samples).
func HoldOut(set shard.Set, share float64, seed uint32) (train, held Subset, err error) {
	t, h, err := pynum.TrainTestSplit(set.Len(), share, seed)
	if err != nil {
		return train, held, fmt.Errorf("hold-out: %w", err)
	}
	return Subset{set, t}, Subset{set, h}, nil
}

// Proportions turns relative weights of sets, shares of all samples drawn,
// into the weights of Blend.Part, so that an epoch has as many samples as the
// sets together. Weights that are all 0 mean: by size.
func Proportions(sets []shard.Set, relative []float64) ([]Part, error) {
	if len(relative) != len(sets) {
		return nil, fmt.Errorf("%d weights for %d sets", len(relative), len(sets))
	}
	total, sum, zero := 0, 0.0, 0
	for i, s := range sets {
		if !(relative[i] >= 0) || math.IsInf(relative[i], 0) {
			return nil, fmt.Errorf("weight %v of set %d: want a number from 0", relative[i], i)
		}
		if relative[i] == 0 {
			zero++
		}
		total += s.Len()
		sum += relative[i]
	}
	parts := make([]Part, len(sets))
	for i, s := range sets {
		parts[i] = Part{s, 1}
		if zero == len(sets) {
			continue
		}
		if zero > 0 {
			return nil, fmt.Errorf("set %d has no weight while others have: give all sets a weight or none", slices.Index(relative, 0))
		}
		if s.Len() > 0 {
			parts[i].Weight = relative[i] / sum * float64(total) / float64(s.Len())
		}
	}
	return parts, nil
}

// sortByLength orders windows of one sample each, longest first; those that
// reach the limit count as equal.
func sortByLength(groups [][]Ref, length func(Ref) int, limit int) {
	slices.SortStableFunc(groups, func(a, b []Ref) int {
		return cmp.Compare(min(length(b[0])-1, limit), min(length(a[0])-1, limit))
	})
}
