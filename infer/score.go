package infer

import "math"

// LogProb returns log softmax(logits)[id], summed in float64.
func LogProb(logits []float32, id int32) float32 {
	m := logits[0]
	for _, l := range logits[1:] {
		m = max(m, l)
	}
	var sum float64
	for _, l := range logits {
		sum += math.Exp(float64(l - m))
	}
	return float32(float64(logits[id]-m) - math.Log(sum))
}

// unit scales v to Euclidean length 1; a zero vector stays zero.
func unit(v []float64) []float32 {
	var sq float64
	for _, x := range v {
		sq += x * x
	}
	out := make([]float32, len(v))
	if sq == 0 {
		return out
	}
	for i, x := range v {
		out[i] = float32(x / math.Sqrt(sq))
	}
	return out
}
