//go:build linux

package gemm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"leolm/internal/kernel/cpu"
)

// BenchmarkPeak measures what one core can do at all: a register tile whose
// operands stay in the first-level cache.
func BenchmarkPeak(b *testing.B) {
	const k = 64
	buf := make([]float32, maxRows*k+PanelWidth*k+maxRows*PanelWidth)
	p := product{a32: buf, ak: 1, am: k}
	ap, am, ak, _ := p.inPlace(0, 0)
	for kd, name := range []string{"f32", "bf16"} {
		b.Run(name, func(b *testing.B) {
			p.b = asPointer(buf[maxRows*k:])
			measure(b, "GFLOP/s", 2*maxRows*PanelWidth*k*1000*float64(1+kd), func() {
				runTile(kind(kd), &tile{c: asPointer(buf[maxRows*k+PanelWidth*k:]), ldc: 128, cPanel: 0, a: ap, am: am, ak: ak, b: p.b, bk: 128, bPanel: 0, steps: k, m: maxRows, panels: 1000, add: 1})
			})
		})
	}
}

// measure runs f b.N times and reports the rate in units of 1e9 per second of
// the thread's own CPU time, so that other programs on the machine disturb the
// result only through the caches.
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

// BenchmarkMul runs products of Llama shapes on one core, every level.
func BenchmarkMul(b *testing.B) {
	defer use(cpu.Active)
	for _, s := range [][3]int{{512, 288, 288}, {512, 768, 288}, {512, 288, 768}, {512, 768, 768}, {2048, 2048, 768}, {2048, 768, 2048}, {512, 32000, 288}, {512, 4096, 4096}, {14, 4096, 4096}, {8, 4096, 4096}} {
		m, n, k := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 1))
		a, bb, c := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
		fill(r, a)
		fill(r, bb)
		p32, p16, a16 := make([]float32, PackedLenF32(n, k)), make([]uint16, PackedLenBF16(n, k)), toBF16(a)
		PackF32(p32, bb, 1, k, n, k, 0, Panels(n))
		PackBF16FromF32(p16, bb, 1, k, n, k, 0, Panels(n))
		for _, l := range cpu.Presets() {
			if l == cpu.Generic || l.Has(cpu.VNNI) && l&(cpu.BF16|cpu.AMX) == 0 || l.Has(cpu.Wide) {
				continue
			}
			use(l)
			name := fmt.Sprintf("%dx%dx%d/%v", m, n, k, l)
			b.Run(name+"/f32", func(b *testing.B) {
				measure(b, "GFLOP/s", 2*float64(m)*float64(n)*float64(k), func() {
					MulF32(c, n, a, k, 1, p32, n, k, 0, m, 0, Panels(n), false)
				})
			})
			b.Run(name+"/bf16", func(b *testing.B) {
				measure(b, "GFLOP/s", 2*float64(m)*float64(n)*float64(k), func() {
					MulBF16(c, n, a16, k, 1, p16, n, k, 0, m, 0, Panels(n), false)
				})
			})
			if l&(cpu.BF16|cpu.AMX) == 0 {
				continue
			}
			b.Run(name+"/bf16 from f32", func(b *testing.B) {
				measure(b, "GFLOP/s", 2*float64(m)*float64(n)*float64(k), func() {
					MulBF16FromF32(c, n, a, k, 1, p16, n, k, 0, m, 0, Panels(n), false)
				})
			})
			b.Run(name+"/f16", func(b *testing.B) {
				measure(b, "GFLOP/s", 2*float64(m)*float64(n)*float64(k), func() {
					MulF16(c, n, a, k, 1, p16, n, k, 0, m, 0, Panels(n), false)
				})
			})
		}
	}
}

// BenchmarkGradient is dW = dYᵀ·X, packing of X included.
func BenchmarkGradient(b *testing.B) {
	for _, s := range [][3]int{{288, 288, 512}, {768, 768, 2048}, {2048, 768, 2048}} {
		m, n, k := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 1))
		dy, x, dw := make([]float32, k*m), make([]float32, k*n), make([]float32, m*n)
		fill(r, dy)
		fill(r, x)
		p32, p16 := make([]float32, PackedLenF32(n, k)), make([]uint16, PackedLenBF16(n, k))
		b.Run(fmt.Sprintf("%dx%dx%d/f32", m, n, k), func(b *testing.B) {
			measure(b, "GFLOP/s", 2*float64(m)*float64(n)*float64(k), func() {
				PackF32(p32, x, n, 1, n, k, 0, Panels(n))
				MulF32(dw, n, dy, 1, m, p32, n, k, 0, m, 0, Panels(n), true)
			})
		})
		b.Run(fmt.Sprintf("%dx%dx%d/bf16", m, n, k), func(b *testing.B) {
			measure(b, "GFLOP/s", 2*float64(m)*float64(n)*float64(k), func() {
				PackBF16FromF32(p16, x, n, 1, n, k, 0, Panels(n))
				MulBF16FromF32(dw, n, dy, 1, m, p16, n, k, 0, m, 0, Panels(n), true)
			})
		})
	}
}

// BenchmarkStream is decoding: B far larger than the caches, few rows.
func BenchmarkStream(b *testing.B) {
	n, k := 8192, 8192
	p32 := make([]float32, PackedLenF32(n, k))
	for i := range p32 {
		p32[i] = 1
	}
	p16 := make([]uint16, PackedLenBF16(n, k))
	for i := range p16 {
		p16[i] = 1
	}
	b.Run("read", func(b *testing.B) {
		var sum float32
		measure(b, "GB/s", float64(len(p32)*4), func() {
			sum += readAll(p32)
		})
	})
	for _, m := range []int{1, 2, 4, 8, 14} {
		a, c, a16 := make([]float32, m*k), make([]float32, m*n), make([]uint16, m*k)
		for _, x := range []struct {
			name  string
			bytes int
			f     func()
		}{
			{"f32", len(p32) * 4, func() { MulF32(c, n, a, k, 1, p32, n, k, 0, m, 0, Panels(n), false) }},
			{"bf16", len(p16) * 2, func() { MulBF16(c, n, a16, k, 1, p16, n, k, 0, m, 0, Panels(n), false) }},
			{"f16", len(p16) * 2, func() { MulF16(c, n, a, k, 1, p16, n, k, 0, m, 0, Panels(n), false) }},
		} {
			b.Run(fmt.Sprintf("%s/m%d", x.name, m), func(b *testing.B) {
				measure(b, "GB/s", float64(x.bytes), func() {
					x.f()
				})
			})
		}
	}
}

// readAll touches every cache line in order through the widest kernel at
// hand: a product of one row that is all zeros.
func readAll(x []float32) float32 {
	var zero [PanelWidth]float32
	var c [PanelWidth]float32
	steps := len(x) / PanelWidth
	runTile(kindF32, &tile{c: asPointer(c[:]), ldc: 128, a: asPointer(zero[:]), b: asPointer(x), bk: 128, steps: steps, m: 1, panels: 1})
	return c[0]
}

func asPointer(x []float32) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(x)) }

// BenchmarkPack reads X[2048, 768] along either side.
func BenchmarkPack(b *testing.B) {
	n, k := 768, 2048
	x, h := make([]float32, n*k), make([]uint16, n*k)
	p32, p16 := make([]float32, PackedLenF32(n, k)), make([]uint16, PackedLenBF16(n, k))
	for _, c := range []struct {
		name   string
		ks, js int
	}{{"rows of k", n, 1}, {"columns of k", 1, k}} {
		b.Run(c.name+"/f32", func(b *testing.B) {
			measure(b, "GB/s", float64(4*n*k), func() { PackF32(p32, x, c.ks, c.js, n, k, 0, Panels(n)) })
		})
		b.Run(c.name+"/f16", func(b *testing.B) {
			measure(b, "GB/s", float64(2*n*k), func() { PackF16(p16, h, c.ks, c.js, n, k, 0, Panels(n)) })
		})
		b.Run(c.name+"/bf16 from f32", func(b *testing.B) {
			measure(b, "GB/s", float64(4*n*k), func() { PackBF16FromF32(p16, x, c.ks, c.js, n, k, 0, Panels(n)) })
		})
	}
}
