package main

import (
	"cmp"
	"math"
	"slices"

	"leolm/tokenizer"
)

// order of the n-gram model.
const order = 5

// corpus holds texts as pieces; bos precedes each text.
type corpus struct {
	ids   []int32
	start []bool // of a text: the position holds bos
}

const bos = -1

func pieces(t *tokenizer.Tokenizer, texts []string) corpus {
	var c corpus
	for _, text := range texts {
		c.ids, c.start = append(c.ids, bos), append(c.start, true)
		c.ids = t.AppendTokens(c.ids, text)
		for len(c.start) < len(c.ids) {
			c.start = append(c.start, false)
		}
	}
	return c
}

// hash of the n pieces that end at position i.
func (c *corpus) hash(i, n int) uint64 {
	h := uint64(n) * 0x9e3779b97f4a7c15
	for _, id := range c.ids[i-n+1 : i+1] {
		h = (h ^ uint64(uint32(id))) * 0xff51afd7ed558ccd
		h ^= h >> 32
	}
	return h
}

// depth returns how many pieces up to position i, inclusive, belong to the same text (bos counts), at most most.
func (c *corpus) depth(i, most int) int {
	n := 1
	for n < most && i-n >= 0 && !c.start[i-n+1] {
		n++
	}
	return n
}

// level holds the n-grams of one order and their contexts, sorted by hash.
type level struct {
	gram  []uint64
	count []uint32 // of the highest order and after bos: occurrences; below: distinct pieces to the left
	ctx   []uint64
	total []float64 // of the counts after the context
	back  []float64 // share that the discounts leave to the next shorter context
	disc  [4]float64
}

type entry struct {
	hash uint64
	pos  uint32
	n    uint32
}

// merge sorts entries and adds up those with the same hash.
func merge(e []entry) []entry {
	slices.SortFunc(e, func(a, b entry) int { return cmp.Compare(a.hash, b.hash) })
	out := e[:0]
	for _, x := range e {
		if len(out) > 0 && out[len(out)-1].hash == x.hash {
			out[len(out)-1].n += x.n
			continue
		}
		out = append(out, x)
	}
	return out
}

// build makes the levels 1…order after Chen and Goodman (1999), section 3: interpolated, with three discounts
// per order from the counts of counts.
func build(c *corpus) []level {
	levels := make([]level, order+1)
	var longer []entry // distinct n-grams of the next higher order
	for k := order; k >= 1; k-- {
		var e []entry
		if k == order {
			for i := range c.ids {
				if !c.start[i] && c.depth(i, k) == k {
					e = append(e, entry{c.hash(i, k), uint32(i), 1})
				}
			}
		} else {
			for _, x := range longer {
				e = append(e, entry{c.hash(int(x.pos), k), x.pos, 1})
			}
			// An n-gram that begins with bos has no left context, so its occurrences count.
			for i := range c.ids {
				if i-k+1 >= 0 && !c.start[i] && c.start[i-k+1] && c.depth(i, k) == k {
					e = append(e, entry{c.hash(i, k), uint32(i), 1})
				}
			}
		}
		e = merge(e)
		l := &levels[k]
		var n [5]float64
		for _, x := range e {
			if x.n <= 4 {
				n[x.n]++
			}
		}
		y := n[1] / (n[1] + 2*n[2])
		for j := 1; j <= 3; j++ {
			l.disc[j] = float64(j)
			if n[j] > 0 {
				l.disc[j] -= float64(j+1) * y * n[j+1] / n[j]
			}
			l.disc[j] = min(max(l.disc[j], 0), float64(j))
		}
		type context struct {
			hash uint64
			n    uint32
		}
		ctx := make([]context, len(e))
		for i, x := range e {
			l.gram = append(l.gram, x.hash)
			l.count = append(l.count, x.n)
			h := uint64(0)
			if k > 1 {
				h = c.hash(int(x.pos)-1, k-1)
			}
			ctx[i] = context{h, x.n}
		}
		slices.SortFunc(ctx, func(a, b context) int { return cmp.Compare(a.hash, b.hash) })
		for i := 0; i < len(ctx); {
			total, back := 0.0, 0.0
			j := i
			for ; j < len(ctx) && ctx[j].hash == ctx[i].hash; j++ {
				total += float64(ctx[j].n)
				back += l.disc[min(ctx[j].n, 3)]
			}
			l.ctx, l.total, l.back = append(l.ctx, ctx[i].hash), append(l.total, total), append(l.back, back/total)
			i = j
		}
		longer = e
	}
	return levels
}

// prob is the probability of the piece at i, given at most order-1 before it.
func prob(levels []level, c *corpus, i, vocab int) float64 {
	p := 1 / float64(vocab)
	for k := 1; k <= c.depth(i, order); k++ {
		l := &levels[k]
		h := uint64(0)
		if k > 1 {
			h = c.hash(i-1, k-1)
		}
		x, ok := slices.BinarySearch(l.ctx, h)
		if !ok {
			break // longer contexts are unseen too
		}
		here := 0.0
		if g, ok := slices.BinarySearch(l.gram, c.hash(i, k)); ok {
			here = (float64(l.count[g]) - l.disc[min(l.count[g], 3)]) / l.total[x]
		}
		p = here + l.back[x]*p
	}
	return p
}

// bits is the cost of c under the model; bos is free.
func bits(levels []level, c *corpus, vocab int) float64 {
	sum := 0.0
	for i := range c.ids {
		if !c.start[i] {
			sum -= math.Log2(prob(levels, c, i, vocab))
		}
	}
	return sum
}

func kneserNey(t *tokenizer.Tokenizer, train []string, valid map[string][]string, size map[string]int) result {
	c := pieces(t, train)
	levels := build(&c)
	r := result{BPB: map[string]float64{}, Version: "this program"}
	for s := range valid {
		v := pieces(t, valid[s])
		r.BPB[s] = bits(levels, &v, t.Vocab()) / float64(size[s])
	}
	return r
}
