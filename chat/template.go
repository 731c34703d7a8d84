package chat

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"leolm/internal/jinja"
)

// Template is one way of writing a conversation. It is immutable and safe for
// concurrent use.
type Template struct {
	name string
	// One of these two writes the text.
	native  *chatML
	jinja   *jinja.Template
	special map[string]string // special tokens by the names templates use
	ends    []string          // end-of-turn markers: a token if the vocabulary has it, otherwise text
	eos     []string          // end-of-text tokens, never matched as text
	texts   []string          // texts that begin the next turn in templates without markers
	isML    bool              // the prompt is ChatML
	source  string            // of jinja
}

// Name returns the template's name, or "jinja" for a checkpoint's own.
func (t *Template) Name() string { return t.name }

// Default returns the rendering of LeoLM's model card.
func Default() *Template {
	t, err := FindTemplate("card-template")
	if err != nil {
		panic(err) // the table below has it
	}
	return t
}

// MaxTemplate is the largest size of a chat template, in bytes; the longest published one has 20 KB.
const MaxTemplate = 1 << 20

// TemplateNames lists what [FindTemplate] knows, sorted.
func TemplateNames() []string {
	var names []string
	for n := range chatMLStyles {
		names = append(names, n)
	}
	for n := range jinjaStyles {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// FindTemplate returns the named template: a rendering of LeoLM's
// (card-template, card-run, card-sample, fasteval, fastchat, training; exact
// strings in docs/chat.md) or the style of another family. "chatml" is
// card-template.
func FindTemplate(name string) (*Template, error) {
	if name == "chatml" {
		name = "card-template"
	}
	if s, ok := chatMLStyles[name]; ok {
		return &Template{name: name, native: &s, isML: true, ends: []string{imEnd}, eos: []string{"</s>"}}, nil
	}
	if t, err := newStyle(name); !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	return nil, fmt.Errorf("chat: no template named %q; known are %s", name, strings.Join(TemplateNames(), ", "))
}

// Source returns the template as Jinja text, for a checkpoint's chat_template: transformers renders from it what
// [Template.Render] writes. In the styles of other families, bos_token and eos_token are the tokenizer's.
func (t *Template) Source() string {
	if t.native != nil {
		return t.native.source(t.name)
	}
	return t.source
}

// ChatML reports whether prompts of this template are ChatML: turns between
// <|im_start|> and <|im_end|>.
func (t *Template) ChatML() bool { return t.isML }

// HasGeneration reports whether the template has {% generation %} blocks, which
// mark the text that a model should learn; [Rendered.Generation] and
// [Encoded.Generation] are what they enclose.
func (t *Template) HasGeneration() bool { return t.jinja != nil && t.jinja.HasGeneration() }

// Render writes the conversation as text, with the origin of every byte.
func (t *Template) Render(msgs []Message, opts Options) (*Rendered, error) {
	if opts.ContinueFinal {
		if opts.AddGenerationPrompt {
			return nil, errors.New("chat: a prompt either continues its last message or asks for a new one, not both")
		}
		if len(msgs) == 0 || msgs[len(msgs)-1].Role != Assistant {
			return nil, errors.New("chat: nothing to continue: the last message is not the assistant's")
		}
	}
	if t.jinja != nil {
		return t.renderJinja(msgs, opts)
	}
	return t.native.render(t.name, msgs, opts)
}
