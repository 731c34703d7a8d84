package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
	"golang.org/x/text/unicode/norm"
)

// rewriter builds a changed text beside the places that its bytes came from.
// Without offsets it keeps the text alone.
type rewriter struct {
	out  []byte
	amap []int32 // for each byte of out; the end is added last
	want bool
}

// put appends text that came from the place at (an offset in the text before
// this change; from maps it on to the segment, nil being the identity).
func (w *rewriter) put(text string, at int, from []int32) {
	w.out = append(w.out, text...)
	if w.want {
		if from != nil {
			at = int(from[at])
		}
		for range len(text) {
			w.amap = append(w.amap, int32(at))
		}
	}
}

// copy appends text[a:b] unchanged.
func (w *rewriter) copy(text string, a, b int, from []int32) {
	w.out = append(w.out, text[a:b]...)
	if w.want {
		for i := a; i < b; i++ {
			at := i
			if from != nil {
				at = int(from[i])
			}
			w.amap = append(w.amap, int32(at))
		}
	}
}

func (w *rewriter) done(text string, from []int32) (string, []int32) {
	if !w.want {
		return string(w.out), nil
	}
	end := len(text)
	if from != nil {
		end = int(from[end])
	}
	return string(w.out), append(w.amap, int32(end))
}

// normStep is one stage of a normaliser. It gets and returns a text and, when
// offsets are wanted, its map to the segment (nil: the identity).
type normStep interface {
	apply(text string, amap []int32, want bool) (string, []int32)
}

type unicodeForm struct{ form norm.Form }

func (u unicodeForm) apply(text string, amap []int32, want bool) (string, []int32) {
	if u.form.IsNormalString(text) {
		return text, amap
	}
	w := rewriter{want: want}
	var it norm.Iter
	it.InitString(u.form, text)
	for !it.Done() {
		at := it.Pos()
		w.put(string(it.Next()), at, amap)
	}
	return w.done(text, amap)
}

// mapRunes changes characters one by one; no string for "leave it".
type mapRunes func(r rune) (string, bool)

func (m mapRunes) apply(text string, amap []int32, want bool) (string, []int32) {
	w := rewriter{want: want}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if s, ok := m(r); ok {
			w.put(s, i, amap)
		} else {
			w.copy(text, i, i+n, amap)
		}
		i += n
	}
	return w.done(text, amap)
}

func lowercase(r rune) (string, bool) {
	if r == 'İ' {
		return "i\u0307", true
	}
	if l := unicode.ToLower(r); l != r {
		return string(l), true
	}
	return "", false
}

func stripAccents(r rune) (string, bool) { return "", unicode.Is(unicode.M, r) }

// trimSpace is Hugging Face's Strip.
type trimSpace struct{ left, right bool }

func (t trimSpace) apply(text string, amap []int32, want bool) (string, []int32) {
	a, b := 0, len(text)
	if t.left {
		a = b - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	}
	if t.right {
		b = max(a, len(strings.TrimRightFunc(text, unicode.IsSpace)))
	}
	if a == 0 && b == len(text) {
		return text, amap
	}
	w := rewriter{want: want}
	w.copy(text, a, b, amap)
	return w.done(text, amap)
}

type prepend struct{ text string }

func (p prepend) apply(text string, amap []int32, want bool) (string, []int32) {
	if text == "" {
		return text, amap
	}
	w := rewriter{want: want}
	w.put(p.text, 0, amap)
	w.copy(text, 0, len(text), amap)
	return w.done(text, amap)
}

type replaceText struct{ old, new string }

func (r replaceText) apply(text string, amap []int32, want bool) (string, []int32) {
	if r.old == "" || !strings.Contains(text, r.old) {
		return text, amap
	}
	w := rewriter{want: want}
	for at := 0; ; {
		i := strings.Index(text[at:], r.old)
		if i < 0 {
			w.copy(text, at, len(text), amap)
			return w.done(text, amap)
		}
		w.copy(text, at, at+i, amap)
		w.put(r.new, at+i, amap)
		at += i + len(r.old)
	}
}

type replaceMatches struct {
	find *pattern
	new  string
}

func (r replaceMatches) apply(text string, amap []int32, want bool) (string, []int32) {
	w := rewriter{want: want}
	at := 0
	for _, m := range r.find.all(nil, text) {
		w.copy(text, at, m.start, amap)
		w.put(r.new, m.start, amap)
		at = m.end
	}
	w.copy(text, at, len(text), amap)
	return w.done(text, amap)
}

// pattern is a regular expression or a literal string.
type pattern struct {
	re      *regexp2.Regexp
	literal string
}

// all appends the matches in text that aren't empty.
func (p *pattern) all(dst []span, text string) []span {
	if p.re == nil {
		for at := 0; p.literal != ""; {
			i := strings.Index(text[at:], p.literal)
			if i < 0 {
				break
			}
			dst = append(dst, span{at + i, at + i + len(p.literal)})
			at += i + len(p.literal)
		}
		return dst
	}
	runes := make([]rune, 0, len(text))
	offs := make([]int, 0, len(text)+1)
	for i, r := range text {
		runes, offs = append(runes, r), append(offs, i)
	}
	offs = append(offs, len(text))
	m, err := p.re.FindRunesMatch(runes)
	for err == nil && m != nil {
		if m.Length > 0 {
			dst = append(dst, span{offs[m.Index], offs[m.Index+m.Length]})
		}
		m, err = p.re.FindNextMatch(m)
	}
	// A match that runs into the time limit leaves the rest of the text whole.
	return dst
}

// splitStep is Hugging Face's Split.
type splitStep struct {
	find     *pattern
	behavior string
	invert   bool
}

func (s splitStep) cut(dst []span, text string, in []span) []span {
	var found []span
	for _, w := range in {
		part := text[w.start:w.end]
		found = s.find.all(found[:0], part)
		// Pieces alternate between what matches and what doesn't.
		type piece struct {
			span
			match bool
		}
		var pieces []piece
		at := 0
		for _, m := range found {
			if at < m.start {
				pieces = append(pieces, piece{span{at, m.start}, s.invert})
			}
			pieces = append(pieces, piece{m, !s.invert})
			at = m.end
		}
		if at < len(part) {
			pieces = append(pieces, piece{span{at, len(part)}, s.invert})
		}
		first := len(dst)
		prev := false
		for _, p := range pieces {
			p.start += w.start
			p.end += w.start
			join := false
			switch s.behavior {
			case "Removed":
				if p.match {
					continue
				}
			case "MergedWithPrevious":
				join = p.match && !prev
			case "MergedWithNext":
				join = !p.match && prev
			case "Contiguous":
				join = p.match == prev
			}
			if join && len(dst) > first {
				dst[len(dst)-1].end = p.end
			} else {
				dst = append(dst, p.span)
			}
			prev = p.match
		}
	}
	return dst
}
