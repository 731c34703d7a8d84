//go:build linux && !nodl && (amd64 || arm64)

package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slurm is a Slurm of two virtual nodes on this machine, whose files are in a folder of their own.
type slurm struct {
	dir string
	env []string
}

// startSlurm starts the daemons in the foreground, as children of the test, and ends them with it.
func startSlurm(t *testing.T) *slurm {
	t.Helper()
	if os.Getenv("LEO_SLURM_TESTS") == "" {
		t.Skip("starts the daemons of Slurm: LEO_SLURM_TESTS=1, or internal/cluster/slurm.sh, runs it")
	}
	for _, name := range []string{"munged", "slurmctld", "slurmd", "unshare"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
	dir, err := os.MkdirTemp("", "leo-slurm") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	s := &slurm{dir: dir, env: append(os.Environ(), "SLURM_CONF="+dir+"/slurm.conf",
		"OMPI_MCA_btl_tcp_if_include=lo", "OMPI_MCA_oob_tcp_if_include=lo", "OMPI_MCA_btl_base_warn_component_unused=0")}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	key := make([]byte, 1024)
	_, _ = rand.Read(key)
	ports := freePorts(t, 3)
	config := fmt.Sprintf(`ClusterName=leo
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmctldPort=%[2]d
AuthType=auth/munge
AuthInfo=socket=%[1]s/munge.socket,cred_expire=5
StateSaveLocation=%[1]s/state
SlurmdSpoolDir=%[1]s/spool-%%n
SlurmctldPidFile=%[1]s/slurmctld.pid
SlurmdPidFile=%[1]s/%%n.pid
TmpFS=%[1]s/tmp
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=10
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%[3]d CPUs=2 RealMemory=64000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%[4]d CPUs=2 RealMemory=64000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
`, dir, ports[0], ports[1], ports[2])
	for name, text := range map[string][]byte{"munge.key": key, "slurm.conf": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"state", "tmp", "spool-n1", "spool-n2"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.daemon(t, "munged", "--foreground", "--force", "--key-file="+dir+"/munge.key", "--socket="+dir+"/munge.socket",
		"--pid-file="+dir+"/munged.pid", "--log-file="+dir+"/munged.log", "--seed-file="+dir+"/munged.seed")
	s.until(t, 10*time.Second, "munged listens", func() bool { _, err := os.Stat(dir + "/munge.socket"); return err == nil })
	s.daemon(t, "slurmctld", "-D", "-c")
	// Both nodes would use one folder for the PMIx of a step: each has a private one.
	for _, node := range []string{"n1", "n2"} {
		s.daemon(t, "unshare", "-m", "sh", "-c", "mount -t tmpfs leo-slurm "+dir+"/tmp && exec slurmd -D -N "+node)
	}
	s.until(t, 30*time.Second, "both nodes are idle", func() bool {
		return strings.TrimSpace(s.run(t, "", "sinfo", "-h", "-o", "%t %D")) == "idle 2"
	})
	return s
}

// freePorts finds ports that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// daemon starts a program that the end of the test ends; it dies with the test, too.
func (s *slurm) daemon(t *testing.T, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("%s-%s.log", name, args[len(args)-1][max(0, len(args[len(args)-1])-2):])))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		_ = log.Close()
		if t.Failed() {
			if b, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("%s:\n%s", filepath.Base(log.Name()), b[max(0, len(b)-3000):])
			}
		}
	})
}

func (s *slurm) run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *slurm) until(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// submit runs a job's script and returns the job.
func (s *slurm) submit(t *testing.T, dir, script string) string {
	t.Helper()
	out := s.run(t, dir, "sh", script)
	_, id, ok := strings.Cut(strings.TrimSpace(out), "Submitted batch job ")
	if !ok {
		t.Fatalf("submitted: %s", out)
	}
	return id
}

// ended waits for a job to be neither queued nor running, and returns its state.
func (s *slurm) ended(t *testing.T, id string) string {
	t.Helper()
	state := ""
	s.until(t, 3*time.Minute, "job "+id+" ends", func() bool {
		m := jobState.FindStringSubmatch(s.run(t, "", "scontrol", "show", "job", id))
		if m == nil {
			return false
		}
		state = m[1]
		return state != "PENDING" && state != "RUNNING" && state != "COMPLETING" && state != "CONFIGURING"
	})
	return state
}

var jobState = regexp.MustCompile(`JobState=([A-Z_]+)`)

// steps waits until a run has done some steps.
func (s *slurm) steps(t *testing.T, output string, n int) {
	t.Helper()
	s.until(t, time.Minute, "steps of "+output, func() bool {
		b, _ := os.ReadFile(filepath.Join(output, "metrics.jsonl"))
		return bytes.Count(b, []byte("\n")) >= n
	})
}

// A job whose time is up goes back into the queue and ends with the model of an undisturbed run. One whose rank is killed
// ends, and is finished by other numbers of ranks.
func TestSlurmTraining(t *testing.T) {
	s := startSlurm(t)
	dir := trainingFolder(t)
	leo, err := exec.LookPath("leo")
	if err != nil {
		t.Fatal(err)
	}
	more := []string{"--set", "schedule.steps=400", "--set", "parallel.parts=2"}
	one, log := training(dir, "one", more...)
	if err := one.Run(); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	job := func(ranks int, output string) {
		emitted(t, dir, append([]string{"slurm", "train.yaml", "--ranks", strconv.Itoa(ranks), "--cpus-per-rank", "1", "--time", "30", "--leo", leo, "--set", "output=" + output}, more...)...)
	}
	said := func(output string) string {
		var all []byte
		names, _ := filepath.Glob(filepath.Join(dir, output, "logs", "slurm-*.log"))
		for _, name := range names {
			b, _ := os.ReadFile(name)
			all = append(all, b...)
		}
		return string(all)
	}

	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the jobs said\n%s%s", said("stopped"), said("killed"))
		}
	})

	job(2, "stopped")
	id := s.submit(t, dir, "job.sh")
	s.steps(t, filepath.Join(dir, "stopped"), 20)
	s.run(t, "", "scancel", "--batch", "--signal=USR1", id)
	if state := s.ended(t, id); state != "COMPLETED" {
		t.Fatalf("state %s; the job said\n%s", state, said("stopped"))
	}
	if text := said("stopped"); !strings.Contains(text, "interrupted at step") || !strings.Contains(text, "resumed at step") || !strings.Contains(text, "2 ranks") {
		t.Errorf("the job said\n%s", text)
	}
	if shown := s.run(t, "", "scontrol", "show", "job", id); !strings.Contains(shown, "Restarts=1") || !strings.Contains(shown, "NodeList=n[1-2]") {
		t.Errorf("a job that was queued again, on both nodes:\n%s", shown)
	}
	if !bytes.Equal(modelOf(t, dir, "stopped"), modelOf(t, dir, "one")) {
		t.Error("queued again: another model than that of an undisturbed run")
	}

	job(2, "killed")
	id = s.submit(t, dir, "job.sh")
	s.steps(t, filepath.Join(dir, "killed"), 20)
	killRank(t, "output=killed")
	if state := s.ended(t, id); state != "FAILED" {
		t.Fatalf("state %s; the job said\n%s", state, said("killed"))
	}
	job(1, "killed")
	if state := s.ended(t, s.submit(t, dir, "job.sh")); state != "COMPLETED" || !strings.Contains(said("killed"), "resumed at step") {
		t.Fatalf("state %s; the job said\n%s", state, said("killed"))
	}
	if !bytes.Equal(modelOf(t, dir, "killed"), modelOf(t, dir, "one")) {
		t.Error("killed on two ranks, finished on one: another model than that of an undisturbed run")
	}
}

// killRank kills one of the processes called leo that have an argument.
func killRank(t *testing.T, arg string) {
	t.Helper()
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		words, _ := os.ReadFile(name)
		program, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "comm"))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && strings.TrimSpace(string(program)) == "leo" && bytes.Contains(words, []byte("\x00"+arg+"\x00")) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no process leo with %s", arg)
}

// The chain of array jobs that leo data corpus emits makes the shards of a run on one machine.
func TestSlurmCorpus(t *testing.T) {
	s := startSlurm(t)
	dir := trainingFolder(t)
	leo, err := exec.LookPath("leo")
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, dir, "leo", "data", "corpus", "plan", "corpus.yaml", "-o", "jobs")
	script := s.run(t, dir, "leo", "data", "corpus", "emit", "jobs", "--slurm", "--cpus", "1", "--max-array", "2", "--leo", leo)
	if err := os.WriteFile(filepath.Join(dir, "submit.sh"), []byte(script), 0o666); err != nil {
		t.Fatal(err)
	}
	out := s.run(t, dir, "sh", "submit.sh")
	s.until(t, 3*time.Minute, "the queue is empty", func() bool { return strings.TrimSpace(s.run(t, "", "squeue", "-h")) == "" })
	for _, name := range []string{"out/train-00000-of-00001.bin", "report.json"} {
		want, err := os.ReadFile(filepath.Join(dir, "corpus", name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "jobs", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: another one than on one machine, %v\n%s", name, err, out)
		}
	}
}
