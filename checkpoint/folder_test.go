package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/tensor"
)

type goldenModel struct {
	Tensors map[string]string `json:"tensors"`
}

func readGolden(t *testing.T) map[string]goldenModel {
	t.Helper()
	data, err := os.ReadFile("testdata/models/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g map[string]goldenModel
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func hashFloats(f []float32) string {
	b := make([]byte, 4*len(f))
	for i, x := range f {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

func mustOpen(t *testing.T, path string) *Checkpoint {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// checkGolden compares every tensor of c with the hashes of transformers' own.
func checkGolden(t *testing.T, c *Checkpoint, want map[string]string) {
	t.Helper()
	if len(c.Tensors()) != len(want) {
		t.Errorf("%d tensors, want %d", len(c.Tensors()), len(want))
	}
	for name, hash := range want {
		x, ok := c.Tensor(name)
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		f, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		if got := hashFloats(f); got != hash {
			t.Errorf("%s differs from transformers' values", name)
		}
	}
}

// The folders that transformers wrote (testdata/make_models.py) read back to
// the same numbers.
func TestFolders(t *testing.T) {
	golden := readGolden(t)
	for _, name := range []string{"leolm", "llama3", "mistral", "bare"} {
		t.Run(name, func(t *testing.T) {
			c := mustOpen(t, filepath.Join("testdata/models", name))
			checkGolden(t, c, golden[name].Tensors)
		})
	}
}

func TestFolderConfigs(t *testing.T) {
	leo := mustOpen(t, "testdata/models/leolm")
	if c := leo.Config; c.RopeScaling.Type != "linear" || c.RopeScaling.Factor != 2 || c.RMSEps != 1e-5 || c.MaxPositions != 8192 || c.DType != tensor.F16 || c.BOS != 1 || c.PAD != 0 {
		t.Errorf("%+v", c)
	}
	if got := leo.StopIDs(); !slices.Equal(got, []int{2, 63}) {
		t.Errorf("stops %v, want both </s> and <|im_end|>", got)
	}
	if leo.ChatTemplate == "" || len(leo.Files) != 2 || leo.Format != FormatSafetensors {
		t.Errorf("template %q, files %v, format %s", leo.ChatTemplate, leo.Files, leo.Format)
	}
	for _, want := range []string{"<EOD> 2 times", "<|im_end|> (63) stops", "never put before"} {
		if !strings.Contains(strings.Join(leo.Notes, "\n"), want) {
			t.Errorf("no note says %q: %q", want, leo.Notes)
		}
	}

	l3 := mustOpen(t, "testdata/models/llama3")
	if c := l3.Config; c.RopeScaling.Type != "llama3" || c.RopeTheta != 500000 || !c.TieEmbeddings || !c.AttentionBias || c.HeadDim != 64 || c.DType != tensor.BF16 {
		t.Errorf("%+v", c)
	}
	if l3.ChatTemplate != "{{ messages[0].content }}" || !slices.Equal(l3.StopIDs(), []int{2, 3}) {
		t.Errorf("template %q, stops %v", l3.ChatTemplate, l3.StopIDs())
	}

	mi := mustOpen(t, "testdata/models/mistral")
	if c := mi.Config; c.Architecture != "mistral" || c.SlidingWindow != 128 || c.HeadDim != 8 || mi.Format != FormatPyTorch {
		t.Errorf("%+v %s", c, mi.Format)
	}
	if !strings.Contains(strings.Join(mi.Notes, "\n"), "inv_freq") {
		t.Errorf("the stray buffer is not reported: %q", mi.Notes)
	}
}

// What WriteHF writes reads back equal, in one file and in shards.
func TestWriteHF(t *testing.T) {
	golden := readGolden(t)
	for _, name := range []string{"leolm", "llama3", "mistral", "bare"} {
		for _, shard := range []int64{0, 5000} {
			c := mustOpen(t, filepath.Join("testdata/models", name))
			dir := filepath.Join(t.TempDir(), "out")
			if err := WriteHF(dir, c.Config, c.Sources(), HFOptions{DType: tensor.F32, ShardSize: shard}); err != nil {
				t.Fatal(err)
			}
			back := mustOpen(t, dir)
			checkGolden(t, back, golden[name].Tensors)
			a, b := c.Config, back.Config
			a.DType, b.DType, a.TransformersModel, b.TransformersModel, a.InitializerRange = 0, 0, "", "", b.InitializerRange
			if x, y := mustJSON(t, a), mustJSON(t, b); x != y {
				t.Errorf("%s: configuration changed:\n%s\n%s", name, x, y)
			}
			if shard > 0 && len(back.Files) < 2 {
				t.Errorf("%s: %v: no shards", name, back.Files)
			}
			// Over the other layout: no stale file may stay.
			if err := WriteHF(dir, c.Config, c.Sources(), HFOptions{DType: tensor.BF16, ShardSize: 5000 - shard}); err != nil {
				t.Fatal(err)
			}
			if again := mustOpen(t, dir); again.Config.DType != tensor.BF16 {
				t.Errorf("%s: old weights shadow the new", name)
			}
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
