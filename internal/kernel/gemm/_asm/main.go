// Command _asm generates the amd64 micro-kernels of package gemm. Run it
// through go generate in the parent folder.
//
// A kernel multiplies m rows of A by a number of panels of B. Lanes are
// columns of B; every row has one or two accumulator registers per panel; each
// step of k loads B once and broadcasts one word of A per row. All kernels
// share one skeleton; a flavor says how a step multiplies.
package main

import (
	"flag"
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of type tile.
const (
	offC, offA, offB             = 0, 8, 16
	offLdc, offAm, offAk, offBk  = 24, 32, 40, 48
	offBPanel, offSteps, offM    = 56, 64, 72
	offPanels, offAdd, offCPanel = 80, 88, 96
)

// Fixed registers. BP and R14 stay untouched.
var (
	args  = RDI
	rowsA = []GPPhysical{RAX, RBX, RCX, RDX, R9} // rows 0, 3, 6, 9, 12 of A
	am    = RSI
	ak    = R8
	b     = R10
	bk    = R11
	steps = R12 // also ldc outside the loop
	c     = R13
	ahead = R15 // what to prefetch
)

var zmm = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
	Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
var ymm = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}

// flavor is one kernel: registers, size and the multiplication of a step.
type flavor struct {
	name string
	regs []VecPhysical
	size int // bytes of a register
	rows int // largest m
	cols int // accumulator registers per row
	// loadB brings the step's B into registers from index `free` on; mul
	// multiplies row i, whose word of A is at mem.
	loadB func(f *flavor)
	mul   func(f *flavor, i int, mem Mem)
	odd   func(f *flavor) // loadB of the second k of a step, where a step is two of them
	setup func(f *flavor)
	fetch bool // prefetch B, on into the next panel
	local Mem  // 16 bytes, for q8_0
	bytes int  // bytes of B per step
	far   bool // steps of B lie at any distance
}

func (f *flavor) acc(i, j int) VecPhysical { return f.regs[i*f.cols+j] }

// tmp counts registers from the top.
func (f *flavor) tmp(i int) VecPhysical { return f.regs[len(f.regs)-1-i] }

func field(off int) Mem { return Mem{Base: args, Disp: off} }

func main() {
	matrix := flag.Bool("matrix", false, "write the kernels of the matrix units, and no others")
	flag.Parse()
	ConstraintExpr("amd64")
	if *matrix {
		matrixKernels()
		Generate()
		return
	}

	kernel(&flavor{name: "tileF32AVX512", regs: zmm, size: 64, rows: 14, cols: 2, loadB: loadF32, mul: mulF32, bytes: 128, fetch: true})
	kernel(&flavor{name: "halfTileF32AVX512", regs: zmm, size: 64, rows: 14, cols: 1, loadB: loadF32, mul: mulF32, bytes: 64})
	kernel(&flavor{name: "tileF16AVX512", regs: zmm, size: 64, rows: 14, cols: 2, loadB: loadF16, mul: mulF32, bytes: 64, fetch: true})
	kernel(&flavor{name: "tileBF16", regs: zmm, size: 64, rows: 14, cols: 2, loadB: loadF32, mul: mulBF16, bytes: 128, fetch: true})
	kernel(&flavor{name: "tileBF16AVX512", regs: zmm, size: 64, rows: 12, cols: 2, loadB: loadWide, mul: mulWide, setup: setupWide, bytes: 128, fetch: true})
	kernel(&flavor{name: "halfTileBF16", regs: zmm, size: 64, rows: 14, cols: 1, loadB: loadF32, mul: mulBF16, bytes: 64})
	kernel(&flavor{name: "halfTileBF16AVX512", regs: zmm, size: 64, rows: 12, cols: 1, loadB: loadWide, mul: mulWide, setup: setupWide, bytes: 64})

	kernel(&flavor{name: "tileSpreadAVX512", regs: zmm, size: 64, rows: 14, cols: 2, loadB: loadEven, odd: loadOdd, mul: mulF32, bytes: 128, fetch: true})

	for _, k := range []struct {
		name  string
		load  func(*flavor)
		bytes int // of 32 columns
	}{{"F32", loadF32, 128}, {"F16", loadF16, 64}, {"BF16", loadRowsBF16, 64}, {"Q8", loadRowsQ8, 34}} {
		kernel(&flavor{name: "tileRows" + k.name + "AVX512", regs: zmm, size: 64, rows: 8, cols: 2, loadB: k.load, mul: mulF32, bytes: k.bytes, fetch: true, far: true})
		kernel(&flavor{name: "wideRows" + k.name + "AVX512", regs: zmm, size: 64, rows: 4, cols: 4, loadB: k.load, mul: mulF32, bytes: 2 * k.bytes, fetch: true, far: true})
		kernel(&flavor{name: "fullRows" + k.name + "AVX512", regs: zmm, size: 64, rows: 2, cols: 8, loadB: k.load, mul: mulF32, bytes: 4 * k.bytes, fetch: true, far: true})
	}

	kernel(&flavor{name: "tileF32AVX2", regs: ymm, size: 32, rows: 6, cols: 2, loadB: loadF32, mul: mulF32, bytes: 64})
	kernel(&flavor{name: "tileF16AVX2", regs: ymm, size: 32, rows: 6, cols: 2, loadB: loadF16, mul: mulF32, bytes: 32})
	kernel(&flavor{name: "tileBF16AVX2", regs: ymm, size: 32, rows: 4, cols: 2, loadB: loadWide, mul: mulWide, setup: setupWide, bytes: 64})

	kernel(&flavor{name: "tileSpreadAVX2", regs: ymm, size: 32, rows: 6, cols: 2, loadB: loadEven, odd: loadOdd, mul: mulF32, bytes: 64})

	zipRows()

	Generate()
}

// zipRows interleaves pairs of rows of 16 columns of 16 bits: word j of step s is (src[2s][j], src[2s+1][j]).
func zipRows() {
	TEXT("zipRowsAVX512", NOSPLIT, "func(dst *byte, ldd int, src *byte, lds, pairs int)")
	Pragma("noescape")
	Doc("zipRowsAVX512 interleaves pairs of rows of 16 columns of 16 bits; distances are in bytes, pairs at least 1.")
	Load(Param("dst"), RDI)
	Load(Param("ldd"), RSI)
	Load(Param("src"), R8)
	Load(Param("lds"), R9)
	Load(Param("pairs"), RCX)
	step := func(i int) {
		lo, hi := zmm[2*i], zmm[2*i+1]
		VPMOVZXWD(Mem{Base: R8}, lo)
		VPMOVZXWD(Mem{Base: R8, Index: R9, Scale: 1}, hi)
		VPSLLD(U8(16), hi, hi)
		VPORD(lo, hi, hi)
		VMOVDQU32(hi, Mem{Base: RDI})
		LEAQ(Mem{Base: R8, Index: R9, Scale: 2}, R8)
		ADDQ(RSI, RDI)
	}
	SUBQ(U8(4), RCX)
	JL(LabelRef("rest"))
	Label("four")
	for i := range 4 {
		step(i)
	}
	SUBQ(U8(4), RCX)
	JGE(LabelRef("four"))
	Label("rest")
	ADDQ(U8(4), RCX)
	JZ(LabelRef("done"))
	Label("one")
	step(0)
	DECQ(RCX)
	JNZ(LabelRef("one"))
	Label("done")
	VZEROUPPER()
	RET()
}

func kernel(f *flavor) {
	TEXT(f.name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s runs a tile (type tile) of at most %d rows, %d columns per panel.", f.name, f.rows, f.cols*f.size/4))
	if f.name[len(f.name)-8:] == "Q8AVX512" {
		f.local = AllocLocal(16)
	}
	Load(Param("t"), args)
	MOVQ(field(offM), RAX)
	for m := 1; m < f.rows; m++ {
		CMPQ(RAX, U8(m))
		JEQ(LabelRef(fmt.Sprintf("rows%d", m)))
	}
	for m := f.rows; m >= 1; m-- {
		Label(fmt.Sprintf("rows%d", m))
		f.body(m)
	}
}

func (f *flavor) zero(r VecPhysical) {
	if f.size == 64 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

// body is the kernel for exactly m rows, ending in RET.
//
// Prefetching, measured on Zen 4 with B in memory: few rows want near lines in
// the first-level cache (27 GB/s against 20 without), many rows want far lines
// in the second (8 rows: 20 GB/s against 12 with near ones).
func (f *flavor) body(m int) {
	fetch, prefetch := 96, PREFETCHT2
	switch {
	case f.far:
		fetch, prefetch = 32, PREFETCHT0
		if f.bytes > 256 {
			fetch = 16
		}
	case m <= 2:
		fetch, prefetch = 12, PREFETCHT0
	}
	label := func(s string) string { return fmt.Sprintf("%s%d", s, m) }
	MOVQ(field(offAm), am)
	MOVQ(field(offAk), ak)
	MOVQ(field(offBk), bk)
	if f.setup != nil {
		f.setup(f)
	}

	Label(label("panel"))
	MOVQ(field(offAdd), RAX)
	TESTQ(RAX, RAX)
	JNZ(LabelRef(label("load")))
	for i := range m {
		for j := range f.cols {
			f.zero(f.acc(i, j))
		}
	}
	JMP(LabelRef(label("start")))
	Label(label("load"))
	MOVQ(field(offC), c)
	MOVQ(field(offLdc), steps)
	for i := range m {
		for j := range f.cols {
			VMOVUPS(Mem{Base: c, Disp: j * f.size}, f.acc(i, j))
		}
		ADDQ(steps, c)
	}

	Label(label("start"))
	MOVQ(field(offA), rowsA[0])
	for g := 1; g*3 < m; g++ {
		LEAQ(Mem{Base: rowsA[g-1], Index: am, Scale: 2}, rowsA[g])
		ADDQ(am, rowsA[g])
	}
	MOVQ(field(offB), b)
	MOVQ(field(offSteps), steps)

	if f.fetch {
		if f.far {
			IMUL3Q(U8(fetch), bk, ahead)
			ADDQ(b, ahead)
		} else {
			LEAQ(Mem{Base: b, Disp: fetch * f.bytes}, ahead)
		}
		CMPQ(steps, U8(fetch))
		JGE(LabelRef(label("k")))
		Label(label("next"))
		MOVQ(field(offB), ahead)
		ADDQ(field(offBPanel), ahead)
	}

	Label(label("k"))
	f.loadB(f)
	if f.fetch {
		for o := 0; o < f.bytes; o += 64 {
			prefetch(Mem{Base: ahead, Disp: o})
		}
		ADDQ(bk, ahead)
	}
	for i := range m {
		f.mul(f, i, f.rowOfA(i))
	}
	if f.odd != nil {
		f.odd(f)
		for i := range m {
			f.mul(f, i, f.rowOfA(i).Offset(4))
		}
	}
	for g := 0; g*3 < m; g++ {
		ADDQ(ak, rowsA[g])
	}
	ADDQ(bk, b)
	DECQ(steps)
	if f.fetch {
		CMPQ(steps, U8(fetch))
		JGT(LabelRef(label("k")))
		JEQ(LabelRef(label("next")))
		TESTQ(steps, steps)
	}
	JNZ(LabelRef(label("k")))

	MOVQ(field(offC), c)
	MOVQ(field(offLdc), steps)
	for i := range m {
		for j := range f.cols {
			VMOVUPS(f.acc(i, j), Mem{Base: c, Disp: j * f.size})
		}
		ADDQ(steps, c)
	}
	MOVQ(field(offCPanel), RAX)
	ADDQ(RAX, field(offC))
	MOVQ(field(offBPanel), RAX)
	ADDQ(RAX, field(offB))
	DECQ(field(offPanels))
	JNZ(LabelRef(label("panel")))
	VZEROUPPER()
	RET()
}

// rowOfA is where the step's word of row i of A is.
func (f *flavor) rowOfA(i int) Mem {
	mem := Mem{Base: rowsA[i/3]}
	if i%3 > 0 {
		mem.Index, mem.Scale = am, uint8(i%3)
	}
	return mem
}

func loadF32(f *flavor) {
	for j := range f.cols {
		VMOVUPS(Mem{Base: b, Disp: j * f.size}, f.tmp(j))
	}
}

func loadF16(f *flavor) {
	for j := range f.cols {
		VCVTPH2PS(Mem{Base: b, Disp: j * f.size / 2}, f.tmp(j))
	}
}

// loadRowsBF16 widens neighboring bf16.
func loadRowsBF16(f *flavor) {
	for j := range f.cols {
		VPMOVZXWD(Mem{Base: b, Disp: j * 32}, f.tmp(j))
		VPSLLD(U8(16), f.tmp(j), f.tmp(j))
	}
}

// loadRowsQ8 widens q8_0 blocks: scale × code is exact. The scales of a row are
// converted together and broadcast from memory, which costs no arithmetic.
func loadRowsQ8(f *flavor) {
	x := f.tmp(f.cols + 2).AsX()
	VPBROADCASTW(Mem{Base: b}, x)
	for j := 1; j < f.cols/2; j++ {
		VPINSRW(U8(j), Mem{Base: b, Disp: j * 34}, x, x)
	}
	VCVTPH2PS(x, x)
	VMOVUPS(x, f.local)
	for j := range f.cols {
		t := f.tmp(j)
		VPMOVSXBD(Mem{Base: b, Disp: j/2*34 + 2 + j%2*16}, t)
		VCVTDQ2PS(t, t)
		VMULPS_BCST(f.local.Offset(j/2*4), t, t)
	}
}

// mulF32 alternates between two broadcast registers.
func mulF32(f *flavor, i int, mem Mem) {
	t := f.tmp(f.cols + i%2)
	VBROADCASTSS(mem, t)
	for j := range f.cols {
		VFMADD231PS(t, f.tmp(j), f.acc(i, j))
	}
}

func mulBF16(f *flavor, i int, mem Mem) {
	t := f.tmp(f.cols + i%2)
	VBROADCASTSS(mem, t)
	for j := range f.cols {
		vdpbf16ps(t, f.tmp(j), f.acc(i, j))
	}
}

// The wide kernels multiply bf16 pairs as two f32 steps: the low half of a
// word is the even k. tmp(0) is the mask of the high half.
func setupWide(f *flavor) {
	MOVL(U32(0xffff0000), EAX)
	if f.size == 64 {
		VPBROADCASTD(EAX, f.tmp(0))
		return
	}
	MOVQ(RAX, X15)
	VPBROADCASTD(X15, f.tmp(0))
}

func (f *flavor) high(src, dst Op) {
	if f.size == 64 {
		VPANDD(src, f.tmp(0), dst)
	} else {
		VPAND(src, f.tmp(0), dst)
	}
}

func loadWide(f *flavor) {
	for j := range f.cols {
		mem := Mem{Base: b, Disp: j * f.size}
		f.high(mem, f.tmp(2+2*j))
		if f.size == 64 {
			VPSLLD(U8(16), mem, f.tmp(1+2*j))
		} else {
			VMOVUPS(mem, f.tmp(1+2*j))
			VPSLLD(U8(16), f.tmp(1+2*j), f.tmp(1+2*j))
		}
	}
}

// The spread kernels have A in f32: both k of a step side by side. Only B is widened, the even k first.
func loadEven(f *flavor) {
	for j := range f.cols {
		mem := Mem{Base: b, Disp: j * f.size}
		if f.size == 64 {
			VPSLLD(U8(16), mem, f.tmp(j))
		} else {
			VMOVUPS(mem, f.tmp(j))
			VPSLLD(U8(16), f.tmp(j), f.tmp(j))
		}
	}
}

func loadOdd(f *flavor) {
	for j := range f.cols {
		VMOVUPS(Mem{Base: b, Disp: j * f.size}, f.tmp(j))
		if f.size == 64 {
			VPANDD_BCST(oddMask(), f.tmp(j), f.tmp(j))
		} else {
			VPAND(oddMask(), f.tmp(j), f.tmp(j))
		}
	}
}

// oddMask is the mask of the odd k in memory: there is no register left for it.
func oddMask() Mem {
	if odds == nil {
		m := GLOBL("odds", RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(0xffff0000))
		}
		odds = &m
	}
	return *odds
}

var odds *Mem

func mulWide(f *flavor, i int, mem Mem) {
	lo, hi := f.tmp(5), f.tmp(6)
	VBROADCASTSS(mem, hi)
	VPSLLD(U8(16), hi, lo)
	f.high(hi, hi)
	for j := range f.cols {
		VFMADD231PS(lo, f.tmp(1+2*j), f.acc(i, j))
	}
	for j := range f.cols {
		VFMADD231PS(hi, f.tmp(2+2*j), f.acc(i, j))
	}
}

// vdpbf16ps emits dst += src1·src2 over pairs of bf16, which neither Go's
// assembler nor avo knows: EVEX.512.F3.0F38.W0 52 /r with registers only.
func vdpbf16ps(src2, src1, dst VecPhysical) {
	r, v, d := byte(src2.PhysicalIndex()), byte(src1.PhysicalIndex()), byte(dst.PhysicalIndex())
	inv := func(x byte, bit uint) byte { return ^x >> bit & 1 }
	Comment(fmt.Sprintf("VDPBF16PS Z%d, Z%d, Z%d", r, v, d))
	for _, x := range []byte{
		0x62,
		inv(d, 3)<<7 | inv(r, 4)<<6 | inv(r, 3)<<5 | inv(d, 4)<<4 | 2,
		(^v&15)<<3 | 1<<2 | 2,
		2<<5 | inv(v, 4)<<3,
		0x52,
		0xc0 | d&7<<3 | r&7,
	} {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(x)}})
	}
}
