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

	groups := GLOBL("groupNumbers", RODATA|NOPTR)
	for i, v := range []uint32{0, 2, 4, 6, 1, 3, 5, 7} {
		DATA(4*i, U32(v))
	}
	dwords8 := constY("dwords8", 8)

	TEXT("quantiseAVX2", NOSPLIT, "func(dst *byte, step int, x *float32, blocks int)")
	dst, step, x, blocks := GP64(), GP64(), GP64(), GP64()
	Load(Param("dst"), dst)
	Load(Param("step"), step)
	Load(Param("x"), x)
	Load(Param("blocks"), blocks)

	r := GP32()
	perm, abs, c127, c2032 := Y15, Y14, X13, X12
	VMOVDQU(order, perm)
	VMOVDQU(constY("magnitude", 0x7fffffff), abs)
	MOVL(U32(0x42fe0000), r) // 127
	VMOVD(r, c127)
	MOVL(U32(0x44fe0000), r) // 127·16
	VMOVD(r, c2032)

	v := []VecPhysical{Y0, Y1, Y2, Y3}
	top := []VecPhysical{Y4, Y5, Y6, Y7}
	Label("block")
	for i := range v {
		VMOVUPS(at(x, 32*i), v[i])
	}
	// The largest magnitude of each group of four, compared as bits, its lowest
	// three bits replaced by the group's number.
	for i := range v {
		VPAND(abs, v[i], top[i])
		VPSHUFD(Imm(0x4e), top[i], Y8)
		VPMAXUD(Y8, top[i], top[i])
		VPSHUFD(Imm(0xb1), top[i], Y8)
		VPMAXUD(Y8, top[i], top[i])
	}
	VPUNPCKLDQ(Y5, Y4, Y4)
	VPUNPCKLDQ(Y7, Y6, Y6)
	VPUNPCKLQDQ(Y6, Y4, Y4) // groups 0 2 4 6 1 3 5 7
	VPAND(constY("allButThree", 0xfffffff8), Y4, Y4)
	VPOR(groups, Y4, Y4)
	// The largest of each half, and the largest of the other six groups.
	keys := []GPVirtual{GP32(), GP32()}
	most, rest := GP32(), GP32()
	VEXTRACTI128(Imm(1), Y4, X5)
	VPMAXUD(X5, X4, X5)
	VPSHUFD(Imm(0xb1), X5, X6)
	VPMAXUD(X6, X5, X5) // first half twice, second half twice
	VMOVD(X5, keys[0])
	VPEXTRD(Imm(2), X5, keys[1])
	VINSERTI128(Imm(1), X5, Y5, Y6)
	VPCMPEQD(Y6, Y4, Y6)
	VPANDN(Y4, Y6, Y4)
	VPSHUFD(Imm(0x4e), X5, X6)
	VPMAXUD(X6, X5, X5)
	VMOVD(X5, most)
	CMPL(most, U32(0x0da24260)) // tinyMax
	JB(LabelRef("zero"))
	CMPL(most, U32(0x7f800000))
	JAE(LabelRef("nan"))
	VEXTRACTI128(Imm(1), Y4, X5)
	VPMAXUD(X5, X4, X5)
	VPSHUFD(Imm(0x4e), X5, X6)
	VPMAXUD(X6, X5, X5)
	VPSHUFD(Imm(0xb1), X5, X6)
	VPMAXUD(X6, X5, X5)
	VMOVD(X5, rest)
	VMOVD(most, X4)
	VMOVD(rest, X5)
	VDIVSS(c2032, X4, X4)
	VDIVSS(c127, X5, X5)
	VMAXSS(X4, X5, X6) // d
	MOVL(U32(0x3f800000), r)
	VMOVD(r, X5)
	VDIVSS(X6, X5, X5)
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
	// The two large groups again, in two parts.
	for i, k := range keys {
		g := k.As64()
		ANDL(Imm(7), k)
		twice := GP64()
		MOVQ(g, twice)
		ADDQ(twice, twice)
		VMULPS(at(x, 0).Idx(twice, 8), X5, X0)
		VCVTPS2DQ(X0, X0)
		VPADDD(dwords8, X0, X1)
		VPSRAD(Imm(4), X1, X1)
		VPSLLD(Imm(4), X1, X2)
		VPSUBD(X2, X0, X0)
		VPACKSSDW(X1, X0, X0)
		VPACKSSWB(X0, X0, X0)
		VMOVD(X0, at(dst, 0).Idx(g, 4))
		VPEXTRD(Imm(1), X0, at(dst, actHigh+4*i))
		SHLL(Imm(6), k)
		MOVL(k, at(dst, actGroup+4*i))
	}
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
	VMOVDQU(Y0, at(dst, record-32))
	MOVL(U32(0x7fc00000), at(dst, actScale))
	MOVL(U32(0x7fc00000), at(dst, actSumD))
	JMP(LabelRef("next"))

	Label("zero")
	VPXOR(Y0, Y0, Y0)
	VMOVDQU(Y0, at(dst, 0))
	VMOVDQU(Y0, at(dst, 32))
	VMOVDQU(Y0, at(dst, record-32))
	JMP(LabelRef("next"))
}
