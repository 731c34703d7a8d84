package train

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/tensor"
)

// Preference training starts at log 2, widens the gap between chosen and rejected answers, and resumes to the same bits.
func TestPreferenceTraining(t *testing.T) {
	base := workshop(t)
	runAll(t, base, 0)
	pairs := filepath.Join(filepath.Dir(base.Output), "pairs.jsonl")
	rows := `{"prompt": "Wie ist das Brot?", "chosen": "Das Brot liegt noch warm.", "rejected": "Kinder laufen laut."}
{"prompt": "Wo ist die Katze?", "chosen": "Die Katze schläft auf der Mauer.", "rejected": "Am Abend wird es ruhig."}
{"prompt": "Und der Mond?", "chosen": "Der Mond scheint hell.", "rejected": "Ein alter Mann."}
{"prompt": "Was trägt der Wind?", "chosen": "Die Blätter.", "rejected": "Den Tisch."}
`
	if err := os.WriteFile(pairs, []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, lora := range []*LoRAConfig{nil, {Rank: 4, Alpha: 8}} {
		cfg := *base
		cfg.Output += "-dpo"
		if lora != nil {
			cfg.Output += "-lora"
		}
		cfg.Model, cfg.LoRA = ModelConfig{Base: filepath.Join(base.Output, "model")}, lora
		cfg.Data = DataConfig{SequenceLength: 64, Loss: "assistant"}
		cfg.DPO = &DPOConfig{Pairs: pairs, Beta: 0.5}
		cfg.Batch.Global, cfg.Batch.Micro = 4, 2
		cfg.Schedule = ScheduleConfig{Type: "constant", Epochs: 20}
		cfg.Optimizer.LR, cfg.Optimizer.WeightDecay = 3e-3, 0
		cfg.derive()
		res, steps := runAll(t, &cfg, 0)
		if len(steps) != 20 || math.Abs(steps[0].Loss-math.Ln2) > 1e-3 {
			t.Fatalf("%d steps, first loss %v, want 20 and log 2", len(steps), steps[0].Loss)
		}
		if res.Loss > 0.3 {
			t.Errorf("loss %v after 20 steps", res.Loss)
		}
		want := weightsOf(t, &cfg)
		cfg.Output += "-again"
		runAll(t, &cfg, 7)
		runAll(t, &cfg, 0)
		if !bytes.Equal(weightsOf(t, &cfg), want) {
			t.Error("a resumed run ends with other weights")
		}
	}
}

// The exported model is the mean of the last checkpoints, and noise in the embeddings changes the run.
func TestAveragingAndNoise(t *testing.T) {
	cfg := workshop(t)
	cfg.Checkpoint.Every, cfg.Checkpoint.Average = 4, 3
	runAll(t, cfg, 0)
	plain := weightsOf(t, cfg)
	done, err := committed(filepath.Join(cfg.Output, "checkpoints"))
	if err != nil || len(done) != 3 {
		t.Fatalf("%d checkpoints are kept for the mean, want 3 (%v)", len(done), err)
	}
	last := logitsOf(t, filepath.Join(cfg.Output, "model"), "")
	one := *cfg
	one.Output += "-last"
	one.Checkpoint.Average = 0
	runAll(t, &one, 0)
	if d := farthest(last, logitsOf(t, filepath.Join(one.Output, "model"), "")); d < 1e-3 {
		t.Error("the mean of three checkpoints equals the last")
	}
	noisy := *cfg
	noisy.Output += "-noisy"
	noisy.Compute.NEFTune = 5
	runAll(t, &noisy, 0)
	if bytes.Equal(weightsOf(t, &noisy), plain) {
		t.Error("NEFTune changed nothing")
	}
}

// TestPairForms: the forms in which TRL's data sets come are the same pairs.
func TestPairForms(t *testing.T) {
	cfg := workshop(t)
	runAll(t, cfg, 0)
	base := filepath.Join(cfg.Output, "model")
	read := func(template, row string) ([]pair, error) {
		path := filepath.Join(t.TempDir(), "pairs.jsonl")
		if err := os.WriteFile(path, []byte(row), 0o666); err != nil {
			t.Fatal(err)
		}
		c := *cfg
		c.Output = filepath.Join(t.TempDir(), "dpo")
		c.Model = ModelConfig{Base: base, ChatTemplate: template}
		c.Data = DataConfig{SequenceLength: 64, Loss: "assistant"}
		c.DPO = &DPOConfig{Pairs: path, Beta: 0.1}
		c.Batch.Global, c.Batch.Micro = 1, 1
		tr, err := New(&c, newCPU(t, tensor.F32), Observer{})
		if err != nil {
			return nil, err
		}
		defer tr.Close()
		return tr.objective.(*dpo).rows, nil
	}
	want, err := read("", `{"prompt":"Wo?","chosen":"Hier.","rejected":"Da."}`)
	if err != nil {
		t.Fatal(err)
	}
	const user, good, bad = `{"role":"user","content":"Wo?"}`, `{"role":"assistant","content":"Hier."}`, `{"role":"assistant","content":"Da."}`
	for name, row := range map[string]string{
		"lists":                   `{"prompt":[` + user + `],"chosen":[` + good + `],"rejected":[` + bad + `]}`,
		"a prompt list and texts": `{"prompt":[` + user + `],"chosen":"Hier.","rejected":"Da."}`,
		"whole conversations":     `{"chosen":[` + user + `,` + good + `],"rejected":[` + user + `,` + bad + `]}`,
		"with the prompt as text": `{"prompt":"Wo?","chosen":[` + user + `,` + good + `],"rejected":[` + user + `,` + bad + `],"tools":null}`,
	} {
		got, err := read("", row)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if identityOf(got) != identityOf(want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	// What the assistant said before carries no loss, in the prompt's own form or taken out of two conversations.
	long, err := read("", `{"prompt":[`+user+`,`+good+`,{"role":"user","content":"Ja?"}],"chosen":[`+good+`],"rejected":[`+bad+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	if long[0][0].Loss() != want[0][0].Loss() || long[0][1].Loss() != want[0][1].Loss() {
		t.Errorf("loss on %v and %v tokens, want %v and %v", long[0][0].Loss(), long[0][1].Loss(), want[0][0].Loss(), want[0][1].Loss())
	}
	whole, err := read("", `{"chosen":[`+user+`,`+good+`,{"role":"user","content":"Ja?"},`+good+`],"rejected":[`+user+`,`+good+`,{"role":"user","content":"Ja?"},`+bad+`]}`)
	if err != nil || identityOf(whole) != identityOf(long) {
		t.Errorf("%v: got %+v, want %+v", err, whole, long)
	}
	for row, want := range map[string]string{
		`{"chosen":"a","rejected":"b"}`:                                                 `column "prompt": want a text or a list of messages here`,
		`{"prompt":"a","chosen":"b"}`:                                                   `column "rejected": want an answer here`,
		`{"prompt":"a","chosen":[` + good + `],"rejected":"b"}`:                         `chosen and rejected must both be texts or both lists`,
		`{"chosen":[` + good + `],"rejected":[` + bad + `]}`:                            `column "prompt": the prompt must end with a turn that the assistant answers`,
		`{"prompt":[` + user + `],"chosen":[` + user + `],"rejected":[` + bad + `]}`:    `column "chosen": must end with the assistant's answer`,
		`{"chosen":[` + user + `,` + good + `],"rejected":[` + user + `,` + good + `]}`: `column "prompt": the prompt must end with a turn`,
		`{"prompt":"a","chosen":3,"rejected":"b"}`:                                      `column "chosen": want a text or a list of messages, found a number`,
		`{"prompt":[{"role":"user"}],"chosen":"a","rejected":"b"}`:                      `column "prompt[0]": the field "content" is missing`,
	} {
		if _, err := read("", row); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "row 1") {
			t.Errorf("%s: got %v, want %q", row, err, want)
		}
	}
}
