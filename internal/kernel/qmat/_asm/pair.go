package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Registers of the kernels that multiply two panels at once. The codes of both take half of all, so that one load
// of four activations serves two products; what the 16 rows have summed up is in memory.
var (
	pairCodes = [2][]VecPhysical{zmm[0:8], zmm[8:16]}
	pairInts  = [2][]VecPhysical{zmm[16:20], zmm[20:24]}
	pairX     = zmm[24:26] // activations, in turn
	pairTemp  = zmm[26:28] // one per panel
	pairMins  = zmm[28:30]
	pairMask  = zmm[30:32] // the constants of decode; IQ4_NL has its table in the second
)

// What is on the stack, in bytes; everything once per panel.
const (
	pairCodesAt  = 0                     // 8 registers, the codes for the high parts
	pairScalesAt = pairCodesAt + 2*8*64  // 4 registers, the scales times 1 + j/4
	pairHeadsAt  = pairScalesAt + 2*4*64 // 2 registers, scale and minimum of the header
	pairEndAt    = pairHeadsAt + 2*2*64  // end of the first panel; not once per panel
	pairSumsAt   = pairEndAt + 64        // one register per row
)

// pairRows is how many rows are under way at once.
const pairRows = 4

// pairable reports whether a type has kernels for two panels at once: those with one scale per block, of 16 bits or
// less.
func (t wtype) pairable() bool { return t.scale == half || t.scale == small }

// pair is the frame of a kernel for two panels.
type pair struct {
	*frame
	t  wtype
	n  int
	ws [2]GPVirtual // block of each panel
}

// kernelPair writes the kernel of a type for n activation rows and two panels at once, with VPDPBUSD.
func kernelPair(t wtype, n int) {
	f := begin(kernelName("Pair", t, n))
	f.vnni = true
	p := &pair{frame: f, t: t, n: n, ws: [2]GPVirtual{f.w, GP64()}}
	p.constants()
	MOVQ(f.w, p.ws[1])
	Label("panel")
	ADDQ(at(f.arg, argPanel), p.ws[1])
	MOVQ(p.ws[1], at(f.stack, pairEndAt))
	MOVQ(at(f.arg, argX), f.x)
	MOVQ(at(f.arg, argRecs), f.recs)
	VPXORD(pairTemp[0], pairTemp[0], pairTemp[0])
	for i := range 2 * n {
		VMOVAPS(pairTemp[0], at(f.stack, pairSumsAt+64*i))
	}
	p.prefetchDst()
	Label("record")
	if t.header > 0 {
		p.prefetch(1)
		for h := range 2 {
			for i := range 2 {
				VCVTPH2PS(at(p.ws[h], 32*i), pairTemp[i])
				VMOVAPS(pairTemp[i], at(f.stack, pairHeadsAt+128*h+64*i))
			}
			ADDQ(Imm(uint64(t.header)), p.ws[h])
		}
	}
	var inner GPVirtual
	if t.blocks > 1 {
		inner = GP64()
		MOVQ(U32(uint32(t.blocks)), inner)
		Label("block")
	}
	p.prefetch(t.block)
	for h := range 2 {
		p.decode(h)
		p.scales(h)
	}
	for c := 0; c < n; c += pairRows {
		p.columns(c, min(pairRows, n-c))
	}
	for h := range 2 {
		ADDQ(U32(uint32(t.block)), p.ws[h])
	}
	ADDQ(at(f.arg, argStep), f.x) // not enough registers
	if t.blocks > 1 {
		DECQ(inner)
		JNZ(LabelRef("block"))
	}
	DECQ(f.recs)
	JNZ(LabelRef("record"))
	p.store()
	MOVQ(p.ws[1], p.ws[0])
	ADDQ(Imm(128), f.dst)
	DECQ(f.panels)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// constants fills the registers that stay, and aligns the part of the stack.
func (p *pair) constants() {
	p.masks = map[int]VecPhysical{}
	if p.t.codes == nibbles {
		p.masks[15] = pairMask[0]
		fillBytes(15, pairMask[0])
	}
	if p.t.bitsAt != none {
		p.masks[p.t.bitAdds] = pairMask[1]
		fillBytes(p.t.bitAdds, pairMask[1])
	}
	if p.t.table {
		r := GP64()
		MOVQ(at(p.arg, argTable), r)
		VMOVDQU32(at(r, 0), pairMask[1])
	}
	p.reserve(pairSumsAt + 2*64*p.n)
}

// decode fills the codes of panel h and keeps what the high parts are multiplied with: the codes, times 16 where
// they stay below 256.
func (p *pair) decode(h int) {
	t, w, z := p.t, p.ws[h], pairCodes[h]
	keep := func(g int, z VecPhysical) { VMOVDQA32(z, at(p.stack, pairCodesAt+512*h+64*g)) }
	if t.codes == bytes8 {
		for g := range 8 {
			VMOVDQU32(at(w, 64*g), z[g])
			keep(g, z[g]) // every other block crosses lines where it is
		}
		return
	}
	mask := p.masks[15]
	for i := range 4 {
		low, high := z[i], z[i+4]
		VMOVDQU32(at(w, 64*i), high)
		VPANDD(mask, high, low)
		VPXORD(low, high, high) // the high nibbles where they are, which is times 16
		if p.scaled(t) {
			keep(i+4, high)
			VPSLLW(Imm(4), low, pairTemp[i%2])
			keep(i, pairTemp[i%2])
		}
		VPSRLW(Imm(4), high, high)
	}
	for g := range 8 {
		if t.bitsAt != none {
			KMOVQ(at(w, t.bitsAt+8*g), K2)
			VPADDB(p.masks[t.bitAdds], z[g], K2, z[g])
		}
		if t.table {
			VPSHUFB(z[g], pairMask[1], z[g])
		}
		if !p.scaled(t) {
			keep(g, z[g])
		}
	}
}

// scales keeps the scales of panel h times 1, 1¼, 1½ and 1¾ and loads the minima.
func (p *pair) scales(h int) {
	t, w := p.t, p.ws[h]
	scale, quarter, low := pairInts[h][0], pairInts[h][1], pairMins[h]
	switch t.scale {
	case half:
		VCVTPH2PS(at(w, t.scaleAt), scale)
		if t.minAt != none {
			VCVTPH2PS(at(w, t.minAt), low)
		}
	case small:
		for i, z := range []VecPhysical{scale, low} {
			VPMOVZXBD(at(w, []int{t.scaleAt, t.minAt}[i]), z)
			VCVTDQ2PS(z, z)
			VMULPS(at(p.stack, pairHeadsAt+128*h+64*i), z, z)
		}
	}
	VMULPS_BCST(constFloat(0.25), scale, quarter)
	for j := range 4 {
		if j > 0 {
			VADDPS(quarter, scale, scale)
		}
		VMOVAPS(scale, at(p.stack, pairScalesAt+256*h+64*j))
	}
}

// both writes an operation for both panels.
func both(op func(h int)) {
	for h := range 2 {
		op(h)
	}
}

// acts is the register that takes the activations of row i.
func (p *pair) acts(i int) VecPhysical { return pairX[i%len(pairX)] }

// dot adds the products of four activations with the codes that of returns for each panel.
func (p *pair) dot(c, off, i int, of func(h int) VecPhysical) {
	x := p.acts(i)
	VPBROADCASTD(p.field(c+i, off), x)
	both(func(h int) { VPDPBUSD(x, of(h), pairInts[h][i]) })
}

// columns multiplies the blocks with activation rows c … c+n−1.
func (p *pair) columns(c, n int) {
	t := p.t
	var pick [pairRows]GPVirtual // where the scales of each row are
	for i := range n {
		p.start(c, i)
	}
	large := func() {
		for i := range n {
			pick[i] = p.large(c, i)
		}
	}
	if !p.scaled(t) {
		large()
		for i := range n {
			both(func(h int) { VPSLLD(Imm(4), pairInts[h][i], pairInts[h][i]) })
		}
	}
	for g := range 8 {
		for i := range n {
			p.dot(c, 4*g, i, func(h int) VecPhysical { return pairCodes[h][g] })
		}
	}
	if p.scaled(t) {
		large()
	}
	for i := range n {
		both(func(h int) { VCVTDQ2PS(pairInts[h][i], pairInts[h][i]) })
	}
	for i := range n {
		VBROADCASTSS(p.field(c+i, actExp), p.acts(i))
		both(func(h int) { VSCALEFPS(p.acts(i), pairInts[h][i], pairInts[h][i]) })
	}
	for i := range n {
		sum := func(h int) Mem { return at(p.stack, pairSumsAt+128*(c+i)+64*h) }
		both(func(h int) {
			VMOVAPS(at(p.stack, pairScalesAt+256*h).Idx(pick[i], 8), pairTemp[h])
			VFMADD213PS(sum(h), pairTemp[h], pairInts[h][i])
		})
		if t.minAt != none {
			VBROADCASTSS(p.field(c+i, actSumD), p.acts(i))
			both(func(h int) {
				if t.scale == small {
					VFNMADD231PS(p.acts(i), pairMins[h], pairInts[h][i])
				} else {
					VFMADD231PS(p.acts(i), pairMins[h], pairInts[h][i])
				}
			})
		}
		both(func(h int) { VMOVAPS(pairInts[h][i], sum(h)) })
	}
}

// start begins the integer sums of row c+i with the offset of the codes, which becomes 16 times as much where the
// high parts do.
func (p *pair) start(c, i int) {
	a, b := pairInts[0][i], pairInts[1][i]
	offset := p.t.offset
	switch {
	case offset == none:
		VPXORD(a, a, a)
		VPXORD(b, b, b)
		return
	case p.scaled(p.t):
		VPBROADCASTD(p.field(c+i, offset), a)
	case offset == actSum128:
		VPBROADCASTD(p.field(c+i, actSum8), a)
	case offset == actSum16:
		VPXORD(a, a, a)
		VPSUBD_BCST(p.field(c+i, actSum), a, a)
	default:
		panic("offset " + p.t.name)
	}
	VMOVDQA32(a, b)
}

// large adds the products with the high parts of row c+i and returns which scales the row takes, as 8·j. One load
// brings all three indexes.
func (p *pair) large(c, i int) GPVirtual {
	step := GP64()
	MOVL(p.field(c+i, actGroup), step.As32())
	for j := range 2 {
		group := GP64()
		MOVBLZX(step.As8(), group.As32())
		SHRL(Imm(8), step.As32())
		p.dot(c, actHigh+4*j, i, func(h int) VecPhysical {
			VMOVDQA32(at(p.stack, pairCodesAt+512*h).Idx(group, 8), pairTemp[h])
			return pairTemp[h]
		})
	}
	return step
}

func (p *pair) prefetch(n int) { prefetchPair(p.frame, p.ws[0], pairEndAt, n) }

// prefetchPair asks for n bytes of each panel that will be needed soon, w being the block of the first one. Behind its end,
// which is on the stack at endAt, comes the other one of the pair, so that there it asks for the panel after that.
func prefetchPair(f *frame, w GPVirtual, endAt, n int) {
	ahead, beyond := GP64(), GP64()
	LEAQ(at(w, prefetch), ahead)
	MOVQ(ahead, beyond)
	ADDQ(at(f.arg, argPanel), beyond)
	CMPQ(ahead, at(f.stack, endAt))
	CMOVQCC(beyond, ahead)
	for h := range 2 {
		if h > 0 {
			ADDQ(at(f.arg, argPanel), ahead)
		}
		for l := 0; l < n; l += 64 {
			PREFETCHT2(at(ahead, l))
		}
	}
}

// prefetchDst asks for the lines that store will write.
func (p *pair) prefetchDst() {
	ldd, dst := GP64(), GP64()
	MOVQ(at(p.arg, argLdd), ldd)
	MOVQ(p.dst, dst)
	for c := range p.n {
		PREFETCHT0(at(dst, 0))
		PREFETCHT0(at(dst, 64))
		if c+1 < p.n {
			ADDQ(ldd, dst)
		}
	}
}

// store writes the sums to dst, with what was there if asked to.
func (p *pair) store() {
	KMOVW(at(p.arg, argAdd), K1)
	ldd, dst := GP64(), GP64()
	MOVQ(at(p.arg, argLdd), ldd)
	MOVQ(p.dst, dst)
	for c := range p.n {
		both(func(h int) {
			VMOVUPS_Z(at(dst, 64*h), K1, pairTemp[h])
			VADDPS(at(p.stack, pairSumsAt+128*c+64*h), pairTemp[h], pairTemp[h])
			VMOVUPS(pairTemp[h], at(dst, 64*h))
		})
		if c+1 < p.n {
			ADDQ(ldd, dst)
		}
	}
}
