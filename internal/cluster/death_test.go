//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"leolm/internal/cluster/clustertest"
)

// playWait waits in a call that rank 1 never makes, having said who it is.
func playWait(t *testing.T, c *Comm) {
	if c.Rank() == 1 {
		fmt.Printf("victim %d\n", os.Getpid())
		time.Sleep(time.Minute)
		return
	}
	if err := c.Barrier(t.Context()); err != nil {
		time.Sleep(time.Minute) // the library ends this process
	}
}

// A process that has ended is gone before its parent has asked for its status.
func TestProcessGone(t *testing.T) {
	if processGone(os.Getpid()) {
		t.Error("this process is gone")
	}
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	if processGone(cmd.Process.Pid) {
		t.Error("a new process is gone")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); !processGone(cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a killed process is not gone")
		}
	}
	_ = cmd.Wait() // it was killed
	if !processGone(cmd.Process.Pid) {
		t.Error("a process is there after its end")
	}
}

// watchDeath starts three ranks, sends one a signal, and returns what was printed and how long the others lived on.
func watchDeath(t *testing.T, k *mpiKind, s syscall.Signal, launcherArgs ...string) (string, time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := k.command(ctx, t, 3, "wait", launcherArgs...)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for pid == 0 && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
		text, _ := os.ReadFile(out.Name())
		if m := regexp.MustCompile(`victim (\d+)\n`).FindSubmatch(text); m != nil {
			pid, _ = strconv.Atoi(string(m[1]))
		}
	}
	if pid == 0 {
		_ = cmd.Wait()
		text, _ := os.ReadFile(out.Name())
		t.Fatalf("no victim:\n%s", text)
	}
	time.Sleep(time.Second)
	start := time.Now()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	took := time.Duration(0)
	if len(launcherArgs) > 0 { // what it was asked not to mind, Open MPI 5's launcher may survive itself
		for len(clustertest.Living(cmd.Process.Pid, filepath.Base(os.Args[0]))) > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		took = time.Since(start)
		patience := time.AfterFunc(10*time.Second, func() {
			t.Log("the launcher stays when all ranks have ended")
			_ = cmd.Process.Kill()
		})
		defer patience.Stop()
	}
	err = <-ended
	if took == 0 {
		took = time.Since(start)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // one that was only stopped
	text, _ := os.ReadFile(out.Name())
	if err == nil && len(launcherArgs) == 0 {
		t.Errorf("the launcher ended well:\n%s", text)
	}
	return string(text), took
}

// A dead rank ends all others within 10 seconds, with its name: by the launcher, and by the others where the launcher
// does nothing.
func TestMPIDeath(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		for _, c := range []struct {
			name   string
			signal syscall.Signal
			args   []string
			want   string
		}{
			{"killed", syscall.SIGKILL, nil, ""},
			{"killed, and the launcher does not mind", syscall.SIGKILL, k.keep, `rank 1 \(on \S+, process \d+\) has died: its process is gone`},
			{"stopped", syscall.SIGSTOP, nil, `rank 1 \(on \S+, process \d+\) has died: nothing heard for [67] s by rank \d; the last call of this rank was Barrier \(call \d+\)`},
		} {
			t.Run(c.name, func(t *testing.T) {
				out, took := watchDeath(t, k, c.signal, c.args...)
				if c.args != nil && took < time.Second/2 {
					t.Logf("the launcher did mind")
					return
				}
				if took > 10*time.Second || !regexp.MustCompile(c.want).MatchString(out) {
					t.Errorf("after %v, want %q:\n%s", took, c.want, out)
				}
				t.Logf("ended after %.1f s", took.Seconds())
				if c.want != "" {
					t.Logf("%s", regexp.MustCompile(`.*`+c.want+`.*`).FindString(out))
				}
			})
		}
	})
}

// playAbort lets rank 1 give up while the others wait.
func playAbort(t *testing.T, c *Comm) {
	if c.Rank() == 1 {
		c.Abort(errors.New("no space left on device"))
	}
	_ = c.Barrier(t.Context())
	time.Sleep(time.Minute)
}

// A rank that gives up says why on all others.
func TestMPIAbort(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var out []byte
		for range 5 { // a launcher may end the others before they have said it
			start := time.Now()
			var err error
			out, err = k.command(ctx, t, 3, "abort").CombinedOutput()
			if err == nil || time.Since(start) > 10*time.Second {
				t.Fatalf("after %v: %v\n%s", time.Since(start), err, out)
			}
			if bytes.Contains(out, []byte("has ended the run: no space left on device")) {
				return
			}
		}
		t.Errorf("nobody said why in five runs:\n%s", out)
	})
}
