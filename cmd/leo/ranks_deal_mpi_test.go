//go:build linux && !nodl && (amd64 || arm64)

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"leolm/eval"
)

// Ranks share the tasks of a corpus: the same bytes as one process, and after a rank was killed the same command goes on.
func TestSharedCorpusUnderMPI(t *testing.T) {
	eachLauncher(t, func(t *testing.T, l launcher) {
		dir := t.TempDir()
		sharedModel(t, dir) // for its tokenizer
		var inputs strings.Builder
		for i := range 6 {
			var docs strings.Builder
			for k := range 4000 {
				fmt.Fprintf(&docs, "{\"title\": \"%d/%d\", \"text\": \"%s\"}\n", i, k, strings.Repeat(fmt.Sprintf("der Mond %d über dem Wald %d ", k, i), 20))
			}
			name := fmt.Sprintf("d%d.jsonl", i)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(docs.String()), 0o666); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&inputs, "  - {path: %s}\n", name)
		}
		recipe := "tokenizer: tokenizer.model\ninputs:\n" + inputs.String() + "dedup: {minhash: {bands: 4, rows: 2}}\npack: {window: 64}\n"
		if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(recipe), 0o666); err != nil {
			t.Fatal(err)
		}
		leo := func(args ...string) {
			t.Helper()
			cmd := exec.Command("leo", args...)
			cmd.Dir = dir
			outputOf(t, cmd)
		}
		for _, out := range []string{"one", "two", "killed"} {
			leo("data", "corpus", "plan", "r.yaml", "-o", out)
		}
		leo("data", "corpus", "run", "one")
		cmd, log := l.command(dir, 2, "data", "corpus", "run", "two")
		if err := cmd.Run(); err != nil || !strings.Contains(log.String(), "rank 1: prep") || strings.Count(log.String(), "finished in") != 1 {
			t.Fatalf("%v\n%s", err, log)
		}
		cmd, log = l.command(dir, 2, "data", "corpus", "run", "killed")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if done, _ := filepath.Glob(filepath.Join(dir, "killed", "done", "prep-*")); len(done) > 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if victims := ranksBelow(cmd.Process.Pid); len(victims) > 0 {
			_ = syscall.Kill(victims[len(victims)-1], syscall.SIGKILL)
		}
		begin := time.Now()
		if err := cmd.Wait(); err == nil || time.Since(begin) > 10*time.Second {
			t.Errorf("a rank was killed: %v after %v\n%s", err, time.Since(begin), log)
		}
		cmd, log = l.command(dir, 3, "data", "corpus", "run", "killed")
		if err := cmd.Run(); err != nil || !strings.Contains(log.String(), "were already done") {
			t.Fatalf("%v\n%s", err, log)
		}
		for _, out := range []string{"two", "killed"} {
			sameFile(t, filepath.Join(dir, out, "report.json"), filepath.Join(dir, "one", "report.json"))
			sameFile(t, filepath.Join(dir, out, "out", "train-00000-of-00001.bin"), filepath.Join(dir, "one", "out", "train-00000-of-00001.bin"))
		}
		cmd, log = l.command(dir, 2, "data", "corpus", "run", "nowhere")
		if err := cmd.Run(); err == nil || strings.Count(log.String(), "rank 0: ") != 1 {
			t.Errorf("%v\n%s", err, log)
		}
	})
}

func sameFile(t *testing.T, name, as string) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(as)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not %s", name, as)
	}
}

// With a whole model on each rank, results are those of one process: their records to the byte, their artifacts but for the
// time.
func TestSharedReplicasUnderMPI(t *testing.T) {
	eachLauncher(t, func(t *testing.T, l launcher) {
		dir := t.TempDir()
		var rows, texts strings.Builder
		for i := range 40 {
			fmt.Fprintf(&rows, "{\"frage\": \"Was ist %d?\", \"a\": \"eine Zahl\", \"b\": \"ein Berg\", \"ziel\": %d}\n", i*i, i%2)
			fmt.Fprintf(&texts, "{\"text\": \"%s\"}\n", strings.Repeat(fmt.Sprintf("Der Berg %d ist hoch. ", i), 1+i%7))
		}
		task := `task: zahl
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{frage}}"
doc_to_choice: ["eine Zahl", "ein Berg"]
doc_to_target: ziel
`
		suite := `{"prompt": "Was ist ein Vulkan?", "expect": {"contains": "Berg"}}` + "\n" + `{"prompt": "Was ist ein Hund?", "expect": {"min_chars": 3}}` + "\n"
		for name, text := range map[string]string{"rows.jsonl": rows.String(), "texts.jsonl": texts.String(), "task.yaml": task, "suite.jsonl": suite} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			args    []string
			output  string // what --output gets, where X is the run
			records string
			result  string
		}{
			{[]string{"eval", "task", "task.yaml"}, "X/task", "X/task/zahl.jsonl", "X/task/zahl.json"},
			{[]string{"eval", "suite", "suite.jsonl", "--min-pass", "0"}, "X/suite", "X/suite/suite.jsonl", "X/suite/suite.json"},
			{[]string{"eval", "perplexity", "texts.jsonl", "--window", "64"}, "X/perplexity.json", "", "X/perplexity.json"},
			{[]string{"eval", "mtbench", "--limit", "4", "--max-new-tokens", "8"}, "X/mtbench", "X/mtbench/answers.json", ""},
		} {
			for _, run := range []string{"one", "two"} {
				if err := os.MkdirAll(filepath.Join(dir, run), 0o777); err != nil {
					t.Fatal(err)
				}
				args := append(append([]string{}, c.args...), "-q", "--ranks", "replicas", "--output", strings.ReplaceAll(c.output, "X", run))
				cmd, log := exec.Command("leo", args...), new(bytes.Buffer)
				cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
				if run == "two" {
					cmd, log = l.command(dir, 2, args...)
				}
				if err := cmd.Run(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, log)
				}
			}
			path := func(name, run string) string { return filepath.Join(dir, strings.ReplaceAll(name, "X", run)) }
			if c.records != "" {
				sameFile(t, path(c.records, "two"), path(c.records, "one"))
			}
			if c.result == "" {
				continue
			}
			if !sameResult(t, path(c.result, "two"), path(c.result, "one")) {
				t.Errorf("%v: other results", c.args)
			}
		}
		// A rank starts no other program: memory that network cards know does not survive a fork.
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho \"$@\" >>\""+bin+"/asked\"\nexit 1\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		cmd, log := l.command(dir, 2, "eval", "suite", "suite.jsonl", "--min-pass", "0", "-q", "--ranks", "replicas", "--output", "forks/suite")
		cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
		if err := cmd.Run(); err != nil {
			t.Errorf("%v\n%s", err, log)
		}
		if asked, err := os.ReadFile(filepath.Join(bin, "asked")); err == nil {
			t.Errorf("git %s", asked)
		}
		cmd, log = l.command(dir, 2, "eval", "task", "task.yaml", "--ranks", "replicas", "-m", "nowhere")
		if err := cmd.Run(); err == nil || strings.Count(log.String(), "nowhere") != 1 {
			t.Errorf("%v\n%s", err, log)
		}
		cmd, log = l.command(dir, 2, "eval", "task", "nowhere.yaml", "--ranks", "replicas")
		if err := cmd.Run(); err == nil || strings.Count(log.String(), "nowhere") != 1 {
			t.Errorf("%v\n%s", err, log)
		}
	})
}

// GermanBench on two ranks, which share the model or have one each, writes the records of one process to the byte, and its
// results but for the time.
func TestSharedGermanBenchUnderMPI(t *testing.T) {
	documents, err := filepath.Abs("../../eval/germanbench/testdata/documents")
	if err != nil {
		t.Fatal(err)
	}
	eachLauncher(t, func(t *testing.T, l launcher) {
		dir := t.TempDir()
		bench := func(output string, more ...string) []string {
			return append([]string{"eval", "germanbench", "--data", documents, "--num-fewshot", "2", "--limit", "3", "-q", "--output", output}, more...)
		}
		one := exec.Command("leo", bench("one")...)
		one.Dir = dir
		if out, err := one.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		names, err := filepath.Glob(filepath.Join(dir, "one", "*.json*"))
		if err != nil || len(names) < 10 {
			t.Fatalf("%v %v", names, err)
		}
		for _, mode := range []string{"share", "replicas"} {
			cmd, log := l.command(dir, 2, bench(mode, "--ranks", mode)...)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v\n%s", mode, err, log)
			}
			for _, name := range names {
				got := filepath.Join(dir, mode, filepath.Base(name))
				switch {
				case filepath.Base(name) == "progress.jsonl": // in the order in which results came
				case filepath.Ext(name) == ".jsonl":
					sameFile(t, got, name)
				case sameResult(t, got, name):
				default:
					t.Errorf("%s has other results than one process", got)
				}
			}
		}
	})
}

// sameResult compares artifacts but for the time.
func sameResult(t *testing.T, name, as string) bool {
	t.Helper()
	var hashes [2]string
	for i, path := range []string{name, as} {
		a, err := eval.ReadArtifact(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		a.Started, a.Seconds = time.Time{}, 0
		a.Leo.Commit = "" // a test program asks git, as long as it is no rank
		hashes[i] = fmt.Sprint(eval.HashOf(a))
	}
	return hashes[0] == hashes[1]
}
