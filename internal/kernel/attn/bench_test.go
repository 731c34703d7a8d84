//go:build linux

package attn

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// measure runs f b.N times and reports the rate in units of 1e9 per second of
// the thread's own CPU time.
func measure(b *testing.B, unit string, work float64, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var t0, t1 unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &t0)
	for b.Loop() {
		f()
	}
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &t1)
	b.ReportMetric(work*float64(b.N)/float64(t1.Utime.Nano()-t0.Utime.Nano()+t1.Stime.Nano()-t0.Stime.Nano()), unit)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTrain counts causal (half) attention: 2·T²·dim forward, 5·T²·dim backward.
func BenchmarkTrain(b *testing.B) {
	for _, c := range []struct{ dim, keys int }{{48, 512}, {64, 512}, {64, 2048}, {128, 2048}} {
		p := newProblem(rand.New(rand.NewPCG(1, 1)), c.dim, 1, c.keys, 0, 0)
		bl, out := p.block(), p.output()
		var s Scratch
		flop := float64(c.keys) * float64(c.keys) * float64(c.dim)
		b.Run(fmt.Sprintf("forward/dim%d/T%d", c.dim, c.keys), func(b *testing.B) {
			measure(b, "GFLOP/s", 2*flop, func() { _ = bl.Forward(out, &s) })
		})
		g := &Grad{Output: *out, DO: p.do, DQ: make([]float32, len(p.q)), DK: make([]float32, len(p.k)), DV: make([]float32, len(p.v)), DKStride: p.dim}
		b.Run(fmt.Sprintf("backward/dim%d/T%d", c.dim, c.keys), func(b *testing.B) {
			measure(b, "GFLOP/s", 5*flop, func() { _ = bl.Backward(g, &s) })
		})
		hb, hg := p.half()
		b.Run(fmt.Sprintf("forward/bf16/dim%d/T%d", c.dim, c.keys), func(b *testing.B) {
			measure(b, "GFLOP/s", 2*flop, func() { _ = hb.Forward(&hg.Output, &s) })
		})
		b.Run(fmt.Sprintf("backward/bf16/dim%d/T%d", c.dim, c.keys), func(b *testing.B) {
			measure(b, "GFLOP/s", 5*flop, func() { _ = hb.Backward(hg, &s) })
		})
	}
}

// BenchmarkDecode is one query at the end of 8192 keys of 8 heads, each head's
// rows in one stretch.
func BenchmarkDecode(b *testing.B) {
	const dim, keys, kvHeads = 128, 8192, 8
	for _, ty := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.Q8_0} {
		for _, group := range []int{1, 4} {
			b.Run(fmt.Sprintf("%v/group%d", ty, group), func(b *testing.B) {
				p := newProblem(rand.New(rand.NewPCG(1, 1)), dim, group, 1, 0, 0)
				out := p.output()
				blocks := make([]*Block, kvHeads)
				n, bytes := dim*keys*kvHeads, 0
				kv := [2]Rows{}
				for i := range kv {
					r := &kv[i]
					r.Type, r.Stride = ty, dim
					switch ty {
					case tensor.F32:
						r.F32, bytes = make([]float32, n), 4*n
						for j := range r.F32 {
							r.F32[j] = 0x11
						}
					case tensor.Q8_0:
						bytes = n / 32 * vec.Q8Block
						r.Bytes, r.Stride = make([]byte, bytes), dim/32*vec.Q8Block
						for j := range r.Bytes {
							r.Bytes[j] = 0x11
						}
					default:
						r.Half, bytes = make([]uint16, n), 2*n
						for j := range r.Half {
							r.Half[j] = 0x11
						}
					}
				}
				for h := range blocks {
					bl := p.block()
					k, v := kv[0], kv[1]
					for _, r := range []*Rows{&k, &v} {
						switch ty {
						case tensor.F32:
							r.F32 = r.F32[h*keys*dim:]
						case tensor.Q8_0:
							r.Bytes = r.Bytes[h*keys*dim/32*vec.Q8Block:]
						default:
							r.Half = r.Half[h*keys*dim:]
						}
					}
					bl.Pos = keys - 1
					bl.Runs = []Run{{K: k, V: v, N: keys}}
					blocks[h] = bl
				}
				var s Scratch
				measure(b, "GB/s", float64(2*bytes), func() {
					for _, bl := range blocks {
						if err := bl.Forward(out, &s); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}
