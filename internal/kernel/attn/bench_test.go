//go:build linux

package attn

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"leolm/internal/kernel/limits"
	"leolm/internal/largepage"
	"leolm/internal/pool"
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

// BenchmarkDecode is one query at the end of 8192 keys of 32 heads, or of 8 heads that four
// queries share, on all workers; keys and values lie in pages of 256 positions, as in
// the cache of package device. It reports the bytes of keys and values per second and
// their share of the read bandwidth that was measured right before (medians).
func BenchmarkDecode(b *testing.B) {
	const dim, keys = 128, 8192
	p := pool.New(pool.Processors())
	defer p.Close()
	reader := limits.NewReader(p.Workers())
	for _, ty := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16, tensor.Q8_0} {
		row, _ := ty.RowSize(dim)
		for _, group := range []int{1, 4} {
			heads := 32 / group
			memory := largepage.Make[byte](heads * keys * row * 2)
			for i := range memory {
				memory[i] = 0x11
			}
			at := func(page, kv, head int) Rows {
				part := memory[((page*2+kv)*heads+head)*Split*row:][:Split*row]
				r := Rows{Type: ty, Stride: dim}
				switch ty {
				case tensor.F32:
					r.F32 = unsafe.Slice((*float32)(unsafe.Pointer(&part[0])), len(part)/4)
				case tensor.Q8_0:
					r.Bytes, r.Stride = part, row
				default:
					r.Half = unsafe.Slice((*uint16)(unsafe.Pointer(&part[0])), len(part)/2)
				}
				return r
			}
			problem := newProblem(rand.New(rand.NewPCG(1, 1)), dim, group, 1, 0, 0)
			blocks, outs := make([]*Block, heads), make([]*Output, heads)
			for h := range blocks {
				bl := problem.block()
				bl.Pos, bl.Runs = keys-1, nil
				for page := range keys / Split {
					bl.Runs = append(bl.Runs, Run{K: at(page, 0, h), V: at(page, 1, h), N: Split})
				}
				o := *problem.output()
				o.O, o.LSE = make([]float32, len(o.O)), nil
				blocks[h], outs[h] = bl, &o
			}
			scratch := make([]Scratch, p.Workers())
			b.Run(fmt.Sprintf("%v/group%d", ty, group), func(b *testing.B) {
				var rate, share []float64
				for b.Loop() {
					bandwidth := reader.GBps(0)
					start := time.Now()
					p.Run(heads, func(worker, h int) {
						if err := blocks[h].Forward(outs[h], &scratch[worker]); err != nil {
							panic(err)
						}
					})
					rate = append(rate, float64(len(memory))/time.Since(start).Seconds()/1e9)
					share = append(share, rate[len(rate)-1]/bandwidth)
				}
				slices.Sort(rate)
				slices.Sort(share)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(rate[len(rate)/2], "GB/s")
				b.ReportMetric(rate[len(rate)-1], "best-GB/s")
				b.ReportMetric(100*share[len(share)/2], "%read")
			})
		}
	}
}
