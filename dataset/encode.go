package dataset

import (
	"fmt"
	"strings"

	"leolm/chat"
	"leolm/checkpoint"
	"leolm/tokenizer"
)

// encoder turns dialogues into ids and roles. Safe for concurrent use.
type encoder struct {
	plain    *tokenizer.Tokenizer // what the file holds
	megatron *tokenizer.Tokenizer // with LeoLM's added tokens; nil if the file has its own
	template *chat.Template       // nil: ChatML cut into turns
	exact    bool                 // user text may become control tokens, as in the original
	start    int32
	end      int32
}

func newEncoder(m *Mix) (*encoder, error) {
	tok, err := checkpoint.OpenTokenizer(m.path(m.Tokenizer), tokenizer.Options{})
	if err != nil {
		return nil, err
	}
	e := &encoder{plain: tok, exact: m.Preset == presetLeoLM}
	_, has := tok.ID(imStart)
	if e.exact || m.Template == "" && !has {
		// LeoLM's own way: the special tokens are not in the model's file but
		// get the ids behind it.
		if e.megatron, err = tokenizer.Megatron(tok, imStart, imEnd); err != nil {
			return nil, fmt.Errorf("%s: preset leolm and vocabularies without %s: %w", m.Tokenizer, imStart, err)
		}
		e.start, _ = e.megatron.ID(imStart)
		e.end, _ = e.megatron.ID(imEnd)
		return e, nil
	}
	name := m.Template
	if name == "" {
		name = "training"
	}
	if e.template, err = chat.FindTemplate(name); err != nil {
		return nil, err
	}
	if e.template.ChatML() && !has {
		return nil, fmt.Errorf("%s: the vocabulary has no %s, which template %s needs; leave template: out to add it as LeoLM did", m.Tokenizer, imStart, name)
	}
	return e, nil
}

// tok is the tokenizer whose ids are written.
func (e *encoder) tok() *tokenizer.Tokenizer {
	if e.megatron != nil {
		return e.megatron
	}
	return e.plain
}

// encode appends the dialogue's ids and roles.
func (e *encoder) encode(d *Dialogue, ids []int32, roles []uint8) ([]int32, []uint8, error) {
	if e.template != nil {
		got, who, err := e.template.Encode(e.plain, d.messages(), chat.Options{})
		if err != nil {
			return ids, roles, err
		}
		ids = append(ids, got...)
		for _, r := range who {
			roles = append(roles, uint8(r))
		}
		return ids, roles, nil
	}
	var b strings.Builder
	d.each(func(role chat.Role, text *string) {
		b.Reset()
		if e.exact {
			b.WriteString(imStart)
			b.WriteString(role.String())
			b.WriteByte('\n')
			b.WriteString(*text)
			b.WriteString(imEnd)
			b.WriteByte('\n')
			ids = e.megatron.AppendTokens(ids, b.String())
		} else {
			// The same, but text stays text: the plain tokenizer has no
			// control token to find in it.
			b.WriteString(role.String())
			b.WriteByte('\n')
			b.WriteString(*text)
			ids = append(ids, e.start)
			ids = e.plain.AppendTokens(ids, b.String())
			ids = append(ids, e.end)
			ids = e.plain.AppendTokens(ids, "\n")
		}
		for len(roles) < len(ids) {
			roles = append(roles, uint8(role))
		}
	})
	return ids, roles, nil
}

// specials are the control tokens with their ids, in the order of Megatron's
// tokenizer for its own, else by id.
func (e *encoder) specials() (names []string, ids []int32) {
	if e.megatron == nil {
		for _, id := range e.plain.Specials() {
			names = append(names, e.plain.Piece(id))
			ids = append(ids, id)
		}
		return names, ids
	}
	pad := "<PAD>"
	if id := e.plain.PAD(); id >= 0 {
		pad = e.plain.Piece(id)
	}
	for _, name := range []string{"<CLS>", "<SEP>", "<EOD>", "<MASK>", pad, e.plain.Piece(e.plain.BOS()), e.plain.Piece(e.plain.EOS()), imStart, imEnd} {
		if id, ok := e.megatron.ID(name); ok {
			names = append(names, name)
			ids = append(ids, id)
		}
	}
	return names, ids
}
