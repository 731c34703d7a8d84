//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trainingFolder makes a tokenizer, shards and a recipe of 40 steps with checkpoints every two.
func trainingFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var texts strings.Builder
	for i := range 30 {
		fmt.Fprintf(&texts, "{\"text\": \"Am Tag %d zählt Anna %d Äpfel und %d Birnen, dann geht sie über die Brücke heim.\"}\n", i, i*7%31, i*i%23)
	}
	for name, text := range map[string]string{
		"texte.jsonl": texts.String(),
		"corpus.yaml": "name: test\nseed: 1\ntokenizer: tok.model\ninputs: [{name: texte, path: texte.jsonl}]\npack: {window: 32}\n",
		"train.yaml": `name: kill
output: out
seed: 3
model:
  tokenizer: tok.model
  shape: {hidden_size: 48, intermediate_size: 96, layers: 2, heads: 2, vocab_size: 320, max_positions: 64, tie_embeddings: true}
data:
  train: [{shards: corpus/out/train-00000-of-00001}]
  valid: [{name: texte, shards: corpus/out/train-00000-of-00001}]
  sequence_length: 32
  packing: true
batch: {global: 8, micro: 4}
optimizer: {lr: 0.01, weight_decay: 0.1, clip: 1}
schedule: {type: cosine, steps: 40, warmup_steps: 2}
compute: {dtype: bf16}
eval: {every: 10, batches: 2}
checkpoint: {every: 2, keep: 3}
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"tokenizer", "train", "texte.jsonl", "--output", "tok.model", "--vocab-size", "320"},
		{"data", "corpus", "plan", "corpus.yaml", "-o", "corpus"},
		{"data", "corpus", "run", "corpus"},
	} {
		cmd := exec.Command("leo", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("leo %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir
}

// training starts leo train with its output in a folder.
func training(dir, output string, more ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("leo", append([]string{"train", "train.yaml", "--set", "output=" + output}, more...)...)
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	return cmd, &log
}

func finished(t *testing.T, dir, output string) []byte {
	t.Helper()
	cmd, log := training(dir, output)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	return result(t, dir, output)
}

// result is what a run leaves: the exported weights and the whole last checkpoint.
func result(t *testing.T, dir, output string) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{"model/model.safetensors", "checkpoints/step-00000040/weights.safetensors", "checkpoints/step-00000040/optimizer.safetensors", "checkpoints/step-00000040/state.json"} {
		b, err := os.ReadFile(filepath.Join(dir, output, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// Killed at random moments, again and again, a run ends with the bytes of an undisturbed one. LEO_KILLS sets how often.
func TestTrainingSurvivesKills(t *testing.T) {
	kills := 5
	if text := os.Getenv("LEO_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := trainingFolder(t)
	start := time.Now()
	want := finished(t, dir, "whole")
	whole := time.Since(start)
	done := 0
	for round := 0; done < kills; round++ {
		output := fmt.Sprintf("killed-%d", round)
		for {
			cmd, log := training(dir, output)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			// A timer of its own, so that the kill falls anywhere: in a step, a write, a rename, the export.
			timer := time.AfterFunc(time.Duration(rand.Float64()*0.7*float64(whole)), func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			if err == nil {
				break
			}
			if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() {
				t.Fatalf("%v\n%s", err, log)
			}
			done++
		}
		if !bytes.Equal(result(t, dir, output), want) {
			t.Fatalf("round %d, after %d kills: the finished run has other bytes", round, done)
		}
		left, err := filepath.Glob(filepath.Join(dir, output, "checkpoints", "step-*"))
		if err != nil || len(left) != 3 {
			t.Errorf("round %d left %v", round, left)
		}
	}
	t.Logf("%d kills of a run of %v", done, whole)
}

// SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 write a checkpoint and end the program; the same command resumes with the same bits.
// A terminal that is closed sends SIGHUP several times, and ends what reads the output.
func TestSignalsWriteCheckpoints(t *testing.T) {
	dir := trainingFolder(t)
	want := finished(t, dir, "whole")
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2} {
		output := fmt.Sprintf("stopped-%d", sig)
		cmd := exec.Command("leo", "train", "train.yaml", "--set", "output="+output, "--set", "checkpoint.every=0")
		cmd.Dir = dir
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		buf := make([]byte, 1)
		sent := false
		for {
			if _, err := stderr.Read(buf); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			log.Write(buf)
			if !sent && strings.Contains(log.String(), "step 1/40") {
				sent = true
				for range map[bool]int{true: 3, false: 1}[sig == syscall.SIGHUP] {
					if err := cmd.Process.Signal(sig); err != nil {
						t.Fatal(err)
					}
					time.Sleep(5 * time.Millisecond)
				}
			}
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%v: exit status %v, want 1\n%s", sig, err, &log)
		}
		var step int
		if _, after, ok := strings.Cut(log.String(), "interrupted at step "); !ok {
			t.Fatalf("%v: the log says\n%s", sig, &log)
		} else if _, err := fmt.Sscanf(after, "%d of 40", &step); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, output, "checkpoints", fmt.Sprintf("step-%08d", step), "COMMIT")); err != nil || step >= 40 {
			t.Errorf("%v: no checkpoint of step %d: %v", sig, step, err)
		}
		if !bytes.Equal(finished(t, dir, output), want) {
			t.Errorf("%v: the continued run has other bytes", sig)
		}
	}
}

// The reader of the log may end with the terminal; the checkpoint is written nevertheless.
func TestHangUpWithoutReaderWritesCheckpoint(t *testing.T) {
	dir := trainingFolder(t)
	cmd := exec.Command("leo", "train", "train.yaml", "--set", "output=out", "--set", "checkpoint.every=0")
	cmd.Dir = dir
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	var log strings.Builder
	for buf := make([]byte, 1); !strings.Contains(log.String(), "step 1/40"); {
		if _, err := read.Read(buf); err != nil {
			t.Fatalf("%v: the log says\n%s", err, &log)
		}
		log.Write(buf)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond)
	read.Close()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v, want exit status 1", err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "out/checkpoints/step-*/COMMIT"))
	if err != nil || len(found) != 1 {
		t.Errorf("checkpoints %v, %v", found, err)
	}
}

// nohup keeps working: a signal that was ignored at the start stays ignored.
func TestIgnoredHangUpStaysIgnored(t *testing.T) {
	dir := trainingFolder(t)
	cmd := exec.Command("sh", "-c", `trap "" HUP; exec leo train train.yaml --set output=out`)
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	sent := false
	for buf := make([]byte, 1); ; {
		if _, err := stderr.Read(buf); err != nil {
			break
		}
		log.Write(buf)
		if !sent && strings.Contains(log.String(), "step 1/40") {
			sent = true
			if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !sent {
		t.Errorf("%v: the log says\n%s", err, &log)
	}
}

// Errors of files name the file, and the last good checkpoint survives them.
func TestTrainingFaultsKeepCheckpoints(t *testing.T) {
	dir := trainingFolder(t)
	want := finished(t, dir, "whole")
	fails := func(output, says string, more ...string) {
		t.Helper()
		cmd, log := training(dir, output, more...)
		if err := cmd.Run(); err == nil || !strings.Contains(log.String(), says) {
			t.Errorf("%v, the log should say %q:\n%s", err, says, log)
		}
	}
	t.Run("truncated checkpoint", func(t *testing.T) {
		for _, file := range []string{"weights.safetensors", "optimizer.safetensors", "state.json"} {
			output := "torn-" + file
			if err := os.CopyFS(filepath.Join(dir, output), os.DirFS(filepath.Join(dir, "whole"))); err != nil {
				t.Fatal(err)
			}
			last := filepath.Join(dir, output, "checkpoints", "step-00000040")
			info, err := os.Stat(filepath.Join(last, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(filepath.Join(last, file), info.Size()*2/3); err != nil {
				t.Fatal(err)
			}
			cmd, log := training(dir, output)
			if err := cmd.Run(); err != nil || !strings.Contains(log.String(), file) || !strings.Contains(log.String(), "resumed at step 38") {
				t.Errorf("%s: %v, the log should name the file and go on from step 38:\n%s", file, err, log)
			}
			if !bytes.Equal(finished(t, dir, output), want) {
				t.Errorf("%s: from the last good checkpoint the run ends with other bytes", file)
			}
		}
	})
	t.Run("another recipe", func(t *testing.T) {
		fails("whole", "another recipe", "--set", "optimizer.lr=0.02")
		if !bytes.Equal(finished(t, dir, "whole"), want) {
			t.Error("the refused recipe changed the checkpoint")
		}
	})
	t.Run("unreadable shard", func(t *testing.T) {
		shard := filepath.Join(dir, "corpus/out/train-00000-of-00001.bin")
		whole, err := os.ReadFile(shard)
		if err != nil {
			t.Fatal(err)
		}
		for what, spoil := range map[string]func() error{
			"cut":     func() error { return os.Truncate(shard, int64(len(whole)/2)) },
			"missing": func() error { return os.Remove(shard) },
			"folder":  func() error { _ = os.Remove(shard); return os.Mkdir(shard, 0o777) },
		} {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			cmd, log := training(dir, "whole")
			if err := cmd.Run(); err == nil || !strings.Contains(log.String(), "data.train[0]") || !strings.Contains(log.String(), "train-00000-of-00001.bin") {
				t.Errorf("%s: %v\n%s", what, err, log)
			}
			if err := os.RemoveAll(shard); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(shard, whole, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(finished(t, dir, "whole"), want) {
			t.Error("the checkpoint changed")
		}
	})
	t.Run("disk full", func(t *testing.T) {
		small := filepath.Join(dir, "small")
		if err := os.Mkdir(small, 0o777); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=2m", "leo-test", small).CombinedOutput(); err != nil {
			t.Skipf("cannot mount a small disk here: %v: %s", err, bytes.TrimSpace(out))
		}
		defer func() { _ = exec.Command("umount", small).Run() }()
		// All checkpoints are kept, so that the disk fills up on the way.
		fails("small/out", "disk full", "--set", "checkpoint.keep=100")
		left, err := filepath.Glob(filepath.Join(small, "out/checkpoints/step-*/COMMIT"))
		if err != nil || len(left) == 0 || len(left) == 20 {
			t.Fatalf("finished checkpoints on the full disk: %v, %v", left, err)
		}
		if out, err := exec.Command("mount", "-o", "remount,size=64m", small).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		cmd, log := training(dir, "small/out", "--set", "checkpoint.keep=100")
		if err := cmd.Run(); err != nil || !strings.Contains(log.String(), "resumed at step") {
			t.Fatalf("%v\n%s", err, log)
		}
		if !bytes.Equal(result(t, dir, "small/out"), want) {
			t.Error("after the full disk the run ends with other bytes")
		}
	})
}
