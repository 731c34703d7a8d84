package llama

import (
	"math"

	"leolm/checkpoint"
	"leolm/device"
)

// ropes are the angular frequencies of a model's rotary embedding (Su et al.
// 2021): fixed, or a function of the length of the text.
type ropes struct {
	short *device.Rope // for texts of up to limit tokens; for all when limit is 0
	limit int
	long  func(length int) []float32
	each  bool // length of a long text has frequencies of its own
}

func newRopes(dev device.Runner, c *checkpoint.Config) ropes {
	s := c.RopeScaling
	r := ropes{short: dev.NewRope(c.HeadDim, frequencies(c))}
	if s.AttentionFactor != 1 {
		r.short.Scale = float32(s.AttentionFactor)
	}
	switch s.Type {
	case "dynamic":
		r.limit, r.long, r.each = c.MaxPositions, func(length int) []float32 { return dynamic(c, length) }, true
	case "longrope":
		long := divided(c, s.Long)
		r.limit, r.long = s.OriginalMaxPositions, func(int) []float32 { return long }
	}
	return r
}

// TextLength is what the keys of a text of n tokens depend on beside the tokens up to theirs. With rotary scalings that
// look at the length of a long text it is that length, or one number for all long texts; otherwise 0.
func (m *Model) TextLength(n int) int {
	switch r := &m.ropes; {
	case r.limit == 0 || n <= r.limit:
		return 0
	case r.each:
		return n
	default:
		return r.limit + 1
	}
}

// of returns the frequencies for a batch. If they depend on the length of the
// text, that is b.Lengths, or by default the length up to the end of the batch's part.
func (r *ropes) of(b *Batch) *device.Rope {
	if r.limit == 0 {
		return r.short
	}
	lengths := b.Lengths
	if lengths == nil {
		lengths = make([]int32, len(b.IDs))
		for _, s := range b.Seqs {
			for i := range s.Len {
				lengths[s.Row+i] = int32(s.Past + s.Len)
			}
		}
	}
	rows := make([][]float32, len(lengths))
	long := false
	byLength := map[int32][]float32{}
	for i, n := range lengths {
		rows[i] = r.short.InvFreq
		if int(n) <= r.limit {
			continue
		}
		long = true
		if byLength[n] == nil {
			byLength[n] = r.long(int(n))
		}
		rows[i] = byLength[n]
	}
	if !long {
		return r.short
	}
	of := *r.short
	of.Rows = rows
	return &of
}

// frequencies returns the HeadDim/2 angular frequencies θ_i per position, with all
// scaling applied: angle(pos, i) = float32(pos)·θ_i. They are computed in float32 in the
// order of transformers (modeling_rope_utils), so that tables made from them agree. For
// scalings that depend on the length of the text, they are those of a short text.
func frequencies(c *checkpoint.Config) []float32 {
	s := c.RopeScaling
	switch s.Type {
	case "longrope":
		return divided(c, s.Short)
	case "yarn":
		return yarn(c)
	}
	out := plain(c.HeadDim, c.RopeTheta)
	switch s.Type {
	case "linear":
		for i := range out {
			out[i] /= float32(s.Factor)
		}
	case "llama3":
		llama3(out, s)
	case "factors":
		for i := range out {
			out[i] /= s.Factors[i]
		}
	}
	return out
}

// wavelengths are base^(2i/dim): torch's base ** (arange(0, dim, 2).float() / dim).
func wavelengths(dim int, base float64) []float32 {
	out := make([]float32, dim/2)
	for i := range out {
		out[i] = float32(math.Pow(base, float64(float32(2*i)/float32(dim))))
	}
	return out
}

func plain(dim int, base float64) []float32 {
	out := wavelengths(dim, base)
	for i, w := range out {
		out[i] = 1 / w
	}
	return out
}

// divided is LongRoPE (Ding et al. 2024): every frequency has a factor of its own.
func divided(c *checkpoint.Config, factors []float32) []float32 {
	out := wavelengths(c.HeadDim, c.RopeTheta)
	for i, w := range out {
		out[i] = 1 / (factors[i] * w)
	}
	return out
}

// dynamic is NTK-aware scaling with a base that grows with the length of the text.
func dynamic(c *checkpoint.Config, length int) []float32 {
	factor, limit, dim := c.RopeScaling.Factor, float64(c.MaxPositions), float64(c.HeadDim)
	grown := factor*max(float64(length), limit)/limit - (factor - 1)
	return plain(c.HeadDim, c.RopeTheta*math.Pow(grown, dim/(dim-2)))
}

// llama3 scales plain frequencies as Llama 3.1 does: long wavelengths by the factor, short
// ones not at all, and those in between by interpolation.
func llama3(freqs []float32, s checkpoint.RopeScaling) {
	lowWave := float64(s.OriginalMaxPositions) / s.LowFreqFactor
	highWave := float64(s.OriginalMaxPositions) / s.HighFreqFactor
	for i, f := range freqs {
		wave := float32(2*math.Pi) / f
		switch {
		case float64(wave) < highWave:
		case float64(wave) > lowWave:
			freqs[i] = f / float32(s.Factor)
		default:
			smooth := (float32(s.OriginalMaxPositions)/wave - float32(s.LowFreqFactor)) / float32(s.HighFreqFactor-s.LowFreqFactor)
			freqs[i] = float32((1-smooth)*f/float32(s.Factor)) + smooth*f
		}
	}
}

// yarn is NTK-by-parts (Peng et al. 2023, "YaRN"): frequencies with at least BetaFast
// rotations over the original length stay, those with at most BetaSlow rotations are
// divided by the factor, and those in between are blended by their index.
func yarn(c *checkpoint.Config) []float32 {
	s, dim := c.RopeScaling, float64(c.HeadDim)
	// at is the index of the frequency with that many rotations.
	at := func(rotations float64) float64 {
		return dim * math.Log(float64(s.OriginalMaxPositions)/(rotations*2*math.Pi)) / (2 * math.Log(c.RopeTheta))
	}
	low, high := at(s.BetaFast), at(s.BetaSlow)
	if !s.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, dim-1)
	if low == high {
		high += 0.001
	}
	out := wavelengths(c.HeadDim, c.RopeTheta)
	for i, w := range out {
		ramp := min(max((float32(i)-float32(low))/float32(high-low), 0), 1)
		keep := 1 - ramp
		out[i] = float32(1/(float32(s.Factor)*w)*(1-keep)) + 1/w*keep
	}
	return out
}
