//go:build linux && !nodl && (amd64 || arm64)

package main

import (
	"bytes"
	"fmt"
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

// launcher is an MPI's.
type launcher struct {
	name string
	args []string
	env  []string
}

// command runs leo with args on n ranks. What they say is in log.
func (l launcher) command(dir string, n int, args ...string) (cmd *exec.Cmd, log *bytes.Buffer) {
	cmd = exec.Command(l.name, append(append(append([]string{}, l.args...), "-n", strconv.Itoa(n), "leo"), args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), l.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, log
}

// launchers are those of the MPIs that tests try, with what keeps them on this machine.
var launchers = []launcher{
	{"mpirun.openmpi", []string{"--oversubscribe", "--bind-to", "none"}, []string{"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
		"OMPI_MCA_oob_tcp_if_include=lo", "OMPI_MCA_btl_tcp_if_include=lo", "OMPI_MCA_btl_base_warn_component_unused=0"}},
	{"mpirun.mpich", []string{"-iface", "lo"}, nil},
}

// eachLauncher runs f with every MPI that is here.
func eachLauncher(t *testing.T, f func(t *testing.T, l launcher)) {
	if os.Getenv("LEO_MPI_TESTS") == "" {
		t.Skip("starts processes by mpirun: LEO_MPI_TESTS=1, or internal/cluster/mpi.sh, runs it")
	}
	for _, l := range launchers {
		t.Run(l.name, func(t *testing.T) {
			if _, err := exec.LookPath(l.name); err != nil {
				t.Skip(err)
			}
			f(t, l)
		})
	}
}

// eachTraining runs f with every MPI that is here: start makes the command of a training on n ranks.
func eachTraining(t *testing.T, dir string, f func(t *testing.T, start func(n int, output string, more ...string) (*exec.Cmd, *bytes.Buffer))) {
	eachLauncher(t, func(t *testing.T, l launcher) {
		f(t, func(n int, output string, more ...string) (*exec.Cmd, *bytes.Buffer) {
			return l.command(dir, n, append([]string{"train", "train.yaml", "--set", "output=" + output}, more...)...)
		})
	})
}

func modelOf(t *testing.T, dir, output string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, output, "model", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// One run of several processes, in every sharding, ends in the model of one process that sums up as many parts.
func TestTrainingUnderMPI(t *testing.T) {
	dir := ""
	if os.Getenv("LEO_MPI_TESTS") != "" {
		dir = trainingFolder(t)
		one, log := training(dir, "one", "--set", "parallel.parts=2")
		if err := one.Run(); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
	}
	eachTraining(t, dir, func(t *testing.T, start func(int, string, ...string) (*exec.Cmd, *bytes.Buffer)) {
		for _, sharding := range []string{"none", "optimizer", "gradients", "parameters"} {
			out := filepath.Base(t.Name()) + sharding
			cmd, log := start(2, out, "--set", "parallel.sharding="+sharding, "--set", "parallel.overlap=always")
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v\n%s", sharding, err, log)
			}
			if !bytes.Equal(modelOf(t, dir, out), modelOf(t, dir, "one")) {
				t.Errorf("%s: another model than one process trains", sharding)
			}
			if logs, _ := filepath.Glob(filepath.Join(dir, out, "logs", "rank-*.log")); len(logs) != 2 || strings.Count(log.String(), "step 40/40") != 1 {
				t.Errorf("%s: %d logs; on the screen:\n%s", sharding, len(logs), log)
			}
		}
		shared := "" // by two ranks: the same model whoever else trains, and in whatever sharding
		for _, run := range []struct {
			ranks    int
			sharding string
		}{{2, "none"}, {4, "gradients"}} {
			out := fmt.Sprint(filepath.Base(t.Name()), "tensor", run.ranks)
			cmd, log := start(run.ranks, out, "--set", "parallel.tensor=2", "--set", "parallel.parts=2", "--set", "batch.global=2", "--set", "batch.micro=1",
				"--set", "parallel.sharding="+run.sharding, "--set", "schedule.steps=10")
			if err := cmd.Run(); err != nil {
				t.Fatalf("tensor, %d ranks: %v\n%s", run.ranks, err, log)
			}
			if model := string(modelOf(t, dir, out)); shared == "" {
				shared = model
			} else if model != shared {
				t.Errorf("tensor, %d ranks: another model than two ranks train", run.ranks)
			}
		}
		cmd, log := start(3, "refused", "--set", "parallel.tensor=2")
		if err := cmd.Run(); err == nil || !strings.Contains(log.String(), "3 ranks cannot form groups of 2") {
			t.Errorf("%v\n%s", err, log)
		}
		cmd, log = start(2, "refused", "--set", "parallel.parts=3")
		if err := cmd.Run(); err == nil || !strings.Contains(log.String(), "3 parts of a step cannot be shared evenly by 2 ranks") {
			t.Errorf("%v\n%s", err, log)
		}
	})
}

// The script of --emit mpirun ends with a checkpoint on SIGTERM, for which mpirun itself leaves no time, and goes on from it.
func TestTrainingUnderMPIByJob(t *testing.T) {
	if os.Getenv("LEO_MPI_TESTS") == "" {
		t.Skip("starts processes by mpirun: LEO_MPI_TESTS=1, or internal/cluster/mpi.sh, runs it")
	}
	dir := trainingFolder(t)
	more := []string{"--set", "schedule.steps=400", "--set", "parallel.parts=2", "--set", "checkpoint.every=0"}
	one, log := training(dir, "one", more...)
	if err := one.Run(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for _, l := range launchers {
		t.Run(l.name, func(t *testing.T) {
			program, err := exec.LookPath(l.name)
			if err != nil {
				t.Skip(err)
			}
			bin := t.TempDir()
			// MPICH's looks for its helpers beside the name that it was called by.
			if err := os.WriteFile(filepath.Join(bin, "mpirun"), []byte("#!/bin/sh\nexec "+program+" \"$@\"\n"), 0o777); err != nil {
				t.Fatal(err)
			}
			output, mpi := filepath.Base(t.Name()), strings.TrimPrefix(l.name, "mpirun.")
			emitted(t, dir, append([]string{"mpirun", "train.yaml", "--ranks", "2", "--nodes", "1", "--mpi", mpi, "--set", "output=" + output}, more...)...)
			start := func() (*exec.Cmd, *bytes.Buffer) {
				options := l.args
				if mpi == "openmpi" {
					options = []string{"--oversubscribe"}
				}
				cmd := exec.Command("sh", append([]string{"job.sh"}, options...)...)
				cmd.Dir, cmd.Env = dir, append(append(os.Environ(), l.env...), "PATH="+bin+":"+os.Getenv("PATH"))
				var log bytes.Buffer
				cmd.Stdout, cmd.Stderr = &log, &log
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd, &log
			}
			cmd, log := start()
			for range 3000 {
				if b, _ := os.ReadFile(filepath.Join(dir, output, "metrics.jsonl")); bytes.Count(b, []byte("\n")) > 20 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			// Hydra's status is now and then 0, though the ranks' is 1.
			if err := cmd.Wait(); err == nil && mpi == "openmpi" || !strings.Contains(log.String(), "interrupted at step") {
				t.Fatalf("%v\n%s", err, log)
			}
			cmd, log = start()
			if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "resumed at step") {
				t.Fatalf("%v\n%s", err, log)
			}
			if !bytes.Equal(modelOf(t, dir, output), modelOf(t, dir, "one")) {
				t.Error("another model than that of an undisturbed run")
			}
		})
	}
}

// Killed and told to stop at random, on changing numbers of ranks, a run ends in the model of an undisturbed one.
// LEO_KILLS says how often.
func TestTrainingUnderMPISurvivesKills(t *testing.T) {
	times := 4
	if n, err := strconv.Atoi(os.Getenv("LEO_KILLS")); err == nil {
		times = n
	}
	dir := ""
	more := []string{"--set", "schedule.steps=400", "--set", "parallel.parts=4", "--set", "parallel.sharding=optimizer", "--set", "batch.micro=2"}
	if os.Getenv("LEO_MPI_TESTS") != "" {
		dir = trainingFolder(t)
		one, log := training(dir, "one", more...)
		if err := one.Run(); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
	}
	eachTraining(t, dir, func(t *testing.T, start func(int, string, ...string) (*exec.Cmd, *bytes.Buffer)) {
		out := filepath.Base(t.Name())
		rng := rand.New(rand.NewPCG(1, uint64(len(out))))
		for i := range times {
			sharding := []string{"optimizer", "parameters", "none", "gradients"}[i%4]
			cmd, log := start([]int{2, 4, 1}[i%3], out, append(more, "--set", "parallel.sharding="+sharding)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(600+rng.IntN(900)) * time.Millisecond)
			victims := ranksBelow(cmd.Process.Pid)
			if len(victims) > 0 {
				_ = syscall.Kill(victims[rng.IntN(len(victims))], []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR1}[i%2])
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				t.Fatalf("try %d does not end:\n%s", i, log)
			}
		}
		cmd, log := start(2, out, more...)
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		if !bytes.Equal(modelOf(t, dir, out), modelOf(t, dir, "one")) {
			t.Error("another model than that of an undisturbed run")
		}
	})
}

// ranksBelow lists the processes called leo that descend from a launcher.
func ranksBelow(launcher int) []int {
	parents := map[int]int{}
	var leos []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		name, rest, _ := strings.Cut(string(text), ") ")
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
			continue
		}
		parents[pid] = parent
		if strings.HasSuffix(name, "(leo") {
			leos = append(leos, pid)
		}
	}
	var out []int
	for _, pid := range leos {
		for p := pid; p > 1; p = parents[p] {
			if p == launcher {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}
