package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/device"
	"leolm/llama"
	"leolm/tensor"
)

// subject is the model being trained with what belongs to it.
type subject struct {
	cfg    checkpoint.Config
	model  *llama.Model
	vocab  *vocabulary
	base   *catalog.Model // nil when trained from scratch
	params []llama.Param  // trainable, in a fixed order
	stops  []int32
}

func (s *subject) Close() {
	if s.base != nil {
		s.base.Close()
	}
}

// Shape's configuration.
func (s *Shape) config() checkpoint.Config {
	return checkpoint.Config{
		Architecture: "llama", HiddenSize: s.HiddenSize, IntermediateSize: s.IntermediateSize, Layers: s.Layers, Heads: s.Heads,
		KVHeads: s.KVHeads, HeadDim: s.HeadDim, VocabSize: s.VocabSize, MaxPositions: s.MaxPositions, RMSEps: s.RMSEps,
		RopeTheta: s.RopeTheta, TieEmbeddings: s.TieEmbeddings, BOS: -1, PAD: -1,
	}
}

// openModel makes the model of a recipe on dev, with the vocabulary that the data ask for.
func openModel(c *Config, dev device.Device, data *feed) (*subject, error) {
	s := &subject{}
	m := &c.Model
	if m.Shape != nil {
		return s, s.fromScratch(c, dev, data)
	}
	var err error
	s.base, err = catalog.Open(m.Base, catalog.Options{})
	if err != nil {
		return nil, fmt.Errorf("model.base: %w", err)
	}
	if err := c.checkPatterns(&s.base.Checkpoint.Config); err != nil {
		s.Close()
		return nil, err
	}
	stored := s.base.Checkpoint.Config.VocabSize
	if s.vocab, err = findVocabulary(c, s.base, stored, data); err != nil {
		s.Close()
		return nil, err
	}
	s.stops = s.vocab.stops(s.base)
	opt := llama.LoadOptions{VocabSize: s.vocab.rows, Config: func(cfg *checkpoint.Config) {
		if m.RopeLinear > 0 {
			cfg.RopeScaling = checkpoint.RopeScaling{Type: "linear", Factor: m.RopeLinear}
		}
		if m.MaxPositions > 0 {
			cfg.MaxPositions = m.MaxPositions
		}
	}}
	opt.NewRows = slices.Contains(m.Train, newRows)
	if c.LoRA == nil || len(m.Train) > 0 {
		opt.Train = func(name string) bool { return trains(m.Train, name) }
	}
	if c.LoRA != nil && c.LoRA.BaseType != "" {
		to, err := tensor.ParseDType(c.LoRA.BaseType)
		if err != nil {
			return nil, err
		}
		opt.Convert = func(name string, stored tensor.DType) tensor.DType { return to }
	}
	grown := s.base.Checkpoint.Config
	grown.VocabSize = max(stored, s.vocab.rows)
	if err := announce(dev, c, &grown, stored, false); err != nil {
		s.Close()
		return nil, err
	}
	if s.model, err = llama.Load(context.Background(), dev, s.base.Checkpoint, opt); err != nil {
		s.Close()
		return nil, err
	}
	s.cfg = s.model.Config
	s.special()
	if c.LoRA != nil {
		if err := addAdapters(dev, s.model, c.LoRA, c.Seed); err != nil {
			s.Close()
			return nil, err
		}
	}
	s.collect()
	if len(s.params) == 0 {
		s.Close()
		return nil, fmt.Errorf("model.train: no tensor matches %s; nothing would be trained", strings.Join(m.Train, ", "))
	}
	return s, nil
}

// fromScratch makes a new model.
func (s *subject) fromScratch(c *Config, dev device.Device, data *feed) (err error) {
	s.cfg = c.Model.Shape.config()
	if err := c.checkPatterns(&s.cfg); err != nil {
		return err
	}
	if s.vocab, err = findVocabulary(c, nil, s.cfg.VocabSize, data); err != nil {
		return err
	}
	s.stops = s.vocab.stops(nil)
	s.cfg.BOS = int(s.vocab.tok.BOS())
	s.special()
	if err := announce(dev, c, &s.cfg, s.cfg.VocabSize, false); err != nil {
		return err
	}
	if s.model, err = llama.New(dev, s.cfg, c.Model.Shape.InitStd, c.Seed); err != nil {
		return err
	}
	s.collect()
	return nil
}

// special completes the special ids of the configuration, which every export carries: all that end an answer, and a pad.
func (s *subject) special() {
	for _, id := range s.stops {
		if !slices.Contains(s.cfg.EOS, int(id)) && int(id) < s.cfg.VocabSize {
			s.cfg.EOS = append(s.cfg.EOS, int(id))
		}
	}
	if s.cfg.PAD < 0 {
		s.cfg.PAD = int(s.vocab.tok.PAD())
	}
}

// notes are what a person should know before the first step.
func (s *subject) notes() []string {
	if s.base == nil {
		return s.vocab.notes
	}
	return append(slices.Clone(s.base.Notes), s.vocab.notes...)
}

// trains reports whether one of the patterns (path.Match over the canonical name) matches; none means all.
func trains(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return len(patterns) == 0
}

// addAdapters puts LoRA adapters on the chosen projections: A uniform in
// ±1/√in (PyTorch's default for linear layers, as PEFT), B zero, DoRA's magnitudes the lengths of W's rows.
func addAdapters(dev device.Device, m *llama.Model, l *LoRAConfig, seed uint64) error {
	for i, lin := range m.Linears() {
		if !targets(l.Targets, lin.Name) {
			continue
		}
		rank, alpha := l.of(lin.Name)
		scale := alpha / float64(rank)
		if l.RSLoRA {
			scale = alpha / math.Sqrt(float64(rank))
		}
		in, out := lin.W.Cols(), lin.W.Rows()
		a := dev.NewParam(lin.Name+".lora_A.weight", rank, in)
		b := dev.NewParam(lin.Name+".lora_B.weight", out, rank)
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		values := make([]float32, rank*in)
		bound := 1 / math.Sqrt(float64(in))
		for i := range values {
			values[i] = float32((2*rng.Float64() - 1) * bound)
		}
		if err := dev.WriteWeight(a, values); err != nil {
			return err
		}
		ad := &llama.Adapter{A: a, B: b, Scale: float32(scale), Dropout: float32(l.Dropout)}
		if l.DoRA {
			lengths, err := rowLengths(dev, lin.W)
			if err != nil {
				return fmt.Errorf("lora.dora: %s: %w", lin.Name, err)
			}
			ad.DoRA = dev.NewDoRA(lin.W, a, b, dev.NewParam(lin.Name+".lora_magnitude_vector", 1, out), ad.Scale)
			if err := dev.WriteWeight(ad.DoRA.Magnitude, lengths); err != nil {
				return err
			}
		}
		lin.Adapters = append(lin.Adapters, ad)
	}
	return nil
}

// rowLengths returns the Euclidean lengths of the rows of w.
func rowLengths(dev device.Device, w device.Weight) ([]float32, error) {
	values, lengths := make([]float32, w.Rows()*w.Cols()), make([]float32, w.Rows())
	dev.ReadWeight(w, values)
	for i := range lengths {
		var sum float64
		for _, v := range values[i*w.Cols() : (i+1)*w.Cols()] {
			sum += float64(v) * float64(v)
		}
		if lengths[i] = float32(math.Sqrt(sum)); lengths[i] == 0 {
			return nil, fmt.Errorf("row %d is zero and has no direction; leave this projection out of lora.targets", i)
		}
	}
	return lengths, nil
}

func targets(names []string, linear string) bool {
	for _, n := range names {
		if strings.HasSuffix(linear, n) {
			return true
		}
	}
	return false
}

// collect lists the trainable parameters in a fixed order.
func (s *subject) collect() {
	for _, p := range s.model.Params() {
		if p.Weight.Trainable() {
			s.params = append(s.params, p)
		}
	}
	for _, l := range s.model.Linears() {
		for _, a := range l.Adapters {
			s.params = append(s.params,
				llama.Param{Name: l.Name + ".lora_A.weight", Weight: a.A},
				llama.Param{Name: l.Name + ".lora_B.weight", Weight: a.B})
			if a.DoRA != nil {
				s.params = append(s.params, llama.Param{Name: l.Name + ".lora_magnitude_vector", Weight: a.DoRA.Magnitude, Vector: true})
			}
		}
	}
}
