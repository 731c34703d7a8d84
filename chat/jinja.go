package chat

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"leolm/internal/jinja"
	"leolm/tokenizer"
)

// The styles of other families, written from scratch; their markers and white
// space are exact.
//
//go:embed templates/*.jinja
var templateFiles embed.FS

// jinjaStyles are the built-in templates: the special tokens that they use, and
// the texts that begin a new turn in those without a marker for the end of one.
var jinjaStyles = map[string]struct {
	special map[string]string
	texts   []string
}{
	"llama2":  {map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, nil},
	"llama3":  {map[string]string{"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, nil},
	"mistral": {map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, nil},
	"zephyr":  {map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, nil},
	"alpaca":  {map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, []string{"### Instruction:"}},
	"vicuna":  {map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, []string{"USER:"}},
	"gemma":   {map[string]string{"bos_token": "<bos>", "eos_token": "<eos>"}, nil},
	"qwen":    {map[string]string{"eos_token": "<|im_end|>"}, nil},
}

// endMarkers are the end-of-turn tokens of published models; those that a
// template's text contains end its answers.
var endMarkers = []string{
	imEnd, "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end_of_turn|>", "<|end|>", "<|return|>", "<|call|>",
	"<|endoftext|>", "<|end_of_text|>", "<|END_OF_TURN_TOKEN|>", "<|eot|>", "<｜end▁of▁sentence｜>", "</s>",
}

// NewJinja parses a checkpoint's chat_template. special has the tokenizer's
// special tokens by the names that templates use: bos_token, eos_token,
// unk_token, pad_token and others.
func NewJinja(source string, special map[string]string) (*Template, error) {
	j, err := jinja.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("chat: chat_template: %w", err)
	}
	t := &Template{name: "jinja", jinja: j, special: maps.Clone(special), source: source}
	text := strings.Join(j.Literals(), "\x00")
	t.isML = strings.Contains(text, imStart)
	for _, m := range endMarkers {
		if strings.Contains(text, m) {
			t.ends = append(t.ends, m)
		}
	}
	if eos := special["eos_token"]; eos != "" {
		t.eos = append(t.eos, eos)
	}
	if t.isML && !slices.Contains(t.eos, "</s>") {
		t.eos = append(t.eos, "</s>")
	}
	return t, nil
}

func newStyle(name string) (*Template, error) {
	s, ok := jinjaStyles[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	source, err := templateFiles.ReadFile("templates/" + name + ".jinja")
	if err != nil {
		return nil, err
	}
	t, err := NewJinja(string(source), s.special)
	if err != nil {
		return nil, err
	}
	t.name, t.texts = name, s.texts
	return t, nil
}

// Origins of text in a rendering: 0 is the template; other is tools, documents
// and variables; each message has two, counted from 1.
const other int32 = -1

func contentOrigin(i int) int32 { return int32(2*i + 1) }
func fieldOrigin(i int) int32   { return int32(2*i + 2) }

func (t *Template) renderJinja(msgs []Message, opts Options) (*Rendered, error) {
	vars := map[string]jinja.Value{"tools": nil, "documents": nil}
	for name, v := range opts.Vars {
		jv, err := jinja.From(v, other)
		if err != nil {
			return nil, fmt.Errorf("chat: template variable %q: %w", name, err)
		}
		vars[name] = jv
	}
	for name, s := range t.special {
		vars[name] = jinja.String(s, 0)
	}
	list := make([]jinja.Value, len(msgs))
	for i, m := range msgs {
		d, err := messageValue(i, m)
		if err != nil {
			return nil, err
		}
		list[i] = d
	}
	vars["messages"] = jinja.NewList(list...)
	for _, part := range []struct {
		name string
		raw  []string
	}{{"tools", rawStrings(opts.Tools)}, {"documents", rawStrings(opts.Documents)}} {
		if len(part.raw) == 0 {
			continue
		}
		var items []jinja.Value
		for i, raw := range part.raw {
			v, err := jinja.FromJSON([]byte(raw), other)
			if err != nil {
				return nil, fmt.Errorf("chat: %s, entry %d: %w", part.name, i, err)
			}
			items = append(items, v)
		}
		vars[part.name] = jinja.NewList(items...)
	}
	now := opts.Now
	if now.IsZero() {
		now = time.Now()
	}
	run := func(generate bool) (*jinja.Output, error) {
		vars["add_generation_prompt"] = generate
		out, err := t.jinja.Render(vars, jinja.DefaultLimits, now)
		if err != nil {
			var e *jinja.Error
			if errors.As(err, &e) && e.Raised {
				return nil, fmt.Errorf("chat: the template %s refuses this conversation: %s", t.name, e.Msg)
			}
			return nil, fmt.Errorf("chat: template %s: %w", t.name, err)
		}
		return out, nil
	}
	out, err := run(opts.AddGenerationPrompt)
	if err != nil {
		return nil, err
	}
	// Whatever add_generation_prompt adds at the end is the generation prompt,
	// wherever the template writes it.
	prompt := len(out.Text.S)
	if opts.AddGenerationPrompt {
		if plain, err := run(false); err == nil {
			if strings.HasPrefix(out.Text.S, plain.Text.S) {
				prompt = len(plain.Text.S)
			}
		}
	}
	return t.resolve(out, msgs, opts, prompt)
}

// resolve turns marks into segments. The text from byte prompt on is the
// generation prompt.
func (t *Template) resolve(out *jinja.Output, msgs []Message, opts Options, prompt int) (*Rendered, error) {
	text := out.Text.S
	marks := out.Text.M
	if marks == nil && text != "" {
		marks = []jinja.Mark{{End: len(text)}}
	}
	var b builder
	role, lastContent := System, -1
	for _, m := range marks {
		start := 0
		if n := len(b.segs); n > 0 {
			start = b.segs[n-1].End
		}
		msg := -1
		switch {
		case m.Origin > 0:
			msg = int(m.Origin-1) / 2
			if m.Origin == contentOrigin(len(msgs)-1) {
				lastContent = m.End
			}
		case m.Tag > 0:
			msg = int(m.Tag - 1)
		}
		if msg >= 0 {
			role = msgs[msg].Role
		}
		if start < prompt {
			b.mark(min(m.End, prompt), m.Origin == 0, role, msg)
		}
		if m.End > prompt {
			b.mark(m.End, m.Origin == 0, Assistant, -1)
		}
	}
	r := &Rendered{Text: text, Segments: b.segs}
	start := 0
	for _, m := range marks {
		if n := len(r.Generation); m.Generation && n > 0 && r.Generation[n-1].End == start {
			r.Generation[n-1].End = m.End
		} else if m.Generation {
			r.Generation = append(r.Generation, tokenizer.Span{Start: start, End: m.End})
		}
		start = m.End
	}
	if opts.ContinueFinal {
		if lastContent < 0 {
			return nil, fmt.Errorf("chat: template %s does not write the last message's text, so it can't be continued", t.name)
		}
		r.cut(lastContent)
	}
	return r, nil
}

func rawStrings[T ~[]byte](in []T) []string {
	out := make([]string, len(in))
	for i, r := range in {
		out[i] = string(r)
	}
	return out
}

// messageValue returns a message as templates see it, in the layout that
// transformers documents.
func messageValue(i int, m Message) (jinja.Value, error) {
	if int(m.Role) >= len(roleWords) {
		return nil, fmt.Errorf("chat: message %d has the unknown role %d", i, uint8(m.Role))
	}
	field := fieldOrigin(i)
	d := jinja.NewDict(int32(i + 1))
	if m.Reasoning != "" {
		// transformers sets both names.
		d.Set("thinking", jinja.String(m.Reasoning, field))
	}
	d.Set("role", jinja.String(m.Role.String(), 0))
	d.Set("content", jinja.String(m.Content, contentOrigin(i)))
	if m.Name != "" {
		d.Set("name", jinja.String(m.Name, field))
	}
	if m.ToolCallID != "" {
		d.Set("tool_call_id", jinja.String(m.ToolCallID, field))
	}
	if len(m.ToolCalls) > 0 {
		var calls []jinja.Value
		for k, c := range m.ToolCalls {
			f := jinja.NewDict(0)
			f.Set("name", jinja.String(c.Name, field))
			args := c.Arguments
			if len(args) == 0 {
				args = []byte("{}")
			}
			v, err := jinja.FromJSON(args, field)
			if err != nil {
				return nil, fmt.Errorf("chat: message %d, tool call %d: arguments: %w", i, k, err)
			}
			f.Set("arguments", v)
			call := jinja.NewDict(0)
			call.Set("type", jinja.String("function", 0))
			if c.ID != "" {
				call.Set("id", jinja.String(c.ID, field))
			}
			call.Set("function", f)
			calls = append(calls, call)
		}
		d.Set("tool_calls", jinja.NewList(calls...))
	}
	if m.Reasoning != "" {
		d.Set("reasoning_content", jinja.String(m.Reasoning, field))
	}
	return d, nil
}
