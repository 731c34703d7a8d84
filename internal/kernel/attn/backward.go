package attn

import (
	"fmt"
	"math"

	"leolm/internal/kernel/gemm"
	"leolm/internal/kernel/vec"
)

// Backward adds the gradients of Forward. P is recomputed from LSE, split by
// split, so memory stays linear; the group's heads and the query tiles are
// summed in order, so the result does not depend on threads. Work divides by
// sequence and key/value head.
//
//	δ = Σ dO∘O;  dS = P∘(dO·Vᵀ − δ);  dV += Pᵀ·dO;  dQ += Scale·dS·K;  dK += Scale·dSᵀ·Q
func (b *Block) Backward(g *Grad, s *Scratch) error {
	if err := b.check(); err != nil {
		return err
	}
	if b.N == 0 {
		return nil
	}
	if g.LSE == nil {
		return fmt.Errorf("attn: Backward needs the LSE of Forward")
	}
	if b.QH != nil {
		return b.backwardHalf(g, s)
	}
	ld := roundUp(b.Dim, 16)
	rows := b.N * b.Heads
	// Gathered per row: q, dO, dQ, and (lse, δ).
	buf := grow(&s.state, rows*(3*ld+2))
	q, do, dq, ml := buf[:rows*ld], buf[rows*ld:2*rows*ld], buf[2*rows*ld:3*rows*ld], buf[3*rows*ld:]
	gather(q, ld, b.Q, b.QToken, b.QHead, 0, b.N, b.Heads, b.Dim)
	gather(do, ld, g.DO, g.Token, g.Head, 0, b.N, b.Heads, b.Dim)
	clear(dq)
	for r := range rows {
		i, h := r/b.Heads, r%b.Heads
		ml[2*r] = g.LSE[i*g.LSEToken+h]
		ml[2*r+1] = vec.Dot(do[r*ld:r*ld+b.Dim], g.row(i, h, b.Dim))
	}
	qr := queryRows(b.Heads)
	step := qr / b.Heads
	sc, dp := grow(&s.s, qr*Split), grow(&s.dp, qr*Split)
	dk, dv := grow(&s.acc, 2*Split*ld)[:Split*ld], s.acc[Split*ld:]
	for sp := range Splits(b.Pos + b.N) {
		from, to := b.tokensSeeing(sp)
		if from >= to {
			continue
		}
		x := b.load(sp, s)
		k := grow(&s.k, Split*ld)
		b.widen(k, ld, x.pos, x.n, false)
		clearPad(k, ld, x.n, b.Dim)
		vt := grow(&s.vt, b.Dim*Split)[:b.Dim*x.pad]
		transposed(vt, x.pad, x.v, ld, x.n, b.Dim)
		clear(dk[:x.n*ld])
		clear(dv[:x.n*ld])
		for lo := from; lo < to; lo += step {
			hi := min(lo+step, to)
			r0, m := lo*b.Heads, (hi-lo)*b.Heads
			n, pad := b.reach(&x, hi)
			b.scores(sc, q[r0*ld:], ld, &x, lo, hi)
			gemm.TileF32(dp, pad, do[r0*ld:], ld, 1, vt, x.pad, m, pad, b.Dim, false)
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
			gemm.TileF32(dv, ld, sc, 1, pad, do[r0*ld:], ld, n, ld, m, true)
			gemm.TileF32(dk, ld, dp, 1, pad, q[r0*ld:], ld, n, ld, m, true)
			gemm.TileF32(dq[r0*ld:], ld, dp, pad, 1, k, ld, m, ld, n, true)
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
