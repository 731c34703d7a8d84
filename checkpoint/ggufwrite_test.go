package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/tensor"
)

// Every tensor gets the type that llama.cpp's own quantizer chose (testdata/make_mixes.py).
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

// A split model opens from any part; parts that are missing, swapped or taken
// alone are errors.
func TestSplitGGUF(t *testing.T) {
	c := mustOpen(t, "testdata/models/llama3")
	dir := t.TempDir()
	part := func(i int) string { return filepath.Join(dir, fmt.Sprintf("m-%05d-of-00002.gguf", i+1)) }
	var outputs [2][]Output
	for i, s := range c.Sources() {
		name, _ := ggufName(s.Name)
		outputs[i%2] = append(outputs[i%2], Output{Name: name, DType: tensor.F32, Shape: s.Shape, Write: func(w io.Writer) error {
			return s.writeAs(w, tensor.F32, c.Config.rotaryHeads(s.Name))
		}})
	}
	f32, _ := ParseFileType("f32")
	write := func(i, no int) {
		kv := []KV{{"split.no", uint16(no)}, {"split.count", uint16(2)}, {"split.tensors.count", int32(len(c.Sources()) + 1)}}
		out := outputs[i]
		if i == 0 {
			kv = append(c.Config.ggufMetadata(GGUFOptions{Type: f32}), kv...)
			factors := c.Config.ropeTensors()["rope_freqs.weight"]
			out = append(out[:len(out):len(out)], Output{Name: "rope_freqs.weight", DType: tensor.F32, Shape: tensor.Shape{len(factors)},
				Write: func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, factors) }})
		}
		if err := writeGGUF(part(i), kv, out); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 0)
	if _, err := Open(part(0)); err == nil || !strings.Contains(err.Error(), "part 2 of 2") {
		t.Errorf("without its second part: %v", err)
	}
	write(1, 0)
	if _, err := Open(part(0)); err == nil || !strings.Contains(err.Error(), "the name says part 2") {
		t.Errorf("with the wrong second part: %v", err)
	}
	write(1, 1)
	for i := range 2 {
		m := mustOpen(t, part(i))
		checkGolden(t, m, readGolden(t)["llama3"].Tensors)
		if len(m.Files) != 2 || m.Config.RopeScaling.Type != "llama3" {
			t.Errorf("%v %+v", m.Files, m.Config.RopeScaling)
		}
	}
	alone := filepath.Join(dir, "alone.gguf")
	if err := os.Rename(part(1), alone); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(alone); err == nil || !strings.Contains(err.Error(), "one part of a model split into 2") {
		t.Errorf("a part under another name: %v", err)
	}
}

// An importance matrix lowers the error where it says that it matters.
func TestQuantizeWithImatrix(t *testing.T) {
	c := mustOpen(t, "testdata/models/small")
	m := &Imatrix{Entries: map[string]ImatrixEntry{}}
	sums := make([]float32, 32)
	for i := range sums {
		sums[i] = 1e-3
		if i%8 == 0 {
			sums[i] = 100
		}
	}
	m.Entries["blk.0.attn_q.weight"] = ImatrixEntry{SumSquares: sums, Count: 1}
	if missing := m.Missing(&c.Config); len(missing) != 6 || slices.Contains(missing, "blk.0.attn_q.weight") || slices.Contains(missing, "token_embd.weight") {
		t.Errorf("missing %q", missing)
	}
	q4, _ := ParseFileType("q4_0")
	weighted := func(im *Imatrix) float64 {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := WriteGGUF(path, c.Config, c.Sources(), GGUFOptions{Type: q4, Imatrix: im}); err != nil {
			t.Fatal(err)
		}
		const name = "model.layers.0.self_attn.q_proj.weight"
		was, _ := c.Tensor(name)
		is, _ := mustOpen(t, path).Tensor(name)
		a, err := was.Float32()
		if err != nil {
			t.Fatal(err)
		}
		b, err := is.Float32()
		if err != nil {
			t.Fatal(err)
		}
		e := 0.0
		for i := range a {
			e += float64(sums[i%32]) * float64(a[i]-b[i]) * float64(a[i]-b[i])
		}
		return e
	}
	if without, with := weighted(nil), weighted(m); !(with < 0.7*without) {
		t.Errorf("weighted error %v without the matrix, %v with it", without, with)
	}
	m.Entries["blk.0.attn_q.weight"] = ImatrixEntry{SumSquares: sums[:8], Count: 1}
	if err := WriteGGUF(filepath.Join(t.TempDir(), "m.gguf"), c.Config, c.Sources(), GGUFOptions{Type: q4, Imatrix: m}); err == nil || !strings.Contains(err.Error(), "8 columns") {
		t.Errorf("a matrix of another model: %v", err)
	}
}
