//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests of this file start ranks by the launchers of MPI, with this test program as the rank: LEO_MPI_RANK says
// which part it plays. They run where LEO_MPI_TESTS is set (internal/cluster/mpi.sh), for each MPI that is installed.

// mpiKind is an MPI with its launcher.
type mpiKind struct {
	name     string
	launcher string
	args     []string
	env      []string
	keep     []string // for a launcher that leaves the other ranks alone when one dies
	version  string   // how its version begins
}

var mpiKinds = []mpiKind{
	{
		name: "Open MPI", launcher: "mpirun.openmpi", version: "Open MPI",
		args: []string{"--oversubscribe"},
		// Only this machine: no network, no wish for more rights.
		env: []string{"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_oob_tcp_if_include=lo",
			"OMPI_MCA_btl_tcp_if_include=lo", "OMPI_MCA_btl_base_warn_component_unused=0"},
		keep: []string{"--enable-recovery"},
	},
	{
		name: "MPICH", launcher: "mpirun.mpich", version: "MPICH",
		args: []string{"-iface", "lo"},
		keep: []string{"-disable-auto-cleanup"},
	},
}

// command starts n ranks that play a part.
func (k *mpiKind) command(ctx context.Context, t *testing.T, n int, part string, launcherArgs ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(k.args), launcherArgs...)
	args = append(args, "-n", strconv.Itoa(n), program, "-test.run=^TestMPIRank$", "-test.count=1")
	cmd := exec.CommandContext(ctx, k.launcher, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(append(os.Environ(), k.env...), "LEO_MPI_RANK="+part)
	return cmd
}

// eachMPI runs f with every MPI that is installed.
func eachMPI(t *testing.T, f func(t *testing.T, k *mpiKind)) {
	if os.Getenv("LEO_MPI_TESTS") == "" {
		t.Skip("starts processes by mpirun: LEO_MPI_TESTS=1, or internal/cluster/mpi.sh, runs it")
	}
	for i := range mpiKinds {
		k := &mpiKinds[i]
		t.Run(k.name, func(t *testing.T) {
			if _, err := exec.LookPath(k.launcher); err != nil {
				t.Skipf("%s is not installed: no %s", k.name, k.launcher)
			}
			f(t, k)
		})
	}
}

// parts are what ranks play.
var parts = map[string]func(t *testing.T, c *Comm){
	"suite":   playSuite,
	"signals": playSignals,
	"wait":    playWait,
	"abort":   playAbort,
	"place":   playPlace,
	"late":    playLate,
	"busy":    playBusy,
	"start":   func(*testing.T, *Comm) {},
}

// TestMPIRank is no test: it is what a rank does.
func TestMPIRank(t *testing.T) {
	part := os.Getenv("LEO_MPI_RANK")
	if part == "" {
		t.Skip("a rank of the other tests")
	}
	begin := time.Now()
	w, err := Detect(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Note: func(format string, args ...any) { fmt.Printf("note: "+format+"\n", args...) }}
	if part == "suite" {
		o.piece = 1024
	}
	if part == "late" {
		o.Patience = time.Second
	}
	if part == "differ" {
		o.Facts = []Fact{{"the recipe", fmt.Sprintf("recipe %d", min(w.Rank, 1))}}
	}
	c, err := Open(t.Context(), w, o)
	if part == "differ" || err != nil {
		t.Fatal(err)
	}
	if c.Rank() == 0 {
		fmt.Printf("%d ranks by %s with %s in %.2f s\n", c.Size(), w.Launcher, c.Backend(), time.Since(begin).Seconds())
	}
	play := parts[part]
	if play == nil {
		t.Fatalf("no part %q", part)
	}
	play(t, c)
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func playSuite(t *testing.T, c *Comm) {
	for _, s := range scenarios {
		if err := s.run(t.Context(), c); err != nil {
			t.Errorf("%s: rank %d: %v", s.name, c.Rank(), err)
		}
	}
}

// The table of tests that runs with goroutines as ranks runs with processes too, and gives the same bits.
func TestMPI(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		for _, n := range []int{1, 2, 3, 4} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			out, err := k.command(ctx, t, n, "suite").CombinedOutput()
			cancel()
			if err != nil || strings.Count(string(out), "PASS") != n {
				t.Fatalf("%d ranks: %v\n%s", n, err, out)
			}
			if n > 1 && !strings.Contains(string(out), "with "+k.version) {
				t.Errorf("the library is another one:\n%s", out)
			}
			t.Logf("%s", regexp.MustCompile(`(?m)^\d+ ranks by.*$`).Find(out))
		}
	})
}

// playSignals sends this process the signals that schedulers send, and makes the runtime's own.
func playSignals(t *testing.T, c *Comm) {
	for n, s := range readSignals() {
		if s[0] > sigIgnore && s[1]&onStack == 0 {
			t.Errorf("signal %d does not run on Go's stack", n)
		}
	}
	all := []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT}
	got := make(chan os.Signal, len(all))
	signal.Notify(got, all...)
	buf := make([]float32, 1<<18)
	for range 3 {
		for _, s := range all {
			work := AllReduce(c, Sum, buf) // signals come while MPI works
			if err := syscall.Kill(os.Getpid(), s.(syscall.Signal)); err != nil {
				t.Fatal(err)
			}
			select {
			case g := <-got:
				if g != s {
					t.Errorf("got %v, want %v", g, s)
				}
			case <-time.After(5 * time.Second):
				t.Errorf("%v did not arrive", s)
			}
			if err := work.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for name, fault := range map[string]func(){
			"nil pointer": func() { _ = *nilPointer },
			"division":    func() { _ = 1 / zero },
		} {
			if !panics(fault) {
				t.Errorf("%s: no panic", name)
			}
		}
		// Preemption (SIGURG): a loop without calls gives way.
		preempted := make(chan bool)
		prev := runtime.GOMAXPROCS(1)
		var stop bool
		go func() { preempted <- true }()
		for i := 0; !stop && i < 1<<34; i++ {
			if i&(1<<20-1) == 0 {
				select {
				case stop = <-preempted:
				default:
				}
			}
		}
		runtime.GOMAXPROCS(prev)
		if !stop {
			t.Error("a loop was not preempted")
		}
	}
}

var (
	nilPointer *int
	zero       int
)

func panics(f func()) (yes bool) {
	defer func() {
		_, yes = recover().(runtime.Error)
	}()
	f()
	return false
}

// Signals reach Go under every library, and faults of the program are still panics.
func TestMPISignals(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := k.command(ctx, t, 2, "signals").CombinedOutput()
		if err != nil || strings.Count(string(out), "PASS") != 2 {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("%s", regexp.MustCompile(`(?m)^note.*$`).Find(out))
	})
}

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
	err = cmd.Wait()
	took := time.Since(start)
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
			{"stopped", syscall.SIGSTOP, nil, `rank 1 \(on \S+, process \d+\) has died: nothing heard for [67] s by rank`},
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

// playPlace prints where ranks are, and how many threads they should have.
func playPlace(t *testing.T, c *Comm) {
	fmt.Printf("rank %d: %+v, GOMAXPROCS %d\n", c.Rank(), c.Place(), runtime.GOMAXPROCS(0))
}

// Ranks that their launcher binds to processors have as many threads; ranks that share them share those.
func TestMPIPlace(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		if runtime.NumCPU() < 2 {
			t.Skip("needs two processors")
		}
		for _, c := range []struct {
			bind string
			want string
		}{
			{"core", `rank 1: {CPUs:1 Ranks:1 Threads:1 Online:\d+}, GOMAXPROCS 1\n`},
			{"none", fmt.Sprintf(`rank 1: {CPUs:%d Ranks:2 Threads:%d Online:\d+}, GOMAXPROCS %[1]d\n`, runtime.NumCPU(), runtime.NumCPU()/2)},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			out, err := k.command(ctx, t, 2, "place", "-bind-to", c.bind).CombinedOutput()
			cancel()
			if err != nil || !regexp.MustCompile(c.want).Match(out) {
				t.Errorf("bound to %s: %v, want %s\n%s", c.bind, err, c.want, out)
			}
			t.Logf("%s: %s", c.bind, regexp.MustCompile(`note.*`).Find(out))
		}
	})
}

// playLate lets rank 1 come late to a call.
func playLate(t *testing.T, c *Comm) {
	if c.Rank() == 1 {
		time.Sleep(3 * time.Second)
	}
	if err := AllReduce(c, Sum, make([]float32, 7)).Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// Ranks that wait for long say for whom, once each.
func TestMPILate(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := k.command(ctx, t, 3, "late").CombinedOutput()
		late := regexp.MustCompile(`rank [02] has waited for \d s in AllReduce \(call \d+, 7 elements of 4 bytes, sum\): rank 1 \(on \S+, process \d+\) has called nothing for \d s`)
		if err != nil || len(late.FindAll(out, -1)) != 2 || bytes.Count(out, []byte("has waited")) != 2 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// playBusy keeps all processors busy for longer than a rank may be silent.
func playBusy(t *testing.T, c *Comm) {
	end := time.Now().Add(defaultSilence + 2*time.Second)
	done := make(chan float64)
	workers := 2 * runtime.GOMAXPROCS(0)
	for range workers {
		go func() {
			x := 1.0
			for time.Now().Before(end) {
				for range 1 << 20 {
					x = x*1.0000001 + 1e-9
				}
			}
			done <- x
		}()
	}
	for range workers {
		<-done
	}
	if err := c.Barrier(t.Context()); err != nil {
		t.Error(err)
	}
}

// Ranks that compute for long, more of them than processors, are alive.
func TestMPIBusy(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if out, err := k.command(ctx, t, 4, "busy").CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
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
		start := time.Now()
		out, err := k.command(ctx, t, 3, "abort").CombinedOutput()
		if err == nil || time.Since(start) > 10*time.Second || !bytes.Contains(out, []byte("has ended the run: no space left on device")) {
			t.Errorf("after %v: %v\n%s", time.Since(start), err, out)
		}
	})
}

// Ranks with other recipes are refused, with the values of both.
func TestMPIDiffer(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := k.command(ctx, t, 2, "differ").CombinedOutput()
		const want = "the ranks differ: the recipe is recipe 0 on rank 0 and recipe 1 on rank 1"
		if err == nil || strings.Count(string(out), want) != 2 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// A library that is not the launcher's makes every rank believe itself alone.
func TestMPIWrongLibrary(t *testing.T) {
	others := map[string]string{"Open MPI": "libmpich.so.12", "MPICH": "libmpi.so.40"}
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		if _, err := loadMPI([]string{others[k.name]}); err != nil {
			t.Skipf("only one MPI is installed: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := k.command(ctx, t, 2, "start")
		cmd.Env = append(cmd.Env, "LEO_MPI="+others[k.name])
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("of 2, the MPI library rank 0 of 1 (")) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// Four ranks start in less than 2 s.
func TestMPIStart(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		best := time.Hour
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			start := time.Now()
			out, err := k.command(ctx, t, 4, "start").CombinedOutput()
			cancel()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			best = min(best, time.Since(start))
		}
		t.Logf("4 ranks start and end in %.2f s", best.Seconds())
		if best > 2*time.Second {
			t.Errorf("4 ranks take %v", best)
		}
	})
}

// The launcher's own library is tried first, and a name that the user gives is the only one.
func TestMPINames(t *testing.T) {
	for _, c := range []struct {
		launcher, env string
		o             Options
		first         string
		count         int
	}{
		{"Open MPI", "", Options{}, "libmpi.so.40", 5},
		{"Open MPI", "OPAL_PREFIX=/opt/ompi", Options{}, "/opt/ompi/lib/libmpi.so.40", 6},
		{"PMI", "", Options{}, "libmpi.so.12", 5},
		{"PMI", "I_MPI_ROOT=/opt/intel PMIX_RANK=0", Options{}, "/opt/intel/intel64/lib/release/libmpi.so.12", 8},
		{"Slurm", "PMIX_RANK=1", Options{}, "libmpi.so.40", 5},
		{"Slurm", "", Options{}, "libmpi.so.12", 5},
		{"Open MPI", "LEO_MPI=/x/libmpi.so", Options{}, "/x/libmpi.so", 1},
		{"Open MPI", "LEO_MPI=/x/libmpi.so", Options{Library: "libother.so"}, "libother.so", 1},
	} {
		got := mpiNames(World{Launcher: c.launcher}, c.o, environment(c.env))
		if got[0] != c.first || len(got) != c.count {
			t.Errorf("%s, %s: %q", c.launcher, c.env, got)
		}
	}
}

// Which ABI a library has is seen by its symbols, its name and its own words.
func TestChooseABI(t *testing.T) {
	for _, c := range []struct {
		file, version, symbols string
		want                   string // "" for none
		world                  uintptr
	}{
		{"libmpi.so.40", "Open MPI v5.0.3", "ompi_mpi_comm_world ompi_mpi_byte ompi_mpi_errors_return MPI_Abi_get_version", "Open MPI", 1},
		{"libmpi.so.40", "Open MPI v5.0.3", "ompi_mpi_comm_world ompi_mpi_byte", "", 0},
		{"libmpi.so.12", "MPICH Version: 4.3.0", "MPI_Abi_get_version", "MPICH", 0x44000000},
		{"/opt/intel/lib/libmpi.so.12", "Intel(R) MPI Library 2021.11 for Linux* OS", "", "MPICH", 0x44000000},
		{"libmpi_abi.so.0", "MPICH Version: 5.0.0", "MPI_Abi_get_version", "MPI ABI", 0x101},
		{"libmpi.so", "Homemade MPI 0.1", "", "", 0},
	} {
		lib := &mpiLib{file: c.file, version: c.version}
		err := lib.chooseABI(func(name string) (uintptr, error) {
			for i, s := range strings.Fields(c.symbols) {
				if s == name {
					return uintptr(i + 1), nil
				}
			}
			return 0, errors.New("undefined symbol: " + name)
		})
		if (err == nil) != (c.want != "") || err == nil && (lib.name != c.want || lib.world != c.world) {
			t.Errorf("%s, %s: %q, %#x, %v", c.file, c.version, lib.name, lib.world, err)
		}
	}
}
