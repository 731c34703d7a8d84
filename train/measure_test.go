package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/infer"
	"leolm/sample"
	"leolm/tensor"
)

// lastState reads weights and optimizer state of the newest checkpoint.
func lastState(t *testing.T, cfg *Config) []byte {
	t.Helper()
	done, err := committed(filepath.Join(cfg.Output, "checkpoints"))
	if err != nil || len(done) == 0 {
		t.Fatal("no checkpoint", err)
	}
	var all []byte
	for _, name := range []string{weightsFile, optimizerFile, stateFile} {
		b, err := os.ReadFile(filepath.Join(cfg.Output, "checkpoints", done[len(done)-1].name, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// probe writes with the model of a step and scores a text, as an evaluation does.
func probe(ctx context.Context, m *Snapshot) (string, error) {
	eng, err := infer.NewEngine(m.Device, m.Model, infer.Options{Context: 48, CacheType: tensor.F32})
	if err != nil {
		return "", err
	}
	ids := m.Tokenizer.AppendTokens([]int32{m.Tokenizer.BOS()}, lines[0])
	scored := eng.NewSession()
	lps, err := eng.Score(ctx, scored, ids)
	scored.Close()
	if err != nil {
		return "", err
	}
	s := eng.NewSession()
	defer s.Close()
	res, err := eng.Generate(ctx, s, m.Tokenizer.NewDecoder(true), &infer.Request{
		Prompt: ids[:4], Params: sample.Params{Temperature: 1, Seed: rand.Uint64()}, MaxNewTokens: 5, StopIDs: m.StopIDs, TopLogProbs: -1,
	}, nil)
	return fmt.Sprint(lps, res.Text), err
}

// measured runs a recipe with an observer that measures, and returns the steps with the fingerprints of their weights.
func measured(t *testing.T, cfg *Config, stopAt int, evaluate func(ctx context.Context, m *Snapshot) error) (*Result, []string, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen []string
	tr, err := New(cfg, newCPU(t, tensor.F32), Observer{
		Step: func(s Step) {
			if s.Step == stopAt {
				cancel()
			}
		},
		Evaluate: func(ctx context.Context, m *Snapshot) error {
			seen = append(seen, fmt.Sprintf("%d %s", m.Step, m.Weights))
			return evaluate(ctx, m)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	res, err := tr.Run(ctx)
	return res, seen, err
}

// stepsOf are the steps without the fingerprints.
func stepsOf(seen []string) string {
	var out []string
	for _, s := range seen {
		step, _, _ := strings.Cut(s, " ")
		out = append(out, step)
	}
	return strings.Join(out, " ")
}

// A run with evaluations ends with the bytes of one without: weights, optimizer, position in the data. So does one that
// was stopped and resumed between them, with adapters and dropout too.
func TestEvaluationChangesNothing(t *testing.T) {
	reading := func(ctx context.Context, m *Snapshot) error {
		_, err := probe(ctx, m)
		return err
	}
	base := workshop(t)
	runAll(t, base, 0)
	for name, change := range map[string]func(c *Config){
		"whole": func(c *Config) {},
		"adapters": func(c *Config) { // on the model that the run above left
			c.Model = ModelConfig{Base: filepath.Join(base.Output, "model"), Tokenizer: c.Model.Tokenizer}
			c.LoRA = &LoRAConfig{Rank: 4, Dropout: 0.3}
			c.Compute.NEFTune = 5
		},
	} {
		recipe := func(out string, every int) *Config {
			c := *base
			change(&c)
			c.Output = filepath.Join(t.TempDir(), out)
			if every > 0 {
				c.Evaluate = &EvaluateConfig{Every: every, Tasks: []EvaluateTask{{File: "x"}}}
			}
			c.derive()
			return &c
		}
		plain := recipe("plain", 0)
		runAll(t, plain, 0)
		want := lastState(t, plain)

		whole := recipe("whole", 4)
		_, seen, err := measured(t, whole, 0, reading)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(lastState(t, whole), want) {
			t.Errorf("%s: the evaluations have changed the run", name)
		}
		steps := "4 8 12"
		if whole.Model.Base != "" {
			steps = "0 4 8 12"
		}
		if got := stepsOf(seen); got != steps {
			t.Errorf("%s: measured at %s, want %s", name, got, steps)
		}

		// Stopped behind step 8, which was measured then: the resumed run sees that step once more, with the same weights.
		parts := recipe("parts", 4)
		_, first, err := measured(t, parts, 8, reading)
		if err != nil {
			t.Fatal(err)
		}
		res, second, err := measured(t, parts, 0, reading)
		if err != nil || res.Steps != 12 {
			t.Fatal(res, err)
		}
		if !bytes.Equal(lastState(t, parts), want) {
			t.Errorf("%s: the resumed run ends otherwise", name)
		}
		all := append(first, second...)
		slices.Sort(all)
		slices.Sort(seen)
		if got := slices.Compact(all); !slices.Equal(got, seen) {
			t.Errorf("%s: in parts %q, whole %q", name, got, seen)
		}
	}
}

// The model that is measured in the end is the one that is exported.
func TestEvaluationSeesTheExportedModel(t *testing.T) {
	cfg := workshop(t)
	cfg.Checkpoint.Average = 2
	cfg.Evaluate = &EvaluateConfig{Tasks: []EvaluateTask{{File: "x"}}}
	var values []float32
	_, seen, err := measured(t, cfg, 0, func(ctx context.Context, m *Snapshot) error {
		w := m.Model.Embed
		values = make([]float32, w.Rows()*w.Cols())
		m.Device.ReadWeight(w, values)
		return nil
	})
	if err != nil || stepsOf(seen) != "12" {
		t.Fatal(seen, err)
	}
	other := *cfg
	other.Model = ModelConfig{Base: filepath.Join(cfg.Output, "model")}
	other.Output, other.Checkpoint.Average = t.TempDir(), 0
	other.derive()
	tr, err := New(&other, newCPU(t, tensor.F32), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	got := make([]float32, len(values))
	tr.dev.ReadWeight(tr.sub.model.Embed, got)
	if !slices.Equal(got, values) {
		t.Error("the measured weights are not those of the exported model")
	}
}

// An evaluation that fails is said at once and at the end; the model is there all the same.
func TestEvaluationFails(t *testing.T) {
	cfg := workshop(t)
	cfg.Evaluate = &EvaluateConfig{Every: 5, Tasks: []EvaluateTask{{File: "x"}}}
	broken := errors.New("no memory")
	_, seen, err := measured(t, cfg, 0, func(_ context.Context, m *Snapshot) error {
		if m.Step == 5 {
			return broken
		}
		return nil
	})
	var failed *EvaluationError
	if !errors.As(err, &failed) || failed.Step != 5 || !errors.Is(err, broken) || stepsOf(seen) != "5 10 12" {
		t.Errorf("%v, %q", err, seen)
	}
	if _, err := os.Stat(filepath.Join(cfg.Output, "model", "config.json")); err != nil {
		t.Error(err)
	}
	tr, err := New(cfg, newCPU(t, tensor.F32), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := tr.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "measures no benchmarks") {
		t.Errorf("nobody measures: %v", err)
	}
}

func TestEvaluateKeys(t *testing.T) {
	minus := -1
	for want, e := range map[string]EvaluateConfig{
		"evaluate.tasks: name at least one":                  {Every: 1},
		"evaluate.every: -1 must not be negative":            {Every: -1, Tasks: []EvaluateTask{{File: "x"}}},
		"evaluate.tasks[0]: give exactly one":                {Tasks: []EvaluateTask{{File: "x", Suite: "y"}}},
		"evaluate.tasks[0]: data and variant":                {Tasks: []EvaluateTask{{File: "x", Data: "y"}}},
		`evaluate.tasks[0].variant: "new"`:                   {Tasks: []EvaluateTask{{GermanBench: "arc_de", Variant: "new"}}},
		"evaluate.tasks[0].num_fewshot: a suite":             {Tasks: []EvaluateTask{{Suite: "x", NumFewshot: new(int)}}},
		"evaluate.tasks[0].max_new_tokens: only a suite":     {Tasks: []EvaluateTask{{File: "x", MaxNewTokens: 3}}},
		"evaluate.tasks[1]: limit, max_new_tokens and num_f": {Tasks: []EvaluateTask{{File: "x"}, {File: "y", NumFewshot: &minus}}},
	} {
		var got []string
		e.validate(func(cond bool, key, format string, args ...any) {
			if cond {
				got = append(got, key+": "+fmt.Sprintf(format, args...))
			}
		})
		if len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	// The section is no part of what a checkpoint must agree with.
	a, b := workshop(t), workshop(t)
	*b = *a
	b.Evaluate = &EvaluateConfig{Every: 3, Tasks: []EvaluateTask{{File: "x"}}}
	if a.identity() != b.identity() {
		t.Error("evaluations make another recipe")
	}
}
