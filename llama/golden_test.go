package llama_test

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/device/cpu"
	"leolm/infer"
	"leolm/llama"
	"leolm/tensor"
)

// golden is one model of testdata/goldens.json; make_goldens.py writes it.
type golden struct {
	Config    json.RawMessage
	Live      int // ids below have a token
	IDs       []int32
	Rows      []int   // positions whose logits are stored
	Cols      []int32 // ids whose logits are stored
	F32, BF16 goldenLogits
}

type goldenLogits struct {
	Logits  [][]float64
	LSE     []float64 // log of the sum of exponentials over the live ids
	Largest float64   // of all absolute logits of the rows
	Argmax  []int32
}

// goldenWeights is make_goldens.py's weights: numbers of a hash, in steps that bf16 holds exactly.
func goldenWeights(name string, n int) []float32 {
	h := fnv.New64a()
	h.Write([]byte(name))
	seed, out := h.Sum64(), make([]float32, n)
	for i := range out {
		z := seed + uint64(i+1)*0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		k := int(z>>56) - 128
		switch {
		case strings.Contains(name, "norm"):
			out[i] = 1 + float32(k>>3)/32
		case strings.HasSuffix(name, "embed_tokens.weight"):
			out[i] = float32(k) / 128
		default:
			out[i] = float32(k) / 512 // products are about as large as their inputs
		}
	}
	return out
}

// open writes the model as a folder in dt and opens it.
func (g *golden) open(t *testing.T, dt tensor.DType) *checkpoint.Checkpoint {
	t.Helper()
	cfg, err := checkpoint.ParseConfig(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	var sources []checkpoint.Source
	for _, s := range cfg.TensorShapes() {
		n, err := s.Shape.Elements()
		if err != nil {
			t.Fatal(err)
		}
		v := goldenWeights(s.Name, n)
		if rows := s.Shape.Rows(); len(s.Shape) == 2 && rows == cfg.VocabSize && rows > g.Live {
			for i := g.Live * s.Shape.Cols(); i < n; i++ {
				v[i] = 64 // dead rows would win every step
			}
		}
		sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: v, Cols: s.Shape.Cols()}})
	}
	dir := filepath.Join(t.TempDir(), "model")
	if err := checkpoint.WriteHF(dir, cfg, sources, checkpoint.HFOptions{DType: dt}); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ownError is how far transformers' logits in bf16 are from those in f32, relative to the largest.
func (g *golden) ownError() float64 {
	var worst float64
	for i, row := range g.F32.Logits {
		for j, v := range row {
			worst = max(worst, math.Abs(v-g.BF16.Logits[i][j]))
		}
	}
	return worst / g.F32.Largest
}

// Logits of random models are those of transformers: within 1e-4 of the largest in f32; within 1e-2 in bf16,
// where transformers rounds every intermediate result and Leo the inputs of products.
func TestLogitsAreThoseOfTransformers(t *testing.T) {
	data, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var models map[string]*golden
	if err := json.Unmarshal(data, &models); err != nil {
		t.Fatal(err)
	}
	if len(models) != 6 {
		t.Fatalf("%d models", len(models))
	}
	for name, g := range models {
		for _, c := range []struct {
			name           string
			weights, cache tensor.DType
			want           *goldenLogits
			tolerance      float64
		}{
			{"f32", tensor.F32, tensor.F32, &g.F32, 1e-4},
			{"bf16", tensor.BF16, tensor.F32, &g.BF16, 1e-2},
			{"bf16, f16 cache", tensor.BF16, tensor.F16, &g.BF16, 1e-2},
			// The weights are the same numbers, so the difference comes from rounding the inputs alone.
			{"bf16 against f32", tensor.BF16, tensor.F32, &g.F32, 5e-3},
			{"bf16 cache against f32", tensor.BF16, tensor.BF16, &g.F32, 5e-3},
		} {
			if own := g.ownError(); own < 1e-3 || own > 0.05 {
				t.Errorf("%s: transformers' two results differ by %g", name, own)
			}
			t.Run(name+"/"+c.name, func(t *testing.T) {
				dev, err := cpu.New(cpu.Options{})
				if err != nil {
					t.Fatal(err)
				}
				m, err := llama.Load(t.Context(), dev, g.open(t, c.weights), llama.LoadOptions{})
				if err != nil {
					t.Fatal(err)
				}
				m.Vocab = g.Live
				e, err := infer.NewEngine(dev, m, infer.Options{CacheType: c.cache})
				if err != nil {
					t.Fatal(err)
				}
				s := e.NewSession()
				logits, err := e.Step([]infer.Feed{{Session: s, IDs: g.IDs, Want: infer.WantAll}})
				if err != nil {
					t.Fatal(err)
				}
				if len(logits) != len(g.IDs)*g.Live {
					t.Fatalf("%d logits for %d positions of %d ids", len(logits), len(g.IDs), g.Live)
				}
				var worst float64
				for i, r := range g.Rows {
					row := logits[r*g.Live : (r+1)*g.Live]
					for j, id := range g.Cols {
						if d := math.Abs(float64(row[id]) - c.want.Logits[i][j]); !(d <= worst) {
							worst = d
						}
					}
					var sum float64
					for _, v := range row {
						sum += math.Exp(float64(v) - c.want.LSE[i])
					}
					if d := math.Abs(math.Log(sum)); !(d <= c.tolerance*c.want.Largest) {
						t.Errorf("position %d: log of the sum of exponentials off by %g", r, d)
					}
					if got := infer.ArgMax(row); got != c.want.Argmax[i] && float64(row[got]-row[c.want.Argmax[i]]) > 2*c.tolerance*c.want.Largest {
						t.Errorf("position %d: likeliest id %d, want %d", r, got, c.want.Argmax[i])
					}
				}
				if t.Logf("largest error %.2g of the largest logit, transformers' own in bf16 %.2g", worst/c.want.Largest, g.ownError()); !(worst <= c.tolerance*c.want.Largest) {
					t.Errorf("a logit is off by %g, the largest is %g", worst, c.want.Largest)
				}
				// Dead rows do not take part in the softmax either.
				s.Close()
				lps, err := e.Score(t.Context(), s, g.IDs)
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range g.Rows[:len(g.Rows)-1] {
					next := g.IDs[r+1]
					at := slices.Index(g.Cols, next)
					if at < 0 {
						continue
					}
					if d := math.Abs(float64(lps[r+1]) - (c.want.Logits[i][at] - c.want.LSE[i])); !(d <= 2*c.tolerance*c.want.Largest) {
						t.Errorf("position %d: log-probability of the next id off by %g", r, d)
					}
				}
			})
		}
	}
}
