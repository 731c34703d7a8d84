//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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

// TestMain ends ranks as leo ends.
func TestMain(m *testing.M) { Exit(m.Run()) }

// mpiKind is an MPI with its launcher.
type mpiKind struct {
	name     string
	launcher string
	args     []string
	env      []string
	bind     string        // its option for binding
	start    time.Duration // how long 4 ranks may take to start, if not 2 s
	keep     []string      // for a launcher that leaves the other ranks alone when one dies
	version  string        // how its version begins
}

var mpiKinds = []mpiKind{
	{
		name: "Open MPI", launcher: "mpirun.openmpi", version: "Open MPI", bind: "--bind-to",
		args: []string{"--oversubscribe"},
		// Only this machine: no network, no wish for more rights.
		env: []string{"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_oob_tcp_if_include=lo",
			"OMPI_MCA_btl_tcp_if_include=lo", "OMPI_MCA_btl_base_warn_component_unused=0"},
		keep: []string{"--enable-recovery"},
	},
	{
		name: "MPICH", launcher: "mpirun.mpich", version: "MPICH", bind: "-bind-to",
		args: []string{"-iface", "lo"},
		keep: []string{"-disable-auto-cleanup"},
	},
	{
		name: "Open MPI 5", launcher: "mpirun.openmpi5", version: "Open MPI v5", bind: "--bind-to",
		start: 5 * time.Second, // a program in C takes 2.6 s, nearly all of it in MPI_Init
		args:  []string{"--map-by", ":OVERSUBSCRIBE"},
		env:   []string{"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMPI_MCA_btl_tcp_if_include=lo"},
		keep:  []string{"--enable-recovery"},
	},
	{
		name: "MPI ABI", launcher: "mpirun.mpi-abi", version: "MPICH Version: 5", bind: "-bind-to",
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
	say := func(format string, args ...any) { fmt.Printf("note: "+format+"\n", args...) }
	o := Options{Note: say, Detail: say}
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
			out, err := k.command(ctx, t, 2, "place", k.bind, c.bind).CombinedOutput()
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

// Ranks with other recipes are refused, with the values of both.
func TestMPIDiffer(t *testing.T) {
	eachMPI(t, func(t *testing.T, k *mpiKind) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := k.command(ctx, t, 2, "differ").CombinedOutput()
		const want = "the ranks differ: the recipe is recipe 0 on rank 0 and recipe 1 on rank 1"
		// Both say it, unless mpirun ends one of them first.
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// A library that is not the launcher's makes every rank believe itself alone.
func TestMPIWrongLibrary(t *testing.T) {
	others := map[string]string{"Open MPI": "libmpich.so.12", "Open MPI 5": "libmpich.so.12", "MPICH": "libmpi.so.40", "MPI ABI": "libmpi.so.40"}
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
		if limit := cmp.Or(k.start, 2*time.Second); best > limit {
			t.Errorf("4 ranks take %v, want %v at most", best, limit)
		}
	})
}
