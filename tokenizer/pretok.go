package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// Pre-tokenizers cut text into words before merges apply. Those that published
// models use are written out by hand: a regular-expression engine would take
// most of the time.

// span is a range of bytes of the engine's text.
type span struct{ start, end int }

// preStep cuts each of the words in into smaller ones.
type preStep interface {
	cut(dst []span, text string, in []span) []span
}

// Classes of characters in the expressions below.
const (
	classOther = iota
	classLetter
	classNumber
	classSpace
)

var classPages = sync.OnceValue(func() *[0x1100]*[256]uint8 {
	pages := new([0x1100]*[256]uint8)
	zero := new([256]uint8)
	for i := range pages {
		pages[i] = zero
	}
	mark := func(t *unicode.RangeTable, class uint8) {
		set := func(r rune) {
			p := pages[r>>8]
			if p == zero {
				p = new([256]uint8)
				pages[r>>8] = p
			}
			p[r&255] = class
		}
		for _, x := range t.R16 {
			for r := rune(x.Lo); r <= rune(x.Hi); r += rune(x.Stride) {
				set(r)
			}
		}
		for _, x := range t.R32 {
			for r := rune(x.Lo); r <= rune(x.Hi); r += rune(x.Stride) {
				set(r)
			}
		}
	}
	mark(unicode.L, classLetter)
	mark(unicode.N, classNumber)
	mark(exprLetters, classLetter)
	mark(exprNumbers, classNumber)
	mark(unicode.White_Space, classSpace)
	return pages
})

// wordRule is the family of expressions that began with GPT-2's:
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// and went on with Llama-3's:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// Qwen-2's is Llama-3's with \p{N} for the numbers.
type wordRule struct {
	modern  bool // Llama-3's form
	digits  int  // modern: most digits in a word
	noLongS bool // modern: contractions name both cases of a letter and nothing else
}

var (
	ruleGPT2   = &wordRule{}
	ruleLlama3 = &wordRule{modern: true, digits: 3}
	ruleQwen2  = &wordRule{modern: true, digits: 1}
)

type ruleStep struct{ rule *wordRule }

func (r ruleStep) cut(dst []span, text string, in []span) []span {
	pages := classPages()
	for _, w := range in {
		part := text[w.start:w.end]
		for i := 0; i < len(part); {
			n := r.rule.next(pages, part[i:])
			dst = append(dst, span{w.start + i, w.start + i + n})
			i += n
		}
	}
	return dst
}

// char returns the class and size of the first character of s, which isn't
// empty. A byte that belongs to no character is one of class other.
func char(pages *[0x1100]*[256]uint8, s string) (class uint8, size int) {
	if c := s[0]; c < utf8.RuneSelf {
		return pages[0][c], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return classOther, 1
	}
	return pages[r>>8][r&255], n
}

// run returns the end of the run of one class that goes on at i.
func run(pages *[0x1100]*[256]uint8, s string, i int, class uint8) int {
	for i < len(s) {
		c, n := char(pages, s[i:])
		if c != class {
			break
		}
		i += n
	}
	return i
}

// next returns the length of the first word of s, which isn't empty.
func (w *wordRule) next(pages *[0x1100]*[256]uint8, s string) int {
	if s[0] == '\'' {
		if n := contraction(s, w.modern, w.noLongS); n > 0 {
			return n
		}
	}
	class, size := char(pages, s)
	switch class {
	case classLetter:
		return run(pages, s, size, classLetter)
	case classNumber:
		if !w.modern {
			return run(pages, s, size, classNumber)
		}
		end := size
		for k := 1; k < w.digits && end < len(s); k++ {
			c, n := char(pages, s[end:])
			if c != classNumber {
				break
			}
			end += n
		}
		return end
	}
	if len(s) > size {
		next, n := char(pages, s[size:])
		if w.modern {
			if next == classLetter && s[0] != '\r' && s[0] != '\n' {
				return run(pages, s, size+n, classLetter)
			}
			if s[0] == ' ' && next == classOther {
				return newlines(s, run(pages, s, size+n, classOther))
			}
		} else if s[0] == ' ' && next != classSpace {
			return run(pages, s, size+n, next)
		}
	}
	if class == classOther {
		end := run(pages, s, size, classOther)
		if w.modern {
			end = newlines(s, end)
		}
		return end
	}
	// White space: up to the last line break of the run (modern); else all of a
	// run that ends the text; else all but the last character, which goes with
	// what follows; a single one stands alone.
	end, last, lineEnd := 0, 0, 0
	for end < len(s) {
		c, n := char(pages, s[end:])
		if c != classSpace {
			break
		}
		last = end
		if s[end] == '\n' || s[end] == '\r' {
			lineEnd = end + 1
		}
		end += n
	}
	if w.modern && lineEnd > 0 {
		return lineEnd
	}
	if end == len(s) || last == 0 {
		return end
	}
	return last
}

func newlines(s string, i int) int {
	for i < len(s) && (s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the start
// of s, or 0. Folding case, the long s (ſ) counts as an s.
func contraction(s string, fold, noLongS bool) int {
	if len(s) < 2 {
		return 0
	}
	lower := func(i int) byte {
		if i >= len(s) {
			return 0
		}
		c := s[i]
		if fold && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	switch lower(1) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if lower(2) == 'e' {
			return 3
		}
	case 'l':
		if lower(2) == 'l' {
			return 3
		}
	case 0xC5:
		if fold && !noLongS && lower(2) == 0xBF {
			return 3
		}
	}
	return 0
}

// digitsStep splits off numbers: whole runs, or each digit alone.
type digitsStep struct{ individual bool }

func (d digitsStep) cut(dst []span, text string, in []span) []span {
	pages := classPages()
	for _, w := range in {
		from := w.start
		inNumber := false
		for i := w.start; i < w.end; {
			c, n := char(pages, text[i:w.end])
			number := c == classNumber
			if n == 4 && !number {
				r, _ := utf8.DecodeRuneInString(text[i:w.end])
				number = unicode.Is(newNumbers, r)
			}
			if i > from && (number != inNumber || number && d.individual) {
				dst = append(dst, span{from, i})
				from = i
			}
			inNumber = number
			i += n
		}
		if from < w.end {
			dst = append(dst, span{from, w.end})
		}
	}
	return dst
}

// byteSteps cut words in the alphabet in which byte-level vocabularies write bytes
// (byteChars): steps that come after ByteLevel see "ä" as "Ã¤".
type byteSteps []preStep

func (b byteSteps) cut(dst []span, text string, in []span) []span {
	// The alphabet's characters have one or two bytes.
	written := make([]byte, 0, 2*len(text))
	from := make([]int, 0, 2*len(text)+1) // byte of text for each byte of written
	to := make([]int, len(text)+1)        // and back
	for i := range len(text) {
		to[i] = len(written)
		written = utf8.AppendRune(written, byteChars[text[i]])
		for len(from) < len(written) {
			from = append(from, i)
		}
	}
	to[len(text)] = len(written)
	from = append(from, len(text))
	words := make([]span, len(in))
	for i, w := range in {
		words[i] = span{to[w.start], to[w.end]}
	}
	for _, step := range b {
		words = step.cut(nil, string(written), words)
	}
	for _, w := range words {
		dst = append(dst, span{from[w.start], from[w.end]})
	}
	return dst
}
