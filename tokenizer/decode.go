package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// decoding is how ids become text.
type decoding struct {
	// surface[id] is the token's text; of byte tokens, their bytes.
	surface []string
	// bytes[id] says that the surface is bytes which may be part of a character.
	bytes []bool
	// lead is how spaces at the beginning are dropped.
	lead leadRule
	// replaceRun: one broken byte breaks a whole run of byte tokens, as Hugging
	// Face's ByteFallback does it; else each byte stands for itself.
	replaceRun bool
	// maximal: a broken sequence becomes one U+FFFD per maximal part, as for
	// byte-level vocabularies; else one per byte.
	maximal bool
	special []bool // left out when control tokens are to be skipped
}

type leadRule uint8

const (
	leadKeep       leadRule = iota
	leadPiece               // one "▁" of the first piece with text (SentencePiece)
	leadAllPiece            // of every piece until there is text (remove_extra_whitespaces)
	leadText                // one space at the start of the text (Hugging Face's Strip)
	leadFirstToken          // every space of the first token (Hugging Face's Metaspace)
)

// extend returns a decoding that knows the tokens added to t.
func (d decoding) extend(t *Tokenizer) decoding {
	d.surface, d.bytes, d.special = slices.Clone(d.surface), slices.Clone(d.bytes), slices.Clone(d.special)
	for len(d.surface) < len(t.pieces) {
		d.surface = append(d.surface, "")
		d.bytes = append(d.bytes, false)
		d.special = append(d.special, false)
	}
	for _, a := range t.added {
		d.surface[a.id] = a.text
		d.special[a.id] = a.kind == Control
	}
	return d
}

// Decode returns the text of ids. skipControl leaves control tokens out, as
// SentencePiece always does and Hugging Face does with skip_special_tokens; else
// they appear as they are written. Ids that stand for nothing are left out.
// Bytes that form no character become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipControl bool) string {
	d := Decoder{t: t, skip: skipControl, whole: true}
	buf := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		buf = d.Append(buf, id)
	}
	return string(d.Flush(buf))
}

// Decoder decodes a stream of ids. What it returns is final: bytes that don't
// make a character yet are held back.
type Decoder struct {
	t       *Tokenizer
	skip    bool
	whole   bool // everything is to come at once: hold whole runs of bytes back
	started bool // text has been written
	sawLead bool
	pending []byte
}

// NewDecoder returns a decoder at the beginning of a text. skipControl as in
// Decode.
func (t *Tokenizer) NewDecoder(skipControl bool) *Decoder {
	return &Decoder{t: t, skip: skipControl}
}

// ContinueDecoder returns a decoder of what follows before: its text, put
// after that of before, is the text of all ids decoded together. A blank that
// begins a text is not dropped from a continuation.
func (t *Tokenizer) ContinueDecoder(before []int32, skipControl bool) *Decoder {
	d := t.NewDecoder(skipControl)
	var text []byte
	for _, id := range before {
		text = d.Append(text[:0], id)
	}
	return d
}

// Append appends to dst the text that is certain once id has come.
func (d *Decoder) Append(dst []byte, id int32) []byte {
	c := &d.t.dec
	if uint(id) >= uint(len(c.surface)) {
		return dst
	}
	if c.special[id] {
		if d.skip {
			// SentencePiece ends a run of bytes here; joining them over a token
			// that isn't shown is what Hugging Face does.
			if c.lead == leadPiece || c.lead == leadAllPiece {
				dst = d.flushBytes(dst, true)
			}
			return dst
		}
	}
	text := c.surface[id]
	if c.bytes[id] {
		if len(d.pending) == 0 && utf8.ValidString(text) && !c.replaceRun {
			return d.write(dst, text, false)
		}
		d.pending = append(d.pending, text...)
		if d.whole && c.replaceRun {
			return dst
		}
		return d.flushBytes(dst, false)
	}
	dst = d.flushBytes(dst, true)
	return d.write(dst, text, !c.special[id] && d.t.kinds[id] != Unknown)
}

// write appends text, minus what the beginning of the whole text loses.
func (d *Decoder) write(dst []byte, text string, piece bool) []byte {
	if d.started {
		return append(dst, text...)
	}
	switch d.t.dec.lead {
	case leadPiece:
		if piece && !d.sawLead && strings.HasPrefix(text, " ") {
			text = text[1:]
			d.sawLead = true
		}
	case leadAllPiece:
		if piece {
			text = strings.TrimPrefix(text, " ")
		}
	case leadFirstToken:
		text = strings.ReplaceAll(text, " ", "")
		d.started = true
	case leadText:
		if text != "" {
			text = strings.TrimPrefix(text, " ")
			d.started = true
		}
	}
	if text != "" || d.sawLead {
		d.started = true
	}
	return append(dst, text...)
}

// flushBytes writes the characters that the pending bytes make; an incomplete
// one at the end stays unless this is the end of the run.
func (d *Decoder) flushBytes(dst []byte, end bool) []byte {
	b := d.pending
	if len(b) == 0 {
		return dst
	}
	c := &d.t.dec
	if d.whole && c.replaceRun && end && !utf8.Valid(b) {
		for range b {
			dst = d.write(dst, "\uFFFD", false)
		}
		d.pending = b[:0]
		return dst
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r != utf8.RuneError || n > 1 {
			dst = d.write(dst, bstring(b[:n]), false)
			b = b[n:]
			continue
		}
		if !end && !utf8.FullRune(b) {
			break
		}
		if c.maximal {
			n = brokenPrefix(b)
		}
		dst = d.write(dst, "\uFFFD", false)
		b = b[n:]
	}
	d.pending = append(d.pending[:0], b...)
	return dst
}

// brokenPrefix returns the length of the maximal part of a broken character at
// the start of b (Unicode 3.9, U+FFFD substitution of maximal subparts).
func brokenPrefix(b []byte) int {
	lo, hi, need := byte(0x80), byte(0xBF), 0
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c >= 0xE0 && c <= 0xEF:
		need = 2
		if c == 0xE0 {
			lo = 0xA0
		} else if c == 0xED {
			hi = 0x9F
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 3
		if c == 0xF0 {
			lo = 0x90
		} else if c == 0xF4 {
			hi = 0x8F
		}
	}
	n := 1
	for n <= need && n < len(b) && b[n] >= lo && b[n] <= hi {
		lo, hi = 0x80, 0xBF
		n++
	}
	return n
}

// Flush ends the text: what was held back comes out as U+FFFD. The decoder is at
// the beginning of a new text afterwards.
func (d *Decoder) Flush(dst []byte) []byte {
	dst = d.flushBytes(dst, true)
	d.started, d.sawLead = false, false
	d.pending = d.pending[:0]
	return dst
}
