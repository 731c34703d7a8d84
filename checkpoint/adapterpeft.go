package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// peftConfig is what adapter_config.json says that matters here.
type peftConfig struct {
	rank   int
	alpha  float64
	rslora bool

	patterns []alphaPattern
	base     string
	tied     bool
}

// alphaPattern gives modules an alpha of their own: those whose name ends as re says.
type alphaPattern struct {
	re    *regexp.Regexp
	alpha float64
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
	var patterns map[string]float64
	o.get("alpha_pattern", "a map of numbers", &patterns)
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
	for _, key := range sortedKeys(patterns) {
		re, err := regexp.Compile(`(^|.*\.)(` + key + `)$`)
		if err != nil {
			return p, fmt.Errorf("alpha_pattern %q: %w", key, err)
		}
		p.patterns = append(p.patterns, alphaPattern{re, patterns[key]})
	}
	return p, nil
}

// alphaOf is alpha of a module: that of the first pattern which matches, or the adapter's.
func (p *peftConfig) alphaOf(module string) float64 {
	for _, a := range p.patterns {
		if a.re.MatchString(module) {
			return a.alpha
		}
	}
	return p.alpha
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
	stored, err := a.openPEFTWeights()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = a.Close()
		}
	}()
	r := adapterReader{a, map[string]int{}}
	for i := range stored {
		if err := r.takePEFT(&stored[i], &cfg); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// openPEFTWeights opens the weights beside adapter_config.json, which the adapter closes from now on.
func (a *Adapter) openPEFTWeights() ([]Stored, error) {
	path := filepath.Join(a.Path, "adapter_model.safetensors")
	if _, err := os.Stat(path); err == nil {
		s, err := OpenSafetensors(path)
		if err != nil {
			return nil, err
		}
		a.close = s.Close
		return s.Tensors, nil
	}
	p, err := OpenPyTorch(filepath.Join(a.Path, "adapter_model.bin"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: neither adapter_model.safetensors nor adapter_model.bin", a.Path)
	}
	if err != nil {
		return nil, err
	}
	a.close = p.Close
	return p.Tensors, nil
}

// takePEFT adds a tensor: a part of a module's low-rank change, or a whole weight.
func (r *adapterReader) takePEFT(s *Stored, cfg *peftConfig) error {
	name := strings.TrimPrefix(plainName(s.Name), "base_model.model.")
	m := loraName.FindStringSubmatch(name)
	if m == nil {
		return r.savePEFT(s, name)
	}
	module, part := m[1], m[2]
	target := module + ".weight"
	t, err := newTensor(target, s)
	if err != nil {
		return err
	}
	l := r.target(target, cfg.alphaOf(module))
	l.RSLoRA = cfg.rslora
	slot := map[string]**Tensor{"lora_A": &l.A, "lora_B": &l.B, "lora_magnitude_vector": &l.Magnitude}[part]
	if *slot != nil {
		return &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Msg: fmt.Sprintf("a second %s for %s", part, target)}
	}
	*slot = t
	return nil
}

// savePEFT adds a whole weight (modules_to_save).
func (r *adapterReader) savePEFT(s *Stored, name string) error {
	if strings.Contains(name, "lora_embedding_") {
		return &FormatError{File: s.File, Tensor: s.Name, Offset: s.Offset, Msg: "a low-rank change of the embedding is not supported; train it as modules_to_save"}
	}
	name = strings.Replace(name, ".modules_to_save", "", 1)
	name = strings.Replace(name, ".default", "", 1)
	t, err := newTensor(name, s)
	if err != nil {
		return err
	}
	r.Saved = append(r.Saved, t)
	return nil
}
