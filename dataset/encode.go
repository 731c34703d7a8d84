package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	if e.template, err = m.template(tok); err != nil {
		return nil, err
	}
	if e.template.ChatML() && !has {
		return nil, fmt.Errorf("%s: the vocabulary has no %s, which template %s needs; leave template: out to add it as LeoLM did", m.Tokenizer, imStart, e.template.Name())
	}
	return e, nil
}

// template is the mix's template: a name, a file, or Jinja text.
func (m *Mix) template(tok *tokenizer.Tokenizer) (*chat.Template, error) {
	name := m.Template
	if name == "" {
		name = "training"
	}
	source := name
	if !strings.Contains(name, "{{") && !strings.Contains(name, "{%") {
		t, err := chat.FindTemplate(name)
		if err == nil {
			return t, nil
		}
		if source, err = readTemplate(m.path(name)); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("template: %s is neither a file (%s) nor one of %s, and Jinja text has {{ or {%% in it", name, m.path(name), strings.Join(chat.TemplateNames(), ", "))
		} else if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
	}
	special := map[string]string{}
	for name, id := range map[string]int32{"bos_token": tok.BOS(), "eos_token": tok.EOS(), "unk_token": tok.UNK(), "pad_token": tok.PAD()} {
		if id >= 0 {
			special[name] = tok.Piece(id)
		}
	}
	t, err := chat.NewJinja(source, special)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return t, nil
}

// readTemplate reads a Jinja file, or the chat_template of a
// tokenizer_config.json or chat_template.json.
func readTemplate(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(strings.ToLower(path), ".json") {
		return string(b), err
	}
	var file struct {
		ChatTemplate json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return "", fmt.Errorf("%s: not valid JSON: %w", path, err)
	}
	var one string
	if json.Unmarshal(file.ChatTemplate, &one) == nil && one != "" {
		return one, nil
	}
	var named []struct{ Name, Template string }
	if json.Unmarshal(file.ChatTemplate, &named) == nil {
		for _, t := range named {
			if t.Name == "default" {
				return t.Template, nil
			}
		}
	}
	return "", fmt.Errorf("%s: has no chat_template (a text, or a list with one named default)", path)
}

// tok is the tokenizer whose ids are written.
func (e *encoder) tok() *tokenizer.Tokenizer {
	if e.megatron != nil {
		return e.megatron
	}
	return e.plain
}

// encode appends the dialogue's ids and roles. text is what a template wrote.
func (e *encoder) encode(d *Dialogue, ids []int32, roles []uint8) (_ []int32, _ []uint8, text string, err error) {
	if e.template != nil {
		got, err := e.template.EncodeAll(e.plain, d.messages(), chat.Options{})
		if err != nil {
			return ids, roles, "", err
		}
		ids = append(ids, got.IDs...)
		for _, r := range got.Roles {
			roles = append(roles, uint8(r))
		}
		return ids, roles, got.Rendered.Text, nil
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
	return ids, roles, "", nil
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
