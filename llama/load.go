package llama

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/tensor"
	"leolm/tensor/quant"
)

// Param is a weight with its canonical (Hugging Face) name.
type Param struct {
	Name   string
	Weight device.Weight
	// Vector is true for norms and biases, false for matrices.
	Vector bool
}

// LoadOptions choose how the stored weights are loaded.
type LoadOptions struct {
	// Train reports whether the weight with that canonical name becomes a trainable parameter; nil: none does.
	Train func(name string) bool
	// Convert, if set, returns the type to convert a frozen matrix to (such as NF4 for QLoRA);
	// Invalid keeps the stored type.
	Convert func(name string, stored tensor.DType) tensor.DType
	// VocabSize, if larger than the model's, adds rows to the embedding and the
	// LM head: each is the mean of the old ones.
	VocabSize int
	// NewRows makes the rows that VocabSize adds trainable, and only those, unless Train selects the whole weight.
	NewRows bool
	// Replace holds whole weights that replace the stored ones, by name.
	Replace map[string]*checkpoint.Tensor
	// Config may change the configuration before the model is built: scaling, more rows, or an LM head of its own.
	Config func(*checkpoint.Config)
	// Progress, if not nil, is called with the bytes loaded so far and in total.
	Progress func(done, total int64)
}

// builder makes the weights of a model one by one.
type builder func(name string, rows, cols int, use device.WeightUse) (device.Weight, error)

// Load loads the weights of c onto dev. Canceling ctx stops it between two weights.
func Load(ctx context.Context, dev device.Runner, c *checkpoint.Checkpoint, opt LoadOptions) (*Model, error) {
	total, done := c.Size(), int64(0)
	cfg, stored := c.Config, c.Config.VocabSize
	if opt.Config != nil {
		opt.Config(&cfg)
	}
	cfg.VocabSize = max(cfg.VocabSize, opt.VocabSize)
	return build(dev, cfg, func(name string, rows, cols int, use device.WeightUse) (device.Weight, error) {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		t, ok := opt.Replace[name]
		if !ok {
			t, ok = c.Tensor(name)
		}
		if !ok && name == "lm_head.weight" && c.Config.TieEmbeddings {
			// Options untied the head: it starts as a copy of the embedding.
			t, ok = c.Tensor("model.embed_tokens.weight")
		}
		if !ok {
			return nil, fmt.Errorf("%s: tensor %q is missing", c.Path, name)
		}
		grown := use&device.WeightUseVector == 0 && rows == cfg.VocabSize && t.Shape.Rows() == stored && rows > stored
		if (t.Shape.Rows() != rows && !grown) || t.Shape.Cols() != cols {
			return nil, fmt.Errorf("%s: tensor %q has shape %v, the configuration asks for [%d %d]", c.Path, name, t.Shape, rows, cols)
		}
		w, err := loadOne(dev, t, rows, use, opt)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Path, err)
		}
		c.Forget(t)
		if n, err := t.Shape.Size(t.DType); err == nil {
			done += int64(n)
		}
		if opt.Progress != nil {
			opt.Progress(done, total)
		}
		return w, nil
	})
}

// loadOne makes one weight; rows beyond the stored ones are their mean.
func loadOne(dev device.Runner, t *checkpoint.Tensor, rows int, use device.WeightUse, opt LoadOptions) (device.Weight, error) {
	cols := t.Shape.Cols()
	spec := device.WeightSpec{Name: t.Name, DType: t.DType, Rows: rows, Cols: cols, Row: t.Row, Use: use}
	if opt.Train != nil && opt.Train(t.Name) {
		values, err := t.Float32()
		if err != nil {
			return nil, err
		}
		trainer, err := trains(dev)
		if err != nil {
			return nil, err
		}
		w := trainer.NewParam(t.Name, rows, cols)
		return w, trainer.WriteWeight(w, withMeanRows(values, rows, cols))
	}
	if rows > t.Rows() {
		values, err := t.Float32()
		if err != nil {
			return nil, err
		}
		values = withMeanRows(values, rows, cols)
		if opt.NewRows {
			trainer, err := trains(dev)
			if err != nil {
				return nil, err
			}
			w := trainer.NewParam(t.Name, rows, cols)
			trainer.FreezeRows(w, t.Rows())
			return w, trainer.WriteWeight(w, values)
		}
		spec.DType, spec.Row = tensor.F32, func(i int) []byte { return bytesOf(values[i*cols : (i+1)*cols]) }
		return dev.NewWeight(spec)
	}
	if opt.Convert != nil && use&device.WeightUseVector == 0 {
		if to := opt.Convert(t.Name, t.DType); to != tensor.Invalid && to != t.DType {
			spec.DType, spec.Row = to, converted(t, to)
		}
	}
	return dev.NewWeight(spec)
}

// trains returns dev as a device that trains, or a *device.NoTrainingError.
func trains(dev device.Runner) (device.Device, error) {
	if d, ok := dev.(device.Device); ok {
		return d, nil
	}
	return nil, &device.NoTrainingError{Device: dev.Name()}
}

// withMeanRows appends the mean row of values [n, cols] until there are that many rows.
func withMeanRows(values []float32, rows, cols int) []float32 {
	n := len(values) / cols
	if n >= rows {
		return values
	}
	mean := make([]float64, cols)
	for i, v := range values {
		mean[i%cols] += float64(v)
	}
	for range rows - n {
		for _, m := range mean {
			values = append(values, float32(m/float64(n)))
		}
	}
	return values
}

// bytesOf returns the little-endian bytes of row.
func bytesOf(row []float32) []byte {
	b := make([]byte, 0, 4*len(row))
	for _, v := range row {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// converted returns the rows of t re-encoded as to. It is called from several goroutines.
func converted(t *checkpoint.Tensor, to tensor.DType) func(i int) []byte {
	return func(i int) []byte {
		values := make([]float32, t.Cols())
		n, err := to.RowSize(len(values))
		if err != nil {
			return nil // NewWeight reports the wrong size
		}
		row := make([]byte, n)
		if t.ReadRow(values, i) != nil || quant.Quantize(row, to, values, nil) != nil {
			return nil
		}
		return row
	}
}

// New makes a model with random trainable weights: normal with standard deviation
// std, or std/√(2·layers) for the projections into the residual stream (GPT-2's scaled
// initialization); norms 1, biases 0. A weight depends only on seed and its name.
func New(dev device.Device, cfg checkpoint.Config, std float64, seed uint64) (*Model, error) {
	return build(dev, cfg, func(name string, rows, cols int, use device.WeightUse) (device.Weight, error) {
		values := make([]float32, rows*cols)
		initialize(values, name, use, std, cfg.Layers, seed)
		w := dev.NewParam(name, rows, cols)
		return w, dev.WriteWeight(w, values)
	})
}

func initialize(values []float32, name string, use device.WeightUse, std float64, layers int, seed uint64) {
	if use&device.WeightUseVector != 0 {
		one := float32(1)
		if strings.HasSuffix(name, ".bias") {
			one = 0
		}
		for i := range values {
			values[i] = one
		}
		return
	}
	if strings.HasSuffix(name, "o_proj.weight") || strings.HasSuffix(name, "down_proj.weight") {
		std /= math.Sqrt(2 * float64(layers))
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	for i := range values {
		values[i] = float32(std * rng.NormFloat64())
	}
}

// build makes a model for dev and asks newWeight for every weight of cfg, by its canonical name.
func build(dev device.Runner, cfg checkpoint.Config, newWeight builder) (*Model, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Model{Config: cfg, Vocab: cfg.VocabSize, Layers: make([]Layer, cfg.Layers)}
	m.ropes = newRopes(dev, &m.Config)
	var err error
	get := func(name string, rows, cols int, use device.WeightUse) device.Weight {
		if err != nil {
			return nil
		}
		var w device.Weight
		w, err = newWeight(name, rows, cols, use)
		return w
	}
	linear := func(name string, rows, cols int, bias bool) Linear {
		l := Linear{Name: name, W: get(name+".weight", rows, cols, device.WeightUseMatmul)}
		if bias {
			l.Bias = get(name+".bias", 1, rows, device.WeightUseVector)
		}
		return l
	}
	hidden, q, kv := cfg.HiddenSize, cfg.Heads*cfg.HeadDim, cfg.KVHeads*cfg.HeadDim
	use := device.WeightUseEmbedding
	if cfg.TieEmbeddings {
		use |= device.WeightUseMatmul
	}
	m.Embed = get("model.embed_tokens.weight", cfg.VocabSize, hidden, use)
	for i := range m.Layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		l := &m.Layers[i]
		l.AttnNorm = get(p+"input_layernorm.weight", 1, hidden, device.WeightUseVector)
		l.Q = linear(p+"self_attn.q_proj", q, hidden, cfg.AttentionBias)
		l.K = linear(p+"self_attn.k_proj", kv, hidden, cfg.AttentionBias)
		l.V = linear(p+"self_attn.v_proj", kv, hidden, cfg.AttentionBias)
		l.O = linear(p+"self_attn.o_proj", hidden, q, cfg.AttentionBias)
		l.MLPNorm = get(p+"post_attention_layernorm.weight", 1, hidden, device.WeightUseVector)
		l.Gate = linear(p+"mlp.gate_proj", cfg.IntermediateSize, hidden, cfg.MLPBias)
		l.Up = linear(p+"mlp.up_proj", cfg.IntermediateSize, hidden, cfg.MLPBias)
		l.Down = linear(p+"mlp.down_proj", hidden, cfg.IntermediateSize, cfg.MLPBias)
	}
	m.Norm = get("model.norm.weight", 1, hidden, device.WeightUseVector)
	m.Head = m.Embed
	if !cfg.TieEmbeddings {
		m.Head = get("lm_head.weight", cfg.VocabSize, hidden, device.WeightUseMatmul)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Params lists the weights in the order of checkpoint.Config.TensorShapes; tied ones once. Adapters are not among
// them.
func (m *Model) Params() []Param {
	ps := []Param{{Name: "model.embed_tokens.weight", Weight: m.Embed}}
	for i := range m.Layers {
		l := &m.Layers[i]
		p := fmt.Sprintf("model.layers.%d.", i)
		ps = append(ps, Param{p + "input_layernorm.weight", l.AttnNorm, true})
		for _, lin := range []*Linear{&l.Q, &l.K, &l.V, &l.O} {
			ps = appendLinear(ps, lin)
		}
		ps = append(ps, Param{p + "post_attention_layernorm.weight", l.MLPNorm, true})
		for _, lin := range []*Linear{&l.Gate, &l.Up, &l.Down} {
			ps = appendLinear(ps, lin)
		}
	}
	ps = append(ps, Param{"model.norm.weight", m.Norm, true})
	if m.Head != m.Embed {
		ps = append(ps, Param{Name: "lm_head.weight", Weight: m.Head})
	}
	return ps
}

func appendLinear(ps []Param, l *Linear) []Param {
	ps = append(ps, Param{Name: l.Name + ".weight", Weight: l.W})
	if l.Bias != nil {
		ps = append(ps, Param{l.Name + ".bias", l.Bias, true})
	}
	return ps
}

// Linears lists the projections of all layers.
func (m *Model) Linears() []*Linear {
	var ls []*Linear
	for i := range m.Layers {
		l := &m.Layers[i]
		ls = append(ls, &l.Q, &l.K, &l.V, &l.O, &l.Gate, &l.Up, &l.Down)
	}
	return ls
}

// WeightBytes is the memory of all weights.
func (m *Model) WeightBytes() int {
	n := 0
	for _, p := range m.Params() {
		n += p.Weight.Bytes()
	}
	for _, l := range m.Linears() {
		for _, a := range l.Adapters {
			n += a.A.Bytes() + a.B.Bytes()
			if a.DoRA != nil {
				n += a.DoRA.Magnitude.Bytes()
			}
		}
	}
	return n
}

// Free gives the memory of the weights and adapters back to dev, or, if the weights are shared with another model, of the
// adapters alone. The model must not be used afterwards.
func (m *Model) Free(dev device.Freer, shared bool) {
	var ws []device.Weight
	if !shared {
		for _, p := range m.Params() {
			ws = append(ws, p.Weight)
		}
	}
	for _, l := range m.Linears() {
		for _, a := range l.Adapters {
			ws = append(ws, a.A, a.B)
			if a.DoRA != nil {
				dev.FreeDoRA(a.DoRA)
				ws = append(ws, a.DoRA.Magnitude)
			}
		}
	}
	dev.FreeWeights(ws...)
}
