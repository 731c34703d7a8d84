package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// packs writes the packing kernels of the types whose codes keep their bits: 16 rows
// of source blocks, whose 4-byte groups are transposed into panels.
func packs() {
	pack16("packQ4_0AVX2", 18, 16, 1, false)
	pack16("packQ4_1AVX2", 20, 16, 2, false)
	pack16("packQ8_0AVX2", 34, 32, 1, true)
	packQ4K()
}

// pack16 takes source blocks of size bytes: so many f16 scales, then codes bytes of codes.
func pack16(name string, size, codes, scales int, flip bool) {
	TEXT(name, NOSPLIT, "func(dst *byte, rows *byte, blocks int)")
	dst, rows, blocks := GP64(), GP64(), GP64()
	Load(Param("dst"), dst)
	Load(Param("rows"), rows)
	Load(Param("blocks"), blocks)
	at0 := GP64()
	XORQ(at0, at0)
	if flip {
		VMOVDQU(constBytes(128), Y15)
	}
	Label("block")
	for quad := range 4 {
		p := make([]GPVirtual, 4)
		for i := range p {
			p[i] = GP64()
			MOVQ(at(rows, 8*(4*quad+i)), p[i])
			ADDQ(at0, p[i])
		}
		for i := range p {
			for s := range scales {
				h := GP32()
				MOVWLZX(at(p[i], 2*s), h)
				MOVW(h.As16(), at(dst, codes*16+32*s+2*(4*quad+i)))
			}
		}
		for part := 0; part < codes; part += 16 {
			r := []VecPhysical{X0, X1, X2, X3}
			for i := range r {
				VMOVDQU(at(p[i], 2*scales+part), r[i])
				if flip {
					VPXOR(X15, r[i], r[i])
				}
			}
			VPUNPCKLDQ(X1, X0, X4)
			VPUNPCKHDQ(X1, X0, X5)
			VPUNPCKLDQ(X3, X2, X6)
			VPUNPCKHDQ(X3, X2, X7)
			VPUNPCKLQDQ(X6, X4, X0)
			VPUNPCKHQDQ(X6, X4, X1)
			VPUNPCKLQDQ(X7, X5, X2)
			VPUNPCKHQDQ(X7, X5, X3)
			for i := range r {
				VMOVDQU(r[i], at(dst, (part/4+i)*64+16*quad))
			}
		}
	}
	ADDQ(U32(uint32(size)), at0)
	ADDQ(U32(uint32(codes*16+32*scales)), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// packQ4K transposes the codes of superblocks of 16 rows; scales are left to Go.
func packQ4K() {
	TEXT("packQ4KAVX2", NOSPLIT, "func(dst *byte, rows *byte, blocks int)")
	dst, rows, blocks := GP64(), GP64(), GP64()
	Load(Param("dst"), dst)
	Load(Param("rows"), rows)
	Load(Param("blocks"), blocks)
	at0 := GP64()
	XORQ(at0, at0)
	low, high := Y15, Y14
	VMOVDQU(constBytes(15), low)
	VMOVDQU(constBytes(0xf0), high)
	Label("block")
	for quad := range 4 {
		p := make([]GPVirtual, 4)
		for i := range p {
			p[i] = GP64()
			MOVQ(at(rows, 8*(4*quad+i)), p[i])
			ADDQ(at0, p[i])
		}
		for c := range 4 {
			// Elements k and 16+k of a block share a byte here; there k of two blocks do.
			even, odd := []VecPhysical{X0, X1, X2, X3}, []VecPhysical{X4, X5, X6, X7}
			for i := range p {
				VMOVDQU(at(p[i], 16+32*c), X8)
				VMOVDQU(at(p[i], 32+32*c), X9)
				VPAND(X15, X8, even[i])
				VPSLLW(Imm(4), X9, X10)
				VPAND(X14, X10, X10)
				VPOR(X10, even[i], even[i])
				VPSRLW(Imm(4), X8, X10)
				VPAND(X15, X10, X10)
				VPAND(X14, X9, X9)
				VPOR(X10, X9, odd[i])
			}
			for b, r := range [][]VecPhysical{even, odd} {
				VPUNPCKLDQ(r[1], r[0], X8)
				VPUNPCKHDQ(r[1], r[0], X9)
				VPUNPCKLDQ(r[3], r[2], X10)
				VPUNPCKHDQ(r[3], r[2], X11)
				VPUNPCKLQDQ(X10, X8, X12)
				VPUNPCKHQDQ(X10, X8, X13)
				VMOVDQU(X12, at(dst, 64+(2*c+b)*288+16*quad))
				VMOVDQU(X13, at(dst, 64+(2*c+b)*288+64+16*quad))
				VPUNPCKLQDQ(X11, X9, X12)
				VPUNPCKHQDQ(X11, X9, X13)
				VMOVDQU(X12, at(dst, 64+(2*c+b)*288+128+16*quad))
				VMOVDQU(X13, at(dst, 64+(2*c+b)*288+192+16*quad))
			}
		}
	}
	ADDQ(U32(144), at0)
	ADDQ(U32(64+8*288), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
