package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"leolm/internal/durable"
	"leolm/tensor"
)

// HFOptions are the parts of a Hugging Face folder besides configuration and weights.
type HFOptions struct {
	DType      tensor.DType   // f32, f16 or bf16; Invalid: bf16
	ShardSize  int64          // largest safetensors file; 0: 5 GB, as transformers
	Generation *Generation    // generation_config.json; token ids that it lacks come from the configuration
	Files      TokenizerFiles // the tokenizer's files and further ones
	Progress   func(tensor string, done, total int64)
}

const defaultShardSize = 5_000_000_000

// ConfigJSON is the config.json of c, readable by transformers 4 and 5 and by
// llama.cpp's converter.
func (c *Config) ConfigJSON() ([]byte, error) {
	name := map[string]string{"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM"}[c.Architecture]
	if name == "" {
		return nil, fmt.Errorf("architecture %q has no config.json", c.Architecture)
	}
	var eos any
	switch len(c.EOS) {
	case 0:
	case 1:
		eos = c.EOS[0]
	default:
		eos = c.EOS
	}
	id := func(n int) any {
		if n < 0 {
			return nil
		}
		return n
	}
	rope, err := c.ropeJSON()
	if err != nil {
		return nil, err
	}
	init := c.InitializerRange
	if init == 0 {
		init = 0.02
	}
	m := map[string]any{
		"architectures": []string{name}, "model_type": c.Architecture, "hidden_act": "silu",
		"hidden_size": c.HiddenSize, "intermediate_size": c.IntermediateSize, "num_hidden_layers": c.Layers,
		"num_attention_heads": c.Heads, "num_key_value_heads": c.KVHeads, "head_dim": c.HeadDim,
		"vocab_size": c.VocabSize, "max_position_embeddings": c.MaxPositions, "rms_norm_eps": c.RMSEps,
		"rope_theta": pyFloat(c.RopeTheta), "rope_scaling": rope, "tie_word_embeddings": c.TieEmbeddings,
		"attention_bias": c.AttentionBias, "mlp_bias": c.MLPBias, "attention_dropout": 0.0, "initializer_range": init,
		"bos_token_id": id(c.BOS), "eos_token_id": eos, "pad_token_id": id(c.PAD), "use_cache": true,
	}
	if c.Architecture == "mistral" {
		m["sliding_window"] = nil
		if c.SlidingWindow > 0 {
			m["sliding_window"] = c.SlidingWindow
		}
	}
	for n, d := range torchDTypes {
		if d == c.DType && d != tensor.Invalid && !bytes.HasPrefix([]byte(n), []byte("torch.")) {
			m["torch_dtype"] = n
		}
	}
	return indentJSON(m)
}

// pyFloat is written so that Python reads a float: transformers 4 refuses a
// RoPE factor of 2 where it takes 2.0.
type pyFloat float64

func (f pyFloat) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(float64(f))
	if err == nil && !bytes.ContainsAny(b, ".e") {
		b = append(b, ".0"...)
	}
	return b, err
}

func indentJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var shardName = regexp.MustCompile(`^(model-\d{5}-of-\d{5}\.safetensors|model\.safetensors(\.index\.json)?)$`)

// WriteHF writes a folder that transformers loads. config.json is removed
// first and written last, each file atomically: a folder whose writing was
// interrupted has no config.json and is refused by Open. Sources must be the
// tensors that cfg implies.
func WriteHF(dir string, cfg Config, sources []Source, opt HFOptions) error {
	if opt.DType == tensor.Invalid {
		opt.DType = tensor.BF16
	}
	if _, ok := safetensorsNames[opt.DType]; !ok {
		return fmt.Errorf("%s: a Hugging Face folder can't hold %v", dir, opt.DType)
	}
	if opt.ShardSize <= 0 {
		opt.ShardSize = defaultShardSize
	}
	cfg.DType = opt.DType
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := checkSources(&cfg, sources); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	config, err := cfg.ConfigJSON()
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	var gen Generation
	if opt.Generation != nil {
		gen = *opt.Generation
	}
	// transformers stops at the ids of generation_config.json alone: it names every one that is known.
	gen.EOS = addIDs(addIDs(nil, cfg.EOS...), gen.EOS...)
	if gen.BOS == nil && cfg.BOS >= 0 {
		gen.BOS = &cfg.BOS
	}
	if gen.PAD == nil && cfg.PAD >= 0 {
		gen.PAD = &cfg.PAD
	}
	generation, err := indentJSON(gen)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, "config.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	written, err := writeShards(dir, sources, opt)
	if err != nil {
		return err
	}
	files := maps.Clone(opt.Files)
	if files == nil {
		files = map[string][]byte{}
	}
	files["generation_config.json"] = generation
	for _, name := range sortedKeys(files) {
		base, further := strings.CutPrefix(name, moreTemplates+"/")
		if base != filepath.Base(base) || name == "config.json" || written[name] {
			return fmt.Errorf("%s: %q can't be the name of a further file", dir, name)
		}
		if further {
			if err := os.MkdirAll(filepath.Join(dir, moreTemplates), 0o777); err != nil {
				return err
			}
		}
		if err := durable.WriteFile(filepath.Join(dir, name), files[name]); err != nil {
			return err
		}
	}
	// Weights of an earlier model in this folder would shadow or litter.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); shardName.MatchString(n) && !written[n] {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				return err
			}
		}
	}
	return durable.WriteFile(filepath.Join(dir, "config.json"), config)
}

func checkSources(cfg *Config, sources []Source) error {
	have := make(map[string]tensor.Shape, len(sources))
	for _, s := range sources {
		have[s.Name] = s.Shape
	}
	want := cfg.TensorShapes()
	for _, w := range want {
		s, ok := have[w.Name]
		if !ok {
			return fmt.Errorf("tensor %q is missing", w.Name)
		}
		if !s.Equal(w.Shape) {
			return fmt.Errorf("tensor %q has shape %v, the configuration implies %v", w.Name, s, w.Shape)
		}
	}
	if len(want) != len(sources) {
		return fmt.Errorf("%d tensors for a model of %d", len(sources), len(want))
	}
	return nil
}

// writeShards returns the names of the files it wrote.
func writeShards(dir string, sources []Source, opt HFOptions) (map[string]bool, error) {
	var shards [][]Output
	var total, size int64
	sizes := map[string]int64{}
	for i := range sources {
		s := &sources[i]
		n, err := s.Shape.Size(opt.DType)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", s.Name, err)
		}
		if len(shards) == 0 || size > 0 && size+int64(n) > opt.ShardSize {
			shards, size = append(shards, nil), 0
		}
		size += int64(n)
		total += int64(n)
		sizes[s.Name] = int64(n)
		last := &shards[len(shards)-1]
		*last = append(*last, Output{Name: s.Name, DType: opt.DType, Shape: s.Shape, Write: func(w io.Writer) error {
			return s.writeAs(w, opt.DType, 0)
		}})
	}
	var done int64
	written := map[string]bool{}
	weightMap := map[string]string{}
	for i, shard := range shards {
		name := "model.safetensors"
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		for j := range shard {
			t := &shard[j]
			weightMap[t.Name] = name
			write := t.Write
			t.Write = func(w io.Writer) error {
				if opt.Progress != nil {
					opt.Progress(t.Name, done, total)
				}
				err := write(w)
				done += sizes[t.Name]
				return err
			}
		}
		if err := WriteSafetensors(filepath.Join(dir, name), map[string]string{"format": "pt"}, shard); err != nil {
			return nil, err
		}
		written[name] = true
	}
	if opt.Progress != nil {
		opt.Progress("", total, total)
	}
	if len(shards) > 1 {
		index, err := indentJSON(map[string]any{"metadata": map[string]any{"total_size": total}, "weight_map": weightMap})
		if err != nil {
			return nil, err
		}
		if err := durable.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index); err != nil {
			return nil, err
		}
		written["model.safetensors.index.json"] = true
	}
	return written, nil
}
