// Package boundtest enforces limits of memory and time inside tests of code that
// reads hostile input.
package boundtest

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

const (
	allocs = "/gc/heap/allocs:bytes"
	live   = "/memory/classes/heap/objects:bytes"
)

func read(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// Run runs f and fails the test if f allocates more than limit bytes in all or
// takes longer than d. If the heap grows by four times the limit meanwhile,
// the process is ended before it exhausts the machine.
func Run(t testing.TB, limit uint64, d time.Duration, f func()) {
	t.Helper()
	stop := make(chan struct{})
	defer close(stop)
	before := read(live)
	go func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				if n := read(live); n > before+4*limit {
					buf := make([]byte, 1<<16)
					fmt.Fprintf(os.Stderr, "the heap has grown by %d bytes, more than four times the limit of %d\n%s", n-before, limit, buf[:runtime.Stack(buf, true)])
					os.Exit(2)
				}
			}
		}
	}()
	start, at := time.Now(), read(allocs)
	f()
	if n := read(allocs) - at; n > limit {
		t.Errorf("%d bytes were allocated, more than %d", n, limit)
	}
	if took := time.Since(start); took > d {
		t.Errorf("took %v, more than %v", took, d)
	}
}
