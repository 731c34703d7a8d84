package device

import (
	"testing"

	"leolm/internal/pool"
)

// However a product is cut, its chunks cover every row and panel once, and small products have chunks for all workers.
func TestGridCoversProducts(t *testing.T) {
	for _, workers := range []int{1, 2, 7, 64} {
		for _, m := range []int{0, 1, 13, 56, 57, 192, 225, 288, 768, 4096, 32000} {
			for _, panels := range []int{0, 1, 5, 12, 16, 18, 48, 2000} {
				rowChunks, panelChunks, per := grid(m, panels, workers)
				if m == 0 || panels == 0 {
					if rowChunks*panelChunks != 0 {
						t.Errorf("%d rows and %d panels: %d × %d chunks", m, panels, rowChunks, panelChunks)
					}
					continue
				}
				if per < 1 || (rowChunks-1)*per >= m || rowChunks*per < m || panelChunks < 1 || panelChunks > panels {
					t.Errorf("%d rows, %d panels, %d workers: %d chunks of %d rows, %d of panels", m, panels, workers, rowChunks, per, panelChunks)
				}
			}
		}
	}
	// The gradient of a 192 × 192 weight, once a single chunk.
	if r, p, _ := grid(192, 12, 2); r*p < 4 {
		t.Errorf("192 × 192 on two workers: %d × %d chunks", r, p)
	}
}

// Batches that grow leave no buffers of every length behind: what is held stays near what lives at most.
func TestGrowingBatchesHoldLittle(t *testing.T) {
	d := NewCPU(pool.Default())
	most := 0
	for rows := 64; rows <= 4096; rows += 64 {
		var ts []*Tensor
		for range 8 {
			ts = append(ts, d.New(rows, 512))
		}
		most = max(most, d.LiveTensors())
		d.Release(ts...)
	}
	if held := d.ArenaBytes(); held > most+most/10 {
		t.Errorf("%d bytes are held, %d lived at most", held, most)
	}
	// Fixed shapes take no new memory, whatever came before.
	before := d.ArenaBytes()
	for range 3 {
		for _, rows := range []int{4096, 100, 2000} {
			var ts []*Tensor
			for range 8 {
				ts = append(ts, d.New(rows, 512))
			}
			d.Release(ts...)
		}
	}
	if after := d.ArenaBytes(); after > before+8*4*512*256 {
		t.Errorf("%d bytes are held after shorter batches, %d before", after, before)
	}
}
