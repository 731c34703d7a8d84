package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// actsLoop goes over blocks and, within a block, over rows, whose records lie side by side: row by
// row every line of records would come to the first-level cache twice.
type actsLoop struct {
	dst, row                      Register // record and activations at hand
	x, skip, stride, rows, blocks Register
	left                          Register // rows of the block
}

func beginActs(name string) *actsLoop {
	TEXT(name, NOSPLIT, "func(dst *byte, skip int, x *float32, stride, rows, blocks int)")
	param := func(name string) Register { return Load(Param(name), GP64()) }
	return &actsLoop{dst: param("dst"), skip: param("skip"), x: param("x"), stride: param("stride"), rows: param("rows"), blocks: param("blocks"), row: GP64(), left: GP64()}
}

// loop starts the body, which writes one record.
func (l *actsLoop) loop() {
	Label("block")
	MOVQ(l.x, l.row)
	MOVQ(l.rows, l.left)
	Label("row")
}

// end closes the loops and the function; the body jumps to "next".
func (l *actsLoop) end() {
	Label("next")
	ADDQ(l.stride, l.row)
	ADDQ(Imm(record), l.dst)
	DECQ(l.left)
	JNZ(LabelRef("row"))
	ADDQ(l.skip, l.dst)
	ADDQ(Imm(128), l.x)
	DECQ(l.blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// acts writes quantizeAVX2, which rounds rows of activations; quantizeBlock in
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

	l := beginActs("quantizeAVX2")
	dst, x := l.dst, l.row
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
	l.loop()
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
	CMPL(most, U32(0x14461206)) // tinyMax
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
	roundUp(X6)
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
		SHLL(Imm(3), k)
		MOVB(k.As8(), at(dst, actGroup+i))
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
	VMOVD(X6, r)
	MOVL(r, t)
	SHRL(Imm(18), t)
	ANDL(Imm(24), t)
	MOVW(t.As16(), at(dst, actStep))
	SHRL(Imm(23), r)
	SUBL(Imm(127), r)
	VCVTSI2SSL(r, X7, X7)
	VMOVSS(X7, at(dst, actExp))
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
	ADDL(h0, h0)
	MOVL(h0, at(dst, actHalf0))
	NEGL(h1)
	ADDL(h1, h1)
	MOVL(h1, at(dst, actHalf1))

	l.end()

	Label("nan")
	VPXOR(Y0, Y0, Y0)
	VMOVDQU(Y0, at(dst, 0))
	VMOVDQU(Y0, at(dst, 32))
	VMOVDQU(Y0, at(dst, record-32))
	for _, f := range nanFields {
		MOVL(U32(0x7fc00000), at(dst, f))
	}
	JMP(LabelRef("next"))

	Label("zero")
	VPXOR(Y0, Y0, Y0)
	VMOVDQU(Y0, at(dst, 0))
	VMOVDQU(Y0, at(dst, 32))
	VMOVDQU(Y0, at(dst, record-32))
	JMP(LabelRef("next"))
}

// nanFields are NaN where an activation is not finite.
var nanFields = []int{actScale, actSumD, actExp}

// roundUp leaves two bits of mantissa.
func roundUp(d VecPhysical) {
	VPADDD(constY("finerBits", 1<<21-1), d, d)
	VPAND(constY("coarserBits", -1<<21&0xffffffff), d, d)
}

// actsZMM is the frame of quantizeAVX512.
type actsZMM struct {
	*actsLoop
	stride3 GPVirtual
	local   Mem // 1/d of four rows, then the numbers of their large groups
}

// Constants of quantizeAVX512. Z0–Z11 are temporaries.
var (
	actAbs      = Z31
	actButThree = Z30
	actEight    = Z29
	actNumber   = []VecPhysical{Z28, Z27} // of the group in each lane of a half
	actNumbers  = Z26                     // of both halves in turns
	actOnes     = Z25                     // words
	actPick     = []VecPhysical{Y24, Y23} // which sums make the fields of a row
	actFactor   = Y22                     // times what
	actOne      = X15
	actLargest  = X14
	actSeven    = X13
)

// actsZ writes quantizeAVX512. Four rows at a time share the search for the large groups, the divisions and the
// sums: alone a row is one chain of a hundred cycles, and the schedulers hold less than two of them.
// Four rows of which one is zero or not finite go one by one.
func actsZ() {
	f := &actsZMM{actsLoop: beginActs("quantizeAVX512"), stride3: GP64(), local: AllocLocal(16 + 32)}
	LEAQ(Mem{Base: f.stride, Index: f.stride, Scale: 2}, f.stride3)
	lanes := func(name string, of func(i int) int) Mem {
		m := GLOBL(name, RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(uint32(of(i))))
		}
		return m
	}
	VMOVDQU32(lanes("groupNumbers0", func(i int) int { return i / 4 }), actNumber[0])
	VMOVDQU32(lanes("groupNumbers1", func(i int) int { return 4 + i/4 }), actNumber[1])
	VMOVDQU32(lanes("groupNumbers01", func(i int) int { return i/4 + i%2*4 }), actNumbers)
	for i, pick := range actPick {
		r := uint32(2 * i) // from the sums of the halves of two rows and of both halves
		VMOVDQU32(constY(fmt.Sprintf("fieldsOf%d", i), 4+r, 4+r, 4+r, r, r, 1+r, 4+r, 4+r), pick)
	}
	times := func(v int) uint32 { return uint32(int32(v)) }
	// Fields from actScale on; the first and the fourth are no integers.
	VMOVDQU32(constY("sumFactors", 0, times(-8), times(-128), 0, times(-2), times(-2), times(-16), 1), actFactor)
	VMOVUPS(constY("largestQ", 0x44fe0000, 0x42fe0000), actLargest) // 127·16 and 127
	fill(0x7fffffff, actAbs)
	fill(0xfffffff8, actButThree)
	fill(8, actEight)
	fill(0x00010001, actOnes)
	fill(7, Z13)
	fill(0x3f800000, Z15)
	r := GP32()
	MOVL(U32(0b1001), r)
	KMOVW(r, K5)

	Label("block")
	MOVQ(f.x, f.row)
	MOVQ(f.rows, f.left)
	Label("row")
	CMPQ(f.left, Imm(4))
	JB(LabelRef("one"))
	f.four()
	LEAQ(Mem{Base: f.row, Index: f.stride, Scale: 4}, f.row)
	ADDQ(U32(4*record), f.dst)
	SUBQ(Imm(4), f.left)
	JNZ(LabelRef("row"))
	JMP(LabelRef("blockend"))
	Label("one")
	f.one()
	Label("next")
	ADDQ(f.stride, f.row)
	ADDQ(Imm(record), f.dst)
	DECQ(f.left)
	JNZ(LabelRef("row"))
	Label("blockend")
	ADDQ(f.skip, f.dst)
	ADDQ(Imm(128), f.x)
	DECQ(f.blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()

	for _, name := range []string{"nan", "zero"} {
		Label(name)
		VPXORD(Z0, Z0, Z0)
		VMOVDQU32(Z0, at(f.dst, 0))
		VMOVDQU(X0, at(f.dst, 64))
		if name == "nan" {
			for _, at := range nanFields {
				MOVL(U32(0x7fc00000), Mem{Base: f.dst, Disp: at})
			}
		}
		JMP(LabelRef("next"))
	}
}

// maxAcross leaves in all 128-bit lanes of z the maxima over those lanes.
func maxAcross(z, tmp VecPhysical) {
	for _, swap := range []uint64{0x4e, 0xb1} {
		VSHUFI64X2(Imm(swap), z, z, tmp)
		VPMAXUD(tmp, z, z)
	}
}

// parts splits the quantized halves v of a row, in place, into low parts of the lanes in K1 and K2 and
// high parts, and stores both.
func (f *actsZMM) parts(v, high, tmp []VecPhysical, dst int) {
	for i, k := range []Register{K1, K2} {
		VPADDD(actEight, v[i], high[i])
		VPSRAD(Imm(4), high[i], high[i])
		VPSLLD(Imm(4), high[i], tmp[i])
		VPSUBD(tmp[i], v[i], k, v[i])
		VPMOVDB(v[i], at(f.dst, dst+16*i))
		VPCOMPRESSD_Z(high[i], k, tmp[i])
		VPMOVDB(tmp[i].AsX(), at(f.dst, dst+actHigh+4*i))
	}
}

// four rounds four rows.
func (f *actsZMM) four() {
	x := func(row, half int) Mem {
		m := Mem{Base: f.row, Disp: 64 * half}
		if row > 0 {
			m.Index, m.Scale = f.stride, uint8(row)
		}
		if row == 3 {
			m.Index, m.Scale = f.stride3, 1
		}
		return m
	}
	// Per pair of rows the keys of all groups, as in acts, lie in one register: in the lane of a group the
	// halves of both rows.
	most, rest := []VecPhysical{X8, X9}, []VecPhysical{X10, X11}
	for p := range 2 {
		v := zmm[4*p : 4*p+4]
		for i, z := range v {
			VPANDD(x(2*p+i/2, i%2), actAbs, z)
		}
		for i := 0; i < 4; i += 2 {
			VPUNPCKLDQ(v[i+1], v[i], zmm[8+i/2])
			VPUNPCKHDQ(v[i+1], v[i], v[i])
			VPMAXUD(zmm[8+i/2], v[i], v[i])
		}
		VPUNPCKLQDQ(v[2], v[0], v[1])
		VPUNPCKHQDQ(v[2], v[0], v[0])
		VPMAXUD(v[1], v[0], v[0])
		VPTERNLOGD(Imm(0xea), actNumbers, actButThree, v[0]) // v = v & butThree | numbers
	}
	for p := range 2 {
		v := zmm[4*p : 4*p+4]
		VMOVDQA32(v[0], v[1])
		maxAcross(v[1], v[2])
		VPCMPUD(Imm(4), v[1], v[0], K1) // not equal
		VMOVDQA32_Z(v[0], K1, v[0])
		maxAcross(v[0], v[2])
		VPSHUFD(Imm(0xb1), v[1].AsX(), most[p])
		VPMAXUD(v[1].AsX(), most[p], most[p])
		VPSHUFD(Imm(0xb1), v[0].AsX(), rest[p])
		VPMAXUD(v[0].AsX(), rest[p], rest[p])
		VPAND(actSeven, v[1].AsX(), v[1].AsX())
		VMOVDQU(v[1].AsX(), f.local.Offset(16+16*p))
	}
	VSHUFPS(Imm(0x88), most[1], most[0], X8)
	VSHUFPS(Imm(0x88), rest[1], rest[0], X10)
	VPSUBD(constY("tinyMax", 0x14461206), X8, X9)
	VPCMPUD(Imm(5), constY("finiteMax", 0x7f800000-0x14461206), X9, K1) // not below
	KORTESTW(K1, K1)
	JNZ(LabelRef("one"))
	VPSHUFD(Imm(0), actLargest, X0)
	VPSHUFD(Imm(0x55), actLargest, X2)
	VDIVPS(X0, X8, X8)
	VDIVPS(X2, X10, X10)
	VMAXPS(X8, X10, X8) // d
	roundUp(X8)
	steps(X8, X9)
	VPMOVZXDQ(X9, Y9)
	VEXTRACTI128(Imm(1), Y9, X10)
	for p, g := range []VecPhysical{X1, X5} {
		step := []VecPhysical{X9, X10}[p]
		VPSLLD(Imm(3), g, g)
		VPUNPCKLQDQ(step, g, X2)
		VPUNPCKHQDQ(step, g, X3)
		VPMOVDB(X2, at(f.dst, 2*p*record+actGroup))
		VPMOVDB(X3, at(f.dst, (2*p+1)*record+actGroup))
	}
	exponents(X8, X9)
	for r := range 4 {
		VEXTRACTPS(Imm(uint64(r)), X9, at(f.dst, r*record+actExp))
	}
	VDIVPS(X8, actOne, X9)
	VMOVUPS(X9, f.local)
	scales := []VecPhysical{X10, X11} // d d d' d' of each pair
	VUNPCKLPS(X8, X8, X10)
	VUNPCKHPS(X8, X8, X11)

	for p := range 2 {
		sums := zmm[6:8]
		for j := range 2 {
			r := 2*p + j
			v := zmm[0:2]
			VBROADCASTSS(f.local.Offset(4*r), Z2)
			for h, z := range v {
				VMULPS(x(r, h), Z2, z)
				VCVTPS2DQ(z, z)
				VPCMPEQD_BCST(f.local.Offset(16+8*r+4*h), actNumber[h], []Register{K1, K2}[h])
			}
			VPACKSSDW(v[1], v[0], sums[j])
			VPMADDWD(actOnes, sums[j], sums[j])
			f.parts(v, zmm[2:4], zmm[4:6], r*record)
		}
		// Sums of the halves of both rows, in each lane those of its elements, then of all.
		VSHUFPS(Imm(0x88), sums[1], sums[0], Z8)
		VSHUFPS(Imm(0xdd), sums[1], sums[0], Z9)
		VPADDD(Z9, Z8, Z8)
		VEXTRACTI64X4(Imm(1), Z8, Y9)
		VPADDD(Y9, Y8, Y8)
		VEXTRACTI128(Imm(1), Y8, X9)
		VPADDD(X9, X8, X8)
		VPSHUFD(Imm(0xb1), X8, X9)
		VPADDD(X9, X8, X9)
		VINSERTI128(Imm(1), X9, Y8, Y8)
		VCVTDQ2PS(X9, X9)
		VMULPS(scales[p], X9, X9)
		VINSERTI128(Imm(1), scales[p], Y9, Y9)
		for j, y := range []VecPhysical{Y6, Y7} {
			VPERMD(Y8, actPick[j], y)
			VPMULLD(actFactor, y, y)
			VPERMD(Y9, actPick[j], K5, y)
			VMOVUPS(y, at(f.dst, (2*p+j)*record+actScale))
		}
	}
}

// one rounds one row, or jumps to "nan" or "zero".
func (f *actsZMM) one() {
	v, key, top, tmp := zmm[0:2], zmm[2:4], zmm[4:6], zmm[6:8]
	large := []Register{K1, K2}
	each := func(g func(i int)) {
		for i := range v {
			g(i)
		}
	}
	each(func(i int) { VMOVUPS(at(f.row, 64*i), v[i]) })
	each(func(i int) { VPANDD(actAbs, v[i], key[i]) })
	for _, swap := range []uint64{0x4e, 0xb1} {
		each(func(i int) { VPSHUFD(Imm(swap), key[i], tmp[i]) })
		each(func(i int) { VPMAXUD(tmp[i], key[i], key[i]) })
	}
	each(func(i int) {
		VPTERNLOGD(Imm(0xea), actNumber[i], actButThree, key[i])
		VMOVDQA32(key[i], top[i])
		maxAcross(top[i], tmp[i])
		VPCMPEQD(top[i], key[i], large[i])
	})
	most := GP32()
	VPMAXUD(X5, X4, X8)
	VMOVD(X8, most)
	CMPL(most, U32(0x14461206)) // tinyMax
	JB(LabelRef("zero"))
	CMPL(most, U32(0x7f800000))
	JAE(LabelRef("nan"))
	KNOTW(K1, K3)
	KNOTW(K2, K4)
	VMOVDQA32_Z(key[0], K3, Z9)
	VPMAXUD(key[1], Z9, K4, Z9)
	maxAcross(Z9, Z10)
	// d = max(most/2032, rest/127) and 1/d.
	VPUNPCKLDQ(X9, X8, X8)
	VDIVPS(actLargest, X8, X8)
	VPSHUFD(Imm(0xb1), X8, X9)
	VMAXPS(X9, X8, X8)
	roundUp(X8)
	VDIVPS(X8, actOne, X9)
	VBROADCASTSS(X9, Z9)
	each(func(i int) {
		VMULPS(Z9, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	})
	// Sums of both halves: A B A B, and of the block.
	VPACKSSDW(Z1, Z0, Z6)
	VPMADDWD(actOnes, Z6, Z6)
	VPSHUFD(Imm(0xb1), Z6, Z7)
	VPADDD(Z7, Z6, Z6)
	VPSHUFD(Imm(0x88), Z6, Z6)
	VEXTRACTI64X4(Imm(1), Z6, Y7)
	VPADDD(Y7, Y6, Y6)
	VEXTRACTI128(Imm(1), Y6, X7)
	VPADDD(X7, X6, X6)
	VPSHUFD(Imm(0xb1), X6, X7)
	VPADDD(X7, X6, X7)
	VINSERTI128(Imm(1), X7, Y6, Y6)
	VCVTDQ2PS(X7, X7)
	VMULPS(X8, X7, X7)
	VINSERTI128(Imm(1), X8, Y7, Y7)
	VPERMD(Y6, actPick[0], Y6)
	VPMULLD(actFactor, Y6, Y6)
	VPERMD(Y7, actPick[0], K5, Y6)
	VMOVUPS(Y6, at(f.dst, actScale))
	f.parts(v, key, tmp, 0)
	VPUNPCKLDQ(X5, X4, X4)
	VPAND(actSeven, X4, X4)
	VPSLLD(Imm(3), X4, X4)
	steps(X8, X5)
	VPMOVZXDQ(X5, X5)
	VPUNPCKLQDQ(X5, X4, X4)
	VPMOVDB(X4, at(f.dst, actGroup))
	exponents(X8, X9)
	VMOVSS(X9, at(f.dst, actExp))
}

// steps puts 8·j of each d in z.
func steps(d, z VecPhysical) {
	VPSRLD(Imm(18), d, z)
	VPAND(constY("dwords24", 24), z, z)
}

// exponents puts the exponent of each d in z, as a float.
func exponents(d, z VecPhysical) {
	VPSRLD(Imm(23), d, z)
	VPSUBD(constY("dwords127", 127), z, z)
	VCVTDQ2PS(z, z)
}
