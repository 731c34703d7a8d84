package textcheck

import (
	"encoding/binary"
	"html"
	"math/bits"
	"strings"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/text/unicode/norm"
)

// A Normalizer cleans text without changing what it says. The zero value does
// nothing.
type Normalizer struct {
	// NFC composes letters and accents (Unicode normalization form C).
	NFC bool
	// Whitespace turns every kind of space and tab into one space, CR LF, U+2028
	// and U+2029 into line feeds, strips lines, and leaves at most one empty line
	// in a row and none at the ends.
	Whitespace bool
	// Control removes control characters other than tab and line feed, byte order
	// marks, zero-width spaces, direction marks and soft hyphens.
	Control bool
	// Entities resolves HTML character references ("d&#228;mpft", "&amp;").
	Entities bool
}

// Normal is the setting for a corpus: everything but Entities.
var Normal = Normalizer{NFC: true, Whitespace: true, Control: true}

// Apply returns the clean text; the same string when it was clean.
func (z Normalizer) Apply(text string) string {
	if z.Entities && strings.IndexByte(text, '&') >= 0 {
		text = html.UnescapeString(text)
	}
	if !z.clean(text) {
		text = z.rewrite(text)
	}
	if z.NFC && mayDecompose(text) { // last: characters may only now be adjacent
		text = norm.NFC.String(text)
	}
	return text
}

// mayDecompose: every rune below U+0300 is its own NFC form and none composes
// with another, so most German text needs no table.
func mayDecompose(s string) bool {
	for i := afterASCII(s, 0); i < len(s); i = afterASCII(s, i+1) {
		if s[i] < 0xCC { // first byte of U+0300
			continue
		}
		if s[i] == 0xE2 && i+2 < len(s) && s[i+1] == 0x80 && s[i+2] >= 0x82 {
			i += 2 // dashes and quotation marks, U+2002 to U+203F, are as they should be
			continue
		}
		return !norm.NFC.IsNormalString(s)
	}
	return false
}

// Masks for eight bytes at a time.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

func eight(s string, i int) uint64 {
	return binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(s), len(s))[i:])
}

// afterASCII returns the place of the first byte of s from i on that is not
// ASCII, or its length.
func afterASCII(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		if m := eight(s, i) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(s) && s[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// printable reports whether all of eight bytes are from ' ' to '~', and sets the
// high bit of those that are spaces.
func printable(x uint64) (spaces uint64, ok bool) {
	if (x|(x-ones*' ')|(x+ones))&highs != 0 {
		return 0, false
	}
	x ^= ones * ' '
	return ^(x + ones*0x7f) & highs, true
}

const (
	keep = iota
	drop
	space
	newline
)

func (z Normalizer) class(r rune) int {
	switch {
	case r == '\n':
		if z.Whitespace {
			return newline
		}
	case r == ' ', r == '\t', r == '\v', r == '\f', r == 0xA0, r == 0x1680, r >= 0x2000 && r <= 0x200A, r == 0x202F, r == 0x205F, r == 0x3000:
		if z.Whitespace {
			return space
		}
		if z.Control && (r == '\v' || r == '\f') {
			return drop
		}
	case r == 0x2028, r == 0x2029, r == 0x85:
		if z.Whitespace {
			return newline
		}
	case r < 0x20, r >= 0x7F && r < 0xA0, r == 0xAD, r == 0x200B, r == 0x200E, r == 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x2064, r == 0xFEFF:
		if z.Control {
			return drop
		}
	}
	return keep
}

// clean reports whether rewrite would change nothing.
func (z Normalizer) clean(s string) bool {
	lines, spaces := 2, true // as if at the start of the text
	for i, slow := 0, 0; i < len(s); {
		if i >= slow && i+8 <= len(s) {
			at, ok := printable(eight(s, i))
			if ok && (!z.Whitespace || at&(at<<8) == 0 && (at&0x80 == 0 || !spaces && lines == 0)) {
				lines, spaces = 0, at>>63 != 0
				i += 8
				continue
			}
			slow = i + 8
		}
		c := s[i]
		if c > ' ' && c < 0x7F {
			lines, spaces = 0, false
			i++
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		switch z.class(r) {
		case drop:
			return false
		case space:
			if r != ' ' || spaces || lines > 0 {
				return false
			}
			spaces = true
		case newline:
			if r != '\n' || spaces || lines >= 2 {
				return false
			}
			lines++
		default:
			if r == '\r' && z.Whitespace {
				return false
			}
			lines, spaces = 0, false
		}
		i += n
	}
	return !z.Whitespace || s == "" || !spaces && lines == 0
}

// rewrite cleans s.
func (z Normalizer) rewrite(s string) string {
	out := make([]byte, 0, len(s))
	lines, spaces := 2, false // pending: newlines just written, a space not yet written
	for k := 0; k < len(s); {
		c := s[k]
		if c > ' ' && c < 0x7F {
			if spaces && lines == 0 {
				out = append(out, ' ')
			}
			lines, spaces = 0, false
			out = append(out, c)
			k++
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[k:])
		}
		class := z.class(r)
		if r == '\r' && z.Whitespace {
			class = newline
			if k+1 < len(s) && s[k+1] == '\n' {
				class = drop
			}
		}
		switch class {
		case drop:
		case space:
			spaces = true
		case newline:
			spaces = false
			if lines < 2 {
				out = append(out, '\n')
				lines++
			}
		default:
			if spaces && lines == 0 {
				out = append(out, ' ')
			}
			lines, spaces = 0, false
			out = append(out, s[k:k+n]...)
		}
		k += n
	}
	if z.Whitespace {
		for len(out) > 0 && out[len(out)-1] == '\n' {
			out = out[:len(out)-1]
		}
	}
	return string(out)
}
