package checkpoint

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The keys of sampling defaults in GGUF (gguf-py's constants.py); top_k is an int32, the others are float32. The format
// has no key for other fields of generation_config.json, such as typical_p.
const (
	ggufTemperature       = "general.sampling.temp"
	ggufTopK              = "general.sampling.top_k"
	ggufTopP              = "general.sampling.top_p"
	ggufMinP              = "general.sampling.min_p"
	ggufRepetitionPenalty = "general.sampling.penalty_repeat"
)

// floats are the fields of g that GGUF stores as float32, by key.
func (g *Generation) floats() map[string]**float64 {
	return map[string]**float64{ggufTemperature: &g.Temperature, ggufTopP: &g.TopP, ggufMinP: &g.MinP, ggufRepetitionPenalty: &g.RepetitionPenalty}
}

// generation reads the file's sampling defaults. Values that are negative, infinite or of another type are ignored.
func (g *GGUF) generation() Generation {
	var out Generation
	for key, dst := range out.floats() {
		if v, ok := g.Get(key).(float32); ok && v >= 0 && !math.IsInf(float64(v), 0) {
			// The shortest decimal of this float32: 0.3 and not 0.30000001192….
			x, _ := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
			*dst = &x
		}
	}
	switch v := g.Get(ggufTopK).(type) {
	case int32:
		if k := int(v); k >= 0 {
			out.TopK = &k
		}
	case uint32:
		if v <= math.MaxInt32 {
			k := int(v)
			out.TopK = &k
		}
	}
	return out
}

// GGUFNotes lists the fields of g that GGUF has no key for.
func (g *Generation) GGUFNotes() []string {
	var lost []string
	if g.DoSample == nil || *g.DoSample {
		if g.TypicalP != nil && *g.TypicalP < 1 {
			lost = append(lost, "typical_p")
		}
	}
	for name, v := range map[string]*int{"max_length": g.MaxLength, "max_new_tokens": g.MaxNewTokens} {
		if v != nil {
			lost = append(lost, name)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	slices.Sort(lost)
	return []string{fmt.Sprintf("GGUF has no entry for %s of generation_config.json.", strings.Join(lost, ", "))}
}

// Drawing returns g with do_sample set if g has sampling fields that imply it: without do_sample transformers decodes
// greedily and ignores them.
func (g Generation) Drawing() Generation {
	if g.DoSample != nil {
		return g
	}
	if t := g.Temperature; (t != nil && *t > 0) || t == nil && (g.TopP != nil || g.TopK != nil || g.MinP != nil) {
		yes := true
		g.DoSample = &yes
	}
	return g
}

// Replace returns the metadata of a GGUF file with g's sampling defaults instead of the file's own.
func (g *Generation) Replace(metadata []KV) []KV {
	kept := slices.DeleteFunc(slices.Clone(metadata), func(e KV) bool { return strings.HasPrefix(e.Key, "general.sampling.") })
	if g.DoSample != nil && !*g.DoSample {
		return kept // the other fields have no effect then, in transformers and here
	}
	floats := g.floats()
	for _, key := range sortedKeys(floats) {
		if v := *floats[key]; v != nil {
			kept = append(kept, KV{key, float32(*v)})
		}
	}
	if g.TopK != nil && *g.TopK <= math.MaxInt32 {
		kept = append(kept, KV{ggufTopK, int32(*g.TopK)})
	}
	return kept
}
