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
	// Of all passes. A row is one query of one head.
	q     []float32 // queries, gathered row after row
	kt, v []float32 // keys of a split, transposed, and its values
	s     []float32 // scores of a tile of rows, then their softmax
	acc   []float32 // products with values of a tile; in Backward dK and dV of a split
	state []float32 // what is kept per row from split to split; the functions say how it is cut

	// Of Backward in f32.
	k, vt []float32 // keys of a split, and its values transposed
	dp    []float32 // dO × Vᵀ of a tile, then the derivative of the scores

	// Of keys that are read where they lie: the last of a run, copied so that the kernel reads nothing behind them.
	tail []byte

	// Of bf16, prefixed by h. A word holds two numbers that follow each other in the sum: of one row, or, zipped, of
	// two rows where the sum runs over rows.
	hq        []uint32 // queries (in Backward with dO), gathered row after row
	hkt, hvt  []uint32 // keys and values of a split, transposed
	hk, hv    []uint32 // keys and values of a split, zipped
	hp, hds   []uint16 // softmax of a tile, and the derivative of its scores
	hpz, hdsz []uint32 // the same, zipped
	hqz, hdoz []uint32 // queries and dO of a tile, zipped
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
	direct bool      // keys and values are read where they lie: of the rest only pos and ld are set
}

// open prepares split sp for rows queries: where it lies if they are few, else widened.
func (b *Block) open(sp, rows int, s *Scratch) split {
	if b.canDirect(rows) {
		return split{pos: sp * Split, ld: roundUp(b.Dim, 16), direct: true}
	}
	return b.load(sp, s)
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

// partial computes (maximum, sum, p·v) of tokens [lo,hi) over one split. q
// holds their gathered queries at distance ld. acc gets rows at distance ld.
func (b *Block) partial(ml, acc []float32, q []float32, x *split, lo, hi int, s *Scratch) {
	if x.direct {
		b.partialDirect(ml, acc, q, x.ld, x.pos, lo, hi, s)
		return
	}
	m := (hi - lo) * b.Heads
	sc := grow(&s.s, queryRows(b.Heads)*Split)
	n, pad := b.reach(x, hi)
	b.scores(sc, q, x.ld, x, lo, hi)
	b.softmax(ml, sc, pad, m)
	gemm.TileF32(acc, x.ld, sc, pad, 1, x.v, x.ld, m, x.ld, n, false)
}

// queryRows is the largest number of rows of a tile: whole tokens.
func queryRows(heads int) int { return max(1, queryTile/heads) * heads }
