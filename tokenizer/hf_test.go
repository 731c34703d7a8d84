package tokenizer

import (
	"strings"
	"testing"
)

// Normal forms of what x/text's own functions change or panic on, and of
// characters younger than Hugging Face's tables.
func TestUnicodeForms(t *testing.T) {
	marks := strings.Repeat("\u0323\u0301", 30)
	tests := []struct {
		form     unicodeForm
		in, want string
	}{
		{formNFC, "a\u0301", "á"},
		{formNFC, "a\u0301\u0323", "ạ\u0301"},
		{formNFD, "ạ\u0301", "a\u0323\u0301"},
		{formNFC, "x" + marks, "x" + strings.Repeat("\u0323", 30) + strings.Repeat("\u0301", 30)},
		{formNFD, "á" + strings.Repeat("\u0301", 40), "a" + strings.Repeat("\u0301", 41)},
		{formNFC, "\u1100\u1161\u11A8", "각"},
		{formNFD, "각", "\u1100\u1161\u11A8"},
		{formNFKC, "ﬁ①Å", "fi1Å"},
		{formNFKD, "\u212B", "A\u030A"},
		{formNFC, "a\u0301\xff\u0301\xe2\x96", "á\xff\u0301\xe2\x96"},
		{formNFKC, "\u32FF", "\u32FF"},                    // SQUARE ERA NAME REIWA, Unicode 12.1
		{formNFC, "a\u0301\u0C3C\u0323", "á\u0C3C\u0323"}, // a mark since Unicode 14
	}
	for _, tt := range tests {
		got, amap := tt.form.apply(tt.in, nil, true)
		if got != tt.want {
			t.Errorf("%+q: %+q, want %+q", tt.in, got, tt.want)
		}
		if amap != nil && (len(amap) != len(got)+1 || int(amap[len(got)]) != len(tt.in)) {
			t.Errorf("%+q: map of %d places for %d bytes", tt.in, len(amap), len(got))
		}
	}
}

// What \p{L} and \p{N} hold in expressions: characters that are younger than Go's tables, and the borders of their ranges.
func TestCharacterClasses(t *testing.T) {
	pages := classPages()
	for _, tt := range []struct {
		r    rune
		want uint8
	}{
		{'ß', classLetter}, {'٣', classNumber}, {'²', classNumber}, {'\u3000', classSpace}, {'\u200B', classOther},
		{0x136DB, classLetter}, {0x143FA, classLetter}, {0x143FB, classOther}, {0x2EE5D, classLetter}, {0x1CCF0, classNumber},
		{0x1CCFA, classOther}, {0x11DE0, classOther}, // a digit in Unicode 17 only
	} {
		if got := pages[tt.r>>8][tt.r&255]; got != tt.want {
			t.Errorf("U+%04X is of class %d, want %d", tt.r, got, tt.want)
		}
	}
}
