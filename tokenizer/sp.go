package tokenizer

import (
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// spEngine encodes text as SentencePiece does.
type spEngine struct {
	norm  *spNormalizer
	model wordModel

	marks     *trie // user-defined pieces in engine form
	split     splitMode
	bpe       *spBPE // the model, if it may have a cutter; else nil
	dummy     bool   // segments get a dummy prefix (or suffix)
	firstOnly bool   // only the segment at the very beginning gets it (legacy=false)
	unk       int32
	byteIDs   *[256]int32 // nil: no byte fallback
}

// wordModel cuts one stretch of text, which it may take from its cache.
type wordModel interface {
	// encodeWord emits the tokens of w. cache is false where w depends on its
	// neighbors.
	encodeWord(s *scratch, w string, cache bool)
	// begin is called at the start of each segment.
	begin(s *scratch)
}

// splitMode says where text may be cut without changing the result: a cut is
// sound where no piece of the vocabulary reaches over it.
type splitMode uint8

const (
	splitNever  splitMode = iota
	splitBefore           // before a space that follows another character
	splitAfter            // after a space that another character follows
)

func (e *spEngine) encode(s *scratch, seg string, base int) {
	if seg == "" {
		return
	}
	s.base, s.align, s.pos, s.glue = base, nil, 0, false
	e.model.begin(s)
	dummy := e.dummy
	if e.firstOnly {
		// Hugging Face's legacy=false: Metaspace with prepend_scheme "first".
		dummy = dummy && base == 0 && seg[0] != ' ' && !strings.HasPrefix(seg, meta)
	}
	if e.split == splitBefore && e.marks == nil && e.norm.plain(seg) {
		if dummy {
			end := wordEnd(seg, 0)
			s.word = append(append(s.word[:0], ' '), seg[:end]...)
			s.pos = -1
			e.model.encodeWord(s, bstring(s.word), true)
			seg = seg[end:]
		}
		e.words(s, seg)
		return
	}
	text := e.norm.apply(s, seg, dummy)
	if s.want {
		s.align = s.amap
	}
	if e.marks == nil {
		e.words(s, text)
		return
	}
	from := 0
	for i := 0; i < len(text); {
		if e.marks.first[text[i]] {
			if n, id := e.marks.longest(text[i:]); id != noValue {
				e.words(s, text[from:i])
				s.glue = false
				s.emitOne(id, n)
				i += n
				from = i
				continue
			}
		}
		if text[i] < utf8.RuneSelf {
			i++
		} else {
			_, n := utf8.DecodeRuneInString(text[i:])
			i += n
		}
	}
	e.words(s, text[from:])
}

// wordEnd returns the end of the word that starts at i: spaces, then others.
func wordEnd(text string, i int) int {
	for i < len(text) && text[i] == ' ' {
		i++
	}
	k := strings.IndexByte(text[i:], ' ')
	if k < 0 {
		return len(text)
	}
	return i + k
}

// words encodes text that holds no user-defined piece.
func (e *spEngine) words(s *scratch, text string) {
	if e.bpe != nil {
		if c := e.bpe.cutter.get(len(text)); c != nil {
			e.bpe.encodeText(s, c, text)
			return
		}
	}
	switch {
	case text == "":
	case e.split == splitBefore:
		for text != "" {
			end := wordEnd(text, 0)
			e.model.encodeWord(s, text[:end], true)
			text = text[end:]
		}
	case e.split == splitAfter:
		for text != "" {
			end := strings.IndexByte(text, ' ')
			if end < 0 {
				end = len(text)
			}
			for end < len(text) && text[end] == ' ' {
				end++
			}
			e.model.encodeWord(s, text[:end], true)
			text = text[end:]
		}
	default:
		e.model.encodeWord(s, text, false)
	}
}

// safeSplit finds where text may be cut for a vocabulary whose merged or matched
// pieces are given in engine form.
func safeSplit(pieces func(yield func(string) bool)) splitMode {
	before, after := true, true
	for p := range pieces {
		for i := 1; i < len(p); i++ {
			if p[i] == ' ' && p[i-1] != ' ' {
				before = false
			}
			if p[i] != ' ' && p[i-1] == ' ' {
				after = false
			}
		}
		if !before && !after {
			return splitNever
		}
	}
	if before {
		return splitBefore
	}
	return splitAfter
}

// spBPE is SentencePiece's BPE: the pair whose merged piece has the best score
// goes first, the leftmost among equals. Symbols are the vocabulary's ids, then
// the characters that occur in pieces without being pieces.
type spBPE struct {
	table   *mergeTable
	cutter  *lazyCutter // nil: words are merged
	chars   *runeTable
	out     []int32 // symbol -> id; noSym where it is unknown
	unk     int32
	byteIDs *[256]int32
	unused  []bool  // by symbol; nil when no piece is unused
	sizes   []int32 // bytes of each symbol; only with unused pieces
	lens    []int32 // bytes of each id; only with a cutter
}

func (b *spBPE) begin(*scratch) {}

func newSPBPE(pieces []spPiece, form func(string) (string, bool), unk int32, byteIDs *[256]int32) *spBPE {
	b := &spBPE{chars: new(runeTable), unk: unk, byteIDs: byteIDs}
	index := make(map[string]int32, len(pieces))
	text := make([]string, len(pieces))
	b.out = make([]int32, len(pieces))
	var scores []float32
	for i, p := range pieces {
		b.out[i] = noSym
		if p.kind != Normal && p.kind != UserDefined && p.kind != Unused {
			continue
		}
		t, ok := form(p.text)
		if !ok || !utf8.ValidString(t) {
			continue
		}
		text[i] = t
		index[t] = int32(i)
		b.out[i] = int32(i)
		if p.kind == Unused {
			if b.unused == nil {
				b.unused = make([]bool, len(pieces))
			}
			b.unused[i] = true
		}
		if r, n := utf8.DecodeRuneInString(t); n == len(t) {
			b.chars.set(r, int32(i))
		}
		scores = append(scores, p.score)
	}
	// Characters that only occur inside pieces get symbols of their own.
	for _, t := range text {
		for _, r := range t {
			if b.chars.get(r) == noSym {
				id := int32(len(b.out))
				b.chars.set(r, id)
				index[string(r)] = id
				b.out = append(b.out, noSym)
			}
		}
	}
	sort.Slice(scores, func(i, j int) bool { return scores[i] > scores[j] })
	rank := make(map[float32]uint32, len(scores))
	for _, v := range scores {
		if _, ok := rank[v]; !ok {
			rank[v] = uint32(len(rank))
		}
	}
	b.table = newMergeTable(2 * len(pieces))
	var splits []split
	for i, t := range text {
		for k := 1; k < len(t); k++ {
			if !utf8.RuneStart(t[k]) {
				continue
			}
			l, ok := index[t[:k]]
			if !ok {
				continue
			}
			if r, ok := index[t[k:]]; ok {
				b.table.add(l, r, rank[pieces[i].score], int32(i))
				splits = append(splits, split{l, r, int32(i)})
			}
		}
	}
	if b.unused != nil {
		b.unused = append(b.unused, make([]bool, len(b.out)-len(b.unused))...)
		b.sizes = make([]int32, len(b.out))
		for t, i := range index {
			b.sizes[i] = int32(len(t))
		}
		return b
	}
	symbols := make([]string, len(b.out))
	for t, i := range index {
		symbols[i] = t
	}
	b.cutter = &lazyCutter{build: func() *cutter { return newCutter(b.table, symbols, splits) }}
	b.lens = make([]int32, len(pieces))
	for i := range b.lens {
		b.lens[i] = max(1, int32(len(text[i])))
	}
	return b
}

// encodeText emits the tokens of text, part by part.
func (b *spBPE) encodeText(s *scratch, c *cutter, text string) {
	var parts [16]part
	for from := 0; from < len(text); {
		// Several parts are looked for ahead, so that memory answers for all of
		// them at once.
		n := 0
		for ; n < len(parts) && from < len(text); n++ {
			p := &parts[n]
			p.from, p.end = from, c.end(text, from)
			from = p.end
			if p.end-p.from <= lineText {
				p.key = lineKey(text, p.from, p.end)
				s.touched += s.lines.touch(&p.key)
			}
		}
		for i := range parts[:n] {
			b.encodePart(s, c, text[parts[i].from:parts[i].end], &parts[i].key)
		}
	}
}

// A part is a stretch of text that no merge reaches out of.
type part struct {
	from, end int
	key       [3]uint64 // unless it is longer than lineText
}

func (b *spBPE) encodePart(s *scratch, c *cutter, w string, key *[3]uint64) {
	if len(w) > lineText {
		b.emitCut(s, c, c.cut(s, s.wids[:0], w), w)
		return
	}
	n := len(s.out)
	l := s.lines.find(key, len(w))
	if l == nil {
		if b.emitCut(s, c, c.cut(s, s.wids[:0], w), w) {
			s.lines.add(key, len(w), s.out[n:])
		}
		return
	}
	s.glue = false
	if cap(s.out)-n < lineIDs {
		s.out = slices.Grow(s.out, lineIDs)
	}
	*(*[lineIDs]int32)(s.out[n : n+lineIDs]) = l.ids
	s.out = s.out[:n+int(l.n)]
	if s.want {
		for _, id := range s.out[n:] {
			s.offs = append(s.offs, s.offset())
			s.pos += int(b.lens[id])
		}
	}
}

// emitCut emits the symbols of w and reports whether their ids are all there is
// to know: an unknown character may join the one before.
func (b *spBPE) emitCut(s *scratch, c *cutter, syms []int32, w string) bool {
	s.wids = syms
	known := true
	for _, y := range syms {
		id, n := noSym, -int(y)
		if y >= 0 {
			id, n = b.out[y], int(c.syms[y].size)
		}
		switch {
		case id >= 0:
			s.glue = false
			s.emitOne(id, n)
		case b.byteIDs != nil:
			for k := range n {
				s.emitOne(b.byteIDs[w[k]], 1)
			}
		default:
			known = false
			if s.glue {
				s.pos += n
			} else {
				s.emitOne(b.unk, n)
			}
			s.glue = true
		}
		w = w[n:]
	}
	return known
}

func (b *spBPE) encodeWord(s *scratch, w string, cache bool) {
	if c := b.cutter.get(0); c != nil {
		b.encodeText(s, c, w)
		return
	}
	cache = cache && len(w) <= cachedWord && b.unused == nil
	var hash uint32
	if cache {
		hash = hashWord(w)
		if slot := s.cache.find(w, hash); slot != nil {
			ids, lens := s.cache.tokens(slot)
			b.emit(s, ids, lens)
			return
		}
	}
	syms := s.syms[:0]
	for i := 0; i < len(w); {
		if c := w[i]; c < utf8.RuneSelf {
			syms = append(syms, symbol{id: b.chars.get(rune(c)), size: 1})
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(w[i:])
		id := noSym
		if r != utf8.RuneError || n > 1 {
			id = b.chars.get(r)
		}
		syms = append(syms, symbol{id: id, size: int32(n)})
		i += n
	}
	s.syms = syms
	ids, lens := s.wids[:0], s.wlens[:0]
	var halves map[int32][2]int32
	if b.unused != nil {
		syms, halves = b.mergeUnused(s, syms)
	} else {
		syms = s.merge(b.table, syms)
	}
	at := 0
	for _, y := range syms {
		if halves != nil && y.id >= 0 && b.unused[y.id] {
			ids, lens = b.resegment(ids, lens, y.id, halves, w[at:at+int(y.size)])
			at += int(y.size)
			continue
		}
		id := noSym
		if y.id >= 0 {
			id = b.out[y.id]
		}
		switch {
		case id >= 0:
			ids, lens = append(ids, id), append(lens, y.size)
		case b.byteIDs != nil:
			for k := at; k < at+int(y.size); k++ {
				ids, lens = append(ids, b.byteIDs[w[k]]), append(lens, 1)
			}
		default:
			ids, lens = append(ids, b.unk), append(lens, y.size)
		}
		at += int(y.size)
	}
	s.wids, s.wlens = ids, lens
	if cache {
		i, l := s.cache.add(w, hash, ids, lens)
		b.emit(s, i, l)
		return
	}
	for i, id := range ids {
		if id == b.unk && b.byteIDs == nil {
			if s.glue {
				s.pos += int(lens[i])
				continue
			}
			s.glue = true
		} else {
			s.glue = false
		}
		s.emitOne(id, int(lens[i]))
	}
}

// emit joins runs of unknown characters to one token, as SentencePiece does.
func (b *spBPE) emit(s *scratch, ids []int32, lens []uint8) {
	if b.byteIDs != nil {
		s.emit(ids, lens)
		return
	}
	for i, id := range ids {
		if id == b.unk {
			if s.glue {
				s.pos += int(lens[i])
				continue
			}
			s.glue = true
		} else {
			s.glue = false
		}
		s.emitOne(id, int(lens[i]))
	}
}

// mergeUnused merges with a vocabulary that has unused pieces: they serve as
// steps on the way, and what remains of them in the end is taken apart again
// into the two halves noted last.
func (b *spBPE) mergeUnused(s *scratch, syms []symbol) ([]symbol, map[int32][2]int32) {
	halves := map[int32][2]int32{}
	n := len(syms)
	next, prev := make([]int, n), make([]int, n)
	var heap []uint64
	pair := func(l, r int) {
		rank, id := b.table.find(syms[l].id, syms[r].id)
		syms[l].rank, syms[l].merged = rank, id
		if rank == noRank {
			return
		}
		heap = siftUp(append(heap, uint64(rank)<<32|uint64(l)))
		if b.unused[id] {
			halves[id] = [2]int32{syms[l].id, syms[r].id}
		}
	}
	for i := range syms {
		next[i], prev[i] = i+1, i-1
		syms[i].rank = noRank
		if i > 0 {
			pair(i-1, i)
		}
	}
	for len(heap) > 0 {
		top := heap[0]
		heap[0] = heap[len(heap)-1]
		heap = heap[:len(heap)-1]
		siftDown(heap, 0)
		at := int(uint32(top))
		m := &syms[at]
		if m.rank != uint32(top>>32) {
			continue
		}
		right := next[at]
		m.id = m.merged
		m.size += syms[right].size
		m.rank = noRank
		syms[right].rank = noRank
		next[at] = next[right]
		if next[at] < n {
			prev[next[at]] = at
		}
		if prev[at] >= 0 {
			pair(prev[at], at)
		}
		if next[at] < n {
			pair(at, next[at])
		}
	}
	k := 0
	for i := 0; i < n; i = next[i] {
		syms[k] = syms[i]
		k++
	}
	return syms[:k], halves
}

// resegment takes an unused piece apart. The halves are shorter each time, so
// that it ends.
func (b *spBPE) resegment(ids, lens []int32, sym int32, halves map[int32][2]int32, text string) ([]int32, []int32) {
	if sym >= 0 && b.unused[sym] {
		if h, ok := halves[sym]; ok {
			n := b.sizes[h[0]]
			ids, lens = b.resegment(ids, lens, h[0], halves, text[:n])
			return b.resegment(ids, lens, h[1], halves, text[n:])
		}
	}
	id := noSym
	if sym >= 0 {
		id = b.out[sym]
	}
	switch {
	case id >= 0:
		return append(ids, id), append(lens, int32(len(text)))
	case b.byteIDs != nil:
		for i := 0; i < len(text); i++ {
			ids, lens = append(ids, b.byteIDs[text[i]]), append(lens, 1)
		}
		return ids, lens
	}
	return append(ids, b.unk), append(lens, int32(len(text)))
}
