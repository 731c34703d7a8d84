package tokenizer

import (
	"encoding/binary"
	"math/bits"
	"sort"
	"sync"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"
)

// A cutter finds what merging makes of a text without merging.
//
// A sequence of pieces is what BPE makes of a text if and only if each piece is
// what BPE makes of its own text, and each two neighbors are what BPE makes of
// theirs: the first merge that crosses a border would cross it in the two
// neighbors alone as well. So a text is cut by its longest pieces from left to
// right; where two pieces cannot be neighbors a shorter one is tried, and where
// none is left the piece before is taken back. A place where that happened never
// gets a second try: the pieces up to a place are the only ones possible.
//
// Whether two pieces may be neighbors is answered from the last merges inside
// both, undone one by one: at no time may the symbols that touch merge before
// the next merge on either side. That supposes that merges inside a piece come
// in order of their ranks, which newCutter checks.
type cutter struct {
	table *mergeTable
	maybe [1 << 14]uint64 // bits: pairs that may merge
	trie  *trie           // the value of a state is the longest symbol on the way to it
	syms  []cutSymbol

	// join[a]&b: some merge puts byte b after byte a. Where none does the text
	// falls in two.
	join [256][4]uint64
}

// cutSymbol is a symbol that BPE reaches, size 0 otherwise.
type cutSymbol struct {
	left, right int32  // the symbols of its last merge
	time        uint32 // rank of that merge plus 1; 0: a character, never merged
	shorter     int32  // the longest symbol that its text begins with, or noSym
	size        int32  // bytes
}

// lazyCutter builds a cutter once enough text has come for it to pay off: a chat
// starts faster without one.
type lazyCutter struct {
	seen  atomic.Int64 // bytes
	once  sync.Once
	build func() *cutter
	made  atomic.Pointer[cutter]
}

const cutterAfter = 1 << 20

// get returns the cutter, or nil as long as (or because) there is none. It counts
// n bytes of text.
func (l *lazyCutter) get(n int) *cutter {
	if l == nil {
		return nil
	}
	if c := l.made.Load(); c != nil {
		return c
	}
	if n == 0 || l.seen.Add(int64(n)) < cutterAfter {
		return nil
	}
	l.once.Do(func() {
		l.made.Store(l.build())
		l.build = nil // and what it holds
	})
	return l.made.Load()
}

// A split is a way to make a symbol of two others.
type split struct{ l, r, id int32 }

// newCutter returns nil if a cutter can't handle the vocabulary. text holds
// the text of each symbol, "" for ids that are none.
func newCutter(table *mergeTable, text []string, splits []split) *cutter {
	c := &cutter{table: table, syms: make([]cutSymbol, len(text))}
	for b := range c.join {
		c.join[b][2] = ^uint64(0) // 0x80 to 0xBF go on with a character
	}
	for i := range c.syms {
		c.syms[i].shorter = noSym
		if _, n := utf8.DecodeRuneInString(text[i]); n > 0 && n == len(text[i]) {
			c.syms[i].size = int32(n)
		}
	}
	for _, p := range splits {
		h := pairKey(p.l, p.r) * 0x9E3779B97F4A7C15 >> 44
		c.maybe[h>>6] |= 1 << (h & 63)
	}
	sort.SliceStable(splits, func(a, b int) bool { return len(text[splits[a].id]) < len(text[splits[b].id]) })
	for _, p := range splits {
		t := text[p.id]
		for i := 1; i < len(t); i++ {
			c.join[t[i-1]][t[i]>>6] |= 1 << (t[i] & 63)
		}
		l, r, y := &c.syms[p.l], &c.syms[p.r], &c.syms[p.id]
		if l.size == 0 || r.size == 0 || y.size != 0 {
			continue
		}
		rank, id := table.find(p.l, p.r)
		if id != p.id || !c.meet(p.l, p.r) {
			continue
		}
		*y = cutSymbol{left: p.l, right: p.r, time: rank + 1, shorter: noSym, size: int32(len(t))}
		if y.time < l.time || y.time < r.time {
			return nil
		}
	}
	var keys []string
	var values []int32
	for i := range c.syms {
		if c.syms[i].size > 0 {
			keys, values = append(keys, text[i]), append(values, int32(i))
		}
	}
	c.trie = newTrie(keys, values)
	c.trie.inherit(func(symbol, shorter int32) { c.syms[symbol].shorter = shorter })
	return c
}

// meet reports whether BPE, given the texts of l and r in a row, comes to l and r.
func (c *cutter) meet(l, r int32) bool {
	for {
		a, b := &c.syms[l], &c.syms[r]
		if b.time >= a.time { // of equal merges the left one goes first
			if b.time == 0 {
				return true
			}
			r = b.left
			if c.merges(l, r) {
				if rank, _ := c.table.find(l, r); rank < b.time {
					return false
				}
			}
		} else {
			l = a.right
			if c.merges(l, r) {
				if rank, _ := c.table.find(l, r); rank < a.time-1 {
					return false
				}
			}
		}
	}
}

// neighbors reports whether BPE leaves l and r side by side.
func (c *cutter) neighbors(l, r int32) bool {
	if c.merges(l, r) {
		if rank, _ := c.table.find(l, r); rank != noRank {
			return false
		}
	}
	return c.meet(l, r)
}

// merges reports false only of pairs that don't merge. Most don't, and this
// table stays in the cache.
func (c *cutter) merges(l, r int32) bool {
	h := pairKey(l, r) * 0x9E3779B97F4A7C15 >> 44
	return c.maybe[h>>6&(1<<14-1)]>>(h&63)&1 != 0
}

// longest returns the longest symbol that text begins with, or noSym.
func (c *cutter) longest(text string) int32 {
	cells := c.trie.cells
	state := int32(0)
	for i := 0; i < len(text); i++ {
		next := cells[state].base + int32(text[i])
		if uint(next) >= uint(len(cells)) || cells[next].check != state || next == 0 {
			break
		}
		state = next
	}
	return cells[state].value
}

// cut appends the symbols of w to dst; a character without a symbol is the
// negative number of its bytes.
func (c *cutter) cut(s *scratch, dst []int32, w string) []int32 {
	dead := s.dead[:0] // bits: places where no piece may end
	for i := 0; i <= len(w); i += 64 {
		dead = append(dead, 0)
	}
	s.dead = dead
	at, settled := 0, len(dst)
	for at < len(w) {
		y := c.longest(w[at:])
		if y < 0 {
			// What never merges settles everything before it.
			_, n := utf8.DecodeRuneInString(w[at:])
			dst = append(dst, int32(-n))
			at, settled = at+n, len(dst)
			continue
		}
		for {
			for y >= 0 {
				end := at + int(c.syms[y].size)
				if dead[end>>6]>>(end&63)&1 == 0 && (len(dst) == settled || c.neighbors(dst[len(dst)-1], y)) {
					break
				}
				y = c.syms[y].shorter
			}
			if y >= 0 || len(dst) == settled {
				break
			}
			dead[at>>6] |= 1 << (at & 63)
			y = dst[len(dst)-1]
			dst = dst[:len(dst)-1]
			at -= int(c.syms[y].size)
			y = c.syms[y].shorter
		}
		if y < 0 {
			panic("tokenizer: no way to cut " + w) // a word always has its merged form
		}
		dst = append(dst, y)
		at += int(c.syms[y].size)
	}
	return dst
}

// end returns where the part of text that begins at i ends: no merge reaches
// over that place.
func (c *cutter) end(text string, i int) int {
	last := text[i]
	for i++; i < len(text); i++ {
		b := text[i]
		if c.join[last][b>>6]>>(b&63)&1 == 0 {
			break
		}
		last = b
	}
	return i
}

// lineCache remembers the ids of short texts, a cache line each, so that finding
// one costs one access to memory. Two places are possible for a text; the less
// recently used one is replaced.
type lineCache struct {
	lines []cacheLine
	shift uint8
	since int // texts added since it has this size
}

type cacheLine struct {
	key  [3]uint64 // the text, filled up with zeros
	ids  [lineIDs]int32
	size uint8 // of the text; 0: empty
	n    uint8 // ids
	used bool
	_    [5]byte
}

const (
	lineText = 24 // longest text kept, in bytes
	lineIDs  = 8  // most ids kept
	minLines = 8  // a new cache has 1<<minLines lines,
	maxLines = 16 // a full one 1<<maxLines: 4 MiB
)

// keyMask[n] keeps the first n bytes of a key.
var keyMask = func() (m [lineText + 1][3]uint64) {
	for n := range m {
		for i := range n {
			m[n][i/8] |= 0xff << (i % 8 * 8)
		}
	}
	return m
}()

// lineKey returns bytes i to end of text, at most lineText of them.
func lineKey(text string, i, end int) [3]uint64 {
	b := unsafe.Slice(unsafe.StringData(text), len(text))[i:]
	if len(b) < lineText {
		var k [lineText]byte
		copy(k[:end-i], b)
		b = k[:]
	}
	m := &keyMask[end-i]
	return [3]uint64{
		binary.LittleEndian.Uint64(b) & m[0],
		binary.LittleEndian.Uint64(b[8:]) & m[1],
		binary.LittleEndian.Uint64(b[16:]) & m[2],
	}
}

// place returns the first of the two places of a key.
func (c *lineCache) place(k *[3]uint64) int {
	h := k[0]*0x9E3779B97F4A7C15 ^ k[1]*0xD6E8FEB86659FD93 ^ k[2]*0xA0761D6478BD642F
	h ^= h >> 32
	return int(h * 0xE7037ED1A0B428DB >> c.shift &^ 1)
}

// touch prefetches the line of a text. The result means nothing.
func (c *lineCache) touch(k *[3]uint64) uint8 {
	if len(c.lines) == 0 {
		return 0
	}
	return c.lines[c.place(k)].n
}

// find returns the line of a text, or nil.
func (c *lineCache) find(k *[3]uint64, size int) *cacheLine {
	if len(c.lines) == 0 {
		return nil
	}
	i := c.place(k)
	l := &c.lines[i]
	if l.key != *k || int(l.size) != size {
		l = &c.lines[i+1]
		if l.key != *k || int(l.size) != size {
			return nil
		}
	}
	if !l.used {
		l.used = true
	}
	return l
}

// add keeps the ids of a text that is not in the cache.
func (c *lineCache) add(k *[3]uint64, size int, ids []int32) {
	if size > lineText || len(ids) > lineIDs {
		return
	}
	if c.since >= len(c.lines)/2 && len(c.lines) < 1<<maxLines {
		old := c.lines
		c.since = 0
		c.lines = make([]cacheLine, max(1<<minLines, 4*len(old)))
		c.shift = uint8(64 - bits.Len(uint(len(c.lines)-1)))
		for i := range old {
			if old[i].size > 0 {
				*c.room(&old[i].key) = old[i]
			}
		}
	}
	c.since++
	l := c.room(k)
	*l = cacheLine{key: *k, size: uint8(size), n: uint8(len(ids))}
	copy(l.ids[:], ids)
}

// room returns the line to be replaced by a new text.
func (c *lineCache) room(k *[3]uint64) *cacheLine {
	i := c.place(k)
	a, b := &c.lines[i], &c.lines[i+1]
	switch {
	case !a.used || a.size == 0:
		return a
	case !b.used || b.size == 0:
		return b
	}
	a.used, b.used = false, false
	return a
}
