package pynum

import (
	"fmt"
	"math"
	"math/bits"
)

// RandomState is numpy.random.RandomState seeded with an integer, the
// generator whose stream NumPy has frozen.
type RandomState struct{ twister }

// NewRandomState returns RandomState(seed).
func NewRandomState(seed uint32) *RandomState {
	r := new(RandomState)
	r.seedInt(seed)
	return r
}

// Interval returns a uniform integer in [0,max]: masked bits of one 32-bit
// draw, drawn again while too large. No number is drawn if max is 0. It
// panics if max is not in [0, 2^32).
func (r *RandomState) Interval(max int) int {
	if max < 0 || bits.Len(uint(max)) > 32 {
		panic(fmt.Sprintf("pynum: Interval(%d): bound out of range", max))
	}
	if max == 0 {
		return 0
	}
	mask := uint32(1)<<bits.Len(uint(max)) - 1
	for {
		if v := int(r.Uint32() & mask); v <= max {
			return v
		}
	}
}

// RandInt returns randint(0, n, size=size). It panics if n is not positive.
func (r *RandomState) RandInt(n, size int) []int {
	if n <= 0 {
		panic(fmt.Sprintf("pynum: RandInt(%d): the range is empty", n))
	}
	out := make([]int, size)
	for i := range out {
		out[i] = r.Interval(n - 1)
	}
	return out
}

// Shuffle permutes n elements as RandomState.shuffle does on a list or a
// one-dimensional array.
func (r *RandomState) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, r.Interval(i))
	}
}

// Permutation returns permutation(n).
func (r *RandomState) Permutation(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	r.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Choice returns choice(n, size, replace=False): the head of a whole
// permutation. It panics if size is not in [0, n].
func (r *RandomState) Choice(n, size int) []int {
	if size < 0 || size > n {
		panic(fmt.Sprintf("pynum: Choice(%d, %d): sample larger than population or negative", n, size))
	}
	return r.Permutation(n)[:size:size]
}

// TrainTestSplit returns the index lists of scikit-learn's
// train_test_split(range(n), test_size=share, random_state=seed,
// shuffle=True): ceil(n*share) test indices, the rest for training, both in
// permuted order. Share must lie strictly between 0 and 1, and neither list
// may come out empty, as there.
func TrainTestSplit(n int, share float64, seed uint32) (train, test []int, err error) {
	if !(share > 0 && share < 1) {
		return nil, nil, fmt.Errorf("test share %v: want a number strictly between 0 and 1", share)
	}
	return TrainTestSplitN(n, int(math.Ceil(share*float64(n))), seed)
}

// TrainTestSplitN is TrainTestSplit with an absolute number of test samples.
func TrainTestSplitN(n, test int, seed uint32) (trainIdx, testIdx []int, err error) {
	if test <= 0 || test >= n {
		return nil, nil, fmt.Errorf("%d test samples of %d: both parts need at least one sample", test, n)
	}
	p := NewRandomState(seed).Permutation(n)
	return p[test:], p[:test:test], nil
}
