package train

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"
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
