package tokenizer

import (
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
