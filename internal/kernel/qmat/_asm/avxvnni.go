package main

import (
	"leolm/internal/kernel/_tile"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Kernels with AVX-VNNI: VPDPBUSD on 256 bits, which Intel's processors for laptops and desktops have since 2021, and no
// AVX-512. As in cove.go a product takes five cycles and two can begin in one, so that twelve sums are under way: those of
// six rows with both halves of the panel, of 8 of its rows each. There are only 16 registers: codes are decoded to the stack, once
// for all rows, and what rows have summed up is there, too.

var (
	laneInts  = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11} // integer sums
	laneCodes = [2]VecPhysical{Y12, Y13}                                        // of a group, for each half of the panel
	laneX     = Y14
	laneTemp  = Y15
)

// What is on the stack, in bytes; all of it once per half of the panel.
const (
	laneCodesAt  = 0                   // 8 registers: the codes
	laneHighAt   = laneCodesAt + 2*256 // 8 registers: the codes for the high parts, where they are others
	laneScalesAt = laneHighAt + 2*256  // 4 registers: scales of both halves of the block, minima of both
	laneSumsAt   = laneScalesAt + 2*128
)

// lanes is the frame of a kernel with AVX-VNNI.
type lanes struct {
	*frameY
}

// kernelLanes writes the kernel of a type for n activation rows.
func kernelLanes(t wtype, n int) {
	f := &frameY{frame: begin(kernelName("AVXVNNI", t, n)), t: t, n: n, unrolled: true}
	f.vnni = true
	p := &lanes{f}
	p.reserve(laneSumsAt + 64*n)
	if t.table {
		f.table = GP64()
		MOVQ(at(f.arg, argTable), f.table)
	}
	Label("panel")
	MOVQ(at(f.arg, argX), f.x)
	MOVQ(at(f.arg, argRecs), f.recs)
	VPXOR(laneTemp, laneTemp, laneTemp)
	for c := range n {
		for h := range 2 {
			VMOVUPS(laneTemp, p.sum(c, h))
		}
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
	for l := 0; l < t.block; l += 64 {
		PREFETCHT2(at(f.w, prefetch+l))
	}
	most := len(laneInts) / 2 / p.halvesOf()
	if 2*n <= most {
		p.few()
	} else {
		for f.half = range 2 {
			p.decode()
		}
		parts := (n + most - 1) / most
		for i := range parts {
			p.columns(i*n/parts, (i+1)*n/parts)
		}
	}
	ADDQ(U32(uint32(t.block)), f.w)
	ADDQ(f.step, f.x)
	if t.blocks > 1 {
		DECQ(inner)
		JNZ(LabelRef("block"))
	}
	DECQ(f.recs)
	JNZ(LabelRef("record"))
	p.store()
	ADDQ(Imm(64), f.dst)
	DECQ(f.panels)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// sum is what row c has summed up in a half of the panel.
func (p *lanes) sum(c, h int) Mem { return at(p.stack, laneSumsAt+64*c+32*h) }

// scale is that of half i of the block, min its minimum.
func (p *lanes) scale(h, i int) Mem { return at(p.stack, laneScalesAt+128*h+32*i) }
func (p *lanes) min(h, i int) Mem   { return p.scale(h, 2+i) }

// decode puts the codes, scales and minima of a half of the panel on the stack.
func (p *lanes) decode() {
	for g := range 8 {
		p.frameY.decode(g, 0)
		VMOVDQU(codeY, at(p.stack, laneCodesAt+256*p.half+32*g))
		if p.scaled(p.t) {
			VPSLLW(Imm(4), codeY, codeY)
			VMOVDQU(codeY, at(p.stack, laneHighAt+256*p.half+32*g))
		}
	}
	p.keepScales()
}

// keepScales puts scales and minima of a half of the panel on the stack.
func (p *lanes) keepScales() {
	for i := range p.halvesOf() {
		p.scaleTo(spareY, i)
		VMOVUPS(spareY, p.scale(p.half, i))
		if p.t.minAt != none {
			p.minTo(spareY, i)
			VMOVUPS(spareY, p.min(p.half, i))
		}
	}
}

// few multiplies the block with all rows, which are so few that decoding takes most of the time: each code is used
// where it was decoded, and high parts have sums of their own, as columns n and more.
func (p *lanes) few() {
	n, halves := p.n, p.halvesOf()
	for r := range n {
		at, zero := r, n+r
		if !p.scaled(p.t) { // start gives a sixteenth
			at, zero = n+r, r
		}
		p.start(r, at)
		for h := range 2 {
			for i := range halves {
				z := p.int(zero, h, i)
				VPXOR(z, z, z)
			}
		}
	}
	for p.half = range 2 {
		for g := range 8 {
			p.frameY.decode(g, 0)
			VMOVDQU(codeY, at(p.stack, laneCodesAt+256*p.half+32*g))
			for r := range n {
				VPBROADCASTD(p.field(r, 4*g), laneX)
				tile.DotBytes(laneX, codeY, p.int(r, p.half, g*halves/8))
			}
		}
		p.keepScales()
	}
	for r := range n {
		p.large(r, n+r, laneCodesAt)
	}
	for i, z := range laneInts[:2*n*halves] {
		high := laneInts[2*n*halves+i]
		VPSLLD(Imm(4), high, high)
		VPADDD(high, z, z)
		VCVTDQ2PS(z, z)
	}
	for r := range n {
		p.addScaled(r, r)
	}
}

// halvesOf is how many sums a row has in a block.
func (p *lanes) halvesOf() int {
	if p.t.halves() {
		return 2
	}
	return 1
}

// int is the integer sum of half i of the block in half h of the panel, for row r of those under way.
func (p *lanes) int(r, h, i int) VecPhysical { return laneInts[(r*2+h)*p.halvesOf()+i] }

// columns multiplies the block with activation rows [from, to).
func (p *lanes) columns(from, to int) {
	t, n, halves := p.t, to-from, p.halvesOf()
	each := func(do func(z VecPhysical)) {
		for _, z := range laneInts[:2*n*halves] {
			do(z)
		}
	}
	large := func(codes int) {
		for r := range n {
			p.large(from+r, r, codes)
		}
	}
	for r := range n {
		p.start(from+r, r)
	}
	if !p.scaled(t) {
		large(laneCodesAt)
		each(func(z VecPhysical) { VPSLLD(Imm(4), z, z) })
	}
	for g := range 8 / halves {
		for i := range halves {
			g := i*4 + g
			for h, z := range laneCodes {
				VMOVDQU(at(p.stack, laneCodesAt+256*h+32*g), z)
			}
			for r := range n {
				VPBROADCASTD(p.field(from+r, 4*g), laneX)
				for h, z := range laneCodes {
					tile.DotBytes(laneX, z, p.int(r, h, i))
				}
			}
		}
	}
	if p.scaled(t) {
		large(laneHighAt)
	}
	each(func(z VecPhysical) { VCVTDQ2PS(z, z) })
	for r := range n {
		p.addScaled(from+r, r)
	}
}

// start begins the integer sums of r with what the offset of the codes makes of row c: a sixteenth of it where the sum
// becomes 16 times as much with the high parts.
func (p *lanes) start(c, r int) {
	offset := p.t.offset
	for i := range p.halvesOf() {
		a, b := p.int(r, 0, i), p.int(r, 1, i)
		switch {
		case offset == none:
			VPXOR(a, a, a)
			VPXOR(b, b, b)
			continue
		case p.scaled(p.t), p.t.halves():
			VPBROADCASTD(p.field(c, offset+4*i), a)
		case offset == actSum128:
			VPBROADCASTD(p.field(c, actSum8), a)
		case offset == actSum16:
			VPBROADCASTD(p.field(c, actSum), laneX)
			VPXOR(a, a, a)
			VPSUBD(laneX, a, a)
		default:
			panic("offset " + p.t.name)
		}
		VMOVDQA(a, b)
	}
}

// large adds the products of the codes at an offset of the stack with the high parts of row c to the sums of r.
func (p *lanes) large(c, r, codes int) {
	for j := range 2 {
		group := GP64()
		MOVBLZX(p.field(c, actGroup+j), group.As32())
		VPBROADCASTD(p.field(c, actHigh+4*j), laneX)
		for h := range 2 {
			VMOVDQU(at(p.stack, codes+256*h).Idx(group, 4), laneTemp)
			tile.DotBytes(laneX, laneTemp, p.int(r, h, j*(p.halvesOf()-1)))
		}
	}
}

// addScaled adds the sums of the block, now floats, to those of row c.
func (p *lanes) addScaled(c, r int) {
	t := p.t
	VBROADCASTSS(p.field(c, actScale), laneX)
	for h := range 2 {
		z, factor := p.int(r, h, 0), laneX
		if t.halves() {
			VMULPS(p.scale(h, 0), z, z)
			VFMADD231PS(p.scale(h, 1), p.int(r, h, 1), z)
		} else {
			factor = laneTemp
			VMULPS(p.scale(h, 0), laneX, factor)
		}
		VFMADD213PS(p.sum(c, h), factor, z)
	}
	for i := range p.halvesOf() {
		if t.minAt == none {
			break
		}
		if t.halves() {
			VPBROADCASTD(p.field(c, actHalf0+4*i), laneX)
			VCVTDQ2PS(laneX, laneX)
			VBROADCASTSS(p.field(c, actScale), laneTemp)
			VMULPS(laneTemp, laneX, laneX)
		} else {
			VBROADCASTSS(p.field(c, actSumD), laneX)
		}
		for h := range 2 {
			if t.scale == small {
				VFNMADD231PS(p.min(h, i), laneX, p.int(r, h, 0))
			} else {
				VFMADD231PS(p.min(h, i), laneX, p.int(r, h, 0))
			}
		}
	}
	for h := range 2 {
		VMOVUPS(p.int(r, h, 0), p.sum(c, h))
	}
}

// store writes the sums to dst, with what was there if asked to.
func (p *lanes) store() {
	ldd, dst := GP64(), GP64()
	MOVQ(at(p.arg, argLdd), ldd)
	MOVQ(p.dst, dst)
	VPBROADCASTQ(at(p.arg, argAdd), laneX)
	for c := range p.n {
		for h := range 2 {
			VPAND(at(dst, 32*h), laneX, laneTemp)
			VADDPS(p.sum(c, h), laneTemp, laneTemp)
			VMOVUPS(laneTemp, at(dst, 32*h))
		}
		if c+1 < p.n {
			ADDQ(ldd, dst)
		}
	}
}
