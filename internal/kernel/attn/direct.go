package attn

import (
	"unsafe"

	"leolm/internal/kernel/gemm"
	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// Decoding reads every key and value once for few queries, so memory is the
// limit. The direct kernels then work on the cache's own rows, without a
// widened copy; they give the bits of the widened way.

// directRows is the largest number of query rows of the direct way.
const directRows = gemm.MaxRowsTile

// group is the number of keys that a scores kernel takes at once.
const group = 32

// direct is one call of a scores kernel: the products of 1 to 4 queries
// with `groups` groups of 32 keys. Distances are in bytes. The kernel changes
// dst and groups.
type direct struct {
	dst    unsafe.Pointer
	ldd    int
	q      unsafe.Pointer
	ldq    int
	k      unsafe.Pointer
	stride int
	steps  int // of 8 words of a row
	groups int
	next   unsafe.Pointer // what is read afterwards, to be prefetched
}

// rowFormat returns the bytes between rows, of one row, and the dimensions per
// step of 8 words.
func (r *Rows) rowFormat(dim int) (stride, size, step int) {
	switch r.Type {
	case tensor.F32:
		return 4 * r.Stride, 4 * dim, 8
	case tensor.Q8_0:
		return r.Stride, dim / 32 * vec.Q8Block, 32
	}
	return 2 * r.Stride, 2 * dim, 16
}

// bytes views the rows from row `at` on.
func (r *Rows) bytes(at int) []byte {
	switch r.Type {
	case tensor.F32:
		s := r.F32[at*r.Stride:]
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
	case tensor.Q8_0:
		return r.Bytes[at*r.Stride:]
	}
	s := r.Half[at*r.Stride:]
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 2*len(s))
}

// canDirect reports whether m rows of queries take the direct way through keys and values.
func (b *Block) canDirect(m int) bool {
	return m <= directRows && hasDirect() && b.Dim%32 == 0
}

// directScores writes the products of m queries with n keys from row `at` on
// to dst[row][col:pad]. Where n is no multiple of group, they are the last keys of the split. next is what
// the caller reads then.
func (b *Block) directScores(dst []float32, pad, col int, q []float32, ldq, m int, keys *Rows, at, n int, next unsafe.Pointer, s *Scratch) {
	stride, size, dims := keys.rowFormat(b.Dim)
	src := keys.bytes(at)
	whole := n / group
	tail := n % group
	for i := 0; i < m; {
		step := min(m-i, 4)
		d := direct{dst: unsafe.Pointer(&dst[i*pad+col]), ldd: pad * 4, q: unsafe.Pointer(&q[i*ldq]), ldq: ldq * 4, k: unsafe.Pointer(&src[0]), stride: stride, steps: b.Dim / dims, groups: whole, next: next}
		if whole > 0 {
			scoreKernel(keys.Type, step, &d)
		}
		if tail > 0 {
			// The last keys are copied, so that the kernel reads nothing after them.
			if cap(s.tail) < group*size {
				s.tail = make([]byte, group*size)
			}
			rows := s.tail[:group*size]
			for j := range tail {
				copy(rows[j*size:(j+1)*size], src[(whole*group+j)*stride:])
			}
			var out [4 * group]float32
			d = direct{dst: unsafe.Pointer(&out), ldd: group * 4, q: unsafe.Pointer(&q[i*ldq]), ldq: ldq * 4, k: unsafe.Pointer(&rows[0]), stride: size, steps: b.Dim / dims, groups: 1, next: next}
			scoreKernel(keys.Type, step, &d)
			for r := range step {
				copy(dst[(i+r)*pad+col+whole*group:(i+r+1)*pad], out[r*group:(r+1)*group])
			}
		}
		i += step
	}
}

// partialDirect is partial over the cache's own rows.
func (b *Block) partialDirect(ml, acc []float32, q []float32, ld, pos, lo, hi int, s *Scratch) {
	m := (hi - lo) * b.Heads
	n := min(Split, b.Pos+hi-pos)
	pad := roundUp(n, 16)
	sc := grow(&s.s, queryRows(b.Heads)*Split)
	// What is read after a piece arrives while it is worked on: the next piece, and behind the last keys the first values.
	for at := 0; at < n; {
		run, row, here := b.piece(pos+at, n-at)
		next := b.values(pos, n)
		if at+here < n {
			next = b.keys(pos+at+here, n)
		}
		b.directScores(sc, pad, at, q, ld, m, &run.K, row, here, next, s)
		at += here
	}
	b.mask(sc, pad, n, pos, lo, m)
	b.softmax(ml, sc, pad, m)
	for at := 0; at < n; {
		run, row, here := b.piece(pos+at, n-at)
		stride, _, _ := run.V.rowFormat(b.Dim)
		var next unsafe.Pointer
		switch {
		case at+here < n:
			next = b.values(pos+at+here, n)
		case pos+Split < b.Pos+b.N:
			next = b.keys(pos+Split, 1)
		}
		if !gemm.TileRows(acc, ld, sc[at:], pad, 1, run.V.Type, run.V.bytes(row), stride, m, b.Dim, here, at > 0, next) {
			panic("attn: no direct kernel at this level")
		}
		at += here
	}
}

// keys returns where the keys from position pos on lie, n of them at most; values the same for values.
func (b *Block) keys(pos, n int) unsafe.Pointer {
	r, row, _ := b.piece(pos, n)
	return unsafe.Pointer(&r.K.bytes(row)[0])
}

func (b *Block) values(pos, n int) unsafe.Pointer {
	r, row, _ := b.piece(pos, n)
	return unsafe.Pointer(&r.V.bytes(row)[0])
}
