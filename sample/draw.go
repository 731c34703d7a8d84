package sample

import (
	"cmp"
	"math"
	"slices"
)

// draw is the state of one run of the filters. It starts dense, on all logits;
// the first filter leaves an explicit list of candidates in s.c.
type draw struct {
	s      *Sampler
	logits []float32
	scale  float64 // 1/temperature, applied when exponentials are taken
	sparse bool    // s.c holds the remaining candidates
	sorted bool    // s.c is in descending order
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
		// Tokens equal to the k-th were dropped on the way: collect them again.
		for i, v := range d.logits {
			if v >= dropped {
				c = append(c, cand{v, int32(i)})
			}
		}
		slices.SortFunc(c, descending)
	}
	d.s.c, d.sparse, d.sorted = c, true, true
}

// withTies returns the number of candidates at or above the k-th of a sorted list.
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
	// Two sums, so that consecutive additions do not wait for each other; the
	// order is fixed.
	var a, b float64
	i := 0
	for ; i+1 < len(e) && i+1 < len(d.logits); i += 2 {
		x := expf((d.logits[i] - top) * scale)
		y := expf((d.logits[i+1] - top) * scale)
		e[i], e[i+1] = x, y
		a += float64(x)
		b += float64(y)
	}
	for ; i < len(e); i++ {
		e[i] = expf((d.logits[i] - top) * scale)
		a += float64(e[i])
	}
	return a + b, top
}

// topP keeps a token if its mass and that of all less probable tokens together
// exceed 1-p; the most probable one always stays.
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
		// All tokens below this together have a mass below 1-p, so the nucleus
		// lies above it.
		least := float32((1 - p) * sum / float64(len(d.logits)) * 0.999)
		c := d.s.c[:0]
		for i, x := range d.s.e[:len(d.logits)] {
			if x >= least && d.logits[i] >= -math.MaxFloat32 {
				c = append(c, cand{d.logits[i], int32(i)})
			}
		}
		if len(c) == 0 { // only if the logits overflow
			c = append(c, cand{top, 0})
		}
		d.s.c, d.sparse, d.sorted, total = c, true, false, sum
	}
	c := d.s.c
	if len(c) == 0 {
		return
	}
	top := d.top()
	if total == 0 {
		for _, x := range c {
			total += d.weight(x, top)
		}
	}
	// A token stays while the mass of the more probable ones is below p.
	before := 0.0
	d.s.c = d.prefix(func(x cand) bool {
		if before >= p*total {
			return false
		}
		before += d.weight(x, top)
		return true
	})
}

// prefix sorts only as many candidates as it takes to find the first one that
// keep refuses, and returns those before it. The most probable one always stays.
func (d *draw) prefix(keep func(cand) bool) []cand {
	c := d.s.c
	if d.sorted {
		for i, x := range c {
			if !keep(x) && i > 0 {
				return c[:i]
			}
		}
		return c
	}
	// Select and sort blocks of doubling size until one contains the end.
	for at, n := 0, 64; at < len(c); at, n = at+n, 2*n {
		block := c[at:]
		if n < len(block) {
			selectTop(block, n)
			block = block[:n]
		}
		slices.SortFunc(block, descending)
		for i, x := range block {
			if !keep(x) && at+i > 0 {
				d.sorted = true
				return c[:at+i]
			}
		}
	}
	d.sorted = true
	return c
}

// top returns the most probable candidate.
func (d *draw) top() cand {
	c := d.s.c
	best := c[0]
	if !d.sorted {
		for _, x := range c[1:] {
			if x.logit > best.logit {
				best = x
			}
		}
	}
	return best
}

// weight returns a candidate's unnormalized probability, 1 for the top one.
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
// their mass reaches p; ties with the last one stay too.
func (d *draw) typical() {
	p := d.s.p.TypicalP
	if p == 0 || p == 1 {
		return
	}
	d.gather()
	c := d.s.c
	if len(c) == 0 {
		return
	}
	if d.s.e == nil {
		d.s.e = make([]float32, d.s.vocab)
	}
	top, e := d.top(), d.s.e[:len(c)]
	sum := 0.0
	for i, x := range c {
		e[i] = float32(d.weight(x, top))
		sum += float64(e[i])
	}
	logSum := math.Log(sum)
	entropy := 0.0
	for i, x := range c {
		if e[i] > 0 {
			entropy -= float64(float64(e[i]) / sum * (float64(d.scale*float64(x.logit-top.logit)) - logSum))
		}
	}
	if cap(d.s.key) < len(c) {
		d.s.key = make([]cand, 0, d.s.vocab)
	}
	key := d.s.key[:len(c)]
	for i, x := range c {
		key[i] = cand{float32(-math.Abs(logSum - float64(d.scale*float64(x.logit-top.logit)) - entropy)), int32(i)}
	}
	// The nearest first, in blocks, until the mass reaches p; then the ties.
	mass, n, at := 0.0, 0, 0
	var last float32
	for size := 64; at < len(key); size *= 2 {
		block := key[at:]
		if size < len(block) {
			selectTop(block, size)
			block = block[:size]
		}
		slices.SortFunc(block, descending)
		for _, k := range block {
			if mass >= p*sum && k.logit != last {
				at = len(key)
				break
			}
			mass += float64(e[k.id])
			last = k.logit
			n++
		}
		at += len(block)
	}
	kept := key[:n]
	slices.SortFunc(kept, func(a, b cand) int { return cmp.Compare(a.id, b.id) })
	for i, k := range kept { // in their original order
		c[i] = c[k.id]
	}
	d.s.c = c[:n]
}

// pick draws from the remaining tokens.
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
	i, _, err := d.pickSparse()
	if err != nil {
		return 0, err
	}
	return d.s.c[i].id, nil
}

// pickSparse draws an index into the candidates and returns it with its probability.
func (d *draw) pickSparse() (int, float64, error) {
	c := d.s.c
	if len(c) == 0 {
		return 0, 0, ErrNoToken
	}
	if d.s.e == nil {
		d.s.e = make([]float32, d.s.vocab)
	}
	top, e := d.top(), d.s.e[:len(c)]
	sum := 0.0
	for i, x := range c {
		e[i] = float32(d.weight(x, top))
		sum += float64(e[i])
	}
	left := d.s.rng.Float64() * sum
	at := 0
	for i, w := range e {
		if w > 0 {
			at = i
		}
		if left -= float64(w); left < 0 {
			break
		}
	}
	return at, float64(e[at]) / sum, nil
}

// mirostat is version 2 (Basu et al. 2021): tokens more surprising than mu
// bits are cut off, and mu adapts to the surprise of the drawn token.
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
	i, prob, err := d.pickSparse()
	if err != nil {
		return 0, err
	}
	s.mu -= float64(s.p.MirostatEta * (-math.Log2(prob) - s.p.MirostatTau))
	return s.c[i].id, nil
}
