package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is found in the text before anything else happens
// to it, with Hugging Face's flags.
type addedToken struct {
	id   int32
	text string
	kind Kind

	singleWord bool // only where no word character touches it
	lstrip     bool // takes the white space before it
	rstrip     bool // takes the white space after it
	normalized bool // is matched in the normalized text
}

type match struct {
	start, end int
	id         int32
}

// matcher finds added tokens, leftmost first and the longest of those.
type matcher struct {
	tokens []addedToken
	trie   *trie
	meta   bool // spaces stand for "▁", which is not white space
	only   int  // the byte that all tokens begin with, or -1
}

// newMatcher returns nil when there is nothing to find.
func newMatcher(tokens []addedToken) *matcher {
	if len(tokens) == 0 {
		return nil
	}
	keys, values := make([]string, len(tokens)), make([]int32, len(tokens))
	for i, t := range tokens {
		keys[i], values[i] = t.text, int32(i)
	}
	m := &matcher{tokens: tokens, trie: newTrie(keys, values), only: -1}
	for b, first := range m.trie.first {
		if first && m.only >= 0 {
			m.only = -1
			break
		}
		if first {
			m.only = b
		}
	}
	return m
}

// find appends the tokens in text that allowed accepts. A token that isn't
// allowed doesn't hide a shorter one that is.
func (m *matcher) find(dst []match, text string, allowed func(t *addedToken, start, end int) bool) []match {
	from := 0 // end of the last match
	for i := 0; i < len(text); i++ {
		if m.only >= 0 {
			k := strings.IndexByte(text[i:], byte(m.only))
			if k < 0 {
				break
			}
			i += k
		} else if !m.trie.first[text[i]] {
			continue
		}
		var tok *addedToken
		end := 0
		state := int32(0)
		for k := i; k < len(text); k++ {
			if state = m.trie.step(state, text[k]); state < 0 {
				break
			}
			if v := m.trie.cells[state].value; v != noValue && allowed(&m.tokens[v], i, k+1) {
				tok, end = &m.tokens[v], k+1
			}
		}
		if tok == nil {
			continue
		}
		next := end // the search goes on here, even in space that rstrip takes
		if tok.singleWord && (wordBefore(text[:i]) || wordAfter(text[end:])) {
			i = next - 1
			continue
		}
		start := i
		if tok.lstrip {
			for start > from {
				r, n := utf8.DecodeLastRuneInString(text[:start])
				if !m.space(r) || start-n < from {
					break
				}
				start -= n
			}
		}
		if tok.rstrip {
			for end < len(text) {
				r, n := utf8.DecodeRuneInString(text[end:])
				if !m.space(r) {
					break
				}
				end += n
			}
		}
		dst = append(dst, match{start, end, tok.id})
		from = end
		i = next - 1
	}
	return dst
}

func (m *matcher) space(r rune) bool { return unicode.IsSpace(r) && !(m.meta && r == ' ') }

func wordBefore(text string) bool {
	r, n := utf8.DecodeLastRuneInString(text)
	return n > 0 && isWord(r)
}

func wordAfter(text string) bool {
	r, n := utf8.DecodeRuneInString(text)
	return n > 0 && isWord(r)
}

// isWord is \w of Unicode's regular expressions (UTS 18).
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control)
}
