package attn

import (
	"fmt"
	"math"
)

func (out *Output) row(i, h, dim int) []float32 {
	at := i*out.Token + h*out.Head
	return out.O[at : at+dim]
}

// Forward computes the block's output rows.
func (b *Block) Forward(out *Output, s *Scratch) error {
	if err := b.check(); err != nil {
		return err
	}
	if b.N == 0 {
		return nil
	}
	if b.QH != nil {
		return b.forwardHalf(out, s)
	}
	ld := roundUp(b.Dim, 16)
	rows := b.N * b.Heads
	q := grow(&s.q, rows*ld)
	gather(q, ld, b.Q, b.QToken, b.QHead, 0, b.N, b.Heads, b.Dim)
	state := grow(&s.state, rows*(2+ld)+2*queryRows(b.Heads))
	ml, acc, pml := state[:2*rows], state[2*rows:rows*(2+ld)], state[rows*(2+ld):]
	for r := range rows {
		ml[2*r], ml[2*r+1] = float32(math.Inf(-1)), 0
	}
	pacc := grow(&s.acc, queryRows(b.Heads)*ld)
	step := queryRows(b.Heads) / b.Heads
	for sp := range Splits(b.Pos + b.N) {
		from, to := b.tokensSeeing(sp)
		if from >= to {
			continue
		}
		x := b.open(sp, (to-from)*b.Heads, s)
		for lo := from; lo < to; lo += step {
			hi := min(lo+step, to)
			b.partial(pml, pacc, q[lo*b.Heads*ld:], &x, lo, hi, s)
			for r := lo * b.Heads; r < hi*b.Heads; r++ {
				p := r - lo*b.Heads
				merge(ml[2*r:2*r+2], acc[r*ld:r*ld+ld], pml[2*p], pml[2*p+1], pacc[p*ld:p*ld+ld])
			}
		}
	}
	for r := range rows {
		i, h := r/b.Heads, r%b.Heads
		lse := finish(out.row(i, h, b.Dim), ml[2*r:2*r+2], acc[r*ld:r*ld+b.Dim])
		if out.LSE != nil {
			out.LSE[i*out.LSEToken+h] = lse
		}
	}
	return nil
}

// Partials computes splits [lo,hi) of the block on their own, so that workers
// can share one long context: dst receives PartialLen floats per split.
// Combine then gives the bits of Forward.
func (b *Block) Partials(dst []float32, lo, hi int, s *Scratch) error {
	if err := b.check(); err != nil {
		return err
	}
	n := b.PartialLen()
	if len(dst) < n*(hi-lo) || hi > Splits(b.Pos+b.N) {
		return fmt.Errorf("attn: %d floats for splits %d..%d of %d", len(dst), lo, hi, Splits(b.Pos+b.N))
	}
	ld := roundUp(b.Dim, 16)
	rows := b.N * b.Heads
	q := grow(&s.q, rows*ld)
	gather(q, ld, b.Q, b.QToken, b.QHead, 0, b.N, b.Heads, b.Dim)
	pml := grow(&s.state, 2*queryRows(b.Heads))
	pacc := grow(&s.acc, queryRows(b.Heads)*ld)
	step := queryRows(b.Heads) / b.Heads
	for sp := lo; sp < hi; sp++ {
		part := dst[(sp-lo)*n:][:n]
		for r := range rows {
			part[r*(2+b.Dim)] = float32(math.Inf(-1))
		}
		from, to := b.tokensSeeing(sp)
		if from >= to {
			continue
		}
		x := b.open(sp, (to-from)*b.Heads, s)
		for t := from; t < to; t += step {
			end := min(t+step, to)
			b.partial(pml, pacc, q[t*b.Heads*ld:], &x, t, end, s)
			for r := t * b.Heads; r < end*b.Heads; r++ {
				p := r - t*b.Heads
				d := part[r*(2+b.Dim) : (r+1)*(2+b.Dim)]
				d[0], d[1] = pml[2*p], pml[2*p+1]
				copy(d[2:], pacc[p*ld:])
			}
		}
	}
	return nil
}

// Combine folds the partial results of splits 0..splits, in order, into the output.
func (b *Block) Combine(out *Output, parts []float32, splits int) error {
	n := b.PartialLen()
	if len(parts) < n*splits {
		return fmt.Errorf("attn: %d floats hold no %d splits of %d", len(parts), splits, n)
	}
	w := 2 + b.Dim
	for i := range b.N {
		for h := range b.Heads {
			r := i*b.Heads + h
			o := out.row(i, h, b.Dim)
			ml := [2]float32{float32(math.Inf(-1)), 0}
			for sp := range splits {
				p := parts[sp*n+r*w:][:w]
				merge(ml[:], o, p[0], p[1], p[2:])
			}
			lse := finish(o, ml[:], o)
			if out.LSE != nil {
				out.LSE[i*out.LSEToken+h] = lse
			}
		}
	}
	return nil
}
