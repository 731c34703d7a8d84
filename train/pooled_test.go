package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"leolm/device"
	"leolm/infer"
	"leolm/internal/cluster"
	"leolm/tensor"
)

// What is trained in part, beside frozen weights, or with another model at its side, is trained by ranks with the bits of one,
// in every sharding.
func TestRecipesOnRanks(t *testing.T) {
	base := workshop(t)
	base.Model.Shape.HiddenSize, base.Model.Shape.HeadDim, base.Model.Shape.IntermediateSize, base.Schedule.Steps = 64, 32, 128, 4
	base.Batch.Micro = 2
	runAll(t, base, 0)
	adapted := func(change func(l *LoRAConfig)) func(c *Config) {
		return func(c *Config) {
			c.LoRA = &LoRAConfig{Rank: 4, Alpha: 8, Dropout: 0.1, Merge: true}
			change(c.LoRA)
		}
	}
	for name, change := range map[string]func(c *Config){
		"lora":  adapted(func(l *LoRAConfig) {}),
		"qlora": adapted(func(l *LoRAConfig) { l.BaseType = "nf4" }),
		"dora":  adapted(func(l *LoRAConfig) { l.DoRA = true }),
		"parts": func(c *Config) { c.Model.Train = []string{"model.layers.1.*", "model.embed_tokens.weight"} },
		// What is measured first is what the step read last, and has changed since.
		"last norm": func(c *Config) {
			c.Model.Train, c.Data.Valid = []string{"model.norm.weight"}, nil
			c.Evaluate = &EvaluateConfig{Every: 1, Tasks: []EvaluateTask{{File: "x"}}}
		},
		"average": func(c *Config) {
			c.Checkpoint.Average, c.Checkpoint.Every = 2, 2
		},
		"spikes":  func(c *Config) { c.Faults, c.Schedule.Steps = FaultsConfig{Spike: 1.0001, Action: "skip"}, 8 },
		"distill": func(c *Config) { c.Distill = &DistillConfig{Teacher: c.Model.Base} },
		"measured": func(c *Config) {
			c.Evaluate = &EvaluateConfig{Every: 2, Tasks: []EvaluateTask{{File: "x"}}}
			c.Eval = EvalConfig{Every: 2, Prompts: []string{"Der Mond", "Die Katze", "Ein"}, MaxTokens: 5}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := *base
			cfg.Output, cfg.Model = filepath.Join(t.TempDir(), "out"), onBase(base)
			cfg.Compute.Recompute = name == "dora"
			change(&cfg)
			cfg.derive()
			sameOnRanks(t, &cfg)
		})
	}
	for name, tied := range map[string]bool{"new rows": false, "new rows, tied": true} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := grown(t, tied)
			cfg.Schedule.Steps, cfg.Batch.Micro = 4, 2
			sameOnRanks(t, cfg)
		})
	}
}

// greedy scores a text and goes on from its beginning.
func greedy(ctx context.Context, m *Snapshot) (string, error) {
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
	written := eng.NewSession()
	defer written.Close()
	res, err := eng.Generate(ctx, written, m.Tokenizer.NewDecoder(true), &infer.Request{Prompt: ids[:4], MaxNewTokens: 5, StopIDs: m.StopIDs, TopLogProbs: -1}, nil)
	return fmt.Sprint(lps, res.Text), err
}

// sameOnRanks runs a recipe on ranks in every sharding and compares the outcomes, and what was seen of the model meanwhile.
func sameOnRanks(t *testing.T, cfg *Config) {
	t.Helper()
	want := ""
	micros := cfg.Batch.Global / cfg.Batch.Micro
	for _, run := range []struct {
		size     int
		sharding string
	}{{1, "none"}, {2, "none"}, {2, "optimizer"}, {2, "gradients"}, {2, "parameters"}, {4, "parameters"}} {
		if micros%run.size > 0 {
			continue
		}
		own := *cfg
		own.Output, own.Parallel = fmt.Sprint(cfg.Output, run.size, run.sharding), ParallelConfig{Sharding: run.sharding, Parts: micros}
		own.Parallel.Overlap = map[int]string{2: "always", 4: "never"}[run.size]
		var seen string
		steps := runRanksWith(t, &own, run.size, 0, func(ctx context.Context, m *Snapshot) error {
			text, err := greedy(ctx, m)
			seen += fmt.Sprintln(m.Step, m.Weights, text)
			return err
		})
		got := seen + outcomeOf(t, &own, steps)
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("%d ranks, sharding %s: other bits than one rank", run.size, run.sharding)
		}
	}
}

// Where ranks pool their memory, each has the values of its own weights and of one group of the others' at most, from the
// start to the end; together they have every weight once.
func TestPooledWeightsAreHeldOnce(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel.Sharding, cfg.Schedule.Steps, cfg.Model.Shape.Layers, cfg.Model.Shape.TieEmbeddings = "parameters", 2, 6, false
	cfg.derive()
	const size = 2
	var whole, owned [size]int
	for r, err := range together(t, size, func(c *cluster.Comm) error {
		own := *cfg
		tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, c, nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		p, others := tr.pool, map[*group]int{}
		for w, l := range p.of {
			n := p.sharer.StoredBytes(w)
			whole[c.Rank()] += n
			if p.mine(l) {
				owned[c.Rank()] += n
			} else {
				others[l.group] += n
				if w.Bytes() > 0 {
					return fmt.Errorf("a weight of %d bytes of the other rank is here at the start", w.Bytes())
				}
			}
		}
		if _, err := tr.Run(t.Context()); err != nil {
			return err
		}
		most, second := 0, 0
		for _, n := range others {
			most, second = max(most, n), max(second, min(most, n))
		}
		here := 0
		for _, w := range tr.sub.model.Params() {
			here += p.sharer.StoredBytes(w.Weight) * min(1, w.Weight.Bytes())
		}
		if here > owned[c.Rank()]+most || p.lent > most+second || p.lent == 0 {
			return fmt.Errorf("%d bytes of values are here, %d of them own; at most %d were others', whose largest groups have %d and %d",
				here, owned[c.Rank()], p.lent, most, second)
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
	if whole[0] != whole[1] || owned[0]+owned[1] != whole[0] || 3*min(owned[0], owned[1]) < whole[0] {
		t.Errorf("ranks own %v bytes of %v", owned, whole)
	}
}

// Ranks that are after different things get all of them, in whichever order they ask; one that is after nothing helps.
func TestRanksAreAfterDifferentThings(t *testing.T) {
	const size, weights = 3, 5
	for r, err := range together(t, size, func(c *cluster.Comm) error {
		dev := newCPU(t, tensor.F32)
		p, err := newPooled(dev, &ranks{Comm: c, parts: size})
		if err != nil {
			return err
		}
		p.made.groups = map[int]*group{}
		var ws []device.Weight
		for i := range weights {
			w := p.NewParam(fmt.Sprintf("model.layers.%d.x", i), 4, 8)
			if err := p.WriteWeight(w, slices.Repeat([]float32{float32(i + 1)}, 32)); err != nil {
				return err
			}
			ws = append(ws, w)
		}
		for _, i := range [][]int{{0, 1, 2, 3, 4}, {4, 2, 0, 1}, nil}[c.Rank()] {
			got := make([]float32, 32)
			p.need(ws[i], ws[(i+1)%weights]) // both at once
			dev.ReadWeight(ws[i], got)
			if got[31] != float32(i+1) {
				return fmt.Errorf("weight %d is %v", i, got[31])
			}
			if dev.ReadWeight(ws[(i+1)%weights], got); got[0] != float32((i+1)%weights+1) {
				return fmt.Errorf("weight %d beside %d is %v", (i+1)%weights, i, got[0])
			}
		}
		return p.serve()
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// plain is a device that keeps its weights.
type plain struct{ device.Device }

func TestPoolingNeedsASharer(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel.Sharding = "parameters"
	for _, err := range together(t, 2, func(c *cluster.Comm) error {
		_, err := NewRank(t.Context(), cfg, plain{newCPU(t, tensor.F32)}, Observer{}, c, nil)
		return err
	}) {
		var keeps *SharerError
		if !errors.As(err, &keeps) {
			t.Error(err)
		}
	}
}

// counted is a Comm that counts the bytes of weights on their way.
type counted struct {
	*cluster.Comm
	gathered int
}

func (c *counted) GatherLists(ctx context.Context, lists [][][]byte) error {
	for _, list := range lists {
		for _, b := range list {
			c.gathered += len(b)
		}
	}
	return c.Comm.GatherLists(ctx, lists)
}

// staged is a Comm that tells which gatherings of weights a rank asks for while it computes.
type staged struct {
	*cluster.Comm
	ahead, all atomic.Int64
}

func (c *staged) GatherLists(ctx context.Context, lists [][][]byte) error {
	c.all.Add(1)
	if strings.Contains(string(debug.Stack()), "(*pooled).later") {
		c.ahead.Add(1)
	}
	return c.Comm.GatherLists(ctx, lists)
}

// From the second micro-batch on, weights are asked for while others are computed with; not where that is not wanted.
func TestWeightsAreGatheredAhead(t *testing.T) {
	for overlap, least := range map[string]int64{"always": 60, "never": 0} {
		cfg := workshop(t)
		cfg.Parallel, cfg.Model.Shape.Layers, cfg.Batch.Micro = ParallelConfig{Sharding: "parameters", Overlap: overlap}, 4, 2
		cfg.derive()
		for r, err := range together(t, 2, func(c *cluster.Comm) error {
			own, comm := *cfg, &staged{Comm: c}
			tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, comm, nil)
			if err != nil {
				return err
			}
			defer tr.Close()
			if _, err := tr.step(t.Context()); err != nil {
				return err
			}
			comm.ahead.Store(0)
			comm.all.Store(0)
			if _, err := tr.step(t.Context()); err != nil {
				return err
			}
			share := 100 * comm.ahead.Load() / comm.all.Load()
			if share < least || least == 0 && share > 0 {
				return fmt.Errorf("%d of %d gatherings are asked for ahead", comm.ahead.Load(), comm.all.Load())
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("%s: rank %d: %v", overlap, r, err)
			}
		}
	}
}

// The plan of ranks that pool their memory is what they hold and send.
func TestPlanForPooledRanks(t *testing.T) {
	base := workshop(t)
	base.Model.Shape.HiddenSize, base.Model.Shape.HeadDim, base.Model.Shape.IntermediateSize, base.Schedule.Steps = 64, 32, 128, 4
	base.Export.DType = "bf16" // which plans take for granted
	runAll(t, base, 0)
	const size = 2
	for name, change := range map[string]func(c *Config){
		"whole":   func(c *Config) {},
		"untied":  func(c *Config) { c.Model.Shape.TieEmbeddings = false },
		"ahead":   func(c *Config) { c.Parallel.Overlap, c.Model.Shape.Layers = "always", 3 },
		"muon":    func(c *Config) { c.Optimizer.Type = "muon" },
		"8 bits":  func(c *Config) { c.Optimizer.Bits = 8 },
		"qlora":   func(c *Config) { c.Model, c.LoRA = onBase(base), &LoRAConfig{Rank: 4, BaseType: "q8_0"} },
		"distill": func(c *Config) { c.Model = onBase(base); c.Distill = &DistillConfig{Teacher: c.Model.Base} },
	} {
		cfg := *base
		shape := *base.Model.Shape
		cfg.Model.Shape, cfg.Output, cfg.Data.Valid, cfg.Checkpoint.Every = &shape, filepath.Join(t.TempDir(), "out"), nil, 0
		cfg.Batch.Micro, cfg.Parallel.Sharding = 2, "parameters"
		change(&cfg)
		cfg.derive()
		plan, err := MakePlan(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.ForRanks(size)
		if err != nil {
			t.Fatal(err)
		}
		var weights, moments, lent, gathered [size]int
		for r, err := range together(t, size, func(c *cluster.Comm) error {
			own, comm, r := cfg, &counted{Comm: c}, c.Rank()
			tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, comm, nil)
			if err != nil {
				return err
			}
			defer tr.Close()
			if name == "ahead" { // which learns in its first micro-batch what follows what
				if _, err := tr.step(t.Context()); err != nil {
					return err
				}
			}
			before := comm.gathered
			if _, err := tr.step(t.Context()); err != nil {
				return err
			}
			gathered[r], moments[r], lent[r] = comm.gathered-before, tr.opt.Bytes(), tr.pool.lent
			for w, l := range tr.pool.of {
				if tr.pool.mine(l) {
					weights[r] += tr.pool.sharer.StoredBytes(w)
				}
			}
			return nil
		}) {
			if err != nil {
				t.Fatalf("%s: rank %d: %v", name, r, err)
			}
		}
		near := func(what string, planned int64, held int) {
			if float64(planned) < 0.95*float64(held) || float64(planned) > 1.05*float64(held) {
				t.Errorf("%s: %s are planned as %d bytes and are %d", name, what, planned, held)
			}
		}
		most := 0
		if weights[1]+moments[1] > weights[0]+moments[0] {
			most = 1
		}
		near("weights and moments", p.Memory.Weights+p.Memory.Optimizer, weights[most]+moments[most])
		near("gathered values", 2*p.Gathered, gathered[0]) // half of them are sent by a rank
		if rest := p.Memory.Workspace - plan.Memory.Workspace; rest < int64(lent[most]) {
			t.Errorf("%s: %d bytes of others' values are held, more than the %d planned for all that is on its way", name, lent[most], rest)
		}
	}
}

func onBase(base *Config) ModelConfig { return ModelConfig{Base: filepath.Join(base.Output, "model")} }
