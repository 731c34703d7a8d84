package llama

import (
	"fmt"
	"strconv"
	"strings"

	"leolm/checkpoint"
	"leolm/device/split"
)

// SplitError reports that a model cannot be shared among so many ranks.
type SplitError struct {
	Ranks, Heads, KVHeads int
	Rows                  int // of its smallest matrix
}

func (e *SplitError) Error() string {
	if e.Rows < e.Ranks {
		return fmt.Sprintf("%d ranks cannot share matrices of %d rows", e.Ranks, e.Rows)
	}
	s := fmt.Sprintf("%d ranks cannot share %d heads with %d heads of keys and values: it takes at most %d ranks", e.Ranks, e.Heads, e.KVHeads, e.KVHeads)
	if e.Heads > e.KVHeads {
		s += fmt.Sprintf(", or a multiple that divides %d", e.Heads)
	}
	return s
}

// splitUnit is in how many rows matrices are cut, where they are large enough: whole panels of every kernel.
const splitUnit = 64

// Split says how ranks share a model: heads of queries with their keys and values, features of the other projections, words
// of embedding and LM head. The parts differ by one head, or by some rows. More ranks than heads of keys and values have
// copies of these, if the heads of queries can be shared evenly; otherwise it is a *SplitError.
func Split(cfg checkpoint.Config, ranks int) (split.Layout, error) {
	small := min(cfg.HiddenSize, cfg.IntermediateSize, cfg.VocabSize)
	copies := ranks > cfg.KVHeads
	if ranks < 1 || small < ranks || copies && (ranks%cfg.KVHeads != 0 || cfg.Heads%ranks != 0) {
		return split.Layout{}, &SplitError{Ranks: ranks, Heads: cfg.Heads, KVHeads: cfg.KVHeads, Rows: small}
	}
	keys := split.Even(cfg.KVHeads, ranks, 1)
	queries := scaled(keys, cfg.Heads/max(cfg.KVHeads, 1))
	if copies {
		queries = split.Even(cfg.Heads, ranks, 1)
		for r := range keys {
			head := r * cfg.KVHeads / ranks
			keys[r] = split.Span{From: head, To: head + 1}
		}
	}
	rows := func(name string, n int) split.Cut {
		if base, ok := strings.CutSuffix(name, ".lora_B.weight"); ok { // one that is trained
			name = base + ".weight"
		}
		name = strings.TrimSuffix(name, ".lora_B")
		switch {
		case strings.HasSuffix(name, ".lora_A"), strings.HasSuffix(name, ".lora_A.weight"):
			return nil // few rows, and the input of the next product
		case strings.HasSuffix(name, ".q_proj.weight"):
			return scaled(queries, cfg.HeadDim)
		case strings.HasSuffix(name, ".k_proj.weight"), strings.HasSuffix(name, ".v_proj.weight"):
			return scaled(keys, cfg.HeadDim)
		case n < ranks*splitUnit:
			return split.Even(n, ranks, 1)
		}
		return split.Even(n, ranks, splitUnit)
	}
	vector := func(name string, n int) split.Cut {
		for _, suffix := range []string{".bias", ".lora_magnitude_vector"} {
			if base, ok := strings.CutSuffix(name, suffix); ok { // an element for each row of a matrix
				return rows(base+".weight", n)
			}
		}
		return nil
	}
	return split.Layout{Rows: rows, KVHeads: func(int) split.Cut { return keys }, Vector: vector}, nil
}

// scaled is a cut of elements that are n each.
func scaled(cut split.Cut, n int) split.Cut {
	out := make(split.Cut, len(cut))
	for r, s := range cut {
		out[r] = split.Span{From: n * s.From, To: n * s.To}
	}
	return out
}

// LayerOf is the layer of the weight with that name, or of an adapter's factor for it, in a model of so many layers: -1 for
// the embedding, and layers for what comes after the last one.
func LayerOf(name string, layers int) int {
	if strings.Contains(name, "embed_tokens") {
		return -1
	}
	_, rest, ok := strings.Cut(name, "layers.")
	number, _, _ := strings.Cut(rest, ".")
	if i, err := strconv.Atoi(number); ok && err == nil {
		return i
	}
	return layers
}
