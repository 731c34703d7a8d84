// Command _asm generates the amd64 kernels of package attn. Run it through go
// generate in the parent folder.
//
// A kernel computes q·k of one to four queries with groups of 32 keys
// whose rows lie in the cache's own type: 8 words of 16 rows are transposed in
// registers, widened exactly, and multiplied with broadcast queries, so
// that lanes are keys and every score is one chain over the dimensions, in
// order: the bits of the product with widened keys. The two halves of a group
// take turns, product by product, to hide the latency of the chains.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of type direct.
const (
	offDst, offLdd, offQ, offLdq = 0, 8, 16, 24
	offK, offStride, offSteps    = 32, 40, 48
	offGroups, offNext           = 56, 64
)

// format is a type of key rows.
type format struct {
	name  string
	bytes int // of a row per step of 8 words
	dims  int // per step
	skip  int // bytes of a step before its words
	// setup loads constants. multiply folds word w of both halves into the
	// accumulators.
	setup    func(k *kernel)
	multiply func(k *kernel, w int)
}

type kernel struct {
	format
	m     int
	q     []GPVirtual
	acc   [2][]VecVirtual
	words [2][]VecVirtual // of a step: word w of 16 rows
	// BF16: the mask of the odd dimension. F16: the order of words.
	constant VecVirtual
	// q8_0: the scales of the step's block for 16 keys, and what Q8's widening adds.
	scale, bias [2]VecVirtual
	masks       [2]VecVirtual
}

// fma multiplies dimension d of the queries with the widened keys of both halves.
func (k *kernel) fma(d int, x [2]VecVirtual) {
	for i := range k.m {
		for h := range x {
			VFMADD231PS_BCST(Mem{Base: k.q[i], Disp: 4 * d}, x[h], k.acc[h][i])
		}
	}
}

func pair() [2]VecVirtual { return [2]VecVirtual{ZMM(), ZMM()} }

func main() {
	ConstraintExpr("amd64")
	for _, f := range []format{
		{name: "F32", bytes: 32, dims: 8, multiply: func(k *kernel, w int) {
			k.fma(w, [2]VecVirtual{k.words[0][w], k.words[1][w]})
		}},
		{name: "BF16", bytes: 32, dims: 16, setup: setupBF16, multiply: multiplyBF16},
		{name: "F16", bytes: 32, dims: 16, setup: setupF16, multiply: multiplyF16},
		{name: "Q8", bytes: 34, dims: 32, skip: 2, setup: setupQ8, multiply: multiplyQ8},
	} {
		emit(f)
	}
	Generate()
}

func setupBF16(k *kernel) {
	k.constant = fill(0xffff0000)
}

func multiplyBF16(k *kernel, w int) {
	lo := pair()
	for h := range lo {
		VPSLLD(U8(16), k.words[h][w], lo[h])
	}
	k.fma(2*w, lo)
	hi := pair()
	for h := range hi {
		VPANDD(k.constant, k.words[h][w], hi[h])
	}
	k.fma(2*w+1, hi)
}

// wordOrder is the order of words that puts the even ones first.
var wordOrder *Mem

func setupF16(k *kernel) {
	if wordOrder == nil {
		m := GLOBL("evenThenOdd", RODATA|NOPTR)
		for i := range 32 {
			DATA(2*i, U16(uint16(i%16*2+i/16)))
		}
		wordOrder = &m
	}
	k.constant = ZMM()
	VMOVDQU32(*wordOrder, k.constant)
}

func multiplyF16(k *kernel, w int) {
	x, lo, hi := pair(), pair(), pair()
	for h := range x {
		VPERMW(k.words[h][w], k.constant, x[h])
		VCVTPH2PS(x[h].AsY(), lo[h])
	}
	k.fma(2*w, lo)
	for h := range x {
		VEXTRACTI64X4(U8(1), x[h], x[h].AsY())
		VCVTPH2PS(x[h].AsY(), hi[h])
	}
	k.fma(2*w+1, hi)
}

func setupQ8(k *kernel) {
	k.masks = [2]VecVirtual{fill(0xff), fill(0xff00)}
}

// multiplyQ8 widens codes without a conversion. Byte 1 of a word, its sign
// turned, is put into the mantissa of 2^15: 32768 + code + 128; scale times
// that plus the bias −32896·scale is scale·code, exactly, since scale has 11 bits
// and 32896 has 9. Bytes 2 and 3 are shifted there. Byte 0 is put into the
// mantissa of 2^23, from which a subtraction takes it, exactly too: the ports
// that shift have enough to do with transposing.
func multiplyQ8(k *kernel, w int) {
	for h := range k.bias {
		if w == 0 {
			k.bias[h] = ZMM()
			VMULPS_BCST(constant(math.Float32bits(-32896)), k.scale[h], k.bias[h])
		}
	}
	for b := range 4 {
		x := [2]VecVirtual{k.words[0][w], k.words[1][w]}
		for h, word := range x {
			switch b {
			case 0, 1:
				x[h] = ZMM()
				VMOVDQA32(word, x[h])
			case 2:
				x[h] = ZMM()
				VPSRLD(U8(8), word, x[h])
			case 3:
				VPSRLD(U8(16), word, word)
			}
			if b == 0 {
				VPTERNLOGD_BCST(U8(0x6a), constant(0x4b000080), k.masks[0], x[h]) // (x & mask) ^ constant
				VSUBPS_BCST(constant(math.Float32bits(1<<23+128)), x[h], x[h])
				VMULPS(k.scale[h], x[h], x[h])
			} else {
				VPTERNLOGD_BCST(U8(0x6a), constant(0x47008000), k.masks[1], x[h])
				VFMADD213PS(k.bias[h], k.scale[h], x[h])
			}
		}
		k.fma(4*w+b, x)
	}
}

var constants = map[uint32]Mem{}

// constant is a word in memory, to be broadcast.
func constant(v uint32) Mem {
	if m, ok := constants[v]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("word%08x", v), RODATA|NOPTR)
	DATA(0, U32(v))
	constants[v] = m
	return m
}

func fill(v uint32) VecVirtual {
	z := ZMM()
	VPBROADCASTD(constant(v), z)
	return z
}

func field(base GPVirtual, off int) Mem { return Mem{Base: base, Disp: off} }

func emit(f format) {
	for m := 1; m <= 4; m++ {
		k := &kernel{format: f, m: m}
		TEXT(fmt.Sprintf("scores%sx%d", f.name, m), NOSPLIT, "func(a *byte)")
		Pragma("noescape")
		Doc(fmt.Sprintf("scores%sx%d multiplies %d queries with groups of 32 keys (type direct).", f.name, m, m))
		a := Load(Param("a"), GP64()).(GPVirtual)
		rows, stride := GP64(), GP64()
		MOVQ(field(a, offK), rows)
		MOVQ(field(a, offStride), stride)
		if f.setup != nil {
			f.setup(k)
		}

		Label("group")
		for h := range k.acc {
			k.acc[h] = nil
			for range m {
				z := ZMM()
				VPXORD(z, z, z)
				k.acc[h] = append(k.acc[h], z)
			}
		}
		k.q = []GPVirtual{GP64()}
		MOVQ(field(a, offQ), k.q[0])
		for i := 1; i < m; i++ {
			k.q = append(k.q, GP64())
			MOVQ(k.q[i-1], k.q[i])
			ADDQ(field(a, offLdq), k.q[i])
		}
		steps, p, ahead := GP64(), GP64(), GP64()
		MOVQ(field(a, offSteps), steps)
		MOVQ(rows, p)
		// What is read next: the next group, and after the last one the values.
		MOVQ(stride, ahead)
		SHLQ(U8(5), ahead)
		ADDQ(rows, ahead)
		CMPQ(field(a, offGroups), Imm(1))
		CMOVQEQ(field(a, offNext), ahead)

		Label("step")
		row := GP64()
		MOVQ(p, row)
		for h := range k.words {
			k.transpose(h, row, stride)
		}
		// Prefetches are spread over the products: sixteen at once would fill the
		// buffers that the loads need.
		lines := (32*f.bytes + 63) / 64
		for w := range 8 {
			for l := w * lines / 8; l < (w+1)*lines/8; l++ {
				PREFETCHT0(Mem{Base: ahead, Disp: 64 * l})
			}
			f.multiply(k, w)
		}
		ADDQ(U32(uint32(32*f.bytes)), ahead)
		ADDQ(U32(uint32(f.bytes)), p)
		for _, q := range k.q {
			ADDQ(U32(uint32(4*f.dims)), q)
		}
		DECQ(steps)
		JNZ(LabelRef("step"))

		out := GP64()
		MOVQ(field(a, offDst), out)
		for i := range m {
			VMOVUPS(k.acc[0][i], Mem{Base: out})
			VMOVUPS(k.acc[1][i], Mem{Base: out, Disp: 64})
			if i+1 < m {
				ADDQ(field(a, offLdd), out)
			}
		}
		ADDQ(U32(128), field(a, offDst))
		skip := GP64()
		MOVQ(stride, skip)
		SHLQ(U8(5), skip)
		ADDQ(skip, rows)
		DECQ(field(a, offGroups))
		JNZ(LabelRef("group"))
		VZEROUPPER()
		RET()
	}
}

// transpose loads 8 words of 16 rows from row on (left behind them) into
// words[h]: word w of all rows.
func (k *kernel) transpose(h int, row, stride GPVirtual) {
	if k.name == "Q8" {
		k.scales(h, row, stride)
	}
	// Register i of a quad holds rows i and 4+i: lanes of four words of
	// one row each, low words, high words, low words, high words.
	var quads [2][]VecVirtual
	for n := range quads {
		far := GP64()
		LEAQ(Mem{Base: row, Index: stride, Scale: 4}, far)
		var r [4]VecVirtual
		for i := range r {
			r[i] = ZMM()
			VBROADCASTI64X4(Mem{Base: row, Disp: k.skip}, r[i])
			VINSERTI64X4(U8(1), Mem{Base: far, Disp: k.skip}, r[i], r[i])
			ADDQ(stride, row)
			ADDQ(stride, far)
		}
		MOVQ(far, row)
		// Registers are few: every second result takes the place of an operand.
		unpack := func(lo, hi func(...Op), x, y VecVirtual) (VecVirtual, VecVirtual) {
			z := ZMM()
			lo(y, x, z)
			hi(y, x, x)
			return z, x
		}
		low := func(o ...Op) { VUNPCKLPS(o...) }
		high := func(o ...Op) { VUNPCKHPS(o...) }
		a, b := unpack(low, high, r[0], r[1])
		c, d := unpack(low, high, r[2], r[3])
		low = func(o ...Op) { VUNPCKLPD(o...) }
		high = func(o ...Op) { VUNPCKHPD(o...) }
		q0, q1 := unpack(low, high, a, c)
		q2, q3 := unpack(low, high, b, d)
		quads[n] = []VecVirtual{q0, q1, q2, q3}
	}
	k.words[h] = make([]VecVirtual, 8)
	for i := range 4 {
		k.words[h][i], k.words[h][4+i] = ZMM(), quads[0][i]
		VSHUFF32X4(U8(0x88), quads[1][i], quads[0][i], k.words[h][i])
		VSHUFF32X4(U8(0xdd), quads[1][i], quads[0][i], k.words[h][4+i])
	}
}

// scales gathers the f16 scales of 16 rows for the step's block.
func (k *kernel) scales(h int, row, stride GPVirtual) {
	r := GP64()
	MOVQ(row, r)
	y := YMM()
	parts := [2]VecVirtual{y.AsX().(VecVirtual), XMM()}
	for half, x := range parts {
		for i := range 8 {
			switch {
			case i > 0:
				VPINSRW(U8(i), Mem{Base: r}, x, x)
			case half == 0:
				VPBROADCASTW(Mem{Base: r}, y)
			default:
				VPBROADCASTW(Mem{Base: r}, x)
			}
			ADDQ(stride, r)
		}
	}
	VINSERTI32X4(U8(1), parts[1], y, y)
	k.scale[h] = ZMM()
	VCVTPH2PS(y, k.scale[h])
}
