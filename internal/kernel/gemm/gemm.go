// Package gemm owns dense matrix products on plain slices: f32 × f32, bf16 ×
// bf16 (f32 sums) and f32 × f16 weights. It owns the packed layout of the
// right operand and the micro-kernels; it does not own threads (callers split
// rows and panels over workers) nor quantized weights (package qmat).
//
// Every product is C(m,n) = Σₖ A(m,k)·B(k,n) with f32 sums. B is packed once
// into panels of 32 columns; A is read in place through two strides, so that
// one kernel serves the three products of training:
//
//	Y  = X·Wᵀ   A = X[T,in]  (am=in,  ak=1)   B from W[out,in] (ks=1,   js=in)
//	dX = dY·W   A = dY[T,out](am=out, ak=1)   B from W[out,in] (ks=in,  js=1)
//	dW = dYᵀ·X  A = dY[T,out](am=1,   ak=out) B from X[T,in]   (ks=in,  js=1)
//
// Batch invariance: an element of C is summed over k = 0, 1, 2, … in one chain
// (bf16: one chain of pairs; on matrix units, of blocks of 32, see matrix.go),
// starting at 0 or, when adding, at the old C.
// The chain may be spilled to C between blocks of k, which is exact. The
// result therefore depends on its row of A, its column of B and the CPU level
// only: never on the number of rows, the tile, the panel range or the caller's
// split of the work.
//
// Errors of shape (slices too short) panic: they are the caller's fault,
// not the user's data.
package gemm

import (
	"fmt"
	"sync"
	"unsafe"

	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// PanelWidth is the number of columns of B in one packed panel.
const PanelWidth = 32

const (
	maxRows  = 14  // rows of the largest register tile
	kcSteps  = 256 // steps of k between spills to C for tall products
	groupLen = 32  // panels whose k block (1 MiB) stays in cache while the rows pass
	rowPad   = 16  // keeps the packed rows of A off each other's cache sets
	scratchN = maxRows * (kcSteps + rowPad)
)

// Panels returns the number of panels that hold n columns.
func Panels(n int) int { return (n + PanelWidth - 1) / PanelWidth }

// PackedLenF32 returns the float32 elements of a packed B of k rows and n columns.
func PackedLenF32(n, k int) int { return Panels(n) * PanelWidth * k }

// PackedLenBF16 returns the uint16 elements of a packed bf16 B: k is rounded up to even.
func PackedLenBF16(n, k int) int { return Panels(n) * PanelWidth * (k + k&1) }

// PackedLenF16 returns the uint16 elements of a packed f16 B.
func PackedLenF16(n, k int) int { return Panels(n) * PanelWidth * k }

// kind says how a step of k is stored.
type kind uint8

const (
	kindF32  kind = iota // A f32, B f32: a step is one k
	kindBF16             // A and B bf16: a step is two neighboring k
	kindF16              // A f32, B f16: a step is one k

	// kindSpread is kindBF16 with A widened, for kernels without an instruction for bf16: both k of a step are f32 side by
	// side. panels turns kindBF16 into it, once per tile, block of k and group of panels.
	kindSpread
)

// tile is one call of a micro-kernel: m ≤ 14 rows times `panels` panels of
// `width` (16 or 32) columns over `steps` steps. Strides are in bytes. Kernels
// may change the fields.
type tile struct {
	c, a, b unsafe.Pointer
	ldc     int
	am, ak  int // between rows and between steps of A
	bk      int // between steps of B
	bPanel  int // between panels of B
	steps   int
	m       int
	panels  int
	add     int            // 1: start from C, 0: from zero
	cPanel  int            // between panels of C
	config  unsafe.Pointer // of the matrix units, for their kernels
}

// MulF32 computes rows [rowLo,rowHi) and panels [panelLo,panelHi) of
// C = A·B, or C += A·B when add is set. A(m,k) = a[m*am+k*ak], C(m,j) =
// c[m*ldc+j]; b comes from PackF32 with the same n and k.
func MulF32(c []float32, ldc int, a []float32, am, ak int, b []float32, n, k, rowLo, rowHi, panelLo, panelHi int, add bool) {
	if !checkShape(len(c), ldc, len(a), am, ak, n, k, rowLo, rowHi, panelLo, panelHi, len(b), PackedLenF32(n, k)) {
		return
	}
	p := product{kind: kindF32, c: c, ldc: ldc, am: am, ak: ak, b: unsafe.Pointer(unsafe.SliceData(b)), n: n, k: k, add: add, a32: a}
	p.run(rowLo, rowHi, panelLo, panelHi)
}

// MulF16 is MulF32 with B packed by PackF16; B is widened exactly, sums are f32.
func MulF16(c []float32, ldc int, a []float32, am, ak int, b []uint16, n, k, rowLo, rowHi, panelLo, panelHi int, add bool) {
	if !checkShape(len(c), ldc, len(a), am, ak, n, k, rowLo, rowHi, panelLo, panelHi, len(b), PackedLenF16(n, k)) {
		return
	}
	p := product{kind: kindF16, c: c, ldc: ldc, am: am, ak: ak, b: unsafe.Pointer(unsafe.SliceData(b)), n: n, k: k, add: add, a32: a}
	p.run(rowLo, rowHi, panelLo, panelHi)
}

// MulBF16 is MulF32 with both operands in bf16; b comes from PackBF16 or
// PackBF16FromF32. Products are exact, sums are f32; at the levels bf16 and amx
// the instructions treat subnormal inputs and results as zero.
func MulBF16(c []float32, ldc int, a []uint16, am, ak int, b []uint16, n, k, rowLo, rowHi, panelLo, panelHi int, add bool) {
	if !checkShape(len(c), ldc, len(a), am, ak, n, k, rowLo, rowHi, panelLo, panelHi, len(b), PackedLenBF16(n, k)) {
		return
	}
	p := product{kind: kindBF16, c: c, ldc: ldc, am: am, ak: ak, b: unsafe.Pointer(unsafe.SliceData(b)), n: n, k: k, add: add, a16: a}
	p.run(rowLo, rowHi, panelLo, panelHi)
}

// MulBF16FromF32 is MulBF16 with A given in f32 and rounded to bf16 (nearest
// even) on the way: the same bits as rounding A first.
func MulBF16FromF32(c []float32, ldc int, a []float32, am, ak int, b []uint16, n, k, rowLo, rowHi, panelLo, panelHi int, add bool) {
	if !checkShape(len(c), ldc, len(a), am, ak, n, k, rowLo, rowHi, panelLo, panelHi, len(b), PackedLenBF16(n, k)) {
		return
	}
	p := product{kind: kindBF16, c: c, ldc: ldc, am: am, ak: ak, b: unsafe.Pointer(unsafe.SliceData(b)), n: n, k: k, add: add, a32: a}
	p.run(rowLo, rowHi, panelLo, panelHi)
}

// checkShape panics where a kernel would leave a slice, and reports whether there is work.
func checkShape(lenC, ldc, lenA, am, ak, n, k, rowLo, rowHi, panelLo, panelHi, lenB, wantB int) bool {
	if n < 0 || k < 0 || rowLo < 0 || panelLo < 0 || panelHi > Panels(n) || am < 0 || ak < 0 {
		panic(fmt.Sprintf("gemm: bad range n=%d k=%d rows %d..%d panels %d..%d strides %d,%d", n, k, rowLo, rowHi, panelLo, panelHi, am, ak))
	}
	if rowHi <= rowLo || panelHi <= panelLo {
		return false
	}
	if cols := min(n, panelHi*PanelWidth); ldc < cols && rowHi > 1 || (rowHi-1)*ldc+cols > lenC {
		panic(fmt.Sprintf("gemm: C of %d elements is too small for rows ..%d × columns ..%d with row distance %d", lenC, rowHi, cols, ldc))
	}
	if k > 0 && (rowHi-1)*am+(k-1)*ak >= lenA {
		panic(fmt.Sprintf("gemm: A of %d elements is too small for rows ..%d × %d with strides %d,%d", lenA, rowHi, k, am, ak))
	}
	if lenB < wantB {
		panic(fmt.Sprintf("gemm: packed B of %d elements is too small: %d × %d needs %d", lenB, n, k, wantB))
	}
	return true
}

// product is one call of a Mul function.
type product struct {
	kind   kind
	c      []float32
	ldc    int
	a32    []float32
	a16    []uint16
	am, ak int
	b      unsafe.Pointer
	n, k   int
	add    bool
}

// bytesPerStep is the size of one step of one panel of B.
func (kd kind) bytesPerStep() int {
	if kd == kindF16 {
		return PanelWidth * 2
	}
	return PanelWidth * 4
}

func (p *product) run(rowLo, rowHi, panelLo, panelHi int) {
	if p.k == 0 {
		if !p.add {
			for m := rowLo; m < rowHi; m++ {
				clear(p.c[m*p.ldc+panelLo*PanelWidth : m*p.ldc+min(p.n, panelHi*PanelWidth)])
			}
		}
		return
	}
	steps := p.k
	if p.kind == kindBF16 {
		steps = (p.k + 1) / 2
		if hasMatrix() {
			p.runMatrix(rowLo, rowHi, steps, panelLo, panelHi)
			return
		}
	}
	rows := rowHi - rowLo
	tiles := (rows + maxRows - 1) / maxRows

	// One tile of rows is the shape of decoding: B is read once, so it streams
	// in storage order, and k is cut only as far as the scratch demands.
	kc, group := kcSteps, groupLen
	if tiles == 1 {
		kc, group = scratchN/rows-rowPad, panelHi-panelLo
		if _, _, _, ok := p.inPlace(rowLo, 0); ok && rows == 1 && !p.spreads() { // a widened row must fit its buffer
			kc = steps
		}
	}
	if tiles > 1 && p.ak != 1 {
		p.runTransposed(rowLo, rows, steps, panelLo, panelHi)
		return
	}
	var scratch [scratchN]uint32
	for g := panelLo; g < panelHi; g += group {
		gHi := min(g+group, panelHi)
		for k0 := 0; k0 < steps; k0 += kc {
			ks := min(kc, steps-k0)
			add := p.add || k0 > 0
			for t := range tiles {
				// Balanced tiles: 15 rows are 8 + 7, not 14 + 1.
				m0 := rowLo + t*rows/tiles
				mr := rowLo + (t+1)*rows/tiles - m0
				ap, am, ak, ok := p.inPlace(m0, k0)
				if !ok || mr > 1 {
					am, ak = p.packA(scratch[:], m0, mr, k0, ks)
					ap = unsafe.Pointer(&scratch)
				}
				p.panels(m0, mr, ap, am, ak, g, gHi, k0, ks, steps, add)
			}
		}
	}
}

// runTransposed is run for a tall A whose columns lie together in memory (dYᵀ):
// several tiles are packed at once, so that whole cache lines are used.
func (p *product) runTransposed(rowLo, rows, steps, panelLo, panelHi int) {
	tiles := (rows + maxRows - 1) / maxRows
	scratch := scratches.Get().(*[stripTiles * scratchN]uint32)
	defer scratches.Put(scratch)
	for g := panelLo; g < panelHi; g += groupLen {
		gHi := min(g+groupLen, panelHi)
		for k0 := 0; k0 < steps; k0 += kcSteps {
			ks := min(kcSteps, steps-k0)
			add := p.add || k0 > 0
			for t0 := 0; t0 < tiles; t0 += stripTiles {
				t1 := min(t0+stripTiles, tiles)
				p.packStrip(scratch[:], rowLo, rows, tiles, t0, t1, k0, ks)
				for t := t0; t < t1; t++ {
					m0 := rowLo + t*rows/tiles
					mr := rowLo + (t+1)*rows/tiles - m0
					p.panels(m0, mr, unsafe.Pointer(&scratch[(t-t0)*scratchN]), 4, mr*4, g, gHi, k0, ks, steps, add)
				}
			}
		}
	}
}

// stripTiles tiles of A are packed together; five are 280 bytes of an f32 row.
const stripTiles = 5

var scratches = sync.Pool{New: func() any { return new([stripTiles * scratchN]uint32) }}

// panels multiplies one tile of A with panels [g,gHi) over steps [k0,k0+ks).
func (p *product) panels(m0, mr int, ap unsafe.Pointer, am, ak, g, gHi, k0, ks, steps int, add bool) {
	if !p.spreads() {
		p.multiply(p.kind, m0, mr, ap, am, ak, g, gHi, k0, ks, steps, add)
		return
	}
	// On the stack, where as little as possible has to be cleared: no row of most models is longer than the small one.
	half := unsafe.Slice((*uint16)(ap), 2*(((mr-1)*am+(ks-1)*ak)/4+1))
	if len(half) <= maxSmall {
		p.spreadSmall(half, m0, mr, am, ak, g, gHi, k0, ks, steps, add)
	} else {
		p.spreadLarge(half, m0, mr, am, ak, g, gHi, k0, ks, steps, add)
	}
}

// spreads reports whether A is widened to f32 before it meets the panels.
func (p *product) spreads() bool { return p.kind == kindBF16 && hasSpread() }

// maxSmall is how many elements spreadSmall widens at most.
const maxSmall = 4096

func (p *product) spreadSmall(half []uint16, m0, mr, am, ak, g, gHi, k0, ks, steps int, add bool) {
	var f [maxSmall]float32
	vec.F32FromBF16(f[:len(half)], half)
	p.multiply(kindSpread, m0, mr, unsafe.Pointer(&f), 2*am, 2*ak, g, gHi, k0, ks, steps, add)
}

func (p *product) spreadLarge(half []uint16, m0, mr, am, ak, g, gHi, k0, ks, steps int, add bool) {
	var f [2 * scratchN]float32
	vec.F32FromBF16(f[:len(half)], half)
	p.multiply(kindSpread, m0, mr, unsafe.Pointer(&f), 2*am, 2*ak, g, gHi, k0, ks, steps, add)
}

// multiply is panels with A as the kernels of kd read it.
func (p *product) multiply(kd kind, m0, mr int, ap unsafe.Pointer, am, ak, g, gHi, k0, ks, steps int, add bool) {
	stepBytes := p.kind.bytesPerStep()
	panelBytes := steps * stepBytes
	b := unsafe.Add(p.b, g*panelBytes+k0*stepBytes)
	full := min(gHi, p.n/PanelWidth) - g
	if full > 0 {
		runTile(kd, &tile{c: unsafe.Pointer(&p.c[m0*p.ldc+g*PanelWidth]), ldc: p.ldc * 4, cPanel: PanelWidth * 4,
			a: ap, am: am, ak: ak, b: b, bk: stepBytes, bPanel: panelBytes, steps: ks, m: mr, panels: full, add: b2i(add)})
	}
	if full < gHi-g { // the last panel is part empty
		p.edge(kd, m0, mr, ap, am, ak, unsafe.Add(b, full*panelBytes), ks, add)
	}
}

// edge multiplies the last, partly filled panel through a full-width copy of C.
func (p *product) edge(kd kind, m0, mr int, ap unsafe.Pointer, am, ak int, b unsafe.Pointer, ks int, add bool) {
	var buf [maxRows * PanelWidth]float32
	j0 := p.n / PanelWidth * PanelWidth
	w := p.n - j0
	if add {
		for i := range mr {
			copy(buf[i*PanelWidth:i*PanelWidth+w], p.c[(m0+i)*p.ldc+j0:])
		}
	}
	sb := p.kind.bytesPerStep()
	runTile(kd, &tile{c: unsafe.Pointer(&buf), ldc: PanelWidth * 4, cPanel: PanelWidth * 4,
		a: ap, am: am, ak: ak, b: b, bk: sb, bPanel: ks * sb, steps: ks, m: mr, panels: 1, add: b2i(add)})
	for i := range mr {
		copy(p.c[(m0+i)*p.ldc+j0:(m0+i)*p.ldc+j0+w], buf[i*PanelWidth:])
	}
}

// inPlace returns where row m of A can be read by a kernel without packing.
func (p *product) inPlace(m, k0 int) (unsafe.Pointer, int, int, bool) {
	switch {
	case p.ak != 1:
	case p.kind != kindBF16:
		return unsafe.Pointer(&p.a32[m*p.am+k0]), p.am * 4, 4, true
	case p.a16 != nil && p.k%2 == 0:
		return unsafe.Pointer(&p.a16[m*p.am+k0*2]), p.am * 2, 4, true
	}
	return nil, 0, 0, false
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TileBF16 is TileF32 on bf16 pairs, with f32 sums: step s multiplies the two
// neighboring k in word a[i*am+s*ak] with those in word b[s*bk+j] (the even k
// is the low half) in the order of sums of MulBF16.
func TileBF16(c []float32, ldc int, a []uint32, am, ak int, b []uint32, bk, m, n, steps int, add bool) {
	if m <= 0 || n <= 0 {
		return
	}
	if n%16 != 0 || steps < 0 || am < 0 || ak < 0 || bk < 0 || (m-1)*ldc+n > len(c) || steps > 0 && ((m-1)*am+(steps-1)*ak >= len(a) || (steps-1)*bk+n > len(b)) {
		panic(fmt.Sprintf("gemm: bf16 tile %d×%d×%d outside its slices (c %d, a %d, b %d)", m, n, 2*steps, len(c), len(a), len(b)))
	}
	plainTile(kindBF16, c, ldc, unsafe.Pointer(unsafe.SliceData(a)), am, ak, unsafe.Pointer(unsafe.SliceData(b)), bk, m, n, steps, add)
}

// TileF32 computes C = A·B (or C += A·B) on plain operands without packing:
// A(i,k) = a[i*am+k*ak], B(k,j) = b[k*bk+j], C(i,j) = c[i*ldc+j] for m rows,
// n columns (a multiple of 16) and k steps, in the same order of sums as
// MulF32. It is the building block of attention.
func TileF32(c []float32, ldc int, a []float32, am, ak int, b []float32, bk, m, n, k int, add bool) {
	if m <= 0 || n <= 0 {
		return
	}
	if n%16 != 0 || k < 0 || am < 0 || ak < 0 || bk < 0 || (m-1)*ldc+n > len(c) || k > 0 && ((m-1)*am+(k-1)*ak >= len(a) || (k-1)*bk+n > len(b)) {
		panic(fmt.Sprintf("gemm: tile %d×%d×%d outside its slices (c %d, a %d, b %d)", m, n, k, len(c), len(a), len(b)))
	}
	plainTile(kindF32, c, ldc, unsafe.Pointer(unsafe.SliceData(a)), am, ak, unsafe.Pointer(unsafe.SliceData(b)), bk, m, n, k, add)
}

// plainTile runs the kernels of kd (f32 or bf16, whose steps are words of 4 bytes) over unpacked operands.
func plainTile(kd kind, c []float32, ldc int, a unsafe.Pointer, am, ak int, b unsafe.Pointer, bk, m, n, steps int, add bool) {
	if steps == 0 {
		if !add {
			for i := range m {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	if kd == kindBF16 && hasMatrix() {
		matrixTile(c, ldc, a, am, ak, b, bk, m, n, steps, add)
		return
	}
	tiles := (m + maxRows - 1) / maxRows
	for t := range tiles {
		m0 := t * m / tiles
		mr := (t+1)*m/tiles - m0
		wide := n / PanelWidth
		tl := tile{c: unsafe.Pointer(&c[m0*ldc]), ldc: ldc * 4, cPanel: PanelWidth * 4, a: unsafe.Add(a, 4*m0*am), am: am * 4, ak: ak * 4,
			b: b, bk: bk * 4, bPanel: PanelWidth * 4, steps: steps, m: mr, panels: wide, add: b2i(add)}
		if wide > 0 {
			runTile(kd, &tl)
		}
		if n%PanelWidth != 0 {
			runHalfTile(kd, &tile{c: unsafe.Pointer(&c[m0*ldc+wide*PanelWidth]), ldc: ldc * 4, a: unsafe.Add(a, 4*m0*am), am: am * 4, ak: ak * 4,
				b: unsafe.Add(b, 4*wide*PanelWidth), bk: bk * 4, steps: steps, m: mr, panels: 1, add: b2i(add)})
		}
	}
}

// roundBF16 is the rounding of A and B on their way into bf16.
func roundBF16(f float32) uint16 { return tensor.F32ToBF16(f) }
