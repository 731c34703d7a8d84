package tokenizer

import (
	"context"
	"errors"
	"math"
)

// merger keeps the words as symbols and, for each pair of neighbors, how often
// it occurs and in which words. Symbols are the characters, then merged pieces.
type merger struct {
	texts   []string         // by symbol
	lengths []int32          // in characters
	known   map[string]int32 // text -> symbol; -1: must not become a piece
	longest int

	syms   []int32 // of all words, one after the other
	starts []int32 // where a word begins
	sizes  []int32 // how many symbols it still has
	counts []int64

	index map[uint64]int32
	pairs []pairCount
	heap  pairHeap
}

type pairCount struct {
	left, right int32
	count       int64
	words       []int32
}

func newMerger(chars []rune, words []string, counts []int64, longest int) *merger {
	m := &merger{known: map[string]int32{}, longest: longest, index: map[uint64]int32{}}
	ids := new(runeTable)
	for i, r := range chars {
		ids.set(r, int32(i))
		m.texts = append(m.texts, string(r))
		m.lengths = append(m.lengths, 1)
		m.known[string(r)] = int32(i)
	}
	// A character without a piece splits its word. Parts of one character can't
	// merge: they are left out.
	for i, w := range words {
		from := len(m.syms)
		end := func() {
			if len(m.syms)-from < 2 {
				m.syms = m.syms[:from]
				return
			}
			m.starts = append(m.starts, int32(from))
			m.sizes = append(m.sizes, int32(len(m.syms)-from))
			m.counts = append(m.counts, counts[i])
			from = len(m.syms)
		}
		for _, r := range w {
			if id := ids.get(r); id != noSym {
				m.syms = append(m.syms, id)
				continue
			}
			end()
		}
		end()
	}
	for w := range m.starts {
		word := m.word(int32(w))
		for k := 1; k < len(word); k++ {
			m.addPair(word[k-1], word[k], m.counts[w], int32(w))
		}
	}
	for i := range m.pairs {
		m.heap.push(m.entry(int32(i)))
	}
	return m
}

func (m *merger) word(w int32) []int32 { return m.syms[m.starts[w] : m.starts[w]+m.sizes[w]] }

// addPair counts a pair of word w and returns its number, or -1 if the two
// together are longer than a piece may be.
func (m *merger) addPair(l, r int32, n int64, w int32) int32 {
	if int(m.lengths[l]+m.lengths[r]) > m.longest {
		return -1
	}
	key := pairKey(l, r)
	i, ok := m.index[key]
	if !ok {
		i = int32(len(m.pairs))
		m.index[key] = i
		m.pairs = append(m.pairs, pairCount{left: l, right: r})
	}
	p := &m.pairs[i]
	p.count += n
	if k := len(p.words); k == 0 || p.words[k-1] != w {
		p.words = append(p.words, w)
	}
	return i
}

type pairEntry struct {
	count int64
	key   uint64
	pair  int32
}

func (m *merger) entry(i int32) pairEntry {
	p := &m.pairs[i]
	return pairEntry{p.count, pairKey(p.left, p.right), i}
}

// run makes up to n pieces and returns their texts in order.
func (m *merger) run(ctx context.Context, n int, progress func(done, total int)) ([]string, error) {
	var pieces []string
	var risen []int32
	stamp := map[int32]bool{}
	for len(pieces) < n && len(m.heap) > 0 {
		top := m.heap.pop()
		p := &m.pairs[top.pair]
		if p.count != top.count {
			if p.count < top.count && p.count > 0 {
				m.heap.push(m.entry(top.pair))
			}
			continue
		}
		if p.count <= 0 {
			continue
		}
		text := m.texts[p.left] + m.texts[p.right]
		id, ok := m.known[text]
		if ok && id < 0 {
			continue // a control or byte token is called like that
		}
		if !ok {
			id = int32(len(m.texts))
			if id == math.MaxInt32 {
				return nil, errors.New("tokenizer: too many symbols")
			}
			m.known[text] = id
			m.texts = append(m.texts, text)
			m.lengths = append(m.lengths, m.lengths[p.left]+m.lengths[p.right])
			pieces = append(pieces, text)
			if progress != nil && len(pieces)%256 == 0 {
				progress(len(pieces), n)
			}
			if len(pieces)%256 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		l, r, list := p.left, p.right, p.words
		p.words, p.count = nil, 0
		risen = risen[:0]
		for _, w := range list {
			risen = m.mergeIn(w, l, r, id, risen)
		}
		clear(stamp)
		for _, i := range risen {
			if !stamp[i] {
				stamp[i] = true
				m.heap.push(m.entry(i))
			}
		}
	}
	if progress != nil {
		progress(len(pieces), n)
	}
	return pieces, nil
}

// mergeIn replaces the pair l, r by id in word w and appends the pairs that
// became more frequent to risen.
func (m *merger) mergeIn(w, l, r, id int32, risen []int32) []int32 {
	word := m.word(w)
	n := m.counts[w]
	out := 0
	for k := 0; k < len(word); {
		if word[k] != l || k+1 == len(word) || word[k+1] != r {
			word[out] = word[k]
			out++
			k++
			continue
		}
		if out > 0 {
			if word[out-1] != l || l != r {
				m.dropPair(word[out-1], l, n)
			}
			if i := m.addPair(word[out-1], id, n, w); i >= 0 {
				risen = append(risen, i)
			}
		}
		if k+2 < len(word) {
			if r != l || word[k+2] != r { // the pair itself is gone already
				m.dropPair(r, word[k+2], n)
			}
			if i := m.addPair(id, word[k+2], n, w); i >= 0 {
				risen = append(risen, i)
			}
		}
		word[out] = id
		out++
		k += 2
	}
	m.sizes[w] = int32(out)
	return risen
}

func (m *merger) dropPair(l, r int32, n int64) {
	if i, ok := m.index[pairKey(l, r)]; ok {
		m.pairs[i].count -= n
	}
}

// pairHeap has the most frequent pair on top, the oldest symbols among equals.
type pairHeap []pairEntry

func (a pairEntry) before(b pairEntry) bool {
	return a.count > b.count || a.count == b.count && a.key < b.key
}

func (h *pairHeap) push(e pairEntry) {
	*h = append(*h, e)
	s := *h
	i := len(s) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !s[i].before(s[p]) {
			break
		}
		s[i], s[p] = s[p], s[i]
		i = p
	}
}

func (h *pairHeap) pop() pairEntry {
	s := *h
	top := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	*h = s
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(s) {
			break
		}
		if c+1 < len(s) && s[c+1].before(s[c]) {
			c++
		}
		if !s[c].before(s[i]) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	return top
}
