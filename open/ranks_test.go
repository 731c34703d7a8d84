package open

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/device"
	"leolm/infer"
	"leolm/internal/cluster"
	"leolm/llama"
	"leolm/tensor"
	"leolm/tokenizer"
)

// sharing runs use on rank 0 of so many; the others follow.
func sharing(t *testing.T, size int, use func(r *Ranks)) {
	t.Helper()
	comms, err := cluster.Local(size, cluster.Faults{}, cluster.Options{Lost: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for rank, comm := range comms {
		r := NewRanks(cluster.NewShared(comm), 1)
		all.Go(func() {
			var err error
			if rank > 0 {
				err = r.Follow(t.Context())
			} else {
				use(r)
				err = r.End()
			}
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
				comm.Abort(err)
			}
			if len(r.models) != 0 {
				t.Errorf("rank %d has %d models open at the end", rank, len(r.models))
			}
		})
	}
	all.Wait()
}

// smallTokenizer writes a tokenizer of few words.
func smallTokenizer(t *testing.T) string {
	t.Helper()
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 290})
	if err != nil {
		t.Fatal(err)
	}
	tr.Counter().Add("der die das und der Mond am Abend über dem Wald in der Nacht")
	res, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokenizer.model")
	if err := os.WriteFile(path, res.Model, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// small is a model with the heads of one of 70 billion parameters.
var small = checkpoint.Config{
	Architecture: "llama", HiddenSize: 256, IntermediateSize: 512, Layers: 2, Heads: 64, KVHeads: 8, HeadDim: 4,
	VocabSize: 301, MaxPositions: 256, RMSEps: 1e-5, RopeTheta: 10000, BOS: 1, EOS: []int{2}, PAD: -1,
}

func random(rng *rand.Rand, n int, mean float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64()*0.1 + mean)
	}
	return v
}

// written writes a random model as GGUF of a type, or as a folder where that is "".
func written(t *testing.T, cfg checkpoint.Config, as string) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var sources []checkpoint.Source
	for _, s := range cfg.TensorShapes() {
		n, err := s.Shape.Elements()
		if err != nil {
			t.Fatal(err)
		}
		mean := 0.0
		if len(s.Shape) == 1 {
			mean = 1
		}
		sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: random(rng, n, mean), Cols: s.Shape.Cols()}})
	}
	path := filepath.Join(t.TempDir(), "model")
	if as == "" {
		if err := checkpoint.WriteHF(path, cfg, sources, checkpoint.HFOptions{DType: tensor.BF16}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ft, err := checkpoint.ParseFileType(as)
	if err != nil {
		t.Fatal(err)
	}
	path += ".gguf"
	if err := checkpoint.WriteGGUF(path, cfg, sources, checkpoint.GGUFOptions{Type: ft}); err != nil {
		t.Fatal(err)
	}
	return path
}

// peft writes a LoRA adapter of all projections; with dora their magnitudes, too.
func peft(t *testing.T, cfg checkpoint.Config, dora bool) string {
	t.Helper()
	const r = 3
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header, data := map[string]entry{}, []byte(nil)
	rng := rand.New(rand.NewPCG(5, 6))
	add := func(name string, mean float64, shape ...int) {
		n := 1
		for _, s := range shape {
			n *= s
		}
		from := len(data)
		for _, x := range random(rng, n, mean) {
			data, _ = binary.Append(data, binary.LittleEndian, x)
		}
		header[name] = entry{"F32", shape, [2]int{from, len(data)}}
	}
	q, kv := cfg.Heads*cfg.HeadDim, cfg.KVHeads*cfg.HeadDim
	for layer := range cfg.Layers {
		for _, m := range []struct {
			name    string
			out, in int
		}{
			{"self_attn.q_proj", q, cfg.HiddenSize}, {"self_attn.k_proj", kv, cfg.HiddenSize}, {"self_attn.v_proj", kv, cfg.HiddenSize},
			{"self_attn.o_proj", cfg.HiddenSize, q}, {"mlp.gate_proj", cfg.IntermediateSize, cfg.HiddenSize},
			{"mlp.down_proj", cfg.HiddenSize, cfg.IntermediateSize},
		} {
			at := fmt.Sprintf("base_model.model.model.layers.%d.%s.", layer, m.name)
			add(at+"lora_A.weight", 0, r, m.in)
			add(at+"lora_B.weight", 0, m.out, r)
			if dora {
				add(at+"lora_magnitude_vector", 1, m.out)
			}
		}
	}
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	_ = binary.Write(&file, binary.LittleEndian, uint64(len(head))) // a buffer takes everything
	file.Write(head)
	file.Write(data)
	dir := t.TempDir()
	config := fmt.Sprintf(`{"peft_type": "LORA", "r": %d, "lora_alpha": 6, "use_dora": %v, "target_modules": ["q_proj"]}`, r, dora)
	for name, text := range map[string][]byte{"adapter_config.json": []byte(config), "adapter_model.safetensors": file.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// numbers are logits and log-probabilities of a model.
func numbers(t *testing.T, m *Model) []float32 {
	ids := []int32{1, 70, 80, 90, 100, 110, 120, 130, 140, 150}
	s := m.Engine.NewSession()
	defer s.Close()
	logits, err := m.Engine.Step([]infer.Feed{{Session: s, IDs: ids, Want: infer.WantAll}})
	if err != nil {
		t.Error(err)
		return nil
	}
	out := slices.Clone(logits)
	fresh := m.Engine.NewSession()
	defer fresh.Close()
	scores, err := m.Engine.Score(t.Context(), fresh, ids)
	if err != nil {
		t.Error(err)
	}
	return append(out, scores...)
}

// opened opens a model, adapts it where adapters are given on top, and returns its numbers.
func opened(t *testing.T, arg string, opt Options, onTop []catalog.AdapterSpec) []float32 {
	m, err := Open(t.Context(), arg, opt)
	if err != nil {
		t.Error(err)
		return nil
	}
	out := numbers(t, m)
	if onTop != nil {
		opt.Adapters = onTop
		n, err := m.Adapt(t.Context(), arg, opt)
		if err != nil {
			t.Error(err)
		} else {
			out = append(out, numbers(t, n)...)
			out = append(out, numbers(t, m)...) // still without
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	return out
}

// Ranks that open a file together have the bits of one process: folders and GGUF of every kind of blocks, with adapters that
// come with the model or on top of it.
func TestRanksShareAModel(t *testing.T) {
	tied := small
	tied.TieEmbeddings = true
	lora, dora := []catalog.AdapterSpec{{Path: peft(t, small, false), Strength: 1}}, []catalog.AdapterSpec{{Path: peft(t, small, true), Strength: 0.5}}
	saved := []catalog.AdapterSpec{{Path: "testdata/adapters/both", Strength: 1}}
	folder, tok := written(t, small, ""), smallTokenizer(t)
	type how struct {
		arg             string
		adapters, onTop []catalog.AdapterSpec
		exact           bool
	}
	for name, h := range map[string]how{
		"folder":           {arg: folder, onTop: lora},
		"in float32":       {arg: folder, exact: true},
		"q4_0":             {arg: written(t, small, "q4_0")},
		"q4_K_M":           {arg: written(t, small, "q4_k_m")},
		"q8_0, tied":       {arg: written(t, tied, "q8_0")},
		"LoRA":             {arg: folder, adapters: lora},
		"DoRA":             {arg: folder, adapters: dora},
		"saved embeddings": {arg: "../checkpoint/testdata/models/small", adapters: saved},
		"saved on top":     {arg: "../checkpoint/testdata/models/small", onTop: saved},
	} {
		opt := Options{Tokenizer: tok, Adapters: h.adapters, Context: 64, Together: 2, Threads: 1}
		if h.exact {
			opt.CacheType = tensor.F32
			opt.Convert = func(string, tensor.DType) tensor.DType { return tensor.F32 }
		}
		want := opened(t, h.arg, opt, h.onTop)
		for _, size := range []int{2, 4} {
			sharing(t, size, func(r *Ranks) {
				shared := opt
				shared.Ranks = r
				if got := opened(t, h.arg, shared, h.onTop); len(got) == 0 || !slices.Equal(got, want) {
					t.Errorf("%s on %d ranks: other results", name, size)
				}
			})
		}
	}
}

// What cannot be opened is an error of rank 0, and the ranks go on together.
func TestRanksRefuseTogether(t *testing.T) {
	tok, arg := smallTokenizer(t), written(t, small, "")
	sharing(t, 3, func(r *Ranks) {
		opt := Options{Tokenizer: tok, Context: 64, Sessions: 2, Ranks: r}
		if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "nothing"), opt); err == nil {
			t.Error("a model was found where none is")
		}
		var cannot *llama.SplitError
		if _, err := Open(t.Context(), "../checkpoint/testdata/models/small", opt); !errors.As(err, &cannot) || cannot.Ranks != 3 || cannot.KVHeads != 2 {
			t.Errorf("3 ranks, 4 heads, 2 of keys and values: %v", err)
		}
		huge := opt
		huge.Context = 1 << 50
		var memory *device.MemoryError
		if _, err := Open(t.Context(), arg, huge); !errors.As(err, &memory) {
			t.Errorf("a context beyond all memory: %v", err)
		}
		m, err := Open(t.Context(), arg, opt)
		if err != nil {
			t.Error(err)
			return
		}
		defer m.Close()
		if err := m.Engine.NewSession().Save(&bytes.Buffer{}); !errors.Is(err, infer.ErrShared) {
			t.Errorf("saving a session: %v", err)
		}
		if got := numbers(t, m); len(got) == 0 {
			t.Error("no numbers after errors")
		}
	})
}

// Packed weights are kept for each rank, and used by the next start.
func TestRanksKeepPackedWeights(t *testing.T) {
	tok, arg := smallTokenizer(t), written(t, small, "q4_0")
	packed := filepath.Join(t.TempDir(), "weights")
	opt := Options{Tokenizer: tok, Context: 64, Sessions: 2, Threads: 1}
	want := opened(t, arg, opt, nil)
	for range 2 {
		sharing(t, 2, func(r *Ranks) {
			shared := opt
			shared.Ranks, shared.Packed = r, packed
			if got := opened(t, arg, shared, nil); !slices.Equal(got, want) {
				t.Error("other results with packed weights")
			}
		})
	}
	sizes := [2]int64{}
	for rank := range sizes {
		info, err := os.Stat(fmt.Sprintf("%s-%d-of-2", packed, rank))
		if err != nil {
			t.Fatal(err)
		}
		sizes[rank] = info.Size()
	}
	if whole, err := os.Stat(arg); err != nil || sizes[0]+sizes[1] > whole.Size()*5/4 {
		t.Errorf("packed weights of %v bytes, of a file of %v (%v)", sizes, whole, err)
	}
}

// stranger is a rank that finds another model than the others.
type stranger struct{ *cluster.Shared }

func (s stranger) Gather(ctx context.Context, value []byte) ([][]byte, error) {
	if len(value) == 16 && s.Rank() == 1 { // a fingerprint
		value = []byte("0123456789abcdef")
	}
	return s.Shared.Gather(ctx, value)
}

// Ranks that find different files say so, with both fingerprints.
func TestRanksWithOtherFiles(t *testing.T) {
	comms, err := cluster.Local(2, cluster.Faults{}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tok, arg := smallTokenizer(t), written(t, small, "")
	follower := NewRanks(stranger{cluster.NewShared(comms[1])}, 1)
	ended := make(chan error, 1)
	go func() { ended <- follower.Follow(t.Context()) }()
	r := NewRanks(cluster.NewShared(comms[0]), 1)
	var differ *DifferError
	_, err = Open(t.Context(), arg, Options{Tokenizer: tok, Context: 64, Ranks: r})
	if !errors.As(err, &differ) || differ.Rank != 1 || differ.Prints[1] != "0123456789abcdef" || differ.Prints[0] == differ.Prints[1] {
		t.Errorf("other files: %v", err)
	}
	if err := errors.Join(r.End(), <-ended); err != nil {
		t.Error(err)
	}
}

// When a rank dies, a step of rank 0 fails with its name, and so does all that follows; nothing hangs.
func TestARankDies(t *testing.T) {
	comms, err := cluster.Local(3, cluster.Faults{Kill: func(rank int, call uint64) bool { return rank == 2 && call > 40 }}, cluster.Options{Lost: func(error) {}})
	if err != nil {
		t.Fatal(err)
	}
	tok, arg := smallTokenizer(t), written(t, small, "")
	var followers sync.WaitGroup
	for _, comm := range comms[1:] {
		followers.Go(func() {
			if err := NewRanks(cluster.NewShared(comm), 1).Follow(t.Context()); err == nil {
				t.Error("a rank follows to the end although one has died")
			}
		})
	}
	r := NewRanks(cluster.NewShared(comms[0]), 1)
	m, err := Open(t.Context(), arg, Options{Tokenizer: tok, Context: 256, Ranks: r})
	if err != nil {
		t.Fatal(err)
	}
	s := m.Engine.NewSession()
	steps := 0
	for err == nil && steps < 100 {
		steps++
		_, err = m.Engine.Step([]infer.Feed{{Session: s, IDs: []int32{5}, Want: infer.WantLast}})
	}
	var dead *cluster.DeadError
	if !errors.As(err, &dead) || dead.Rank != 2 || steps < 2 {
		t.Errorf("step %d: %v", steps, err)
	}
	if err := r.End(); !errors.As(err, &dead) {
		t.Errorf("the end: %v", err)
	}
	followers.Wait()
}
