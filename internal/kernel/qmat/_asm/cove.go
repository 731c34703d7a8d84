package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Kernels for Intel's cores with AVX-512. There every operation on 512 bits goes through one of two ports, so that what is
// not a product costs as much as a product, and a VPDPBUSD takes five cycles, so that ten sums must be under way to keep
// both ports busy. Two threads of a core share its decoders, so that fewer and larger instructions count, too. Hence
// blocks that are decoded once for two panels and several tiles of 16 rows, twelve sums, activations that products load
// themselves, and scales by a multiplication (VSCALEFPS is two operations).

// Registers. While a block is decoded, all but the first eight are free for what decode and scales use: codesZ holds the
// codes of either panel first, and stays those of the second.
var (
	coveCodes  = [2][]VecPhysical{zmm[0:8], codesZ}
	coveInts   = append(append([]VecPhysical{}, zmm[8:14]...), zmm[24:30]...) // integer sums
	coveScales = [2]VecPhysical{Z15, Z30}                                     // of types with one scale per block
	coveTemp   = zmm[14]
	coveX      = tableZ // a factor of activations, for types without a table
)

// What is on the stack, in bytes.
const (
	coveCodesAt  = 0                    // 8 registers per panel: the codes for the high parts
	coveScalesAt = coveCodesAt + 2*8*64 // 4 registers per panel: scales of both halves, minima of both
	coveHeadAt   = coveScalesAt + 2*4*64
	coveEndAt    = coveHeadAt + 8  // end of the first panel
	coveRecsAt   = coveEndAt + 8   // records left
	coveXAt      = coveRecsAt + 8  // block of the first tile
	coveTilesAt  = coveXAt + 8     // tiles left
	covePanelsAt = coveTilesAt + 8 // pairs of panels left
	coveDstAt    = covePanelsAt + 8
	coveSumsAt   = coveHeadAt + 64 // per tile, row and panel one register: what has been summed up
)

// coveTiles is how many tiles a kernel takes at most, of 16 rows each.
const coveTiles = 4

// covePair is from how many rows on kernels take two panels; for fewer, twice the decoding is too much.
const covePair = 12

// cove is the frame of a kernel for two panels.
type cove struct {
	*frame
	t    wtype
	n    int
	ws   [2]GPVirtual // block of each panel
	sums GPVirtual    // those of the tile at hand
}

// kernelCove writes the kernel of a type for two panels and n activation rows, or up to four tiles of 16.
func kernelCove(t wtype, n int) {
	f := begin(kernelName("Cove", t, n))
	f.vnni = true
	p := &cove{frame: f, t: t, n: n, ws: [2]GPVirtual{f.w, GP64()}, sums: GP64()}
	p.locals()
	if t.scale != quarters {
		constants(t, f)
	}
	MOVQ(f.w, p.ws[1])
	MOVQ(f.panels, at(f.stack, covePanelsAt))
	MOVQ(f.dst, at(f.stack, coveDstAt))
	Label("panel")
	ADDQ(at(f.arg, argPanel), p.ws[1])
	MOVQ(p.ws[1], at(f.stack, coveEndAt))
	MOVQ(at(f.arg, argX), f.x)
	MOVQ(f.x, at(f.stack, coveXAt))
	MOVQ(at(f.arg, argRecs), f.recs)
	MOVQ(f.recs, at(f.stack, coveRecsAt))
	p.clear()
	Label("record")
	if t.header > 0 {
		p.prefetch(1)
		MOVQ(p.ws[0], at(f.stack, coveHeadAt))
		for h := range 2 {
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
	}
	p.eachTile("tile", func() {
		// As many rows as there are sums for, in equal shares.
		most := len(coveInts) / 2 / p.halvesOf()
		parts := (n + most - 1) / most
		for i := range parts {
			p.columns(i*n/parts, (i+1)*n/parts)
		}
		if p.several() {
			ADDQ(at(f.arg, argTileStep), f.x)
		}
	})
	for h := range 2 {
		ADDQ(U32(uint32(t.block)), p.ws[h])
	}
	MOVQ(at(f.stack, coveXAt), f.x)
	ADDQ(at(f.arg, argStep), f.x)
	MOVQ(f.x, at(f.stack, coveXAt))
	if t.blocks > 1 {
		DECQ(inner)
		JNZ(LabelRef("block"))
	}
	DECQ(at(f.stack, coveRecsAt))
	JNZ(LabelRef("record"))
	p.store()
	MOVQ(p.ws[1], p.ws[0])
	ADDQ(Imm(128), at(f.stack, coveDstAt))
	DECQ(at(f.stack, covePanelsAt))
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// locals reserves the part of the stack.
func (p *cove) locals() {
	rows := p.n
	if p.several() {
		rows *= coveTiles
	}
	p.reserve(coveSumsAt + 2*64*rows)
}

// several reports whether the kernel takes several tiles.
func (p *cove) several() bool { return p.n == 16 }

// eachTile writes what is done for each tile, whose sums p.sums points to.
func (p *cove) eachTile(label string, do func()) {
	LEAQ(at(p.stack, coveSumsAt), p.sums)
	if !p.several() {
		do()
		return
	}
	left := GP64()
	MOVQ(at(p.arg, argTiles), left)
	MOVQ(left, at(p.stack, coveTilesAt))
	Label(label)
	do()
	ADDQ(U32(uint32(2*64*p.n)), p.sums)
	DECQ(at(p.stack, coveTilesAt))
	JNZ(LabelRef(label))
}

// clear starts the sums of a pair of panels and asks for the lines that store will write.
func (p *cove) clear() {
	MOVQ(at(p.stack, coveDstAt), p.dst)
	VPXORD(coveTemp, coveTemp, coveTemp)
	p.eachTile("clear", func() {
		for c := range p.n {
			for h := range 2 {
				VMOVAPS(coveTemp, p.sum(c, h))
				PREFETCHT0(at(p.dst, 64*h))
			}
			ADDQ(at(p.arg, argLdd), p.dst)
		}
	})
}

// sum is what row c of the tile at hand has summed up in panel h.
func (p *cove) sum(c, h int) Mem { return at(p.sums, 128*c+64*h) }

// decode fills the codes of panel h and keeps them for the high parts, with the scales and minima.
func (p *cove) decode(h int) {
	t, f := p.t, *p.frame
	f.w, f.heads = p.ws[h], nil
	if t.header > 0 {
		f.head = GP64()
		MOVQ(at(p.stack, coveHeadAt), f.head)
		if h > 0 {
			ADDQ(at(p.arg, argPanel), f.head)
		}
	}
	if t.scale == quarters {
		constants(t, &f)
	}
	scales(t, &f)
	first := []VecPhysical{scaleZ}
	if t.halves() {
		first = append(first, extraZ)
	}
	var low []VecPhysical
	switch {
	case t.minAt == none:
	case t.halves():
		low = minZ
	default:
		low = []VecPhysical{extraZ}
	}
	for i, z := range first {
		VMOVAPS(z, p.scale(h, i))
	}
	for i, z := range low {
		VMOVAPS(z, p.min(h, i))
	}
	decode(t, &f, tableZ)
	if h == 1 && !t.halves() { // what scales used is free now
		for h, z := range coveScales {
			VMOVAPS(p.scale(h, 0), z)
		}
	}
	for g, z := range codesZ {
		if h == 0 {
			VMOVDQA32(z, coveCodes[0][g])
		}
		if p.scaled(t) {
			VPSLLW(Imm(4), z, coveTemp)
			z = coveTemp
		}
		VMOVDQA32(z, at(p.stack, coveCodesAt+512*h+64*g))
	}
}

// scale is that of half i of the block of panel h, min its minimum.
func (p *cove) scale(h, i int) Mem { return at(p.stack, coveScalesAt+256*h+64*i) }
func (p *cove) min(h, i int) Mem   { return p.scale(h, 2+i) }

// halvesOf is how many sums a row has in a block.
func (p *cove) halvesOf() int {
	if p.t.halves() {
		return 2
	}
	return 1
}

// int is the integer sum of half i of the block of panel h, for row r of those under way.
func (p *cove) int(r, h, i int) VecPhysical { return coveInts[(r*2+h)*p.halvesOf()+i] }

// dot adds to the sums of half i of row r the products of four activations with the codes that of returns for each panel.
func (p *cove) dot(x Mem, r, i int, of func(h int) VecPhysical) {
	for h := range 2 {
		VPDPBUSD_BCST(x, of(h), p.int(r, h, i))
	}
}

// columns multiplies the blocks with activation rows [from, to).
func (p *cove) columns(from, to int) {
	t, n, halves := p.t, to-from, p.halvesOf()
	each := func(do func(r, h, i int)) {
		for r := range n {
			for h := range 2 {
				for i := range halves {
					do(r, h, i)
				}
			}
		}
	}
	large := func() {
		for r := range n {
			p.large(from+r, r)
		}
	}
	for r := range n {
		p.start(from+r, r)
	}
	if !p.scaled(t) {
		large()
		each(func(r, h, i int) { VPSLLD(Imm(4), p.int(r, h, i), p.int(r, h, i)) })
	}
	for g := range 8 / halves {
		for r := range n {
			for i := range halves {
				g := i*4 + g
				p.dot(p.field(from+r, 4*g), r, i, func(h int) VecPhysical { return coveCodes[h][g] })
			}
		}
	}
	if p.scaled(t) {
		large()
	}
	each(func(r, h, i int) { VCVTDQ2PS(p.int(r, h, i), p.int(r, h, i)) })
	for r := range n {
		p.addScaled(from+r, r)
	}
}

// start begins the integer sums of row c with what the offset of the codes makes of it: a sixteenth where the sum
// becomes 16 times as much with the high parts.
func (p *cove) start(c, r int) {
	offset := p.t.offset
	for i := range p.halvesOf() {
		a, b := p.int(r, 0, i), p.int(r, 1, i)
		switch {
		case offset == none:
			VPXORD(a, a, a)
			VPXORD(b, b, b)
			continue
		case p.scaled(p.t), p.t.halves():
			VPBROADCASTD(p.field(c, offset+4*i), a)
		case offset == actSum128:
			VPBROADCASTD(p.field(c, actSum8), a)
		case offset == actSum16:
			VPXORD(a, a, a)
			VPSUBD_BCST(p.field(c, actSum), a, a)
		default:
			panic("offset " + p.t.name)
		}
		VMOVDQA32(a, b)
	}
}

// large adds the products with the high parts of row c.
func (p *cove) large(c, r int) {
	for j := range 2 {
		group := GP64()
		MOVBLZX(p.field(c, actGroup+j), group.As32())
		p.dot(p.field(c, actHigh+4*j), r, j*(p.halvesOf()-1), func(h int) VecPhysical {
			VMOVDQA32(at(p.stack, coveCodesAt+512*h).Idx(group, 8), coveTemp)
			return coveTemp
		})
	}
}

// addScaled adds the sums of the blocks, now floats, to those of row c.
func (p *cove) addScaled(c, r int) {
	t := p.t
	if t.halves() {
		VBROADCASTSS(p.field(c, actScale), coveX)
	}
	for h := range 2 {
		z, factor := p.int(r, h, 0), coveX
		if t.halves() {
			VMULPS(p.scale(h, 0), z, z)
			VFMADD231PS(p.scale(h, 1), p.int(r, h, 1), z)
		} else {
			factor = coveTemp
			VMULPS_BCST(p.field(c, actScale), coveScales[h], factor)
		}
		VFMADD213PS(p.sum(c, h), factor, z)
	}
	for i := range p.halvesOf() {
		if t.minAt == none {
			break
		}
		if t.halves() {
			VCVTDQ2PS_BCST(p.field(c, actHalf0+4*i), coveX)
			VMULPS_BCST(p.field(c, actScale), coveX, coveX)
		} else {
			VBROADCASTSS(p.field(c, actSumD), coveX)
		}
		for h := range 2 {
			if t.scale == small {
				VFNMADD231PS(p.min(h, i), coveX, p.int(r, h, 0))
			} else {
				VFMADD231PS(p.min(h, i), coveX, p.int(r, h, 0))
			}
		}
	}
	for h := range 2 {
		VMOVAPS(p.int(r, h, 0), p.sum(c, h))
	}
}

func (p *cove) prefetch(n int) { prefetchPair(p.frame, p.ws[0], coveEndAt, n) }

// store writes the sums to dst, with what was there if asked to.
func (p *cove) store() {
	KMOVW(at(p.arg, argAdd), K1)
	MOVQ(at(p.stack, coveDstAt), p.dst)
	p.eachTile("store", func() {
		for c := range p.n {
			for h := range 2 {
				VMOVUPS_Z(at(p.dst, 64*h), K1, coveTemp)
				VADDPS(p.sum(c, h), coveTemp, coveTemp)
				VMOVUPS(coveTemp, at(p.dst, 64*h))
			}
			ADDQ(at(p.arg, argLdd), p.dst)
		}
	})
}
