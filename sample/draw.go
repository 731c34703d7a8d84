package sample

import (
	"cmp"
	"math"
	"slices"
)

// draw is one step of the chain's filters. It begins dense, on all logits; the
// first filter leaves candidates in s.c.
type draw struct {
	s      *Sampler
	logits []float32
	scale  float64 // 1/temperature, applied when exponentials are taken
	sparse bool    // s.c holds what is left
	sorted bool    // s.c descends
}

func (d *draw) temperature() { d.scale = 1 / d.s.p.Temperature }

// descending orders candidates by logit, ties by id.
func descending(a, b cand) int {
	if c := cmp.Compare(b.logit, a.logit); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

func (d *draw) sort() {
	if !d.sorted {
		slices.SortFunc(d.s.c, descending)
		d.sorted = true
	}
}

// gather makes the candidates explicit: all tokens that are not forbidden.
func (d *draw) gather() {
	if d.sparse {
		return
	}
	c := d.s.c[:0]
	for i, v := range d.logits {
		if v >= -math.MaxFloat32 {
			c = append(c, cand{v, int32(i)})
		}
	}
	d.s.c, d.sparse, d.sorted = c, true, false
}

func (d *draw) topK() {
	k := d.s.p.TopK
	if k == 0 || k >= d.s.vocab {
		return
	}
	if d.sparse {
		if k < len(d.s.c) {
			d.sort()
			d.s.c = d.s.c[:withTies(d.s.c, k)]
		}
		return
	}
	// One pass with a rising threshold: candidates at or above it are
	// collected, and when the buffer is full all but the best k go.
	c := d.s.c[:0]
	limit := min(2*k+64, cap(c))
	threshold, dropped := float32(-math.MaxFloat32), negInf
	for i, v := range d.logits {
		if v < threshold || v != v {
			continue
		}
		c = append(c, cand{v, int32(i)})
		if len(c) == limit && limit > k {
			selectTop(c, k)
			for _, x := range c[k:] {
				dropped = max(dropped, x.logit)
			}
			c = c[:k]
			threshold = lowest(c)
		}
	}
	if len(c) > k {
		slices.SortFunc(c, descending)
		n := withTies(c, k)
		for _, x := range c[n:] {
			dropped = max(dropped, x.logit)
		}
		if c[k-1].logit == dropped {
			n = 0
		}
		c = c[:n]
	} else {
		slices.SortFunc(c, descending)
		if len(c) == k && c[k-1].logit == dropped {
			c = c[:0]
		}
	}
	if len(c) == 0 && dropped > negInf {
		// Tokens equal to the k-th were dropped on the way: collect again.
		for i, v := range d.logits {
			if v >= dropped {
				c = append(c, cand{v, int32(i)})
			}
		}
		slices.SortFunc(c, descending)
	}
	d.s.c, d.sparse, d.sorted = c, true, true
}

// withTies is the number of candidates at or above the k-th of a sorted list.
func withTies(c []cand, k int) int {
	n := k
	for n < len(c) && c[n].logit == c[k-1].logit {
		n++
	}
	return n
}

func lowest(c []cand) float32 {
	low := c[0].logit
	for _, x := range c[1:] {
		low = min(low, x.logit)
	}
	return low
}

// selectTop moves the k largest candidates to the front (quickselect with the
// median of three; ties in any order).
func selectTop(c []cand, k int) {
	lo, hi := 0, len(c)-1
	for lo < hi {
		a, b, m := c[lo].logit, c[hi].logit, c[(lo+hi)/2].logit
		pivot := max(min(a, b), min(max(a, b), m))
		i, j := lo, hi
		for i <= j {
			for c[i].logit > pivot {
				i++
			}
			for c[j].logit < pivot {
				j--
			}
			if i <= j {
				c[i], c[j] = c[j], c[i]
				i++
				j--
			}
		}
		switch {
		case k-1 <= j:
			hi = j
		case k-1 >= i:
			lo = i
		default:
			return
		}
	}
}

// exps writes exp(scale*(logit-max)) of every token to s.e and returns the
// sum and the largest logit.
func (d *draw) exps() (sum float64, top float32) {
	top = negInf
	for _, v := range d.logits {
		if v > top {
			top = v
		}
	}
	if top == negInf {
		return 0, top
	}
	if d.s.e == nil {
		d.s.e = make([]float32, d.s.vocab)
	}
	e := d.s.e[:len(d.logits)]
	scale := float32(d.scale)
	// Four sums keep the additions from waiting for each other; their order
	// is fixed.
	var acc [4]float64
	for i, v := range d.logits {
		x := expf((v - top) * scale)
		e[i] = x
		acc[i&3] += float64(x)
	}
	return (acc[0] + acc[1]) + (acc[2] + acc[3]), top
}

// topP keeps a token if the mass of all tokens less probable than it, and its
// own, exceeds 1-p; the most probable always stays.
func (d *draw) topP() {
	p := d.s.p.TopP
	if p == 0 || p == 1 {
		return
	}
	var total float64
	if !d.sparse {
		sum, top := d.exps()
		if sum == 0 {
			return
		}
		// Tokens below this weigh less than (1-p) together, so the nucleus
		// is above it.
		least := float32((1 - p) * sum / float64(len(d.logits)) * 0.999)
		c := d.s.c[:0]
		for i, x := range d.s.e[:len(d.logits)] {
			if x >= least && d.logits[i] >= -math.MaxFloat32 {
				c = append(c, cand{d.logits[i], int32(i)})
			}
		}
		if len(c) == 0 { // cannot be, but for overflow of the logits
			c = append(c, cand{top, 0})
		}
		d.s.c, d.sparse, d.sorted, total = c, true, false, sum
	}
	d.sort()
	c := d.s.c
	if len(c) == 0 {
		return
	}
	if total == 0 {
		for _, x := range c {
			total += d.weight(x, c[0])
		}
	}
	before := 0.0
	n := 0
	for n < len(c) {
		// Kept while the mass of what is more probable is below p.
		if n > 0 && before >= p*total {
			break
		}
		before += d.weight(c[n], c[0])
		n++
	}
	d.s.c = c[:n]
}

// weight is a candidate's unnormalised probability, 1 for the top one.
func (d *draw) weight(x, top cand) float64 {
	return float64(expf((x.logit - top.logit) * float32(d.scale)))
}

func (d *draw) minP() {
	p := d.s.p.MinP
	if p == 0 {
		return
	}
	// exp(scale*(v-top)) >= p, solved for v.
	drop := float32(math.Log(p) / d.scale)
	if !d.sparse {
		top := negInf
		for _, v := range d.logits {
			if v > top {
				top = v
			}
		}
		c := d.s.c[:0]
		for i, v := range d.logits {
			if v-top >= drop {
				c = append(c, cand{v, int32(i)})
			}
		}
		d.s.c, d.sparse, d.sorted = c, true, false
		return
	}
	if len(d.s.c) == 0 {
		return
	}
	top := negInf
	for _, x := range d.s.c {
		top = max(top, x.logit)
	}
	kept := d.s.c[:0]
	for _, x := range d.s.c {
		if x.logit-top >= drop {
			kept = append(kept, x)
		}
	}
	d.s.c = kept
}

// typical keeps the tokens whose surprise is nearest to the entropy, until
// their mass reaches p; further ones as near as the last stay too.
func (d *draw) typical() {
	p := d.s.p.TypicalP
	if p == 0 || p == 1 {
		return
	}
	d.gather()
	d.sort()
	c := d.s.c
	if len(c) == 0 {
		return
	}
	sum := 0.0
	for _, x := range c {
		sum += d.weight(x, c[0])
	}
	logSum := math.Log(sum)
	entropy := 0.0
	for _, x := range c {
		if w := d.weight(x, c[0]); w > 0 {
			entropy -= w / sum * (d.scale*float64(x.logit-c[0].logit) - logSum)
		}
	}
	if cap(d.s.key) < len(c) {
		d.s.key = make([]cand, 0, d.s.vocab)
	}
	key := d.s.key[:len(c)]
	for i, x := range c {
		key[i] = cand{float32(-math.Abs(logSum - d.scale*float64(x.logit-c[0].logit) - entropy)), int32(i)}
	}
	slices.SortFunc(key, descending)
	mass, n := 0.0, 0
	for n < len(key) && mass < p*sum {
		mass += d.weight(c[key[n].id], c[0])
		n++
	}
	n = withTies(key, max(n, 1))
	// key[:n] names what stays; put those in front, in their old order.
	slices.SortFunc(key[:n], func(a, b cand) int { return cmp.Compare(a.id, b.id) })
	for i := range n {
		c[i] = c[key[i].id]
	}
	d.s.c = c[:n]
}

// pick draws from what is left.
func (d *draw) pick() (int32, error) {
	if !d.sparse {
		sum, _ := d.exps()
		if sum == 0 {
			return 0, ErrNoToken
		}
		left := d.s.rng.Float64() * sum
		last := -1
		for i, x := range d.s.e[:len(d.logits)] {
			if x == 0 {
				continue
			}
			last = i
			if left -= float64(x); left < 0 {
				break
			}
		}
		if last < 0 {
			return 0, ErrNoToken
		}
		return int32(last), nil
	}
	d.sort()
	i, _, err := d.pickSorted()
	if err != nil {
		return 0, err
	}
	return d.s.c[i].id, nil
}

// pickSorted draws an index into the sorted candidates and says how probable
// it was.
func (d *draw) pickSorted() (int, float64, error) {
	c := d.s.c
	if len(c) == 0 {
		return 0, 0, ErrNoToken
	}
	sum := 0.0
	for _, x := range c {
		sum += d.weight(x, c[0])
	}
	left := d.s.rng.Float64() * sum
	at := 0
	for i, x := range c {
		w := d.weight(x, c[0])
		if w > 0 {
			at = i
		}
		if left -= w; left < 0 {
			break
		}
	}
	return at, d.weight(c[at], c[0]) / sum, nil
}

// mirostat is version 2 (Basu et al. 2021): tokens more surprising than mu
// bits are cut off, and mu follows the surprise of what is drawn.
func (d *draw) mirostat() (int32, error) {
	d.temperature()
	sum, _ := d.exps()
	if sum == 0 {
		return 0, ErrNoToken
	}
	s := d.s
	least := float32(sum * math.Exp2(-s.mu))
	c := s.c[:0]
	best := 0
	for i, x := range s.e[:len(d.logits)] {
		if x > s.e[best] {
			best = i
		}
		if x >= least && x > 0 {
			c = append(c, cand{d.logits[i], int32(i)})
		}
	}
	if len(c) == 0 {
		c = append(c, cand{d.logits[best], int32(best)})
	}
	s.c, d.sparse, d.sorted = c, true, false
	d.sort()
	i, prob, err := d.pickSorted()
	if err != nil {
		return 0, err
	}
	s.mu -= s.p.MirostatEta * (-math.Log2(prob) - s.p.MirostatTau)
	return s.c[i].id, nil
}

// expf is e^x in float32 for x <= 0, to about one unit in the last place:
// Cody-Waite reduction by ln 2 and the Cephes polynomial. Below -87 it is 0.
func expf(x float32) float32 {
	if !(x > -87) {
		return 0
	}
	const log2e, ln2hi, ln2lo = 1.44269504, 0.693359375, -2.12194440e-4
	n := float32(int32(x*log2e - 0.5))
	r := x - n*ln2hi
	r -= n * ln2lo
	p := float32(1.9875691500e-4)
	p = p*r + 1.3981999507e-3
	p = p*r + 8.3334519073e-3
	p = p*r + 4.1665795894e-2
	p = p*r + 1.6666665459e-1
	p = p*r + 5.0000001201e-1
	y := p*r*r + r + 1
	return math.Float32frombits(math.Float32bits(y) + uint32(int32(n))<<23)
}
