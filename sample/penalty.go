package sample

import "math"

// adjust applies bias, penalties and bans to the logits: steps 2 to 4 of the
// chain, without the mask. Each touches only the tokens concerned.
func (s *Sampler) adjust(logits []float32) {
	for id, b := range s.p.LogitBias {
		logits[id] += b
	}
	if s.count != nil {
		s.penalize(logits)
	}
	if s.p.DRY.Multiplier > 0 {
		s.dry(logits)
	}
	if n := s.p.NoRepeatNGram; n > 0 {
		banRepeats(logits, s.history, n)
	}
	for _, id := range s.p.Banned {
		logits[id] = negInf
	}
	if s.Generated() < s.p.MinNewTokens {
		for _, id := range s.p.StopIDs {
			if id >= 0 && int(id) < len(logits) {
				logits[id] = negInf
			}
		}
	}
}

func (s *Sampler) penalize(logits []float32) {
	rep := float32(s.p.RepetitionPenalty)
	if rep == 0 {
		rep = 1
	}
	presence, frequency := float32(s.p.PresencePenalty), float32(s.p.FrequencyPenalty)
	for _, id := range s.distinct {
		if s.count[id] > 0 && rep != 1 {
			if v := logits[id]; v < 0 {
				logits[id] = v * rep
			} else {
				logits[id] = v / rep
			}
		}
		if n := s.answer[id]; n > 0 {
			logits[id] -= presence + float32(frequency*float32(n))
		}
	}
}

// maxDRYMatch bounds the length to which a match is measured: the penalty of
// longer ones exceeds any logit.
const maxDRYMatch = 64

func (s *Sampler) dry(logits []float32) {
	h := s.history
	if w := s.p.DRY.Window; w > 0 && len(h) > w {
		h = h[len(h)-w:]
	}
	n := len(h)
	if n < 2 || s.isBreaker(h[n-1]) {
		return
	}
	for i := range n - 1 {
		next := h[i+1]
		if h[i] != h[n-1] || next < 0 || int(next) >= s.vocab || s.isBreaker(next) {
			continue
		}
		length := int32(1)
		for length < maxDRYMatch {
			j := i - int(length)
			if j < 0 || h[j] != h[n-1-int(length)] || s.isBreaker(h[j]) {
				break
			}
			length++
		}
		if s.dryLen[next] == 0 {
			s.drySeen = append(s.drySeen, next)
		}
		s.dryLen[next] = max(s.dryLen[next], length)
	}
	for _, id := range s.drySeen {
		if over := int(s.dryLen[id]) - s.p.DRY.AllowedLength; over >= 0 {
			logits[id] -= float32(min(s.p.DRY.Multiplier*math.Pow(s.p.DRY.Base, float64(over)), 1e30))
		}
		s.dryLen[id] = 0
	}
	s.drySeen = s.drySeen[:0]
}

func (s *Sampler) isBreaker(id int32) bool {
	return id >= 0 && int(id) < len(s.breaker) && s.breaker[id]
}

// banRepeats forbids the last token of every n-gram in h whose first n-1
// tokens are the last n-1 of h.
func banRepeats(logits []float32, h []int32, n int) {
	if len(h) < n {
		return
	}
	tail := h[len(h)-(n-1):]
next:
	for i := range len(h) - n + 1 {
		for k, id := range tail {
			if h[i+k] != id {
				continue next
			}
		}
		if id := h[i+n-1]; id >= 0 && int(id) < len(logits) {
			logits[id] = negInf
		}
	}
}
