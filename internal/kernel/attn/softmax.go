package attn

import (
	"math"
	"slices"

	"leolm/internal/kernel/vec"
)

// mask scales the products of m rows, tokens from lo on, with n keys from
// position pos on, and puts −Inf where a token sees no key.
func (b *Block) mask(dst []float32, pad, n, pos, lo, m int) {
	for r := range m {
		row := dst[r*pad : (r+1)*pad]
		from, to := b.visible(lo + r/b.Heads)
		from, to = min(max(from-pos, 0), pad), min(max(to-pos, 0), n)
		to = max(to, from)
		vec.Scale(row[from:to], row[from:to], b.Scale)
		fillInf(row[:from])
		fillInf(row[to:])
	}
}

func fillInf(x []float32) {
	for i := range x {
		x[i] = float32(math.Inf(-1))
	}
}

// softmax turns scores into weights relative to their row's maximum and
// records (maximum, sum).
func (b *Block) softmax(ml, sc []float32, pad, m int) {
	for r := range m {
		row := sc[r*pad : (r+1)*pad]
		top := vec.Max(row)
		if math.IsInf(float64(top), -1) {
			if !slices.ContainsFunc(row, isNaN) { // nothing visible
				ml[2*r], ml[2*r+1] = top, 0
				clear(row)
				continue
			}
			top = float32(math.NaN()) // a broken model must not look like an empty row
		}
		ml[2*r], ml[2*r+1] = top, vec.ExpSum(row, row, top)
	}
}

func isNaN(x float32) bool { return x != x }

// merge folds a partial result into a running one: both are (max, sum, acc).
func merge(ml, acc []float32, pm, pl float32, pacc []float32) {
	if math.IsInf(float64(pm), -1) {
		return
	}
	if math.IsInf(float64(ml[0]), -1) {
		ml[0], ml[1] = pm, pl
		copy(acc, pacc)
		return
	}
	top := max(ml[0], pm)
	old, fresh := expOf(ml[0]-top), expOf(pm-top)
	ml[0] = top
	ml[1] = ml[1]*old + pl*fresh
	vec.Axpby(acc, pacc, fresh, old)
}

func expOf(x float32) float32 {
	var y [1]float32
	vec.ExpSum(y[:], []float32{x}, 0)
	return y[0]
}

// finish turns (max, sum, acc) into an output row and its log-sum-exp. A row
// that saw no key is zero with log-sum-exp −Inf.
func finish(o, ml, acc []float32) (lse float32) {
	if math.IsInf(float64(ml[0]), -1) {
		clear(o)
		return ml[0]
	}
	vec.Scale(o, acc, 1/ml[1])
	return ml[0] + float32(math.Log(float64(ml[1])))
}
