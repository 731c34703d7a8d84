// Command _asm generates the amd64 kernels of package vec. Run it through go
// generate in the parent folder.
//
// Every operation is written once over "a vector" and emitted for AVX2 (with
// FMA and F16C) and for AVX-512. Counts are multiples of 16 elements; the Go
// side pads tails. Sums use four registers, the i-th vector going to register
// i%4, so that zeros appended to a row do not change its sum.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set: the width of a register in bytes and the suffix of names.
type isa struct {
	name string
	size int
}

func (v isa) wide() bool { return v.size == 64 }

func (v isa) reg() VecVirtual {
	if v.wide() {
		return ZMM()
	}
	return YMM()
}

func (v isa) regs(n int) []VecVirtual {
	r := make([]VecVirtual, n)
	for i := range r {
		r[i] = v.reg()
	}
	return r
}

func (v isa) zero() VecVirtual {
	r := v.reg()
	if v.wide() {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
	return r
}

func (v isa) load(m Op) VecVirtual {
	r := v.reg()
	VMOVUPS(m, r)
	return r
}

// constants are emitted once each, as one 32-bit word that kernels broadcast.
var constants = map[uint32]Mem{}

func word(bits uint32) Mem {
	m, ok := constants[bits]
	if !ok {
		m = GLOBL("word"+hex(bits), RODATA|NOPTR)
		DATA(0, U32(bits))
		constants[bits] = m
	}
	return m
}

func hex(b uint32) string {
	const digits = "0123456789abcdef"
	s := make([]byte, 8)
	for i := range s {
		s[i] = digits[b>>(28-4*i)&15]
	}
	return string(s)
}

func (v isa) bits(b uint32) VecVirtual {
	r := v.reg()
	VBROADCASTSS(word(b), r)
	return r
}

func (v isa) float(f float32) VecVirtual { return v.bits(math.Float32bits(f)) }

// scalar broadcasts a float32 parameter.
func (v isa) scalar(name string) VecVirtual {
	a, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	r := v.reg()
	VBROADCASTSS(a.Addr, r)
	return r
}

func (v isa) and(a Op, b, dst VecVirtual) {
	if v.wide() {
		VPANDD(a, b, dst)
	} else {
		VPAND(a, b, dst)
	}
}

func (v isa) or(a Op, b, dst VecVirtual) {
	if v.wide() {
		VPORD(a, b, dst)
	} else {
		VPOR(a, b, dst)
	}
}

func main() {
	goSide := flag.String("dispatch", "", "Go file for the functions that choose kernels")
	// avo's own flags (-out, -stubs, -pkg) are on the default set.
	flag.Parse()
	if err := dispatch(*goSide); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ConstraintExpr("amd64")
	for _, v := range []isa{{"AVX2", 32}, {"AVX512", 64}} {
		mulScaled(v)
		dots(v)
		rmsNormBackward(v)
		axpyMul(v)
		rope(v)
		swiGLU(v)
		swiGLUBackward(v)
		maxOf(v)
		exps(v)
		simple(v)
		gradScores(v)
		finite(v)
		halves(v)
		q8(v)
		adamW(v)
		zips(v)
	}
	transpose8()
	transpose16()
	Generate()
}

// op opens a function: pointers are the first parameters, then n.
func (v isa) op(name, sig, doc string) {
	TEXT(name+v.name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(name + v.name + " " + doc)
}

func ptr(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }

// loop runs body for every vector of n elements of the pointers, `unroll` at a
// time and then one by one. body gets the vector's number within the unrolled
// group and its byte offset; elements of pointer i are size[i] bytes.
func (v isa) loop(n GPVirtual, ptrs []GPVirtual, elem []int, unroll int, body func(u int)) {
	lanes := v.size / 4
	for _, u := range []int{unroll, 1} {
		if u == 1 && unroll == 1 {
			break
		}
		name, done := label(), label()
		CMPQ(n, U8(u*lanes))
		JL(LabelRef(done))
		Label(name)
		for i := range u {
			body(i)
		}
		for i, p := range ptrs {
			ADDQ(U32(u*lanes*elem[i]), p)
		}
		SUBQ(U8(u*lanes), n)
		CMPQ(n, U8(u*lanes))
		JGE(LabelRef(name))
		Label(done)
	}
	if unroll == 1 {
		name, done := label(), label()
		TESTQ(n, n)
		JZ(LabelRef(done))
		Label(name)
		body(0)
		for i, p := range ptrs {
			ADDQ(U32(lanes*elem[i]), p)
		}
		SUBQ(U8(lanes), n)
		JNZ(LabelRef(name))
		Label(done)
	}
}

var labels int

func label() string {
	labels++
	return "l" + hex(uint32(labels))[4:]
}

func (v isa) at(p GPVirtual, u int) Mem { return Mem{Base: p, Disp: u * v.size} }

var f4 = []int{4, 4, 4, 4, 4}

// reduce runs a loop whose vector i works on accumulator i%4, then returns one
// register with the combination of the four.
func (v isa) reduce(n GPVirtual, ptrs []GPVirtual, acc []VecVirtual, join func(a, b, dst Op), body func(u int, a VecVirtual)) VecVirtual {
	lanes := v.size / 4
	name, tail, done := label(), label(), label()
	step := func(u int) {
		for i := range u {
			body(i, acc[i])
		}
	}
	CMPQ(n, U8(4*lanes))
	JL(LabelRef(tail))
	Label(name)
	step(4)
	for _, p := range ptrs {
		ADDQ(U32(4*v.size), p)
	}
	SUBQ(U8(4*lanes), n)
	CMPQ(n, U8(4*lanes))
	JGE(LabelRef(name))
	Label(tail)
	for i := range 3 {
		CMPQ(n, U8((i+1)*lanes))
		JL(LabelRef(done))
		body(i, acc[i])
	}
	Label(done)
	join(acc[1], acc[0], acc[0])
	join(acc[3], acc[2], acc[2])
	join(acc[2], acc[0], acc[0])
	return acc[0]
}

// fold combines the lanes of r, halves first, and stores the scalar result.
func (v isa) fold(r VecVirtual, join func(a, b, dst Op)) {
	y := r.AsY()
	if v.wide() {
		h := YMM()
		VEXTRACTF64X4(U8(1), r, h)
		join(h, y, y)
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(U8(1), y, x)
	join(x, r.AsX(), x)
	VPERMILPS(U8(0x4e), x, t)
	join(t, x, x)
	VPERMILPS(U8(0xb1), x, t)
	join(t, x, x)
	Store(x, ReturnIndex(0))
}

func addPS(a, b, dst Op) { VADDPS(a, b, dst) }

func end() {
	VZEROUPPER()
	RET()
}

func mulScaled(v isa) {
	v.op("mulScaled", "func(y, x, gain *float32, n int, s float32)", "writes y = x·s·gain.")
	y, x, g, n := ptr("y"), ptr("x"), ptr("gain"), ptr("n")
	s := v.scalar("s")
	v.loop(n, []GPVirtual{y, x, g}, f4, 4, func(u int) {
		t := v.reg()
		VMULPS(v.at(x, u), s, t)
		VMULPS(v.at(g, u), t, t)
		VMOVUPS(t, v.at(y, u))
	})
	end()
}

func dots(v isa) {
	v.op("dot", "func(a, b *float32, n int) float32", "returns Σ a·b.")
	a, b, n := ptr("a"), ptr("b"), ptr("n")
	acc := []VecVirtual{v.zero(), v.zero(), v.zero(), v.zero()}
	r := v.reduce(n, []GPVirtual{a, b}, acc, addPS, func(u int, s VecVirtual) {
		VFMADD231PS(v.at(b, u), v.load(v.at(a, u)), s)
	})
	v.fold(r, addPS)
	end()

	v.op("dot3", "func(a, b, c *float32, n int) float32", "returns Σ a·b·c.")
	a, b, n = ptr("a"), ptr("b"), ptr("n")
	c := ptr("c")
	acc = []VecVirtual{v.zero(), v.zero(), v.zero(), v.zero()}
	r = v.reduce(n, []GPVirtual{a, b, c}, acc, addPS, func(u int, s VecVirtual) {
		t := v.load(v.at(a, u))
		VMULPS(v.at(b, u), t, t)
		VFMADD231PS(v.at(c, u), t, s)
	})
	v.fold(r, addPS)
	end()
}

func rmsNormBackward(v isa) {
	v.op("rmsNormBackward", "func(dx, dy, x, gain *float32, n int, inv, c float32)", "adds inv·dy·gain − c·x to dx.")
	dx, dy, x, g, n := ptr("dx"), ptr("dy"), ptr("x"), ptr("gain"), ptr("n")
	inv, c := v.scalar("inv"), v.scalar("c")
	v.loop(n, []GPVirtual{dx, dy, x, g}, f4, 2, func(u int) {
		t := v.reg()
		VMULPS(v.at(dy, u), inv, t)
		d := v.load(v.at(dx, u))
		VFMADD231PS(v.at(g, u), t, d)
		VFNMADD231PS(v.at(x, u), c, d)
		VMOVUPS(d, v.at(dx, u))
	})
	end()
}

func axpyMul(v isa) {
	v.op("axpyMul", "func(y, a, b *float32, n int, s float32)", "adds a·b·s to y.")
	y, a, b, n := ptr("y"), ptr("a"), ptr("b"), ptr("n")
	s := v.scalar("s")
	v.loop(n, []GPVirtual{y, a, b}, f4, 4, func(u int) {
		t := v.reg()
		VMULPS(v.at(a, u), s, t)
		d := v.load(v.at(y, u))
		VFMADD231PS(v.at(b, u), t, d)
		VMOVUPS(d, v.at(y, u))
	})
	end()
}

func rope(v isa) {
	v.op("rope", "func(lo, hi, cos, sin *float32, n int)", "turns the pairs (lo, hi) by the angles.")
	lo, hi, cs, sn, n := ptr("lo"), ptr("hi"), ptr("cos"), ptr("sin"), ptr("n")
	v.loop(n, []GPVirtual{lo, hi, cs, sn}, f4, 1, func(u int) {
		a, b, s, c := v.load(v.at(lo, u)), v.load(v.at(hi, u)), v.load(v.at(sn, u)), v.load(v.at(cs, u))
		t, w := v.reg(), v.reg()
		VMULPS(b, s, t)
		VMULPS(a, s, w)
		VFMSUB231PS(a, c, t) // a·c − b·s
		VFMADD231PS(b, c, w)
		VMOVUPS(t, v.at(lo, u))
		VMOVUPS(w, v.at(hi, u))
	})
	end()
}

// expConsts are the constants of exp in registers.
type expConsts struct {
	lo, hi, log2e, ln2Hi, ln2Lo, one VecVirtual
	c                                []VecVirtual
	bias                             VecVirtual // AVX2
}

func (v isa) expConsts() *expConsts {
	k := &expConsts{lo: v.float(-87.3365), hi: v.float(89), log2e: v.float(1.44269504088896341), ln2Hi: v.float(0.693359375), ln2Lo: v.float(-2.12194440e-4), one: v.float(1)}
	if v.wide() {
		for _, f := range []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5} {
			k.c = append(k.c, v.float(f))
		}
	}
	return k
}

// poly brings coefficient i into an operand of a multiply-add: a register
// where there are enough, else a broadcast on the spot.
func (v isa) coefficient(k *expConsts, i int) VecVirtual {
	if v.wide() {
		return k.c[i]
	}
	return v.float([]float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5}[i])
}

// exp replaces x by eˣ: see expf in generic.go. NaN stays NaN.
func (v isa) exp(k *expConsts, x VecVirtual) {
	var normal Op // which results are
	if v.wide() {
		normal = K()
	} else {
		normal = v.reg()
	}
	VCMPPS(U8(5), k.lo, x, normal) // not less
	VMAXPS(x, k.lo, x)
	VMINPS(x, k.hi, x)
	n := v.reg()
	VMULPS(k.log2e, x, n)
	if v.wide() {
		VRNDSCALEPS(U8(8), n, n)
	} else {
		VROUNDPS(U8(8), n, n)
	}
	VFNMADD231PS(k.ln2Hi, n, x)
	VFNMADD231PS(k.ln2Lo, n, x)
	p := v.reg()
	VMOVAPS(v.coefficient(k, 0), p)
	for i := 1; i < 6; i++ {
		VFMADD213PS(v.coefficient(k, i), x, p)
	}
	r2 := v.reg()
	VMULPS(x, x, r2)
	VFMADD213PS(x, r2, p) // p·r² + r
	VADDPS(k.one, p, p)
	if v.wide() {
		VSCALEFPS_Z(n, p, normal, x)
		return
	}
	e, h := v.reg(), v.reg()
	VCVTPS2DQ(n, e)
	VPSRAD(U8(1), e, h)
	VPSUBD(h, e, e)
	VPSLLD(U8(23), h, h)
	VPADDD(k.one, h, h) // one's bits are the exponent bias
	VPSLLD(U8(23), e, e)
	VPADDD(k.one, e, e)
	VMULPS(h, p, p)
	VMULPS(e, p, x)
	VANDPS(normal, x, x)
}

// sigmoid returns 1/(1+e^-x).
func (v isa) sigmoid(k *expConsts, x VecVirtual) VecVirtual {
	t := v.zero()
	VSUBPS(x, t, t)
	v.exp(k, t)
	VADDPS(k.one, t, t)
	VDIVPS(t, k.one, t)
	return t
}

func swiGLU(v isa) {
	v.op("swiGLU", "func(y, gate, up *float32, n int)", "writes y = silu(gate)·up.")
	y, g, up, n := ptr("y"), ptr("gate"), ptr("up"), ptr("n")
	k := v.expConsts()
	v.loop(n, []GPVirtual{y, g, up}, f4, 1, func(u int) {
		x := v.load(v.at(g, u))
		t := v.sigmoid(k, x)
		VMULPS(x, t, t)
		VMULPS(v.at(up, u), t, t)
		VMOVUPS(t, v.at(y, u))
	})
	end()
}

func swiGLUBackward(v isa) {
	v.op("swiGLUBackward", "func(dgate, dup, dy, gate, up *float32, n int)", "writes the gradients of swiGLU.")
	dg, du, dy, g, up, n := ptr("dgate"), ptr("dup"), ptr("dy"), ptr("gate"), ptr("up"), ptr("n")
	k := v.expConsts()
	v.loop(n, []GPVirtual{dg, du, dy, g, up}, f4, 1, func(u int) {
		x := v.load(v.at(g, u))
		s := v.sigmoid(k, x)
		d, w := v.load(v.at(dy, u)), v.load(v.at(up, u))
		VMULPS(d, w, w) // dy·up
		t, r := v.reg(), v.reg()
		VMULPS(x, s, t) // silu
		VMULPS(d, t, d)
		VMOVUPS(d, v.at(du, u))
		VSUBPS(s, k.one, r)
		VFMADD213PS(s, t, r) // silu·(1−s) + s
		VMULPS(w, r, r)
		VMOVUPS(r, v.at(dg, u))
	})
	end()
}

func maxOf(v isa) {
	v.op("maxOf", "func(x *float32, n int) float32", "returns the largest element, passing over NaNs.")
	x, n := ptr("x"), ptr("n")
	var acc []VecVirtual
	for range 4 {
		acc = append(acc, v.float(float32(math.Inf(-1))))
	}
	// MAXPS returns its second source if one is NaN: the accumulator.
	join := func(a, b, dst Op) { VMAXPS(b, a, dst) }
	r := v.reduce(n, []GPVirtual{x}, acc, join, func(u int, a VecVirtual) {
		VMAXPS(a, v.load(v.at(x, u)), a)
	})
	v.fold(r, join)
	end()
}

func exps(v isa) {
	for _, store := range []bool{true, false} {
		if store {
			v.op("expSum", "func(y, x *float32, n int, shift float32) float32", "writes y = e^(x−shift) and returns its sum.")
		} else {
			v.op("sumExp", "func(x *float32, n int, shift float32) float32", "returns Σ e^(x−shift).")
		}
		x, n := ptr("x"), ptr("n")
		ptrs := []GPVirtual{x}
		if store {
			ptrs = append(ptrs, ptr("y"))
		}
		shift := v.scalar("shift")
		k := v.expConsts()
		acc := []VecVirtual{v.zero(), v.zero(), v.zero(), v.zero()}
		r := v.reduce(n, ptrs, acc, addPS, func(u int, s VecVirtual) {
			t := v.load(v.at(x, u))
			VSUBPS(shift, t, t)
			v.exp(k, t)
			if store {
				VMOVUPS(t, v.at(ptrs[1], u))
			}
			VADDPS(t, s, s)
		})
		v.fold(r, addPS)
		end()
	}
}

func simple(v isa) {
	v.op("add", "func(y, a, b *float32, n int)", "writes y = a + b.")
	y, a, b, n := ptr("y"), ptr("a"), ptr("b"), ptr("n")
	v.loop(n, []GPVirtual{y, a, b}, f4, 4, func(u int) {
		t := v.load(v.at(a, u))
		VADDPS(v.at(b, u), t, t)
		VMOVUPS(t, v.at(y, u))
	})
	end()

	v.op("addConst", "func(y, x *float32, n int, c float32)", "writes y = x + c.")
	y, x, n := ptr("y"), ptr("x"), ptr("n")
	c := v.scalar("c")
	v.loop(n, []GPVirtual{y, x}, f4, 4, func(u int) {
		t := v.reg()
		VADDPS(v.at(x, u), c, t)
		VMOVUPS(t, v.at(y, u))
	})
	end()

	v.op("scale", "func(y, x *float32, n int, s float32)", "writes y = s·x.")
	y, x, n = ptr("y"), ptr("x"), ptr("n")
	s := v.scalar("s")
	v.loop(n, []GPVirtual{y, x}, f4, 4, func(u int) {
		t := v.reg()
		VMULPS(v.at(x, u), s, t)
		VMOVUPS(t, v.at(y, u))
	})
	end()

	v.op("axpby", "func(y, x *float32, n int, a, b float32)", "writes y = a·x + b·y.")
	y, x, n = ptr("y"), ptr("x"), ptr("n")
	s, t := v.scalar("a"), v.scalar("b")
	v.loop(n, []GPVirtual{y, x}, f4, 4, func(u int) {
		d := v.reg()
		VMULPS(v.at(y, u), t, d)
		VFMADD231PS(v.at(x, u), s, d)
		VMOVUPS(d, v.at(y, u))
	})
	end()
}

func gradScores(v isa) {
	v.op("gradScores", "func(d, p *float32, n int, delta, s float32)", "writes d = (d − delta)·p·s.")
	d, p, n := ptr("d"), ptr("p"), ptr("n")
	delta, s := v.scalar("delta"), v.scalar("s")
	v.loop(n, []GPVirtual{d, p}, f4, 4, func(u int) {
		t := v.load(v.at(d, u))
		VSUBPS(delta, t, t)
		VMULPS(v.at(p, u), t, t)
		VMULPS(s, t, t)
		VMOVUPS(t, v.at(d, u))
	})
	end()
}

// finite accumulates x·0, which is NaN exactly for NaNs and infinities.
func finite(v isa) {
	v.op("zeroSum", "func(x *float32, n int) float32", "returns Σ x·0: NaN if an element is not finite.")
	x, n := ptr("x"), ptr("n")
	z := v.zero()
	acc := []VecVirtual{v.zero(), v.zero(), v.zero(), v.zero()}
	r := v.reduce(n, []GPVirtual{x}, acc, addPS, func(u int, s VecVirtual) {
		VFMADD231PS(v.at(x, u), z, s)
	})
	v.fold(r, addPS)
	end()
}

// roundBF16 rounds x to bf16 in the upper half of every word (lower bits
// undefined); NaNs become quiet. quiet holds 0x00400000, bias 0x7fff.
func (v isa) roundBF16(x, one, bias, quiet VecVirtual) VecVirtual {
	t := v.reg()
	VPSRLD(U8(16), x, t)
	v.and(one, t, t)
	VPADDD(bias, t, t)
	VPADDD(x, t, t)
	q := v.reg()
	v.or(quiet, x, q)
	if v.wide() {
		k := K()
		VCMPPS(U8(3), x, x, k)
		VMOVDQA32(q, k, t)
	} else {
		m := v.reg()
		VCMPPS(U8(3), x, x, m)
		VBLENDVPS(m, q, t, t)
	}
	return t
}

func halves(v isa) {
	half := []int{2, 4}
	lanes := v.size / 4

	v.op("bf16FromF32", "func(dst *uint16, src *float32, n int)", "rounds to nearest even.")
	d, s, n := ptr("dst"), ptr("src"), ptr("n")
	one, bias, quiet := v.bits(1), v.bits(0x7fff), v.bits(0x400000)
	if v.wide() {
		v.loop(n, []GPVirtual{d, s}, half, 2, func(u int) {
			t := v.roundBF16(v.load(v.at(s, u)), one, bias, quiet)
			VPSRLD(U8(16), t, t)
			VPMOVDW(t, Mem{Base: d, Disp: u * 32})
		})
	} else {
		two := isa{v.name, v.size}
		name, done := label(), label()
		TESTQ(n, n)
		JZ(LabelRef(done))
		Label(name)
		a := two.roundBF16(v.load(v.at(s, 0)), one, bias, quiet)
		b := two.roundBF16(v.load(v.at(s, 1)), one, bias, quiet)
		VPSRLD(U8(16), a, a)
		VPSRLD(U8(16), b, b)
		VPACKUSDW(b, a, a)
		VPERMQ(U8(0xd8), a, a)
		VMOVUPS(a, Mem{Base: d})
		ADDQ(U8(32), d)
		ADDQ(U8(64), s)
		SUBQ(U8(16), n)
		JNZ(LabelRef(name))
		Label(done)
	}
	end()

	v.op("f32FromBF16", "func(dst *float32, src *uint16, n int)", "widens.")
	d, s, n = ptr("dst"), ptr("src"), ptr("n")
	v.loop(n, []GPVirtual{d, s}, []int{4, 2}, 2, func(u int) {
		t := v.reg()
		VPMOVZXWD(Mem{Base: s, Disp: u * lanes * 2}, t)
		VPSLLD(U8(16), t, t)
		VMOVUPS(t, v.at(d, u))
	})
	end()

	v.op("f16FromF32", "func(dst *uint16, src *float32, n int)", "rounds to nearest even.")
	d, s, n = ptr("dst"), ptr("src"), ptr("n")
	v.loop(n, []GPVirtual{d, s}, half, 2, func(u int) {
		VCVTPS2PH(U8(0), v.load(v.at(s, u)), Mem{Base: d, Disp: u * lanes * 2})
	})
	end()

	v.op("f32FromF16", "func(dst *float32, src *uint16, n int)", "widens.")
	d, s, n = ptr("dst"), ptr("src"), ptr("n")
	v.loop(n, []GPVirtual{d, s}, []int{4, 2}, 2, func(u int) {
		t := v.reg()
		VCVTPH2PS(Mem{Base: s, Disp: u * lanes * 2}, t)
		VMOVUPS(t, v.at(d, u))
	})
	end()
}

func q8(v isa) {
	lanes := v.size / 4
	per := 32 / lanes

	v.op("dequantizeQ8", "func(dst *float32, src *byte, blocks int)", "widens q8_0 blocks.")
	d, s, n := ptr("dst"), ptr("src"), ptr("blocks")
	name := label()
	Label(name)
	w := GP32()
	MOVWLZX(Mem{Base: s}, w)
	x := XMM()
	VMOVD(w, x)
	VCVTPH2PS(x, x)
	sc := v.reg()
	VBROADCASTSS(x, sc)
	for u := range per {
		t := v.reg()
		VPMOVSXBD(Mem{Base: s, Disp: 2 + u*lanes}, t)
		VCVTDQ2PS(t, t)
		VMULPS(sc, t, t)
		VMOVUPS(t, v.at(d, u))
	}
	ADDQ(U8(34), s)
	ADDQ(U8(128), d)
	DECQ(n)
	JNZ(LabelRef(name))
	end()

	v.op("quantizeQ8", "func(dst *byte, src *float32, blocks int)", "rounds to q8_0 blocks.")
	d, s, n = ptr("dst"), ptr("src"), ptr("blocks")
	abs := v.bits(0x7fffffff)
	c127, one := XMM(), XMM()
	VMOVSS(word(math.Float32bits(127)), c127)
	VMOVSS(word(math.Float32bits(1)), one)
	name, flat := label(), label()
	Label(name)
	xs := v.regs(per)
	top := v.reg()
	for u := range per {
		VMOVUPS(v.at(s, u), xs[u])
		if u == 0 {
			v.and(xs[0], abs, top)
			continue
		}
		t := v.reg()
		v.and(xs[u], abs, t)
		VMAXPS(t, top, top)
	}
	y := top.AsY()
	if v.wide() {
		h := YMM()
		VEXTRACTF64X4(U8(1), top, h)
		VMAXPS(h, y, y)
	}
	m, t := XMM(), XMM()
	VEXTRACTF128(U8(1), y, m)
	VMAXPS(top.AsX(), m, m)
	VPERMILPS(U8(0x4e), m, t)
	VMAXPS(t, m, m)
	VPERMILPS(U8(0xb1), m, t)
	VMAXPS(t, m, m)
	VDIVSS(c127, m, m) // the scale
	h := XMM()
	VCVTPS2PH(U8(0), m, h)
	w = GP32()
	VMOVD(h, w)
	MOVW(w.As16(), Mem{Base: d})
	inv := XMM()
	VXORPS(inv, inv, inv)
	TESTW(w.As16(), w.As16())
	JZ(LabelRef(flat))
	VDIVSS(m, one, inv)
	Label(flat)
	iv := v.reg()
	VBROADCASTSS(inv, iv)
	for u := range per {
		VMULPS(iv, xs[u], xs[u])
		VCVTPS2DQ(xs[u], xs[u])
		if v.wide() {
			VPMOVSDB(xs[u], Mem{Base: d, Disp: 2 + u*lanes})
		}
	}
	if !v.wide() {
		VPACKSSDW(xs[1], xs[0], xs[0])
		VPACKSSDW(xs[3], xs[2], xs[2])
		VPACKSSWB(xs[2], xs[0], xs[0])
		order := GLOBL("q8order", RODATA|NOPTR)
		for i, o := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
			DATA(i*4, U32(o))
		}
		p := YMM()
		VMOVDQU(order, p)
		VPERMD(xs[0], p, xs[0])
		VMOVDQU(xs[0], Mem{Base: d, Disp: 2})
	}
	ADDQ(U8(34), d)
	ADDQ(U8(128), s)
	DECQ(n)
	JNZ(LabelRef(name))
	end()
}

func adamW(v isa) {
	v.op("adamW", "func(p, grad, m, v *float32, n int, k *float32)", "does the AdamW step with the constants of adamConsts.")
	p, g, m, w, n, k := ptr("p"), ptr("grad"), ptr("m"), ptr("v"), ptr("n"), ptr("k")
	c := v.regs(8)
	for i := range c {
		VBROADCASTSS(Mem{Base: k, Disp: 4 * i}, c[i])
	}
	gs, decay, mix1, beta2, mix2, step, root, eps := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	v.loop(n, []GPVirtual{p, g, m, w}, f4, 1, func(u int) {
		x, t, a := v.reg(), v.reg(), v.load(v.at(m, u))
		VMULPS(v.at(g, u), gs, x)
		VSUBPS(a, x, t)
		VFMADD231PS(t, mix1, a)
		VMOVUPS(a, v.at(m, u))
		VMULPS(x, mix2, t)
		VMULPS(x, t, t)
		VFMADD231PS(v.at(w, u), beta2, t)
		VMOVUPS(t, v.at(w, u))
		VSQRTPS(t, t)
		VFMADD213PS(eps, root, t)
		VMULPS(step, a, a)
		VDIVPS(t, a, a)
		b := v.reg()
		VMULPS(v.at(p, u), decay, b)
		VSUBPS(a, b, b)
		VMOVUPS(b, v.at(p, u))
	})
	end()
}

func zips(v isa) {
	v.op("zip16", "func(dst, a, b *uint16, n int)", "interleaves: dst = a₀ b₀ a₁ b₁ ….")
	d, a, b, n := ptr("dst"), ptr("a"), ptr("b"), ptr("n")
	lanes := v.size / 4
	v.loop(n, []GPVirtual{d, a, b}, []int{4, 2, 2}, 1, func(u int) {
		x, y := v.reg(), v.reg()
		VPMOVZXWD(Mem{Base: a, Disp: u * lanes * 2}, x)
		VPMOVZXWD(Mem{Base: b, Disp: u * lanes * 2}, y)
		VPSLLD(U8(16), y, y)
		v.or(y, x, x)
		VMOVUPS(x, v.at(d, u))
	})
	end()

	v.op("zipBF16", "func(dst *uint16, a, b *float32, n int)", "rounds to bf16 and interleaves: dst = a₀ b₀ a₁ b₁ ….")
	d, a, b, n = ptr("dst"), ptr("a"), ptr("b"), ptr("n")
	one, bias, quiet, high := v.bits(1), v.bits(0x7fff), v.bits(0x400000), v.bits(0xffff0000)
	v.loop(n, []GPVirtual{d, a, b}, f4, 1, func(u int) {
		x := v.roundBF16(v.load(v.at(a, u)), one, bias, quiet)
		y := v.roundBF16(v.load(v.at(b, u)), one, bias, quiet)
		VPSRLD(U8(16), x, x)
		v.and(high, y, y)
		v.or(y, x, x)
		VMOVUPS(x, v.at(d, u))
	})
	end()
}

// transpose16 turns 16 rows of 16·blocks words into 16·blocks rows of 16 words.
func transpose16() {
	TEXT("transpose16AVX512", NOSPLIT, "func(dst *uint32, ldd int, src *uint32, lds, blocks int)")
	Pragma("noescape")
	Doc("transpose16AVX512 turns 16 rows into columns, 16·blocks words of each; distances are in bytes.")
	d, ldd, s, lds, n := ptr("dst"), ptr("ldd"), ptr("src"), ptr("lds"), ptr("blocks")
	name := label()
	Label(name)
	a, b := make([]VecVirtual, 16), make([]VecVirtual, 16)
	p := GP64()
	MOVQ(s, p)
	for i := range a {
		a[i] = ZMM()
		VMOVUPS(Mem{Base: p}, a[i])
		ADDQ(lds, p)
	}
	for i := 0; i < 16; i += 2 {
		b[i], b[i+1] = ZMM(), ZMM()
		VUNPCKLPS(a[i+1], a[i], b[i])
		VUNPCKHPS(a[i+1], a[i], b[i+1])
	}
	// a[4g+j] holds, in 128-bit lane l, word 4l+j of rows 4g..4g+3.
	for g := 0; g < 16; g += 4 {
		for j := range 4 {
			a[g+j] = ZMM()
		}
		VUNPCKLPD(b[g+2], b[g], a[g])
		VUNPCKHPD(b[g+2], b[g], a[g+1])
		VUNPCKLPD(b[g+3], b[g+1], a[g+2])
		VUNPCKHPD(b[g+3], b[g+1], a[g+3])
	}
	for j := range 4 {
		lo0, lo1, hi0, hi1 := ZMM(), ZMM(), ZMM(), ZMM()
		VSHUFF32X4(U8(0x88), a[4+j], a[j], lo0)    // lanes 0,2 of rows 0..7
		VSHUFF32X4(U8(0xdd), a[4+j], a[j], hi0)    // lanes 1,3
		VSHUFF32X4(U8(0x88), a[12+j], a[8+j], lo1) // rows 8..15
		VSHUFF32X4(U8(0xdd), a[12+j], a[8+j], hi1)
		for l, x := range [][2]VecVirtual{{lo0, lo1}, {hi0, hi1}} {
			t := ZMM()
			VSHUFF32X4(U8(0x88), x[1], x[0], t) // word 4l+j
			b[4*l+j] = t
			t = ZMM()
			VSHUFF32X4(U8(0xdd), x[1], x[0], t) // word 4(l+2)+j
			b[4*(l+2)+j] = t
		}
	}
	for i := range b {
		VMOVUPS(b[i], Mem{Base: d})
		ADDQ(ldd, d)
	}
	ADDQ(U8(64), s)
	DECQ(n)
	JNZ(LabelRef(name))
	end()
}

// transpose8 is transpose16 for AVX2: 8 rows.
func transpose8() {
	TEXT("transpose8AVX2", NOSPLIT, "func(dst *uint32, ldd int, src *uint32, lds, blocks int)")
	Pragma("noescape")
	Doc("transpose8AVX2 turns 8 rows into columns, 8·blocks words of each; distances are in bytes.")
	d, ldd, s, lds, n := ptr("dst"), ptr("ldd"), ptr("src"), ptr("lds"), ptr("blocks")
	name := label()
	Label(name)
	a, b := make([]VecVirtual, 8), make([]VecVirtual, 8)
	p := GP64()
	MOVQ(s, p)
	for i := range a {
		a[i] = YMM()
		VMOVUPS(Mem{Base: p}, a[i])
		ADDQ(lds, p)
	}
	for i := 0; i < 8; i += 2 {
		b[i], b[i+1] = YMM(), YMM()
		VUNPCKLPS(a[i+1], a[i], b[i])
		VUNPCKHPS(a[i+1], a[i], b[i+1])
	}
	for g := 0; g < 8; g += 4 {
		for j := range 4 {
			a[g+j] = YMM()
		}
		VUNPCKLPD(b[g+2], b[g], a[g])
		VUNPCKHPD(b[g+2], b[g], a[g+1])
		VUNPCKLPD(b[g+3], b[g+1], a[g+2])
		VUNPCKHPD(b[g+3], b[g+1], a[g+3])
	}
	out := make([]VecVirtual, 8)
	for j := range 4 {
		out[j], out[j+4] = YMM(), YMM()
		VPERM2F128(U8(0x20), a[4+j], a[j], out[j])
		VPERM2F128(U8(0x31), a[4+j], a[j], out[j+4])
	}
	for i := range out {
		VMOVUPS(out[i], Mem{Base: d})
		ADDQ(ldd, d)
	}
	ADDQ(U8(32), s)
	DECQ(n)
	JNZ(LabelRef(name))
	end()
}
