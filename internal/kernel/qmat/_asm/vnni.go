package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Registers of the 512-bit kernels: 16 rows × 4 elements each.
var zmm = []VecPhysical{
	Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
	Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31,
}

// Z0–Z15 are the accumulators of up to 16 activation rows, the others:
var (
	codesZ = zmm[16:24] // decoded codes
	scaleZ = zmm[24]    // scale of the block, or of its first half
	extraZ = zmm[25]    // minimum, or scale of the second half
	intZ   = zmm[26:30] // integer sums
	maskZ  = zmm[30]    // 0x0f bytes
	constZ = zmm[31]    // second constant of the type
)

// prefetch is how far ahead of the current block the next weights are asked for.
const prefetch = 2048

// vnni writes the kernel of a type for n activation rows with VPDPBUSD.
func vnni(t wtype, n int) {
	f := begin(kernelName("VNNI", t, n))
	constants(t)
	Label("panel")
	MOVQ(at(f.arg, argX), f.x)
	MOVQ(at(f.arg, argRecs), f.recs)
	for c := range n {
		VPXORD(zmm[c], zmm[c], zmm[c])
	}
	Label("record")
	if t.blocks > 1 {
		MOVQ(f.w, f.head)
		ADDQ(Imm(uint64(t.header)), f.w)
	}
	var inner GPVirtual
	if t.blocks > 1 {
		inner = GP64()
		MOVQ(U32(uint32(t.blocks)), inner)
		Label("block")
	}
	if n <= 4 {
		for l := 0; l < t.block; l += 64 {
			PREFETCHT0(at(f.w, prefetch+l))
		}
	}
	decode(t, f)
	scales(t, f)
	for c := 0; c < n; c += 4 {
		columns(t, f, c, min(4, n-c))
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
	KMOVW(at(f.arg, argAdd), K1)
	ldd, dst := GP64(), GP64()
	MOVQ(at(f.arg, argLdd), ldd)
	MOVQ(f.dst, dst)
	for c := range n {
		VMOVUPS_Z(at(dst, 0), K1, intZ[c%4])
		VADDPS(intZ[c%4], zmm[c], zmm[c])
		VMOVUPS(zmm[c], at(dst, 0))
		if c+1 < n {
			ADDQ(ldd, dst)
		}
	}
	ADDQ(Imm(64), f.dst)
	DECQ(f.panels)
	JNZ(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// fill sets all bytes of a register.
func fill(b uint8, z VecPhysical) {
	r := GP32()
	MOVL(U32(uint32(b)*0x01010101), r)
	VPBROADCASTD(r, z)
}

func constants(t wtype) {
	if t.codes == "nibbles" {
		fill(15, maskZ)
	}
}

// decode fills codesZ with the unsigned codes of the block at f.w.
func decode(t wtype, f *frame) {
	switch t.codes {
	case "bytes":
		for g := range 8 {
			VMOVDQU32(at(f.w, 64*g), codesZ[g])
		}
	case "nibbles":
		for i := range 4 {
			VMOVDQU32(at(f.w, 64*i), codesZ[i])
			VPSRLW(Imm(4), codesZ[i], codesZ[i+4])
			VPANDD(maskZ, codesZ[i], codesZ[i])
			VPANDD(maskZ, codesZ[i+4], codesZ[i+4])
		}
	}
}

// scales loads the scale and minimum of the block.
func scales(t wtype, f *frame) {
	VCVTPH2PS(at(f.w, t.scaleAt), scaleZ)
	if t.min == minHalf {
		VCVTPH2PS(at(f.w, t.minAt), extraZ)
	}
}

// columns multiplies the block with activation rows c … c+n−1, n ≤ 4.
func columns(t wtype, f *frame, c, n int) {
	field := func(i, off int) Mem { return at(f.x, (c+i)*record+off) }
	for i := range n {
		if t.offset != none {
			VPBROADCASTD(field(i, t.offset), intZ[i])
		} else {
			VPXORD(intZ[i], intZ[i], intZ[i])
		}
	}
	for g := range 8 {
		for i := range n {
			VPDPBUSD_BCST(field(i, 4*g), codesZ[g], intZ[i])
		}
	}
	for i := range n {
		VCVTDQ2PS(intZ[i], intZ[i])
	}
	for i := range n {
		VMULPS(scaleZ, intZ[i], intZ[i])
	}
	for i := range n {
		VFMADD231PS_BCST(field(i, actScale), intZ[i], zmm[c+i])
	}
	if t.min != minNone {
		for i := range n {
			VFMADD231PS_BCST(field(i, actSumD), extraZ, zmm[c+i])
		}
	}
}
