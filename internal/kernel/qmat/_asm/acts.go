package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// acts writes quantiseAVX2, which rounds one row of activations; quantiseBlock in
// acts.go is the formula, to the bit.
func acts() {
	order := GLOBL("dwordOrder", RODATA|NOPTR)
	for i, v := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(v))
	}

	TEXT("quantiseAVX2", NOSPLIT, "func(dst *byte, step int, x *float32, blocks int)")
	dst, step, x, blocks := GP64(), GP64(), GP64(), GP64()
	Load(Param("dst"), dst)
	Load(Param("step"), step)
	Load(Param("x"), x)
	Load(Param("blocks"), blocks)

	r := GP32()
	perm, abs, c127 := Y15, Y14, X13
	VMOVDQU(order, perm)
	MOVL(U32(0x7fffffff), r)
	VMOVD(r, X14)
	VPBROADCASTD(X14, abs)
	MOVL(U32(0x42fe0000), r) // 127
	VMOVD(r, c127)

	v := []VecPhysical{Y0, Y1, Y2, Y3}
	Label("block")
	for i := range v {
		VMOVUPS(at(x, 32*i), v[i])
	}
	// The largest magnitude, compared as bits.
	VPAND(abs, Y0, Y4)
	VPAND(abs, Y1, Y5)
	VPAND(abs, Y2, Y6)
	VPAND(abs, Y3, Y7)
	VPMAXUD(Y5, Y4, Y4)
	VPMAXUD(Y7, Y6, Y6)
	VPMAXUD(Y6, Y4, Y4)
	VEXTRACTI128(Imm(1), Y4, X5)
	VPMAXUD(X5, X4, X4)
	VPSHUFD(Imm(0x4e), X4, X5)
	VPMAXUD(X5, X4, X4)
	VPSHUFD(Imm(0xb1), X4, X5)
	VPMAXUD(X5, X4, X4)
	VMOVD(X4, r)
	CMPL(r, U32(0x0da24260)) // tinyMax
	JB(LabelRef("zero"))
	CMPL(r, U32(0x7f800000))
	JAE(LabelRef("nan"))

	VDIVSS(X4, c127, X5) // 127/max
	VDIVSS(c127, X4, X6) // d
	VBROADCASTSS(X5, Y5)
	for i := range v {
		VMULPS(Y5, v[i], v[i])
	}
	for i := range v {
		VCVTPS2DQ(v[i], v[i])
	}
	VPADDD(Y1, Y0, Y8)
	VPADDD(Y3, Y2, Y9)
	VPACKSSDW(Y1, Y0, Y0)
	VPACKSSDW(Y3, Y2, Y2)
	VPACKSSWB(Y2, Y0, Y0)
	VPERMD(Y0, perm, Y0)
	VMOVDQU(Y0, at(dst, 0))
	// Sums of both halves in the first two lanes.
	VPHADDD(Y9, Y8, Y8)
	VPHADDD(Y8, Y8, Y8)
	VEXTRACTI128(Imm(1), Y8, X9)
	VPADDD(X9, X8, X8)
	h0, h1, sum, t := GP32(), GP32(), GP32(), GP32()
	VMOVD(X8, h0)
	VPEXTRD(Imm(1), X8, h1)
	MOVL(h0, sum)
	ADDL(h1, sum)
	VMOVSS(X6, at(dst, actScale))
	VCVTSI2SSL(sum, X7, X7)
	VMULSS(X6, X7, X7)
	VMOVSS(X7, at(dst, actSumD))
	MOVL(sum, at(dst, actSum))
	NEGL(sum)
	for _, f := range []struct{ shift, at int }{{3, actSum8}, {4, actSum16}, {7, actSum128}} {
		MOVL(sum, t)
		SHLL(Imm(uint64(f.shift)), t)
		MOVL(t, at(dst, f.at))
	}
	NEGL(h0)
	SHLL(Imm(5), h0)
	MOVL(h0, at(dst, actHalf0))
	NEGL(h1)
	SHLL(Imm(5), h1)
	MOVL(h1, at(dst, actHalf1))

	Label("next")
	ADDQ(Imm(128), x)
	ADDQ(step, dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()

	Label("nan")
	VPXOR(Y0, Y0, Y0)
	VMOVDQU(Y0, at(dst, 0))
	VMOVDQU(Y0, at(dst, 32))
	MOVL(U32(0x7fc00000), at(dst, actScale))
	MOVL(U32(0x7fc00000), at(dst, actSumD))
	JMP(LabelRef("next"))

	Label("zero")
	VPXOR(Y0, Y0, Y0)
	VMOVDQU(Y0, at(dst, 0))
	VMOVDQU(Y0, at(dst, 32))
	JMP(LabelRef("next"))
}
