package gemm

import (
	"sync"
	"unsafe"

	"leolm/internal/kernel/cpu"
	"leolm/internal/kernel/vec"
)

// Products of bf16 on the matrix units (level amx). A tile of 32 rows of A meets panels of 32 columns of B, as four tiles
// of sums in registers. The layout of a panel, pairs of k side by side, is the one that the units read.
//
// Order of sums: k is cut into blocks of 32 from k = 0 on. In a block the products of the even k are summed in one chain
// from 0, those of the odd k in another; the sum of the two is added to C. So a result depends on its row of A, its column
// of B and nothing else here, too; a caller that adds up parts of k itself has the bits of the whole if it cuts at
// multiples of 32. Zeros that fill up a block change nothing.

const (
	matrixRows  = 32               // rows of A that a kernel takes at once
	matrixSteps = 16               // pairs in a block of k
	matrixWords = kcSteps + rowPad // of a packed row of A: the distance keeps rows off each other's cache sets
)

// matrixScratch is what one product needs beside its operands.
type matrixScratch struct {
	a     [matrixRows * matrixWords]uint32 // rows of A
	steps [matrixRows * matrixWords]uint32 // some of them, step by step, while they are turned
	edge  [matrixRows * PanelWidth]float32 // C of the last, partly filled panel
}

var matrixScratches = sync.Pool{New: func() any { return new(matrixScratch) }}

func hasMatrix() bool { return level.Has(cpu.AMX) }

// matrixConfigs are the configurations of the units by the rows of C and the pairs of a block. Sums are tiles 0–3, A is
// tiles 4 and 5, B tiles 6 and 7 (_asm/matrix.go).
var matrixConfigs = sync.OnceValue(func() *[matrixRows + 1][matrixSteps + 1][64]byte {
	all := new([matrixRows + 1][matrixSteps + 1][64]byte)
	for rows := 1; rows <= matrixRows; rows++ {
		for pairs := 1; pairs <= matrixSteps; pairs++ {
			c := &all[rows][pairs]
			c[0] = 1
			set := func(tile, rows, words int) {
				if rows > 0 {
					c[48+tile], c[16+2*tile] = byte(rows), byte(4*words)
				}
			}
			for half := range 2 {
				n := min(16, rows-16*half)
				set(2*half, n, 16)
				set(2*half+1, n, 16)
				set(4+half, n, pairs)
				set(6+half, pairs, 16)
			}
		}
	}
	return all
})

// runMatrix is run for bf16 on the matrix units.
func (p *product) runMatrix(rowLo, rowHi, steps, panelLo, panelHi int) {
	s := matrixScratches.Get().(*matrixScratch)
	defer matrixScratches.Put(s)
	rows := rowHi - rowLo
	kc, group := kcSteps, groupLen
	if rows <= matrixRows { // as in decoding: B is read once, in storage order
		kc, group = (len(s.a)/rows-rowPad)/matrixSteps*matrixSteps, panelHi-panelLo
		if _, _, _, ok := p.inPlace(rowLo, 0); ok && rows == 1 {
			kc = steps
		}
	}
	for g := panelLo; g < panelHi; g += group {
		gHi := min(g+group, panelHi)
		for k0 := 0; k0 < steps; k0 += kc {
			ks := min(kc, steps-k0)
			for m0 := rowLo; m0 < rowHi; m0 += matrixRows {
				mr := min(matrixRows, rowHi-m0)
				ap, am, _, ok := p.inPlace(m0, k0)
				if !ok || mr > 1 {
					ap, am = p.packMatrix(s, m0, mr, k0, ks)
				}
				p.matrixPanels(s, m0, mr, ap, am, g, gHi, k0, ks, steps)
			}
		}
	}
}

// packMatrix copies mr rows and ks steps of A to the scratch and returns the bytes between rows.
func (p *product) packMatrix(s *matrixScratch, m0, mr, k0, ks int) (unsafe.Pointer, int) {
	if p.ak == 1 {
		am, _ := p.packA(s.a[:], m0, mr, k0, ks)
		return unsafe.Pointer(&s.a), am
	}
	ld := 4 * (ks + rowPad)
	for i := 0; i < mr; i += 16 { // as many as packPairs takes
		n := min(16, mr-i)
		p.packPairs(halves(s.steps[:]), m0+i, n, k0, 0, ks)
		vec.TransposeWords(unsafe.Add(unsafe.Pointer(&s.a), i*ld), ld, unsafe.Pointer(&s.steps), 4*n, ks, n)
	}
	return unsafe.Pointer(&s.a), ld
}

// matrixPanels multiplies mr rows of A, packed or in place, with panels [g,gHi) over steps [k0,k0+ks).
func (p *product) matrixPanels(s *matrixScratch, m0, mr int, ap unsafe.Pointer, am, g, gHi, k0, ks, steps int) {
	const stepBytes = 4 * PanelWidth
	add := p.add || k0 > 0
	panelBytes := steps * stepBytes
	t := tile{a: ap, am: am, b: unsafe.Add(p.b, g*panelBytes+k0*stepBytes), bk: stepBytes, bPanel: panelBytes, steps: ks, m: mr, cPanel: stepBytes, add: b2i(add)}
	full := min(gHi, p.n/PanelWidth) - g
	if full > 0 {
		t.c, t.ldc, t.panels = unsafe.Pointer(&p.c[m0*p.ldc+g*PanelWidth]), p.ldc*4, full
		t.matrix(false)
	}
	if full == gHi-g {
		return
	}
	// The last panel is part empty: through a full-width copy of C.
	j0 := p.n / PanelWidth * PanelWidth
	w := p.n - j0
	if add {
		for i := range mr {
			copy(s.edge[i*PanelWidth:i*PanelWidth+w], p.c[(m0+i)*p.ldc+j0:])
		}
	}
	t.c, t.ldc, t.panels = unsafe.Pointer(&s.edge), 4*PanelWidth, 1
	t.b = unsafe.Add(t.b, full*panelBytes)
	t.matrix(false)
	for i := range mr {
		copy(p.c[(m0+i)*p.ldc+j0:(m0+i)*p.ldc+j0+w], s.edge[i*PanelWidth:])
	}
}

// matrix runs the kernels for t's steps, which are pairs: whole blocks, then what remains. half says that panels have 16
// columns.
func (t *tile) matrix(half bool) {
	kernel := matrix16x32
	switch {
	case half && t.m <= 16:
		kernel = matrix16x16
	case half:
		kernel = matrix32x16
	case t.m > 16:
		kernel = matrix32x32
	}
	blocks, rest := t.steps/matrixSteps, t.steps%matrixSteps
	if blocks > 0 {
		u := *t
		u.steps, u.config = blocks, unsafe.Pointer(&matrixConfigs()[t.m][matrixSteps])
		runMatrixTile(kernel, &u)
	}
	if rest > 0 {
		u := *t
		u.a, u.b = unsafe.Add(t.a, 4*matrixSteps*blocks), unsafe.Add(t.b, blocks*matrixSteps*t.bk)
		u.steps, u.config = 1, unsafe.Pointer(&matrixConfigs()[t.m][rest])
		if blocks > 0 {
			u.add = 1
		}
		runMatrixTile(kernel, &u)
	}
}

// matrixTile is plainTile for bf16 on the matrix units: strides are in words.
func matrixTile(c []float32, ldc int, a unsafe.Pointer, am, ak int, b unsafe.Pointer, bk, m, n, steps int, add bool) {
	var s *matrixScratch
	if ak != 1 {
		s = matrixScratches.Get().(*matrixScratch)
		defer matrixScratches.Put(s)
	}
	wide := n / PanelWidth
	for m0 := 0; m0 < m; m0 += matrixRows {
		mr := min(matrixRows, m-m0)
		kc := steps
		if s != nil {
			kc = kcSteps
		}
		for k0 := 0; k0 < steps; k0 += kc {
			ks := min(kc, steps-k0)
			t := tile{a: unsafe.Add(a, 4*(m0*am+k0*ak)), am: 4 * am, b: unsafe.Add(b, 4*k0*bk), bk: 4 * bk, bPanel: 4 * PanelWidth,
				ldc: 4 * ldc, cPanel: 4 * PanelWidth, steps: ks, m: mr, panels: wide, add: b2i(add || k0 > 0)}
			if s != nil {
				turn(s, t.a, am, ak, mr, ks)
				t.a, t.am = unsafe.Pointer(&s.a), 4*(ks+rowPad)
			}
			if wide > 0 {
				t.c = unsafe.Pointer(&c[m0*ldc])
				t.matrix(false)
			}
			if n%PanelWidth != 0 {
				t.c, t.b, t.panels = unsafe.Pointer(&c[m0*ldc+wide*PanelWidth]), unsafe.Add(t.b, 4*wide*PanelWidth), 1
				t.matrix(true)
			}
		}
	}
}

// turn copies words A(i,k) = a[i·am + k·ak] to the scratch, row by row.
func turn(s *matrixScratch, a unsafe.Pointer, am, ak, rows, steps int) {
	ld := steps + rowPad
	if am == 1 {
		vec.TransposeWords(unsafe.Pointer(&s.a), 4*ld, a, 4*ak, steps, rows)
		return
	}
	for i := range rows {
		for k := range steps {
			s.a[i*ld+k] = *(*uint32)(unsafe.Add(a, 4*(i*am+k*ak)))
		}
	}
}
