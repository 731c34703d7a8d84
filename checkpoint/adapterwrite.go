package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"leolm/internal/durable"
	"leolm/tensor"
)

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
