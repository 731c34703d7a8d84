package tokenizer

import (
	"math/bits"
)

// noRank marks a pair that doesn't merge; noSym a character that the vocabulary
// knows nothing about, so that it never merges.
const (
	noRank = ^uint32(0)
	noSym  = int32(-1)
)

// mergeTable maps a pair of symbols to the rank of its merge (lower goes first)
// and to the merged symbol. Open addressing, never more than half full.
type mergeTable struct {
	slots []mergeSlot
	shift uint8
	n     int
}

type mergeSlot struct {
	key  uint64
	rank uint32
	id   int32
}

// An empty slot has the key of the pair (noSym, noSym), which never merges, and
// noRank as its rank: looking that pair up gives the right answer too.
const emptyPair = ^uint64(0)

func newMergeTable(pairs int) *mergeTable {
	size := bits.Len(uint(max(pairs, 4)) * 2)
	t := &mergeTable{slots: make([]mergeSlot, 1<<size), shift: uint8(64 - size)}
	for i := range t.slots {
		t.slots[i] = mergeSlot{key: emptyPair, rank: noRank, id: noSym}
	}
	return t
}

func pairKey(l, r int32) uint64 { return uint64(uint32(l))<<32 | uint64(uint32(r)) }

func (t *mergeTable) add(l, r int32, rank uint32, id int32) {
	if 2*(t.n+1) > len(t.slots) {
		old := t.slots
		*t = *newMergeTable(len(old))
		for _, s := range old {
			if s.key != emptyPair {
				t.put(s)
			}
		}
	}
	t.put(mergeSlot{pairKey(l, r), rank, id})
}

func (t *mergeTable) put(s mergeSlot) {
	i := int(s.key * 0x9E3779B97F4A7C15 >> t.shift)
	for t.slots[i].key != emptyPair && t.slots[i].key != s.key {
		i = (i + 1) & (len(t.slots) - 1)
	}
	if t.slots[i].key == emptyPair {
		t.n++
	}
	t.slots[i] = s
}

func (t *mergeTable) find(l, r int32) (uint32, int32) {
	key := pairKey(l, r)
	slots := t.slots
	i := int(key * 0x9E3779B97F4A7C15 >> t.shift)
	for {
		s := &slots[i&(len(slots)-1)]
		if s.key == key || s.key == emptyPair {
			return s.rank, s.id
		}
		i++
	}
}

// symbol is one element of a word while it is merged. rank and merged belong to
// the pair of this symbol and the one after it.
type symbol struct {
	id     int32
	size   int32 // bytes of text
	rank   uint32
	merged int32
}

// shortWord is the number of symbols up to which scanning for the best pair is
// faster than keeping a heap.
const shortWord = 40

// merge applies the table's merges to syms, best rank first and leftmost among
// equals, until none applies, and returns the shortened slice.
func (s *scratch) merge(t *mergeTable, syms []symbol) []symbol {
	if len(syms) < 2 {
		return syms
	}
	for i := 0; i < len(syms)-1; i++ {
		syms[i].rank, syms[i].merged = t.find(syms[i].id, syms[i+1].id)
	}
	syms[len(syms)-1].rank = noRank
	if len(syms) > shortWord {
		return s.mergeLong(t, syms)
	}
	for {
		best, at := noRank, 0
		for i := range syms {
			if syms[i].rank < best {
				best, at = syms[i].rank, i
			}
		}
		if best == noRank {
			return syms
		}
		m := &syms[at]
		m.id = m.merged
		m.size += syms[at+1].size
		copy(syms[at+1:], syms[at+2:])
		syms = syms[:len(syms)-1]
		if at+1 < len(syms) {
			m.rank, m.merged = t.find(m.id, syms[at+1].id)
		} else {
			m.rank = noRank
		}
		if at > 0 {
			p := &syms[at-1]
			p.rank, p.merged = t.find(p.id, m.id)
		}
	}
}

// mergeLong is merge with a heap of (rank, position) and a linked list: n log n.
// A heap entry is stale when the pair at its position has another rank by now.
func (s *scratch) mergeLong(t *mergeTable, syms []symbol) []symbol {
	n := len(syms)
	s.links = grow(s.links, n)
	links, heap := s.links, s.heap[:0]
	for i := range syms {
		links[i] = link{int32(i - 1), int32(i + 1)}
		if syms[i].rank != noRank {
			heap = append(heap, uint64(syms[i].rank)<<32|uint64(i))
		}
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		siftDown(heap, i)
	}
	for len(heap) > 0 {
		top := heap[0]
		last := len(heap) - 1
		heap[0] = heap[last]
		heap = heap[:last]
		siftDown(heap, 0)
		at := int32(uint32(top))
		m := &syms[at]
		if m.rank != uint32(top>>32) {
			continue
		}
		right := links[at].next
		m.id = m.merged
		m.size += syms[right].size
		syms[right].rank, syms[right].size = noRank, 0
		next := links[right].next
		links[at].next = next
		if int(next) < n {
			links[next].prev = at
			m.rank, m.merged = t.find(m.id, syms[next].id)
			if m.rank != noRank {
				heap = siftUp(append(heap, uint64(m.rank)<<32|uint64(at)))
			}
		} else {
			m.rank = noRank
		}
		if prev := links[at].prev; prev >= 0 {
			p := &syms[prev]
			p.rank, p.merged = t.find(p.id, m.id)
			if p.rank != noRank {
				heap = siftUp(append(heap, uint64(p.rank)<<32|uint64(prev)))
			}
		}
	}
	s.heap = heap
	k := 0
	for i := int32(0); int(i) < n; i = links[i].next {
		syms[k] = syms[i]
		k++
	}
	return syms[:k]
}

type link struct{ prev, next int32 }

func siftDown(h []uint64, i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if h[i] <= h[c] {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

func siftUp(h []uint64) []uint64 {
	i := len(h) - 1
	for i > 0 {
		p := (i - 1) / 2
		if h[p] <= h[i] {
			break
		}
		h[i], h[p] = h[p], h[i]
		i = p
	}
	return h
}

// grow returns a slice of length n, reusing a's memory where it suffices.
func grow[T any](a []T, n int) []T {
	if cap(a) < n {
		return make([]T, n, n+n/4)
	}
	return a[:n]
}

// runeTable maps characters to symbols through pages of 256.
type runeTable struct {
	pages [0x1100]*[256]int32
}

func (t *runeTable) set(r rune, id int32) {
	p := t.pages[r>>8]
	if p == nil {
		p = new([256]int32)
		for i := range p {
			p[i] = noSym
		}
		t.pages[r>>8] = p
	}
	p[r&255] = id
}

func (t *runeTable) get(r rune) int32 {
	if p := t.pages[r>>8]; p != nil {
		return p[r&255]
	}
	return noSym
}
