package tokenizer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
)

// Fingerprint identifies what this tokenizer's ids mean, whatever file it was read from: two tokenizers with one
// fingerprint can stand for each other between data, training and use. It is "t1-" and half of a SHA-256 over
//
//   - every id below Vocab with its piece, except padding, and
//   - the ids of a fixed set of texts: spaces, line breaks, digits, German, other scripts, emoji, one text per piece
//     (a sample of a large vocabulary), and each control token between words, typed by a user and written by a template.
//
// Files of different formats order their merges or scores differently and yet agree; that is why the ids of texts are
// compared and not the files. BOS, EOS and whether they are added are not part of it: they are not ids of text.
func (t *Tokenizer) Fingerprint() string {
	p := prober{t: t.quoting(), hash: sha256.New()}
	for id := range t.pieces {
		if t.kinds[id] != Unused && t.pieces[id] != "" {
			p.number(id)
			p.text(t.pieces[id])
		}
	}
	for _, text := range probeTexts {
		p.encode(text, false)
	}
	step := (len(t.pieces) + maxPieceProbes - 1) / maxPieceProbes
	for id := 0; id < len(t.pieces); id += max(step, 1) {
		if t.kinds[id] == Normal {
			p.encode(t.Decode([]int32{int32(id)}, false), false)
		}
	}
	for _, id := range t.Specials() {
		if t.kinds[id] == Control && t.pieces[id] != "" {
			text := "a" + t.pieces[id] + "b c" + t.pieces[id] + "\n"
			p.encode(text, true)
			p.encode(text, false)
		}
	}
	return "t1-" + hex.EncodeToString(p.hash.Sum(nil)[:16])
}

// maxPieceProbes bounds the texts made of pieces.
const maxPieceProbes = 4096

// probeTexts are texts that common vocabularies cut differently. Changing them changes every fingerprint.
var probeTexts = []string{
	"Hello world", " leading", "trailing ", "  two  three   ", "\n", "\n\n \n\t\tx", "a\r\nb", "\u00a0x\u2028y",
	"0 1 12 123 1234 12345 3.14 1,000 2^10", "Äpfel, Öl und Übermut: größer als „ß“ – nämlich 5 €!",
	"Donaudampfschifffahrtsgesellschaftskapitän", "I'll we've they're CAN'T don't", "e\u0301 \u00e9 ﬁ Ⅷ ½",
	"русский 中文 日本語 한국어 العربية हिन्दी", "🙂👩‍🚀🏳️‍🌈", "func main() { x := a[i]->b != nil }\n", "▁▁x ▁", "<0x0A> </p> <|x|> [y]",
	"user\nHallo", "system\nDu bist hilfreich.\n",
}

// prober hashes what a tokenizer makes of texts.
type prober struct {
	t    *Tokenizer
	hash hash.Hash
	buf  []byte
	ids  []int32
	offs []int32
}

func (p *prober) number(n int) {
	p.buf = binary.AppendVarint(p.buf[:0], int64(n))
	p.hash.Write(p.buf)
}

func (p *prober) text(s string) {
	p.number(len(s))
	p.hash.Write([]byte(s))
}

func (p *prober) encode(text string, trusted bool) {
	var spans []Span
	if trusted {
		spans = []Span{{0, len(text)}}
	}
	p.ids, p.offs = p.t.EncodeTrusted(p.ids[:0], p.offs[:0], text, spans)
	p.number(len(p.ids))
	for _, id := range p.ids {
		p.number(int(id))
	}
}

// quoting returns t with control tokens kept out of text.
func (t *Tokenizer) quoting() *Tokenizer {
	if !t.anywhere {
		return t
	}
	q := *t
	q.anywhere, q.pool = false, new(scratches)
	return &q
}

// Extends reports whether every id of base means the same in t, which may have more ids: what was made with base can
// be read with t. why says what differs, for a person to read.
func (t *Tokenizer) Extends(base *Tokenizer) (ok bool, why string) {
	for id := range base.pieces {
		if base.kinds[id] == Unused || base.pieces[id] == "" {
			continue
		}
		if got := t.Piece(int32(id)); got != base.pieces[id] {
			return false, describeDifference(int32(id), base.pieces[id], got)
		}
	}
	a, b := prober{t: base.quoting()}, prober{t: t.quoting()}
	for _, text := range probeTexts {
		if !a.same(&b, text) {
			return false, describeText(text)
		}
	}
	step := (len(base.pieces) + maxPieceProbes - 1) / maxPieceProbes
	for id := 0; id < len(base.pieces); id += max(step, 1) {
		if base.kinds[id] != Normal {
			continue
		}
		if text := base.Decode([]int32{int32(id)}, false); !a.same(&b, text) {
			return false, describeText(text)
		}
	}
	return true, ""
}

func (p *prober) same(q *prober, text string) bool {
	p.ids, p.offs = p.t.EncodeTrusted(p.ids[:0], p.offs[:0], text, nil)
	q.ids, q.offs = q.t.EncodeTrusted(q.ids[:0], q.offs[:0], text, nil)
	return slices.Equal(p.ids, q.ids)
}

func describeDifference(id int32, want, got string) string {
	if got == "" {
		return fmt.Sprintf("id %d is %q in one and missing in the other", id, want)
	}
	return fmt.Sprintf("id %d is %q in one and %q in the other", id, want, got)
}

func describeText(text string) string {
	return fmt.Sprintf("the text %q has different ids", text)
}
