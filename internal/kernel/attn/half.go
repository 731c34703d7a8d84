package attn

import (
	"fmt"
	"math"
	"unsafe"

	"leolm/internal/kernel/gemm"
	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// Training in bf16: queries, keys and values come in bf16, the products of
// blocks multiply pairs of bf16 with f32 sums, softmax and its derivative are
// f32, and the weights are rounded to bf16 before they multiply again. Splits
// and the order of sums are those of the f32 way.

// halfSplit is one split of keys and values as pairs.
type halfSplit struct {
	pos, n int      // first position, number of keys
	pad    int      // keys rounded up to a multiple of 16
	kt, vt []uint32 // [dim/2][pad]: neighboring dimensions; vt for Backward only
	k, v   []uint32 // [keys/2][ld]: neighboring keys; k for Backward only
	ld     int      // dim rounded up to a multiple of 16
}

func (b *Block) checkHalf() error {
	if b.Dim%2 != 0 {
		return fmt.Errorf("attn: a head dimension of %d has no pairs for bf16", b.Dim)
	}
	if err := b.oneRun(); err != nil {
		return err
	}
	for i := range b.Runs {
		if b.Runs[i].K.Type != tensor.BF16 || b.Runs[i].V.Type != tensor.BF16 {
			return fmt.Errorf("attn: queries in bf16 need keys and values in bf16, run %d has %v and %v", i, b.Runs[i].K.Type, b.Runs[i].V.Type)
		}
	}
	return nil
}

func growOf[T any](p *[]T, n int) []T {
	if cap(*p) < n {
		*p = make([]T, n)
	}
	*p = (*p)[:n]
	return *p
}

// pairs views an even number of bf16 as words, singles the other way.
func pairs(h []uint16) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}

func singles(w []uint32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(w))), 2*len(w))
}

// zipped writes dst[j][d] = (src[2j][d], src[2j+1][d]) of n rows; a missing last row is zero.
func zipped(dst []uint32, ld int, src []uint16, stride, n, dim int) {
	for j := 0; j < n; j += 2 {
		to := dst[j/2*ld : j/2*ld+ld]
		a := src[j*stride : j*stride+dim]
		if j+1 < n {
			vec.Zip16(singles(to[:dim]), a, src[(j+1)*stride:(j+1)*stride+dim])
		} else {
			for d, x := range a {
				to[d] = uint32(x)
			}
		}
		clear(to[dim:])
	}
}

// transposedPairs writes dst[d/2][i] = (src[i][d], src[i][d+1]) of n rows, and zeros for rows n..ldd.
func transposedPairs(dst []uint32, ldd int, src []uint16, stride, n, dim int) {
	vec.TransposeWords(unsafe.Pointer(unsafe.SliceData(dst)), ldd*4, unsafe.Pointer(unsafe.SliceData(src)), stride*2, n, dim/2)
	if n < ldd {
		for d := range dim / 2 {
			clear(dst[d*ldd+n : (d+1)*ldd])
		}
	}
}

// loadHalf packs split sp up to the last position that a query of the block sees.
func (b *Block) loadHalf(sp int, backward bool, s *Scratch) halfSplit {
	r, at, n := b.piece(sp*Split, min(Split, b.Pos+b.N-sp*Split))
	x := halfSplit{pos: sp * Split, n: n, pad: roundUp(n, 16), ld: roundUp(b.Dim, 16)}
	k, v := r.K.Half[at*r.K.Stride:], r.V.Half[at*r.V.Stride:]
	x.kt = growOf(&s.hkt, b.Dim/2*Split)[:b.Dim/2*x.pad]
	transposedPairs(x.kt, x.pad, k, r.K.Stride, n, b.Dim)
	x.v = growOf(&s.hv, Split/2*x.ld)
	zipped(x.v, x.ld, v, r.V.Stride, n, b.Dim)
	if backward {
		x.vt = growOf(&s.hvt, b.Dim/2*Split)[:b.Dim/2*x.pad]
		transposedPairs(x.vt, x.pad, v, r.V.Stride, n, b.Dim)
		x.k = growOf(&s.hk, Split/2*x.ld)
		zipped(x.k, x.ld, k, r.K.Stride, n, b.Dim)
	}
	return x
}

// gatherHalf copies the rows of all tokens and heads one after another.
func gatherHalf(dst []uint16, src []uint16, token, head, n, heads, dim int) {
	at := 0
	for i := range n {
		for h := range heads {
			copy(dst[at:at+dim], src[i*token+h*head:])
			at += dim
		}
	}
}

// forwardHalf is Forward of queries in bf16.
func (b *Block) forwardHalf(out *Output, s *Scratch) error {
	if err := b.checkHalf(); err != nil {
		return err
	}
	ld, lw, rows := roundUp(b.Dim, 16), b.Dim/2, b.N*b.Heads
	q := growOf(&s.hq, rows*lw)
	gatherHalf(singles(q), b.QH, b.QToken, b.QHead, b.N, b.Heads, b.Dim)
	qr := queryRows(b.Heads)
	state := grow(&s.state, rows*(2+ld)+2*qr)
	ml, acc, pml := state[:2*rows], state[2*rows:rows*(2+ld)], state[rows*(2+ld):]
	for r := range rows {
		ml[2*r], ml[2*r+1] = float32(math.Inf(-1)), 0
	}
	pacc, sc, p := grow(&s.acc, qr*ld), grow(&s.s, qr*Split), growOf(&s.hp, qr*Split)
	step := qr / b.Heads
	for sp := range Splits(b.Pos + b.N) {
		from, to := b.tokensSeeing(sp)
		if from >= to {
			continue
		}
		x := b.loadHalf(sp, false, s)
		for lo := from; lo < to; lo += step {
			hi := min(lo+step, to)
			r0, m := lo*b.Heads, (hi-lo)*b.Heads
			n, pad := b.reachOf(x.pos, x.n, hi)
			gemm.TileBF16(sc, pad, q[r0*lw:], lw, 1, x.kt, x.pad, m, pad, lw, false)
			b.mask(sc, pad, n, x.pos, lo, m)
			b.softmax(pml, sc, pad, m)
			vec.BF16FromF32(p[:m*pad], sc[:m*pad])
			gemm.TileBF16(pacc, ld, pairs(p), pad/2, 1, x.v, ld, m, ld, (n+1)/2, false)
			for i := range m {
				r := r0 + i
				merge(ml[2*r:2*r+2], acc[r*ld:r*ld+ld], pml[2*i], pml[2*i+1], pacc[i*ld:i*ld+ld])
			}
		}
	}
	row := grow(&s.s, b.Dim)
	for r := range rows {
		i, h := r/b.Heads, r%b.Heads
		lse := finish(row, ml[2*r:2*r+2], acc[r*ld:r*ld+b.Dim])
		at := i*out.Token + h*out.Head
		vec.BF16FromF32(out.OH[at:at+b.Dim], row)
		if out.LSE != nil {
			out.LSE[i*out.LSEToken+h] = lse
		}
	}
	return nil
}

// backwardHalf is Backward of queries in bf16.
func (b *Block) backwardHalf(g *Grad, s *Scratch) error {
	if err := b.checkHalf(); err != nil {
		return err
	}
	ld, lw, rows := roundUp(b.Dim, 16), b.Dim/2, b.N*b.Heads
	// Gathered per row: q, dO in bf16; dQ and (lse, δ) in f32.
	words := growOf(&s.hq, 2*rows*lw)
	q, do := words[:rows*lw], words[rows*lw:]
	gatherHalf(singles(q), b.QH, b.QToken, b.QHead, b.N, b.Heads, b.Dim)
	gatherHalf(singles(do), g.DOH, g.Token, g.Head, b.N, b.Heads, b.Dim)
	buf := grow(&s.state, rows*(ld+2)+b.Dim)
	dq, ml, o := buf[:rows*ld], buf[rows*ld:rows*(ld+2)], buf[rows*(ld+2):]
	clear(dq)
	for r := range rows {
		i, h := r/b.Heads, r%b.Heads
		at := i*g.Token + h*g.Head
		vec.F32FromBF16(o, g.OH[at:at+b.Dim])
		ml[2*r] = g.LSE[i*g.LSEToken+h]
		ml[2*r+1] = vec.Dot(g.DO[at:at+b.Dim], o)
	}
	qr := queryRows(b.Heads)
	step := qr / b.Heads
	sc, dp := grow(&s.s, qr*Split), grow(&s.dp, qr*Split)
	dk, dv := grow(&s.acc, 2*Split*ld)[:Split*ld], s.acc[Split*ld:]
	even := (qr + 1) / 2
	p, ds := growOf(&s.hp, qr*Split), growOf(&s.hds, qr*Split)
	pz, dsz := growOf(&s.hpz, even*Split), growOf(&s.hdsz, even*Split)
	qz, doz := growOf(&s.hqz, even*ld), growOf(&s.hdoz, even*ld)
	for sp := range Splits(b.Pos + b.N) {
		from, to := b.tokensSeeing(sp)
		if from >= to {
			continue
		}
		x := b.loadHalf(sp, true, s)
		clear(dk[:x.n*ld])
		clear(dv[:x.n*ld])
		for lo := from; lo < to; lo += step {
			hi := min(lo+step, to)
			r0, m := lo*b.Heads, (hi-lo)*b.Heads
			n, pad := b.reachOf(x.pos, x.n, hi)
			gemm.TileBF16(sc, pad, q[r0*lw:], lw, 1, x.kt, x.pad, m, pad, lw, false)
			b.mask(sc, pad, n, x.pos, lo, m)
			gemm.TileBF16(dp, pad, do[r0*lw:], lw, 1, x.vt, x.pad, m, pad, lw, false)
			for r := range m {
				p, d := sc[r*pad:(r+1)*pad], dp[r*pad:(r+1)*pad]
				lse, delta := ml[2*(r0+r)], ml[2*(r0+r)+1]
				if math.IsInf(float64(lse), -1) {
					clear(p)
					clear(d)
					continue
				}
				vec.ExpSum(p, p, lse)
				vec.MulShifted(d, p, delta, b.Scale)
			}
			vec.BF16FromF32(p[:m*pad], sc[:m*pad])
			vec.BF16FromF32(ds[:m*pad], dp[:m*pad])
			zipped(pz, pad, p, pad, m, pad)
			zipped(dsz, pad, ds, pad, m, pad)
			zipped(doz, ld, singles(do[r0*lw:]), b.Dim, m, b.Dim)
			zipped(qz, ld, singles(q[r0*lw:]), b.Dim, m, b.Dim)
			gemm.TileBF16(dv, ld, pz, 1, pad, doz, ld, n, ld, (m+1)/2, true)
			gemm.TileBF16(dk, ld, dsz, 1, pad, qz, ld, n, ld, (m+1)/2, true)
			gemm.TileBF16(dq[r0*ld:], ld, pairs(ds), pad/2, 1, x.k, ld, m, ld, (n+1)/2, true)
		}
		for j := range x.n {
			at := (x.pos + j) * g.DKStride
			vec.Add(g.DK[at:at+b.Dim], g.DK[at:at+b.Dim], dk[j*ld:j*ld+b.Dim])
			vec.Add(g.DV[at:at+b.Dim], g.DV[at:at+b.Dim], dv[j*ld:j*ld+b.Dim])
		}
	}
	for r := range rows {
		at := r/b.Heads*b.QToken + r%b.Heads*b.QHead
		vec.Add(g.DQ[at:at+b.Dim], g.DQ[at:at+b.Dim], dq[r*ld:r*ld+b.Dim])
	}
	return nil
}
