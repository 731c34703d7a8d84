package chat

import (
	"fmt"
	"maps"
	"slices"

	"leolm/tokenizer"
)

// Tokenizer is what encoding needs of a tokenizer; *tokenizer.Tokenizer implements it.
type Tokenizer interface {
	// EncodeTrusted appends the ids of text to dst and the byte offset where
	// each begins to offs. Special tokens count only inside trusted ranges.
	EncodeTrusted(dst, offs []int32, text string, trusted []tokenizer.Span) ([]int32, []int32)
	// ID returns the id of a piece, if the vocabulary has it.
	ID(piece string) (int32, bool)
	Piece(id int32) string
	// BOS and EOS are ids, negative if there is none.
	BOS() int32
	EOS() int32
	// AddBOS reports whether the tokenizer's configuration asks for BOS.
	AddBOS() bool
}

// Encoded is a conversation as ids.
type Encoded struct {
	IDs   []int32
	Roles []Role
	// Messages has the index of each id's message, -1 for markup outside any.
	Messages []int32
	// Generation marks the ids that begin inside {% generation %} blocks: the
	// loss mask that the template's author intended. It is nil if the template
	// has no such blocks ([Template.HasGeneration]), and all false if it has
	// some but this conversation reaches none.
	Generation []bool
	Rendered   *Rendered
}

// Encode renders the conversation and returns its ids and the role of each,
// which is the role of the byte where the token begins. In the ChatML
// renderings the header <|im_start|>assistant\n and the end <|im_end|>\n
// belong to the turn's role, as in LeoLM's training data.
func (t *Template) Encode(tok Tokenizer, msgs []Message, opts Options) (ids []int32, roles []Role, err error) {
	e, err := t.EncodeAll(tok, msgs, opts)
	if err != nil {
		return nil, nil, err
	}
	return e.IDs, e.Roles, nil
}

// EncodeAll is Encode with everything that is known about each id.
func (t *Template) EncodeAll(tok Tokenizer, msgs []Message, opts Options) (*Encoded, error) {
	r, err := t.Render(msgs, opts)
	if err != nil {
		return nil, err
	}
	ids, offs := tok.EncodeTrusted(nil, nil, r.Text, r.Trusted())
	if len(ids) != len(offs) {
		return nil, fmt.Errorf("chat: tokenizer gave %d ids but %d offsets", len(ids), len(offs))
	}
	bos := t.bos(tok, ids, opts.BOS)
	if bos >= 0 {
		ids = append([]int32{bos}, ids...)
		offs = append([]int32{0}, offs...)
	}
	e := &Encoded{IDs: ids, Roles: make([]Role, len(ids)), Messages: make([]int32, len(ids)), Rendered: r}
	if t.HasGeneration() {
		e.Generation = make([]bool, len(ids))
	}
	seg, gen := 0, 0
	for i, off := range offs {
		// Offsets ascend, so one pass over the segments is enough.
		for seg < len(r.Segments)-1 && r.Segments[seg].End <= int(off) {
			seg++
		}
		if seg < len(r.Segments) {
			e.Roles[i], e.Messages[i] = r.Segments[seg].Role, int32(r.Segments[seg].Message)
		} else {
			e.Messages[i] = -1
		}
		for gen < len(r.Generation) && r.Generation[gen].End <= int(off) {
			gen++
		}
		if gen < len(r.Generation) && r.Generation[gen].Start <= int(off) {
			e.Generation[i] = true
		}
	}
	if bos >= 0 { // it precedes the first message, whatever begins at offset 0
		e.Roles[0], e.Messages[0] = System, -1
	}
	return e, nil
}

// bos returns the id to put in front of ids, or -1.
func (t *Template) bos(tok Tokenizer, ids []int32, policy BOSPolicy) int32 {
	id := tok.BOS()
	if id < 0 || policy == BOSNever || len(ids) > 0 && ids[0] == id {
		return -1
	}
	if policy == BOSAuto && (t.isML || !tok.AddBOS()) {
		return -1
	}
	if t.isML && tok.Piece(id) == imStart {
		return -1
	}
	return id
}

// StopIDs returns the ids that end an answer: the template's end markers that the
// vocabulary has as one token, and the tokenizer's EOS. LeoLM's config names
// only one of </s> and <|im_end|>; both must stop (docs/leolm.md#model-files).
func (t *Template) StopIDs(tok Tokenizer) []int32 {
	var ids []int32
	add := func(id int32, ok bool) {
		if ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, s := range t.ends {
		add(tok.ID(s))
	}
	for _, s := range t.eos {
		add(tok.ID(s))
	}
	eos := tok.EOS()
	add(eos, eos >= 0)
	return ids
}

// StopStrings returns the texts that end an answer where no single token does:
// end markers that the vocabulary lacks, and headings of text-only templates.
func (t *Template) StopStrings(tok Tokenizer) []string {
	var out []string
	for _, s := range t.ends {
		if _, ok := tok.ID(s); !ok {
			out = append(out, s)
		}
	}
	return append(out, t.texts...)
}

// MissingMarkers returns the template's special tokens (ends of turns, and what it takes for the beginning and the end of a
// text) that the vocabulary lacks: what it writes in their place is ordinary text.
func (t *Template) MissingMarkers(tok Tokenizer) []string {
	var out []string
	for _, s := range slices.Concat(t.ends, slices.Sorted(maps.Values(t.special))) {
		if _, ok := tok.ID(s); !ok && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
