package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// FromSentencePiece makes a tokenizer of a SentencePiece model file (BPE or
// unigram).
func FromSentencePiece(data []byte, opt Options) (*Tokenizer, error) {
	return fromSentencePiece(data, opt, false)
}

// fromSentencePiece is FromSentencePiece; noPrefix says that text gets no space in front
// though the model asks for one.
func fromSentencePiece(data []byte, opt Options, noPrefix bool) (*Tokenizer, error) {
	m, err := parseSPModel(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: SentencePiece model: %w", err)
	}
	m.noPrefix = noPrefix
	t, err := fromSPModel(m, opt, false)
	if err != nil {
		return nil, err
	}
	role := func(name string) int32 {
		if id, ok := t.index[name]; ok && t.kinds[id] == Control {
			return id
		}
		return -1
	}
	t.bos, t.eos, t.pad = role(m.bosPiece), role(m.eosPiece), role(m.padPiece)
	t.addBOS = t.bos >= 0
	return t, nil
}

// fromSPModel builds the engine. gguf says that ids and kinds come from a GGUF
// file, which is more lenient about them.
func fromSPModel(m *spModel, opt Options, gguf bool) (*Tokenizer, error) {
	if m.modelType != modelBPE && m.modelType != modelUnigram {
		return nil, fmt.Errorf("tokenizer: SentencePiece model of type %d: Leo reads unigram (1) and BPE (2)", m.modelType)
	}
	texts := make([]string, len(m.pieces))
	for i, p := range m.pieces {
		texts[i] = p.text
	}
	t := newTokenizer(texts, opt)
	bytes, err := t.readPieces(m, gguf)
	if err != nil {
		return nil, err
	}
	e, err := t.spEncoder(m, opt, gguf, bytes)
	if err != nil {
		return nil, err
	}
	t.engine = e
	converted := opt.Legacy == LegacyOff && (!gguf || m.converted) && m.modelType == modelBPE && bytes != nil && len(m.charsmap) == 0 &&
		m.dummyPrefix && !m.removeExtra && m.escape && !m.suffix && e.marks == nil
	if converted {
		if t.engine, err = convertedLlama(m); err != nil {
			return nil, fmt.Errorf("tokenizer: SentencePiece model: %w", err)
		}
	}

	for i, p := range m.pieces {
		switch {
		case p.kind == Control || p.kind == Unknown && gguf:
			t.addToken(addedToken{id: int32(i), text: p.text, kind: Control})
		case p.kind == UserDefined && gguf:
			t.addToken(addedToken{id: int32(i), text: p.text, kind: UserDefined})
		}
	}
	if opt.Specials == SpecialsAnywhere && !gguf {
		// SentencePiece itself never finds control pieces in text.
		t.added = nil
	}
	t.kinds[t.unk] = Unknown
	t.raw = newMatcher(t.added)
	t.dec = m.decoding(converted)
	return t, nil
}

// readPieces takes over the kinds of the pieces, finds the unknown one, and returns the ids
// of the bytes, nil without byte fallback.
func (t *Tokenizer) readPieces(m *spModel, gguf bool) (*[256]int32, error) {
	unk := int32(-1)
	var byteIDs [256]int32
	for i := range byteIDs {
		byteIDs[i] = -1
	}
	seen := make(map[string]bool, len(m.pieces))
	for i, p := range m.pieces {
		t.kinds[i] = p.kind
		if seen[p.text] && !gguf {
			return nil, fmt.Errorf("tokenizer: SentencePiece model: piece %d (%q) is defined twice", i, p.text)
		}
		seen[p.text] = true
		switch p.kind {
		case Unknown:
			if unk >= 0 && !gguf {
				return nil, fmt.Errorf("tokenizer: SentencePiece model: pieces %d and %d are both unknown pieces", unk, i)
			}
			if unk < 0 {
				unk = int32(i)
			}
		case Byte:
			var b byte
			if n, err := fmt.Sscanf(p.text, "<0x%02X>", &b); n != 1 || err != nil || len(p.text) != 6 {
				return nil, fmt.Errorf("tokenizer: piece %d (%q) is said to be a byte but isn't written as one (<0x41>)", i, p.text)
			}
			byteIDs[b] = int32(i)
		}
	}
	if unk < 0 {
		if !gguf {
			return nil, fmt.Errorf("tokenizer: SentencePiece model has no unknown piece")
		}
		unk = 0
	}
	t.unk = unk
	if !m.byteFall {
		return nil, nil
	}
	for b, id := range byteIDs {
		if id < 0 {
			return nil, fmt.Errorf("tokenizer: vocabulary with byte fallback lacks the piece <0x%02X>", b)
		}
	}
	return &byteIDs, nil
}

// form returns how pieces are looked up: with spaces instead of "▁" where the model
// writes them so; false for a piece that no text can produce.
func (m *spModel) form() func(text string) (string, bool) {
	if !m.escape {
		return func(text string) (string, bool) { return text, true }
	}
	return func(text string) (string, bool) {
		if strings.Contains(text, " ") {
			return "", false // spaces are "▁" by the time pieces are looked up
		}
		return strings.ReplaceAll(text, meta, " "), true
	}
}

// spEncoder builds the engine that encodes as SentencePiece does.
func (t *Tokenizer) spEncoder(m *spModel, opt Options, gguf bool, bytes *[256]int32) (*spEngine, error) {
	form := m.form()
	norm, err := newSPNormalizer(m.charsmap)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: SentencePiece model: %w", err)
	}
	dummy := m.dummyPrefix && !m.noPrefix
	norm.dummy, norm.remove, norm.escape, norm.suffix = dummy, m.removeExtra, m.escape, m.suffix

	e := &spEngine{norm: norm, dummy: dummy, firstOnly: opt.Legacy == LegacyOff, unk: t.unk, byteIDs: bytes}
	t.spMarks(m, opt, gguf, e)
	if m.escape {
		e.split = safeSplit(func(yield func(string) bool) {
			for _, p := range m.pieces {
				if p.kind != Normal && p.kind != Unused && (p.kind != UserDefined || m.modelType == modelBPE) {
					continue
				}
				if f, ok := form(p.text); ok && !yield(f) {
					return
				}
			}
		})
	}
	if m.modelType == modelUnigram {
		e.model = newUnigram(m.pieces, form, t.unk, bytes)
		e.marks = nil // they are ordinary pieces with a bonus
	} else {
		b := newSPBPE(m.pieces, form, t.unk, bytes)
		e.model, e.bpe = b, b
	}
	return e, nil
}

// spMarks finds the user-defined pieces, which text yields wherever it contains them.
func (t *Tokenizer) spMarks(m *spModel, opt Options, gguf bool, e *spEngine) {
	form := m.form()
	var markKeys, markForms []string
	var markIDs []int32
	for i := range m.pieces {
		p := &m.pieces[i]
		if p.kind != UserDefined {
			continue
		}
		if markerShaped(p.text) && opt.Specials != SpecialsAnywhere {
			// A chat marker that the file calls user-defined: text must not
			// become one, so that only trusted ranges yield it.
			t.kinds[i] = Control
			p.kind = Control
			continue
		}
		if gguf {
			continue // found in the text as it is, like added tokens: so do llama.cpp and Hugging Face's conversion
		}
		markKeys, markIDs = append(markKeys, p.text), append(markIDs, int32(i))
		f, ok := form(p.text)
		if !ok {
			f = ""
		}
		markForms = append(markForms, f)
	}
	if len(markKeys) > 0 {
		e.norm.marks = newTrie(markKeys, markIDs)
		e.marks = newTrie(markForms, markIDs)
	}
}

// decoding is how ids become text; converted means as Hugging Face does it.
func (m *spModel) decoding(converted bool) decoding {
	n := len(m.pieces)
	dec := decoding{surface: make([]string, n), bytes: make([]bool, n), special: make([]bool, n)}
	switch {
	case converted:
		dec.lead, dec.replaceRun = leadText, true
		if m.noPrefix {
			dec.lead = leadKeep
		}
	case m.removeExtra:
		dec.lead = leadAllPiece
	case m.dummyPrefix && !m.noPrefix:
		dec.lead = leadPiece
	}
	for i, p := range m.pieces {
		dec.surface[i] = strings.ReplaceAll(p.text, meta, " ")
		switch p.kind {
		case Byte:
			var b byte
			if _, err := fmt.Sscanf(p.text, "<0x%02X>", &b); err == nil {
				dec.surface[i], dec.bytes[i] = string([]byte{b}), true
			}
		case Unknown:
			dec.surface[i] = m.unkSurface
		case Control:
			dec.special[i], dec.surface[i] = true, p.text
		}
	}
	return dec
}

// convertedLlama is what Hugging Face makes of a Llama vocabulary for
// legacy=false: BPE by merges instead of scores, which cuts runs of spaces
// differently. The merges of a piece rank by its id, then by the length of their
// left part.
func convertedLlama(m *spModel) (*hfEngine, error) {
	model := &hfModel{Vocab: make(map[string]int32, len(m.pieces)), FuseUnk: true, ByteFallback: true}
	for i, p := range m.pieces {
		model.Vocab[p.text] = int32(i)
	}
	var merges [][2]string
	for _, p := range m.pieces {
		for k := 1; k < len(p.text); k++ {
			if !utf8.RuneStart(p.text[k]) {
				continue
			}
			_, left := model.Vocab[p.text[:k]]
			_, right := model.Vocab[p.text[k:]]
			if left && right {
				merges = append(merges, [2]string{p.text[:k], p.text[k:]})
			}
		}
	}
	c, err := newCharBPE(model, merges, true)
	if err != nil {
		return nil, err
	}
	return &hfEngine{spaces: true, meta: &metaStep{first: !m.noPrefix, never: m.noPrefix}, model: c, split: c.split}, nil
}
