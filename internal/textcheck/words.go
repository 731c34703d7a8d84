package textcheck

import (
	"leolm/internal/splitmix"
	"unicode"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// A word, for hashing, is a maximal run of letters, marks and digits, folded to
// lower case. Punctuation, spacing and case therefore never make two texts
// different for the duplicate and overlap checks.

// asciiFold maps a byte to its folded form, 0 where it ends a word.
var asciiFold = func() (t [128]byte) {
	for c := '0'; c <= '9'; c++ {
		t[c] = byte(c)
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] = byte(c)
		t[c-'a'+'A'] = byte(c)
	}
	return
}()

// latinFold maps U+00C0..U+017F to the folded rune, 0 where it ends a word:
// unicode.ToLower without its table walk for the alphabets we meet most.
var latinFold = func() (t [0x180 - 0xC0]rune) {
	for i := range t {
		if r := rune(i + 0xC0); unicode.IsLetter(r) {
			t[i] = unicode.ToLower(r)
		}
	}
	return
}()

// appendWordHashes appends the hash of every word of text to dst. buf is
// scratch and is returned for reuse.
func appendWordHashes(dst []uint64, buf []byte, text string) ([]uint64, []byte) {
	buf = buf[:0]
	for i := 0; i < len(text); {
		c := text[i]
		if len(buf) == 0 && c < utf8.RuneSelf {
			// Most words are ASCII, and most of those need no folding.
			from, changed := i, byte(0)
			for c < utf8.RuneSelf && asciiFold[c] != 0 {
				changed |= asciiFold[c] ^ c
				if i++; i == len(text) {
					break
				}
				c = text[i]
			}
			if i < len(text) && c >= utf8.RuneSelf || changed != 0 {
				for _, c := range []byte(text[from:i]) {
					buf = append(buf, asciiFold[c])
				}
				if i < len(text) && c >= utf8.RuneSelf {
					continue
				}
				dst = append(dst, xxh3.Hash(buf))
				buf = buf[:0]
			} else if from < i {
				dst = append(dst, xxh3.HashString(text[from:i]))
			}
			i++ // the byte that ended the word
			continue
		}
		if c < utf8.RuneSelf {
			i++
			if f := asciiFold[c]; f != 0 {
				buf = append(buf, f)
			} else if len(buf) > 0 {
				dst = append(dst, xxh3.Hash(buf))
				buf = buf[:0]
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		i += n
		switch {
		case r >= 0xC0 && r < 0x180:
			r = latinFold[r-0xC0]
		case r == 0xAD: // a soft hyphen is inside a word and not part of it
			continue
		case r == utf8.RuneError && n == 1, unicode.In(r, unicode.L, unicode.M, unicode.N):
			r = unicode.ToLower(r)
		default:
			r = 0
		}
		if r != 0 {
			buf = utf8.AppendRune(buf, r)
		} else if len(buf) > 0 {
			dst = append(dst, xxh3.Hash(buf))
			buf = buf[:0]
		}
	}
	if len(buf) > 0 {
		dst = append(dst, xxh3.Hash(buf))
	}
	return dst, buf
}

// ngramHash hashes the word hashes w in order.
func ngramHash(w []uint64) uint64 {
	h := uint64(len(w)) * splitmix.Gamma
	for _, x := range w {
		h = splitmix.Mix(h ^ x)
	}
	return h
}
