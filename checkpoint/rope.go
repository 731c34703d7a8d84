package checkpoint

import (
	"fmt"
	"math"
)

// ropeTypes are the scalings that a config.json can state.
const ropeTypes = "linear, llama3, yarn, dynamic and longrope are"

// parseRopes reads rope_scaling (transformers 4) or rope_parameters (5, which
// holds rope_theta too). Defaults are those of transformers'
// modeling_rope_utils.
func (c *Config) parseRopes(o *jsonObject) error {
	original := o.int("original_max_position_embeddings", 0)
	if o.err != nil {
		return o.err
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if !o.has(key) {
			continue
		}
		s, err := parseObject(o.m[key])
		if err == nil {
			err = c.parseRope(s, original)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return nil
}

// parseRope reads one of the two; original is the top-level
// original_max_position_embeddings of the configuration, 0 if it has none.
func (c *Config) parseRope(o *jsonObject, original int) error {
	c.RopeTheta = o.float("rope_theta", c.RopeTheta)
	if f := o.float("partial_rotary_factor", 1); f != 1 {
		return fmt.Errorf("partial_rotary_factor %v is not supported", f)
	}
	for _, key := range []string{"full_attention", "sliding_attention"} {
		if o.has(key) {
			return fmt.Errorf("rotary positions that differ by layer (%q) are not supported", key)
		}
	}
	typ := o.string("rope_type")
	if typ == "" {
		typ = o.string("type")
	}
	if typ == "su" {
		typ = "longrope" // its first name
	}
	s := RopeScaling{Type: typ, AttentionFactor: o.float("attention_factor", 0)}
	if original == 0 {
		original = o.int("original_max_position_embeddings", c.MaxPositions)
	}
	ratio := float64(c.MaxPositions) / float64(max(original, 1))
	switch typ {
	case "", "default":
		return o.err
	case "linear", "dynamic":
		o.need("factor")
		s.Factor, s.AttentionFactor = o.float("factor", 0), 0
	case "llama3":
		o.need("factor", "low_freq_factor", "high_freq_factor")
		s.Factor, s.AttentionFactor = o.float("factor", 0), 0
		s.LowFreqFactor, s.HighFreqFactor = o.float("low_freq_factor", 0), o.float("high_freq_factor", 0)
		s.OriginalMaxPositions = original
	case "yarn":
		s.Factor, s.OriginalMaxPositions = o.float("factor", ratio), original
		s.BetaFast, s.BetaSlow = orDefault(o.float("beta_fast", 0), 32), orDefault(o.float("beta_slow", 0), 1)
		s.NoTruncate = o.has("truncate") && !o.bool("truncate")
		if s.AttentionFactor == 0 {
			s.AttentionFactor = yarnAttention(s.Factor, o.float("mscale", 0), o.float("mscale_all_dim", 0))
		}
		for _, key := range []string{"extrapolation_factor", "attn_factor"} {
			if f := o.float(key, 1); f != 1 {
				return fmt.Errorf("yarn with %s %v is not supported", key, f)
			}
		}
	case "longrope":
		o.need("long_factor", "short_factor")
		o.get("long_factor", "a list of numbers", &s.Long)
		o.get("short_factor", "a list of numbers", &s.Short)
		s.Factor, s.OriginalMaxPositions = o.float("factor", ratio), original
		if s.AttentionFactor == 0 {
			s.AttentionFactor = 1
			if s.Factor > 1 && original > 1 {
				s.AttentionFactor = math.Sqrt(1 + math.Log(s.Factor)/math.Log(float64(original)))
			}
		}
	default:
		if o.err == nil {
			o.err = fmt.Errorf("rope scaling %q is not supported (%s)", typ, ropeTypes)
		}
	}
	c.RopeScaling = s
	return o.err
}

func orDefault(v, zero float64) float64 {
	if v == 0 {
		return zero
	}
	return v
}

// yarnAttention is the attention factor of YaRN where a model states none: 0.1·ln
// factor + 1, or the quotient of two such terms that DeepSeek's configurations
// weigh with mscale and mscale_all_dim.
func yarnAttention(factor, mscale, mscaleAllDim float64) float64 {
	term := func(weight float64) float64 {
		if factor <= 1 {
			return 1
		}
		return 0.1*weight*math.Log(factor) + 1
	}
	if mscale != 0 && mscaleAllDim != 0 {
		return term(mscale) / term(mscaleAllDim)
	}
	return term(1)
}

// validateRope reports the first impossible value of RopeScaling.
func (c *Config) validateRope() error {
	positive := func(x float64) bool { return x > 1e-9 && x < 1e9 }
	s := c.RopeScaling
	if s.AttentionFactor != 0 && !positive(s.AttentionFactor) {
		return fmt.Errorf("rope attention factor %v", s.AttentionFactor)
	}
	factors := func(list []float32) error {
		if len(list) != c.HeadDim/2 {
			return fmt.Errorf("%d rope factors for %d frequencies", len(list), c.HeadDim/2)
		}
		for i, f := range list {
			if !positive(float64(f)) {
				return fmt.Errorf("rope factor %d is %v", i, f)
			}
		}
		return nil
	}
	switch s.Type {
	case "":
	case "linear":
		if !positive(s.Factor) {
			return fmt.Errorf("linear rope scaling with factor %v", s.Factor)
		}
	case "dynamic":
		// θ is raised to the power HeadDim/(HeadDim−2).
		if !(s.Factor >= 1 && s.Factor < 1e9) || c.HeadDim < 4 {
			return fmt.Errorf("dynamic rope scaling with factor %v, head_dim %d", s.Factor, c.HeadDim)
		}
	case "llama3":
		if !positive(s.Factor) || !positive(s.LowFreqFactor) || !(s.HighFreqFactor > s.LowFreqFactor) || s.OriginalMaxPositions < 1 {
			return fmt.Errorf("llama3 rope scaling with factor %v, low_freq_factor %v, high_freq_factor %v, original_max_position_embeddings %d",
				s.Factor, s.LowFreqFactor, s.HighFreqFactor, s.OriginalMaxPositions)
		}
	case "yarn":
		if !positive(s.Factor) || !positive(s.BetaSlow) || !(s.BetaFast >= s.BetaSlow && s.BetaFast < 1e9) || s.OriginalMaxPositions < 1 {
			return fmt.Errorf("yarn rope scaling with factor %v, beta_fast %v, beta_slow %v, original_max_position_embeddings %d",
				s.Factor, s.BetaFast, s.BetaSlow, s.OriginalMaxPositions)
		}
	case "longrope":
		if s.OriginalMaxPositions < 1 {
			return fmt.Errorf("longrope scaling with original_max_position_embeddings %d", s.OriginalMaxPositions)
		}
		if err := factors(s.Long); err != nil {
			return fmt.Errorf("long_factor: %w", err)
		}
		if err := factors(s.Short); err != nil {
			return fmt.Errorf("short_factor: %w", err)
		}
	case "factors":
		return factors(s.Factors)
	default:
		return fmt.Errorf("rope scaling %q is not supported (%s)", s.Type, ropeTypes)
	}
	return nil
}

// ropeJSON is rope_scaling of config.json, or nil.
func (c *Config) ropeJSON() (any, error) {
	s := c.RopeScaling
	m := map[string]any{"rope_type": s.Type, "factor": pyFloat(s.Factor)}
	switch s.Type {
	case "", "linear", "llama3", "dynamic":
		if a := s.AttentionFactor; a != 0 && a != 1 {
			return nil, fmt.Errorf("the model's attention factor %v can't be stated in config.json without yarn or longrope", a)
		}
	}
	switch s.Type {
	case "factors":
		return nil, fmt.Errorf("the model's rope factors follow no formula that config.json can state")
	case "linear", "dynamic":
		m["type"] = s.Type
	case "llama3":
		m["low_freq_factor"], m["high_freq_factor"] = pyFloat(s.LowFreqFactor), pyFloat(s.HighFreqFactor)
		m["original_max_position_embeddings"] = s.OriginalMaxPositions
	case "yarn":
		m["type"] = s.Type
		m["beta_fast"], m["beta_slow"] = pyFloat(s.BetaFast), pyFloat(s.BetaSlow)
		m["original_max_position_embeddings"] = s.OriginalMaxPositions
		m["attention_factor"] = pyFloat(orDefault(s.AttentionFactor, 1))
		if s.NoTruncate {
			m["truncate"] = false
		}
	case "longrope":
		m["type"] = s.Type
		m["long_factor"], m["short_factor"] = s.Long, s.Short
		m["original_max_position_embeddings"] = s.OriginalMaxPositions
		m["attention_factor"] = pyFloat(orDefault(s.AttentionFactor, 1))
	default:
		return nil, nil
	}
	return m, nil
}

// ropeFromGGUF reads llama.rope.scaling.*, as llama.cpp does.
func (c *Config) ropeFromGGUF(g *GGUF) error {
	var err error
	float := func(key string, missing float64) float64 {
		v := g.Get("llama.rope." + key)
		if v == nil {
			return missing
		}
		f, ok := metadataFloat(v)
		if !ok && err == nil {
			err = fmt.Errorf("metadata llama.rope.%s is %v, not a number", key, v)
		}
		return f
	}
	factor := float("scaling.factor", 0)
	if f := float("scale_linear", 0); factor == 0 {
		factor = f // the key before scaling types existed
	}
	if factor == 0 {
		factor = 1
	}
	s := RopeScaling{AttentionFactor: float("scaling.attn_factor", 0)}
	original := int(min(float("scaling.original_context_length", float64(c.MaxPositions)), math.MaxInt32))
	yarn := float("scaling.yarn_ext_factor", -1)
	typ, stated := g.Get("llama.rope.scaling.type").(string)
	if !stated || typ == "yarn" && yarn == 0 { // no extrapolation at all
		typ = "linear"
	}
	switch typ {
	case "", "none":
	case "linear":
		if factor != 1 {
			s.Type, s.Factor = "linear", factor
		}
	case "yarn":
		if yarn != 1 && yarn != -1 {
			return fmt.Errorf("rope scaling yarn with yarn_ext_factor %v is not supported", yarn)
		}
		s.Type, s.Factor, s.OriginalMaxPositions = typ, factor, original
		s.BetaFast, s.BetaSlow = float("scaling.yarn_beta_fast", 32), float("scaling.yarn_beta_slow", 1)
		all := float("scaling.yarn_log_multiplier", 0)
		// llama.cpp's converter writes what config.json calls attention_factor
		// as yarn_attn_factor; attn_factor comes on top.
		s.AttentionFactor = orDefault(s.AttentionFactor, 1) * float("scaling.yarn_attn_factor", yarnAttention(factor, 1, all))
	case "longrope":
		s.Type, s.OriginalMaxPositions = typ, original
		s.Factor = max(1, float64(c.MaxPositions)/float64(max(original, 1)))
	default:
		return fmt.Errorf("rope scaling %q is not supported (linear, yarn and longrope are)", typ)
	}
	if err != nil {
		return err
	}
	c.RopeScaling = s
	for i := range g.Tensors {
		t := &g.Tensors[i]
		switch t.Name {
		case "rope_freqs.weight":
			if err := c.ropeFactors(t); err != nil {
				return err
			}
		case "rope_factors_long.weight", "rope_factors_short.weight":
			f, err := c.readFactors(t)
			if err != nil {
				return err
			}
			if t.Name == "rope_factors_long.weight" {
				c.RopeScaling.Long = f
			} else {
				c.RopeScaling.Short = f
			}
		}
	}
	if s := &c.RopeScaling; s.Type == "" && s.Long != nil && s.Short != nil {
		// llama.cpp goes by the tensors, whatever the type is.
		s.Type, s.OriginalMaxPositions, s.Factor = "longrope", original, max(1, float64(c.MaxPositions)/float64(max(original, 1)))
	}
	return nil
}

// ropeTensorNames are the tensors of GGUF that belong to the configuration.
var ropeTensorNames = []string{"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}

// ropeTensors are the tensors of GGUF that hold factors of the frequencies.
func (c *Config) ropeTensors() map[string][]float32 {
	switch s := c.RopeScaling; s.Type {
	case "llama3":
		return map[string][]float32{"rope_freqs.weight": c.llama3Factors(s)}
	case "factors":
		return map[string][]float32{"rope_freqs.weight": s.Factors}
	case "longrope":
		return map[string][]float32{"rope_factors_long.weight": s.Long, "rope_factors_short.weight": s.Short}
	}
	return nil
}

// ropeInGGUF reports a scaling that GGUF can't state.
func (c *Config) ropeInGGUF() error {
	switch s := c.RopeScaling; {
	case s.Type == "yarn" && s.NoTruncate:
		return fmt.Errorf("GGUF can't state yarn rope scaling with truncate false")
	case s.Type == "dynamic":
		return fmt.Errorf("GGUF has no dynamic rope scaling, which llama.cpp can't compute; keep the model as a Hugging Face folder")
	}
	return nil
}

// ropeMetadata is the scaling as metadata of GGUF.
func (c *Config) ropeMetadata() []KV {
	s := c.RopeScaling
	key := func(name string, v any) KV { return KV{"llama.rope.scaling." + name, v} }
	var kv []KV
	attention := orDefault(s.AttentionFactor, 1)
	switch s.Type {
	case "linear":
		kv = append(kv, key("type", s.Type), key("factor", float32(s.Factor)))
	case "yarn":
		kv = append(kv, key("type", s.Type), key("factor", float32(s.Factor)), key("original_context_length", uint32(s.OriginalMaxPositions)),
			key("yarn_beta_fast", float32(s.BetaFast)), key("yarn_beta_slow", float32(s.BetaSlow)))
		// llama.cpp computes YaRN's own factor and multiplies.
		attention /= yarnAttention(s.Factor, 0, 0)
	case "longrope":
		kv = append(kv, key("type", s.Type), key("original_context_length", uint32(s.OriginalMaxPositions)))
	}
	if math.Abs(attention-1) > 1e-6 {
		kv = append(kv, key("attn_factor", float32(attention)))
	}
	return kv
}

// llama3Factors are the numbers that llama3 scaling divides the plain frequencies
// by, which GGUF holds in the place of its parameters.
func (c *Config) llama3Factors(s RopeScaling) []float32 {
	out := make([]float32, c.HeadDim/2)
	for i := range out {
		wave := 2 * math.Pi * math.Pow(c.RopeTheta, float64(2*i)/float64(c.HeadDim))
		turns := float64(s.OriginalMaxPositions) / wave
		switch {
		case turns > s.HighFreqFactor:
			out[i] = 1
		case turns < s.LowFreqFactor:
			out[i] = float32(s.Factor)
		default:
			smooth := (turns - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
			out[i] = float32(1 / ((1-smooth)/s.Factor + smooth))
		}
	}
	return out
}
