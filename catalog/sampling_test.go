package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/checkpoint"
	"leolm/sample"
	"leolm/tokenizer"
)

// What the files recommend overrides Leo's defaults, unless they say do_sample: false.
func TestRecommendedSampling(t *testing.T) {
	leo, err := sample.FindPreset("leo")
	if err != nil {
		t.Fatal(err)
	}
	for text, change := range map[string]func(*sample.Params){
		`{"eos_token_id": 2}`:               func(*sample.Params) {},
		`{"temperature": 0.3, "top_k": 20}`: func(p *sample.Params) { p.Temperature, p.TopK = 0.3, 20 },
		`{"do_sample": true, "temperature": 0, "top_p": 0.6, "min_p": 0, "typical_p": 0.9, "repetition_penalty": 1.2}`: func(p *sample.Params) {
			p.Temperature, p.TopP, p.MinP, p.TypicalP, p.RepetitionPenalty = 0, 0.6, 0, 0.9, 1.2
		},
		`{"do_sample": false, "temperature": 0.9, "top_p": 0.6}`: func(*sample.Params) {},
	} {
		g, err := checkpoint.ParseGeneration([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, want := leo.Params, leo.Params
		recommended(&got, &g)
		change(&want)
		if got.Temperature != want.Temperature || got.TopK != want.TopK || got.TopP != want.TopP || got.MinP != want.MinP ||
			got.TypicalP != want.TypicalP || got.RepetitionPenalty != want.RepetitionPenalty {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// An invalid recommendation is reported and ignored: the model can still be used.
func TestNonsensicalRecommendation(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"config.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join("../checkpoint/testdata/models/small", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{"temperature": -1, "top_k": 3}`), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := Open(dir, Options{Tokenizer: tinyTokenizer(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Sampling.Temperature != 0.7 || m.Sampling.TopK != 40 || len(m.Notes) == 0 || !strings.Contains(m.Notes[len(m.Notes)-1], "recommends") {
		t.Errorf("%+v, notes %q", m.Sampling.Params, m.Notes)
	}
}

// tinyTokenizer writes a tokenizer of 300 pieces and returns its path.
func tinyTokenizer(t *testing.T) string {
	t.Helper()
	tr, err := tokenizer.NewTrainer(tokenizer.TrainOptions{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	tr.Counter().Add("Der Mond scheint hell über dem stillen Wald, und ein alter Mann sitzt am Fluss.")
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
