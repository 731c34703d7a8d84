package sample

import "math"

// Enough is how many of the largest logits decide the next token, those that are equal to the last of them included; 0:
// it takes all of them. That is so with penalties, bans, biases and minima, with forced tokens, and without top-k.
func (s *Sampler) Enough() int {
	p := &s.p
	switch {
	case s.penalizes() || p.DRY.Multiplier > 0 || p.NoRepeatNGram > 0 || len(p.LogitBias) > 0 || len(p.Banned) > 0,
		s.Generated() < max(len(p.Forced), p.MinNewTokens), p.MirostatTau > 0:
		return 0
	case p.Temperature == 0:
		return 1
	case p.TopK < s.vocab:
		return p.TopK
	}
	return 0
}

// SampleTop is Sample for the largest logits alone: at least Enough of them, in descending order, of equal ones the lower id
// first. No logit that is left out may be equal to the one that Enough counts last. It draws what Sample would.
func (s *Sampler) SampleTop(ids []int32, logits []float32) (int32, error) {
	k := min(s.Enough(), len(ids))
	if k == 0 || logits[0] == negInf {
		return 0, ErrNoToken
	}
	if s.p.Temperature == 0 {
		return ids[0], nil
	}
	c := s.c[:0]
	for i, v := range logits {
		if v >= -math.MaxFloat32 && (i < k || v == logits[k-1]) {
			c = append(c, cand{v, ids[i]})
		}
	}
	s.c = c
	d := draw{s: s, scale: 1, sparse: true, sorted: true}
	return d.filtered()
}

// filtered is the filters, the temperature and the draw.
func (d *draw) filtered() (int32, error) {
	if d.s.p.Order == OrderHF {
		d.temperature()
		d.topK()
		d.topP()
		d.minP()
		d.typical()
	} else {
		d.topK()
		d.typical()
		d.topP()
		d.minP()
		d.temperature()
	}
	return d.pick()
}
