package checkpoint

import "leolm/tensor"

// Memory is what a context of Tokens positions takes, in bytes: the weights as
// stored (mapped, shared between processes) and the keys and values of one
// sequence. Working buffers of some hundred MB at most come on top.
type Memory struct {
	Tokens  int   `json:"tokens"`
	Weights int64 `json:"weights"`
	CacheF  int64 `json:"cache_f16"` // the same for bf16
	CacheQ8 int64 `json:"cache_q8_0"`
}

// Memory predicts the memory for a context.
func (c *Checkpoint) Memory(tokens int) (Memory, error) {
	m := Memory{Tokens: tokens, Weights: c.Size()}
	var err error
	if m.CacheF, err = c.Config.KVCacheBytes(tokens, tensor.F16); err != nil {
		return m, err
	}
	// q8_0 needs whole blocks of 32 per row.
	cfg := c.Config
	cfg.KVHeads, cfg.HeadDim = 1, (c.Config.KVHeads*c.Config.HeadDim+31)/32*32
	m.CacheQ8, err = cfg.KVCacheBytes(tokens, tensor.Q8_0)
	return m, err
}
