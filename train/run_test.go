package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/dataset/shard"
	"leolm/device"
	"leolm/tensor"
	"leolm/tokenizer"
)

// lines are the texts of the tests: our own.
var lines = []string{
	"Der Mond scheint hell über dem stillen Wald.",
	"Ein alter Mann sitzt am Fluss und wartet auf den Regen.",
	"Die Katze schläft auf der warmen Mauer vor dem Haus.",
	"Im Herbst fallen die Blätter, und der Wind trägt sie fort.",
	"Das Brot liegt noch warm auf dem Tisch in der Küche.",
	"Wer früh aufsteht, sieht die Sonne über den Hügeln.",
	"Kinder laufen über die Wiese und lachen laut.",
	"Am Abend wird es ruhig in der kleinen Stadt.",
}

// workshop makes a tokenizer and token shards in a folder and returns a recipe for them.
func workshop(t *testing.T) *Config {
	t.Helper()
	dir := t.TempDir()
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 360, Control: []string{"<|im_start|>", "<|im_end|>"}})
	if err != nil {
		t.Fatal(err)
	}
	c := tr.Counter()
	for _, l := range lines {
		c.Add(l)
	}
	res, err := tr.Train(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	model := filepath.Join(dir, "tokenizer.model")
	if err := os.WriteFile(model, res.Model, 0o666); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromSentencePiece(res.Model, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	shards := filepath.Join(dir, "data")
	w, err := shard.NewWriter(shards, shard.Record{Vocab: tok.Vocab(), Tokenizer: tok.Fingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range 40 {
		ids := tok.AppendTokens([]int32{tok.BOS()}, lines[i%len(lines)])
		roles := make([]uint8, len(ids))
		for j := range roles {
			if j > len(ids)/2 {
				roles[j] = 2 // assistant
			}
		}
		if err := w.Add(shard.Sample{IDs: ids, Roles: roles}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Name, cfg.Output, cfg.Seed = "test", filepath.Join(dir, "out"), 7
	cfg.Model = ModelConfig{Tokenizer: model, Shape: &Shape{HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 2, VocabSize: 360, TieEmbeddings: true}}
	cfg.Data.Train = []DataSet{{Shards: shards}}
	cfg.Data.Valid = []DataSet{{Name: "same", Shards: shards}}
	cfg.Data.SequenceLength = 48
	cfg.Batch.Global, cfg.Batch.Micro = 8, 4
	cfg.Optimizer.LR, cfg.Optimizer.Clip, cfg.Optimizer.WeightDecay = 1e-2, 1, 0.1
	cfg.Schedule.Steps, cfg.Schedule.WarmupSteps = 12, 2
	cfg.Checkpoint.Every = 3
	cfg.derive()
	return &cfg
}

// runAll trains from wherever the output folder stands to the end; with stopAt, it is interrupted after that step.
func runAll(t *testing.T, cfg *Config, stopAt int) (*Result, []Step) {
	t.Helper()
	return runOn(t, newCPU(t, tensor.F32), cfg, stopAt)
}

// runOn is runAll on a device.
func runOn(t *testing.T, dev device.Device, cfg *Config, stopAt int) (*Result, []Step) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var steps []Step
	tr, err := New(cfg, dev, Observer{Step: func(s Step) {
		steps = append(steps, s)
		if s.Step == stopAt {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	res, err := tr.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return res, steps
}

func weightsOf(t *testing.T, cfg *Config) []byte {
	t.Helper()
	done, err := committed(filepath.Join(cfg.Output, "checkpoints"))
	if err != nil || len(done) == 0 {
		t.Fatal("no checkpoint", err)
	}
	b, err := os.ReadFile(filepath.Join(cfg.Output, "checkpoints", done[len(done)-1].name, weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestResumedRunEqualsUninterruptedRun(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"packed":       func(c *Config) { c.Data.Packing = true },
		"by length":    func(c *Config) { c.Data.GroupByLength, c.Data.Loss = true, "assistant" },
		"8 bits":       func(c *Config) { c.Optimizer.Bits, c.Model.Shape.HiddenSize, c.Model.Shape.HeadDim = 8, 64, 32 },
		"micro means":  func(c *Config) { c.Batch.Average = "microbatch" },
		"recomputed":   func(c *Config) { c.Compute.Recompute = true },
		"bf16 compute": func(c *Config) { c.Compute.DType = "bf16" },
		"muon": func(c *Config) {
			c.Optimizer.Type, c.Compute.DType, c.Data.Packing = "muon", "bf16", true
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := workshop(t)
			change(cfg)
			whole, steps := runAll(t, cfg, 0)
			want := weightsOf(t, cfg)
			cfg.Output += "-again"
			if res, _ := runAll(t, cfg, 5); !res.Interrupted || res.Steps != 5 {
				t.Fatalf("interrupted at %d (%v), want 5", res.Steps, res.Interrupted)
			}
			// A checkpoint that was not finished must be passed over.
			torn := filepath.Join(cfg.Output, "checkpoints", "step-00000009")
			if err := os.MkdirAll(torn, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(torn, weightsFile), []byte("half"), 0o666); err != nil {
				t.Fatal(err)
			}
			res, rest := runAll(t, cfg, 0)
			if rest[0].Step != 6 {
				t.Fatalf("went on at step %d, want 6", rest[0].Step)
			}
			for i, s := range rest {
				if s.Loss != steps[5+i].Loss || s.TokensSeen != steps[5+i].TokensSeen {
					t.Errorf("step %d: loss %v, uninterrupted %v", s.Step, s.Loss, steps[5+i].Loss)
				}
			}
			if !bytes.Equal(weightsOf(t, cfg), want) {
				t.Error("the finished weights differ")
			}
			if res.ValidLoss != whole.ValidLoss {
				t.Errorf("validation loss %v, uninterrupted %v", res.ValidLoss, whole.ValidLoss)
			}
			if cfg.Compute.DType != "bf16" && steps[11].Loss >= steps[0].Loss {
				t.Errorf("the loss went from %v to %v", steps[0].Loss, steps[11].Loss)
			}
		})
	}
}

// Recomputing activations must not change a bit.
func TestRecomputeIsBitwiseEqual(t *testing.T) {
	base := workshop(t)
	base.Schedule.Steps = 5
	runAll(t, base, 0)
	for _, dtype := range []string{"f32", "bf16"} {
		for name, change := range map[string]func(*Config){
			"full": func(*Config) {},
			"dora": func(c *Config) {
				c.Model = ModelConfig{Base: filepath.Join(base.Output, "model")}
				c.LoRA = &LoRAConfig{Rank: 4, DoRA: true, Dropout: 0.2}
			},
			"qlora": func(c *Config) {
				c.Model = ModelConfig{Base: filepath.Join(base.Output, "model")}
				c.LoRA = &LoRAConfig{Rank: 4, BaseType: "q8_0", Dropout: 0.2}
			},
		} {
			cfg := *base
			cfg.Output += "-" + dtype + name
			cfg.Compute.DType = dtype
			change(&cfg)
			cfg.derive()
			_, a := runAll(t, &cfg, 0)
			want := weightsOf(t, &cfg)
			cfg.Output += "-recompute"
			cfg.Compute.Recompute = true
			_, b := runAll(t, &cfg, 0)
			for i := range a {
				if a[i].Loss != b[i].Loss || a[i].GradNorm != b[i].GradNorm {
					t.Errorf("%s %s, step %d: loss %v, recomputed %v", dtype, name, i+1, a[i].Loss, b[i].Loss)
				}
			}
			if !bytes.Equal(weightsOf(t, &cfg), want) {
				t.Errorf("%s %s: the finished weights differ", dtype, name)
			}
		}
	}
}

// Packed windows with document borders, and micro-batches of any size, give the loss of the plain run.
func TestPackingAndAccumulationKeepTheLoss(t *testing.T) {
	first := func(change func(*Config)) Step {
		cfg := workshop(t)
		cfg.Schedule.Steps = 1
		change(cfg)
		_, steps := runAll(t, cfg, 0)
		return steps[0]
	}
	base := first(func(c *Config) { c.Batch.Global, c.Batch.Micro = 40, 40 })
	for name, s := range map[string]Step{
		"micro-batches of 5": first(func(c *Config) { c.Batch.Global, c.Batch.Micro = 40, 5 }),
		"recomputed":         first(func(c *Config) { c.Batch.Global, c.Batch.Micro, c.Compute.Recompute = 40, 40, true }),
	} {
		if math.Abs(s.Loss-base.Loss) > 1e-5 || math.Abs(s.GradNorm-base.GradNorm) > 1e-4*base.GradNorm {
			t.Errorf("%s: loss %v norm %v, in one batch %v and %v", name, s.Loss, s.GradNorm, base.Loss, base.GradNorm)
		}
	}
}

func TestModelMemorisesABatch(t *testing.T) {
	cfg := workshop(t)
	cfg.Schedule.Steps, cfg.Batch.Global, cfg.Batch.Micro = 250, 8, 8
	cfg.Model.Shape.HiddenSize, cfg.Model.Shape.HeadDim = 64, 32
	cfg.Optimizer.WeightDecay, cfg.Checkpoint.Every = 0, 0
	// Beginnings cannot be guessed: only the second halves count.
	cfg.Data.Loss = "assistant"
	res, _ := runAll(t, cfg, 0)
	if res.Loss > 0.01 {
		t.Errorf("loss %v after %d steps on eight sentences", res.Loss, res.Steps)
	}
	c, err := checkpoint.Open(filepath.Join(cfg.Output, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Config.HiddenSize != 64 || !c.HasWeights() || c.TokenizerDir == "" {
		t.Errorf("the exported folder holds %+v", c.Config)
	}
}

func TestBadRunsAreNamedErrors(t *testing.T) {
	cfg := workshop(t)
	runAll(t, cfg, 4)
	t.Run("another recipe", func(t *testing.T) {
		other := *cfg
		other.Optimizer.LR = 5e-3
		if _, err := New(&other, newCPU(t, tensor.F32), Observer{}); err == nil || !strings.Contains(err.Error(), "is of another recipe: optimizer.lr: 0.005 instead of ") {
			t.Errorf("%v", err)
		}
	})
	t.Run("truncated checkpoint", func(t *testing.T) {
		path := filepath.Join(cfg.Output, "checkpoints", "step-00000004", weightsFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b[:len(b)/2], 0o666); err != nil {
			t.Fatal(err)
		}
		var said string
		_, err = New(cfg, newCPU(t, tensor.F32), Observer{Note: func(format string, args ...any) { said += fmt.Sprintf(format, args...) }})
		if err != nil || !strings.Contains(said, weightsFile) || !strings.Contains(said, "resumed at step 3") {
			t.Errorf("%q, %v", said, err)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("loss explodes", func(t *testing.T) {
		bad := workshop(t)
		bad.Optimizer.LR, bad.Optimizer.Clip, bad.Schedule.WarmupSteps = 1e38, 0, 0
		tr, err := New(bad, newCPU(t, tensor.F32), Observer{})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		_, err = tr.Run(context.Background())
		var fault *FaultError
		if !errors.As(err, &fault) || fault.Step < 2 {
			t.Errorf("%v", err)
		}
	})
	t.Run("missing shard", func(t *testing.T) {
		bad := workshop(t)
		bad.Data.Train[0].Shards += "-nowhere"
		if _, err := New(bad, newCPU(t, tensor.F32), Observer{}); err == nil || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("%v", err)
		}
	})
}

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		s    ScheduleConfig
		step int
		want float64
	}{
		{ScheduleConfig{Type: "cosine", WarmupSteps: 100}, 1, 0.01},
		{ScheduleConfig{Type: "cosine", WarmupSteps: 100}, 100, 1},
		{ScheduleConfig{Type: "cosine", WarmupSteps: 100, MinLR: 0.1}, 550, 0.55},
		{ScheduleConfig{Type: "cosine", WarmupSteps: 100, MinLR: 0.1}, 1000, 0.1},
		{ScheduleConfig{Type: "linear", WarmupRatio: 0.1, MinLR: 0.1}, 550, 0.55},
		{ScheduleConfig{Type: "constant"}, 900, 1},
		{ScheduleConfig{Type: "wsd", DecayRatio: 0.2}, 800, 1},
		{ScheduleConfig{Type: "wsd", DecayRatio: 0.2}, 900, 0.5},
		{ScheduleConfig{Type: "wsd", DecayRatio: 0.2}, 1000, 0},
	} {
		if got := c.s.LR(1, c.step, 1000); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s at %d: %v, want %v", c.s.Type, c.step, got, c.want)
		}
	}
}

// The identity of a recipe must not change between versions of Leo, or older runs could not be gone on with.
func TestIdentityOfRecipes(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Model.Base, cfg.Data.SequenceLength, cfg.Batch.Global, cfg.Optimizer.LR, cfg.Schedule.Steps = "base", 512, 16, 3e-3, 9000
	cfg.LoRA = &LoRAConfig{Rank: 8, Alpha: 16, Targets: []string{"q_proj"}}
	if got, want := cfg.identity(), "80e56f96944ac637bcace953b89ff01f49a74e2c1970da03404684a641358709"; got != want {
		t.Errorf("identity %s, was %s", got, want)
	}
	other := cfg
	other.LoRA = &LoRAConfig{Rank: 8, Alpha: 16, Targets: []string{"q_proj"}, DoRA: true}
	if other.identity() == cfg.identity() {
		t.Error("DoRA is another recipe")
	}
	other = cfg
	other.Optimizer.Type = "muon"
	if other.identity() == cfg.identity() {
		t.Error("Muon is another recipe")
	}
}
