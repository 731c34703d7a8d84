package tokenizer

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// hfEngine encodes text through the stages of a Hugging Face tokenizer:
// normalization, added tokens of the normalized text, pre-tokenization, model.
type hfEngine struct {
	norms   []normStep
	spaces  bool // the vocabulary writes spaces as "▁": engine form is spaces
	prepend bool // each segment begins with one more space (Prepend)
	normed  *matcher
	meta    *metaStep
	pre     []preStep
	model   wordModel
	split   splitMode
}

// metaStep is Hugging Face's Metaspace on text in engine form.
type metaStep struct {
	first bool // only the beginning of the whole text gets a prefix
	never bool
	split bool // every space begins a word
}

// prefixStep gives each word a space to begin with (ByteLevel's
// add_prefix_space). The engine does it, since it changes the text.
type prefixStep struct{}

func (prefixStep) cut(dst []span, text string, in []span) []span { return append(dst, in...) }

// normalizes reports whether there is a normalizer at all.
func (e *hfEngine) normalizes() bool {
	return len(e.norms) > 0 || e.spaces && e.meta == nil || e.prepend
}

// normalized returns what an added token's text looks like in normalized text.
func (e *hfEngine) normalized(text string) string {
	text, _ = e.normalize(text, false)
	return text
}

func (e *hfEngine) normalize(text string, want bool) (string, []int32) {
	var amap []int32
	for _, n := range e.norms {
		text, amap = n.apply(text, amap, want)
	}
	if e.spaces {
		text, amap = replaceText{meta, " "}.apply(text, amap, want)
	}
	if e.prepend {
		text, amap = prepend{" "}.apply(text, amap, want)
	}
	return text, amap
}

func (e *hfEngine) encode(s *scratch, seg string, base int) {
	if seg == "" {
		return
	}
	s.base, s.align, s.pos, s.glue = base, nil, 0, false
	e.model.begin(s)
	if e.normed == nil && len(e.norms) == 0 && !(e.spaces && strings.Contains(seg, meta)) {
		// Nothing changes but for a prefix.
		switch {
		case !e.prepend && e.meta == nil:
			e.piece(s, seg, nil, 0)
			return
		case e.split == splitBefore && e.meta == nil:
			end := wordEnd(seg, 0)
			s.word = append(append(s.word[:0], ' '), seg[:end]...)
			s.pos = -1
			e.model.encodeWord(s, bstring(s.word), true)
			e.chars(s, seg[end:])
			return
		case e.split == splitBefore && !e.meta.split:
			if e.meta.wants(seg, base == 0) {
				end := wordEnd(seg, 0)
				s.word = append(append(s.word[:0], ' '), seg[:end]...)
				s.pos = -1
				e.model.encodeWord(s, bstring(s.word), true)
				seg = seg[end:]
			}
			e.chars(s, seg)
			return
		}
	}
	text, amap := e.normalize(seg, s.want)
	if e.normed == nil {
		e.piece(s, text, amap, 0)
		return
	}
	from := 0
	marks := e.normed.find(nil, text, func(tok *addedToken, start, end int) bool {
		if tok.kind != Control || s.anywhere {
			return true
		}
		if !s.want {
			return false
		}
		if amap != nil {
			start, end = int(amap[start]), int(amap[end])
		}
		return s.trusts(base+start, base+end)
	})
	for _, m := range marks {
		if from < m.start {
			e.piece(s, text[from:m.start], amap, from)
		}
		s.align, s.pos = amap, m.start
		s.emitOne(m.id, m.end-m.start)
		from = m.end
	}
	if from < len(text) {
		e.piece(s, text[from:], amap, from)
	}
}

func (m *metaStep) wants(text string, atStart bool) bool {
	return !m.never && text != "" && text[0] != ' ' && (!m.first || atStart)
}

// piece encodes normalized text without added tokens: text lies at offset at of
// the text that amap belongs to.
func (e *hfEngine) piece(s *scratch, text string, amap []int32, at int) {
	s.align, s.pos = amap, at
	s.glue = false
	if m := e.meta; m != nil {
		origin := at
		if amap != nil {
			origin = int(amap[at])
		}
		if m.wants(text, s.base == 0 && origin == 0) {
			text = " " + text
			s.pos--
			if amap != nil {
				s.align = append([]int32{amap[at]}, amap[at:]...)
				s.pos = 0
			}
		}
		if m.split {
			for text != "" {
				end := 1 + strings.IndexByte(text[1:], ' ')
				if end == 0 {
					end = len(text)
				}
				s.glue = false
				e.model.encodeWord(s, text[:end], true)
				text = text[end:]
			}
			return
		}
		e.chars(s, text)
		return
	}
	if len(e.pre) == 0 {
		e.chars(s, text)
		return
	}
	in, out := append(s.spans[:0], span{0, len(text)}), s.tmp
	for _, step := range e.pre {
		if _, ok := step.(prefixStep); ok {
			text, in = e.prefixed(s, text, in)
			continue
		}
		out = step.cut(out[:0], text, in)
		in, out = out, in
	}
	s.spans, s.tmp = in, out
	pos := s.pos
	for _, w := range in {
		s.pos = pos + w.start
		s.glue = false
		e.model.encodeWord(s, text[w.start:w.end], true)
	}
}

// chars encodes text without pre-tokenization, word by word where that is sound.
func (e *hfEngine) chars(s *scratch, text string) {
	if e.split != splitBefore {
		if text != "" {
			e.model.encodeWord(s, text, false)
		}
		return
	}
	for text != "" {
		end := wordEnd(text, 0)
		e.model.encodeWord(s, text[:end], true)
		text = text[end:]
	}
}

// prefixed puts a space in front of each word that doesn't begin with one.
func (e *hfEngine) prefixed(s *scratch, text string, in []span) (string, []span) {
	out := make([]byte, 0, len(text)+len(in))
	words := make([]span, len(in))
	var amap []int32
	for i, w := range in {
		start := len(out)
		place := func(k int) int32 {
			k += s.pos
			if s.align != nil {
				return s.align[k]
			}
			return int32(k)
		}
		if text[w.start] != ' ' {
			out = append(out, ' ')
			if s.want {
				amap = append(amap, place(w.start))
			}
		}
		out = append(out, text[w.start:w.end]...)
		if s.want {
			for k := w.start; k < w.end; k++ {
				amap = append(amap, place(k))
			}
		}
		words[i] = span{start, len(out)}
	}
	if s.want {
		s.align, s.pos = amap, 0
	}
	return string(out), words
}

// byteBPE is BPE over bytes; symbols are ids.
type byteBPE struct {
	table  *mergeTable
	start  [256]int32       // noSym where the vocabulary lacks the byte
	whole  map[string]int32 // ignore_merges: words that are tokens
	maxLen int
}

func (b *byteBPE) begin(*scratch) {}

// byteChars is the alphabet in which byte-level vocabularies write bytes:
// printable Latin-1 characters stand for themselves, the other bytes are
// numbered from U+0100 on.
var byteChars, charBytes = func() (chars [256]rune, bytes map[rune]byte) {
	bytes = make(map[rune]byte, 256)
	next := rune(0x100)
	for c := range chars {
		r := rune(c)
		if r < 0x21 || r > 0x7E && r < 0xA1 || r == 0xAD {
			r = next
			next++
		}
		chars[c] = r
		bytes[r] = byte(c)
	}
	return chars, bytes
}()

// fromByteChars turns a piece of a byte-level vocabulary into its bytes; false
// if it has characters from outside the alphabet.
func fromByteChars(piece string) (string, bool) {
	var b strings.Builder
	for _, r := range piece {
		c, ok := charBytes[r]
		if !ok {
			return piece, false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

func newByteBPE(vocab map[string]int32, merges [][2]string, ignoreMerges bool) (*byteBPE, error) {
	b := &byteBPE{table: newMergeTable(len(merges))}
	for c, r := range byteChars {
		b.start[c] = noSym
		if id, ok := vocab[string(r)]; ok {
			b.start[c] = id
		}
	}
	if err := addMerges(b.table, vocab, merges); err != nil {
		return nil, err
	}
	if ignoreMerges {
		b.whole = make(map[string]int32, len(vocab))
		for piece, id := range vocab {
			if text, ok := fromByteChars(piece); ok {
				b.whole[text] = id
				b.maxLen = max(b.maxLen, len(text))
			}
		}
	}
	return b, nil
}

// addMerges fills a table with merges in order of rank.
func addMerges(t *mergeTable, vocab map[string]int32, merges [][2]string) error {
	for rank, m := range merges {
		l, ok := vocab[m[0]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, m[0])
		}
		r, ok := vocab[m[1]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, m[1])
		}
		id, ok := vocab[m[0]+m[1]]
		if !ok {
			return fmt.Errorf("merge %d: %q is not in the vocabulary", rank, m[0]+m[1])
		}
		t.add(l, r, uint32(rank), id)
	}
	return nil
}

func (b *byteBPE) encodeWord(s *scratch, w string, cache bool) {
	cache = cache && len(w) <= cachedWord
	var hash uint32
	if cache {
		hash = hashWord(w)
		if slot := s.cache.find(w, hash); slot != nil {
			s.emit(s.cache.tokens(slot))
			return
		}
	}
	if b.whole != nil && len(w) <= b.maxLen {
		if id, ok := b.whole[w]; ok {
			s.emitOne(id, len(w))
			return
		}
	}
	syms := s.syms[:0]
	lost := int32(0)
	for i := 0; i < len(w); i++ {
		id := b.start[w[i]]
		if id == noSym {
			lost++ // a byte without a token vanishes, as it does in Hugging Face's
			if len(syms) > 0 {
				syms[len(syms)-1].size++
				lost--
			}
			continue
		}
		syms = append(syms, symbol{id: id, size: 1 + lost})
		lost = 0
	}
	s.syms = syms
	syms = s.merge(b.table, syms)
	if cache {
		ids, lens := s.wids[:0], s.wlens[:0]
		for _, y := range syms {
			ids, lens = append(ids, y.id), append(lens, y.size)
		}
		s.wids, s.wlens = ids, lens
		s.emit(s.cache.add(w, hash, ids, lens))
		return
	}
	for _, y := range syms {
		s.emitOne(y.id, int(y.size))
	}
}

// byteLevelDecoding is the decoding of a byte-level vocabulary.
func byteLevelDecoding(t *Tokenizer, pieces []string) decoding {
	d := decoding{
		surface: make([]string, len(t.pieces)), bytes: make([]bool, len(t.pieces)),
		special: make([]bool, len(t.pieces)), maximal: true,
	}
	for i, p := range pieces {
		d.surface[i], _ = fromByteChars(p)
		d.bytes[i] = true
		d.special[i] = t.kinds[i] == Control
	}
	return d
}

func sortedList(words []string) string {
	sort.Strings(words)
	return strings.Join(words, ", ")
}

// newTokenizer starts a tokenizer of the given pieces, all normal so far.
func newTokenizer(pieces []string, opt Options) *Tokenizer {
	t := &Tokenizer{
		pieces: append([]string(nil), pieces...), kinds: make([]Kind, len(pieces)),
		index:    make(map[string]int32, len(pieces)),
		anywhere: opt.Specials == SpecialsAnywhere,
		bos:      -1, eos: -1, unk: -1, pad: -1,
		pool: new(scratches),
	}
	for i := len(pieces) - 1; i >= 0; i-- {
		t.kinds[i] = Normal
		if pieces[i] != "" {
			t.index[pieces[i]] = int32(i)
		}
	}
	return t
}

// charBPE is BPE over characters as Hugging Face has it: symbols are ids; a
// character without one is spelled in bytes, becomes the unknown token, or vanishes.
type charBPE struct {
	table   *mergeTable
	chars   *runeTable
	byteIDs *[256]int32 // nil where the vocabulary has no bytes; noSym where it lacks one
	unk     int32
	fuse    bool
	whole   map[string]int32
	maxLen  int
	split   splitMode
}

func (b *charBPE) begin(*scratch) {}

// newCharBPE builds the model; spaces says that text comes in engine form.
func newCharBPE(m *hfModel, merges [][2]string, spaces bool) (*charBPE, error) {
	b := &charBPE{table: newMergeTable(len(merges)), chars: new(runeTable), unk: noSym, fuse: m.FuseUnk}
	form := func(p string) string {
		if spaces {
			return strings.ReplaceAll(p, meta, " ")
		}
		return p
	}
	for p, id := range m.Vocab {
		if spaces && strings.Contains(p, " ") {
			continue
		}
		f := form(p)
		if r, n := utf8.DecodeRuneInString(f); n == len(f) && n > 0 && (r != utf8.RuneError || n > 1) {
			b.chars.set(r, id)
		}
	}
	if err := addMerges(b.table, m.Vocab, merges); err != nil {
		return nil, err
	}
	if m.Unk != nil {
		id, ok := m.Vocab[*m.Unk]
		if !ok {
			return nil, fmt.Errorf("the unknown token %q is not in the vocabulary", *m.Unk)
		}
		b.unk = id
	}
	if m.ByteFallback {
		var ids [256]int32
		for c := range ids {
			ids[c] = noSym
			if id, ok := m.Vocab[bytePiece(byte(c))]; ok {
				ids[c] = id
				b.byteIDs = &ids
			}
		}
	}
	if m.IgnoreMerges {
		b.whole = make(map[string]int32, len(m.Vocab))
		for p, id := range m.Vocab {
			f := form(p)
			b.whole[f] = id
			b.maxLen = max(b.maxLen, len(f))
		}
	}
	if spaces && b.chars.get(' ') != noSym && !m.IgnoreMerges {
		b.split = safeSplit(func(yield func(string) bool) {
			for _, p := range merges {
				if !yield(form(p[0] + p[1])) {
					return
				}
			}
		})
		if b.split != splitBefore {
			b.split = splitNever
		}
	}
	return b, nil
}

// spells reports whether the vocabulary has all bytes of a character.
func (b *charBPE) spells(char string) bool {
	if b.byteIDs == nil {
		return false
	}
	for i := range len(char) {
		if b.byteIDs[char[i]] == noSym {
			return false
		}
	}
	return true
}

func (b *charBPE) encodeWord(s *scratch, w string, cache bool) {
	cache = cache && len(w) <= cachedWord
	var hash uint32
	if cache {
		hash = hashWord(w)
		if slot := s.cache.find(w, hash); slot != nil {
			s.emit(s.cache.tokens(slot))
			return
		}
	}
	if b.whole != nil && len(w) <= b.maxLen {
		if id, ok := b.whole[w]; ok {
			s.emitOne(id, len(w))
			return
		}
	}
	syms := s.syms[:0]
	lost := int32(0)
	unknown := int32(0) // bytes of a run that an unknown token is about to stand for
	flush := func() {
		if unknown > 0 {
			syms = append(syms, symbol{id: b.unk, size: unknown})
			unknown = 0
		}
	}
	for i := 0; i < len(w); {
		r, n := utf8.DecodeRuneInString(w[i:])
		id := noSym
		if r != utf8.RuneError || n > 1 {
			id = b.chars.get(r)
		} else if b.byteIDs == nil {
			id = b.chars.get(utf8.RuneError)
		}
		switch {
		case id != noSym:
			flush()
			syms = append(syms, symbol{id: id, size: int32(n) + lost})
			lost = 0
		case b.spells(w[i : i+n]):
			// Hugging Face's puts bytes even in front of an unknown token that it
			// has not written yet.
			for k := i; k < i+n; k++ {
				syms = append(syms, symbol{id: b.byteIDs[w[k]], size: 1})
			}
		case b.unk != noSym:
			if !b.fuse {
				flush()
			}
			unknown += int32(n)
		default:
			lost += int32(n)
		}
		i += n
	}
	flush()
	s.syms = syms
	syms = s.merge(b.table, syms)
	if cache {
		ids, lens := s.wids[:0], s.wlens[:0]
		for _, y := range syms {
			ids, lens = append(ids, y.id), append(lens, y.size)
		}
		s.wids, s.wlens = ids, lens
		s.emit(s.cache.add(w, hash, ids, lens))
		return
	}
	for _, y := range syms {
		s.emitOne(y.id, int(y.size))
	}
}
