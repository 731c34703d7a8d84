// Command _asm generates the amd64 kernels of package attn. Run it through go
// generate in the parent folder.
//
// A kernel computes q·k of one, two or four queries with groups of 32 keys
// whose rows lie in the cache's own type: 16 rows of 16 words are transposed
// in registers, widened exactly, and multiplied with broadcast queries, so
// that lanes are keys and every score is one chain over the dimensions, in
// order: the bits of the product with widened keys. Two groups of 16 keys take
// turns to hide the latency of the chains.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of type direct.
const (
	offDst, offLdd, offQ, offLdq   = 0, 8, 16, 24
	offK, offStride, offChunks     = 32, 40, 48
	offGroups, offBlockBytes, offM = 56, 64, 72
)

// format is a type of key rows.
type format struct {
	name  string
	bytes int // of a row per chunk of 16 words
	dims  int // per chunk
	// multiply folds the 16 transposed words into the accumulators; q returns
	// the operand of query i at dimension d of the chunk.
	multiply func(k *kernel, t []VecVirtual)
}

type kernel struct {
	format
	m     int
	q     []GPVirtual
	ahead GPVirtual
	acc   []VecVirtual
	mask  VecVirtual
	// q8_0: the scales of 16 keys for the two blocks of a chunk.
	scale [2]VecVirtual
}

func (k *kernel) fma(d int, t VecVirtual) {
	for i := range k.m {
		VFMADD231PS_BCST(Mem{Base: k.q[i], Disp: 4 * d}, t, k.acc[i])
	}
}

func main() {
	ConstraintExpr("amd64")
	for _, f := range []format{
		{"F32", 64, 16, func(k *kernel, t []VecVirtual) {
			for d, r := range t {
				k.fma(d, r)
			}
		}},
		{"BF16", 64, 32, func(k *kernel, t []VecVirtual) {
			for d, r := range t {
				lo := ZMM()
				VPSLLD(U8(16), r, lo)
				VPANDD(k.mask, r, r)
				k.fma(2*d, lo)
				k.fma(2*d+1, r)
			}
		}},
		{"F16", 64, 32, func(k *kernel, t []VecVirtual) {
			for d, r := range t {
				h, lo := YMM(), ZMM()
				VPMOVDW(r, h)
				VCVTPH2PS(h, lo)
				VPSRLD(U8(16), r, r)
				h2, hi := YMM(), ZMM()
				VPMOVDW(r, h2)
				VCVTPH2PS(h2, hi)
				k.fma(2*d, lo)
				k.fma(2*d+1, hi)
			}
		}},
		{"Q8", 68, 64, func(k *kernel, t []VecVirtual) {
			for d, r := range t {
				for byte := range 4 {
					x := r
					if byte < 3 {
						x = ZMM()
						VPSLLD(U8(24-8*byte), r, x)
						VPSRAD(U8(24), x, x)
					} else {
						VPSRAD(U8(24), x, x)
					}
					VCVTDQ2PS(x, x)
					VMULPS(k.scale[d/8], x, x)
					k.fma(4*d+byte, x)
				}
			}
		}},
	} {
		emit(f)
	}
	Generate()
}

func field(base GPVirtual, off int) Mem { return Mem{Base: base, Disp: off} }

func emit(f format) {
	for _, m := range []int{1, 2, 4} {
		k := &kernel{format: f, m: m}
		TEXT(fmt.Sprintf("scores%sx%d", f.name, m), NOSPLIT, "func(a *byte)")
		Pragma("noescape")
		Doc(fmt.Sprintf("scores%sx%d multiplies %d queries with groups of 32 keys (type direct).", f.name, m, m))
		a := Load(Param("a"), GP64()).(GPVirtual)
		rows, stride := GP64(), GP64()
		MOVQ(field(a, offK), rows)
		MOVQ(field(a, offStride), stride)
		if f.name == "BF16" {
			k.mask = ZMM()
			w := GP32()
			MOVL(U32(0xffff0000), w)
			VPBROADCASTD(w, k.mask)
		}

		Label("group")
		acc := [2][]VecVirtual{}
		for h := range acc {
			for range m {
				z := ZMM()
				VPXORD(z, z, z)
				acc[h] = append(acc[h], z)
			}
		}
		k.q = []GPVirtual{GP64()}
		MOVQ(field(a, offQ), k.q[0])
		ldq := GP64()
		MOVQ(field(a, offLdq), ldq)
		for i := 1; i < m; i++ {
			k.q = append(k.q, GP64())
			MOVQ(k.q[i-1], k.q[i])
			ADDQ(ldq, k.q[i])
		}
		chunks, p := GP64(), GP64()
		MOVQ(field(a, offChunks), chunks)
		MOVQ(rows, p)

		Label("chunk")
		// Prefetch the next group of 32 keys: 32 rows ahead, line by line.
		row := GP64()
		MOVQ(p, row)
		k.ahead = GP64()
		MOVQ(stride, k.ahead)
		SHLQ(U8(5), k.ahead)
		ADDQ(row, k.ahead)
		for h := range acc {
			k.acc = acc[h]
			k.multiply(k, k.transpose(row, stride))
		}
		ADDQ(U32(uint32(f.bytes)), p)
		for _, q := range k.q {
			ADDQ(U32(uint32(4*f.dims)), q)
		}
		DECQ(chunks)
		JNZ(LabelRef("chunk"))

		out, ldd := GP64(), GP64()
		MOVQ(field(a, offDst), out)
		MOVQ(field(a, offLdd), ldd)
		for i := range m {
			VMOVUPS(acc[0][i], Mem{Base: out})
			VMOVUPS(acc[1][i], Mem{Base: out, Disp: 64})
			if i+1 < m {
				ADDQ(ldd, out)
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

// transpose loads 16 words of 16 rows from row on (left behind them) and
// returns 16 registers: word w of all rows.
func (k *kernel) transpose(row, stride GPVirtual) []VecVirtual {
	a, b, out := make([]VecVirtual, 16), make([]VecVirtual, 16), make([]VecVirtual, 16)
	if k.name == "Q8" {
		k.scales(row, stride)
	}
	for i := range a {
		a[i] = ZMM()
		if k.name == "Q8" {
			VBROADCASTI64X4(Mem{Base: row, Disp: 2}, a[i])
			VINSERTI64X4(U8(1), Mem{Base: row, Disp: 36}, a[i], a[i])
		} else {
			VMOVUPS(Mem{Base: row}, a[i])
		}
		PREFETCHT0(Mem{Base: k.ahead})
		ADDQ(stride, k.ahead)
		ADDQ(stride, row)
		if i%2 == 1 {
			b[i-1], b[i] = ZMM(), ZMM()
			VUNPCKLPS(a[i], a[i-1], b[i-1])
			VUNPCKHPS(a[i], a[i-1], b[i])
		}
		if i%4 == 3 {
			g := i - 3
			for j := range 4 {
				a[g+j] = ZMM()
			}
			VUNPCKLPD(b[g+2], b[g], a[g])
			VUNPCKHPD(b[g+2], b[g], a[g+1])
			VUNPCKLPD(b[g+3], b[g+1], a[g+2])
			VUNPCKHPD(b[g+3], b[g+1], a[g+3])
		}
	}
	for j := range 4 {
		lo0, lo1, hi0, hi1 := ZMM(), ZMM(), ZMM(), ZMM()
		VSHUFF32X4(U8(0x88), a[4+j], a[j], lo0)
		VSHUFF32X4(U8(0xdd), a[4+j], a[j], hi0)
		VSHUFF32X4(U8(0x88), a[12+j], a[8+j], lo1)
		VSHUFF32X4(U8(0xdd), a[12+j], a[8+j], hi1)
		for l, x := range [][2]VecVirtual{{lo0, lo1}, {hi0, hi1}} {
			out[4*l+j], out[4*(l+2)+j] = ZMM(), ZMM()
			VSHUFF32X4(U8(0x88), x[1], x[0], out[4*l+j])
			VSHUFF32X4(U8(0xdd), x[1], x[0], out[4*(l+2)+j])
		}
	}
	return out
}

// scales gathers the f16 scales of 16 keys for the chunk's two blocks.
func (k *kernel) scales(row, stride GPVirtual) {
	r := GP64()
	MOVQ(row, r)
	// Words 0 and 34 of a row start with the scales of its blocks.
	parts := [2][2]VecVirtual{{YMM(), YMM()}, {YMM(), YMM()}}
	for half := range 2 {
		for blk := range 2 {
			VPXOR(parts[blk][half], parts[blk][half], parts[blk][half])
		}
		for i := range 8 {
			for blk := range 2 {
				VPINSRW(U8(i), Mem{Base: r, Disp: 34 * blk}, parts[blk][half].AsX(), parts[blk][half].AsX())
			}
			ADDQ(stride, r)
		}
	}
	for blk := range 2 {
		y := YMM()
		VINSERTI128(U8(1), parts[blk][1].AsX(), parts[blk][0], y)
		k.scale[blk] = ZMM()
		VCVTPH2PS(y, k.scale[blk])
	}
}
