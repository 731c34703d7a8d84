package train

import "math"

// LR returns the learning rate of optimizer step `step`, counted from 1, of
// total: linear warmup that reaches the full rate at its last step, then the shape of s.Type
// down to MinLR at the last step.
func (s *ScheduleConfig) LR(full float64, step, total int) float64 {
	warm := s.warmup(total)
	if step <= warm {
		return full * float64(step) / float64(warm)
	}
	if step > total {
		step = total
	}
	progress := float64(step-warm) / float64(max(total-warm, 1))
	switch s.Type {
	case "constant":
		return full
	case "linear":
		return s.MinLR + (full-s.MinLR)*(1-progress)
	case "wsd": // warmup, stable, decay (Hu et al. 2024): linear over the last DecayRatio of all steps
		decay := s.DecayRatio * float64(total)
		left := float64(total - step)
		return s.MinLR + (full-s.MinLR)*math.Min(1, left/math.Max(decay, 1))
	}
	return s.MinLR + (full-s.MinLR)*0.5*(1+math.Cos(math.Pi*progress))
}

func (s *ScheduleConfig) warmup(total int) int {
	if s.WarmupRatio > 0 {
		return int(math.Ceil(s.WarmupRatio * float64(total)))
	}
	return s.WarmupSteps
}
