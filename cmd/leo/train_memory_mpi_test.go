//go:build linux && !nodl && (amd64 || arm64)

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
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
func plannedMemory(t *testing.T, dir string, n int, more []string) int64 {
	t.Helper()
	cmd := exec.Command("leo", append([]string{"train", "train.yaml", "--plan", "--json", "--ranks", fmt.Sprint(n)}, more...)...)
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
func TestTrainingUnderMPIHoldsItsPlan(t *testing.T) {
	dir := ""
	var shape, adapted []string
	set := func(list []string, more ...string) []string {
		for _, m := range more {
			list = append(list[:len(list):len(list)], "--set", m)
		}
		return list
	}
	shape = set(nil, "schedule.steps=2", "schedule.warmup_steps=0", "checkpoint.every=1", "eval.every=0",
		"model.shape.hidden_size=288", "model.shape.intermediate_size=768", "model.shape.layers=6", "model.shape.heads=6",
		"model.shape.vocab_size=32000", "model.shape.max_positions=512", "data.sequence_length=128", "batch.micro=2", "batch.global=4")
	if os.Getenv("LEO_MPI_TESTS") != "" {
		dir = trainingFolder(t)
		one, log := training(dir, "base", shape...)
		if err := one.Run(); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
	}
	adapted = set(shape[:8:8], "model={base: base/model}", "lora={rank: 8, base_type: q4_0}", "data.sequence_length=128", "batch.micro=2", "batch.global=4")
	eachTraining(t, dir, func(t *testing.T, start func(int, string, ...string) (*exec.Cmd, *bytes.Buffer)) {
		for name, c := range map[string]struct {
			ranks int
			sets  []string
		}{
			"alone":        {1, shape},
			"recomputed":   {1, set(shape, "compute.recompute=true")},
			"lora":         {1, adapted},
			"none":         {2, shape},
			"optimizer":    {2, set(shape, "parallel.sharding=optimizer")},
			"gradients":    {2, set(shape, "parallel.sharding=gradients")},
			"parameters":   {2, set(shape, "parallel.sharding=parameters")},
			"ahead":        {2, set(shape, "parallel.sharding=parameters", "parallel.overlap=always")},
			"lora, shared": {2, set(adapted, "parallel.sharding=parameters")},
		} {
			planned := plannedMemory(t, dir, c.ranks, c.sets)
			output := strings.NewReplacer("/", "-", ", ", "-").Replace(t.Name() + "-" + name)
			cmd, log := start(c.ranks, output, c.sets...)
			if c.ranks == 1 {
				cmd, log = training(dir, output, c.sets...)
			}
			resident := mostResident(t, cmd, log)
			off := 100 * (float64(planned)/float64(resident) - 1)
			t.Logf("%s: %d MiB planned, %d resident (%+.1f %%)", name, planned>>20, resident>>20, off)
			if off < -10 || off > 10 {
				t.Errorf("%s: %d MiB are planned and %d resident (%+.1f %%)", name, planned>>20, resident>>20, off)
			}
		}
	})
}
