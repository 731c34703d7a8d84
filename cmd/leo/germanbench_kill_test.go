//go:build unix

package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Killed at random moments, again and again, an evaluation ends with the records of an undisturbed one.
func TestGermanBenchSurvivesKills(t *testing.T) {
	documents, err := filepath.Abs("../../eval/germanbench/testdata/documents")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bench := func(out string) *exec.Cmd {
		cmd := exec.Command("leo", "eval", "germanbench", "--data", documents, "--num-fewshot", "3", "-q", "--output", out)
		cmd.Dir = dir
		return cmd
	}
	start := time.Now()
	if out, err := bench("whole").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(start)
	kills := 0
	for tries := 0; kills < 4 && tries < 40; tries++ {
		cmd := bench("killed")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(float64(whole) * (0.1 + 0.6*rand.Float64())))
		if err := cmd.Process.Signal(syscall.SIGKILL); err == nil {
			kills++
		}
		_ = cmd.Wait()
	}
	if out, err := bench("killed").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(dir, "whole", "*.jsonl"))
	if err != nil || len(names) < 5 {
		t.Fatalf("%v %v", names, err)
	}
	for _, name := range names {
		if filepath.Base(name) == "progress.jsonl" {
			continue // its lines stand in the order in which results came
		}
		a, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "killed", filepath.Base(name)))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs after %d kills (%v)", filepath.Base(name), kills, err)
		}
	}
}
