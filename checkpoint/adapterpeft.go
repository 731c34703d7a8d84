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
