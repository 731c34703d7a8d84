package cpu

import (
	"testing"

	"leolm/device"
)

// Batches that grow leave no buffers of every length behind: what is held stays near what lives at most.
func TestGrowingBatchesHoldLittle(t *testing.T) {
	d := newDevice(t)
	most := 0
	for rows := 64; rows <= 4096; rows += 64 {
		var ts []*device.Tensor
		for range 8 {
			ts = append(ts, d.New(rows, 512))
		}
		most = max(most, d.Memory().Tensors)
		d.Release(ts...)
	}
	if held := d.Memory().Arena; held > most+most/10 {
		t.Errorf("%d bytes are held, %d lived at most", held, most)
	}
	// Fixed shapes take no new memory, whatever came before.
	before := d.Memory().Arena
	for range 3 {
		for _, rows := range []int{4096, 100, 2000} {
			var ts []*device.Tensor
			for range 8 {
				ts = append(ts, d.New(rows, 512))
			}
			d.Release(ts...)
		}
	}
	if after := d.Memory().Arena; after > before+8*4*512*256 {
		t.Errorf("%d bytes are held after shorter batches, %d before", after, before)
	}
}
