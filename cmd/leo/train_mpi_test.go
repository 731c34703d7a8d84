//go:build linux && !nodl && (amd64 || arm64)

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"leolm/internal/cluster/clustertest"
	"leolm/internal/durable"
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
		out := filepath.Base(t.Name()) + "none"
		kept, _ := os.ReadFile(filepath.Join(dir, out, "logs", "rank-00001.log"))
		if !regexp.MustCompile(`rank 1 of 2 on \S+, process \d+, processors [0-9,-]+\n`).Match(kept) {
			t.Errorf("the log of rank 1 does not say where it is:\n%s", kept)
		}
		if mpich := strings.HasSuffix(t.Name(), "mpich"); mpich != bytes.Contains(kept, []byte("took signals")) {
			t.Errorf("what MPICH does with signals:\n%s", kept)
		}
		cmd, log := start(2, out+"crowded", "--threads", strconv.Itoa(runtime.NumCPU()), "--set", "schedule.steps=1")
		if err := cmd.Run(); err != nil || !strings.Contains(log.String(), fmt.Sprintf("2 ranks of %d threads share %[1]d processors", runtime.NumCPU())) || strings.Contains(log.String(), "took signals") {
			t.Errorf("%v\n%s", err, log)
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
		cmd, log = start(3, "refused", "--set", "parallel.tensor=2")
		if err := cmd.Run(); err == nil || !strings.Contains(log.String(), "3 ranks cannot form groups of 2") {
			t.Errorf("%v\n%s", err, log)
		}
		// What only rank 0 finds is said, and ends all.
		if err := os.MkdirAll(filepath.Join(dir, out+"locked"), 0o777); err != nil {
			t.Fatal(err)
		}
		unlock, err := durable.LockDir(filepath.Join(dir, out+"locked"))
		if err != nil {
			t.Fatal(err)
		}
		defer unlock()
		cmd, log = start(2, out+"locked")
		if err := cmd.Run(); err == nil || strings.Count(log.String(), "two runs can't share a folder") != 1 {
			t.Errorf("%v\n%s", err, log)
		}
		cmd, log = start(2, "refused", "--set", "parallel.parts=3")
		if err := cmd.Run(); err == nil || !strings.Contains(log.String(), "3 parts of a step cannot be shared evenly by 2 ranks") {
			t.Errorf("%v\n%s", err, log)
		}
	})
}

// A rank with another disk at the path of the output folder is refused before it writes there.
func TestTrainingUnderMPIOnOtherDisks(t *testing.T) {
	eachLauncher(t, func(t *testing.T, l launcher) {
		if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
			t.Skipf("cannot give a rank other disks here: %v", err)
		}
		dir := trainingFolder(t)
		elsewhere := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "out"), 0o777); err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\n[ \"${OMPI_COMM_WORLD_RANK-$PMI_RANK}\" = 0 ] && exec leo \"$@\"\nexec unshare -m sh -c 'mount --bind %s %s/out && exec leo \"$@\"' leo \"$@\"\n", elsewhere, dir)
		if err := os.WriteFile(filepath.Join(dir, "rank.sh"), []byte(script), 0o777); err != nil {
			t.Fatal(err)
		}
		cmd, log := l.command(dir, 2, "train", "train.yaml", "--set", "parallel.sharding=optimizer")
		cmd.Args[slices.Index(cmd.Args, "leo")] = "./rank.sh"
		const want = "leo: rank 1: output: what rank 0 writes into out is not there: all ranks need the same folder"
		if err := cmd.Run(); err == nil || !strings.Contains(log.String(), want) || strings.Contains(log.String(), "step 1/") {
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
			cmd, log := start([]int{2, 4, 1}[i%3], out, append(more, "--set", "parallel.sharding="+sharding, "--set", "parallel.overlap="+[]string{"always", "never"}[i/4%2])...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for range 400 { // a busy machine takes its time to start them
				if len(ranksBelow(cmd.Process.Pid)) > 0 {
					break
				}
				time.Sleep(50 * time.Millisecond)
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

// Again and again a rank is killed at a random moment; each time all end, and the run ends in the model of an undisturbed
// one. LEO_KILLS says how many kills there are of each kind.
func TestTrainingUnderMPIKilled(t *testing.T) {
	kills := 1
	if n, err := strconv.Atoi(os.Getenv("LEO_KILLS")); err == nil {
		kills = n
	}
	more := []string{"--set", "schedule.steps=100", "--set", "batch.micro=2", "--set", "parallel.parts=4"}
	dir := ""
	if os.Getenv("LEO_MPI_TESTS") != "" {
		dir = trainingFolder(t)
		one, log := training(dir, "one", more...)
		if err := one.Run(); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
	}
	eachTraining(t, dir, func(t *testing.T, start func(int, string, ...string) (*exec.Cmd, *bytes.Buffer)) {
		undisturbed := filepath.Base(t.Name()) + "teams" // other sums than those of one process
		cmd, log := start(2, undisturbed, append(more, "--set", "parallel.tensor=2")...)
		begin := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		whole := time.Since(begin) // the slowest of them
		for _, kind := range []struct{ set, same string }{
			{"parallel.sharding=optimizer", "one"},
			{"parallel.sharding=parameters", "one"},
			{"parallel.tensor=2", undisturbed},
		} {
			done, runs := 0, 0
			for ; done < kills; runs++ {
				out := fmt.Sprint(filepath.Base(t.Name()), strings.TrimPrefix(kind.set, "parallel."), runs)
				for finished := false; !finished; {
					cmd, log := start(2, out, append(more, "--set", kind.set)...)
					killed, err := killedWithin(t, cmd, log, 300*time.Millisecond+time.Duration(rand.Float64()*1.5*float64(whole)))
					if killed {
						done++
					} else if err != nil {
						t.Fatalf("%s, run %d: not killed, and %v\n%s", kind.set, runs, err, log)
					}
					_, unfinished := os.Stat(filepath.Join(dir, out, "run.json"))
					finished = unfinished == nil && err == nil
				}
				if !bytes.Equal(modelOf(t, dir, out), modelOf(t, dir, kind.same)) {
					t.Fatalf("%s, run %d: another model than that of an undisturbed run", kind.set, runs)
				}
			}
			t.Logf("%s: %d kills in %d runs", kind.set, done, runs)
		}
	})
}

// killedWithin runs a command and kills one of its ranks after a time, if there is one then. All of them have to end.
func killedWithin(t *testing.T, cmd *exec.Cmd, log *bytes.Buffer, after time.Duration) (killed bool, err error) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hit := make(chan bool, 1)
	timer := time.AfterFunc(after, func() {
		victims := ranksBelow(cmd.Process.Pid)
		hit <- len(victims) > 0 && syscall.Kill(victims[rand.IntN(len(victims))], syscall.SIGKILL) == nil
	})
	limit := time.AfterFunc(time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	begin := time.Now()
	err = cmd.Wait()
	if !limit.Stop() {
		t.Fatalf("%v does not end after %v:\n%s", cmd, time.Since(begin), log)
	}
	return !timer.Stop() && <-hit, err
}

// ranksBelow lists the processes called leo that descend from a launcher and have not ended.
func ranksBelow(launcher int) []int { return clustertest.Living(launcher, "leo") }
