package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// dequant writes the kernel that expands rows of one panel to f32, row-major: argPanels
// rows, the first one at argStep/4. The codes of a block go through the stack, from where each row gathers its eight groups of four.
func dequant(t wtype) {
	f := &frame{vnni: true, expand: true}
	TEXT("dequant"+t.name, 0, "func(a *byte)")
	local := AllocLocal(512 + 4*64) // codes, scales of both halves, minima of both halves
	stack := GP64()
	LEAQ(local, stack)
	f.arg = Load(Param("a"), GP64()).(GPVirtual)
	get := func(off int) GPVirtual {
		r := GP64()
		MOVQ(at(f.arg, off), r)
		return r
	}
	f.w, f.dst, f.recs, f.head = get(argW), get(argDst), get(argRecs), f.w
	ldd := get(argLdd)
	constants(t, f)
	// Free while no activations are about: Z0–Z15.
	index, offset, levels := Y0, Z1, Z2
	VMOVDQU(constY("rowGroups", 0, 64, 128, 192, 256, 320, 384, 448), index)
	fill(math.Float32bits(float32(t.zero())), offset)
	if t.scale == float {
		r := GP64()
		MOVQ(at(f.arg, argTable), r)
		VMOVUPS(at(r, 128), levels)
	}

	Label("record")
	if t.header > 0 {
		f.head = GP64()
		MOVQ(f.w, f.head)
		ADDQ(Imm(uint64(t.header)), f.w)
	}
	inner := GP64()
	MOVQ(U32(uint32(t.blocks)), inner)
	Label("block")
	scales(t, f)
	for h := range 2 {
		switch {
		case t.halves():
			VMOVUPS([]VecPhysical{scaleZ, extraZ}[h], at(stack, 512+64*h))
		default:
			VMOVUPS(scaleZ, at(stack, 512+64*h))
		}
		switch {
		case t.minAt == none:
		case t.scale == quarters:
			VMOVUPS(minZ[h], at(stack, 640+64*h))
		default:
			VMOVUPS(extraZ, at(stack, 640+64*h))
		}
	}
	u := t
	if t.scale == float {
		u.table = false // levels come from a table of f32
	}
	decode(u, f, tableZ)
	for g := range 8 {
		VMOVDQU32(codesZ[g], at(stack, 64*g))
	}
	// Q2_K keeps constants in Z14 and Z15.
	row, dst, rows := GP64(), GP64(), GP64()
	MOVQ(at(f.arg, argStep), row)
	ADDQ(stack, row)
	MOVQ(f.dst, dst)
	MOVQ(at(f.arg, argPanels), rows)
	Label("row")
	KXNORW(K3, K3, K3)
	VPXOR(Y4, Y4, Y4)
	VPGATHERDD(at(row, 0).Idx(index, 1), K3, Y4)
	VPMOVZXBD(X4, Z5)
	VEXTRACTI128(Imm(1), Y4, X4)
	VPMOVZXBD(X4, Z6)
	for h, z := range []VecPhysical{Z5, Z6} {
		if t.scale == float {
			VPERMPS(levels, z, z)
		} else {
			VCVTDQ2PS(z, z)
			VSUBPS(offset, z, z)
		}
		VMULPS_BCST(at(row, 512+64*h), z, z)
		switch {
		case t.minAt == none:
		case t.scale == half:
			VADDPS_BCST(at(row, 640+64*h), z, z)
		default:
			VSUBPS_BCST(at(row, 640+64*h), z, z)
		}
		VMOVUPS(z, at(dst, 64*h))
	}
	ADDQ(Imm(4), row)
	ADDQ(ldd, dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	ADDQ(U32(128), f.dst)
	ADDQ(U32(uint32(t.block)), f.w)
	DECQ(inner)
	JNZ(LabelRef("block"))
	DECQ(f.recs)
	JNZ(LabelRef("record"))
	VZEROUPPER()
	RET()
}

// zero is the code that stands for 0.
func (t wtype) zero() int {
	return map[int]int{actSum8: 8, actSum16: 16, actHalf0: 32, actSum128: 128, none: 0}[t.offset]
}
