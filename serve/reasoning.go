package serve

import (
	"strings"
	"unicode"

	"leolm/tokenizer"
)

// tags are what a model writes around its thoughts.
type tags struct{ open, close string }

// tagsOf finds the tags of a chat template; they are empty if it knows of no thoughts.
func tagsOf(template string) tags {
	for _, t := range []tags{{"<think>", "</think>"}, {"[THINK]", "[/THINK]"}} {
		if strings.Contains(template, t.close) {
			return t
		}
	}
	return tags{}
}

// thinking is what a request says about thoughts.
type thinking struct {
	Effort  *string `json:"reasoning_effort"`  // none, minimal, low, medium, high, xhigh
	Include *bool   `json:"include_reasoning"` // vLLM: false leaves thoughts out of the answer

	wanted *bool // think or not; nil: as the template does by itself
}

var efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

// vars are the template's variables: vars, and what the request says about thoughts in the words of several families.
func (t *thinking) vars(vars map[string]any) (map[string]any, error) {
	wanted := t.wanted
	if e := t.Effort; e != nil {
		known := false
		for _, x := range efforts {
			known = known || x == *e
		}
		if !known {
			return nil, bad("reasoning_effort", "reasoning_effort %q; use one of %s", *e, strings.Join(efforts, ", "))
		}
		if wanted == nil {
			on := *e != "none"
			wanted = &on
		}
	}
	if on, ok := vars["enable_thinking"].(bool); ok && wanted == nil {
		wanted = &on
	}
	t.wanted = wanted
	if wanted == nil {
		return vars, nil
	}
	all := map[string]any{"enable_thinking": *wanted, "thinking": *wanted}
	if t.Effort != nil && *wanted {
		all["reasoning_effort"] = *t.Effort
	}
	for k, v := range vars {
		all[k] = v
	}
	return all, nil
}

// hidden reports whether thoughts are left out of the answer: they were not wanted, even if the model has some.
func (t *thinking) hidden() bool {
	return t.Include != nil && !*t.Include || t.wanted != nil && !*t.wanted
}

// thoughts splits what a model thinks from what it says, before calls are looked for.
type thoughts struct {
	tags   tags
	hide   bool
	state  thoughtState
	held   string // what may still become a tag, or white space at the end of a thought
	inner  splitter
	spoken bool // white space after a thought is over
}

type thoughtState uint8

const (
	undecided thoughtState = iota // only white space so far
	inside
	outside
)

// opened reports whether a prompt ends inside a thought, which the template has begun.
func (t tags) opened(prompt string) bool {
	return t.open != "" && strings.HasSuffix(strings.TrimRightFunc(prompt, unicode.IsSpace), t.open)
}

// newThoughts wraps inner for answers of a model with tags.
func newThoughts(t tags, opened, hide bool, inner splitter) splitter {
	if t.open == "" {
		return inner
	}
	s := &thoughts{tags: t, hide: hide, inner: inner}
	if opened {
		s.state = inside
	}
	return s
}

func (t *thoughts) calls() int { return t.inner.calls() }

func (t *thoughts) push(text string) []delta {
	if t.state == outside {
		return t.say(text)
	}
	t.held += text
	var out []delta
	if t.state == undecided {
		lead := strings.TrimLeftFunc(t.held, unicode.IsSpace)
		switch {
		case strings.HasPrefix(lead, t.tags.open):
			t.state, t.held = inside, lead[len(t.tags.open):]
		case strings.HasPrefix(t.tags.open, lead):
			return nil // white space, or the beginning of the tag
		default:
			text, t.state, t.held, t.spoken = t.held, outside, "", true
			return t.inner.push(text)
		}
	}
	if before, after, ok := strings.Cut(t.held, t.tags.close); ok {
		out = t.think(out, strings.TrimRightFunc(before, unicode.IsSpace))
		t.state, t.held = outside, ""
		return append(out, t.say(after)...)
	}
	sure := len(strings.TrimRightFunc(t.held[:len(t.held)-overlap(t.held, t.tags.close)], unicode.IsSpace))
	out = t.think(out, t.held[:sure])
	t.held = t.held[sure:]
	return out
}

// say passes on what follows a thought, without the white space before it.
func (t *thoughts) say(text string) []delta {
	if !t.spoken {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		t.spoken = text != ""
	}
	if text == "" {
		return nil
	}
	return t.inner.push(text)
}

// think passes on a piece of a thought. White space before the first one is left out: it only follows the tag.
func (t *thoughts) think(out []delta, text string) []delta {
	if text == "" || t.hide {
		return out
	}
	return append(out, delta{reasoning: text})
}

func (t *thoughts) end() []delta {
	var out []delta
	switch {
	case t.state == inside:
		out = t.think(out, strings.TrimRightFunc(t.held, unicode.IsSpace))
	case t.held != "":
		out = t.inner.push(t.held)
	}
	t.held = ""
	return append(out, t.inner.end()...)
}

// overlap is the length of the longest end of text that begins word.
func overlap(text, word string) int {
	for n := min(len(word)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, word[:n]) {
			return n
		}
	}
	return 0
}

// thinks reports whether the answer is inside a thought now.
func (ch *choice) thinks() bool {
	t, ok := ch.split.(*thoughts)
	return ok && t.state == inside
}

// tagText decodes an answer whose tags are control tokens, which a decoder leaves out.
type tagText struct {
	*tokenizer.Decoder
	names map[int32]string
}

// Append implements infer.Text.
func (t *tagText) Append(dst []byte, id int32) []byte {
	if name, ok := t.names[id]; ok {
		return append(dst, name...)
	}
	return t.Decoder.Append(dst, id)
}

// controlTags are the tags of m that are control tokens.
func (m *model) controlTags() map[int32]string {
	names := map[int32]string{}
	for _, name := range []string{m.card.tags.open, m.card.tags.close} {
		if id, ok := m.Tokenizer.ID(name); ok && name != "" && m.Tokenizer.Kind(id) == tokenizer.Control {
			names[id] = name
		}
	}
	return names
}
