package pool

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counts is a task that notes how often each chunk ran and whether two calls
// at once shared a worker number.
type counts struct {
	ran    []atomic.Int32
	inside []atomic.Int32
	shared atomic.Bool
}

func newCounts(chunks, workers int) *counts {
	return &counts{ran: make([]atomic.Int32, chunks), inside: make([]atomic.Int32, workers)}
}

func (c *counts) Do(worker, chunk int) {
	if c.inside[worker].Add(1) != 1 {
		c.shared.Store(true)
	}
	c.ran[chunk].Add(1)
	c.inside[worker].Add(-1)
}

func (c *counts) check(t *testing.T) {
	t.Helper()
	for i := range c.ran {
		if n := c.ran[i].Load(); n != 1 {
			t.Fatalf("chunk %d of %d ran %d times", i, len(c.ran), n)
		}
	}
	if c.shared.Load() {
		t.Fatal("two chunks ran at once under one worker number")
	}
}

func TestEveryChunkOnce(t *testing.T) {
	for _, workers := range []int{-1, 1, 2, 3, 9} {
		p := New(workers)
		for _, chunks := range []int{0, 1, 2, 3, 7, 64, 1000} {
			for range 20 {
				c := newCounts(chunks, p.Workers())
				p.Do(chunks, c)
				c.check(t)
			}
		}
		// After a park.
		time.Sleep(time.Millisecond)
		c := newCounts(50, p.Workers())
		p.Do(50, c)
		c.check(t)
		p.Close()
		c = newCounts(50, p.Workers())
		p.Do(50, c)
		c.check(t)
	}
}

func TestManyOperationsInARow(t *testing.T) {
	p := New(2)
	defer p.Close()
	sum := make([]int, 8) // plain memory: the race detector sees missing order
	for i := range 20000 {
		p.Run(len(sum), func(_, chunk int) { sum[chunk]++ })
		if i%1000 == 0 {
			time.Sleep(200 * time.Microsecond)
		}
	}
	for i, s := range sum {
		if s != 20000 {
			t.Fatalf("chunk %d ran %d times", i, s)
		}
	}
}

func TestNestedAndConcurrent(t *testing.T) {
	p := New(3)
	defer p.Close()
	var wg sync.WaitGroup
	var total atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 200 {
				p.Run(5, func(_, _ int) {
					p.Run(4, func(_, _ int) { total.Add(1) })
				})
			}
		})
	}
	wg.Wait()
	if total.Load() != 8*200*20 {
		t.Fatalf("%d inner chunks ran", total.Load())
	}
}

func TestPanicReachesCaller(t *testing.T) {
	p := New(3)
	defer p.Close()
	for i := range 200 {
		func() {
			defer func() {
				err, ok := recover().(error)
				if !ok || !strings.Contains(err.Error(), "broken chunk") || !strings.Contains(err.Error(), "pool_test.go") {
					t.Fatalf("recovered %v", err)
				}
			}()
			p.Run(20, func(_, chunk int) {
				if chunk == i%20 {
					panic("broken chunk")
				}
			})
			t.Fatal("no panic")
		}()
		c := newCounts(20, 3)
		p.Do(20, c)
		c.check(t)
	}
}

func TestGoexitInWorker(t *testing.T) {
	p := New(2)
	defer p.Close()
	for range 20 {
		var once sync.Once
		func() {
			defer func() { recover() }()
			p.Run(64, func(worker, _ int) {
				if worker == 1 {
					once.Do(runtime.Goexit)
				}
				time.Sleep(10 * time.Microsecond)
			})
		}()
		c := newCounts(64, 2)
		p.Do(64, c)
		c.check(t)
	}
}

// The collector stops the world while workers spin, run and park.
func TestCollectorStops(t *testing.T) {
	p := New(Processors())
	defer p.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				p.Run(16, func(_, _ int) { pause(100) })
			}
		}
	})
	var keep [][]byte
	start := time.Now()
	for i := range 100 {
		keep = append(keep, make([]byte, 1<<16))
		if i%10 == 9 {
			keep = nil
		}
		runtime.GC()
	}
	close(stop)
	wg.Wait()
	if d := time.Since(start); d > 15*time.Second {
		t.Fatalf("100 collections took %v: workers hold up the world", d)
	}
	runtime.KeepAlive(keep)
}

func TestNoAllocation(t *testing.T) {
	p := New(2)
	defer p.Close()
	c := newCounts(8, 2)
	if n := testing.AllocsPerRun(200, func() { p.Do(8, c) }); n != 0 {
		t.Fatalf("%v allocations per operation", n)
	}
}

// A worker that parked must not be waited for: an operation whose chunks the
// caller can finish alone ends although no worker ever wakes.
func TestCallerNeedsNoWorker(t *testing.T) {
	p := New(2)
	defer p.Close()
	p.Run(2, func(_, _ int) {})
	hold := make(chan struct{})
	done := make(chan struct{})
	var held atomic.Bool
	go func() { // occupy the worker with an operation of its own
		p.Run(2, func(worker, _ int) {
			if worker == 1 {
				held.Store(true)
			}
			<-hold
		})
		close(done)
	}()
	time.Sleep(5 * time.Millisecond)
	c := newCounts(100, 2)
	p.Do(100, c)
	c.check(t)
	close(hold)
	<-done
}

func TestQuota(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"none": {map[string]string{"proc/self/cgroup": "0::/\n"}, 0},
		"v2": {map[string]string{
			"proc/self/cgroup":        "0::/a/b\n",
			"sys/fs/cgroup/a/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 1.5},
		"v2 container": {map[string]string{
			"proc/self/cgroup":      "0::/docker/xyz\n",
			"sys/fs/cgroup/cpu.max": "200000 100000"}, 2},
		"v1": {map[string]string{
			"proc/self/cgroup": "7:memory:/a\n4:cpu,cpuacct:/a\n",
			"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"}, 0.5},
		"v1 unlimited": {map[string]string{
			"proc/self/cgroup":                   "4:cpu:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 0},
		"garbage": {map[string]string{"proc/self/cgroup": "0::/x\nnonsense", "sys/fs/cgroup/x/cpu.max": "a b"}, 0},
	} {
		root := t.TempDir()
		for f, text := range c.files {
			f = filepath.Join(root, f)
			if err := os.MkdirAll(filepath.Dir(f), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := quota(root); got != c.want {
			t.Errorf("%s: quota %v, want %v", name, got, c.want)
		}
	}
	if n := Processors(); n < 1 || n > runtime.NumCPU() {
		t.Errorf("Processors() = %d", n)
	}
}

// What handing over an operation costs when its work is nearly nothing.
func BenchmarkDispatch(b *testing.B) {
	p := New(Processors())
	defer p.Close()
	c := newCounts(2, p.Workers())
	b.ReportAllocs()
	for b.Loop() {
		p.Do(2, c)
	}
}

// The same with two chunks of 20 µs each: the time above 20 µs is the cost.
func BenchmarkTwoChunks20us(b *testing.B) {
	p := New(Processors())
	defer p.Close()
	work := funcTask(func(_, _ int) {
		for end := time.Now().Add(20 * time.Microsecond); time.Now().Before(end); {
		}
	})
	for b.Loop() {
		p.Do(2, work)
	}
}
