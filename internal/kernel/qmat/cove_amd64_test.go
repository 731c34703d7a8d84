package qmat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

func init() {
	if set := cpu.AVX2 | cpu.AVX512 | cpu.VNNI; cpu.Detected.Has(set) {
		otherMakers = []namedLevel{{"one panel", set, vnni}, {"two panels", set, wide}, {"Intel's cores", set, cove}}
	}
}

// The kernels for Intel's cores give the bits of the others: for any number of tiles, added to what was there or not, where
// the last panels are not a pair or reach beyond the weights, and where the tiles are cut to fit the cache.
func TestSeveralTiles(t *testing.T) {
	if len(otherMakers) == 0 {
		t.Skip("needs AVX-512 VNNI")
	}
	saved := active
	defer func() { active = saved }()
	for _, d := range allTypes {
		rng := rand.New(rand.NewPCG(21, uint64(d)))
		active = cove
		if at := tilesAtOnce(d); at != coveTiles && d != tensor.NF4 {
			t.Errorf("%v takes %d tiles at once", d, at)
		}
		for _, s := range []struct{ n, k int }{{32, 512}, {45, 512}, {48, 512}, {80, 512}, {32, 8192}} {
			w := pack(t, d, randomWeights(rng, d, s.n, s.k, false), s.k)
			for _, m := range []int{6, 8, 12, 16, 24, 28, 31, 32, 64, 83, 16 * 9} {
				if s.k > 512 && m < 16*9 {
					continue
				}
				x, before := activations(rng, m, s.k), activations(rng, m, s.n)
				results := func(l *level) []float32 {
					active = l
					var a Acts
					a.Quantize(x, m, s.k)
					out := slices.Concat(make([]float32, m*s.n), before, make([]float32, 64))
					for i, add := range []bool{false, true} {
						Mul(out[i*m*s.n:], s.n, w, &a, 0, w.Panels(), 0, a.Tiles(), add)
					}
					return out
				}
				got := results(cove)
				same(t, fmt.Sprintf("%v %d×%d×%d", d, m, s.n, s.k), got, results(vnni))
				same(t, fmt.Sprintf("%v %d×%d×%d, behind the end", d, m, s.n, s.k), got[2*m*s.n:], make([]float32, 64))
			}
		}
	}
}
