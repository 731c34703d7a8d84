package cpu

import "testing"

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
