package llama

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/device/cpu"
)

func testDevice(t testing.TB) device.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

type ropeGolden struct {
	Config      json.RawMessage
	Short, Long []float64
	Attention   float64
}

// Frequencies and the factor on cosines and sines equal transformers' for every scaling
// and every way to write it (testdata/make_rope_goldens.py).
func TestFrequenciesAreThoseOfTransformers(t *testing.T) {
	data, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]ropeGolden
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for name, g := range cases {
		c, err := checkpoint.ParseConfig(g.Config)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkRopes(t, name, &c, g)
		// Written and read again.
		data, err := c.ConfigJSON()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c, err = checkpoint.ParseConfig(data); err != nil {
			t.Errorf("%s: %v\n%s", name, err, data)
			continue
		}
		checkRopes(t, name+", written", &c, g)
	}
}

func checkRopes(t *testing.T, name string, c *checkpoint.Config, g ropeGolden) {
	t.Helper()
	r := newRopes(testDevice(t), c)
	same := func(what string, got []float32, want []float64) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %d %s frequencies, want %d", name, len(got), what, len(want))
			return
		}
		for i, f := range got {
			if math.Abs(float64(f)-want[i]) > 3e-7*want[i] {
				t.Errorf("%s: %s frequency %d is %v, want %v", name, what, i, f, want[i])
			}
		}
	}
	same("short", r.short.InvFreq, g.Short)
	long := r.short.InvFreq
	if r.limit > 0 && r.limit < 48 {
		long = r.long(48)
	}
	same("long", long, g.Long)
	scale := float64(r.short.Scale)
	if scale == 0 {
		scale = 1
	}
	if math.Abs(scale-g.Attention) > 1e-6 {
		t.Errorf("%s: attention factor %v, want %v", name, scale, g.Attention)
	}
}

// The frequencies of models that transformers wrote equal its own up to the last
// bits, also after a conversion to GGUF.
func TestFrequenciesOfModels(t *testing.T) {
	data, err := os.ReadFile("../checkpoint/testdata/models/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden map[string]struct {
		InvFreq string `json:"inv_freq"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"leolm", "llama3", "mistral", "bare"} {
		c, err := checkpoint.Open("../checkpoint/testdata/models/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		checkInvFreq(t, name, &c.Config, golden[name].InvFreq)
		f32, err := checkpoint.ParseFileType("f32")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := checkpoint.WriteGGUF(path, c.Config, c.Sources(), checkpoint.GGUFOptions{Type: f32}); err != nil {
			t.Fatal(err)
		}
		g, err := checkpoint.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		checkInvFreq(t, name+".gguf", &g.Config, golden[name].InvFreq)
	}
}

func checkInvFreq(t *testing.T, name string, c *checkpoint.Config, golden string) {
	t.Helper()
	want, err := hex.DecodeString(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := frequencies(c)
	if len(got)*4 != len(want) {
		t.Fatalf("%s: %d frequencies, want %d", name, len(got), len(want)/4)
	}
	for i, g := range got {
		w := math.Float32frombits(binary.LittleEndian.Uint32(want[4*i:]))
		if math.Abs(float64(g-w)) > 2e-7*float64(w) {
			t.Errorf("%s: frequency %d is %v, want %v", name, i, g, w)
		}
	}
}

// Scalings that GGUF can state come back from it.
func TestRopeThroughGGUF(t *testing.T) {
	data, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]ropeGolden
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	for name, g := range cases {
		c, err := checkpoint.ParseConfig(g.Config)
		if err != nil {
			t.Fatal(err)
		}
		var sources []checkpoint.Source
		for _, s := range c.TensorShapes() {
			n, err := s.Shape.Elements()
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: make([]float32, n), Cols: s.Shape.Cols()}})
		}
		f16, err := checkpoint.ParseFileType("f16")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		err = checkpoint.WriteGGUF(path, c, sources, checkpoint.GGUFOptions{Type: f16})
		if c.RopeScaling.Type == "dynamic" || c.RopeScaling.NoTruncate {
			if err == nil {
				t.Errorf("%s: written, though GGUF can't state it", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, err := checkpoint.Open(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		defer back.Close()
		if len(back.Notes) > 1 { // one note: the file has no tokens
			t.Errorf("%s: notes %q", name, back.Notes)
		}
		checkRopes(t, name, &back.Config, g)
	}
}

// Whatever a configuration says, frequencies are numbers.
func FuzzFrequencies(f *testing.F) {
	data, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		f.Fatal(err)
	}
	var cases map[string]ropeGolden
	if err := json.Unmarshal(data, &cases); err != nil {
		f.Fatal(err)
	}
	for _, g := range cases {
		f.Add([]byte(g.Config))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := checkpoint.ParseConfig(data)
		if err != nil {
			return
		}
		r := newRopes(testDevice(t), &c)
		lists := [][]float32{r.short.InvFreq}
		if r.limit > 0 {
			lists = append(lists, r.long(r.limit+1), r.long(1<<30))
		}
		for _, list := range lists {
			for i, x := range list {
				if !(x >= 0) || math.IsInf(float64(x), 0) {
					t.Fatalf("frequency %d is %v for %+v", i, x, c)
				}
			}
		}
	})
}
