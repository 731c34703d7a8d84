package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The AVX2 kernels take a panel as two halves of 8 rows × 4 elements per register, one
// after the other, and decode one group of four elements at a time: there are only 16 registers.
var (
	wordY  = []VecPhysical{Y0, Y1, Y2, Y3}   // 16-bit sums of a few groups
	intY   = []VecPhysical{Y4, Y5, Y6, Y7}   // 32-bit sums of the block
	accY   = []VecPhysical{Y8, Y9, Y10, Y11} // f32 accumulators
	codeY  = Y12
	tempY  = Y13
	onesY  = Y14
	spareY = Y15
)

// constY makes a 32-byte constant of repeated 32-bit values, once per file.
func constY(name string, vs ...uint32) Mem {
	if m, ok := constants32[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(vs[i%len(vs)]))
	}
	constants32[name] = m
	return m
}

var constants32 = map[string]Mem{}

func constBytes(v int) Mem {
	return constY(fmt.Sprintf("bytes%d", v), uint32(v)*0x01010101)
}

func constFloat(v float32) Mem {
	return constY(fmt.Sprintf("float%08x", math.Float32bits(v)), math.Float32bits(v))
}

// kernelY writes the AVX2 kernel of a type for n activation rows: at most 4, and 2
// where a block has two sums per row.
func kernelY(t wtype, n int) {
	f := &frameY{frame: begin(kernelName("AVX2", t, n)), t: t, n: n}
	f.row8, f.row4 = GP64(), GP64()
	local := AllocLocal(8 * 32)
	f.stack = GP64()
	LEAQ(local, f.stack)
	start := GP64()
	VPCMPEQW(onesY, onesY, onesY)
	VPSRLW(Imm(15), onesY, onesY)
	if t.table {
		f.table = GP64()
		MOVQ(at(f.arg, argTable), f.table)
	}
	Label("panel")
	MOVQ(f.w, start)
	XORQ(f.row8, f.row8)
	XORQ(f.row4, f.row4)
	Label("half")
	MOVQ(start, f.w)
	MOVQ(at(f.arg, argX), f.x)
	MOVQ(at(f.arg, argRecs), f.recs)
	for c := range n {
		VPXOR(accY[c], accY[c], accY[c])
	}
	Label("record")
	if t.header > 0 {
		PREFETCHT2(at(f.w, prefetch))
		f.head = GP64()
		MOVQ(f.w, f.head)
		ADDQ(Imm(uint64(t.header)), f.w)
	}
	var inner GPVirtual
	if t.blocks > 1 {
		inner = GP64()
		MOVQ(U32(uint32(t.blocks)), inner)
		Label("block")
	}
	// The first half of the panel brings the lines of both.
	TESTQ(f.row8, f.row8)
	JNZ(LabelRef("there"))
	for l := 0; l < t.block; l += 64 {
		PREFETCHT2(at(f.w, prefetch+l))
	}
	Label("there")
	switch {
	case t.halves():
		f.blockHalves()
	case t.scale == float:
		f.blockNF4()
	default:
		f.block()
	}
	ADDQ(U32(uint32(t.block)), f.w)
	ADDQ(f.step, f.x)
	if t.blocks > 1 {
		DECQ(inner)
		JNZ(LabelRef("block"))
	}
	DECQ(f.recs)
	JNZ(LabelRef("record"))

	// Store, adding what was there if asked to.
	ldd, dst := GP64(), GP64()
	MOVQ(at(f.arg, argLdd), ldd)
	MOVQ(f.dst, dst)
	VPBROADCASTQ(at(f.arg, argAdd), spareY)
	for c := range n {
		VPAND(at(dst, 0).Idx(f.row8, 4), spareY, tempY)
		VADDPS(tempY, accY[c], accY[c])
		VMOVUPS(accY[c], at(dst, 0).Idx(f.row8, 4))
		if c+1 < n {
			ADDQ(ldd, dst)
		}
	}
	ADDQ(Imm(8), f.row8)
	ADDQ(Imm(4), f.row4)
	CMPQ(f.row8, Imm(16))
	JNE(LabelRef("half"))
	ADDQ(Imm(64), f.dst)
	DECQ(f.panels)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// frameY adds the first row of the half: row8 is 0 or 8, row4 half of that.
type frameY struct {
	*frame
	t                 wtype
	n                 int
	row8, row4, table GPVirtual
	unrolled          bool // the half is known when the kernel is written
	half              int
}

// bytes, words, dwords address the half's eight elements in an array of 16, bits in one of 64 bits.
func (f *frameY) bytes(base Register, off int) Mem  { return f.lanes(base, off, f.row8, 1) }
func (f *frameY) words(base Register, off int) Mem  { return f.lanes(base, off, f.row8, 2) }
func (f *frameY) dwords(base Register, off int) Mem { return f.lanes(base, off, f.row8, 4) }

func (f *frameY) bits(base Register, off int) Mem {
	if f.unrolled {
		return at(base, off+4*f.half)
	}
	return at(base, off).Idx(f.row4, 1)
}

func (f *frameY) lanes(base Register, off int, row8 GPVirtual, size uint8) Mem {
	if f.unrolled {
		return at(base, off+8*f.half*int(size))
	}
	return at(base, off).Idx(row8, size)
}

// decodeAll puts the codes of the half's block on the stack, 32 bytes per group,
// from where load takes them.
func (f *frameY) decodeAll(table int) {
	for g := range 8 {
		f.decode(g, table)
		VMOVDQU(codeY, at(f.stack, 32*g))
	}
}

// decode puts the codes of group g (elements 4g…4g+3) in codeY; table is the
// offset of the look-up table, where there is one.
func (f *frameY) decode(g, table int) {
	t := f.t
	switch t.codes {
	case bytes8:
		VMOVDQU(f.dwords(f.w, 64*g), codeY)
	case nibbles:
		VMOVDQU(f.dwords(f.w, 64*(g%4)), codeY)
		if g >= 4 {
			VPSRLW(Imm(4), codeY, codeY)
		}
		VPAND(constBytes(15), codeY, codeY)
	}
	if t.pairsAt != none {
		to := tempY
		if t.codes == pairs {
			to = codeY
		}
		VMOVDQU(f.dwords(f.w, t.pairsAt+g/4*64), to)
		switch by := t.pairTo - g%4*2; {
		case by > 0:
			VPSLLW(Imm(uint64(by)), to, to)
		case by < 0:
			VPSRLW(Imm(uint64(-by)), to, to)
		}
		VPAND(constBytes(3<<t.pairTo), to, to)
		if to != codeY {
			VPOR(to, codeY, codeY)
		}
	}
	if t.bitsAt != none {
		// Spread 32 bits over 32 bytes.
		VPBROADCASTD(f.bits(f.w, t.bitsAt+8*g), tempY)
		VPSHUFB(constY("spread", 0, 0, 0x01010101, 0x01010101, 0x02020202, 0x02020202, 0x03030303, 0x03030303), tempY, tempY)
		VPAND(constY("bits", 0x08040201, 0x80402010), tempY, tempY)
		VPCMPEQB(constY("bits", 0), tempY, tempY)
		VPAND(constBytes(t.bitAdds), tempY, tempY)
		VPADDB(tempY, codeY, codeY)
	}
	if t.table {
		VMOVDQU(at(f.table, table), tempY)
		VPSHUFB(codeY, tempY, codeY)
	}
	if t.max > 127 && !f.vnni {
		// Signed from here on: VPMADDUBSW takes the magnitude, and the
		// activations the sign.
		VPXOR(constBytes(128), codeY, codeY)
	}
}

// load takes the codes of a group from the stack to codeY, and returns the
// register with the unsigned operand of VPMADDUBSW.
func (f *frameY) load(from Mem) VecPhysical {
	VMOVDQU(from, codeY)
	if f.t.max > 127 {
		VPABSB(codeY, spareY)
		return spareY
	}
	return codeY
}

// pairs multiplies u with four activations; products of two are 16-bit words.
func (f *frameY) pairs(x Mem, u, to VecPhysical) {
	VPBROADCASTD(x, tempY)
	if f.t.max > 127 {
		VPSIGNB(codeY, tempY, tempY)
	}
	VPMADDUBSW(tempY, u, to)
}

// large adds the high parts of the large group of half block h to ints, of both for h < 0.
func (f *frameY) large(h int, ints []VecPhysical) {
	for c := range f.n {
		for i := range 2 {
			if h >= 0 && i != h {
				continue
			}
			r := GP64()
			MOVBLZX(f.field(c, actGroup+i), r.As32())
			u := f.load(at(f.stack, 0).Idx(r, 4))
			f.pairs(f.field(c, actHigh+4*i), u, tempY)
			VPMADDWD(onesY, tempY, tempY)
			VPSLLD(Imm(4), tempY, tempY)
			VPADDD(tempY, ints[c], ints[c])
		}
	}
}

// dots multiplies groups lo … hi−1 and leaves their sums in ints, added to
// what is there unless fresh.
func (f *frameY) dots(lo, hi int, ints []VecPhysical, fresh bool) {
	flush := 32767 / (2 * 127 * f.t.max)
	if f.t.max > 127 {
		flush = 1
	}
	for first := lo; first < hi; first += flush {
		last := min(first+flush, hi)
		for g := first; g < last; g++ {
			u := f.load(at(f.stack, 32*g))
			for c := range f.n {
				if g == first {
					f.pairs(f.field(c, 4*g), u, wordY[c])
				} else {
					f.pairs(f.field(c, 4*g), u, tempY)
					VPADDW(tempY, wordY[c], wordY[c])
				}
			}
		}
		for c := range f.n {
			if first == lo && fresh {
				VPMADDWD(onesY, wordY[c], ints[c])
			} else {
				VPMADDWD(onesY, wordY[c], wordY[c])
				VPADDD(wordY[c], ints[c], ints[c])
			}
		}
	}
}

// addField adds an integer field of each activation record to ints.
func (f *frameY) addField(off int, ints []VecPhysical) {
	if off == none || f.t.max > 127 {
		return
	}
	for c := range f.n {
		VPBROADCASTD(f.field(c, off), tempY)
		VPADDD(tempY, ints[c], ints[c])
	}
}

// smallScale puts header f16 (at head) times byte (at off of the block) into z.
func (f *frameY) smallScale(z VecPhysical, off, head int, sign bool) {
	if sign {
		VPMOVSXBD(f.bytes(f.w, off), z)
	} else {
		VPMOVZXBD(f.bytes(f.w, off), z)
	}
	VCVTDQ2PS(z, z)
	f.headTimes(z, head)
}

func (f *frameY) headTimes(z VecPhysical, head int) {
	VCVTPH2PS(f.words(f.head, head), tempY)
	VMULPS(tempY, z, z)
}

// scaleTo puts the scale of the block, or of half i of it, into z.
func (f *frameY) scaleTo(z VecPhysical, i int) {
	t := f.t
	switch t.scale {
	case half:
		VCVTPH2PS(f.words(f.w, t.scaleAt), z)
	case small:
		f.smallScale(z, t.scaleAt, 0, false)
	case quarters:
		VPMOVZXBD(f.bytes(f.w, t.scaleAt+16*i), z)
		VPAND(constY("dwords15", 15), z, z)
		VCVTDQ2PS(z, z)
		f.headTimes(z, 0)
	case signed:
		f.smallScale(z, t.scaleAt+16*i, 0, true)
		if t.pairTo == 3 { // Q3_K uses its codes times 8
			VMULPS(constFloat(1.0/8), z, z)
		}
	}
}

// minTo puts the minimum of the block, or half the one of half i of it, into z.
func (f *frameY) minTo(z VecPhysical, i int) {
	t := f.t
	switch t.scale {
	case half:
		VCVTPH2PS(f.words(f.w, t.minAt), z)
	case small:
		f.smallScale(z, t.minAt, 32, false)
	case quarters:
		VPMOVZXBD(f.bytes(f.w, t.minAt+16*i), z)
		VPSRLD(Imm(4), z, z)
		VCVTDQ2PS(z, z)
		f.headTimes(z, 32)
		VMULPS(constFloat(1.0/2), z, z)
	}
}

// addScaled adds ints times the weights' scale and the activations'.
func (f *frameY) addScaled(scale VecPhysical, ints []VecPhysical) {
	for c := range f.n {
		VCVTDQ2PS(ints[c], ints[c])
		VBROADCASTSS(f.field(c, actScale), tempY)
		VMULPS(scale, tempY, tempY)
		VFMADD231PS(tempY, ints[c], accY[c])
	}
}

func (f *frameY) block() {
	t := f.t
	f.decodeAll(0)
	f.dots(0, 8, intY, true)
	f.large(-1, intY)
	f.addField(t.offset, intY)
	f.scaleTo(spareY, 0)
	f.addScaled(spareY, intY)
	if t.minAt == none {
		return
	}
	f.minTo(spareY, 0)
	for c := range f.n {
		VBROADCASTSS(f.field(c, actSumD), tempY)
		if t.scale == half {
			VFMADD231PS(tempY, spareY, accY[c])
		} else {
			VFNMADD231PS(tempY, spareY, accY[c])
		}
	}
}

func (f *frameY) blockHalves() {
	t := f.t
	first, second := intY[:2], intY[2:]
	f.decodeAll(0)
	for h, ints := range [][]VecPhysical{first, second} {
		f.dots(4*h, 4*h+4, ints, true)
		f.large(h, ints)
		for c := range f.n {
			if t.offset != none {
				VPBROADCASTD(f.field(c, actHalf0+4*h), tempY)
				VPSLLD(Imm(4), tempY, tempY)
				VPADDD(tempY, ints[c], ints[c])
			}
		}
		f.scaleTo(spareY, h)
		for c := range f.n {
			VCVTDQ2PS(ints[c], ints[c])
			if h == 0 {
				VMULPS(spareY, first[c], first[c])
			} else {
				VFMADD231PS(spareY, second[c], first[c])
			}
		}
	}
	for c := range f.n {
		VBROADCASTSS(f.field(c, actScale), tempY)
		VFMADD231PS(tempY, first[c], accY[c])
	}
	if t.minAt == none {
		return
	}
	for h, off := range []int{actHalf0, actHalf1} {
		f.minTo(spareY, h)
		for c := range f.n {
			VPBROADCASTD(f.field(c, off), first[c])
			VCVTDQ2PS(first[c], first[c])
			VBROADCASTSS(f.field(c, actScale), tempY)
			VMULPS(tempY, first[c], first[c])
			VFMADD231PS(first[c], spareY, accY[c])
		}
	}
}

// blockNF4 multiplies the high bytes of the levels, then the low ones, which count as
// signed here: their offset of 128 comes back from the activations' sum.
func (f *frameY) blockNF4() {
	f.decodeAll(0)
	f.dots(0, 8, intY, true)
	f.large(-1, intY)
	for c := range f.n {
		VPSLLD(Imm(8), intY[c], intY[c])
	}
	f.decodeAll(64)
	f.dots(0, 8, intY, false)
	f.large(-1, intY)
	for c := range f.n {
		VPBROADCASTD(f.field(c, actSum128), tempY)
		VPSUBD(tempY, intY[c], intY[c])
	}
	VMOVUPS(f.dwords(f.head, 0), spareY)
	VMULPS(constFloat(1.0/(63*256)), spareY, spareY)
	f.addScaled(spareY, intY)
}
