//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"leolm/internal/report"
)

// watchedSteps are the steps that the test's run measures.
var watchedSteps = []int{10, 20, 30, 40}

// watched starts a training that measures itself.
func watched(dir, output string) *exec.Cmd {
	cmd := exec.Command("leo", "train", "watched.yaml", "--set", "output="+output)
	cmd.Dir = dir
	return cmd
}

// watchedResult is what must not depend on how often a run was stopped: model, single results, recorded numbers.
func watchedResult(t *testing.T, dir, output string) []byte {
	t.Helper()
	all := result(t, dir, output)
	for _, step := range watchedSteps {
		for _, name := range []string{"arc_de.jsonl", "truthfulqa_de.jsonl", "done.json"} {
			b, err := os.ReadFile(filepath.Join(dir, output, "evaluations", fmt.Sprintf("step-%08d", step), name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
	}
	rows, err := report.ReadMetrics(filepath.Join(dir, output, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, r := range rows {
		if v, ok := r.Values["eval/arc_de/acc_norm"]; ok {
			found = append(found, int(r.Step))
			all = fmt.Appendf(all, "%d %v", r.Step, v)
		}
	}
	if fmt.Sprint(found) != fmt.Sprint(watchedSteps) {
		t.Errorf("%s: recorded at steps %v, want %v", output, found, watchedSteps)
	}
	return all
}

// A training that is killed while it trains or measures ends with the same model, the same results, and each of them once.
func TestEvaluationsSurviveKills(t *testing.T) {
	dir := trainingFolder(t)
	documents, err := filepath.Abs("../../eval/germanbench/testdata/documents")
	if err != nil {
		t.Fatal(err)
	}
	recipe := fmt.Sprintf(`extends: train.yaml
evaluate:
  every: 10
  tasks:
    - {germanbench: arc_de, data: %[1]q, num_fewshot: 0}
    - {germanbench: truthfulqa_de, data: %[1]q}
`, documents)
	if err := os.WriteFile(filepath.Join(dir, "watched.yaml"), []byte(recipe), 0o666); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if out, err := watched(dir, "whole").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(start)
	want := watchedResult(t, dir, "whole")
	signals := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}
	for try := 0; ; try++ {
		cmd := watched(dir, "killed")
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := try < 6
		if kill {
			time.AfterFunc(time.Duration(float64(whole)*(0.2+0.8*rand.Float64())), func() { _ = cmd.Process.Signal(signals[try%2]) })
		}
		err := cmd.Wait()
		if err == nil {
			break
		}
		if !kill || strings.Contains(log.String(), "failed") {
			t.Fatalf("%v\n%s", err, log.String())
		}
	}
	if !bytes.Equal(watchedResult(t, dir, "killed"), want) {
		t.Error("a run that was killed ends otherwise")
	}
}
