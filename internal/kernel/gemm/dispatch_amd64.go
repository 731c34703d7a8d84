package gemm

import (
	"unsafe"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

//go:generate sh -c "cd _asm && go run . -out ../gemm_amd64.s -stubs ../gemm_amd64.go -pkg gemm"
//go:generate sh -c "cd _asm && go run . -matrix -out ../matrix_amd64.s -stubs ../matrix_amd64.go -pkg gemm"

func runTile(kd kind, t *tile) {
	switch {
	case !level.Has(cpu.AVX2):
		genericTile(kd, t, PanelWidth)
	case !level.Has(cpu.AVX512):
		avx2Tile(kd, t)
	case kd == kindF32:
		tileF32AVX512(t.arg())
	case kd == kindF16:
		tileF16AVX512(t.arg())
	case kd == kindSpread:
		tileSpreadAVX512(t.arg())
	case level.Has(cpu.BF16):
		tileBF16(t.arg())
	default:
		for i := range t.parts(12) {
			s := t.part(i, 12)
			tileBF16AVX512(s.arg())
		}
	}
}

// runHalfTile multiplies f32 or bf16 panels of 16 columns.
func runHalfTile(kd kind, t *tile) {
	switch {
	case !level.Has(cpu.AVX2):
		genericTile(kd, t, PanelWidth/2)
	case !level.Has(cpu.AVX512):
		avx2HalfTile(kd, t)
	case kd == kindF32:
		halfTileF32AVX512(t.arg())
	case level.Has(cpu.BF16):
		halfTileBF16(t.arg())
	default:
		for i := range t.parts(12) {
			s := t.part(i, 12)
			halfTileBF16AVX512(s.arg())
		}
	}
}

// runMatrixTile runs a kernel of the matrix units.
func runMatrixTile(k matrixKernel, t *tile) {
	switch {
	case matrixModel != nil:
		matrixModel(k, *(*rawTile)(unsafe.Pointer(t)))
	case k == matrix16x16:
		matrix16x16AMX(t.arg())
	case k == matrix16x32:
		matrix16x32AMX(t.arg())
	case k == matrix32x16:
		matrix32x16AMX(t.arg())
	default:
		matrix32x32AMX(t.arg())
	}
}

// zipRows interleaves pairs of rows of 16 columns of 16 bits as words; ldd is in words, lds in halves. It reads and
// writes 16 columns of every row, and reports false where there is no such kernel.
func zipRows(dst []uint32, ldd int, src []uint16, lds, pairs int) bool {
	if !level.Has(cpu.AVX512) {
		return false
	}
	if pairs > 0 {
		_, _ = dst[(pairs-1)*ldd+15], src[(2*pairs-1)*lds+15]
		zipRowsAVX512((*byte)(unsafe.Pointer(&dst[0])), ldd*4, (*byte)(unsafe.Pointer(&src[0])), lds*2, pairs)
	}
	return true
}

// hasSpread reports whether A of bf16 products is widened to f32 first.
func hasSpread() bool { return level.Has(cpu.AVX2) && !level.Has(cpu.AVX512|cpu.BF16) }

func hasTileRows() bool { return level.Has(cpu.AVX512) }

func runTileRows(ty tensor.DType, t *tile, next unsafe.Pointer) {
	// Few rows read long stretches of B at once: more columns per panel.
	if t.m <= 2 && t.panels%4 == 0 {
		t.panels, t.bPanel, t.cPanel = t.panels/4, 4*t.bPanel, 4*t.cPanel
		t.goOn(next)
		switch ty {
		case tensor.F32:
			fullRowsF32AVX512(t.arg())
		case tensor.F16:
			fullRowsF16AVX512(t.arg())
		case tensor.BF16:
			fullRowsBF16AVX512(t.arg())
		case tensor.Q8_0:
			fullRowsQ8AVX512(t.arg())
		}
		return
	}
	if t.m <= 4 && t.panels%2 == 0 {
		t.panels, t.bPanel, t.cPanel = t.panels/2, 2*t.bPanel, 2*t.cPanel
		t.goOn(next)
		switch ty {
		case tensor.F32:
			wideRowsF32AVX512(t.arg())
		case tensor.F16:
			wideRowsF16AVX512(t.arg())
		case tensor.BF16:
			wideRowsBF16AVX512(t.arg())
		case tensor.Q8_0:
			wideRowsQ8AVX512(t.arg())
		}
		return
	}
	switch ty {
	case tensor.F32:
		tileRowsF32AVX512(t.arg())
	case tensor.F16:
		tileRowsF16AVX512(t.arg())
	case tensor.BF16:
		tileRowsBF16AVX512(t.arg())
	case tensor.Q8_0:
		tileRowsQ8AVX512(t.arg())
	}
}

// goOn makes the kernel prefetch next at the end of its only panel.
func (t *tile) goOn(next unsafe.Pointer) {
	if t.panels == 1 && next != nil {
		t.bPanel = int(uintptr(next) - uintptr(t.b))
	}
}

// avx2Tile runs 16-column kernels on the two halves of every panel, panel by
// panel, so that B is read from memory once.
func avx2Tile(kd kind, t *tile) {
	for p := range t.panels {
		for half := range 2 {
			h := *t
			h.panels = 1
			h.c = unsafe.Add(t.c, p*t.cPanel+half*PanelWidth/2*4)
			h.b = unsafe.Add(t.b, p*t.bPanel+half*kd.bytesPerStep()/2)
			avx2HalfTile(kd, &h)
		}
	}
}

func avx2HalfTile(kd kind, t *tile) {
	most := 6
	if kd == kindBF16 {
		most = 4
	}
	for i := range t.parts(most) {
		s := t.part(i, most)
		switch kd {
		case kindF32:
			tileF32AVX2(s.arg())
		case kindF16:
			tileF16AVX2(s.arg())
		case kindSpread:
			tileSpreadAVX2(s.arg())
		case kindBF16:
			tileBF16AVX2(s.arg())
		}
	}
}

// arg is the pointer that the generated stubs take.
func (t *tile) arg() *byte { return (*byte)(unsafe.Pointer(t)) }

// parts and part cut a tile into balanced parts of at most `most` rows.
func (t *tile) parts(most int) int { return (t.m + most - 1) / most }

func (t *tile) part(i, most int) tile {
	n := t.parts(most)
	lo, hi := i*t.m/n, (i+1)*t.m/n
	s := *t
	s.m, s.c, s.a = hi-lo, unsafe.Add(t.c, lo*t.ldc), unsafe.Add(t.a, lo*t.am)
	return s
}
