//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// emitted is the job that leo train --emit prints in a folder.
func emitted(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("leo", append([]string{"train", "--emit"}, args...)...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("leo train --emit %s: %v\n%s", strings.Join(args, " "), err, &errs)
	}
	script := filepath.Join(dir, "job.sh")
	if err := os.WriteFile(script, out.Bytes(), 0o777); err != nil {
		t.Fatal(err)
	}
	if args[0] == "kubernetes" {
		return out.String()
	}
	if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	return out.String()
}

// standIns are programs that note how they are called. The launcher of ranks starts one, or does what $RANKS says.
var standIns = map[string]string{
	"sbatch":   "#!/bin/sh\necho \"sbatch $*\" >> \"$CALLS\"\nSLURM_JOB_ID=7 SLURM_CPUS_ON_NODE=16 exec sh \"$1\"\n",
	"scontrol": "#!/bin/sh\necho \"scontrol $*\" >> \"$CALLS\"\n",
	"setsid":   "#!/bin/sh\nexec \"$@\"\n",
	"srun":     standInLauncher,
	"mpirun":   standInLauncher,
}

const standInLauncher = `#!/bin/sh
echo "${0##*/} $*" >> "$CALLS"
for word in "$@"; do echo "<$word>" >> "$CALLS.words"; done
case ${RANKS-} in
wait) trap 'echo USR1 >> "$CALLS"; exit 1' USR1; echo ready >> "$CALLS"; while :; do sleep 0.02; done;;
train) while [ "$1" != leo ]; do shift; done; exec "$@";;
*) exit ${RANKS:-0};;
esac
`

// underStandIns runs a job's script: what was called, and the status of its end. A signal is sent when the ranks are there.
func underStandIns(t *testing.T, dir, script, ranks string, sig os.Signal) (calls string, status int) {
	t.Helper()
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range standIns {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "calls")
	_ = os.Remove(log)
	cmd := exec.Command("sh", script)
	cmd.Dir = t.TempDir() // the job goes to its folder
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "CALLS="+log, "RANKS="+ranks)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	for sig != nil {
		b, _ := os.ReadFile(log)
		if strings.Contains(string(b), "ready") {
			// A second one hits while the first is waited for.
			for range 2 {
				if err := cmd.Process.Signal(sig); err != nil {
					break
				}
			}
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Wait()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return strings.ReplaceAll(string(b), "ready\n", ""), cmd.ProcessState.ExitCode()
}

// smallRecipe is one that can be planned, in a folder with an awkward name.
func smallRecipe(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mit leer'zeichen 5%")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	recipe, err := os.ReadFile("../../recipes/mini-5min.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mein rezept.yaml"), recipe, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The batch script submits itself, starts the ranks with everything that was asked for, and passes on how they end.
func TestEmitSlurmJob(t *testing.T) {
	dir := smallRecipe(t)
	text := emitted(t, dir, "slurm", "mein rezept.yaml", "--ranks", "4", "--nodes", "2", "--cpus-per-rank", "8", "--time", "2-00:00:00",
		"--set", "name=a'b c", "--set", "parallel.parts=4", "--leo", "leo", "--threads", "3")
	logs := strings.ReplaceAll(filepath.Join(dir, "out/mini-5min/model/logs"), "'", `'\''`)
	for _, line := range []string{
		`--job-name='a'\''b c'`, "--nodes=2 --ntasks=4 --ntasks-per-node=2", "--cpus-per-task=8", "--time=2-00:00:00",
		"--signal=B:USR1@300 --requeue --open-mode=append", "--output='" + strings.ReplaceAll(logs, "%", "%%") + "/slurm-%j.log'",
	} {
		if !strings.Contains(text, "\n#SBATCH "+line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	script := filepath.Join(dir, "job.sh")
	starts := filepath.Join(dir, "out/mini-5min/model/logs/slurm-7.starts")
	srun := "srun -K --wait=0 --ntasks=4 --cpus-per-task=8 --cpu-bind=cores --mpi=pmix leo train --grace 300 mein rezept.yaml --set name=a'b c --set parallel.parts=4 --threads 3\n"
	for _, c := range []struct {
		ranks string
		sig   os.Signal
		after string
		want  int
	}{
		{ranks: "0", want: 0},
		{ranks: "7", want: 7}, // not again: it would fail as often as it starts
		{ranks: "wait", sig: syscall.SIGUSR1, after: "USR1\nscontrol requeue 7\n", want: 1},
		{ranks: "wait", sig: syscall.SIGUSR2, after: "USR1\nscontrol requeue 7\n", want: 1},
		{ranks: "wait", sig: syscall.SIGTERM, after: "USR1\n", want: 1}, // whoever cancels a job does not want it back
	} {
		if err := os.RemoveAll(starts); err != nil {
			t.Fatal(err)
		}
		calls, status := underStandIns(t, dir, script, c.ranks, c.sig)
		if want := "sbatch " + script + "\n" + srun + c.after; calls != want || status != c.want {
			t.Errorf("ranks %s: status %d, want %d; called\n%swant\n%s", c.ranks, status, c.want, calls, want)
		}
	}
	words, _ := os.ReadFile(filepath.Join(dir, "calls.words"))
	if !strings.Contains(string(words), "<mein rezept.yaml>\n<--set>\n<name=a'b c>\n") {
		t.Errorf("the ranks' arguments came as\n%s", words)
	}
	if info, err := os.Stat(filepath.Join(dir, "out/mini-5min/model/logs")); err != nil || !info.IsDir() {
		t.Errorf("the folder of the log, which Slurm does not make: %v", err)
	}

	// Queued again and again, it ends when that brings nothing new.
	saved := 0
	for i, c := range []struct {
		save bool // a checkpoint, before this start
		want int
	}{{false, 0}, {false, 0}, {true, 0}, {false, 0}, {true, 0}, {false, 0}, {false, 1}} {
		if i == 0 {
			if err := os.RemoveAll(starts); err != nil {
				t.Fatal(err)
			}
		}
		if c.save {
			saved++
			step := filepath.Join(dir, fmt.Sprintf("out/mini-5min/model/checkpoints/step-%08d", saved))
			if err := os.MkdirAll(step, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(step, "COMMIT"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if calls, status := underStandIns(t, dir, script, "0", nil); status != c.want || strings.Contains(calls, "srun") != (c.want == 0) {
			t.Errorf("start %d: status %d, want %d; called\n%s", i+1, status, c.want, calls)
		}
	}

	text = emitted(t, dir, "slurm", "mein rezept.yaml", "--ranks", "4", "--nodes", "1", "--mpi", "mpich")
	_ = os.RemoveAll(starts)
	if !strings.Contains(text, "#SBATCH --exclusive\n") || strings.Contains(text, "#SBATCH --cpus-per-task") {
		t.Errorf("whole nodes:\n%s", text)
	}
	if calls, _ := underStandIns(t, dir, script, "0", nil); !strings.Contains(calls, "srun -K --wait=0 --ntasks=4 --cpus-per-task=4 --cpu-bind=cores --mpi=pmi2 leo") {
		t.Errorf("16 processors and 4 ranks:\n%s", calls)
	}
}

// mpirun gets no other signal than the one that it passes on.
func TestEmitMPIRunJob(t *testing.T) {
	dir := smallRecipe(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "-n 4 --map-by ppr:1:node --bind-to none"},
		{[]string{"--nodes", "2", "--cpus-per-rank", "8"}, "-n 4 --map-by ppr:2:node:PE=8"},
		{[]string{"--nodes", "1", "--mpi", "mpich"}, "-n 4 -ppn 4 -bind-to none"},
		{[]string{"--nodes", "1", "--mpi", "mpich", "--cpus-per-rank", "2"}, "-n 4 -ppn 4 -bind-to core:2"},
	} {
		emitted(t, dir, append([]string{"mpirun", "mein rezept.yaml", "--ranks", "4"}, c.args...)...)
		want := "mpirun " + c.want + " leo train mein rezept.yaml\n"
		if calls, status := underStandIns(t, dir, filepath.Join(dir, "job.sh"), "0", nil); calls != want || status != 0 {
			t.Errorf("status %d, called %swant %s", status, calls, want)
		}
	}
	for _, sig := range []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		calls, status := underStandIns(t, dir, filepath.Join(dir, "job.sh"), "wait", sig)
		if !strings.HasSuffix(calls, "\nUSR1\n") || status != 1 {
			t.Errorf("%v: status %d, called\n%s", sig, status, calls)
		}
	}
	if _, status := underStandIns(t, dir, filepath.Join(dir, "job.sh"), "9", nil); status != 9 {
		t.Errorf("status %d, want 9", status)
	}
}

// A node's memory is that of its ranks, and ranks that shard have less.
func TestEmittedMemory(t *testing.T) {
	dir := smallRecipe(t)
	memory := func(args ...string) (mib int) {
		text := emitted(t, dir, append([]string{"slurm", "mein rezept.yaml"}, args...)...)
		_, rest, _ := strings.Cut(text, "#SBATCH --mem=")
		if _, err := fmt.Sscanf(rest, "%dM\n", &mib); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		return mib
	}
	one, two, sharded := memory(), memory("--ranks", "2", "--nodes", "1"), memory("--ranks", "2", "--nodes", "1", "--set", "parallel.sharding=optimizer")
	if one < 1024 || one > 2048 || two < 2*one || two > 2*one+200 || sharded >= two {
		t.Errorf("MiB of one rank %d, of two %d, of two that shard %d", one, two, sharded)
	}
}

// A job that is stopped and submitted again ends with the model of a run that was not.
func TestEmittedJobGoesOn(t *testing.T) {
	dir := trainingFolder(t)
	want := finished(t, dir, "whole")
	emitted(t, dir, "slurm", "train.yaml", "--set", "output=job", "--set", "checkpoint.every=0")
	script := filepath.Join(dir, "job.sh")
	// Time is up when metrics of a step are there.
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for range 2000 {
			if b, _ := os.ReadFile(filepath.Join(dir, "job", "metrics.jsonl")); len(b) > 0 {
				if log, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_WRONLY, 0); err == nil {
					_, _ = log.WriteString("ready\n")
					_ = log.Close()
				}
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	calls, status := underStandIns(t, dir, script, "train", syscall.SIGUSR1)
	<-stop
	if !strings.HasSuffix(calls, "scontrol requeue 7\n") || status != 1 {
		t.Fatalf("status %d, called\n%s", status, calls)
	}
	if calls, status = underStandIns(t, dir, script, "train", nil); strings.Contains(calls, "requeue") || status != 0 {
		t.Fatalf("status %d, called\n%s", status, calls)
	}
	got, err := os.ReadFile(filepath.Join(dir, "job/model/model.safetensors"))
	if err != nil || !bytes.HasPrefix(want, got) {
		t.Errorf("another model than that of a run that was not stopped, %v", err)
	}
}

// The manifests make one pod of each machine; the first runs the script for mpirun as it is emitted, but for the line that
// says so. deploy/kubernetes/check reads them by Kubernetes' own types.
func TestEmitKubernetesJob(t *testing.T) {
	type container struct {
		Name, Image string
		Command     []string
		Resources   struct{ Requests, Limits map[string]string }
		Mounts      []struct {
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	type object struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			RuntimeRef struct{ Kind, Name string } `yaml:"runtimeRef"`
			Trainer    struct {
				Nodes int `yaml:"numNodes"`
			}
			Policy struct {
				MPI struct {
					Procs int `yaml:"numProcPerNode"`
				}
			} `yaml:"mlPolicy"`
			Template struct {
				Spec struct {
					Jobs []struct {
						Name     string
						Template struct {
							Spec struct {
								Template struct {
									Spec struct{ Containers []container }
								}
							}
						}
					} `yaml:"replicatedJobs"`
				}
			}
		}
	}
	dir := smallRecipe(t)
	options := []string{"mein rezept.yaml", "--ranks", "4", "--cpus-per-rank", "8", "--set", "name=7 Größe\"n: #1", "--set", "parallel.parts=4"}
	for _, nodes := range []int{1, 2} {
		more := append(options, "--nodes", strconv.Itoa(nodes))
		script := emitted(t, dir, append([]string{"mpirun"}, more...)...)
		text := emitted(t, dir, append(append([]string{"kubernetes"}, more...), "--image", "registry.example/leo:1", "--claim", "daten")...)
		var found []object
		for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
			var o object
			if err := dec.Decode(&o); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			found = append(found, o)
		}
		if len(found) != 2 || found[0].Kind != "TrainingRuntime" || found[1].Kind != "TrainJob" {
			t.Fatalf("%+v", found)
		}
		runtime, start := found[0], found[1]
		if start.Spec.Trainer.Nodes != nodes || runtime.Spec.Policy.MPI.Procs != 4/nodes || start.Spec.RuntimeRef.Name != runtime.Metadata.Name || runtime.Metadata.Name != "gr--e-n---1" {
			t.Errorf("%+v", found)
		}
		jobs := runtime.Spec.Template.Spec.Jobs
		if len(jobs) != nodes || jobs[nodes-1].Name != "launcher" {
			t.Fatalf("jobs %+v", jobs)
		}
		for _, job := range jobs {
			c := job.Template.Spec.Template.Spec.Containers[0]
			if c.Image != "registry.example/leo:1" || c.Resources.Requests["cpu"] != strconv.Itoa(32/nodes) || c.Resources.Limits["memory"] == "" || c.Mounts[0].Path != dir {
				t.Errorf("container %+v", c)
			}
		}
		if got := jobs[nodes-1].Template.Spec.Template.Spec.Containers[0].Command; len(got) != 3 || got[0] != "sh" || got[1] != "-c" || got[2] != strings.Replace(script, " leo train 'mein", " leo train --grace 300 'mein", 1) {
			t.Errorf("the first pod runs\n%s\nwant\n%s", got, script)
		}
	}
}
