package constrain

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"leolm/tokenizer"
)

// FromTokenizer makes the vocabulary of a tokenizer: the bytes that each
// token writes in the middle of a text. stops end an answer.
func FromTokenizer(tok *tokenizer.Tokenizer, stops []int32) *Vocabulary {
	return NewVocabulary(tok.Vocab(), tokenBytes(tok), stops)
}

func tokenBytes(tok *tokenizer.Tokenizer) func(id int32) []byte {
	// A decoder drops a blank at the beginning of a text; a token with plain
	// text in front of the one asked for takes it there.
	first := int32(-1)
	for id := range int32(tok.Vocab()) {
		if text := tok.Decode([]int32{id}, true); tok.Kind(id) == tokenizer.Normal && text != "" && text[0] > ' ' && text[0] < 0x7f {
			first = id
			break
		}
	}
	return func(id int32) []byte {
		switch tok.Kind(id) {
		case tokenizer.Byte:
			if hex, ok := strings.CutPrefix(tok.Piece(id), "<0x"); ok {
				if b, err := strconv.ParseUint(strings.TrimSuffix(hex, ">"), 16, 8); err == nil {
					return []byte{byte(b)}
				}
			}
			return nil
		case tokenizer.Normal, tokenizer.UserDefined:
		default:
			return nil
		}
		d := tok.NewDecoder(true)
		if first >= 0 {
			d.Append(nil, first)
		}
		text := d.Append(nil, id)
		text = d.Flush(text)
		if len(text) > 0 && !bytes.ContainsRune(text, utf8.RuneError) {
			return text
		}
		// Part of a character: a byte-level vocabulary writes such a token in
		// GPT-2's alphabet, one letter for each byte.
		var out []byte
		for _, r := range tok.Piece(id) {
			b, ok := alphabet[r]
			if !ok {
				return text // the token is U+FFFD itself
			}
			out = append(out, b)
		}
		return out
	}
}

// alphabet is the inverse of GPT-2's bytes_to_unicode: printable Latin-1
// stands for itself, the other bytes for the letters from U+0100 on.
var alphabet = func() map[rune]byte {
	m := map[rune]byte{}
	next := rune(0x100)
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			m[rune(b)] = byte(b)
		} else {
			m[next] = byte(b)
			next++
		}
	}
	return m
}()
