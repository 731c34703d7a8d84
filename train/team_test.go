package train

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/device"
	"leolm/internal/cluster"
	"leolm/tensor"
)

// A team that shares a model computes the loss of one process to the bit, and learns what that learns but for the rounding
// of sums over the team. Its bits depend on the team, not on how many teams share a step, nor on how.
func TestTeams(t *testing.T) {
	base := workshop(t)
	base.Model.Shape.HiddenSize, base.Model.Shape.Heads, base.Model.Shape.HeadDim, base.Model.Shape.IntermediateSize = 64, 4, 16, 128
	base.Model.Shape.KVHeads, base.Schedule.Steps = 4, 2
	valid := base.Data.Valid
	base.Data.Valid = nil
	runAll(t, base, 0)
	adapted := func(change func(l *LoRAConfig)) func(c *Config) {
		return func(c *Config) {
			c.Model, c.LoRA = onBase(base), &LoRAConfig{Rank: 4, Alpha: 8, Dropout: 0.1, Merge: true}
			change(c.LoRA)
		}
	}
	for name, c := range map[string]struct {
		change    func(c *Config)
		tolerance float64 // of a gradient, relative to its length; 0: 1e-5
	}{
		"packed": {change: func(c *Config) { c.Data.Packing, c.Data.Valid = true, valid }},
		"untied": {change: func(c *Config) { c.Model.Shape.TieEmbeddings = false }},
		"grouped": {change: func(c *Config) {
			c.Model.Shape.KVHeads, c.Compute.Recompute = 4, true
			c.Model.Shape.Heads = 8
			c.Model.Shape.HeadDim = 8
		}},
		"odd": {change: func(c *Config) {
			c.Model.Shape.IntermediateSize, c.Model.Shape.HiddenSize, c.Model.Shape.VocabSize = 131, 66, 363
		}},
		"bf16":  {change: func(c *Config) { c.Compute.DType = "bf16" }, tolerance: 2e-2},
		"noise": {change: func(c *Config) { c.Model = onBase(base); c.Compute.NEFTune = 5 }},
		"muon":  {change: func(c *Config) { c.Optimizer.Type, c.Compute.Recompute = "muon", true }},
		"8 bits": {change: func(c *Config) {
			c.Optimizer.Bits, c.Model.Shape.VocabSize, c.Model.Shape.HiddenSize, c.Model.Shape.HeadDim = 8, 512, 128, 32
		}, tolerance: 2e-2},
		"parts": {change: func(c *Config) {
			c.Model = onBase(base)
			c.Model.Train = []string{"model.layers.1.*", "model.embed_tokens.weight"}
		}},
		"norms": {change: func(c *Config) { c.Model = onBase(base); c.Model.Train = []string{"*norm*"} }},
		"lora":  {change: adapted(func(l *LoRAConfig) {})},
		"qlora": {change: adapted(func(l *LoRAConfig) { l.BaseType = "nf4" })},
		"dora":  {change: adapted(func(l *LoRAConfig) { l.DoRA = true })},
		"distill": {change: func(c *Config) {
			c.Model = onBase(base)
			c.Distill = &DistillConfig{Teacher: filepath.Join(base.Output, "model")}
		}},
		"average": {change: func(c *Config) { c.Checkpoint.Average, c.Checkpoint.Every = 2, 1 }},
		"measured": {change: func(c *Config) {
			c.Evaluate = &EvaluateConfig{Every: 2, Tasks: []EvaluateTask{{File: "x"}}}
			c.Eval = EvalConfig{Every: 2, Prompts: []string{"Der Mond", "Die Katze", "Ein"}, MaxTokens: 5}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "packed" && name != "muon" && name != "lora" {
				inAllTeams(t)
			}
			cfg := *base
			shape := *base.Model.Shape
			cfg.Output, cfg.Model.Shape = filepath.Join(t.TempDir(), "out"), &shape
			c.change(&cfg)
			cfg.derive()
			likeOne(t, &cfg, c.tolerance)
		})
	}
	for name, tied := range map[string]bool{"new rows": false, "new rows, tied": true} {
		t.Run(name, func(t *testing.T) {
			inAllTeams(t)
			cfg, _ := grown(t, tied)
			cfg.Schedule.Steps, cfg.Batch.Micro, cfg.Data.Valid = 2, 4, nil
			likeOne(t, cfg, 0)
		})
	}
}

// Preferences are learned by teams as by one process.
func TestObjectivesOnTeams(t *testing.T) {
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
			if name != "dpo" {
				inAllTeams(t)
			}
			cfg, file := workshopOf(t, c.rows)
			cfg.Data.Train, cfg.Schedule.Steps = nil, 2
			c.change(cfg, file)
			cfg.derive()
			likeOne(t, cfg, 0)
		})
	}
}

// inAllTeams skips what takes half a minute.
func inAllTeams(t *testing.T) {
	t.Helper()
	if os.Getenv("LEO_TEAMS") == "" {
		t.Skip("one of many recipes that teams train: LEO_TEAMS=1 runs them")
	}
}

// likeOne trains in one process and in teams, with two parts of a step each, and compares.
func likeOne(t *testing.T, cfg *Config, tolerance float64) {
	t.Helper()
	if tolerance == 0 {
		tolerance = 1e-5
	}
	cfg.Checkpoint.Every, cfg.Checkpoint.Keep = 1, 10
	run := func(size, tensor int, sharding string) (steps []Step, bits string, gradients map[string][]float64) {
		own := *cfg
		own.Output = fmt.Sprint(cfg.Output, size, tensor, sharding)
		own.Parallel = ParallelConfig{Sharding: sharding, Parts: 2, Tensor: tensor}
		steps = runRanksWith(t, &own, size, 0, func(ctx context.Context, m *Snapshot) error {
			text, err := greedy(ctx, m)
			bits += fmt.Sprintln(m.Step, m.Weights, text)
			return err
		})
		return steps, bits + outcomeOf(t, &own, steps), firstMoments(t, &own)
	}
	want, _, gradients := run(1, 0, "none")
	bits := map[int]string{}
	for _, r := range []struct {
		size, tensor int
		sharding     string
	}{{2, 2, "none"}, {4, 2, "optimizer"}, {4, 2, "gradients"}, {4, 4, "none"}} {
		if shape := cfg.Model.Shape; r.tensor == 4 && (shape == nil || shape.KVHeads < 4) || r.sharding == "gradients" && !cfg.Data.Packing {
			continue
		}
		what := fmt.Sprintf("%d ranks in teams of %d, sharding %s", r.size, r.tensor, r.sharding)
		steps, outcome, got := run(r.size, r.tensor, r.sharding)
		if steps[0].Loss != want[0].Loss {
			t.Errorf("%s: the first loss is %v, alone %v", what, steps[0].Loss, want[0].Loss)
		}
		for i, s := range steps {
			if w := want[i]; math.Abs(s.Loss-w.Loss) > 100*tolerance*w.Loss || math.Abs(s.GradNorm-w.GradNorm) > 100*tolerance*w.GradNorm {
				t.Errorf("%s, step %d: loss %v and norm %v, alone %v and %v", what, s.Step, s.Loss, s.GradNorm, w.Loss, w.GradNorm)
			}
		}
		if len(got) != len(gradients) {
			t.Fatalf("%s: moments of %d tensors, alone of %d", what, len(got), len(gradients))
		}
		for name, g := range gradients {
			if d := awayFrom(got[name], g); !(d <= tolerance) {
				t.Errorf("%s: the gradient of %s differs by %.2g of its length", what, name, d)
			}
		}
		if bits[r.tensor] == "" {
			bits[r.tensor] = outcome
		}
		if outcome != bits[r.tensor] {
			t.Errorf("%s: other bits than one team", what)
		}
	}
}

// awayFrom is |a − b| / |b|.
func awayFrom(a, b []float64) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var d, n float64
	for i := range b {
		d += (a[i] - b[i]) * (a[i] - b[i])
		n += b[i] * b[i]
	}
	if d == 0 {
		return 0
	}
	return math.Sqrt(d / n)
}

// firstMoments are those of the gradients after the first step, each the gradient times a constant, by parameter. Of 8 bits,
// only the scales.
func firstMoments(t *testing.T, cfg *Config) map[string][]float64 {
	t.Helper()
	one := *cfg
	one.Parallel = ParallelConfig{Sharding: "none"}
	tr, err := New(&one, newCPU(t, tensor.F32), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	dir := filepath.Join(tr.checkpoints(), "step-00000001")
	_, sums, err := readState(dir)
	if err == nil {
		err = tr.readMoments(dir, sums)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, elements := map[string][]float64{}, map[string]int{}
	for _, p := range tr.opt.params {
		elements[p.Name] = p.elements()
	}
	if err := tr.opt.state(func(name string, m device.OptimizerState) error {
		kind, param, _ := strings.Cut(name, ".")
		if kind == "exp_avg_sq" {
			return nil
		}
		data := make([]byte, m.Bytes())
		m.Save(data)
		n := elements[param]
		if len(data) == 4*n {
			n = 0
		}
		for data = data[n:]; len(data) > 0; data = data[4:] {
			out[param] = append(out[param], float64(math.Float32frombits(binary.LittleEndian.Uint32(data))))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// A run goes on in other teams, on other numbers of ranks, with another sharding, and in one process. Where the teams are
// the same, the bits are.
func TestResumeInOtherTeams(t *testing.T) {
	cfg := workshop(t)
	cfg.Batch.Micro = 2
	cfg.Parallel = ParallelConfig{Sharding: "optimizer", Tensor: 2, Parts: 4}
	whole := *cfg
	whole.Output += "-whole"
	want := outcomeOf(t, &whole, runRanks(t, &whole, 4, 0))
	steps := runRanks(t, cfg, 4, 3)
	for _, next := range []struct {
		size, stop int
		sharding   string
	}{{2, 5, "none"}, {8, 8, "gradients"}, {4, 0, "none"}} {
		cfg.Parallel.Sharding = next.sharding
		steps = append(steps, runRanks(t, cfg, next.size, next.stop)...)
	}
	if outcomeOf(t, cfg, steps) != want {
		t.Error("interrupted, the run has other bits")
	}
	other := *cfg
	other.Output += "-other"
	steps = nil
	for i, next := range []struct {
		size, tensor, stop int
		sharding           string
	}{{1, 0, 2, "none"}, {2, 2, 4, "none"}, {2, 1, 6, "parameters"}, {4, 2, 8, "gradients"}, {1, 1, 10, "none"}, {4, 2, 0, "optimizer"}} {
		other.Parallel.Sharding, other.Parallel.Tensor = next.sharding, next.tensor
		more := runRanks(t, &other, next.size, next.stop)
		if i > 0 && more[0].Step != steps[len(steps)-1].Step+1 {
			t.Fatalf("part %d goes on at step %d", i, more[0].Step)
		}
		steps = append(steps, more...)
	}
	alone := *cfg
	alone.Output, alone.Parallel = alone.Output+"-alone", ParallelConfig{Sharding: "none", Parts: 4}
	_, straight := runAll(t, &alone, 0)
	for i, s := range steps {
		if w := straight[i]; math.Abs(s.Loss-w.Loss) > 1e-3*w.Loss {
			t.Errorf("step %d: loss %v, in one process %v", s.Step, s.Loss, w.Loss)
		}
	}
}

// What cannot be shared is refused on all ranks, with its numbers.
func TestTeamsThatCannotBe(t *testing.T) {
	cfg := workshop(t)
	for _, c := range []struct {
		size, tensor int
		change       func(c *Config)
		want         string
	}{
		{3, 2, func(*Config) {}, "3 ranks cannot form groups of 2"},
		{1, 2, func(*Config) {}, "1 ranks cannot form groups of 2"},
		{4, 4, func(*Config) {}, "4 ranks cannot share 2 heads of keys and values"},
		{2, 2, func(c *Config) {
			c.Optimizer.Bits, c.Model.Shape.VocabSize, c.Model.Shape.HiddenSize, c.Model.Shape.HeadDim = 8, 363, 36, 18
		}, "model.embed_tokens.weight: a part begins at element"},
	} {
		errs := together(t, c.size, func(comm *cluster.Comm) error {
			own, shape := *cfg, *cfg.Model.Shape
			own.Model.Shape, own.Parallel.Tensor = &shape, c.tensor
			c.change(&own)
			tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, dividing{comm}, nil)
			if err == nil {
				tr.Close()
			}
			return err
		})
		for r, err := range errs {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("teams of %d among %d ranks, rank %d: %v", c.tensor, c.size, r, err)
			}
		}
	}
}

// Ranks of a team that come apart are found, by what each has whole.
func TestDriftIsFound(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel.Tensor, cfg.Checkpoint.Every = 2, 1
	errs := together(t, 2, func(c *cluster.Comm) error {
		own := *cfg
		tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, dividing{c}, nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		if c.Rank() == 1 {
			norm := tr.sub.model.Norm
			values := make([]float32, norm.Cols())
			tr.dev.ReadWeight(norm, values)
			values[0] = math.Nextafter32(values[0], 2)
			if err := tr.dev.WriteWeight(norm, values); err != nil {
				return err
			}
		}
		return tr.Save(t.Context())
	})
	for r, err := range errs {
		var drift *TeamDriftError
		if !errors.As(err, &drift) || !strings.Contains(drift.What, "model.norm.weight") {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}

// The weights of a team are those of one process, each once: cut after they were drawn, as names and shapes say.
func TestTeamsStartWithTheSameWeights(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel.Tensor = 2
	one, err := New(cfg, newCPU(t, tensor.F32), Observer{})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	want := bytesOfParams(t, one)
	held := make([]int, 2)
	for r, err := range together(t, 2, func(c *cluster.Comm) error {
		own := *cfg
		tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, dividing{c}, nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		held[c.Rank()] = tr.sub.model.WeightBytes() + tr.opt.Bytes()
		if !bytes.Equal(bytesOfParams(t, tr), want) {
			return errors.New("other weights")
		}
		return nil
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
	norms := 0
	for _, p := range one.sub.params {
		if p.Vector {
			norms += 3 * 4 * p.Weight.Cols()
		}
	}
	all := one.sub.model.WeightBytes() + one.opt.Bytes()
	if got := held[0] + held[1]; got != all+norms {
		t.Errorf("a team has %d bytes, of one process and norms twice are %d", got, all+norms)
	}
}

func bytesOfParams(t *testing.T, tr *Trainer) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range tr.sub.params {
		values := make([]float32, p.Weight.Rows()*p.Weight.Cols())
		tr.dev.ReadWeight(p.Weight, values)
		if err := binary.Write(&b, binary.LittleEndian, values); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}
