package tokenizer

import (
	"sort"
	"strings"
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
