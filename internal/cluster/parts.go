package cluster

import (
	"fmt"
	"math/bits"
)

// Parts says how elements are cut among the ranks of a group: rank r has those from Parts[r] to before Parts[r+1].
type Parts []int

// Even cuts n elements into size parts of the same length, give or take one.
func Even(n, size int) Parts {
	p := make(Parts, size+1)
	for r := range p {
		// n·r/size, whose product may not fit into 64 bits.
		hi, lo := bits.Mul64(uint64(n), uint64(r))
		q, _ := bits.Div64(hi, lo, uint64(size))
		p[r] = int(q)
	}
	return p
}

// Of returns where the part of a rank begins and ends.
func (p Parts) Of(rank int) (from, to int) { return p[rank], p[rank+1] }

// check makes sure that the parts cover n elements of size ranks.
func (p Parts) check(n, size int) error {
	if len(p) != size+1 {
		return fmt.Errorf("%d parts for %d ranks", len(p)-1, size)
	}
	if p[0] != 0 || p[size] != n {
		return fmt.Errorf("parts from %d to %d of %d elements", p[0], p[size], n)
	}
	for r := range size {
		if p[r] > p[r+1] {
			return fmt.Errorf("part %d ends at %d, before its beginning at %d", r, p[r+1], p[r])
		}
	}
	return nil
}

// longest is the length of the longest part.
func (p Parts) longest() int {
	n := 0
	for r := range len(p) - 1 {
		n = max(n, p[r+1]-p[r])
	}
	return n
}

// digest tells parts apart, by FNV-1a over the borders. It is never 0.
func (p Parts) digest() uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, x := range p {
		h = (h ^ uint64(x)) * 0x100000001b3
	}
	return h | 1
}

// cut returns piece k of what lies between from and to: at most n elements, none behind the end.
func cut(from, to, k, n int) (int, int) {
	if k >= pieces(to-from, n) { // without k·n, which might not fit
		return to, to
	}
	from += k * n
	return from, from + min(n, to-from)
}

// pieces is how many pieces of at most n elements there are in length.
func pieces(length, n int) int {
	k := length / n
	if length%n > 0 {
		k++
	}
	return k
}
