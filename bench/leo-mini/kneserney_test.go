package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The probabilities of the whole vocabulary add up to one after any context, seen or unseen; and a repeated
// text is cheap.
func TestProbabilitiesSumToOne(t *testing.T) {
	const vocab = 7
	r := rand.New(rand.NewPCG(1, 1))
	var c corpus
	for range 200 {
		c.ids, c.start = append(c.ids, bos), append(c.start, true)
		x := int32(0)
		for range 12 {
			if r.IntN(3) == 0 {
				x = int32(r.IntN(vocab - 1)) // the last piece is never seen
			} else {
				x = (x + 1) % (vocab - 1)
			}
			c.ids, c.start = append(c.ids, x), append(c.start, false)
		}
	}
	levels := build(&c)
	for range 300 {
		n := r.IntN(7)
		v := corpus{ids: []int32{bos}, start: []bool{true}}
		for range n {
			v.ids, v.start = append(v.ids, int32(r.IntN(vocab))), append(v.start, false)
		}
		v.ids, v.start = append(v.ids, 0), append(v.start, false)
		sum := 0.0
		for w := range int32(vocab) {
			v.ids[n+1] = w
			sum += prob(levels, &v, n+1, vocab)
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Fatalf("after %v the probabilities add up to %g", v.ids[:n+1], sum)
		}
	}
	if own, flat := bits(levels, &c, vocab)/2400, math.Log2(vocab); own > 0.75*flat {
		t.Errorf("%.2f bits per piece, a flat guess needs %.2f", own, flat)
	}
}
