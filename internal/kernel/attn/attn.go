// Package attn owns causal attention of queries over runs of keys and values,
// forward and backward, tiled so that no T×T matrix exists. It owns no threads
// and no cache: a caller describes one key/value head of one sequence in a
// Block and splits the work over workers by sequence, key/value head, query
// range or (decoding long contexts) key split.
//
// Definition, for a query q at position t and the keys at positions s ≤ t (and
// s > t − Window when Window > 0):
//
//	o = Σ_s p_s·v_s,   p_s = exp(Scale·q·k_s − lse),   lse = log Σ_s exp(Scale·q·k_s)
//
// Order of sums. Keys are cut at multiples of Split positions. Within a split
// a score sums over the dimensions in order, the maximum is exact, and p·v
// sums over the keys in order, from zero; the splits' (maximum, sum, p·v) are
// then combined in order (online softmax, Milakov and Gimelshein 2018; Dao et
// al. 2022). Keys and values are widened to f32 exactly before use, except in bf16
// training (Block.QH), where products take pairs of bf16. An output
// row therefore depends on its query, its keys and the CPU level only: alone
// or in a block, cached or not, by Forward or by Partials and Combine, on any
// number of threads, the bits are the same.
package attn

import (
	"fmt"
	"math"
	"slices"

	"leolm/internal/kernel/gemm"
	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// Split is the number of key positions whose partial result is formed alone. The bits of a
// result follow from it, so it is one number for all, however the keys lie in memory.
const Split = 256

// CheckRun checks a length of runs: splits must consist of whole runs or runs of whole splits.
func CheckRun(n int) error {
	if n > 0 && (n%Split == 0 || Split%n == 0 && n%group == 0) {
		return nil
	}
	return fmt.Errorf("%d positions: choose a multiple of %d that divides %d, or a multiple of %d", n, group, Split, Split)
}

// queryTile is the number of query rows (tokens × heads) worked on at once.
const queryTile = 56

// Rows holds key or value vectors of one head: row i has Dim elements, one of:
//
//	F32:        F32[i*Stride:]
//	F16, BF16:  Half[i*Stride:]
//	Q8_0:       Bytes[i*Stride:], Dim/32 blocks of 34 bytes (f16 scale, 32 int8)
type Rows struct {
	Type   tensor.DType
	F32    []float32
	Half   []uint16
	Bytes  []byte
	Stride int // elements of the slice between rows
}

// Run is a stretch of consecutive key positions that lies in one place.
type Run struct {
	K, V Rows
	N    int // positions
}

// Block is one key/value head of one sequence and the queries that read it:
// N tokens at positions Pos, Pos+1, …, each with Heads query heads (the group
// of grouped-query attention, so that keys and values are loaded once).
type Block struct {
	Dim    int     // elements of a head
	Scale  float32 // multiplies q·k, usually 1/√Dim
	Window int     // 0: none; else a query sees at most the last Window positions, its own included

	Q             []float32 // token i, head h: Q[i*QToken+h*QHead:]
	QH            []uint16  // instead of Q: in bf16, which asks for products in bf16 (f32 sums) with keys and values in bf16
	QToken, QHead int
	N, Heads      int
	Pos           int // position of token 0

	// Runs hold the keys from position 0 on. All but the last are of one length that CheckRun allows. Keys
	// after the last query are not read.
	Runs []Run
}

// Output is where rows of a result go: token i, head h: O[i*Token+h*Head:].
type Output struct {
	O           []float32
	OH          []uint16 // instead of O where the queries are in bf16
	Token, Head int
	// LSE, if not nil, receives the log-sum-exp of row (i, h) at LSE[i*LSEToken+h].
	LSE      []float32
	LSEToken int
}

// Grad holds the inputs and results of Backward.
type Grad struct {
	Output           // what Forward wrote, with LSE
	DO     []float32 // gradient of O, strides as O
	DOH    []uint16  // and rounded to bf16, where the queries are in bf16
	DQ     []float32 // += gradient of Q, strides as Q
	// DK and DV: += gradients of the keys and values, position s at DK[s*DKStride:].
	DK, DV   []float32
	DKStride int
}

// Scratch is the working memory of one worker. The zero value is ready.
type Scratch struct {
	kt, v, s, acc, state, q []float32
	k, vt, dp               []float32
	tail                    []byte

	hkt, hvt, hk, hv, hq, hpz, hdsz, hqz, hdoz []uint32
	hp, hds                                    []uint16
}

func grow(p *[]float32, n int) []float32 {
	if cap(*p) < n {
		*p = make([]float32, n)
	}
	*p = (*p)[:n]
	return *p
}

// Splits returns how many splits n key positions have.
func Splits(n int) int { return (n + Split - 1) / Split }

// PartialLen is the number of floats that Partials writes per split.
func (b *Block) PartialLen() int { return b.N * b.Heads * (2 + b.Dim) }

// Keys returns the number of key positions held.
func (b *Block) Keys() int {
	n := 0
	for _, r := range b.Runs {
		n += r.N
	}
	return n
}

func (b *Block) check() error {
	if b.Dim <= 0 || b.N < 0 || b.Heads <= 0 || b.Pos < 0 || b.Window < 0 {
		return fmt.Errorf("attn: bad block: dim %d, %d tokens × %d heads at %d, window %d", b.Dim, b.N, b.Heads, b.Pos, b.Window)
	}
	if n, have := b.N, max(len(b.Q), len(b.QH)); n > 0 && (n-1)*b.QToken+(b.Heads-1)*b.QHead+b.Dim > have {
		return fmt.Errorf("attn: Q of %d elements is too small for %d tokens × %d heads", have, n, b.Heads)
	}
	for i, r := range b.Runs {
		if i+1 < len(b.Runs) {
			if r.N != b.Runs[0].N {
				return fmt.Errorf("attn: run %d has %d positions, the first %d", i, r.N, b.Runs[0].N)
			}
			if err := CheckRun(r.N); err != nil {
				return fmt.Errorf("attn: run %d of %w", i, err)
			}
		}
		for _, x := range []*Rows{&r.K, &r.V} {
			if err := x.check(r.N, b.Dim); err != nil {
				return fmt.Errorf("attn: run %d: %w", i, err)
			}
		}
	}
	if k := b.Keys(); b.N > 0 && k < b.Pos+b.N {
		return fmt.Errorf("attn: %d keys held, the last query is at position %d", k, b.Pos+b.N-1)
	}
	return nil
}

func (r *Rows) check(n, dim int) error {
	have, want := 0, dim
	switch r.Type {
	case tensor.F32:
		have = len(r.F32)
	case tensor.F16, tensor.BF16:
		have = len(r.Half)
	case tensor.Q8_0:
		if dim%32 != 0 {
			return fmt.Errorf("q8_0 rows need a head dimension in multiples of 32, not %d", dim)
		}
		have, want = len(r.Bytes), dim/32*vec.Q8Block
	default:
		return fmt.Errorf("keys and values cannot be %v", r.Type)
	}
	if n > 0 && (n-1)*r.Stride+want > have {
		return fmt.Errorf("%d rows at distance %d do not fit %d elements", n, r.Stride, have)
	}
	return nil
}

// widen writes n rows from row lo to dst, at distance ld.
func (r *Rows) widen(dst []float32, ld, lo, n, dim int) {
	for i := range n {
		d := dst[i*ld : i*ld+dim]
		at := (lo + i) * r.Stride
		switch r.Type {
		case tensor.F32:
			copy(d, r.F32[at:at+dim])
		case tensor.F16:
			vec.F32FromF16(d, r.Half[at:at+dim])
		case tensor.BF16:
			vec.F32FromBF16(d, r.Half[at:at+dim])
		case tensor.Q8_0:
			vec.DequantizeQ8(d, r.Bytes[at:at+dim/32*vec.Q8Block])
		}
	}
}

// piece finds the run that holds key position pos, the row there, and how many of the next n positions it holds.
func (b *Block) piece(pos, n int) (r *Run, row, here int) {
	i := 0
	if len(b.Runs) > 1 {
		i = min(pos/b.Runs[0].N, len(b.Runs)-1)
		pos -= i * b.Runs[0].N
	}
	r = &b.Runs[i]
	return r, pos, min(n, r.N-pos)
}

// oneRun checks that no split lies in several pieces, for those who read a split at once.
func (b *Block) oneRun() error {
	if len(b.Runs) > 1 && b.Runs[0].N%Split != 0 {
		return fmt.Errorf("attn: runs of %d positions are for Forward and Partials in f32 only", b.Runs[0].N)
	}
	return nil
}

// visible returns the key positions [lo,hi) that token i sees.
func (b *Block) visible(i int) (lo, hi int) {
	t := b.Pos + i
	if b.Window > 0 {
		lo = max(0, t+1-b.Window)
	}
	return lo, t + 1
}

// tokensSeeing returns the tokens that see some key of split sp.
func (b *Block) tokensSeeing(sp int) (lo, hi int) {
	lo = max(0, sp*Split-b.Pos)
	hi = b.N
	if b.Window > 0 { // the last key of the split, s, is seen up to position s+Window−1
		hi = min(hi, (sp+1)*Split-1+b.Window-b.Pos)
	}
	return min(lo, b.N), max(hi, min(lo, b.N))
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// split holds one widened split: keys transposed, values in rows.
type split struct {
	pos, n int       // first position, number of keys
	pad    int       // keys rounded up to a multiple of 16
	kt     []float32 // [dim][pad]
	v      []float32 // [n][ld]
	ld     int       // dim rounded up to a multiple of 16
}

// load widens split sp up to the last position that a query of the block sees.
func (b *Block) load(sp int, s *Scratch) split {
	n := min(Split, b.Pos+b.N-sp*Split)
	x := split{pos: sp * Split, n: n, pad: roundUp(n, 16), ld: roundUp(b.Dim, 16)}
	rows := grow(&s.v, Split*x.ld)
	x.kt = grow(&s.kt, b.Dim*Split)[:b.Dim*x.pad]
	b.widen(rows, x.ld, x.pos, n, false)
	transposed(x.kt, x.pad, rows, x.ld, n, b.Dim)
	clearPad(rows, x.ld, n, b.Dim)
	b.widen(rows, x.ld, x.pos, n, true)
	x.v = rows
	return x
}

// widen writes n keys, or values, from position pos on to dst, at distance ld.
func (b *Block) widen(dst []float32, ld, pos, n int, values bool) {
	for at := 0; at < n; {
		r, row, here := b.piece(pos+at, n-at)
		rows := &r.K
		if values {
			rows = &r.V
		}
		rows.widen(dst[at*ld:], ld, row, here, b.Dim)
		at += here
	}
}

// transposed writes dst[d][i] = src[i][d] for n rows of dim, and zeros for rows n..ldd.
func transposed(dst []float32, ldd int, src []float32, lds, n, dim int) {
	vec.Transpose(dst, ldd, src, lds, n, dim)
	if n < ldd {
		for d := range dim {
			clear(dst[d*ldd+n : (d+1)*ldd])
		}
	}
}

// clearPad zeroes the columns between dim and ld.
func clearPad(rows []float32, ld, n, dim int) {
	if ld == dim {
		return
	}
	for i := range n {
		clear(rows[i*ld+dim : (i+1)*ld])
	}
}

// gather copies token rows [lo,hi) of all heads to dst at distance ld, zero-padded.
func gather(dst []float32, ld int, src []float32, token, head, lo, hi, heads, dim int) {
	at := 0
	for i := lo; i < hi; i++ {
		for h := range heads {
			row := dst[at : at+ld]
			copy(row[:dim], src[i*token+h*head:])
			clear(row[dim:])
			at += ld
		}
	}
}

// reach returns how many keys of the split tokens below hi see, and that
// rounded up to a multiple of 16: the work of a tile.
func (b *Block) reach(x *split, hi int) (n, pad int) { return b.reachOf(x.pos, x.n, hi) }

func (b *Block) reachOf(pos, keys, hi int) (n, pad int) {
	n = min(keys, b.Pos+hi-pos)
	return n, roundUp(n, 16)
}

// scores computes the scaled, masked scores of tokens [lo,hi) against the
// first pad keys of a split into dst[row][pad] from their gathered queries.
func (b *Block) scores(dst []float32, q []float32, ldq int, x *split, lo, hi int) {
	m := (hi - lo) * b.Heads
	n, pad := b.reach(x, hi)
	gemm.TileF32(dst, pad, q, ldq, 1, x.kt, x.pad, m, pad, b.Dim, false)
	b.mask(dst, pad, n, x.pos, lo, m)
}

// mask scales the products of m rows, tokens from lo on, with n keys from
// position pos on, and puts −Inf where a token sees no key.
func (b *Block) mask(dst []float32, pad, n, pos, lo, m int) {
	for r := range m {
		row := dst[r*pad : (r+1)*pad]
		from, to := b.visible(lo + r/b.Heads)
		from, to = min(max(from-pos, 0), pad), min(max(to-pos, 0), n)
		to = max(to, from)
		vec.Scale(row[from:to], row[from:to], b.Scale)
		fillInf(row[:from])
		fillInf(row[to:])
	}
}

func fillInf(x []float32) {
	for i := range x {
		x[i] = float32(math.Inf(-1))
	}
}

// partial computes (maximum, sum, p·v) of tokens [lo,hi) over one split. q
// holds their gathered queries at distance ld. acc gets rows at distance ld.
func (b *Block) partial(ml, acc []float32, q []float32, x *split, lo, hi int, s *Scratch) {
	m := (hi - lo) * b.Heads
	sc := grow(&s.s, queryRows(b.Heads)*Split)
	n, pad := b.reach(x, hi)
	b.scores(sc, q, x.ld, x, lo, hi)
	b.softmax(ml, sc, pad, m)
	gemm.TileF32(acc, x.ld, sc, pad, 1, x.v, x.ld, m, x.ld, n, false)
}

// softmax turns scores into weights relative to their row's maximum and
// records (maximum, sum).
func (b *Block) softmax(ml, sc []float32, pad, m int) {
	for r := range m {
		row := sc[r*pad : (r+1)*pad]
		top := vec.Max(row)
		if math.IsInf(float64(top), -1) {
			if !slices.ContainsFunc(row, isNaN) { // nothing visible
				ml[2*r], ml[2*r+1] = top, 0
				clear(row)
				continue
			}
			top = float32(math.NaN()) // a broken model must not look like an empty row
		}
		ml[2*r], ml[2*r+1] = top, vec.ExpSum(row, row, top)
	}
}

func isNaN(x float32) bool { return x != x }

// queryRows is the largest number of rows of a tile: whole tokens.
func queryRows(heads int) int { return max(1, queryTile/heads) * heads }

// merge folds a partial result into a running one: both are (max, sum, acc).
func merge(ml, acc []float32, pm, pl float32, pacc []float32) {
	if math.IsInf(float64(pm), -1) {
		return
	}
	if math.IsInf(float64(ml[0]), -1) {
		ml[0], ml[1] = pm, pl
		copy(acc, pacc)
		return
	}
	top := max(ml[0], pm)
	old, fresh := expOf(ml[0]-top), expOf(pm-top)
	ml[0] = top
	ml[1] = ml[1]*old + pl*fresh
	vec.Axpby(acc, pacc, fresh, old)
}

func expOf(x float32) float32 {
	var y [1]float32
	vec.ExpSum(y[:], []float32{x}, 0)
	return y[0]
}

// finish turns (max, sum, acc) into an output row and its log-sum-exp. A row
// that saw no key is zero with log-sum-exp −Inf.
func finish(o, ml, acc []float32) (lse float32) {
	if math.IsInf(float64(ml[0]), -1) {
		clear(o)
		return ml[0]
	}
	vec.Scale(o, acc, 1/ml[1])
	return ml[0] + float32(math.Log(float64(ml[1])))
}

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
		var x split
		near := b.canDirect((to - from) * b.Heads)
		if !near {
			x = b.load(sp, s)
		}
		for lo := from; lo < to; lo += step {
			hi := min(lo+step, to)
			if near {
				b.partialDirect(pml, pacc, q[lo*b.Heads*ld:], ld, sp, lo, hi, s)
			} else {
				b.partial(pml, pacc, q[lo*b.Heads*ld:], &x, lo, hi, s)
			}
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
		var x split
		near := b.canDirect((to - from) * b.Heads)
		if !near {
			x = b.load(sp, s)
		}
		for t := from; t < to; t += step {
			end := min(t+step, to)
			if near {
				b.partialDirect(pml, pacc, q[t*b.Heads*ld:], ld, sp, t, end, s)
			} else {
				b.partial(pml, pacc, q[t*b.Heads*ld:], &x, t, end, s)
			}
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
