//go:build linux && !nodl && (amd64 || arm64)

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leolm/train"
)

// mostResident runs a command and returns the most memory, in bytes, that one of the leo processes below it has had (VmHWM).
func mostResident(t *testing.T, cmd *exec.Cmd, log *bytes.Buffer) int64 {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var pids []int
	var most int64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, log)
			}
			return most
		case <-tick.C:
		}
		if n%20 == 0 {
			if pids = ranksBelow(cmd.Process.Pid); len(pids) == 0 {
				pids = []int{cmd.Process.Pid}
			}
		}
		for _, pid := range pids {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // it may have ended
			_, rest, _ := strings.Cut(string(text), "VmHWM:")
			var kib int64
			_, _ = fmt.Sscan(rest, &kib)
			most = max(most, kib<<10)
		}
	}
}

// plannedMemory is the memory that leo train --plan says for a run on n ranks.
func plannedMemory(t *testing.T, dir string, n int, args []string) int64 {
	t.Helper()
	cmd := exec.Command("leo", append(args[:len(args):len(args)], "--plan", "--json", "--ranks", fmt.Sprint(n))...)
	cmd.Dir = dir
	var plan struct {
		Plan  struct{ Memory train.Memory }
		Ranks *struct{ Memory train.Memory }
	}
	if err := json.Unmarshal([]byte(outputOf(t, cmd)), &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Ranks != nil {
		return plan.Ranks.Memory.Total()
	}
	return plan.Plan.Memory.Total()
}

// The plan's memory is within a tenth of what the largest process of a run has resident at its highest, from the start to the
// exported model.
// It is not part of mpi.sh: what a process takes beside tensors is known of one kind of machine only.
func TestResidentMemoryUnderMPI(t *testing.T) {
	dir := ""
	recipe := func(name string, more ...string) []string {
		list := []string{"train", name}
		for _, m := range append([]string{"schedule.steps=2", "checkpoint.every=1", "data.sequence_length=128", "batch.micro=2", "batch.global=4"}, more...) {
			list = append(list, "--set", m)
		}
		return list
	}
	if os.Getenv("LEO_MPI_TESTS") != "" {
		dir = trainingFolder(t)
		text, err := os.ReadFile(filepath.Join(dir, "train.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		before, rest, _ := strings.Cut(string(text), "model:\n")
		_, after, _ := strings.Cut(rest, "data:\n")
		larger := "model: {tokenizer: tok.model, shape: {hidden_size: 288, intermediate_size: 768, layers: 6, heads: 6, vocab_size: 32000, max_positions: 512, tie_embeddings: true}}\n"
		adapted := "model: {base: base/model}\nlora: {rank: 8, base_type: q4_0}\n"
		for name, model := range map[string]string{"whole.yaml": larger, "lora.yaml": adapted} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(before+model+"data:\n"+after), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		base := exec.Command("leo", recipe("whole.yaml", "output=base", "schedule.steps=1")...)
		base.Dir = dir
		outputOf(t, base)
	}
	eachLauncher(t, func(t *testing.T, l launcher) {
		for name, c := range map[string]struct {
			ranks int
			args  []string
		}{
			"alone":        {1, recipe("whole.yaml")},
			"recomputed":   {1, recipe("whole.yaml", "compute.recompute=true")},
			"lora":         {1, recipe("lora.yaml")},
			"none":         {2, recipe("whole.yaml")},
			"optimizer":    {2, recipe("whole.yaml", "parallel.sharding=optimizer")},
			"gradients":    {2, recipe("whole.yaml", "parallel.sharding=gradients")},
			"parameters":   {2, recipe("whole.yaml", "parallel.sharding=parameters")},
			"ahead":        {2, recipe("whole.yaml", "parallel.sharding=parameters", "parallel.overlap=always")},
			"lora, shared": {2, recipe("lora.yaml", "parallel.sharding=parameters")},
		} {
			planned := plannedMemory(t, dir, c.ranks, c.args)
			args := append(c.args, "--threads", "1", "--set", "output="+l.name+name)
			cmd, log := exec.Command("leo", args...), new(bytes.Buffer)
			cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
			if c.ranks > 1 {
				cmd, log = l.command(dir, c.ranks, args...)
			}
			resident := mostResident(t, cmd, log)
			off := 100 * (float64(planned)/float64(resident) - 1)
			t.Logf("%s: %d MiB planned, %d resident (%+.1f %%)", name, planned>>20, resident>>20, off)
			if off < -10 || off > 10 {
				t.Errorf("%s: %d MiB are planned and %d resident", name, planned>>20, resident>>20)
			}
		}
	})
}
