package train

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"leolm/tensor"
)

// planNotes are the notes of a plan.
func planNotes(t *testing.T, cfg *Config) string {
	t.Helper()
	p, err := MakePlan(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(p.Notes, "\n")
}

// A plan says what the run would find in its output folder, and leaves nothing there.
func TestPlanOfOutput(t *testing.T) {
	cfg := workshop(t)
	if got := planNotes(t, cfg); got != "" {
		t.Errorf("of a new folder: %q", got)
	}
	if _, err := os.Stat(cfg.Output); !os.IsNotExist(err) {
		t.Errorf("the plan made %s: %v", cfg.Output, err)
	}
	runAll(t, cfg, 5)
	before, err := os.ReadDir(cfg.Output)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(c *Config)
		want   string
	}{
		{func(*Config) {}, "holds an unfinished run: it would be resumed at step 5 of 12"},
		{func(c *Config) { c.Optimizer.LR = 1e-3 }, "the run would be refused: "},
		{func(c *Config) { c.Optimizer.LR = 1e-3 }, "optimizer.lr: 0.001 instead of 0.01"},
		{func(c *Config) { c.Schedule.Steps, c.Schedule.Epochs = 0, 1 }, "the run would be refused: "},
		{func(c *Config) { c.Output = c.Data.Train[0].Shards + "-text.bin" }, "the run would fail: the output folder can't be written: "},
		{func(c *Config) { c.Output = filepath.Join(c.Data.Train[0].Shards+"-text.bin", "run") }, "not a directory"},
	} {
		other := *cfg
		c.change(&other)
		if runtime.GOOS == "windows" && c.want == "not a directory" {
			continue
		}
		if got := planNotes(t, &other); !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	after, err := os.ReadDir(cfg.Output)
	if err != nil || len(after) != len(before) {
		t.Errorf("%d entries before the plans, %d after them (%v)", len(before), len(after), err)
	}
	runAll(t, cfg, 0)
	if got, want := planNotes(t, cfg), "holds the finished run: all 12 steps are done"; !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// Other data behind the same path.
	path := cfg.Data.Train[0].Shards + "-text.bin"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[2]++
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if got, want := planNotes(t, cfg), "the data are not those that the first 12 steps were trained on"; !strings.Contains(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Samples that are cut are counted before the first step, with the answers that lose tokens.
func TestCutSamplesAreCounted(t *testing.T) {
	cfg := workshop(t)
	cfg.Data.SequenceLength = 8
	cfg.derive()
	want := "data.train[0]: 40 of 40 samples are longer than data.sequence_length 8, and their ends are cut off"
	for what, got := range map[string]string{"plan": planNotes(t, cfg), "run": newNotes(t, cfg)} {
		if !strings.Contains(got, want) || !strings.Contains(got, "40 samples lose tokens of answers") {
			t.Errorf("%s: %q", what, got)
		}
	}
	cfg.Data.SequenceLength = 48
	if got := planNotes(t, cfg) + newNotes(t, cfg); strings.Contains(got, "cut off") {
		t.Errorf("nothing is cut: %q", got)
	}
}

// newNotes are the notes of a run that is opened.
func newNotes(t *testing.T, cfg *Config) string {
	t.Helper()
	var notes []string
	tr, err := New(cfg, newCPU(t, tensor.F32), Observer{Note: func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	return strings.Join(notes, "\n")
}
