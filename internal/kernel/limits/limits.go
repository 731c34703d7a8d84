// Package limits measures how fast this machine is: read bandwidth and the
// arithmetic peaks in f32, bf16 and int8.
// Benchmarks print their results as a fraction of them.
//
// The probes are small assembly loops without memory traffic or without
// arithmetic; nothing here depends on the kernels they judge.
package limits

import (
	"runtime"
	"sync"
	"time"
	"unsafe"

	"leolm/internal/largepage"
)

// Limits are rates of all threads together: bytes read from memory in GB/s,
// and billions of operations per second, where a multiplication and an addition
// count as two. 0 means that the machine lacks the instructions.
type Limits struct {
	Threads int     `json:"threads"`
	Read    float64 `json:"read_gb_per_s"`
	F32     float64 `json:"f32_gflop_per_s"`
	BF16    float64 `json:"bf16_gflop_per_s"`
	Int8    float64 `json:"int8_gop_per_s"`
}

// probe runs n iterations and returns the operations (or bytes) of one.
type probe struct {
	run func(n int)
	ops float64
}

// ReadBuffer is the memory that Measure reads: more than any cache here.
const ReadBuffer = 512 << 20

// Measure runs every probe on the given number of threads at the same time,
// several times for at least d in sum, and returns the best rate of each: other
// work on the machine only ever slows a probe down.
func Measure(threads int, d time.Duration) Limits {
	threads = max(threads, 1)
	l := Limits{Threads: threads, Read: NewReader(threads).GBps(d)}
	f32, bf16, int8 := probes()
	for _, p := range []struct {
		to    *float64
		probe probe
	}{{&l.F32, f32}, {&l.BF16, bf16}, {&l.Int8, int8}} {
		if p.probe.run != nil {
			*p.to = peak(p.probe, threads, d)
		}
	}
	return l
}

// Int8Peak measures the int8 rate alone, in GOP/s.
func Int8Peak(threads int, d time.Duration) float64 {
	_, _, p := probes()
	if p.run == nil {
		return 0
	}
	return peak(p, max(threads, 1), d)
}

func peak(p probe, threads int, d time.Duration) float64 {
	const n = 100000 // about 0.3 ms
	best := 0.0
	for end := time.Now().Add(d); time.Now().Before(end); {
		rate := together(threads, func(int) float64 {
			start := time.Now()
			p.run(n)
			return n * p.ops / time.Since(start).Seconds()
		})
		best = max(best, rate)
	}
	return best / 1e9
}

// together runs f on n threads at once and adds up the rates.
func together(n int, f func(thread int) float64) float64 {
	var ready, wg sync.WaitGroup
	ready.Add(n)
	rates := make([]float64, n)
	for i := range n {
		wg.Go(func() {
			ready.Done()
			ready.Wait()
			rates[i] = f(i)
		})
	}
	wg.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}

// Reader measures read bandwidth repeatedly on the same memory, interleaved with the
// benchmarks that are compared with it.
type Reader struct {
	threads int
	buf     []byte
}

// NewReader allocates and touches the memory.
func NewReader(threads int) *Reader {
	r := &Reader{max(threads, 1), largepage.Make[byte](ReadBuffer)}
	together(r.threads, func(i int) float64 {
		part := r.part(i)
		for j := 0; j < len(part); j += 4096 {
			part[j] = 1
		}
		return 0
	})
	return r
}

func (r *Reader) part(i int) []byte {
	n := len(r.buf) / r.threads &^ 4095
	return r.buf[i*n : (i+1)*n]
}

// GBps reads the memory until d has passed, twice at least, and returns the best rate. Once is not enough: a virtual
// machine may have to fetch memory back that it had not used for a while.
func (r *Reader) GBps(d time.Duration) float64 {
	best := 0.0
	end := time.Now().Add(d)
	for n := 0; n < 2 || time.Now().Before(end); n++ {
		best = max(best, together(r.threads, func(i int) float64 {
			part := r.part(i)
			start := time.Now()
			read(part)
			return float64(len(part)) / time.Since(start).Seconds()
		}))
	}
	return best / 1e9
}

// readGo is read in plain Go.
func readGo(b []byte) {
	p := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
	var s0, s1, s2, s3 uint64
	for ; len(p) >= 4; p = p[4:] {
		s0, s1, s2, s3 = s0^p[0], s1^p[1], s2^p[2], s3^p[3]
	}
	runtime.KeepAlive(s0 ^ s1 ^ s2 ^ s3)
}

// probesGo are the scalar peaks, for machines or levels without assembly.
func probesGo() (f32, bf16, int8 probe) {
	f32 = probe{func(n int) {
		var a [8]float32
		x, y := float32(n), float32(1)/float32(n)
		for range n {
			for i := range a {
				a[i] += x * y
			}
		}
		runtime.KeepAlive(a)
	}, 16}
	int8 = probe{func(n int) {
		var a [8]int32
		x := int32(n)
		for range n {
			for i := range a {
				a[i] += x * int32(i)
			}
		}
		runtime.KeepAlive(a)
	}, 16}
	return f32, bf16, int8
}
