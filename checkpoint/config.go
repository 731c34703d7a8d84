package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"leolm/internal/pyjson"
	"leolm/tensor"
)

// Config is the shape of a Llama model, in Hugging Face's words.
type Config struct {
	Architecture     string // "llama" or "mistral"; other values only in files that hold no weights
	HiddenSize       int
	IntermediateSize int
	Layers           int
	Heads            int // query heads
	KVHeads          int // key and value heads; divides Heads
	HeadDim          int // even
	VocabSize        int // rows of the embedding
	MaxPositions     int // positions the model was trained for, RoPE scaling included

	RMSEps      float64
	RopeTheta   float64
	RopeScaling RopeScaling

	TieEmbeddings bool // the embedding is the output matrix too
	AttentionBias bool // q, k, v and o have a bias
	MLPBias       bool // gate, up and down have a bias
	SlidingWindow int  // keys a query sees, itself included; 0: all

	BOS int   // -1: none
	EOS []int // every id that ends an answer; see Checkpoint.StopIDs
	PAD int   // -1: none

	DType             tensor.DType // of the weights, as config.json says; Invalid if it doesn't
	InitializerRange  float64      // 0: not stated
	TransformersModel string       // architectures[0], such as "LlamaForCausalLM"; for reports
}

// RopeScaling says how rotary positions are stretched; package llama has the
// formulas.
//
// "linear" divides positions by Factor. "llama3" divides frequencies by Factor
// below the wavelength OriginalMaxPositions/LowFreqFactor, leaves them above
// OriginalMaxPositions/HighFreqFactor and blends between. "yarn" (Peng et al.
// 2023) does the same by the number of turns in OriginalMaxPositions, from
// BetaSlow to BetaFast. "dynamic" raises θ with the length of the text once that
// exceeds MaxPositions. "longrope" divides frequency i by Short[i], in texts
// longer than OriginalMaxPositions by Long[i]. "factors" divides frequency i by
// Factors[i] (GGUF's rope_freqs tensor, when no llama3 parameters explain it).
type RopeScaling struct {
	Type                          string // "", "linear", "llama3", "yarn", "dynamic", "longrope" or "factors"
	Factor                        float64
	LowFreqFactor, HighFreqFactor float64
	OriginalMaxPositions          int
	BetaFast, BetaSlow            float64   // yarn
	NoTruncate                    bool      // yarn: the range of blending isn't rounded to whole frequencies
	Long, Short                   []float32 // longrope; HeadDim/2 of them
	Factors                       []float32 // HeadDim/2 of them
	// AttentionFactor multiplies cosines and sines; 0: 1.
	AttentionFactor float64
}

// Limits far beyond any Llama, so that products of them can't overflow.
const (
	maxExtent = 1 << 24
	maxLayers = 1 << 12
)

// Validate reports the first value that no Llama can have.
func (c *Config) Validate() error {
	for _, f := range []struct {
		name   string
		v, max int
	}{
		{"hidden_size", c.HiddenSize, maxExtent}, {"intermediate_size", c.IntermediateSize, maxExtent},
		{"num_hidden_layers", c.Layers, maxLayers}, {"num_attention_heads", c.Heads, 1 << 16},
		{"num_key_value_heads", c.KVHeads, 1 << 16}, {"head_dim", c.HeadDim, 1 << 14},
		{"vocab_size", c.VocabSize, maxExtent}, {"max_position_embeddings", c.MaxPositions, math.MaxInt32},
	} {
		if f.v < 1 || f.v > f.max {
			return fmt.Errorf("%s is %d; 1 to %d are possible", f.name, f.v, f.max)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim %d is odd; rotary positions need pairs", c.HeadDim)
	}
	if c.Heads*c.HeadDim > maxExtent {
		return fmt.Errorf("num_attention_heads %d × head_dim %d is more than %d", c.Heads, c.HeadDim, maxExtent)
	}
	if !(c.RMSEps > 0 && c.RMSEps < 1) {
		return fmt.Errorf("rms_norm_eps is %v; a number between 0 and 1 is possible", c.RMSEps)
	}
	if !(c.RopeTheta > 1 && c.RopeTheta < 1e12) {
		return fmt.Errorf("rope_theta is %v; a number between 1 and 1e12 is possible", c.RopeTheta)
	}
	if c.SlidingWindow < 0 {
		return fmt.Errorf("sliding_window is %d", c.SlidingWindow)
	}
	return c.validateRope()
}

// Parameters counts the weights that the configuration implies, tied ones once.
func (c *Config) Parameters() int64 {
	var n int64
	for _, s := range c.TensorShapes() {
		e := int64(1)
		for _, x := range s.Shape {
			e *= int64(x)
		}
		n += e
	}
	return n
}

// NamedShape is a tensor that a model of some configuration has.
type NamedShape struct {
	Name  string
	Shape tensor.Shape
}

// TensorShapes lists every weight of the model by its canonical (Hugging Face)
// name, in the order in which Leo writes them. With TieEmbeddings there is no
// lm_head.weight.
func (c *Config) TensorShapes() []NamedShape {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	s := []NamedShape{{"model.embed_tokens.weight", tensor.Shape{c.VocabSize, c.HiddenSize}}}
	for l := range c.Layers {
		p := "model.layers." + strconv.Itoa(l) + "."
		linear := func(name string, out, in int, bias bool) {
			s = append(s, NamedShape{p + name + ".weight", tensor.Shape{out, in}})
			if bias {
				s = append(s, NamedShape{p + name + ".bias", tensor.Shape{out}})
			}
		}
		s = append(s, NamedShape{p + "input_layernorm.weight", tensor.Shape{c.HiddenSize}})
		linear("self_attn.q_proj", q, c.HiddenSize, c.AttentionBias)
		linear("self_attn.k_proj", kv, c.HiddenSize, c.AttentionBias)
		linear("self_attn.v_proj", kv, c.HiddenSize, c.AttentionBias)
		linear("self_attn.o_proj", c.HiddenSize, q, c.AttentionBias)
		s = append(s, NamedShape{p + "post_attention_layernorm.weight", tensor.Shape{c.HiddenSize}})
		linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, c.MLPBias)
	}
	s = append(s, NamedShape{"model.norm.weight", tensor.Shape{c.HiddenSize}})
	if !c.TieEmbeddings {
		s = append(s, NamedShape{"lm_head.weight", tensor.Shape{c.VocabSize, c.HiddenSize}})
	}
	return s
}

// KVCacheBytes is the size of the cache of keys and values for one sequence
// of n positions stored as d (f16, bf16, f32 or q8_0).
func (c *Config) KVCacheBytes(n int, d tensor.DType) (int64, error) {
	row, err := d.RowSize(c.KVHeads * c.HeadDim)
	if err != nil {
		return 0, err
	}
	return 2 * int64(c.Layers) * int64(n) * int64(row), nil
}

// jsonObject reads values out of a JSON object one by one, keeping the first
// error with the key it belongs to.
type jsonObject struct {
	m   map[string]json.RawMessage
	err error
}

func parseObject(data []byte) (*jsonObject, error) {
	o := &jsonObject{}
	if err := json.Unmarshal(pyjson.Standard(data), &o.m); err != nil {
		return nil, err
	}
	if o.m == nil {
		return nil, fmt.Errorf("null instead of an object")
	}
	return o, nil
}

func (o *jsonObject) has(key string) bool {
	v, ok := o.m[key]
	return ok && string(v) != "null"
}

// stated reports whether the key is there, be it null.
func (o *jsonObject) stated(key string) bool {
	_, ok := o.m[key]
	return ok
}

func (o *jsonObject) get(key, want string, dst any) {
	if !o.has(key) || o.err != nil {
		return
	}
	if err := json.Unmarshal(o.m[key], dst); err != nil {
		o.err = fmt.Errorf("%q: %s is not %s", key, abbreviate(o.m[key]), want)
	}
}

func abbreviate(b []byte) string {
	if len(b) > 60 {
		b = append(b[:60:60], "…"...)
	}
	return string(b)
}

func (o *jsonObject) int(key string, missing int) int {
	if !o.has(key) {
		return missing
	}
	var f float64
	o.get(key, "a number", &f)
	if o.err == nil && f != math.Trunc(f) {
		o.err = fmt.Errorf("%q: %v is not a whole number", key, f)
	}
	if math.Abs(f) > math.MaxInt32 {
		// Sentinels such as a max_position_embeddings of 1e30 mean "no limit".
		return math.MaxInt32
	}
	return int(f)
}

func (o *jsonObject) float(key string, missing float64) float64 {
	v := missing
	o.get(key, "a number", &v)
	return v
}

func (o *jsonObject) bool(key string) bool {
	var v bool
	o.get(key, "true or false", &v)
	return v
}

func (o *jsonObject) string(key string) string {
	var v string
	o.get(key, "a text", &v)
	return v
}

// ids reads an id or a list of ids.
func (o *jsonObject) ids(key string) []int {
	if !o.has(key) {
		return nil
	}
	if bytes.HasPrefix(bytes.TrimSpace(o.m[key]), []byte("[")) {
		var v []int
		o.get(key, "a list of ids", &v)
		return v
	}
	return []int{o.int(key, 0)}
}

// need fails for the first key that is absent.
func (o *jsonObject) need(keys ...string) {
	for _, k := range keys {
		if o.err == nil && !o.has(k) {
			o.err = fmt.Errorf("%q is missing", k)
		}
	}
}

// readArchitecture reads which model it is.
func (c *Config) readArchitecture(o *jsonObject) error {
	c.Architecture = o.string("model_type")
	var archs []string
	o.get("architectures", "a list of names", &archs)
	if len(archs) > 0 {
		c.TransformersModel = archs[0]
	}
	if o.err != nil {
		return o.err
	}
	switch c.Architecture {
	case "llama", "mistral":
	case "":
		switch c.TransformersModel {
		case "LlamaForCausalLM":
			c.Architecture = "llama"
		case "MistralForCausalLM":
			c.Architecture = "mistral"
		default:
			return fmt.Errorf("neither model_type nor architectures says what the model is")
		}
	default:
		return fmt.Errorf("model_type %q is not supported (llama and mistral are)", c.Architecture)
	}
	return nil
}

// readTokens reads the ids of special tokens.
func (c *Config) readTokens(o *jsonObject) {
	c.BOS, c.PAD = -1, o.int("pad_token_id", -1)
	if b := o.ids("bos_token_id"); len(b) > 0 {
		c.BOS = b[0]
	}
	c.EOS = o.ids("eos_token_id")
}

// readDType reads the type of the weights, which transformers 5 names anew.
func (c *Config) readDType(o *jsonObject) {
	dtype := o.string("torch_dtype")
	if dtype == "" {
		dtype = o.string("dtype")
	}
	c.DType = torchDTypes[dtype]
}

// ParseConfig reads a config.json of transformers 4 or 5.
func ParseConfig(data []byte) (Config, error) {
	o, err := parseObject(data)
	if err != nil {
		return Config{}, err
	}
	c := Config{}
	if err := c.readArchitecture(o); err != nil {
		return Config{}, err
	}
	if act := o.string("hidden_act"); act != "" && act != "silu" && act != "swish" { // one function, two names
		return Config{}, fmt.Errorf("hidden_act %q is not supported (silu is)", act)
	}
	o.need("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
	c.HiddenSize = o.int("hidden_size", 0)
	c.IntermediateSize = o.int("intermediate_size", 0)
	c.Layers = o.int("num_hidden_layers", 0)
	c.Heads = o.int("num_attention_heads", 0)
	c.KVHeads = o.int("num_key_value_heads", c.Heads)
	if c.Architecture == "mistral" {
		// What transformers takes for keys that aren't there; null is no window.
		if !o.stated("num_key_value_heads") {
			c.KVHeads = 8
		}
		if c.SlidingWindow = o.int("sliding_window", 0); !o.stated("sliding_window") {
			c.SlidingWindow = 4096
		}
	}
	c.VocabSize = o.int("vocab_size", 0)
	c.MaxPositions = o.int("max_position_embeddings", map[string]int{"llama": 2048, "mistral": 131072}[c.Architecture])
	c.RMSEps = o.float("rms_norm_eps", 1e-6)
	c.RopeTheta = o.float("rope_theta", 10000)
	c.TieEmbeddings = o.bool("tie_word_embeddings")
	c.AttentionBias = o.bool("attention_bias")
	c.MLPBias = o.bool("mlp_bias")
	c.InitializerRange = o.float("initializer_range", 0)
	c.readTokens(o)
	c.readDType(o)
	if o.has("head_dim") {
		c.HeadDim = o.int("head_dim", 0)
	} else if c.Heads > 0 {
		if c.HiddenSize%c.Heads != 0 && o.err == nil {
			o.err = fmt.Errorf("hidden_size %d is not a multiple of num_attention_heads %d and head_dim is absent", c.HiddenSize, c.Heads)
		}
		c.HeadDim = c.HiddenSize / c.Heads
	}
	if o.err != nil {
		return Config{}, o.err
	}
	if err := c.parseRopes(o); err != nil {
		return Config{}, err
	}
	return c, c.Validate()
}

var torchDTypes = map[string]tensor.DType{
	"float32": tensor.F32, "float16": tensor.F16, "bfloat16": tensor.BF16, "float64": tensor.F64,
	"torch.float32": tensor.F32, "torch.float16": tensor.F16, "torch.bfloat16": tensor.BF16,
}

// Generation holds what generation_config.json recommends; nil: not stated.
type Generation struct {
	DoSample          *bool    `json:"do_sample,omitempty"`
	Temperature       *float64 `json:"temperature,omitempty"`
	TopP              *float64 `json:"top_p,omitempty"`
	TopK              *int     `json:"top_k,omitempty"`
	MinP              *float64 `json:"min_p,omitempty"`
	TypicalP          *float64 `json:"typical_p,omitempty"`
	RepetitionPenalty *float64 `json:"repetition_penalty,omitempty"`
	MaxLength         *int     `json:"max_length,omitempty"`
	MaxNewTokens      *int     `json:"max_new_tokens,omitempty"`
	BOS               *int     `json:"bos_token_id,omitempty"`
	EOS               []int    `json:"eos_token_id,omitempty"`
	PAD               *int     `json:"pad_token_id,omitempty"`
}

// ParseGeneration reads a generation_config.json.
func ParseGeneration(data []byte) (Generation, error) {
	o, err := parseObject(data)
	if err != nil {
		return Generation{}, err
	}
	g := Generation{EOS: o.ids("eos_token_id")}
	for key, dst := range map[string]**float64{"temperature": &g.Temperature, "top_p": &g.TopP, "min_p": &g.MinP, "typical_p": &g.TypicalP, "repetition_penalty": &g.RepetitionPenalty} {
		if o.has(key) {
			v := o.float(key, 0)
			*dst = &v
		}
	}
	for key, dst := range map[string]**int{"top_k": &g.TopK, "max_length": &g.MaxLength, "max_new_tokens": &g.MaxNewTokens, "bos_token_id": &g.BOS, "pad_token_id": &g.PAD} {
		if o.has(key) {
			v := o.int(key, 0)
			*dst = &v
		}
	}
	if o.has("do_sample") {
		v := o.bool("do_sample")
		g.DoSample = &v
	}
	return g, o.err
}

// addIDs appends the ids that are not yet there.
func addIDs(dst []int, ids ...int) []int {
	for _, id := range ids {
		if id >= 0 && !slices.Contains(dst, id) {
			dst = append(dst, id)
		}
	}
	return dst
}
