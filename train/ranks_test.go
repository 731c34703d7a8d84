package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"leolm/device"
	"leolm/internal/cluster"
	"leolm/tensor"
)

// together runs f as each rank of a cluster in this process.
func together(t *testing.T, size int, f func(c *cluster.Comm) error) []error {
	t.Helper()
	comms, err := cluster.Local(size, cluster.Faults{}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, size)
	var wg sync.WaitGroup
	for r, c := range comms {
		wg.Go(func() {
			errs[r] = f(c)
			if err := c.Close(context.WithoutCancel(t.Context())); err != nil && errs[r] == nil {
				errs[r] = err
			}
		})
	}
	wg.Wait()
	return errs
}

// dividing is a cluster whose ranks can form teams.
type dividing struct{ *cluster.Comm }

func (d dividing) Divide(ctx context.Context, color int) (Comm, error) {
	return d.Split(ctx, color, d.Rank())
}

// runRanks trains on size ranks, and returns the steps that rank 0 saw. With stopAt, the last rank is told to stop after
// that step.
func runRanks(t *testing.T, cfg *Config, size, stopAt int) []Step {
	t.Helper()
	return runRanksWith(t, cfg, size, stopAt, nil)
}

// runRanksWith is runRanks for recipes that measure.
func runRanksWith(t *testing.T, cfg *Config, size, stopAt int, evaluate func(ctx context.Context, m *Snapshot) error) []Step {
	t.Helper()
	var steps []Step
	errs := together(t, size, func(c *cluster.Comm) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		own := *cfg
		tr, err := NewRank(ctx, &own, newCPU(t, tensor.F32), Observer{Step: func(s Step) { steps = append(steps, s) }, Evaluate: evaluate}, dividing{c}, nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		if stopAt > 0 && c.Rank() == size-1 {
			tr.objective = &stopping{tr.objective, stopAt, cancel}
		}
		res, err := tr.Run(ctx)
		if err == nil && res.Interrupted != (stopAt > 0) {
			err = fmt.Errorf("interrupted: %v", res.Interrupted)
		}
		return err
	})
	for r, err := range errs {
		if err != nil {
			t.Fatalf("rank %d of %d: %v", r, size, err)
		}
	}
	return steps
}

// stopping is an objective whose run is told to stop in a step.
type stopping struct {
	objective
	at   int
	stop func()
}

func (s *stopping) accumulate(ctx context.Context, t *Trainer, st *Step) error {
	if st.Step == s.at {
		s.stop()
	}
	return s.objective.accumulate(ctx, t, st)
}

// outcomeOf is what must not depend on the number of ranks: losses and gradient norms, and the bytes of weights, moments
// and the exported model.
func outcomeOf(t *testing.T, cfg *Config, steps []Step) string {
	t.Helper()
	var b bytes.Buffer
	for _, s := range steps {
		fmt.Fprintf(&b, "%d %v %v %v %d\n", s.Step, s.Loss, s.GradNorm, s.LossTokens, s.TokensSeen)
	}
	b.WriteString(stateOf(t, cfg))
	for _, dir := range []string{"model", "adapter"} {
		root := filepath.Join(cfg.Output, dir)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".safetensors" {
				return err
			}
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return b.String()
}

// stateOf reads weights and moments of the last checkpoint, whichever ranks wrote them.
func stateOf(t *testing.T, cfg *Config) string {
	t.Helper()
	one := *cfg
	one.Parallel = ParallelConfig{Sharding: "none"}
	tr, err := New(&one, newCPU(t, tensor.F32), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	var b bytes.Buffer
	for _, p := range tr.sub.params {
		values := make([]float32, p.Weight.Rows()*p.Weight.Cols())
		tr.dev.ReadWeight(p.Weight, values)
		b.WriteString(p.Name)
		if err := binary.Write(&b, binary.LittleEndian, values); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.opt.state(func(name string, m device.OptimizerState) error {
		data := make([]byte, m.Bytes())
		m.Save(data)
		b.WriteString(name)
		b.Write(data)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A run has the same bits on any number of ranks that shares its parts, however its optimizer is sharded; with one part,
// those of a run alone.
func TestBitsDoNotDependOnRanks(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"packed":      func(c *Config) { c.Data.Packing = true },
		"partial":     func(c *Config) { c.Batch.LastPartial, c.Batch.Global, c.Batch.Micro = "keep", 12, 2 },
		"micro means": func(c *Config) { c.Batch.Average, c.Batch.Micro = "microbatch", 1 },
		"muon":        func(c *Config) { c.Optimizer.Type, c.Compute.DType = "muon", "bf16" },
		"8 bits": func(c *Config) {
			c.Optimizer.Bits, c.Model.Shape.HiddenSize, c.Model.Shape.HeadDim, c.Schedule.Steps = 8, 64, 32, 4
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := workshop(t)
			cfg.Schedule.Steps, cfg.Eval.Every, cfg.Eval.Prompts, cfg.Eval.MaxTokens = 6, 3, []string{"Der Mond", "Die Katze"}, 4
			change(cfg)
			cfg.derive()
			at := func(dir string, parts int, sharding string) *Config {
				own := *cfg
				own.Output, own.Parallel = filepath.Join(filepath.Dir(cfg.Output), dir), ParallelConfig{Sharding: sharding, Parts: parts}
				return &own
			}
			alone := at("alone", 0, "none")
			_, steps := runAll(t, alone, 0)
			one := at("one", 1, "optimizer")
			if got := outcomeOf(t, one, runRanks(t, one, 1, 0)); got != outcomeOf(t, alone, steps) {
				t.Error("a cluster of one rank differs from a run alone")
			}
			want := ""
			for _, size := range []int{1, 2, 4} {
				for _, sharding := range []string{"none", "optimizer"} {
					c := at(fmt.Sprint(size, sharding), 4, sharding)
					c.Parallel.Overlap = map[int]string{2: "always", 4: "never"}[size]
					got := outcomeOf(t, c, runRanks(t, c, size, 0))
					if want == "" {
						want = got
					}
					if got != want {
						t.Errorf("%d ranks, sharding %s: other bits than one rank", size, sharding)
					}
				}
			}
			micros := cfg.Batch.Global / cfg.Batch.Micro
			replicas := at("replicas", micros, "none")
			want = outcomeOf(t, replicas, runRanks(t, replicas, 2, 0))
			for _, size := range []int{1, 2, 4} {
				for _, sharding := range []string{"gradients", "parameters"} {
					if micros%size > 0 {
						continue
					}
					c := at(fmt.Sprint(size, sharding), 0, sharding)
					c.Compute.Recompute = size == 2
					c.Parallel.Overlap = map[int]string{2: "always", 4: "never"}[size]
					if got := outcomeOf(t, c, runRanks(t, c, size, 0)); got != want {
						t.Errorf("%d ranks, sharding %s: other bits than replicas", size, sharding)
					}
				}
			}
		})
	}
}

// Preferences, with a reference beside the model or its adapters, are learned by ranks with the bits of one.
func TestObjectivesOnRanks(t *testing.T) {
	for name, c := range map[string]struct {
		rows   string
		change func(c *Config, file string)
	}{
		"dpo":  {pairRows, func(c *Config, file string) { c.DPO = &DPOConfig{Pairs: file} }},
		"orpo": {pairRows, func(c *Config, file string) { c.ORPO = &ORPOConfig{Pairs: file} }},
		"kto":  {judgedRows, func(c *Config, file string) { c.KTO = &KTOConfig{Examples: file} }},
		"kto lora": {judgedRows, func(c *Config, file string) {
			c.KTO, c.LoRA = &KTOConfig{Examples: file}, &LoRAConfig{Rank: 4, Dropout: 0.1}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, file := workshopOf(t, c.rows)
			cfg.Data.Train, cfg.Schedule.Steps = nil, 4
			c.change(cfg, file)
			cfg.derive()
			want := ""
			for _, run := range []struct {
				size     int
				sharding string
			}{{1, "none"}, {2, "none"}, {2, "optimizer"}, {2, "gradients"}, {2, "parameters"}} {
				own := *cfg
				own.Output, own.Parallel.Sharding = fmt.Sprint(cfg.Output, run.size, run.sharding), run.sharding
				if own.Parallel.Parts = 2; own.Parallel.shardsGradients() {
					own.Parallel.Parts = 0 // one for each micro-batch: two, too
				}
				got := outcomeOf(t, &own, runRanks(t, &own, run.size, 0))
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("%d ranks, sharding %s: other bits than one rank", run.size, run.sharding)
				}
			}
		})
	}
}

// A run goes on with another number of ranks and another sharding, with the bits of one that was not interrupted.
func TestResumeOnOtherRanks(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel = ParallelConfig{Sharding: "optimizer"}
	cfg.Batch.Micro = 2
	whole := *cfg
	whole.Output += "-whole"
	want := outcomeOf(t, &whole, runRanks(t, &whole, 4, 0))
	steps := runRanks(t, cfg, 4, 3)
	for i, next := range []struct {
		size, stop int
		sharding   string
	}{{2, 5, "none"}, {2, 6, "parameters"}, {1, 8, "optimizer"}, {4, 9, "parameters"}, {2, 10, "optimizer"}, {1, 11, "parameters"}, {4, 0, "none"}} {
		cfg.Parallel.Sharding = next.sharding
		more := runRanks(t, cfg, next.size, next.stop)
		if len(more) == 0 || more[0].Step != steps[len(steps)-1].Step+1 {
			t.Fatalf("part %d goes on at %v", i, more)
		}
		steps = append(steps, more...)
	}
	if outcomeOf(t, cfg, steps) != want {
		t.Error("interrupted, the run has other bits")
	}
}

// Ranks that were not started alike are refused, on all of them, with both values.
func TestRanksMustAgree(t *testing.T) {
	cfg := workshop(t)
	for what, change := range map[string]func(c *Config, facts map[string]string){
		"optimizer.lr": func(c *Config, _ map[string]string) { c.Optimizer.LR = 3e-3 },
		"output":       func(c *Config, _ map[string]string) { c.Output += "x" },
		"leo version":  func(_ *Config, f map[string]string) { f["leo version"] = "2" },
		"data.train[0]": func(c *Config, _ map[string]string) {
			c.Data.Train = slices.Clone(c.Data.Train)
			c.Data.Train[0] = other(t, c)
		},
	} {
		errs := together(t, 2, func(c *cluster.Comm) error {
			own, facts := *cfg, map[string]string{"leo version": "1"}
			if c.Rank() == 1 {
				change(&own, facts)
			}
			tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, c, facts)
			if err == nil {
				tr.Close()
			}
			return err
		})
		for r, err := range errs {
			var differ *RanksDifferError
			if !errors.As(err, &differ) || differ.Ranks != [2]int{0, 1} || differ.Value[0] == differ.Value[1] {
				t.Errorf("%s, rank %d: %v", what, r, err)
			}
		}
	}
}

// other are shards at the same path prefix as another file system would have them: with the name of the first, and other
// ids.
func other(t *testing.T, c *Config) DataSet {
	t.Helper()
	d := c.Data.Train[0]
	d.Weight = 2
	return d
}

// One rank that fails fails all, with its name.
func TestOneRankFails(t *testing.T) {
	cfg := workshop(t)
	for _, sharding := range []string{"optimizer", "parameters"} {
		cfg.Parallel.Sharding = sharding
		errs := together(t, 2, func(c *cluster.Comm) error {
			own := *cfg
			tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, c, nil)
			if err != nil {
				return err
			}
			defer tr.Close()
			if c.Rank() == 1 {
				tr.sub.model.Config.VocabSize = 5 // the ids of its batches have no row
			}
			_, err = tr.Run(t.Context())
			return err
		})
		var mismatch *MismatchError
		var rank *RankError
		if !errors.As(errs[1], &mismatch) || !errors.As(errs[0], &rank) || rank.Rank != 1 {
			t.Errorf("sharding %s: %v, %v", sharding, errs[0], errs[1])
		}
	}
}

// Parts that cannot be shared are refused.
func TestParts(t *testing.T) {
	cfg := workshop(t)
	for _, c := range []struct{ size, parts, global int }{{2, 3, 8}, {4, 2, 8}, {4, 0, 3}} {
		errs := together(t, c.size, func(comm *cluster.Comm) error {
			own := *cfg
			own.Parallel.Parts, own.Batch.Global, own.Batch.Micro = c.parts, c.global, 1
			tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, comm, nil)
			if err == nil {
				tr.Close()
			}
			return err
		})
		var parts *PartsError
		if !errors.As(errs[0], &parts) || !errors.As(errs[c.size-1], &parts) {
			t.Errorf("%d parts on %d ranks: %v", c.parts, c.size, errs[0])
		}
	}
}

// The plan of a sharded optimizer is what the ranks hold.
func TestPlanForRanks(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel.Sharding, cfg.Schedule.Steps = "optimizer", 2
	cfg.Model.Shape.HiddenSize, cfg.Model.Shape.IntermediateSize = 128, 256
	cfg.derive()
	plan, err := MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	alone := plan.Memory.Optimizer
	p, err := plan.ForRanks(2)
	if err != nil {
		t.Fatal(err)
	}
	most := make([]int, 2)
	for r, err := range together(t, 2, func(c *cluster.Comm) error {
		own := *cfg
		tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, c, nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		most[c.Rank()] = tr.opt.Bytes()
		return nil
	}) {
		if err != nil {
			t.Fatalf("rank %d: %v", r, err)
		}
	}
	held := float64(max(most[0], most[1]))
	if planned := float64(p.Memory.Optimizer); planned < 0.95*held || planned > 1.05*held || int64(most[0]+most[1]) > alone+alone/20 {
		t.Errorf("planned %v, held %v; alone %v", planned, most, alone)
	}
	if want := 4 * plan.Trainable; p.Sent != want {
		t.Errorf("%d bytes are sent, want %d: half of the gradients, and half of the weights", p.Sent, want)
	}
	if _, err := plan.ForRanks(16); err == nil {
		t.Error("more ranks than sequences are planned for")
	}
}
