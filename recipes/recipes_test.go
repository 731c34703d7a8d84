// Package recipes holds no code: its files are the recipes of leo train, data and tokenizer.
package recipes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/train"
)

// training lists the recipes of leo train; the others in these folders are for leo data.
var training = []string{
	"leo-7b-chat.yaml", "leo-13b-chat.yaml", "leo-7b-pretrain.yaml", "leo-7b-chat-lora.yaml", "leo-7b-chat-qlora.yaml",
	"leo-7b-chat-nodes.yaml", "leo-13b-chat-nodes.yaml", "smollm2-german-lora.yaml", "mini-5min.yaml", "leo-mini/pretrain.yaml", "leo-mini/chat.yaml", "leo-mini/again.yaml",
}

// Every recipe loads without a complaint and opens with the command that runs it.
func TestTrainingRecipes(t *testing.T) {
	for _, path := range training {
		if _, err := train.Load(path, nil); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\nname:")
		if !strings.Contains(head, "#   leo train recipes/"+path) {
			t.Errorf("%s doesn't open with its command", path)
		}
	}
}

// Recipes too large for any machine here are at least planned, from what the card and the known shapes say.
func TestPlansOfLargeRecipes(t *testing.T) {
	for path, want := range map[string]struct {
		steps  int
		params float64
	}{
		"leo-7b-chat.yaml":       {1537, 6.74e9},
		"leo-13b-chat.yaml":      {1537, 13.0e9},
		"leo-7b-pretrain.yaml":   {15360, 6.74e9},
		"leo-7b-chat-lora.yaml":  {1537, 6.8e9},
		"leo-7b-chat-qlora.yaml": {1537, 6.8e9},
	} {
		c, err := train.Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := train.MakePlan(c)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if p.Steps != want.steps || float64(p.Params) < 0.98*want.params || float64(p.Params) > 1.02*want.params {
			t.Errorf("%s: %d steps, %d parameters; want %d and about %g", path, p.Steps, p.Params, want.steps, want.params)
		}
		if p.Memory.Total() < p.Params/2 || p.FLOPs <= 0 {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// What the recipes for many machines say of themselves.
func TestPlansForRanks(t *testing.T) {
	for path, want := range map[string]struct {
		ranks int
		says  string
	}{
		"leo-7b-chat-nodes.yaml":  {8, "65.3 GiB of memory for each rank (109.2 GiB alone), 43.9 GiB sent"},
		"leo-13b-chat-nodes.yaml": {16, "115.2 GiB of memory for each rank (206.0 GiB alone), 90.9 GiB sent"},
	} {
		c, err := train.Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := train.MakePlan(c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.ForRanks(want.ranks)
		if err != nil {
			t.Fatal(err)
		}
		const gib = 1 << 30
		says := fmt.Sprintf("%.1f GiB of memory for each rank (%.1f GiB alone), %.1f GiB sent",
			float64(r.Memory.Total())/gib, float64(p.Memory.Total())/gib, float64(r.Sent)/gib)
		text, err := os.ReadFile(path)
		if err != nil || says != want.says || !strings.Contains(string(text), want.says) {
			t.Errorf("%s: the plan is %q, want %q, which the recipe should say", path, says, want.says)
		}
	}
}

// Every recipe plans itself where neither its data nor its base is: by known shapes and what it says of its data.
func TestEveryRecipePlans(t *testing.T) {
	for _, path := range training {
		c, err := train.Load(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(c.Model.Base, "out/") {
			// Its base is what another recipe makes: that one's shape stands in.
			from, err := train.Load("leo-mini/pretrain.yaml", nil)
			if err != nil {
				t.Fatal(err)
			}
			c.Model.Base, c.Model.Shape = "", from.Model.Shape
			c.Data.Examples = 10000
		}
		p, err := train.MakePlan(c)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		m := &p.Memory
		if p.Steps < 1 || p.Params < 1e6 || p.Trainable < 1 || p.Trainable > p.Params || p.FLOPs <= 0 || p.Disk <= 0 || m.Weights <= 0 || m.Gradients <= 0 || m.Optimizer <= 0 || m.Activations <= 0 || m.Workspace <= 0 {
			t.Errorf("%s: %+v", path, p)
		}
	}
}

// A recipe written for leo train and forgotten above would be tested by nobody.
func TestNoRecipeIsForgotten(t *testing.T) {
	known := map[string]bool{}
	for _, p := range training {
		known[p] = true
	}
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nschedule:") && !known[f] {
			t.Errorf("%s is not tested", f)
		}
	}
}

// The card's numbers, which the recipes must not drift from.
func TestLeoLMNumbers(t *testing.T) {
	chat, err := train.Load("leo-13b-chat.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if chat.Batch.Global != 256 || chat.Optimizer.LR != 3e-5 || chat.Schedule.Epochs != 3 || chat.Schedule.WarmupSteps != 100 || chat.Schedule.Type != "cosine" || chat.Optimizer.Betas[0] != 0.9 || chat.Optimizer.Betas[1] != 0.95 || chat.Batch.Average != "microbatch" || chat.Data.Packing {
		t.Errorf("leo-13b-chat is not the card's: %+v", chat)
	}
	pre, err := train.Load("leo-7b-pretrain.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if tokens := float64(pre.Batch.Global) * float64(pre.Data.SequenceLength) * float64(pre.Schedule.Steps); tokens < 64e9 || tokens > 65.5e9 || pre.Model.RopeLinear != 2 || pre.Optimizer.WeightDecay != 0.05 || pre.Optimizer.LR != 2e-5 || pre.Schedule.MinLR != 2e-6 {
		t.Errorf("leo-7b-pretrain is not the original's (%g tokens)", tokens)
	}
}

// What the recipes too large for our machine say of themselves is what the plan says, and the card's steps come
// out: 131 214 examples, three epochs, the last partial batch dropped.
func TestLargeRecipesSayTheirPlan(t *testing.T) {
	for _, c := range []struct {
		path  string
		steps int
		says  string
	}{
		{"leo-7b-chat.yaml", 1537, "109.2 GiB of memory"},
		{"leo-13b-chat.yaml", 1537, "206.0 GiB of memory"},
		{"leo-7b-pretrain.yaml", 15360, "109.2 GiB of memory"},
		{"leo-7b-chat-lora.yaml", 1537, "24.1 GiB of memory"},
		{"leo-7b-chat-qlora.yaml", 1537, "14.6 GiB of memory"},
	} {
		cfg, err := train.Load(c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := train.MakePlan(cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		if p.Steps != c.steps {
			t.Errorf("%s: %d steps, want %d", c.path, p.Steps, c.steps)
		}
		if gib := fmt.Sprintf("%.1f GiB of memory", float64(p.Memory.Total())/(1<<30)); gib != c.says {
			t.Errorf("%s: the plan has %s, expected %s", c.path, gib, c.says)
		}
		text, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), c.says) {
			t.Errorf("%s doesn't say that it takes %s", c.path, c.says)
		}
	}
}
