package catalog

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/device/cpu"
	"leolm/infer"
	"leolm/llama"
	"leolm/tensor"
	"leolm/tokenizer"
)

// A model with tied embeddings says with an adapter what it says in PEFT, which takes embedding and LM head apart where the
// adapter saves or changes one of them; and it says it merged, too.
func TestAdaptersOfTiedModels(t *testing.T) {
	const base = "../checkpoint/testdata/models/small"
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 290})
	if err != nil {
		t.Fatal(err)
	}
	tr.Counter().Add("der die das und der Mond am Abend über dem Wald in der Nacht")
	res, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tok := filepath.Join(t.TempDir(), "tokenizer.model")
	if err := os.WriteFile(tok, res.Model, 0o666); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("testdata/adapters/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens map[string]struct {
		IDs  []int32
		Last []float64
	}
	if err := json.Unmarshal(data, &goldens); err != nil {
		t.Fatal(err)
	}
	for name, want := range goldens {
		dir := filepath.Join("testdata/adapters", name)
		merged := filepath.Join(t.TempDir(), "merged")
		c, err := checkpoint.Open(base)
		if err != nil {
			t.Fatal(err)
		}
		a, err := checkpoint.OpenAdapter(dir, c.Config)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cfg, sources, err := c.WithAdapter(a)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if cfg.TieEmbeddings != (name == "ensured") {
			t.Errorf("%s: tied %v", name, cfg.TieEmbeddings)
		}
		if err := checkpoint.WriteHF(merged, cfg, sources, checkpoint.HFOptions{DType: tensor.F32}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a.Close()
		c.Close()
		for way, opened := range map[string]struct {
			model    string
			adapters []AdapterSpec
		}{"on the base": {base, []AdapterSpec{{dir, 1}}}, "merged": {merged, nil}} {
			m, err := Open(opened.model, Options{Tokenizer: tok, Adapters: opened.adapters})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			defer m.Close()
			dev, err := cpu.New(cpu.Options{})
			if err != nil {
				t.Fatal(err)
			}
			lm, err := m.Load(dev, llama.LoadOptions{Convert: func(string, tensor.DType) tensor.DType { return tensor.F32 }})
			if err != nil {
				t.Fatalf("%s %s: %v", name, way, err)
			}
			lm.Vocab = len(want.Last)
			e, err := infer.NewEngine(dev, lm, infer.Options{Context: 32, CacheType: tensor.F32})
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Step([]infer.Feed{{Session: e.NewSession(), IDs: want.IDs, Want: infer.WantLast}})
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, w := range want.Last {
				worst = max(worst, math.Abs(float64(got[i])-w))
			}
			if worst > 1e-5 {
				t.Errorf("%s %s: logits differ from PEFT's by up to %g", name, way, worst)
			}
		}
	}
}

// A tokenizer with a control token more than the model has rows is opened, as transformers does; one with more pieces of
// text isn't. Another tokenizer than the one that the weights were trained with is refused.
func TestTokenizersThatDontFit(t *testing.T) {
	files, err := checkpoint.ReadTokenizerFiles("../tokenizer/testdata/bpe.model")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := files.Open("bpe", tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(rows int, f checkpoint.TokenizerFiles) string {
		t.Helper()
		cfg := checkpoint.Config{Architecture: "llama", HiddenSize: 8, IntermediateSize: 8, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 8, VocabSize: rows, MaxPositions: 64, RMSEps: 1e-5, RopeTheta: 10000, BOS: 1, PAD: -1}
		var sources []checkpoint.Source
		for _, s := range cfg.TensorShapes() {
			n, _ := s.Shape.Elements()
			sources = append(sources, checkpoint.Source{Name: s.Name, Shape: s.Shape, From: checkpoint.F32Rows{Data: make([]float32, n), Cols: s.Shape.Cols()}})
		}
		dir := filepath.Join(t.TempDir(), "model")
		if err := checkpoint.WriteHF(dir, cfg, sources, checkpoint.HFOptions{Files: f}); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	grown, err := files.Grow("bpe", []string{"<pad>"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(write(tok.Vocab(), grown), Options{})
	if err != nil {
		t.Fatalf("one control token without a row: %v", err)
	}
	defer m.Close()
	if !strings.Contains(strings.Join(m.Notes, "\n"), "<pad>") {
		t.Errorf("notes %q", m.Notes)
	}
	kv, notes, err := m.Checkpoint.GGUFMetadata()
	if err != nil || !strings.Contains(strings.Join(notes, "\n"), `"<pad>" is left out`) {
		t.Errorf("to GGUF: %v, %q", err, notes)
	}
	for _, e := range kv {
		if e.Key == "tokenizer.ggml.tokens" && len(e.Value.([]string)) != tok.Vocab() {
			t.Errorf("%d tokens for %d rows", len(e.Value.([]string)), tok.Vocab())
		}
	}
	if _, err := Open(write(tok.Vocab()-1, files), Options{}); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("a piece without a row: %v", err)
	}
	signed, err := files.WithFingerprint("t1-of-another")
	if err != nil {
		t.Fatal(err)
	}
	dir := write(tok.Vocab(), signed)
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "t1-of-another") || !strings.Contains(err.Error(), tok.Fingerprint()) {
		t.Errorf("another tokenizer: %v", err)
	}
	if m, err := Open(dir, Options{Tokenizer: "../tokenizer/testdata/bpe.model"}); err != nil || len(m.Notes) == 0 {
		t.Errorf("a tokenizer that the user names: %v", err)
	}
}
