package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	tile "leolm/internal/kernel/_tile"
)

// Kernels of the matrix units. A block's codes of 16 rows are, as they lie in registers, the tile that the units want: a
// row of it is four elements of each. The activations of a tile of rows are the other factor: their bytes as they lie in
// the records, and the high parts of their large groups, which a second array holds with zeros around them. The integer
// sums of a block are exact whoever makes them, and what follows them is done by the same operations in the same order as
// in the kernels without tiles, so that the results have the same bits.
//
// Blocks are taken in groups, so that the way from codes to tiles to sums, which is long, is under way for several:
// all codes of a group go to the stack, all products are made, then come all sums.

// Fields of args for these kernels.
const (
	argHigh, argHighStep, argConfig = 80, 88, 96
	highRow                         = 32 // bytes of a row's high parts of a block
)

// A slot on the stack holds what a group keeps of a block.
const (
	slotCodes  = 0    // 8 × 64 bytes
	slotOther  = 512  // the codes times 16, or NF4's low bytes
	slotScales = 1024 // up to four vectors of scales,
	slotMin    = slotScales + 4*64
	slotSums   = slotMin + 64 // and the sums: tiles of 16 rows
	tileBytes  = 16 * 64
)

// What the tiles are used for: up to four sums, and two each of both factors.
const (
	sumTiles, actTile, codeTile = 4, 4, 6
)

// part is one product: sum += activations · codes.
type part struct {
	sum   int
	high  bool // of the activations: the high parts
	actAt int  // first byte of a row
	codes int  // in the slot
}

// matrixPlan is what differs between types.
type matrixPlan struct {
	group int // blocks
	sums  int // per block
	parts []part
}

func (t wtype) matrixPlan() matrixPlan {
	scaled := t.max <= 15
	const second = 4 * 64 // codes of the second half
	switch {
	case t.scale == float:
		return matrixPlan{2, 4, []part{{0, false, 0, slotCodes}, {1, true, 0, slotCodes}, {2, false, 0, slotOther}, {3, true, 0, slotOther}}}
	case t.halves() && scaled:
		return matrixPlan{2, 2, []part{{0, false, 0, slotCodes}, {0, true, 0, slotOther}, {1, false, 16, slotCodes + second}, {1, true, 16, slotOther + second}}}
	case t.halves():
		return matrixPlan{2, 4, []part{{0, false, 0, slotCodes}, {1, true, 0, slotCodes}, {2, false, 16, slotCodes + second}, {3, true, 16, slotCodes + second}}}
	case scaled:
		return matrixPlan{4, 1, []part{{0, false, 0, slotCodes}, {0, true, 0, slotOther}}}
	}
	return matrixPlan{4, 2, []part{{0, false, 0, slotCodes}, {1, true, 0, slotCodes}}}
}

func (p matrixPlan) slotSize() int { return slotSums + p.sums*tileBytes }

// Registers of the tile instructions; all others are avo's to choose.
var (
	tileActs   = R12
	tileHigh   = R10
	tileSlot   = R13
	tileStride = R11
)

// kernelMatrix writes the kernel of a type for n activation rows.
func kernelMatrix(t wtype, n int) {
	f, p := begin(kernelName("AMX", t, n)), t.matrixPlan()
	f.vnni = true
	f.steps = t.scale == half || t.scale == small
	MOVQ(at(f.arg, argConfig), tileActs)
	tile.LoadConfig(tileActs)
	constants(t, f)
	f.reserve(p.group * p.slotSize())

	high, inner, left := GP64(), GP64(), GP64()
	Label("panel")
	MOVQ(at(f.arg, argX), f.x)
	MOVQ(at(f.arg, argHigh), high)
	MOVQ(at(f.arg, argRecs), f.recs)
	for c := range n {
		VPXORD(zmm[c], zmm[c], zmm[c])
	}
	f.prefetchDst(n)
	Label("record")
	if t.blocks > 1 {
		PREFETCHT2(at(f.w, prefetch))
		f.head = GP64()
		MOVQ(f.w, f.head)
		ADDQ(Imm(uint64(t.header)), f.w)
		MOVQ(U32(uint32(t.blocks/p.group)), left)
		Label("group")
		MOVQ(U32(uint32(p.group)), inner)
	} else {
		MOVQ(f.recs, inner)
		CMPQ(inner, Imm(uint64(p.group)))
		JLE(LabelRef("few"))
		MOVQ(U32(uint32(p.group)), inner)
		Label("few")
	}
	f.decodeGroup(t, p, inner)
	f.multiplyGroup(p, inner, high)
	f.addGroup(t, p, n, inner)
	if t.blocks > 1 {
		DECQ(left)
		JNZ(LabelRef("group"))
		DECQ(f.recs)
	} else {
		SUBQ(inner, f.recs)
	}
	JNZ(LabelRef("record"))
	f.storePanel(n)
	JNZ(LabelRef("panel"))
	tile.Release()
	VZEROUPPER()
	RET()
}

// decodeGroup fills the slots of a group with codes and scales, and moves on in the weights.
func (f *frame) decodeGroup(t wtype, p matrixPlan, inner GPVirtual) {
	slot, count := GP64(), GP64()
	MOVQ(f.stack, slot)
	MOVQ(inner, count)
	Label("decode")
	for l := 0; l < t.block; l += 64 {
		PREFETCHT2(at(f.w, prefetch+l))
	}
	scales(t, f)
	switch {
	case t.halves():
		for i, z := range append([]VecPhysical{scaleZ, extraZ}, minZ...)[:2+2*b2i(t.scale == quarters)] {
			VMOVAPS(z, at(slot, slotScales+64*i))
		}
	case t.scale == float:
		VMOVAPS(scaleZ, at(slot, slotScales))
	default:
		f.keepScalesAt(slot, slotScales)
		if t.minAt != none {
			VMOVAPS(extraZ, at(slot, slotMin))
		}
	}
	u := t
	u.table = t.table && t.scale != float
	decode(u, f, tableZ)
	for g := range 8 {
		z := intZ[g%4]
		switch {
		case t.scale == float:
			VPSHUFB(codesZ[g], extraZ, z)
			VMOVDQA32(z, at(slot, slotOther+64*g))
			VPSHUFB(codesZ[g], tableZ, codesZ[g])
		case f.scaled(t):
			VPSLLW(Imm(4), codesZ[g], z)
			VMOVDQA32(z, at(slot, slotOther+64*g))
		}
		VMOVDQA32(codesZ[g], at(slot, slotCodes+64*g))
	}
	ADDQ(U32(uint32(t.block)), f.w)
	ADDQ(U32(uint32(p.slotSize())), slot)
	DECQ(count)
	JNZ(LabelRef("decode"))
}

// multiplyGroup makes the sums of all blocks of a group, and moves on in the high parts.
func (f *frame) multiplyGroup(p matrixPlan, inner, high GPVirtual) {
	MOVQ(f.x, tileActs)
	MOVQ(f.stack, tileSlot)
	for b := range p.group {
		if b > 0 {
			CMPQ(inner, Imm(uint64(b)))
			JEQ(LabelRef("multiplied"))
		}
		MOVQ(high, tileHigh)
		// What the tiles of the factors hold, and which of the two is the older.
		held, older := map[int]part{}, map[int]int{}
		load := func(first int, key part, do func(t int)) int {
			for t := first; t < first+2; t++ {
				if held[t] == key {
					return t
				}
			}
			t := first + older[first]
			older[first] ^= 1
			held[t] = key
			do(t)
			return t
		}
		for _, x := range p.parts {
			sum := (b*p.sums + x.sum) % sumTiles
			if isFirst(p.parts, x) {
				tile.Zero(sum)
			}
			a := load(actTile, part{sum: 1, high: x.high, actAt: x.actAt}, func(t int) {
				if x.high {
					MOVQ(U32(highRow), tileStride)
					tile.Load(tileHigh, tileStride, x.actAt, t)
					return
				}
				MOVQ(U32(record), tileStride)
				tile.Load(tileActs, tileStride, x.actAt, t)
			})
			c := load(codeTile, part{sum: 2, codes: x.codes}, func(t int) {
				MOVQ(U32(64), tileStride)
				tile.Load(tileSlot, tileStride, x.codes, t)
			})
			tile.DotSignedUnsigned(c, a, sum)
		}
		MOVQ(U32(64), tileStride)
		for s := range p.sums {
			tile.Store((b*p.sums+s)%sumTiles, tileSlot, tileStride, slotSums+s*tileBytes)
		}
		ADDQ(at(f.arg, argStep), tileActs)
		ADDQ(at(f.arg, argHighStep), high)
		ADDQ(U32(uint32(p.slotSize())), tileSlot)
	}
	Label("multiplied")
}

// isFirst reports whether no part before x adds to its sum.
func isFirst(parts []part, x part) bool {
	for _, y := range parts {
		if y.sum == x.sum {
			return y == x
		}
	}
	return true
}

// addGroup adds the sums of all blocks of a group, times their scales, to the accumulators, and moves on in the
// activations.
func (f *frame) addGroup(t wtype, p matrixPlan, n int, inner GPVirtual) {
	slot, count := GP64(), GP64()
	MOVQ(f.stack, slot)
	MOVQ(inner, count)
	Label("add")
	sum := func(i, c int) Mem { return at(slot, slotSums+i*tileBytes+64*c) }
	switch {
	case t.halves():
		f.addHalves(t, n, slot, sum)
	default:
		f.addWhole(t, n, slot, sum)
	}
	ADDQ(at(f.arg, argStep), f.x)
	ADDQ(U32(uint32(p.slotSize())), slot)
	DECQ(count)
	JNZ(LabelRef("add"))
}

// addWhole is addGroup for one block of a type with one scale per block.
func (f *frame) addWhole(t wtype, n int, slot GPVirtual, sum func(i, c int) Mem) {
	scale := codesZ[0]
	switch {
	case t.scale == float:
		VMOVAPS(at(slot, slotScales), scale)
	case t.minAt != none:
		VMOVAPS(at(slot, slotMin), extraZ)
	}
	for c := range n {
		z, y := intZ[c%4], codesZ[1+c%4]
		switch {
		case t.scale == float:
			VPSLLD(Imm(4), sum(1, c), z)
			VPADDD(sum(0, c), z, z)
			VPADDD_BCST(f.field(c, t.offset), z, z)
			VPSLLD(Imm(8), z, z)
			VPSLLD(Imm(4), sum(3, c), y)
			VPADDD(sum(2, c), y, y)
			VPADDD(y, z, z)
			VCVTDQ2PS(z, z)
			VMULPS_BCST(f.field(c, actScale), scale, slotZ)
			VFMADD231PS(slotZ, z, zmm[c])
			continue
		case f.scaled(t) && t.offset == none:
			VCVTDQ2PS(sum(0, c), z)
		case f.scaled(t):
			VPBROADCASTD(f.field(c, t.offset), z)
			VPADDD(sum(0, c), z, z)
			VCVTDQ2PS(z, z)
		default:
			VPSLLD(Imm(4), sum(1, c), z)
			VPADDD(sum(0, c), z, z)
			if t.offset != none {
				VPADDD_BCST(f.field(c, t.offset), z, z)
			}
			VCVTDQ2PS(z, z)
		}
		VSCALEFPS_BCST(f.field(c, actExp), z, z)
		r := GP64()
		MOVBLZX(f.field(c, actStep), r.As32())
		VFMADD231PS(at(slot, slotScales).Idx(r, 8), z, zmm[c])
		switch {
		case t.minAt == none:
		case t.scale == small:
			VFNMADD231PS_BCST(f.field(c, actSumD), extraZ, zmm[c])
		default:
			VFMADD231PS_BCST(f.field(c, actSumD), extraZ, zmm[c])
		}
	}
}

// addHalves is addGroup for one block of a type with a scale per half block.
func (f *frame) addHalves(t wtype, n int, slot GPVirtual, sum func(i, c int) Mem) {
	VMOVAPS(at(slot, slotScales), scaleZ)
	VMOVAPS(at(slot, slotScales+64), extraZ)
	mins := codesZ[0:2]
	if t.minAt != none {
		VMOVAPS(at(slot, slotScales+128), mins[0])
		VMOVAPS(at(slot, slotScales+192), mins[1])
	}
	for c := range n {
		both := []VecPhysical{intZ[2*(c%2)], intZ[2*(c%2)+1]}
		for h, z := range both {
			if f.scaled(t) {
				VCVTDQ2PS(sum(h, c), z)
				continue
			}
			// The offset is 16 times the field, as the high parts are.
			VPBROADCASTD(f.field(c, actHalf0+4*h), z)
			VPADDD(sum(2*h+1, c), z, z)
			VPSLLD(Imm(4), z, z)
			VPADDD(sum(2*h, c), z, z)
			VCVTDQ2PS(z, z)
		}
		VMULPS(scaleZ, both[0], both[0])
		VFMADD231PS(both[1], extraZ, both[0])
		VFMADD231PS_BCST(f.field(c, actScale), both[0], zmm[c])
		if t.minAt == none {
			continue
		}
		for h, off := range []int{actHalf0, actHalf1} {
			VCVTDQ2PS_BCST(f.field(c, off), both[0])
			VMULPS_BCST(f.field(c, actScale), both[0], both[0])
			VFMADD231PS(both[0], mins[h], zmm[c])
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
