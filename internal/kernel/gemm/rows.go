package gemm

import (
	"fmt"
	"unsafe"

	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// MaxRowsTile is the largest number of rows of A that TileRows takes.
const MaxRowsTile = 8

// TileRows is TileF32 with B in rows of a cache type, read in place: row k
// starts at byte k·bk of b and holds n elements (a multiple of 32) of type f32,
// f16, bf16 or q8_0, which are widened exactly, so the result has the bits of
// TileF32 on the widened rows, and with add a sum goes on where another left it. m is at most MaxRowsTile. next, if not nil, is what
// the caller reads afterwards: its start is prefetched. TileRows reports false,
// having done nothing, where the CPU level has no such kernel.
func TileRows(c []float32, ldc int, a []float32, am, ak int, ty tensor.DType, b []byte, bk, m, n, k int, add bool, next unsafe.Pointer) bool {
	if !hasTileRows() {
		return false
	}
	width := 0 // bytes of 32 elements
	switch ty {
	case tensor.F32:
		width = 128
	case tensor.F16, tensor.BF16:
		width = 64
	case tensor.Q8_0:
		width = vec.Q8Block
	default:
		return false
	}
	if m <= 0 || m > MaxRowsTile || n <= 0 || n%PanelWidth != 0 || k <= 0 {
		return false
	}
	if (m-1)*ldc+n > len(c) || (m-1)*am+(k-1)*ak >= len(a) || (k-1)*bk+n/PanelWidth*width > len(b) {
		panic(fmt.Sprintf("gemm: rows tile %d×%d×%d outside its slices (c %d, a %d, b %d)", m, n, k, len(c), len(a), len(b)))
	}
	runTileRows(ty, &tile{c: unsafe.Pointer(&c[0]), ldc: ldc * 4, cPanel: PanelWidth * 4, a: unsafe.Pointer(&a[0]), am: am * 4, ak: ak * 4,
		b: unsafe.Pointer(&b[0]), bk: bk, bPanel: width, steps: k, m: m, panels: n / PanelWidth, add: b2i(add)}, next)
	return true
}
