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
