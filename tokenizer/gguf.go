package tokenizer

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// GGUFVocab holds the tokenizer.ggml.* values of a GGUF file. Package checkpoint
// fills it, with llama.cpp's defaults for absent keys.
type GGUFVocab struct {
	Model  string    // tokenizer.ggml.model: "llama" (SentencePiece BPE) or "gpt2" (byte-level BPE)
	Pre    string    // tokenizer.ggml.pre: the pre-tokenizer of a gpt2 model
	Tokens []string  // one per id
	Scores []float32 // llama: one per id
	Types  []int32   // one per id, values of Kind; nil: all normal
	Merges []string  // gpt2: "left right", best first

	BOS, EOS, UNK, PAD int // -1 where the file names none

	AddBOS         bool // absent: true for llama, false for gpt2
	AddEOS         bool
	AddSpacePrefix bool // absent: true for llama, false for gpt2
	RemoveExtra    bool // tokenizer.ggml.remove_extra_whitespaces; absent: false
	Charsmap       []byte
	FirstOnly      bool // tokenizer.leo.legacy false: only text at the very beginning gets a "▁" (LegacyOff)
}

// RepairGGUF returns a copy of v's tokens in which the placeholders that
// conversion tools wrote over LeoLM's two chat markers have their names back
// (<dummy32005> is <|im_start|>, <dummy32006> is <|im_end|>), as control tokens,
// and says what it did. A vocabulary without that damage comes back as it is.
func RepairGGUF(v GGUFVocab) (GGUFVocab, []string) {
	names := map[string]string{"<dummy32005>": "<|im_start|>", "<dummy32006>": "<|im_end|>"}
	have := map[string]bool{}
	for _, t := range v.Tokens {
		have[t] = true
	}
	var notes []string
	tokens, types := v.Tokens, v.Types
	for id, t := range v.Tokens {
		name := names[t]
		if name == "" || have[name] {
			continue
		}
		if notes == nil {
			tokens = append([]string(nil), v.Tokens...)
			types = append([]int32(nil), v.Types...)
		}
		tokens[id] = name
		if id < len(types) {
			types[id] = int32(Control)
		}
		notes = append(notes, fmt.Sprintf("token %d is called %s in the file; it is LeoLM's %s and was renamed", id, t, name))
	}
	v.Tokens, v.Types = tokens, types
	return v, notes
}

// FromGGUF makes a tokenizer of a GGUF file's vocabulary, repaired by RepairGGUF.
func FromGGUF(v GGUFVocab, opt Options) (*Tokenizer, error) {
	v, notes := RepairGGUF(v)
	if len(v.Tokens) == 0 {
		return nil, fmt.Errorf("tokenizer: the GGUF vocabulary has no tokens")
	}
	if v.Types != nil && len(v.Types) != len(v.Tokens) {
		return nil, fmt.Errorf("tokenizer: GGUF has %d tokens but %d token types", len(v.Tokens), len(v.Types))
	}
	for i, k := range v.Types {
		if k < 0 || k > 6 {
			return nil, fmt.Errorf("tokenizer: GGUF token %d (%q) has unknown type %d", i, v.Tokens[i], k)
		}
	}
	id := func(i int) int32 {
		if i < 0 || i >= len(v.Tokens) {
			return -1
		}
		return int32(i)
	}
	var t *Tokenizer
	var err error
	switch v.Model {
	case "llama":
		t, err = ggufLlama(v, opt)
	case "gpt2":
		t, err = ggufBPE(v, opt)
	default:
		err = fmt.Errorf("tokenizer: GGUF vocabulary of model %q: Leo reads %q and %q", v.Model, "llama", "gpt2")
	}
	if err != nil {
		return nil, err
	}
	t.notes = append(t.notes, notes...)
	t.bos, t.eos, t.unk, t.pad = id(v.BOS), id(v.EOS), id(v.UNK), id(v.PAD)
	t.addBOS, t.addEOS = v.AddBOS, v.AddEOS
	t.checkBOS()
	return t, nil
}

func (v *GGUFVocab) kind(i int) Kind {
	if v.Types == nil || v.Types[i] == 0 {
		return Normal
	}
	return Kind(v.Types[i])
}

func ggufLlama(v GGUFVocab, opt Options) (*Tokenizer, error) {
	if len(v.Scores) != len(v.Tokens) {
		return nil, fmt.Errorf("tokenizer: GGUF has %d tokens but %d scores", len(v.Tokens), len(v.Scores))
	}
	m := &spModel{
		modelType: modelBPE, unkSurface: " \u2047 ",
		dummyPrefix: v.AddSpacePrefix, removeExtra: v.RemoveExtra, escape: true, charsmap: v.Charsmap,
	}
	if opt.Legacy == LegacyAuto && v.FirstOnly {
		opt.Legacy, m.converted = LegacyOff, true
	}
	var padded []int32
	wrong := false // the file calls some of them tokens
	for i, text := range v.Tokens {
		p := spPiece{text: text, score: v.Scores[i], kind: v.kind(i)}
		if p.score != p.score {
			return nil, fmt.Errorf("tokenizer: GGUF score of token %d (%q) is not a number", i, text)
		}
		switch {
		case p.kind == Byte:
			m.byteFall = true
		case p.kind == Normal && markerShaped(text):
			p.kind = Control // converters of 2023 wrote markers as words
		case padding.MatchString(text):
			wrong = wrong || p.kind != Unused
			p.kind = Control
			padded = append(padded, int32(i))
		}
		m.pieces = append(m.pieces, p)
	}
	if v.UNK >= 0 && v.UNK < len(m.pieces) && m.pieces[v.UNK].kind != Byte {
		m.pieces[v.UNK].kind = Unknown
	}
	t, err := fromSPModel(m, opt, true)
	if err != nil {
		return nil, err
	}
	if len(padded) > 0 {
		// Rows that were never trained: text must not be encoded to them.
		for _, id := range padded {
			t.kinds[id] = Unused
		}
		t.added = slices.DeleteFunc(t.added, func(a addedToken) bool { return t.kinds[a.id] == Unused })
		t.raw = newMatcher(t.added)
		if wrong {
			t.notes = append(t.notes, fmt.Sprintf("tokens %d to %d (%d of them) only fill the vocabulary up; no text becomes one",
				padded[0], padded[len(padded)-1], len(padded)))
		}
	}
	return t, nil
}

// padding are the names that converters give to rows without a token.
var padding = regexp.MustCompile(`^(<dummy\d+>|\[PAD\d+\]|<pad_\d+>)$`)

func ggufBPE(v GGUFVocab, opt Options) (*Tokenizer, error) {
	pre, err := PreTokenizerByName(v.Pre)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: GGUF: %w", err)
	}
	e := &hfEngine{}
	if v.AddSpacePrefix {
		e.pre = append(e.pre, prefixStep{})
	}
	var part hfPart
	if err := json.Unmarshal(pre.JSON, &part); err != nil {
		return nil, err
	}
	if _, err := e.preTokenizers(&part); err != nil {
		return nil, err
	}
	t := newTokenizer(v.Tokens, opt)
	var added []addedToken
	for i, text := range v.Tokens {
		k := v.kind(i)
		if k == Normal && markerShaped(text) {
			k = Control
		}
		t.kinds[i] = k
		if k == Control || k == UserDefined || k == Unknown {
			kind := k
			if markerShaped(text) || k == Unknown {
				kind = Control
			}
			added = append(added, addedToken{id: int32(i), text: text, kind: kind})
		}
	}
	merges := make([][2]string, len(v.Merges))
	for i, m := range v.Merges {
		l, r, ok := strings.Cut(m, " ")
		if !ok || l == "" || r == "" {
			return nil, fmt.Errorf("tokenizer: GGUF merge %d (%q) isn't two pieces", i, m)
		}
		merges[i] = [2]string{l, r}
	}
	vocab := make(map[string]int32, len(v.Tokens))
	for i, text := range v.Tokens {
		vocab[text] = int32(i)
	}
	model, err := newByteBPE(vocab, merges, pre.IgnoreMerges)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: GGUF: %w", err)
	}
	e.model = model
	t.engine = e
	for _, a := range added {
		t.addToken(a)
	}
	t.raw = newMatcher(t.added)
	t.dec = byteLevelDecoding(t, t.pieces)
	return t, nil
}
