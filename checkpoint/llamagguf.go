package checkpoint

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"leolm/tensor"
	"leolm/tensor/quant"
	"leolm/tokenizer"
)

// The names of the llama architecture's tensors in GGUF and in Hugging Face
// files; layer tensors without their "blk.N." and "model.layers.N.".
var (
	ggufToHF = map[string]string{
		"token_embd.weight":  "model.embed_tokens.weight",
		"output_norm.weight": "model.norm.weight",
		"output.weight":      "lm_head.weight",
	}
	ggufLayerToHF = map[string]string{
		"attn_norm":   "input_layernorm",
		"attn_q":      "self_attn.q_proj",
		"attn_k":      "self_attn.k_proj",
		"attn_v":      "self_attn.v_proj",
		"attn_output": "self_attn.o_proj",
		"ffn_norm":    "post_attention_layernorm",
		"ffn_gate":    "mlp.gate_proj",
		"ffn_up":      "mlp.up_proj",
		"ffn_down":    "mlp.down_proj",
	}
	hfToGGUF      = invert(ggufToHF)
	hfLayerToGGUF = invert(ggufLayerToHF)
	ggufLayer     = regexp.MustCompile(`^blk\.(\d{1,4})\.(\w+)\.(weight|bias)$`)
	hfLayer       = regexp.MustCompile(`^model\.layers\.(\d{1,4})\.([\w.]+)\.(weight|bias)$`)
)

func invert(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[v] = k
	}
	return out
}

// canonicalName turns a GGUF tensor name into Hugging Face's.
func canonicalName(gguf string) (string, bool) {
	if n, ok := ggufToHF[gguf]; ok {
		return n, true
	}
	if m := ggufLayer.FindStringSubmatch(gguf); m != nil {
		if n, ok := ggufLayerToHF[m[2]]; ok {
			l, _ := strconv.Atoi(m[1])
			return fmt.Sprintf("model.layers.%d.%s.%s", l, n, m[3]), true
		}
	}
	return "", false
}

// ggufName is the inverse of canonicalName.
func ggufName(canonical string) (string, bool) {
	if n, ok := hfToGGUF[canonical]; ok {
		return n, true
	}
	if m := hfLayer.FindStringSubmatch(canonical); m != nil {
		if n, ok := hfLayerToGGUF[m[2]]; ok {
			l, _ := strconv.Atoi(m[1])
			return fmt.Sprintf("blk.%d.%s.%s", l, n, m[3]), true
		}
	}
	return "", false
}

// rotaryHeads is the number of heads in which GGUF interleaves the rows of the
// tensor, 0 for tensors that it leaves in order.
func (c *Config) rotaryHeads(canonical string) int {
	switch {
	case strings.Contains(canonical, ".self_attn.q_proj."):
		return c.Heads
	case strings.Contains(canonical, ".self_attn.k_proj."):
		return c.KVHeads
	}
	return 0
}

func fromGGUF(path string, g *GGUF) (*Checkpoint, error) {
	c := &Checkpoint{Path: path, Format: FormatGGUF, GGUF: g, Files: g.Files, close: g.Close}
	fail := func(err error) (*Checkpoint, error) {
		return nil, &FormatError{File: path, Offset: -1, Err: err}
	}
	var err error
	if c.Vocab, err = g.vocab(); err != nil {
		return fail(err)
	}
	c.takeGGUFTemplates(g)
	c.TokenizerFingerprint, _ = g.Get(keyFingerprint).(string)
	c.Generation = g.generation()
	arch, _ := g.Get("general.architecture").(string)
	if typ, _ := g.Get("general.type").(string); typ == "adapter" {
		return fail(fmt.Errorf("a LoRA adapter, not a model; name it beside its base model"))
	}
	if arch != "llama" {
		if len(g.Tensors) > 0 {
			return fail(fmt.Errorf("architecture %q is not supported (llama is)", arch))
		}
		c.Config.Architecture = arch
		c.Config.BOS, c.Config.PAD = -1, -1
		c.note("Architecture %q is none that Leo computes; the file holds only a vocabulary.", arch)
		c.vocabIDs()
		return c, nil
	}
	if c.Config, err = g.llamaConfig(); err != nil {
		return fail(err)
	}
	c.vocabIDs()
	if err := c.takeGGUFTensors(g); err != nil {
		return nil, err
	}
	if !c.HasWeights() {
		return c, nil
	}
	c.configFromTensors()
	if c.Config.VocabSize < 1 {
		return fail(fmt.Errorf("the embedding has no rows"))
	}
	if err := c.checkTensors(); err != nil {
		return nil, err
	}
	if n := len(c.Vocab.Tokens); n > 0 && n != c.Config.VocabSize {
		c.note("The vocabulary has %d tokens, the embedding %d rows.", n, c.Config.VocabSize)
	}
	return c, nil
}

// takeGGUFTemplates takes the chat template, and others by their names.
func (c *Checkpoint) takeGGUFTemplates(g *GGUF) {
	if t, ok := g.Get("tokenizer.chat_template").(string); ok {
		c.ChatTemplate = t
	}
	for _, kv := range g.KV {
		name, ok := strings.CutPrefix(kv.Key, "tokenizer.chat_template.")
		t, isText := kv.Value.(string)
		if !ok || !isText {
			continue
		}
		if c.ChatTemplates == nil {
			c.ChatTemplates = map[string]string{}
		}
		c.ChatTemplates[name] = t
	}
}

// takeGGUFTensors adds the weights of a Llama and reports other tensors.
func (c *Checkpoint) takeGGUFTensors(g *GGUF) error {
	for i := range g.Tensors {
		s := &g.Tensors[i]
		name, ok := canonicalName(s.Name)
		if !ok {
			if !slices.Contains(ropeTensorNames, s.Name) {
				c.note("Tensor %q is not part of a Llama model and was ignored.", s.Name)
			}
			continue
		}
		t := &Tensor{Name: name, Stored: s.Name, DType: s.DType, Shape: s.Shape, File: s.File, Offset: s.Offset, data: s.Data}
		if h := c.Config.rotaryHeads(name); h > 0 {
			if n := t.Shape.Rows(); len(t.Shape) == 2 && n != h*c.Config.HeadDim || len(t.Shape) == 1 && t.Shape[0] != h*c.Config.HeadDim {
				return &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Msg: fmt.Sprintf("shape %v doesn't fit %d heads of %d", s.Shape, h, c.Config.HeadDim)}
			}
			t.heads = h
		}
		if err := c.add(t); err != nil {
			return err
		}
	}
	return nil
}

// configFromTensors takes what GGUF's metadata do not say from the weights that are there: an LM head of its own, biases,
// the rows of the embedding.
func (c *Checkpoint) configFromTensors() {
	_, output := c.Tensor("lm_head.weight")
	c.Config.TieEmbeddings = !output
	_, c.Config.AttentionBias = c.Tensor("model.layers.0.self_attn.q_proj.bias")
	_, c.Config.MLPBias = c.Tensor("model.layers.0.mlp.gate_proj.bias")
	if e, ok := c.Tensor("model.embed_tokens.weight"); ok && len(e.Shape) == 2 {
		c.Config.VocabSize, c.Config.DType = e.Shape[0], e.DType
	}
}

// llamaConfig reads the metadata of the llama architecture.
func (g *GGUF) llamaConfig() (Config, error) {
	c := Config{Architecture: "llama", BOS: -1, PAD: -1, TransformersModel: "LlamaForCausalLM"}
	var err error
	num := func(key string, missing int) int {
		v := g.Get("llama." + key)
		if v == nil {
			if missing < 0 && err == nil {
				err = fmt.Errorf("metadata llama.%s is missing", key)
			}
			return missing
		}
		if n, ok := asInt(v); ok {
			return n
		}
		// One number per layer: all the same, or a model that Leo doesn't know.
		if n, ok := uniform(v); ok {
			return n
		}
		if err == nil {
			err = fmt.Errorf("metadata llama.%s is %v, not one whole number", key, abbreviate([]byte(fmt.Sprint(v))))
		}
		return missing
	}
	float := func(key string, missing float64) float64 {
		v := g.Get("llama." + key)
		if v == nil {
			return missing
		}
		f, ok := metadataFloat(v)
		if !ok && err == nil {
			err = fmt.Errorf("metadata llama.%s is %v, not a number", key, v)
		}
		return f
	}
	if n := num("expert_count", 0); n > 0 {
		return c, fmt.Errorf("a mixture of %d experts is not supported", n)
	}
	c.HiddenSize = num("embedding_length", -1)
	c.IntermediateSize = num("feed_forward_length", -1)
	c.Layers = num("block_count", -1)
	c.Heads = num("attention.head_count", -1)
	c.KVHeads = num("attention.head_count_kv", c.Heads)
	c.MaxPositions = num("context_length", -1)
	tokens, _ := g.Get("tokenizer.ggml.tokens").([]string)
	c.VocabSize = num("vocab_size", max(len(tokens), 1))
	if c.SlidingWindow = num("attention.sliding_window", 0); c.SlidingWindow > 0 {
		// GGUF has one architecture for both; only Mistral has a window.
		c.Architecture, c.TransformersModel = "mistral", "MistralForCausalLM"
	}
	c.RMSEps = float("attention.layer_norm_rms_epsilon", 1e-5)
	c.RopeTheta = float("rope.freq_base", 10000)
	if err != nil {
		return c, err
	}
	c.HeadDim = num("attention.key_length", 0)
	if c.HeadDim == 0 {
		if c.Heads < 1 || c.HiddenSize%c.Heads != 0 {
			return c, fmt.Errorf("embedding_length %d is not a multiple of attention.head_count %d", c.HiddenSize, c.Heads)
		}
		c.HeadDim = c.HiddenSize / c.Heads
	}
	if v := num("attention.value_length", c.HeadDim); v != c.HeadDim {
		return c, fmt.Errorf("heads of %d for keys and %d for values are not supported", c.HeadDim, v)
	}
	if r := num("rope.dimension_count", c.HeadDim); r != c.HeadDim {
		return c, fmt.Errorf("rotary positions on %d of %d elements of a head are not supported", r, c.HeadDim)
	}
	if err != nil {
		return c, err
	}
	if causal, ok := g.Get("llama.attention.causal").(bool); ok && !causal {
		return c, fmt.Errorf("attention.causal is false: a model that reads in both directions, which Leo doesn't compute")
	}
	if err := c.ropeFromGGUF(g); err != nil {
		return c, err
	}
	return c, c.Validate()
}

// metadataFloat reads a number. Stored as float32, the shortest decimal is what
// was meant (1e-5).
func metadataFloat(v any) (float64, bool) {
	f, ok := asFloat(v)
	if v, ok := v.(float32); ok {
		f, _ = strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	}
	return f, ok
}

func uniform(v any) (int, bool) {
	var first, n int
	same := func(x int) bool {
		n++
		if n == 1 {
			first = x
		}
		return x == first
	}
	switch v := v.(type) {
	case []int32:
		for _, x := range v {
			if !same(int(x)) {
				return 0, false
			}
		}
	case []uint32:
		for _, x := range v {
			if !same(int(x)) {
				return 0, false
			}
		}
	}
	return first, n > 0
}

// ropeFactors reads rope_freqs.weight, which llama.cpp divides the frequencies
// by. Converted Llama-3 models have it; where the parameters of a known family
// give the same factors, the configuration says "llama3" with them, so that it
// can be written back as config.json.
func (c *Config) ropeFactors(t *Stored) error {
	if c.RopeScaling.Type != "" {
		return &FormatError{File: t.File, Tensor: t.Name, Offset: t.Offset, Msg: fmt.Sprintf("both rope factors and %s scaling", c.RopeScaling.Type)}
	}
	factors, err := c.readFactors(t)
	if err != nil {
		return err
	}
	attention := c.RopeScaling.AttentionFactor
	c.RopeScaling = RopeScaling{Type: "factors", Factors: factors, AttentionFactor: attention}
	largest := float32(0)
	for _, f := range factors {
		largest = max(largest, f)
	}
	for _, original := range []int{8192, 4096, 2048, 16384, c.MaxPositions} {
		guess := RopeScaling{Type: "llama3", Factor: float64(largest), LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: original, AttentionFactor: attention}
		if c.sameFactors(guess, factors) {
			c.RopeScaling = guess
			return nil
		}
	}
	return nil
}

// readFactors reads one factor for every frequency.
func (c *Config) readFactors(t *Stored) ([]float32, error) {
	factors := make([]float32, c.HeadDim/2)
	if len(t.Shape) != 1 || t.Shape[0] != len(factors) || t.DType != tensor.F32 {
		return nil, &FormatError{File: t.File, Tensor: t.Name, Offset: t.Offset, Msg: fmt.Sprintf("shape %v of %v; %d float32 numbers expected", t.Shape, t.DType, len(factors))}
	}
	if err := quant.Dequantize(factors, t.DType, t.Data); err != nil {
		return nil, &FormatError{File: t.File, Tensor: t.Name, Offset: t.Offset, Err: err}
	}
	return factors, nil
}

func (c *Config) sameFactors(s RopeScaling, want []float32) bool {
	if !(s.Factor > 0) || s.OriginalMaxPositions < 1 {
		return false
	}
	for i, f := range c.llama3Factors(s) {
		if math.Abs(float64(f-want[i])) > 1e-4*math.Abs(float64(want[i])) {
			return false
		}
	}
	return true
}

// vocab collects the tokenizer.ggml.* metadata.
func (g *GGUF) vocab() (*tokenizer.GGUFVocab, error) {
	v := &tokenizer.GGUFVocab{BOS: -1, EOS: -1, UNK: -1, PAD: -1}
	v.Model, _ = g.Get("tokenizer.ggml.model").(string)
	v.Pre, _ = g.Get("tokenizer.ggml.pre").(string)
	for key, dst := range map[string]any{
		"tokens": &v.Tokens, "scores": &v.Scores, "token_type": &v.Types, "merges": &v.Merges,
	} {
		val := g.Get("tokenizer.ggml." + key)
		ok := true
		switch dst := dst.(type) {
		case *[]string:
			if val != nil {
				*dst, ok = val.([]string)
			}
		case *[]float32:
			if val != nil {
				*dst, ok = numbers[float32](val)
			}
		case *[]int32:
			if val != nil {
				*dst, ok = numbers[int32](val)
			}
		}
		if !ok {
			return nil, fmt.Errorf("metadata tokenizer.ggml.%s is a %T", key, val)
		}
	}
	if n := len(v.Tokens); v.Scores != nil && len(v.Scores) != n || v.Types != nil && len(v.Types) != n {
		return nil, fmt.Errorf("tokenizer.ggml has %d tokens, %d scores, %d types", n, len(v.Scores), len(v.Types))
	}
	v.BOS, v.EOS, v.UNK, v.PAD = g.tokenID("bos"), g.tokenID("eos"), g.tokenID("unknown"), g.tokenID("padding")
	// llama.cpp's defaults for absent keys.
	v.AddBOS, v.AddSpacePrefix = v.Model == "llama", v.Model == "llama"
	if v.Model == "gpt2" {
		// Package tokenizer reports unknown names.
		pre, _ := tokenizer.PreTokenizerByName(v.Pre)
		v.AddBOS = pre.AddBOS
	}
	for key, dst := range map[string]*bool{
		"add_bos_token": &v.AddBOS, "add_eos_token": &v.AddEOS, "add_space_prefix": &v.AddSpacePrefix, "remove_extra_whitespaces": &v.RemoveExtra,
	} {
		if b, ok := g.Get("tokenizer.ggml." + key).(bool); ok {
			*dst = b
		}
	}
	if b, ok := g.Get(keyLegacy).(bool); ok {
		v.FirstOnly = !b
	}
	switch m := g.Get("tokenizer.ggml.precompiled_charsmap").(type) {
	case []uint8:
		v.Charsmap = m
	case []int8:
		for _, b := range m {
			v.Charsmap = append(v.Charsmap, byte(b))
		}
	}
	return v, nil
}

// tokenID reads tokenizer.ggml.NAME_token_id, -1 where it is absent or names no
// token (files of 2023 say 0xffffffff for "none").
func (g *GGUF) tokenID(name string) int {
	tokens, _ := g.Get("tokenizer.ggml.tokens").([]string)
	if n, ok := asInt(g.Get("tokenizer.ggml." + name + "_token_id")); ok && n >= 0 && n < len(tokens) {
		return n
	}
	return -1
}

// vocabIDs fills the configuration's special ids from the vocabulary.
func (c *Checkpoint) vocabIDs() {
	v := c.Vocab
	c.Config.BOS, c.Config.PAD = v.BOS, v.PAD
	c.Config.EOS = addIDs(nil, v.EOS, c.GGUF.tokenID("eot"))
	c.vocabStops(v.Tokens)
}

// endOfTurn are the tokens that end a turn in common chat formats.
var endOfTurn = []string{"<|im_end|>", "<|eot_id|>", "<|end_of_turn|>", "<end_of_turn>", "<|end|>"}

// endOfText are the tokens that end a text; where a vocabulary has one as a
// control token, it stops an answer even if the file names another end.
var endOfText = []string{"</s>", "<|endoftext|>", "<|end_of_text|>"}

// EndTokens are the control tokens that end a turn or a text in common vocabularies, by name.
func EndTokens() []string { return slices.Concat(endOfTurn, endOfText) }

// vocabStops adds the stop tokens that the vocabulary names but the special ids
// don't, and reports LeoLM's damaged names.
func (c *Checkpoint) vocabStops(tokens []string) {
	for id, s := range tokens {
		if id < len(c.Vocab.Types) && c.Vocab.Types[id] == tokenControl && slices.Contains(endOfText, s) {
			c.Config.EOS = addIDs(c.Config.EOS, id)
		}
		for _, e := range endOfTurn {
			if s == e {
				n := len(c.Config.EOS)
				if c.Config.EOS = addIDs(c.Config.EOS, id); len(c.Config.EOS) > n {
					c.note("The end-of-sequence id is not the end of a turn: %s (%d) stops an answer too.", e, id)
				}
			}
		}
	}
	if len(tokens) > 32006 {
		for i, name := range []string{"<|im_start|>", "<|im_end|>"} {
			if id := 32005 + i; tokens[id] == fmt.Sprintf("<dummy%d>", id) {
				c.note("Token %d is called %s, an old converter's name for LeoLM's %s; package tokenizer gives it its own name back.", id, tokens[id], name)
				if id == 32006 {
					c.Config.EOS = addIDs(c.Config.EOS, id)
				}
			}
		}
	}
	seen := 0
	for _, s := range tokens {
		if s == "<EOD>" {
			seen++
		}
	}
	if seen > 1 {
		c.note("The vocabulary has %d tokens called <EOD>; the later ones can't be reached by name.", seen)
	}
}
