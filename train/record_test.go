package train

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A finished run says how it was; a stopped one, or one that has begun again, says nothing.
func TestRecord(t *testing.T) {
	cfg := workshop(t)
	runAll(t, cfg, 5)
	if _, err := ReadRecord(t.Context(), cfg.Output); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a stopped run has a record: %v", err)
	}
	res, _ := runAll(t, cfg, 0)
	r, err := ReadRecord(t.Context(), cfg.Output)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"optimizer.lr": "0.01", "schedule.type": "cosine", "optimizer.betas": "[0.9, 0.95]", "batch.global": "8", "model.base": `""`, "lora": "null"} {
		if r.Recipe[key] != want {
			t.Errorf("%s is %q, want %q", key, r.Recipe[key], want)
		}
	}
	if r.Name != "test" || r.Steps != 12 || r.Warmup != 2 || r.Sequences != 40 || r.Epochs != 2.4 || r.Parameters == 0 || r.Tokens == 0 ||
		r.Loss == nil || *r.Loss != res.Loss || r.ValidLoss == nil || *r.ValidLoss != res.ValidLoss || r.Data["data.train[0]"] == "" {
		t.Errorf("%+v", r)
	}
	before, err := os.ReadFile(filepath.Join(cfg.Output, RecordFile))
	if err != nil {
		t.Fatal(err)
	}
	runAll(t, cfg, 0) // finished before
	after, err := os.ReadFile(filepath.Join(cfg.Output, RecordFile))
	if err != nil || string(after) != string(before) {
		t.Errorf("asked again, the record is another: %v\n%s", err, after)
	}
	if err := os.RemoveAll(filepath.Join(cfg.Output, "checkpoints")); err != nil {
		t.Fatal(err)
	}
	runAll(t, cfg, 5)
	if _, err := ReadRecord(t.Context(), cfg.Output); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the record of the run before is still there: %v", err)
	}
	for _, text := range []string{"", "[]", "{}", `{"schema": "leo-training-run", "version": 0}`, `{"schema": "leo-training-run", "version": 2}`, `{"schema": "leo-eval-result", "version": 1}`} {
		if err := os.WriteFile(filepath.Join(cfg.Output, RecordFile), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		var e *RecordError
		if _, err := ReadRecord(t.Context(), cfg.Output); !errors.As(err, &e) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
