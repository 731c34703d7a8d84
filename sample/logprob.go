package sample

import "math"

// LogProb is a token and the natural logarithm of its probability.
type LogProb struct {
	ID      int32
	LogProb float64
}

// LogProbs computes the log-softmax of raw logits for the chosen token, and for
// the n most probable ones, which are appended to dst in descending order (ties
// by id). Tokens with logit -Inf or NaN have probability 0 and are never among
// the n. It does not change logits, nor allocate if dst has room. The error of a
// value is below 1e-6.
func LogProbs(dst []LogProb, logits []float32, chosen int32, n int) ([]LogProb, float64) {
	top := negInf
	for _, v := range logits {
		if v > top {
			top = v
		}
	}
	if top == negInf {
		return dst, math.Inf(-1)
	}
	var a, b float64
	i := 0
	for ; i+1 < len(logits); i += 2 {
		a += float64(expf(logits[i] - top))
		b += float64(expf(logits[i+1] - top))
	}
	if i < len(logits) {
		a += float64(expf(logits[i] - top))
	}
	norm := float64(top) + math.Log(a+b)
	base := len(dst)
	if n > 0 {
		low := math.Inf(-1)
		for i, v := range logits {
			x := float64(v)
			if !(x > low) {
				continue
			}
			if len(dst)-base < n {
				dst = append(dst, LogProb{})
			}
			// Insertion keeps the short list sorted; equal ones stay behind.
			k := len(dst) - 1
			for k > base && dst[k-1].LogProb < x {
				dst[k] = dst[k-1]
				k--
			}
			dst[k] = LogProb{int32(i), x}
			if len(dst)-base == n {
				low = dst[len(dst)-1].LogProb
			}
		}
		for i := base; i < len(dst); i++ {
			dst[i].LogProb -= norm
		}
	}
	lp := math.Inf(-1)
	if chosen >= 0 && int(chosen) < len(logits) {
		lp = float64(logits[chosen]) - norm
	}
	return dst, lp
}
