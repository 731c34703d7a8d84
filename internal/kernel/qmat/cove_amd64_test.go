package qmat

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"leolm/internal/kernel/cpu"
)

func init() {
	if set := cpu.AVX2 | cpu.AVX512 | cpu.VNNI; cpu.Detected.Has(set) {
		otherMakers = []namedLevel{{"one panel", set, vnni}, {"two panels", set, wide}, {"Intel's cores", set, cove}}
	}
}

// The kernels for Intel's cores give the bits of the others: for any number of tiles, added to what was there or not, and
// where the last panels are not a pair or reach beyond the weights.
func TestSeveralTiles(t *testing.T) {
	if len(otherMakers) == 0 {
		t.Skip("needs AVX-512 VNNI")
	}
	saved := active
	defer func() { active = saved }()
	for _, d := range allTypes {
		rng := rand.New(rand.NewPCG(21, uint64(d)))
		for _, n := range []int{32, 45, 48, 80} {
			const k = 512
			w := pack(t, d, randomWeights(rng, d, n, k, false), k)
			for _, m := range []int{6, 12, 16, 31, 32, 64, 83, 16 * 9} {
				x, before := activations(rng, m, k), activations(rng, m, n)
				results := func(l *level) []float32 {
					active = l
					var a Acts
					a.Quantize(x, m, k)
					out := append(make([]float32, m*n), before...)
					for i, add := range []bool{false, true} {
						Mul(out[i*m*n:], n, w, &a, 0, w.Panels(), 0, a.Tiles(), add)
					}
					return out
				}
				same(t, fmt.Sprintf("%v %d×%d", d, m, n), results(cove), results(vnni))
			}
		}
	}
}
