package train

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/dataset/loader"
	"leolm/tensor"
)

func TestLength(t *testing.T) {
	card := func(int) int { return 131214 }
	grows := func(e int) int { return 10 + e } // packing makes epochs of different lengths
	for _, c := range []struct {
		s       ScheduleConfig
		global  int
		partial string
		windows func(int) int
		want    runLength
	}{
		{ScheduleConfig{Epochs: 3}, 256, "drop", card, runLength{1537, 0, 3}},
		{ScheduleConfig{Epochs: 3}, 256, "keep", card, runLength{1538, 3*131214 - 1537*256, 3}},
		{ScheduleConfig{Epochs: 2}, 7, "keep", grows, runLength{3, 0, 2}},
		{ScheduleConfig{Epochs: 1.5}, 8, "drop", grows, runLength{1, 0, 1.5}},
		{ScheduleConfig{Epochs: 1.5}, 8, "keep", grows, runLength{2, 7, 1.5}},
		{ScheduleConfig{Epochs: 1.5}, 5, "keep", grows, runLength{3, 0, 1.5}},
		{ScheduleConfig{Epochs: 0.3}, 8, "keep", grows, runLength{1, 3, 0.3}},
		{ScheduleConfig{Epochs: 0.3}, 8, "drop", grows, runLength{0, 0, 0.3}},
		{ScheduleConfig{Epochs: 0.1}, 1, "keep", func(int) int { return 30 }, runLength{3, 0, 0.1}}, // 0.1 × 30 is 3.0000000000000004
		{ScheduleConfig{Steps: 5}, 4, "keep", grows, runLength{5, 0, 2}},
		{ScheduleConfig{Steps: 5}, 4, "keep", func(int) int { return 0 }, runLength{5, 0, 0}},
		{ScheduleConfig{Tokens: 4001}, 4, "drop", grows, runLength{11, 0, 4.4}},
	} {
		cfg := Config{Schedule: c.s, Batch: BatchConfig{Global: c.global, LastPartial: c.partial}, Data: DataConfig{SequenceLength: 100}}
		if got := cfg.length(c.windows); got != c.want {
			t.Errorf("%+v, batches of %d, %s: got %+v, want %+v", c.s, c.global, c.partial, got, c.want)
		}
	}
}

// A fraction of an epoch ends with the sequences it has, and progress says how far it is.
func TestFractionalEpochs(t *testing.T) {
	for partial, want := range map[string][]int{"keep": {8, 8, 8, 8, 8, 8, 8, 4}, "drop": {8, 8, 8, 8, 8, 8, 8}} {
		cfg := workshop(t) // 40 samples
		cfg.Schedule = ScheduleConfig{Type: "constant", Epochs: 1.5}
		cfg.Batch.LastPartial = partial
		var sizes []int
		var steps []Step
		tr, err := New(cfg, newCPU(t, tensor.F32), Observer{
			Batch: func(_ int, w []loader.Window) { sizes = append(sizes, len(w)) },
			Step:  func(s Step) { steps = append(steps, s) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if tr.Plan().Epochs != 1.5 {
			t.Errorf("the plan says %v epochs", tr.Plan().Epochs)
		}
		if _, err := tr.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(sizes) != len(want) || sizes[len(sizes)-1] != want[len(want)-1] {
			t.Errorf("%s: batches of %v, want %v", partial, sizes, want)
		}
		for i, s := range steps[:7] {
			if d := s.Epochs - float64(8*(i+1))/40; math.Abs(d) > 1e-9 {
				t.Errorf("%s: after step %d %v epochs", partial, s.Step, s.Epochs)
			}
		}
	}
}

// A finished run that is started again tells the loss it ended with; what is not known is null in JSON.
func TestFinishedRunAgain(t *testing.T) {
	cfg := workshop(t)
	cfg.Schedule.Steps = 4
	first, _ := runAll(t, cfg, 0)
	again, steps := runAll(t, cfg, 0)
	if len(steps) != 0 || !again.Finished || first.Finished || again.Loss != first.Loss || again.ValidLoss != first.ValidLoss {
		t.Errorf("first %+v, then %+v after %d steps", first, again, len(steps))
	}
	b, err := json.Marshal(Result{Steps: 4, Loss: math.NaN(), ValidLoss: math.NaN()})
	if err != nil || string(b) != `{"Steps":4,"Finished":false,"Interrupted":false,"EarlyStop":false,"PeakBytes":0,"Loss":null,"ValidLoss":null}` {
		t.Errorf("got %s, %v", b, err)
	}
	if b, err = json.Marshal(again); err != nil || !strings.Contains(string(b), `"Loss":`) || strings.Contains(string(b), "null") {
		t.Errorf("got %s, %v", b, err)
	}
}

// A plan of a preference run counts the pairs.
func TestPlanOfPreferences(t *testing.T) {
	cfg := workshop(t)
	cfg.DPO = &DPOConfig{Beta: 0.1, Pairs: filepath.Join(filepath.Dir(cfg.Output), "pairs.jsonl")}
	if err := os.WriteFile(cfg.DPO.Pairs, []byte(strings.Repeat(`{"prompt": "a", "chosen": "b", "rejected": "c"}`+"\n", 20)), 0o666); err != nil {
		t.Fatal(err)
	}
	cfg.Data = DataConfig{SequenceLength: 48}
	cfg.Schedule = ScheduleConfig{Type: "constant", Epochs: 2.25}
	cfg.Batch.LastPartial = "keep"
	p, err := MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if p.Steps != 6 || p.Epochs != 2.25 {
		t.Errorf("%d steps, %v epochs; want 6 and 2.25", p.Steps, p.Epochs)
	}
}

// Patterns that match nothing stop a run, and its plan, before the first step.
func TestPatternsThatMatchNothing(t *testing.T) {
	base := workshop(t)
	base.Schedule.Steps = 1
	runAll(t, base, 0)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"train": {func(c *Config) { c.LoRA, c.Model.Train = nil, []string{"model.layers.*", "model.layer.1.*"} },
			`model.train: "model.layer.1.*" matches nothing of this model; it has model.embed_tokens.weight, model.layers.0.input_layernorm.weight,`},
		"tied head": {func(c *Config) { c.LoRA, c.Model.Train = nil, []string{"lm_head.*", "model.norm.weight"} }, `model.train: "lm_head.*" matches nothing`},
		"rank":      {func(c *Config) { c.LoRA.RankPattern = map[string]int{"v_proj": 2, "attn.w_q": 8} }, `lora.rank_pattern: "attn.w_q" matches nothing of this model; it has model.layers.0.self_attn.q_proj,`},
		"layer":     {func(c *Config) { c.LoRA.RankPattern = map[string]int{"layers.2.self_attn.v_proj": 2} }, `lora.rank_pattern: "layers.2.self_attn.v_proj" matches nothing`},
		"alpha":     {func(c *Config) { c.LoRA.AlphaPattern = map[string]float64{"qproj": 2} }, `lora.alpha_pattern: "qproj" matches nothing`},
		"left out": {func(c *Config) {
			c.LoRA.Targets = []string{"q_proj"}
			c.LoRA.AlphaPattern = map[string]float64{"v_proj": 2}
		}, `lora.alpha_pattern: "v_proj" matches only modules that lora.targets leaves out, such as model.layers.0.self_attn.v_proj`},
		"all is well": {func(c *Config) {
			c.LoRA.RankPattern, c.LoRA.AlphaPattern = map[string]int{"layers.1.mlp.(gate|up)_proj": 2}, map[string]float64{"v_proj": 2}
			c.Model.Train = []string{"model.norm.weight"}
		}, ""},
	} {
		cfg := *base
		cfg.Output += "-" + strings.ReplaceAll(name, " ", "-")
		cfg.Model = ModelConfig{Base: filepath.Join(base.Output, "model")}
		cfg.LoRA = &LoRAConfig{Rank: 4, Alpha: 8, Targets: Projections}
		c.change(&cfg)
		tr, err := New(&cfg, newCPU(t, tensor.F32), Observer{})
		if err == nil {
			tr.Close()
		}
		_, planErr := MakePlan(&cfg)
		for _, err := range []error{err, planErr} {
			var p *PatternError
			if (err != nil) != (c.want != "") || err != nil && (!errors.As(err, &p) || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("%s: got %v, want %q", name, err, c.want)
			}
		}
	}
}

// A base whose matrices do not divide into the blocks of lora.base_type is refused by the plan as by the run.
func TestBaseTypeFits(t *testing.T) {
	base := workshop(t)
	base.Schedule.Steps = 1
	runAll(t, base, 0)
	cfg := *base
	cfg.Output += "-nf4"
	cfg.Model = ModelConfig{Base: filepath.Join(base.Output, "model")}
	for baseType, fits := range map[string]bool{"nf4": false, "q8_0": true} {
		cfg.LoRA = &LoRAConfig{Rank: 4, Alpha: 8, Targets: Projections, BaseType: baseType}
		tr, err := New(&cfg, newCPU(t, tensor.F32), Observer{})
		if err == nil {
			tr.Close()
		}
		_, planErr := MakePlan(&cfg)
		for _, err := range []error{err, planErr} {
			var b *BlockError
			if errors.As(err, &b) == fits || b != nil && (b.Width != 32 || b.Tensor != "model.embed_tokens.weight") {
				t.Errorf("%s: %v", baseType, err)
			}
		}
	}
}
