// Package catalog turns a model argument into everything that a program needs to
// use the model: stored weights, configuration, tokenizer, chat template, stop ids
// and recommended sampling, with the repairs that LeoLM's published files need.
// It knows where models are found (a folder, a GGUF file, a Hugging Face id in the
// local cache, an embedded model). It runs nothing: that is package open's.
package catalog

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/chat"
	"leolm/checkpoint"
	"leolm/internal/bounded"
	"leolm/sample"
	"leolm/tokenizer"
)

// Model is an opened model.
type Model struct {
	Name       string
	Checkpoint *checkpoint.Checkpoint
	Tokenizer  *tokenizer.Tokenizer
	// OwnTokenizer is the one in the model's files, which Options or adapters may replace; nil if there is none.
	OwnTokenizer *tokenizer.Tokenizer
	Template     *chat.Template // the rendering of LeoLM's model card if the files have none
	// TemplateSource describes where Template comes from.
	TemplateSource string
	StopIDs        []int32
	StopStrings    []string
	// Sampling is Leo's default, overridden by what the files recommend.
	Sampling sample.Preset
	// Adapters are those of Options, opened.
	Adapters []Adapter
	// Notes describe what was repaired, and contradictions, for people to read.
	Notes []string
}

// Adapter is an opened LoRA adapter.
type Adapter struct {
	*checkpoint.Adapter
	Strength float64 // 1: as it was trained
}

// AdapterSpec names an adapter.
type AdapterSpec struct {
	Path     string // PEFT folder or GGUF file
	Strength float64
}

// Options of Open.
type Options struct {
	Template  string // name of a template or a file with a Jinja template, instead of the model's own
	Tokenizer string // file or folder, instead of the model's own
	Adapters  []AdapterSpec
}

// ErrNoModel reports that no model was named and that this binary embeds none.
var ErrNoModel = errors.New("no model given, and none is built in")

// NotFoundError reports that a model argument names nothing that is here.
type NotFoundError struct {
	Arg   string
	HubID bool // Arg has the form of a Hugging Face id, and the local cache does not hold it
}

func (e *NotFoundError) Error() string {
	if e.HubID {
		return fmt.Sprintf("model %q is neither a file nor in the local cache", e.Arg)
	}
	return fmt.Sprintf("model %q: no such file or folder", e.Arg)
}

// Unwrap makes it an [fs.ErrNotExist].
func (e *NotFoundError) Unwrap() error { return fs.ErrNotExist }

// NoTokenizerError reports that a model's files have no tokenizer and that Options name none.
type NoTokenizerError struct{ Model string }

func (e *NoTokenizerError) Error() string { return e.Model + " has no tokenizer" }

// TemplateError reports that the chat template that came with a model or an adapter cannot be used.
type TemplateError struct {
	Source string // the model's name or the adapter's path
	Err    error
}

func (e *TemplateError) Error() string { return fmt.Sprintf("%s: chat template: %v", e.Source, e.Err) }

// Unwrap returns what is wrong with the template.
func (e *TemplateError) Unwrap() error { return e.Err }

// Open finds and opens a model: "" is the embedded default.
func Open(arg string, opt Options) (*Model, error) {
	c, name, err := open(arg)
	if err != nil {
		return nil, err
	}
	m := &Model{Name: name, Checkpoint: c, Notes: slices.Clone(c.Notes)}
	if err := m.fill(opt); err != nil {
		m.Close()
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
	hubID := strings.Count(arg, "/") == 1 && !strings.HasPrefix(arg, ".") && !strings.HasPrefix(arg, "/") && !strings.HasSuffix(arg, ".gguf")
	return nil, "", &NotFoundError{Arg: arg, HubID: hubID}
}

// fill opens adapters, tokenizer and template, and collects the stop ids and strings.
func (m *Model) fill(opt Options) error {
	c := m.Checkpoint
	var err error
	switch {
	case c.Vocab != nil && len(c.Vocab.Tokens) > 0:
		m.OwnTokenizer, err = tokenizer.FromGGUF(*c.Vocab, tokenizer.Options{})
	case c.TokenizerDir != "":
		m.OwnTokenizer, err = checkpoint.OpenTokenizer(c.TokenizerDir, tokenizer.Options{})
	default:
		err = &NoTokenizerError{Model: m.Name}
	}
	if err != nil && opt.Tokenizer == "" {
		return err
	}
	if err := m.openAdapters(opt.Adapters); err != nil {
		return err
	}
	switch {
	case opt.Tokenizer != "":
		if m.Tokenizer, err = checkpoint.OpenTokenizer(opt.Tokenizer, tokenizer.Options{}); err == nil {
			m.compareTokenizers(opt.Tokenizer)
		}
	default:
		m.Tokenizer, err = m.adapterTokenizer()
	}
	if err != nil {
		return err
	}
	if err := m.checkFingerprint(opt.Tokenizer); err != nil {
		return err
	}
	for _, n := range m.Tokenizer.Notes() {
		if !slices.Contains(m.Notes, n) {
			m.Notes = append(m.Notes, n)
		}
	}
	if err := m.checkRows(); err != nil {
		return err
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
	// By name, too: not every format lists all of them.
	for _, name := range checkpoint.EndTokens() {
		if id, ok := m.Tokenizer.ID(name); ok && m.Tokenizer.Kind(id) == tokenizer.Control {
			m.addStop(id)
		}
	}
	m.StopStrings = m.Template.StopStrings(m.Tokenizer)
	if m.Sampling, err = sample.FindPreset("leo"); err != nil {
		return err
	}
	own := m.Sampling
	recommended(&m.Sampling.Params, &c.Generation)
	if err := m.Sampling.Check(); err != nil {
		m.Notes = append(m.Notes, fmt.Sprintf("The sampling settings that the model recommends cannot be used (%v); Leo's defaults are used instead.", err))
		m.Sampling = own
	}
	return nil
}

// TokenizerError reports that a model's tokenizer is not the one it was trained with.
type TokenizerError struct {
	Model     string
	Want, Got string // fingerprints
}

func (e *TokenizerError) Error() string {
	return fmt.Sprintf("%s: its tokenizer gives other ids (fingerprint %s) than the one it was trained with (%s): the files have been changed or replaced", e.Model, e.Got, e.Want)
}

// checkFingerprint compares the tokenizer with the fingerprint that training stored beside the weights. A tokenizer that
// the user gives is accepted with a note: it may replace a damaged one.
func (m *Model) checkFingerprint(given string) error {
	want := m.Checkpoint.TokenizerFingerprint
	for _, a := range m.Adapters {
		if fp, err := a.Files.Fingerprint(); err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		} else if fp != "" {
			want = fp
		}
	}
	if want == "" {
		return nil
	}
	got := m.Tokenizer.Fingerprint()
	kind, _, _ := strings.Cut(got, "-")
	switch {
	case got == want, !strings.HasPrefix(want, kind+"-"): // or of another way of making fingerprints
		return nil
	case given == "":
		return &TokenizerError{Model: m.Name, Want: want, Got: got}
	}
	m.Notes = append(m.Notes, fmt.Sprintf("%s gives other ids than the tokenizer that the model was trained with (fingerprints %s and %s).", given, got, want))
	return nil
}

// compareTokenizers notes how a tokenizer that the user gives differs from the model's own.
func (m *Model) compareTokenizers(path string) {
	if m.OwnTokenizer == nil {
		return
	}
	if ok, why := m.Tokenizer.Extends(m.OwnTokenizer); !ok {
		m.Notes = append(m.Notes, fmt.Sprintf("%s is not the tokenizer that the model was trained with: %s.", path, why))
	}
}

// checkRows compares the tokenizer with the model's rows. Control tokens without a row, such as a <pad> that was added to
// the tokenizer only, are tolerated with a note, as in transformers. Text pieces without a row mean that the tokenizer
// belongs to another model.
func (m *Model) checkRows() error {
	t, rows := m.Tokenizer, m.Config().VocabSize
	var beyond []string
	for id := rows; id < t.Vocab(); id++ {
		switch t.Kind(int32(id)) {
		case tokenizer.Unused:
		case tokenizer.Control, tokenizer.UserDefined:
			beyond = append(beyond, t.Piece(int32(id)))
		default:
			return fmt.Errorf("%s: the tokenizer has %d ids, but the model only %d rows: they do not belong together", m.Name, t.Vocab(), rows)
		}
	}
	if len(beyond) > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("The tokenizer has %s from id %d on, for which the model has no rows: a prompt with one of them is refused.", strings.Join(beyond, ", "), rows))
	}
	return nil
}

// recommended changes p as the model's files say. With do_sample: false, which base models often have, transformers
// ignores every other sampling field; so do we.
func recommended(p *sample.Params, g *checkpoint.Generation) {
	if g.DoSample != nil && !*g.DoSample {
		return
	}
	setIf(&p.Temperature, g.Temperature)
	setIf(&p.TopK, g.TopK)
	setIf(&p.TopP, g.TopP)
	setIf(&p.MinP, g.MinP)
	setIf(&p.TypicalP, g.TypicalP)
	setIf(&p.RepetitionPenalty, g.RepetitionPenalty)
}

// setIf sets dst if there is a value.
func setIf[T any](dst, v *T) {
	if v != nil {
		*dst = *v
	}
}

func (m *Model) addStop(id int32) {
	if id >= 0 && !slices.Contains(m.StopIDs, id) {
		m.StopIDs = append(m.StopIDs, id)
	}
}

// template chooses the chat template: the named one, an adapter's, the model's own, or the default.
func (m *Model) template(name string) error {
	c := m.Checkpoint
	if name != "" {
		var err error
		m.TemplateSource = name
		m.Template, err = OpenTemplate(name, m.Tokenizer)
		return err
	}
	for _, a := range m.Adapters {
		source, err := a.Files.Template()
		if err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
		if source == "" {
			continue
		}
		if m.Template, err = ParseTemplate(source, m.Tokenizer); err != nil {
			return &TemplateError{Source: a.Path, Err: err}
		}
		m.TemplateSource = "the adapter's"
		return nil
	}
	if c.ChatTemplate != "" {
		t, err := ParseTemplate(c.ChatTemplate, m.Tokenizer)
		if err != nil {
			return &TemplateError{Source: m.Name, Err: err}
		}
		m.Template, m.TemplateSource = t, "the model's own"
		return nil
	}
	m.Template, m.TemplateSource = chat.Default(), "card-template (the model has none)"
	return nil
}

// OpenTemplate returns the chat template that package chat has under that name, or reads the Jinja file of that path.
func OpenTemplate(name string, tok *tokenizer.Tokenizer) (*chat.Template, error) {
	if t, err := chat.FindTemplate(name); err == nil {
		return t, nil
	}
	src, err := bounded.Regular(name, chat.MaxTemplate)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("template: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("template %q is neither a file nor one of %s", name, strings.Join(chat.TemplateNames(), ", "))
	}
	t, err := ParseTemplate(string(src), tok)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// ParseTemplate parses a Jinja chat template, with the tokenizer's special tokens as its variables.
func ParseTemplate(source string, tok *tokenizer.Tokenizer) (*chat.Template, error) {
	special := map[string]string{}
	for name, id := range map[string]int32{"bos_token": tok.BOS(), "eos_token": tok.EOS(), "unk_token": tok.UNK(), "pad_token": tok.PAD()} {
		if id >= 0 {
			special[name] = tok.Piece(id)
		}
	}
	return chat.NewJinja(source, special)
}

// openAdapters opens the adapters, each on top of the base and the adapters before it.
func (m *Model) openAdapters(specs []AdapterSpec) error {
	replaced := map[string]string{}
	for _, s := range specs {
		a, err := checkpoint.OpenAdapter(s.Path, m.Config())
		if err != nil {
			return err
		}
		m.Adapters = append(m.Adapters, Adapter{a, s.Strength})
		if err := a.FoldHead(m.Checkpoint, s.Strength); err != nil {
			return err
		}
		for _, t := range a.Saved {
			if other := replaced[t.Name]; other != "" {
				return fmt.Errorf("%s and %s both replace %s: only one of them can", other, s.Path, t.Name)
			}
			replaced[t.Name] = s.Path
		}
		m.Notes = append(m.Notes, a.Notes...)
		if made := a.Files.Base(); made != "" && made != m.Checkpoint.Identity() {
			m.Notes = append(m.Notes, fmt.Sprintf("%s was trained on other weights than those of %s: its answers mean nothing there unless they are the same model in another type.", s.Path, m.Name))
		}
	}
	return nil
}

// Config returns the model's configuration as its adapters change it.
func (m *Model) Config() checkpoint.Config {
	cfg := m.Checkpoint.Config
	for _, a := range m.Adapters {
		cfg = a.Config(cfg)
	}
	return cfg
}

// adapterTokenizer returns the largest of the base's own tokenizer and its adapters': of any two, one must extend the other.
func (m *Model) adapterTokenizer() (*tokenizer.Tokenizer, error) {
	tok := m.OwnTokenizer
	for _, a := range m.Adapters {
		if !a.Files.HasVocabulary() {
			continue
		}
		t, err := a.Files.Open(a.Path, tokenizer.Options{})
		if err != nil {
			return nil, err
		}
		if ok, _ := tok.Extends(t); ok {
			continue
		}
		if ok, why := t.Extends(tok); !ok {
			return nil, fmt.Errorf("%s was trained with another tokenizer than %s has: %s", a.Path, m.Name, why)
		}
		tok = t
	}
	return tok, nil
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
func (m *Model) Close() error {
	var errs []error
	for _, a := range m.Adapters {
		errs = append(errs, a.Adapter.Close())
	}
	return errors.Join(append(errs, m.Checkpoint.Close())...)
}
