package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	var dirs []string
	for _, s := range []struct {
		name  string
		scale float64
	}{{"large", 2}, {"small", 1}} {
		var b strings.Builder
		for step := 1; step <= 4; step++ {
			fmt.Fprintf(&b, `{"step":%d,"time":1,"loss":5,"tokens_seen":%d,"tokens_per_second":100,"tflops":%g}`+"\n", step, 1000*step, s.scale*1e-7)
			fmt.Fprintf(&b, `{"step":%d,"time":1,"valid_loss":%g}`+"\n", step, 5-0.5*float64(step))
		}
		d := filepath.Join(dir, s.name)
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "metrics.jsonl"), []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, d)
	}
	if err := write(dir, dirs); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "sizes.md"))
	if err != nil {
		t.Fatal(err)
	}
	// small costs 1000 FLOPs a token, large 2000: 2000 tokens of small cost what 1000 of large do.
	want := "| size | FLOPs per token | tokens/s | loss at 2.0e+06 FLOPs | loss at 2.8e+06 FLOPs | loss at 4.0e+06 FLOPs |\n|---|---|---|---|---|---|\n" +
		"| small | 1e+03 | 100 | 4.000 | 3.573 | 3.000 |\n| large | 2e+03 | 100 | 4.500 | 4.250 | 4.000 |\n"
	if string(got) != want {
		t.Errorf("sizes.md is\n%s\nwant\n%s", got, want)
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, []string{filepath.Join(dir, "empty")}); err == nil {
		t.Error("a folder without metrics is accepted")
	}
}
