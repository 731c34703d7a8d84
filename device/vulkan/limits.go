package vulkan

import (
	"time"

	"leolm/internal/vulkan"
	"leolm/tensor"
)

// Limits are what a GPU can do, measured on it.
type Limits struct {
	Read float64 `json:"read_gb_per_second"` // of its memory
	F32  float64 `json:"f32_gflops"`
	// Matrix is that of products of float16 with sums in float32 on matrix units; 0: Leo has none to use.
	Matrix float64 `json:"matrix_gflops,omitzero"`
}

// Peak is the arithmetic that products with weights of that type use.
func (l Limits) Peak(dt tensor.DType) (gflops float64, name string) {
	if l.Matrix > 0 && dt != tensor.F32 && dt != tensor.F64 {
		return l.Matrix, "f16"
	}
	return l.F32, "f32"
}

// Sizes of the measurements.
const (
	mostRead    = 1 << 30 // bytes, more than caches hold
	peakGroups  = 2048
	enoughTime  = 50 * time.Millisecond
	leastRounds = 3
)

// Limits measures the GPU, for a second or less, and longer on drivers that compute on the processor. It needs up to a
// gigabyte of its memory while it runs.
func (d *Device) Limits() (Limits, error) {
	var l Limits
	n := min(mostRead, int(d.gpu.Available())/4) / 4096 * 4096
	if d.Processor() {
		n = min(n, mostRead/16)
	}
	b, err := d.gpu.Alloc(int64(n), vulkan.Local)
	if err != nil {
		return l, memoryError("measuring the GPU", err)
	}
	defer d.gpu.Free(b)
	l.Read, err = d.rate(float64(n), func(times int) {
		for range times {
			var p push
			p.addrs(b.Addr, b.Addr)
			p.words(n / 16)
			d.run(kernelKey{shader: "bandwidth"}, &p, peakGroups, 1, false)
		}
	})
	if err != nil {
		return l, err
	}
	l.F32, err = d.rate(peakGroups*256*64*2, func(times int) {
		var p push
		p.addrs(b.Addr)
		p.words(times)
		d.run(kernelKey{shader: "peak"}, &p, peakGroups, 1, false)
	})
	if err != nil || d.matrix == (vulkan.Matrix{}) {
		return l, err
	}
	const subgroups, chains = 8, 8
	key := matrixKey{"matrix/peak", [10]uint32{0, uint32(subgroups * d.gpu.Info().Lanes), uint32(d.matrix.M), uint32(d.matrix.N), uint32(d.matrix.K)}}
	l.Matrix, err = d.rate(peakGroups*subgroups*chains*2*float64(d.matrix.M*d.matrix.N*d.matrix.K), func(times int) {
		var p push
		p.addrs(0, 0, 0, 0, b.Addr, 0)
		p.words(0, 0, 0, times, 0)
		if k := d.matrixKernel(key); k != nil {
			d.gpu.Dispatch(k, p.b[:p.n], peakGroups, 1, 1, false)
		}
	})
	return l, err
}

// rate is how many billions of work units a second get done, at best: record records work that does that many each time.
func (d *Device) rate(work float64, record func(times int)) (float64, error) {
	best := 0.0
	for times, rounds := 1, 0; rounds < leastRounds; {
		start := time.Now()
		record(times)
		if err := d.Sync(); err != nil {
			return 0, err
		}
		took := time.Since(start)
		if took < enoughTime && times < 1<<20 {
			times *= 2
			continue
		}
		best = max(best, work*float64(times)/took.Seconds()/1e9)
		rounds++
	}
	return best, nil
}
