package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"leolm/tensor"
	"leolm/tensor/quant"
)

// Adapter is an open set of low-rank changes to a base model: a PEFT folder or
// a GGUF adapter of llama.cpp. Like a Checkpoint it must be closed, and no
// bytes of its tensors used afterwards.
type Adapter struct {
	Path      string
	BaseModel string // as the adapter's author named it; "" if unknown
	Targets   []LoRA // by name
	// Saved are whole weights trained along with the adapter
	// (modules_to_save); they replace the base model's.
	Saved []*Tensor
	// Files are those of the tokenizer that the adapter was trained with, nil if it brings none.
	Files TokenizerFiles
	Notes []string

	tied  bool // a saved embedding is the LM head too, in models that tie them
	close func() error
}

// Config is the configuration of the base model with the adapter on it: more rows where the adapter brings them, and an
// LM head of its own where the adapter takes apart what the base ties, as PEFT does with a saved embedding or head
// unless both are equal or the adapter says ensure_weight_tying.
func (a *Adapter) Config(base Config) Config {
	embed, head := a.saved(embedName), a.saved(headName)
	for _, t := range []*Tensor{embed, head} {
		if t != nil && len(t.Shape) == 2 {
			base.VocabSize = max(base.VocabSize, t.Shape[0])
		}
	}
	if base.TieEmbeddings && !a.tied && (embed != nil || head != nil) {
		base.TieEmbeddings = embed != nil && head != nil && embed.DType == head.DType && embed.Shape.Equal(head.Shape) && bytes.Equal(embed.data, head.data)
	}
	for i := range a.Targets {
		if a.Targets[i].Name == headName {
			base.TieEmbeddings = false
		}
	}
	return base
}

// FoldHead adds a low-rank change of the LM head to the base's head, with its effect multiplied by strength, so that it
// becomes a whole weight of the adapter: a model that runs has adapters on the projections of its layers only.
func (a *Adapter) FoldHead(base *Checkpoint, strength float64) error {
	for i := range a.Targets {
		if a.Targets[i].Name != headName {
			continue
		}
		l := a.Targets[i]
		if l.Magnitude != nil && strength != 1 {
			return fmt.Errorf("%s: DoRA on the LM head can't be weakened: it is all or nothing", a.Path)
		}
		l.Scale *= strength
		from := a.saved(headName)
		for _, name := range []string{headName, embedName} {
			if t, ok := base.Tensor(name); ok && from == nil {
				from = t
			}
		}
		if from == nil {
			return fmt.Errorf("%s: the base model has no %s", a.Path, headName)
		}
		rows, err := l.Merge(from)
		if err != nil {
			return err
		}
		t := &Tensor{Name: headName, Stored: headName, DType: tensor.F32, Shape: from.Shape, File: a.Path, rowSize: 4 * from.Cols()}
		t.data = make([]byte, from.Rows()*t.rowSize)
		row := make([]float32, from.Cols())
		for r := range from.Rows() {
			if err := rows.ReadRow(row, r); err != nil {
				return err
			}
			for j, v := range row {
				binary.LittleEndian.PutUint32(t.data[r*t.rowSize+4*j:], math.Float32bits(v))
			}
		}
		a.Targets = slices.Delete(a.Targets, i, i+1)
		a.Saved = append(slices.DeleteFunc(a.Saved, func(s *Tensor) bool { return s.Name == headName }), t)
		return nil
	}
	return nil
}

const (
	embedName = "model.embed_tokens.weight"
	headName  = "lm_head.weight"
)

// saved finds a whole weight of the adapter.
func (a *Adapter) saved(name string) *Tensor {
	for _, t := range a.Saved {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// LoRA is one low-rank change: W' = W + Scale·B·A. With a Magnitude (DoRA) the
// sum is rescaled: row i of W' is Magnitude[i]·(W+Scale·B·A)[i] divided by that
// row's length.
type LoRA struct {
	Name      string // canonical name of the weight, such as "model.layers.0.mlp.up_proj.weight"
	Rank      int
	Alpha     float64
	RSLoRA    bool    // Scale = Alpha/√Rank instead of Alpha/Rank
	Scale     float64 // as above
	A         *Tensor // [Rank, in]
	B         *Tensor // [out, Rank]
	Magnitude *Tensor // [out], nil without DoRA
}

// Close unmaps the files.
func (a *Adapter) Close() error {
	if a.close == nil {
		return nil
	}
	f := a.close
	a.close = nil
	return f()
}

// OpenAdapter reads a PEFT folder or a GGUF adapter made for a base model of
// configuration base, and checks every shape against it.
func OpenAdapter(path string, base Config) (*Adapter, error) {
	return loadAdapter(path, base, func(a *Adapter) error { return a.fits(base) })
}

// InspectAdapter reads an adapter without its base model: ranks, names and
// shapes. It cannot be applied, because the order of rows is the base model's.
func InspectAdapter(path string) (*Adapter, error) {
	return loadAdapter(path, Config{}, func(*Adapter) error { return nil })
}

// IsAdapter reports whether path holds an adapter instead of a model: a folder with
// adapter_config.json and no config.json, or a GGUF file that says so.
func IsAdapter(path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return false
	case info.IsDir():
		_, model := os.Stat(filepath.Join(path, "config.json"))
		_, adapter := os.Stat(filepath.Join(path, "adapter_config.json"))
		return adapter == nil && model != nil
	}
	g, err := OpenGGUF(path)
	if err != nil {
		return false
	}
	defer g.Close()
	typ, _ := g.Get("general.type").(string)
	return typ == "adapter"
}

func loadAdapter(path string, base Config, fits func(*Adapter) error) (*Adapter, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var a *Adapter
	if info.IsDir() {
		a, err = openPEFT(path)
	} else {
		a, err = openGGUFAdapter(path, base)
	}
	if err != nil {
		return nil, err
	}
	if err = a.complete(); err == nil {
		err = fits(a)
	}
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	return a, nil
}

func badTensor(t *Tensor, format string, args ...any) error {
	return &FormatError{File: t.File, Tensor: t.Stored, Offset: t.Offset, Msg: fmt.Sprintf(format, args...)}
}

// complete finds the pairs whole and their scales.
func (a *Adapter) complete() error {
	if len(a.Targets)+len(a.Saved) == 0 {
		return &FormatError{File: a.Path, Offset: -1, Msg: "the adapter changes nothing"}
	}
	sort.Slice(a.Targets, func(i, j int) bool { return a.Targets[i].Name < a.Targets[j].Name })
	for i := range a.Targets {
		l := &a.Targets[i]
		if l.A == nil || l.B == nil {
			t := l.A
			if t == nil {
				t = l.B
			}
			if t == nil {
				t = l.Magnitude
			}
			return badTensor(t, "the other half of the low-rank pair for %s is missing", l.Name)
		}
		if len(l.A.Shape) != 2 || len(l.B.Shape) != 2 || l.A.Shape[0] != l.B.Shape[1] || l.A.Shape[0] < 1 {
			return badTensor(l.A, "shapes %v and %v are no low-rank pair", l.A.Shape, l.B.Shape)
		}
		if l.Magnitude != nil {
			rows := l.B.Shape[0]
			if n, err := l.Magnitude.Shape.Elements(); err != nil || n != rows {
				return badTensor(l.Magnitude, "%v magnitudes for %d rows", l.Magnitude.Shape, rows)
			}
			// PEFT has stored it as a column, too.
			l.Magnitude.Shape = tensor.Shape{rows}
			l.Magnitude.rowSize = len(l.Magnitude.data)
		}
		for _, t := range []*Tensor{l.A, l.B, l.Magnitude} {
			if t != nil && !quant.Supported(t.DType) {
				return badTensor(t, "stored as %v, which is no type for weights", t.DType)
			}
		}
		l.Rank = l.A.Shape[0]
		if l.Alpha == 0 {
			l.Alpha = float64(l.Rank)
		}
		if l.Scale = l.Alpha / float64(l.Rank); l.RSLoRA {
			l.Scale = l.Alpha / math.Sqrt(float64(l.Rank))
		}
	}
	return nil
}

// fits compares shapes with the base model's.
func (a *Adapter) fits(base Config) error {
	shapes := map[string]tensor.Shape{}
	cfg := a.Config(base)
	for _, s := range cfg.TensorShapes() {
		shapes[s.Name] = s.Shape
	}
	if cfg.TieEmbeddings {
		shapes[headName] = shapes[embedName] // a copy of the saved embedding
	}
	for i := range a.Targets {
		l := &a.Targets[i]
		w := shapes[l.Name]
		if len(w) != 2 {
			return badTensor(l.A, "the base model has no matrix %s%s", l.Name, a.madeFor())
		}
		if l.A.Shape[1] != w[1] || l.B.Shape[0] != w[0] {
			return badTensor(l.A, "a change of shape [%d %d] for the base model's %s of %v: made for another model%s", l.B.Shape[0], l.A.Shape[1], l.Name, w, a.madeFor())
		}
	}
	for _, t := range a.Saved {
		if w, ok := shapes[t.Name]; !ok || !w.Equal(t.Shape) || !quant.Supported(t.DType) {
			return badTensor(t, "replaces the base model's %s of %v with %v of %v%s", t.Name, w, t.Shape, t.DType, a.madeFor())
		}
	}
	return nil
}

// madeFor names the base model in an error, if the adapter names one.
func (a *Adapter) madeFor() string {
	if a.BaseModel == "" {
		return ""
	}
	return fmt.Sprintf(" (its author names %q)", a.BaseModel)
}

func newTensor(name string, s *Stored) (*Tensor, error) {
	if err := s.readable(); err != nil {
		return nil, err
	}
	row, err := s.DType.RowSize(s.Shape.Cols())
	if err != nil {
		return nil, &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Err: err}
	}
	return &Tensor{Name: name, Stored: s.Name, DType: s.DType, Shape: s.Shape, File: s.File, Offset: s.Offset, data: s.Data, rowSize: row}, nil
}

func openGGUFAdapter(path string, base Config) (_ *Adapter, err error) {
	g, err := OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = g.Close()
		}
	}()
	alpha, err := g.adapterAlpha()
	if err != nil {
		return nil, &FormatError{File: path, Offset: -1, Err: err}
	}
	a := &Adapter{Path: path, close: g.Close}
	a.BaseModel, _ = g.Get("general.base_model.0.name").(string)
	r := adapterReader{a, map[string]int{}}
	for i := range g.Tensors {
		if err := r.takeGGUF(&g.Tensors[i], base, alpha); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// adapterAlpha returns alpha of a file that holds a LoRA adapter for a Llama.
func (g *GGUF) adapterAlpha() (float64, error) {
	if t, _ := g.Get("general.type").(string); t != "adapter" {
		return 0, fmt.Errorf("general.type is %q: a model, not an adapter", t)
	}
	if t, _ := g.Get("adapter.type").(string); t != "lora" {
		return 0, fmt.Errorf("adapter.type %q is not supported (lora is)", t)
	}
	if arch, _ := g.Get("general.architecture").(string); arch != "llama" {
		return 0, fmt.Errorf("an adapter for architecture %q", arch)
	}
	alpha, _ := asFloat(g.Get("adapter.lora.alpha"))
	if !(alpha >= 0 && alpha < 1e9) {
		return 0, fmt.Errorf("adapter.lora.alpha is %v", alpha)
	}
	return alpha, nil
}

// takeGGUF adds a tensor of a GGUF file to the adapter: half of a low-rank change, or a weight that replaces the base's.
func (r *adapterReader) takeGGUF(s *Stored, base Config, alpha float64) error {
	bad := func(format string, args ...any) error {
		return &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Msg: fmt.Sprintf(format, args...)}
	}
	stored, isA := strings.CutSuffix(s.Name, ".lora_a")
	stored, isB := strings.CutSuffix(stored, ".lora_b")
	name, known := canonicalName(stored)
	switch {
	case !known || isA && isB:
		return bad("is no part of an adapter for a Llama")
	case name == "model.embed_tokens.weight" && (isA || isB):
		return bad("a low-rank change of the embedding is not supported")
	}
	t, err := newTensor(name, s)
	if err != nil {
		return err
	}
	heads := base.rotaryHeads(name)
	switch {
	case isA:
		r.target(name, alpha).A = t
	case isB:
		// Rows of B are rows of W: interleaved where W's are.
		if heads > 0 && t.Rows() != heads*base.HeadDim {
			return bad("shape %v doesn't fit %d heads of %d", t.Shape, heads, base.HeadDim)
		}
		t.heads = heads
		r.target(name, alpha).B = t
	case heads > 0:
		return bad("replaces rotary weights, which no adapter writer does")
	default:
		r.Saved = append(r.Saved, t)
	}
	return nil
}

// adapterReader fills an adapter with the tensors of its files.
type adapterReader struct {
	*Adapter
	index map[string]int // a target's place, by name
}

// target returns the change of a weight, which is added with alpha if it is not there yet.
func (r *adapterReader) target(name string, alpha float64) *LoRA {
	at, ok := r.index[name]
	if !ok {
		at = len(r.Targets)
		r.index[name] = at
		r.Targets = append(r.Targets, LoRA{Name: name, Alpha: alpha})
	}
	return &r.Targets[at]
}
