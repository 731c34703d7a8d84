package open

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"leolm/catalog"
	"leolm/checkpoint"
	"leolm/infer"
	"leolm/tensor"
	"leolm/tokenizer"
)

// A tied model with an adapter gives PEFT's logits, and so does the merged model. PEFT unties embedding and LM head if the
// adapter saves or changes one of them.
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
			adapters []catalog.AdapterSpec
		}{"on the base": {base, []catalog.AdapterSpec{{Path: dir, Strength: 1}}}, "merged": {merged, nil}, "adapted": {base, nil}} {
			opt := Options{
				Tokenizer: tok, Adapters: opened.adapters, Context: 32, CacheType: tensor.F32,
				Convert: func(string, tensor.DType) tensor.DType { return tensor.F32 },
			}
			m, err := Open(t.Context(), opened.model, opt)
			if way == "adapted" && err == nil {
				defer m.Close()
				opt.Adapters = []catalog.AdapterSpec{{Path: dir, Strength: 1}}
				m, err = m.Adapt(t.Context(), opened.model, opt)
			}
			if err != nil {
				t.Fatalf("%s %s: %v", name, way, err)
			}
			defer m.Close()
			m.Engine.Model().Vocab = len(want.Last) // the golden has logits of all rows
			e := m.Engine
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
