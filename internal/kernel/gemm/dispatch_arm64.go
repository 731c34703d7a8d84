package gemm

import (
	"unsafe"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

//go:noescape
func tileF32x4(t *tile)

//go:noescape
func tileF32x1(t *tile)

//go:noescape
func tileF16x4(t *tile)

//go:noescape
func tileF16x1(t *tile)

//go:noescape
func tileBF16x4(t *tile)

//go:noescape
func tileBF16x1(t *tile)

func runTile(kd kind, t *tile) {
	if !level.Has(cpu.NEON) {
		genericTile(kd, t, PanelWidth)
		return
	}
	for p := range t.panels {
		for half := range 2 {
			h := *t
			h.c = unsafe.Add(t.c, p*t.cPanel+half*PanelWidth/2*4)
			h.b = unsafe.Add(t.b, p*t.bPanel+half*kd.bytesPerStep()/2)
			neonTile(kd, &h)
		}
	}
}

// runHalfTile multiplies f32 or bf16 panels of 16 columns.
func runHalfTile(kd kind, t *tile) {
	if !level.Has(cpu.NEON) {
		genericTile(kd, t, PanelWidth/2)
		return
	}
	neonTile(kd, t)
}

func zipRows([]uint32, int, []uint16, int, int) bool { return false }

// neonTile multiplies one panel of 16 columns, four rows at a time and then one by one.
func neonTile(kd kind, t *tile) {
	for i := 0; i < t.m; {
		s := *t
		s.c, s.a = unsafe.Add(t.c, i*t.ldc), unsafe.Add(t.a, i*t.am)
		four := t.m-i >= 4
		switch {
		case kd == kindF32 && four:
			tileF32x4(&s)
		case kd == kindF32:
			tileF32x1(&s)
		case kd == kindF16 && four:
			tileF16x4(&s)
		case kd == kindF16:
			tileF16x1(&s)
		case four:
			tileBF16x4(&s)
		default:
			tileBF16x1(&s)
		}
		if four {
			i += 4
		} else {
			i++
		}
	}
}

// runMatrixTile has a model to run in at most: no other processor has these units.
func runMatrixTile(k matrixKernel, t *tile) {
	matrixModel(k, *(*rawTile)(unsafe.Pointer(t)))
}

func hasSpread() bool { return false }

func hasTileRows() bool { return false }

func runTileRows(tensor.DType, *tile, unsafe.Pointer) {}
