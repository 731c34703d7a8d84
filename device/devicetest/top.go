package devicetest

import (
	"fmt"
	"math"
	"slices"

	"leolm/device"
)

// topLogits: the largest logits where they are beside those of rows that were read; devices may do without.
func topLogits(s *suite) {
	d, ok := s.dev.(device.TopFinder)
	if !ok {
		s.Skip("this device's rows are read")
	}
	inf := float32(math.Inf(-1))
	for _, c := range []struct{ rows, cols, vocab int }{{1, 5, 5}, {3, 200, 190}, {2, 4096, 4096}, {3, 9001, 9000}} {
		v := s.values(c.rows * c.cols)
		for i := range v {
			switch {
			case i%c.cols >= c.vocab:
				v[i] = 1e6 // padding wins nothing
			case i/c.cols == 1:
				v[i] = float32(i * 7 % 5) // ties everywhere
			case i%17 == 3:
				v[i] = inf
			case i%19 == 4:
				v[i] = float32(math.Copysign(0, -1))
			}
		}
		x := s.tensor(c.rows, c.cols, v)
		for _, k := range []int{1, 2, 41, device.MostTop} {
			if k > c.vocab {
				continue
			}
			got := d.TopLogits(x, c.vocab, k)
			for i := range c.rows {
				want := device.TopOf(v[i*c.cols:i*c.cols+c.vocab], k)
				name := fmt.Sprintf("row %d of [%d, %d], the %d largest", i, c.rows, c.cols, k)
				if !slices.Equal(got[i].IDs, want.IDs) || !slices.Equal(got[i].Logits, want.Logits) || got[i].Odd {
					s.Errorf("%s are %v, want %v", name, got[i], want)
				}
				if !(math.Abs(got[i].LogSumExp-want.LogSumExp) <= 1e-5*max(1, math.Abs(want.LogSumExp))) {
					s.Errorf("%s: log-sum-exp %v, want %v", name, got[i].LogSumExp, want.LogSumExp)
				}
			}
		}
		s.dev.Release(x)
	}
	for _, odd := range []float32{float32(math.NaN()), float32(math.Inf(1)), -float32(math.NaN())} {
		v := s.values(5000)
		v[4500] = odd
		x := s.tensor(1, 5000, v)
		if !d.TopLogits(x, 5000, 2)[0].Odd || d.TopLogits(x, 4500, 2)[0].Odd {
			s.Errorf("a logit of %v is not seen, or where it does not count", odd)
		}
		s.dev.Release(x)
	}
}
