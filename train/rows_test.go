package train

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/dataset/loader"
	"leolm/dataset/shard"
	"leolm/grad"
	"leolm/tensor"
)

const grownRows = 384 // over the 360 of workshop

// grown is a recipe that goes on from a base with more rows in the vocabulary, which the data use.
func grown(t *testing.T, tied bool) (cfg, base *Config) {
	t.Helper()
	base = workshop(t)
	base.Model.Shape.TieEmbeddings = tied
	base.Schedule.Steps = 6
	runAll(t, base, 0)
	c := *base
	c.Output += "-grown"
	c.Model = ModelConfig{Base: filepath.Join(base.Output, "model"), VocabSize: grownRows, Train: []string{newRows}}
	shards := filepath.Join(t.TempDir(), "new")
	w, err := shard.NewWriter(shards, shard.Record{Vocab: grownRows})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for i := range 40 {
		var ids []int32
		for j := range 20 {
			id := int32(3 + (i*7+j*j)%300)
			if j%4 == 1 {
				id = int32(360 + (i+j)%(grownRows-360))
			}
			ids = append(ids, id)
		}
		if err := w.Add(shard.Sample{IDs: ids, Roles: make([]uint8, len(ids))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	c.Data.Train, c.Data.Valid = []DataSet{{Shards: shards}}, nil
	c.derive()
	return &c, base
}

// With model.train: [new_rows] the added rows of embedding and LM head change and nothing else does; optimizer
// state and checkpoints hold those rows only, and a resumed run is the same run.
func TestOnlyNewRowsChange(t *testing.T) {
	for name, tied := range map[string]bool{"tied": true, "untied": false} {
		t.Run(name, func(t *testing.T) {
			cfg, base := grown(t, tied)
			res, steps := runAll(t, cfg, 0)
			if res.Loss >= steps[0].Loss {
				t.Errorf("the loss went from %v to %v", steps[0].Loss, res.Loss)
			}
			before, err := checkpoint.Open(filepath.Join(base.Output, "model"))
			if err != nil {
				t.Fatal(err)
			}
			defer before.Close()
			after, err := checkpoint.Open(filepath.Join(cfg.Output, "model"))
			if err != nil {
				t.Fatal(err)
			}
			defer after.Close()
			for _, s := range after.Config.TensorShapes() {
				x, _ := before.Tensor(s.Name)
				y, ok := after.Tensor(s.Name)
				if x == nil || !ok {
					t.Fatalf("%s is missing", s.Name)
				}
				for i := range x.Rows() {
					if !bytes.Equal(x.Row(i), y.Row(i)) {
						t.Fatalf("%s: old row %d changed", s.Name, i)
					}
				}
				for i := x.Rows() + 1; i < y.Rows(); i++ {
					if bytes.Equal(y.Row(i), y.Row(i-1)) {
						t.Errorf("%s: new rows %d and %d are still the same", s.Name, i-1, i)
					}
				}
			}
			vocab := 1
			if !tied {
				vocab = 2
			}
			tr, err := New(cfg, newCPU(t, tensor.F32), Observer{})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			if want := vocab * (grownRows - 360) * 32; tr.opt.Bytes() != 2*4*want || tr.plan.Trainable != int64(want) {
				t.Errorf("%d bytes of optimizer state, %d trainable; want %d values", tr.opt.Bytes(), tr.plan.Trainable, want)
			}
			want := weightsOf(t, cfg)
			if n := len(want); n > vocab*(grownRows-360)*32*4+1000 {
				t.Errorf("a checkpoint of %d bytes holds more than the new rows", n)
			}
			cfg.Output += "-again"
			runAll(t, cfg, 5)
			if _, rest := runAll(t, cfg, 0); rest[0].Step != 6 {
				t.Errorf("went on at step %d", rest[0].Step)
			}
			if !bytes.Equal(weightsOf(t, cfg), want) {
				t.Error("a resumed run ends with other rows")
			}
		})
	}
}

// The gradient of the new rows is that of the full training, bit for bit.
func TestGradientOfNewRowsIsTheFullOne(t *testing.T) {
	for name, tied := range map[string]bool{"tied": true, "untied": false} {
		for _, compute := range []tensor.DType{tensor.F32, tensor.BF16} {
			cfg, _ := grown(t, tied)
			grads := func(train ...string) map[string][]float32 {
				c := *cfg
				c.Model.Train = train
				dev := newCPU(t, compute)
				s, err := openModel(&c, dev, &feed{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				r := microBatch{}
				r.fill([]loader.Window{{IDs: []int32{5, 361, 8, 383, 361, 40, 370}, Targets: []int32{361, 8, 383, 361, 40, 370, 372}, Weights: []float32{1, 1, 1, 0, 1, 1, 1}}}, true)
				tape := grad.New(dev, false)
				h := s.model.Forward(tape, &r.batch)
				tape.LinearCrossEntropy(h, s.model.Head, r.targets, r.weights, s.model.Vocab)
				tape.Release(h)
				tape.Backward(nil)
				out := map[string][]float32{}
				for _, p := range s.params {
					if strings.Contains(p.Name, "embed_tokens") || strings.Contains(p.Name, "lm_head") {
						g := make([]float32, (p.Weight.Rows()-p.Weight.FrozenRows())*p.Weight.Cols())
						dev.ReadGrad(p.Weight, g)
						out[p.Name] = g
					}
				}
				return out
			}
			full, part := grads(), grads(newRows, "model.layers.*", "model.norm.weight")
			if len(part) != len(full) {
				t.Fatalf("%d matrices with new rows, want %d", len(part), len(full))
			}
			for n, g := range part {
				want := full[n][360*32:]
				if len(g) != len(want) {
					t.Fatalf("%s %s: %d elements of gradient, want %d", name, n, len(g), len(want))
				}
				zero := true
				for i := range g {
					if g[i] != want[i] {
						t.Fatalf("%s %v %s: element %d is %v, full training has %v", name, compute, n, i, g[i], want[i])
					}
					zero = zero && g[i] == 0
				}
				if zero {
					t.Errorf("%s %s: the gradient is zero", name, n)
				}
			}
		}
	}
}

func TestNewRowsNeedGrowth(t *testing.T) {
	cfg, base := grown(t, true)
	cfg.Model.VocabSize, cfg.Data = 360, base.Data
	if _, err := New(cfg, newCPU(t, tensor.F32), Observer{}); err == nil || !strings.Contains(err.Error(), "new_rows") {
		t.Errorf("%v", err)
	}
}

// What the patterns of model.train name changes, and nothing else: in a run with weight decay on everything.
func TestFrozenParts(t *testing.T) {
	base := workshop(t)
	base.Schedule.Steps = 4
	runAll(t, base, 0)
	cfg := *base
	cfg.Output += "-parts"
	cfg.Model = ModelConfig{Base: filepath.Join(base.Output, "model"), Train: []string{"model.layers.1.mlp.*", "model.norm.weight"}}
	cfg.Optimizer.LR, cfg.Optimizer.DecayAll = 5e-2, true
	cfg.derive()
	runAll(t, &cfg, 0)
	before, err := checkpoint.Open(filepath.Join(base.Output, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	after, err := checkpoint.Open(filepath.Join(cfg.Output, "model"))
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	trained := 0
	for _, s := range after.Config.TensorShapes() {
		x, _ := before.Tensor(s.Name)
		y, ok := after.Tensor(s.Name)
		if x == nil || !ok {
			t.Fatalf("%s is missing", s.Name)
		}
		same := true
		for i := range x.Rows() {
			same = same && bytes.Equal(x.Row(i), y.Row(i))
		}
		want := s.Name != "model.norm.weight" && !strings.HasPrefix(s.Name, "model.layers.1.mlp.")
		if same != want {
			t.Errorf("%s: unchanged is %v, want %v", s.Name, same, want)
		}
		if !same {
			trained++
		}
	}
	if trained != 4 {
		t.Errorf("%d tensors changed, want 4", trained)
	}
	cfg.Model.Train, cfg.Output = []string{"no.such.tensor"}, cfg.Output+"-none"
	if _, err := New(&cfg, newCPU(t, tensor.F32), Observer{}); err == nil || !strings.Contains(err.Error(), "model.train") {
		t.Errorf("nothing to train: %v", err)
	}
}
