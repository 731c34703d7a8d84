package vulkan

import (
	"fmt"
	"math"

	"leolm/device"
)

// topSegment is how many logits a work group of top.comp looks at.
const topSegment = 4096

// TopLogits implements device.TopFinder: only what it returns is read.
func (d *Device) TopLogits(logits *device.Tensor, vocab, k int) []device.TopLogits {
	if k < 1 || k > device.MostTop || k > vocab || vocab > logits.Cols {
		panic(fmt.Sprintf("device: the %d largest of %d logits in %v", k, vocab, logits))
	}
	made := 2 // few kernels serve all numbers
	for made < k {
		made *= 8
	}
	made = min(made, device.MostTop)
	segments, wide := (vocab+topSegment-1)/topSegment, 2*made+4
	rows := min(logits.Rows, mostGroups)
	found, result := d.New(rows, segments*wide), d.New(logits.Rows, wide)
	for lo := 0; lo < logits.Rows; lo += rows {
		n := min(rows, logits.Rows-lo)
		var p push
		p.addrs(d.at(logits)+uint64(4*lo*logits.Cols), d.at(found), d.at(result)+uint64(4*lo*wide))
		p.words(logits.Cols, vocab, segments)
		d.run(kernelKey{"top", [2]uint32{0, uint32(made)}}, &p, segments, n, false)
		d.run(kernelKey{"top", [2]uint32{1, uint32(made)}}, &p, 1, n, false)
	}
	values := make([]float32, logits.Rows*wide)
	d.Read(result, values)
	d.Release(found, result)
	out := make([]device.TopLogits, logits.Rows)
	for i := range out {
		v := values[i*wide : (i+1)*wide]
		t := &out[i]
		t.IDs, t.Logits = make([]int32, k), make([]float32, k)
		for j := range k {
			t.Logits[j], t.IDs[j] = v[2*j], int32(math.Float32bits(v[2*j+1]))
		}
		t.LogSumExp, t.Odd = float64(v[2*made]), math.Float32bits(v[2*made+1]) != 0
	}
	return out
}
