package checkpoint

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/tensor"
)

// Every tensor gets the type that llama.cpp's own quantiser chose (testdata/make_mixes.py).
func TestMixes(t *testing.T) {
	data, err := os.ReadFile("testdata/mixes.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]map[string]map[string]string
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	configs := map[string]Config{
		"a": {Architecture: "llama", HiddenSize: 256, IntermediateSize: 512, Layers: 16, Heads: 8, KVHeads: 2, HeadDim: 32, VocabSize: 320},
		"b": {Architecture: "llama", HiddenSize: 96, IntermediateSize: 192, Layers: 2, Heads: 4, KVHeads: 4, HeadDim: 24, VocabSize: 320},
	}
	n := 0
	for model, types := range golden {
		c := configs[model]
		for typ, tensors := range types {
			f, err := ParseFileType(typ)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range c.TensorShapes() {
				name, _ := ggufName(s.Name)
				want, ok := tensors[name]
				if !ok {
					continue
				}
				n++
				if got := f.tensorType(&c, name, s.Shape, false); !strings.EqualFold(got.String(), want) {
					t.Errorf("%s %s %s: %v, llama.cpp has %s", model, typ, name, got, want)
				}
			}
		}
	}
	if n < 1500 {
		t.Errorf("only %d tensors were compared", n)
	}
}

// Through GGUF and back: plain types keep every bit and the rows of Q and K
// come back in Hugging Face order.
func TestGGUFRoundTrip(t *testing.T) {
	golden := readGolden(t)
	for _, name := range []string{"leolm", "llama3", "mistral", "bare"} {
		t.Run(name, func(t *testing.T) {
			c := mustOpen(t, filepath.Join("testdata/models", name))
			path := filepath.Join(t.TempDir(), "m.gguf")
			f32, _ := ParseFileType("f32")
			meta := []KV{{"tokenizer.ggml.model", "llama"}, {"test.nested", []any{[]int32{1}, []int32{}}}, {"test.flag", []bool{true, false}}}
			if err := WriteGGUF(path, c.Config, c.Sources(), GGUFOptions{Type: f32, Name: "tiny", Metadata: meta}); err != nil {
				t.Fatal(err)
			}
			back := mustOpen(t, path)
			checkGolden(t, back, golden[name].Tensors)
			checkInvFreq(t, &back.Config, golden[name].InvFreq)
			a, b := c.Config, back.Config
			if a.RopeScaling.Type != b.RopeScaling.Type || a.HeadDim != b.HeadDim || a.TieEmbeddings != b.TieEmbeddings || a.AttentionBias != b.AttentionBias ||
				a.KVHeads != b.KVHeads || a.MaxPositions != b.MaxPositions || a.RMSEps != b.RMSEps || a.RopeTheta != b.RopeTheta || a.SlidingWindow != b.SlidingWindow {
				t.Errorf("configuration changed:\n%+v\n%+v", a, b)
			}
			if got := back.GGUF.Get("test.nested"); !equalJSON(t, got, meta[1].Value) {
				t.Errorf("nested metadata came back as %v", got)
			}
			q, _ := back.Tensor("model.layers.0.self_attn.q_proj.weight")
			if _, contiguous := q.Bytes(); contiguous {
				t.Error("Q claims to be stored in canonical order")
			}
			// And from GGUF back to a folder.
			dir := filepath.Join(t.TempDir(), "hf")
			back.Config.Architecture = c.Config.Architecture
			if err := WriteHF(dir, back.Config, back.Sources(), HFOptions{DType: tensor.F32}); err != nil {
				t.Fatal(err)
			}
			checkGolden(t, mustOpen(t, dir), golden[name].Tensors)
		})
	}
}

func equalJSON(t *testing.T, a, b any) bool { return mustJSON(t, a) == mustJSON(t, b) }

func TestOpenBytes(t *testing.T) {
	c := mustOpen(t, "testdata/models/llama3")
	path := filepath.Join(t.TempDir(), "m.gguf")
	q8, _ := ParseFileType("q8_0")
	if err := WriteGGUF(path, c.Config, c.Sources(), GGUFOptions{Type: q8}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := OpenBytes("embedded", data)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, s := range c.Sources() {
		x, ok := m.Tensor(s.Name)
		if !ok {
			t.Fatalf("%s is missing", s.Name)
		}
		a, err := s.From.(*Tensor).Float32()
		if err != nil {
			t.Fatal(err)
		}
		b, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > 0.01 {
				t.Fatalf("%s (%v): element %d is %v, was %v", s.Name, x.DType, i, b[i], a[i])
			}
		}
	}
}

func TestImatrix(t *testing.T) {
	m := &Imatrix{Datasets: []string{"deutsch.txt"}, Chunks: 3, ChunkSize: 512}
	for range 4 {
		if err := m.Add("model.layers.0.self_attn.q_proj.weight", []float32{1, 2, 0}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Add("model.layers.0.self_attn.q_proj.weight", []float32{1}); err == nil {
		t.Error("an input of another width is taken")
	}
	path := filepath.Join(t.TempDir(), "imatrix.gguf")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := OpenImatrix(path)
	if err != nil {
		t.Fatal(err)
	}
	if !equalJSON(t, m, back) {
		t.Errorf("came back as %+v", back)
	}
	w, err := back.importance("blk.0.attn_q.weight", 3)
	if err != nil || !slices.Equal(w, []float32{1, 4, 0}) {
		t.Errorf("importance %v, %v", w, err)
	}
	if _, err := back.importance("blk.0.attn_q.weight", 4); err == nil {
		t.Error("importance for 3 columns is taken for 4")
	}
	if w, err := back.importance("token_embd.weight", 4); w != nil || err != nil {
		t.Errorf("importance of the embedding: %v, %v", w, err)
	}
	// The older form: one entry, two calls, mean squares times calls.
	old := []byte{1, 0, 0, 0, 1, 0, 0, 0, 'x', 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xc0, 0x40, 7, 0, 0, 0, 2, 0, 0, 0, 'd', 'e'}
	o, err := ParseImatrix("old.dat", old)
	if err != nil {
		t.Fatal(err)
	}
	if w, _ := o.importance("x", 1); !slices.Equal(w, []float32{3}) || o.Chunks != 7 || o.Datasets[0] != "de" {
		t.Errorf("the older form gives %v, %+v", w, o)
	}
	for cut := range old[:21] {
		if _, err := ParseImatrix("old.dat", old[:cut]); err == nil {
			t.Errorf("%d of %d bytes: no error", cut, len(old))
		}
	}
}

// Writing twice gives the same bytes, whatever the cores did.
func TestGGUFDeterministic(t *testing.T) {
	c := mustOpen(t, "testdata/models/llama3")
	var files [2][]byte
	for i := range files {
		path := filepath.Join(t.TempDir(), "m.gguf")
		q4, _ := ParseFileType("q4_K_M")
		if err := WriteGGUF(path, c.Config, c.Sources(), GGUFOptions{Type: q4}); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(files[0], files[1]) {
		t.Error("two writings differ")
	}
}
