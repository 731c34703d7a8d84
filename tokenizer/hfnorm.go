package tokenizer

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// normStep is one stage of a normalizer. It gets and returns a text and, when
// offsets are wanted, its map to the segment (nil: the identity).
type normStep interface {
	apply(text string, amap []int32, want bool) (string, []int32)
}

// unicodeForm is NFC, NFD, NFKC or NFKD. The algorithm is ours, the data x/text's:
// that package's own normalizer also applies the Stream-Safe Text Format, which
// puts characters into long runs of marks, and its iterator panics on some input.
type unicodeForm struct {
	form    norm.Form // decides whether a text is normal already
	parts   norm.Form // NFD or NFKD
	compose bool
}

var (
	formNFC  = unicodeForm{norm.NFC, norm.NFD, true}
	formNFD  = unicodeForm{norm.NFD, norm.NFD, false}
	formNFKC = unicodeForm{norm.NFKC, norm.NFKD, true}
	formNFKD = unicodeForm{norm.NFKD, norm.NFKD, false}
)

// normRune is a character on the way, with its combining class and where it came
// from. Broken bytes are kept as negative numbers.
type normRune struct {
	r     rune
	class uint8
	at    int32
}

func (u unicodeForm) apply(text string, amap []int32, want bool) (string, []int32) {
	if u.form.IsNormalString(text) {
		return text, amap
	}
	chars := make([]normRune, 0, len(text))
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			chars = append(chars, normRune{rune(c), 0, int32(i)})
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			chars = append(chars, normRune{-1 - rune(text[i]), 0, int32(i)})
		case unicode.Is(frozen, r):
			chars = append(chars, normRune{r, 0, int32(i)})
		case r >= hangulBase && r < hangulEnd:
			k := r - hangulBase
			chars = append(chars, normRune{hangulL + k/(21*28), 0, int32(i)}, normRune{hangulV + k%(21*28)/28, 0, int32(i)})
			if t := k % 28; t > 0 {
				chars = append(chars, normRune{hangulT + t, 0, int32(i)})
			}
		default:
			p := u.parts.PropertiesString(text[i:])
			d := p.Decomposition()
			if d == nil {
				chars = append(chars, normRune{r, p.CCC(), int32(i)})
				break
			}
			for len(d) > 0 {
				q, size := utf8.DecodeRune(d)
				chars = append(chars, normRune{q, u.parts.Properties(d).CCC(), int32(i)})
				d = d[size:]
			}
		}
		i += n
	}
	// Marks between two starters stand in the order of their classes.
	for i := 0; i < len(chars); {
		if chars[i].class == 0 {
			i++
			continue
		}
		end := i
		for end < len(chars) && chars[end].class != 0 {
			end++
		}
		slices.SortStableFunc(chars[i:end], func(a, b normRune) int { return int(a.class) - int(b.class) })
		i = end
	}
	if u.compose {
		chars = composed(chars)
	}
	w := rewriter{want: want}
	var buf [utf8.UTFMax]byte
	for _, c := range chars {
		if c.r < 0 {
			w.put(string([]byte{byte(-1 - c.r)}), int(c.at), amap)
			continue
		}
		w.put(string(utf8.AppendRune(buf[:0], c.r)), int(c.at), amap)
	}
	return w.done(text, amap)
}

const (
	hangulBase, hangulEnd     = 0xAC00, 0xAC00 + 19*21*28
	hangulL, hangulV, hangulT = 0x1100, 0x1161, 0x11A7
)

// composed joins characters with the starter before them, in place, where no
// other mark of the same or a higher class stands between the two.
func composed(chars []normRune) []normRune {
	out := chars[:0]
	starter := -1
	last := uint8(0) // class of the character before, after the starter
	for _, c := range chars {
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || last < c.class && c.class != 0) {
			if r, ok := composePair(out[starter].r, c.r); ok {
				out[starter].r = r
				continue
			}
		}
		if c.class == 0 {
			starter = len(out)
		}
		last = c.class
		out = append(out, c)
	}
	return out
}

// composePair returns the one character that a and b are together.
func composePair(a, b rune) (rune, bool) {
	switch {
	case a < 0 || b < 0x300 || unicode.Is(frozen, a) || unicode.Is(frozen, b):
		return 0, false
	case a >= hangulL && a < hangulL+19 && b >= hangulV && b < hangulV+21:
		return hangulBase + ((a-hangulL)*21+b-hangulV)*28, true
	case a >= hangulBase && a < hangulEnd && (a-hangulBase)%28 == 0 && b > hangulT && b < hangulT+28:
		return a + b - hangulT, true
	}
	var pair, joined [4 * utf8.UTFMax]byte
	in := utf8.AppendRune(utf8.AppendRune(pair[:0], a), b)
	if norm.NFC.Properties(in[utf8.RuneLen(a):]).BoundaryBefore() {
		return 0, false
	}
	res := norm.NFC.Append(joined[:0], in...)
	r, n := utf8.DecodeRune(res)
	if n != len(res) || unicode.Is(frozen, r) {
		return 0, false
	}
	return r, true
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
	if l := newLower(r); l != r {
		return string(l), true
	}
	return "", false
}

func stripAccents(r rune) (string, bool) {
	return "", unicode.Is(unicode.M, r) && !unicode.Is(newMarks, r) || r == 0x1CF2 || r == 0x1CF3
}

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
		if m.start == m.end {
			continue
		}
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
	linear  *linear     // the same, slower and in bounded time
	mu      sync.Mutex  // of linear
	slow    atomic.Bool // re ran into its time limit once
	literal string
}

// all appends the matches in text. As in Hugging Face's, an empty one right
// after another match doesn't count.
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
	first, last := len(dst), -1 // last is where the match before ended
	add := func(start, end int) {
		if end > start || start != last {
			dst = append(dst, span{offs[start], offs[end]})
			last = end
		}
	}
	if !p.slow.Load() {
		m, err := p.re.FindRunesMatch(runes)
		for err == nil && m != nil {
			add(m.Index, m.Index+m.Length)
			m, err = p.re.FindNextMatch(m)
		}
		if err == nil {
			return dst
		}
		// The time limit: on this text the expression backtracks too much.
		p.slow.Store(true)
		dst, last = dst[:first], -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.linear.all(runes, add)
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
		// An empty match cuts and leaves no piece.
		dst = append(dst[:first], slices.DeleteFunc(dst[first:], func(s span) bool { return s.start == s.end })...)
	}
	return dst
}
