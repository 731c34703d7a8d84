package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"leolm/chat"
	"leolm/checkpoint"
	"leolm/dataset/shard"
	"leolm/internal/bounded"
	"leolm/tokenizer"
)

// encoder turns dialogues into ids and roles. Safe for concurrent use.
type encoder struct {
	files    checkpoint.TokenizerFiles // of the ids that are written
	tok      *tokenizer.Tokenizer      // of files
	exact    *tokenizer.Tokenizer      // preset leolm: text of users may become control tokens, as in the original; else nil
	template *chat.Template
	ends     []string // BOS and EOS of the mix's tokenizer
	added    []string // tokens that it lacked

	fingerprint string // of tok
}

func newEncoder(m *Mix) (*encoder, error) {
	path := m.path(m.Tokenizer)
	e := &encoder{}
	var err error
	if e.files, err = checkpoint.ReadTokenizerFiles(path); err != nil {
		return nil, err
	}
	if e.tok, err = e.files.Open(path, tokenizer.Options{}); err != nil {
		return nil, err
	}
	for _, id := range []int32{e.tok.BOS(), e.tok.EOS()} {
		if id >= 0 {
			e.ends = append(e.ends, e.tok.Piece(id))
		}
	}
	if e.template, err = m.template(e.tok); err != nil {
		return nil, err
	}
	_, has := e.tok.ID(checkpoint.ChatMarkers[0])
	switch {
	case m.Preset == presetLeoLM:
		if e.exact, err = tokenizer.Megatron(e.tok, checkpoint.ChatMarkers...); err != nil {
			return nil, fmt.Errorf("%s: preset leolm: %w", m.Tokenizer, err)
		}
		for id := e.tok.Vocab(); id < e.exact.Vocab(); id++ {
			e.added = append(e.added, e.exact.Piece(int32(id)))
		}
	case m.Template == "" && !has:
		e.added = checkpoint.MissingChatTokens(e.tok, e.files.SentencePiece())
	}
	if len(e.added) > 0 {
		// The special tokens are not in the model's file but get the ids behind it, LeoLM's own way.
		if e.files, err = e.files.Grow(path, e.added); err != nil {
			return nil, err
		}
		if e.tok, err = e.files.Open(path, tokenizer.Options{}); err != nil {
			return nil, err
		}
		has = true
	}
	if e.template.ChatML() && !has {
		return nil, fmt.Errorf("%s: the vocabulary has no %s, which template %s needs; leave template: out to add it as LeoLM did", m.Tokenizer, checkpoint.ChatMarkers[0], e.template.Name())
	}
	e.fingerprint = e.tok.Fingerprint()
	return e, nil
}

// trainingTemplate is what a mix without a template gets.
const trainingTemplate = "training"

// template is the mix's template: a name, a file, or Jinja text.
func (m *Mix) template(tok *tokenizer.Tokenizer) (*chat.Template, error) {
	name := m.Template
	if name == "" {
		name = trainingTemplate
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
	b, err := bounded.Regular(path, 64<<20)
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

// encode appends the dialogue's ids and roles. text is what the template wrote.
func (e *encoder) encode(d *Dialogue, ids []int32, roles []uint8) (_ []int32, _ []uint8, text string, err error) {
	msgs, muted := d.messages()
	if e.template.Name() == trainingTemplate {
		if err := plainOnly(msgs, d.Tools); err != nil {
			return ids, roles, "", err
		}
	}
	tok := e.tok
	if e.exact != nil {
		tok = e.exact
	}
	got, err := encodeWhole(e.template, tok, msgs, d.Tools)
	if err != nil {
		return ids, roles, "", err
	}
	return append(ids, got.IDs...), append(roles, LossRoles(got, muted)...), got.Rendered.Text, nil
}

// Encode turns a conversation into a sample. No token of a muted message carries
// loss; muted has an entry for each message, or is nil. A conversation of which
// the template leaves something out is an error.
func Encode(t *chat.Template, tok chat.Tokenizer, msgs []chat.Message, muted []bool, tools []json.RawMessage) (shard.Sample, error) {
	got, err := encodeWhole(t, tok, msgs, tools)
	if err != nil {
		return shard.Sample{}, err
	}
	return shard.Sample{IDs: got.IDs, Roles: LossRoles(got, muted)}, nil
}

// LossRoles are the roles of an encoded conversation as shards hold them: where
// the template marks what is generated, that alone is the assistant's, and no
// token of a muted message carries loss. Muted has an entry for each message, or
// is nil.
func LossRoles(e *chat.Encoded, muted []bool) []uint8 {
	roles := make([]uint8, len(e.IDs))
	for i, r := range e.Roles {
		roles[i] = uint8(r)
		if e.Generation != nil {
			if e.Generation[i] {
				roles[i] = roleAssistant
			} else if r == chat.Assistant {
				roles[i] |= shard.Frame
			}
		}
		if m := e.Messages[i]; m >= 0 && muted != nil && muted[m] {
			roles[i] |= shard.Muted
		}
	}
	return roles
}

func encodeWhole(t *chat.Template, tok chat.Tokenizer, msgs []chat.Message, tools []json.RawMessage) (*chat.Encoded, error) {
	got, err := t.EncodeAll(tok, msgs, chat.Options{Tools: tools})
	if err != nil {
		return nil, err
	}
	return got, complete(got.Rendered, msgs, tools)
}

// plainOnly refuses what the ChatML of LeoLM's training has no place for.
func plainOnly(msgs []chat.Message, tools []json.RawMessage) error {
	const other = "LeoLM's ChatML has no place for %s; name a template that has (template:)"
	for i, m := range msgs {
		if len(m.ToolCalls) > 0 {
			return fmt.Errorf("message %d calls the tool %s: "+other, i+1, m.ToolCalls[0].Name, "calls")
		}
		if m.Reasoning != "" {
			return fmt.Errorf("message %d has reasoning_content: "+other, i+1, "it")
		}
	}
	if len(tools) > 0 {
		name, _ := toolName(tools[0])
		return fmt.Errorf("the tool %s is described: "+other+`, or leave tools out (columns: {tools: ""})`, name, "tools")
	}
	return nil
}

// complete tells what of a conversation a template left out: to train an answer
// without what it answers teaches to make things up. Reasoning is the template's
// to keep or to drop.
func complete(r *chat.Rendered, msgs []chat.Message, tools []json.RawMessage) error {
	written := make([]strings.Builder, len(msgs)+1) // the last: of no message
	at := 0
	for _, s := range r.Segments {
		if !s.Trusted {
			i := s.Message
			if i < 0 {
				i = len(msgs)
			}
			written[i].WriteString(r.Text[at:s.End])
		}
		at = s.End
	}
	for i, m := range msgs {
		if strings.TrimSpace(m.Content) != "" && written[i].Len() == 0 {
			return fmt.Errorf("the template does not write message %d, the %s's", i+1, m.Role)
		}
		for _, c := range m.ToolCalls {
			if !strings.Contains(written[i].String(), c.Name) {
				return fmt.Errorf("the template does not write the call of the tool %s in message %d; use one that knows tool_calls", c.Name, i+1)
			}
		}
	}
	for _, tool := range tools {
		if name, _ := toolName(tool); !strings.Contains(written[len(msgs)].String(), name) {
			return fmt.Errorf(`the template does not write the description of the tool %s; use one that knows tools, or leave them out (columns: {tools: ""})`, name)
		}
	}
	return nil
}

// specials are the control tokens with their ids: in the order of Megatron's
// tokenizer where it added some, else by id.
func (e *encoder) specials() (names []string, ids []int32) {
	if e.exact == nil && len(e.added) == 0 {
		for _, id := range e.tok.Specials() {
			names = append(names, e.tok.Piece(id))
			ids = append(ids, id)
		}
		return names, ids
	}
	pad := "<PAD>"
	if id := e.tok.PAD(); id >= 0 {
		pad = e.tok.Piece(id)
	}
	for _, name := range slices.Concat([]string{"<CLS>", "<SEP>", "<EOD>", "<MASK>", pad}, e.ends, checkpoint.ChatMarkers) {
		if id, ok := e.tok.ID(name); ok {
			names = append(names, name)
			ids = append(ids, id)
		}
	}
	return names, ids
}
