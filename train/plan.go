package train

import (
	"leolm/checkpoint"
)

// Plan predicts what a run takes.
type Plan struct {
	Name          string  `json:"name"`
	Params        int64   `json:"parameters"`
	Trainable     int64   `json:"trainable_parameters"`
	Steps         int     `json:"steps"`
	TokensPerStep int64   `json:"tokens_per_step"` // at most: sequences × length
	Tokens        int64   `json:"tokens"`
	FLOPsPerToken float64 `json:"flops_per_token"`
	FLOPs         float64 `json:"flops"`
}

// flopsPerToken counts 6 × the parameters of all matrices that multiply (the
// LM head included, the embedding look-up not) plus causal attention:
// 6 × layers × heads × head size × length (half of the full square, forward and backward).
// Recomputation is not counted.
func flopsPerToken(c *checkpoint.Config, length int) float64 {
	q, kv := float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim)
	h, f := float64(c.HiddenSize), float64(c.IntermediateSize)
	layer := 2*h*q + 2*h*kv + 3*h*f
	matrices := float64(c.Layers)*layer + h*float64(c.VocabSize)
	return 6*matrices + 6*float64(c.Layers)*q*float64(length)
}

func makePlan(c *Config, m checkpoint.Config, steps int, adapters int64) Plan {
	p := Plan{Name: c.Name, Params: m.Parameters(), Steps: steps}
	p.Trainable = p.Params
	if c.LoRA != nil {
		p.Trainable = adapters
		p.Params += adapters
	}
	p.TokensPerStep = int64(c.Batch.Global) * int64(c.Data.SequenceLength)
	p.Tokens = p.TokensPerStep * int64(steps)
	p.FLOPsPerToken = flopsPerToken(&m, c.Data.SequenceLength)
	p.FLOPs = p.FLOPsPerToken * float64(p.Tokens)
	return p
}
