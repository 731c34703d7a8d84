package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"leolm/internal/durable"
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

// peftConfig is what adapter_config.json says that matters here.
type peftConfig struct {
	rank   int
	alpha  float64
	rslora bool

	alphaPattern map[string]float64
	base         string
	tied         bool
}

func parsePEFT(data []byte) (peftConfig, error) {
	o, err := parseObject(data)
	if err != nil {
		return peftConfig{}, err
	}
	o.need("peft_type")
	if o.err == nil {
		if err := checkPEFT(o); err != nil {
			return peftConfig{}, err
		}
	}
	o.need("r", "lora_alpha")
	p := peftConfig{rank: o.int("r", 0), alpha: o.float("lora_alpha", 0), rslora: o.bool("use_rslora"), base: o.string("base_model_name_or_path"), tied: o.bool("ensure_weight_tying")}
	o.get("alpha_pattern", "a map of numbers", &p.alphaPattern)
	fan, bias := o.bool("fan_in_fan_out"), o.string("bias")
	if o.err != nil {
		return p, o.err
	}
	switch {
	case fan:
		return p, fmt.Errorf("fan_in_fan_out is not supported: a Llama has no transposed layers")
	case bias != "" && bias != "none":
		return p, fmt.Errorf("bias %q is not supported (none is)", bias)
	case p.rank < 1:
		return p, fmt.Errorf("r is %d", p.rank)
	case !(p.alpha > 0 && p.alpha < 1e9):
		return p, fmt.Errorf("lora_alpha is %v", p.alpha)
	}
	return p, nil
}

// alphaOf applies alpha_pattern, whose keys are module names or expressions
// that match the end of one.
func (p *peftConfig) alphaOf(module string) (float64, error) {
	for _, key := range sortedKeys(p.alphaPattern) {
		re, err := regexp.Compile(`(^|.*\.)(` + key + `)$`)
		if err != nil {
			return 0, fmt.Errorf("alpha_pattern %q: %w", key, err)
		}
		if re.MatchString(module) {
			return p.alphaPattern[key], nil
		}
	}
	return p.alpha, nil
}

var loraName = regexp.MustCompile(`^(.+)\.(lora_A|lora_B|lora_magnitude_vector)(\.default)?(\.weight)?$`)

func openPEFT(dir string) (_ *Adapter, err error) {
	file := filepath.Join(dir, "adapter_config.json")
	data, err := readSmall(file, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no adapter_config.json in this folder: not a PEFT adapter", dir)
	}
	if err != nil {
		return nil, err
	}
	cfg, err := parsePEFT(data)
	if err != nil {
		return nil, jsonError(file, data, err)
	}
	a := &Adapter{Path: dir, BaseModel: cfg.base, tied: cfg.tied}
	if a.Files, err = tokenizerFolder(dir); err != nil {
		return nil, err
	}
	var stored []Stored
	path := filepath.Join(dir, "adapter_model.safetensors")
	if _, err := os.Stat(path); err == nil {
		s, err := OpenSafetensors(path)
		if err != nil {
			return nil, err
		}
		stored, a.close = s.Tensors, s.Close
	} else {
		path = filepath.Join(dir, "adapter_model.bin")
		p, err := OpenPyTorch(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: neither adapter_model.safetensors nor adapter_model.bin", dir)
		}
		if err != nil {
			return nil, err
		}
		stored, a.close = p.Tensors, p.Close
	}
	defer func() {
		if err != nil {
			_ = a.Close()
		}
	}()
	index := map[string]int{}
	for i := range stored {
		s := &stored[i]
		name := strings.TrimPrefix(plainName(s.Name), "base_model.model.")
		m := loraName.FindStringSubmatch(name)
		if m == nil {
			if strings.Contains(name, "lora_embedding_") {
				return nil, &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Msg: "a low-rank change of the embedding is not supported; train it as modules_to_save"}
			}
			name = strings.Replace(name, ".modules_to_save", "", 1)
			name = strings.Replace(name, ".default", "", 1)
			t, err := newTensor(name, s)
			if err != nil {
				return nil, err
			}
			a.Saved = append(a.Saved, t)
			continue
		}
		target := m[1] + ".weight"
		t, err := newTensor(target, s)
		if err != nil {
			return nil, err
		}
		at, ok := index[target]
		if !ok {
			alpha, err := cfg.alphaOf(m[1])
			if err != nil {
				return nil, jsonError(file, data, err)
			}
			at = len(a.Targets)
			index[target] = at
			a.Targets = append(a.Targets, LoRA{Name: target, Alpha: alpha, RSLoRA: cfg.rslora})
		}
		l := &a.Targets[at]
		slot := map[string]**Tensor{"lora_A": &l.A, "lora_B": &l.B, "lora_magnitude_vector": &l.Magnitude}[m[2]]
		if *slot != nil {
			return nil, &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Msg: fmt.Sprintf("a second %s for %s", m[2], target)}
		}
		*slot = t
	}
	return a, nil
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
	fail := func(format string, args ...any) error {
		return &FormatError{File: path, Offset: -1, Msg: fmt.Sprintf(format, args...)}
	}
	if t, _ := g.Get("general.type").(string); t != "adapter" {
		return nil, fail("general.type is %q: a model, not an adapter", t)
	}
	if t, _ := g.Get("adapter.type").(string); t != "lora" {
		return nil, fail("adapter.type %q is not supported (lora is)", t)
	}
	if arch, _ := g.Get("general.architecture").(string); arch != "llama" {
		return nil, fail("an adapter for architecture %q", arch)
	}
	alpha, _ := asFloat(g.Get("adapter.lora.alpha"))
	if !(alpha >= 0 && alpha < 1e9) {
		return nil, fail("adapter.lora.alpha is %v", alpha)
	}
	a := &Adapter{Path: path, close: g.Close}
	a.BaseModel, _ = g.Get("general.base_model.0.name").(string)
	index := map[string]int{}
	for i := range g.Tensors {
		s := &g.Tensors[i]
		bad := func(format string, args ...any) error {
			return &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Msg: fmt.Sprintf(format, args...)}
		}
		half := ""
		stored, ok := strings.CutSuffix(s.Name, ".lora_a")
		if ok {
			half = "a"
		} else if stored, ok = strings.CutSuffix(s.Name, ".lora_b"); ok {
			half = "b"
		}
		name, known := canonicalName(stored)
		if half == "" && known {
			t, err := newTensor(name, s)
			if err != nil {
				return nil, err
			}
			if t.heads = base.rotaryHeads(name); t.heads > 0 {
				return nil, bad("replaces rotary weights, which no adapter writer does")
			}
			a.Saved = append(a.Saved, t)
			continue
		}
		if half == "" || !known {
			return nil, bad("is no part of an adapter for a Llama")
		}
		if name == "model.embed_tokens.weight" {
			return nil, bad("a low-rank change of the embedding is not supported")
		}
		t, err := newTensor(name, s)
		if err != nil {
			return nil, err
		}
		at, ok := index[name]
		if !ok {
			at = len(a.Targets)
			index[name] = at
			a.Targets = append(a.Targets, LoRA{Name: name, Alpha: alpha})
		}
		if half == "a" {
			a.Targets[at].A = t
			continue
		}
		// Rows of B are rows of W: interleaved where W's are.
		if h := base.rotaryHeads(name); h > 0 {
			if t.Rows() != h*base.HeadDim {
				return nil, bad("shape %v doesn't fit %d heads of %d", t.Shape, h, base.HeadDim)
			}
			t.heads = h
		}
		a.Targets[at].B = t
	}
	return a, nil
}

// LoRAWeights is one low-rank change to be written.
type LoRAWeights struct {
	Name string // canonical name of the weight
	A    Rows   // [Rank, In]
	B    Rows   // [Out, Rank]
	Rank int    // 0: PEFTOptions.Rank; another needs a RankPattern that says so
	In   int
	Out  int
	// Magnitude is one row of Out lengths (DoRA), or nil; all targets have one or none has.
	Magnitude Rows
}

// PEFTOptions describe an adapter to be written.
type PEFTOptions struct {
	BaseModel string
	Rank      int
	Alpha     float64
	RSLoRA    bool
	Dropout   float64
	// RankPattern and AlphaPattern name the modules with another rank or alpha, as PEFT has them.
	RankPattern  map[string]int
	AlphaPattern map[string]float64
	Saved        []Source       // whole weights trained along
	Files        TokenizerFiles // of the tokenizer that the adapter was trained with, and further ones
	DType        tensor.DType   // f32, f16 or bf16; Invalid: f32
}

// WritePEFT writes a folder that PEFT and transformers load as an adapter:
// adapter_model.safetensors, then adapter_config.json.
func WritePEFT(dir string, targets []LoRAWeights, opt PEFTOptions) error {
	if opt.DType == tensor.Invalid {
		opt.DType = tensor.F32
	}
	if opt.Rank < 1 || !(opt.Alpha > 0) || len(targets) == 0 {
		return fmt.Errorf("%s: an adapter of rank %d with alpha %v for %d matrices", dir, opt.Rank, opt.Alpha, len(targets))
	}
	var out []Output
	add := func(name string, shape tensor.Shape, from Rows) {
		s := Source{Name: name, Shape: shape, From: from}
		out = append(out, Output{Name: "base_model.model." + name, DType: opt.DType, Shape: shape,
			Write: func(w io.Writer) error { return s.writeAs(w, opt.DType, 0) }})
	}
	modules := map[string]bool{}
	for _, t := range targets {
		module, ok := strings.CutSuffix(t.Name, ".weight")
		if !ok {
			return fmt.Errorf("%s: %q is no weight", dir, t.Name)
		}
		modules[module[strings.LastIndex(module, ".")+1:]] = true
		rank := cmp.Or(t.Rank, opt.Rank)
		add(module+".lora_A.weight", tensor.Shape{rank, t.In}, t.A)
		add(module+".lora_B.weight", tensor.Shape{t.Out, rank}, t.B)
		if t.Magnitude != nil {
			add(module+".lora_magnitude_vector", tensor.Shape{t.Out}, t.Magnitude)
		}
	}
	ranks, alphas := opt.RankPattern, opt.AlphaPattern
	if ranks == nil {
		ranks = map[string]int{}
	}
	if alphas == nil {
		alphas = map[string]float64{}
	}
	saved := map[string]bool{}
	for _, s := range opt.Saved {
		module := strings.TrimSuffix(s.Name, ".weight")
		saved[module[strings.LastIndex(module, ".")+1:]] = true
		add(s.Name, s.Shape, s.From)
	}
	var modulesToSave any
	if len(saved) > 0 {
		modulesToSave = sortedKeys(saved)
	}
	alpha := any(opt.Alpha)
	if opt.Alpha == math.Trunc(opt.Alpha) {
		alpha = int64(opt.Alpha)
	}
	config, err := indentJSON(map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": opt.BaseModel, "inference_mode": true,
		"r": opt.Rank, "lora_alpha": alpha, "lora_dropout": opt.Dropout, "use_rslora": opt.RSLoRA, "use_dora": targets[0].Magnitude != nil,
		"target_modules": sortedKeys(modules), "modules_to_save": modulesToSave, "bias": "none", "fan_in_fan_out": false,
		"rank_pattern": ranks, "alpha_pattern": alphas, "init_lora_weights": true,
	})
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	file := filepath.Join(dir, "adapter_config.json")
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := WriteSafetensors(filepath.Join(dir, "adapter_model.safetensors"), map[string]string{"format": "pt"}, out); err != nil {
		return err
	}
	if opt.Files != nil {
		if err := opt.Files.Write(dir); err != nil {
			return err
		}
	}
	return durable.WriteFile(file, config)
}
