package textcheck

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
	"golang.org/x/text/unicode/norm"
)

// What looks at eight bytes at a time says what looking at each would say.
func TestEightBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	bits := []string{"a", "Haus", "!", " ", " ", "~", "\n", "\t", "\r\n", "\x00", "\x7f", "ä", "ß", "\u00a0", "\u00ad", "e\u0301", "€", "語", "–", "„", "\u2000", "\u2003", "\u0301", "Ã¤", "\xff", "und die Straße ", "ABC def 12 "}
	for range 40000 {
		var b strings.Builder
		for range rng.IntN(24) {
			b.WriteString(bits[rng.IntN(len(bits))])
		}
		s := b.String()
		for _, z := range []Normalizer{Normal, {Whitespace: true}, {Control: true}, {}} {
			if got, want := z.clean(s), z.rewrite(s) == s; got && !want {
				t.Fatalf("%+v: %q is called clean, rewritten it is %q", z, s, z.rewrite(s))
			} else if !got && want && utf8.ValidString(s) && z.Whitespace && z.Control {
				t.Fatalf("%+v: %q is called unclean, rewriting changes nothing", z, s)
			}
		}
		for i := range len(s) + 1 {
			want := i + strings.IndexFunc(s[i:]+"ä", func(r rune) bool { return r >= utf8.RuneSelf })
			if got := afterASCII(s, i); got != want {
				t.Fatalf("%q: from %d on ASCII ends at %d, want %d", s, i, got, want)
			}
		}
		if !utf8.ValidString(s) {
			continue
		}
		if got, want := mayDecompose(s), !norm.NFC.IsNormalString(s); got != want {
			t.Fatalf("%q: to be composed %v, want %v", s, got, want)
		}
		got, _ := appendWordHashes(nil, nil, s)
		var want []uint64
		words := strings.FieldsFunc(strings.ReplaceAll(s, "\u00ad", ""), func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) })
		for _, w := range words {
			want = append(want, xxh3.HashString(strings.ToLower(w)))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %d word hashes, want those of %q", s, len(got), words)
		}
	}
}
