package qmat

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"leolm/internal/kernel/limits"
	"leolm/internal/largepage"
	"leolm/internal/pool"
	"leolm/tensor"
)

// BenchmarkProduct reports GB/s of packed weights and GOP/s (a multiplication and an
// addition count as two) over all workers, and which share that is of the read
// bandwidth and of the int8 peak, measured right before each run of the product
// (medians over the iterations: use -benchtime 9x or more). The weights of the small-M rows
// are larger than the third-level cache, so that they come from memory.
func BenchmarkProduct(b *testing.B) {
	p := pool.New(pool.Processors())
	defer p.Close()
	const k = 4096
	for _, d := range allTypes {
		w := benchWeights(b, d, 32768, k)
		for _, m := range []int{1, 2, 4, 8, 16} {
			benchProduct(b, p, w, m)
		}
		w = benchWeights(b, d, 4096, k)
		benchProduct(b, p, w, 512)
	}
}

func benchWeights(b *testing.B, d tensor.DType, n, k int) *Packed {
	size, err := PackedSize(d, n, k)
	if err != nil {
		b.Fatal(err)
	}
	raw := largepage.Make[byte](size + 64)
	raw = raw[-uintptr(unsafe.Pointer(&raw[0]))&63:][:size]
	w, err := NewPacked(d, n, k, raw)
	if err != nil {
		b.Fatal(err)
	}
	for i := range w.Data {
		w.Data[i] = byte(i) & 0x3b // no f16 infinity
	}
	return w
}

func benchProduct(b *testing.B, p *pool.Pool, w *Packed, m int) {
	b.Run(fmt.Sprintf("%v/%dx%d/M=%d", w.DType, w.Rows, w.Cols, m), func(b *testing.B) {
		x := make([]float32, m*w.Cols)
		for i := range x {
			x[i] = float32(i%61) - 30
		}
		var a Acts
		a.Quantize(x, m, w.Cols)
		t := Product{Dst: make([]float32, m*w.Rows), LDD: w.Rows, W: w, A: &a}
		reader := limits.NewReader(p.Workers())
		var read, ops, readShare, opsShare []float64
		for b.Loop() {
			bandwidth := reader.GBps(0)
			peak := limits.Int8Peak(p.Workers(), time.Millisecond)
			const runs = 3
			start := time.Now()
			for range runs {
				p.Do(t.Chunks(p.Workers()), &t)
			}
			s := time.Since(start).Seconds() / runs * 1e9
			read = append(read, float64(len(w.Data))/s)
			ops = append(ops, 2*float64(m)*float64(w.Rows)*float64(w.Cols)/s)
			readShare = append(readShare, read[len(read)-1]/bandwidth)
			opsShare = append(opsShare, ops[len(ops)-1]/peak)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(read), "GB/s")
		b.ReportMetric(median(ops), "GOP/s")
		b.ReportMetric(median(readShare)*100, "%read")
		b.ReportMetric(median(opsShare)*100, "%int8")
	})
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkQuantize rounds rows that stay in the second-level cache, and rows that come from memory.
func BenchmarkQuantize(b *testing.B) {
	const k = 4096
	for _, m := range []int{1, 16, 512} {
		b.Run(fmt.Sprint(m), func(b *testing.B) {
			x := make([]float32, m*k)
			for i := range x {
				x[i] = float32(i%61) - 30
			}
			var a Acts
			b.SetBytes(int64(len(x)) * 4)
			for b.Loop() {
				a.Quantize(x, m, k)
			}
		})
	}
}

// BenchmarkCore is what one core needs when the weights are in its second-level cache:
// the best of many short runs, which other work on the machine disturbs least. Where
// its GB/s exceed a core's share of the bandwidth, memory is the limit.
func BenchmarkCore(b *testing.B) {
	for _, d := range allTypes {
		w := benchWeights(b, d, 64, 4096)
		for _, m := range []int{1, 2, 4, 8, 16} {
			b.Run(fmt.Sprintf("%v/M=%d", d, m), func(b *testing.B) { benchCore(b, w, m) })
		}
	}
}

// BenchmarkLevels is BenchmarkCore at every level of this machine, those that other makers' processors take included.
func BenchmarkLevels(b *testing.B) {
	saved := active
	defer func() { active = saved }()
	for _, d := range allTypes {
		w := benchWeights(b, d, 64, 4096)
		for _, m := range []int{1, 4, 8, 16, 64} {
			for _, l := range everyLevel()[1:] {
				active = l.level
				b.Run(fmt.Sprintf("%v/M=%d/%s", d, m, l.name), func(b *testing.B) { benchCore(b, w, m) })
			}
		}
	}
}

func benchCore(b *testing.B, w *Packed, m int) {
	var a Acts
	a.Quantize(make([]float32, m*w.Cols), m, w.Cols)
	dst := make([]float32, m*w.Rows)
	best := time.Hour
	for b.Loop() {
		start := time.Now()
		Mul(dst, w.Rows, w, &a, 0, w.Panels(), 0, a.Tiles(), false)
		best = min(best, time.Since(start))
	}
	s := best.Seconds() * 1e9
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(w.Data))/s, "GB/s")
	b.ReportMetric(2*float64(m)*float64(w.Rows)*float64(w.Cols)/s, "GOP/s")
}

// BenchmarkPack is how fast one core packs, in bytes of the source.
func BenchmarkPack(b *testing.B) {
	for _, d := range allTypes {
		const n, k = 256, 4096
		w := benchWeights(b, d, n, k)
		row, _ := d.RowSize(k)
		src := make([]byte, n*row)
		b.Run(d.String(), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if err := w.Pack(func(i int) []byte { return src[i*row:][:row] }, 0, w.Panels()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDequantize is how fast one core expands panels to f32, in bytes written.
func BenchmarkDequantize(b *testing.B) {
	for _, d := range allTypes {
		w := benchWeights(b, d, 64, 4096)
		dst := make([]float32, PanelRows*w.Cols)
		b.Run(d.String(), func(b *testing.B) {
			b.SetBytes(int64(len(dst) * 4))
			for b.Loop() {
				w.DequantizePanel(dst, 1)
			}
		})
	}
}

// BenchmarkDequantizeRow is one embedding look-up.
func BenchmarkDequantizeRow(b *testing.B) {
	for _, d := range allTypes {
		w := benchWeights(b, d, 64, 4096)
		dst := make([]float32, w.Cols)
		b.Run(d.String(), func(b *testing.B) {
			for b.Loop() {
				w.DequantizeRow(dst, 17)
			}
		})
	}
}
