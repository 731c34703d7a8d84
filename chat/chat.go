// Package chat turns a conversation into the text and the token ids that a model
// was trained on, with the role of every id.
//
// It owns messages, roles, the named ChatML renderings of LeoLM, the built-in
// styles of other families, and the checkpoint's own Jinja template. It does
// not own tokenization (package tokenizer), sampling or the state of a
// conversation (package converse). One function, [Template.Encode], serves
// training, evaluation and inference, so that the three cannot disagree.
//
// The origin of every byte of a rendered prompt is known. Text of the template
// is trusted: special tokens in it are control tokens. Text of a message, of a
// tool description or of a variable is not: "<|im_end|>" typed by a user is
// encoded as those ten characters.
package chat

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"time"

	"leolm/tokenizer"
)

// Role is the author of a token. The numbers of the first four are the role ids
// of Open-Assistant's pretokenizer, which made LeoLM's training data
// (docs/leolm.md#training-format); role shards contain these numbers.
type Role uint8

// The roles of a conversation.
const (
	System    Role = 0
	User      Role = 1
	Assistant Role = 2
	Context   Role = 3
	Tool      Role = 4
)

var roleWords = [...]string{"system", "user", "assistant", "context", "tool"}

// String returns the role word that templates see, such as "user".
func (r Role) String() string {
	if int(r) < len(roleWords) {
		return roleWords[r]
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// ParseRole parses a role word. Besides the five of [Role.String] it knows the
// names that public datasets and APIs use for the same roles.
func ParseRole(word string) (Role, error) {
	switch strings.ToLower(word) {
	case "system", "developer":
		return System, nil
	case "user", "prompter", "human":
		return User, nil
	case "assistant", "gpt", "bot", "model", "chatbot":
		return Assistant, nil
	case "context":
		return Context, nil
	case "tool", "function", "ipython":
		return Tool, nil
	}
	return 0, fmt.Errorf("chat: unknown role %q; use system, user, assistant, context or tool", word)
}

// MarshalText writes the role word.
func (r Role) MarshalText() ([]byte, error) {
	if int(r) >= len(roleWords) {
		return nil, fmt.Errorf("chat: role %d has no name", uint8(r))
	}
	return []byte(roleWords[r]), nil
}

// UnmarshalText reads what [ParseRole] reads.
func (r *Role) UnmarshalText(text []byte) error {
	v, err := ParseRole(string(text))
	if err != nil {
		return err
	}
	*r = v
	return nil
}

// Message is one turn of a conversation.
type Message struct {
	Role    Role   `json:"role"`
	Content string `json:"content"`
	// Name is the speaker's or the tool's name, if any.
	Name string `json:"name,omitempty"`
	// Reasoning is the chain of thought of an assistant turn; templates read it
	// as reasoning_content.
	Reasoning string `json:"reasoning_content,omitempty"`
	// ToolCalls are the calls that an assistant turn makes.
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
	// ToolCallID is the ID of the call that a tool turn answers.
	ToolCallID string `json:"tool_call_id,omitempty"`
}

// ToolCall is one call of a function by the assistant.
type ToolCall struct {
	ID   string
	Name string
	// Arguments is a JSON value, usually an object; the order of its keys is kept.
	Arguments json.RawMessage
}

type toolCallJSON struct {
	ID       string `json:"id,omitempty"`
	Type     string `json:"type,omitempty"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments,omitempty"`
	} `json:"function"`
}

// MarshalJSON writes the layout of the common chat APIs:
// {"id", "type": "function", "function": {"name", "arguments"}}.
func (c ToolCall) MarshalJSON() ([]byte, error) {
	j := toolCallJSON{ID: c.ID, Type: "function"}
	j.Function.Name, j.Function.Arguments = c.Name, c.Arguments
	return json.Marshal(j)
}

// UnmarshalJSON reads that layout. Arguments given as a string of JSON, as
// the OpenAI API sends them, are unwrapped.
func (c *ToolCall) UnmarshalJSON(data []byte) error {
	var j toolCallJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	if j.Type != "" && j.Type != "function" {
		return fmt.Errorf("chat: tool call of type %q; only \"function\" is known", j.Type)
	}
	*c = ToolCall{ID: j.ID, Name: j.Function.Name, Arguments: j.Function.Arguments}
	var text string
	if json.Unmarshal(c.Arguments, &text) == nil && json.Valid([]byte(text)) {
		c.Arguments = json.RawMessage(text)
	}
	return nil
}

// Options control one rendering.
type Options struct {
	// AddGenerationPrompt ends the prompt with the header of an assistant
	// turn, so that the model answers.
	AddGenerationPrompt bool
	// ContinueFinal leaves the last message open, so that the model continues
	// it. It excludes AddGenerationPrompt.
	ContinueFinal bool
	// Tools are JSON descriptions of functions for templates that know tools.
	Tools []json.RawMessage
	// Documents are JSON objects for templates that know documents.
	Documents []json.RawMessage
	// Vars are further variables of a Jinja template, such as enable_thinking,
	// with the types that encoding/json decodes into any. Strings in them are
	// untrusted.
	Vars map[string]any
	// Now is the time that strftime_now formats; the zero value means time.Now.
	Now time.Time
	// BOS overrides the template's policy on the first token.
	BOS BOSPolicy
}

// BOSPolicy decides whether [Template.Encode] puts the tokenizer's
// beginning-of-sequence token first.
type BOSPolicy uint8

const (
	// BOSAuto adds it if the tokenizer asks for it, the rendering does not
	// begin with it already, and the prompt is not ChatML: neither LeoLM's
	// pretokenizer nor transformers put one there, and in LeoLM's tokenizer
	// BOS is <|im_start|>, so that adding it would open a second turn.
	BOSAuto BOSPolicy = iota
	// BOSNever adds none beyond what the template renders.
	BOSNever
	// BOSAlways adds it unless the rendering begins with it.
	BOSAlways
)

// Segment is a stretch of rendered text with one origin.
type Segment struct {
	// End is the byte offset just after the segment, which begins where the
	// previous one ends.
	End int
	// Role is the author. Markup belongs to the turn that it frames, the
	// generation prompt to the assistant, everything before the first
	// message to the system.
	Role Role
	// Message is the index of the message, -1 for markup outside any.
	Message int
	// Trusted is true for text of the template, false for text of its users.
	Trusted bool
}

// Rendered is a conversation as text.
type Rendered struct {
	Text     string
	Segments []Segment
	// Generation are the byte ranges that {% generation %} blocks wrote:
	// maximal, ascending, disjoint. [Template.HasGeneration] reports whether
	// the template has such blocks at all.
	Generation []tokenizer.Span
}

// builder collects the text and the segments of a rendering.
type builder struct {
	text strings.Builder
	segs []Segment
}

func (b *builder) add(text string, trusted bool, role Role, message int) {
	if text == "" {
		return
	}
	b.text.WriteString(text)
	b.mark(b.text.Len(), trusted, role, message)
}

func (b *builder) mark(end int, trusted bool, role Role, message int) {
	if n := len(b.segs); n > 0 {
		if s := &b.segs[n-1]; s.Role == role && s.Message == message && s.Trusted == trusted {
			s.End = end
			return
		}
	}
	b.segs = append(b.segs, Segment{End: end, Role: role, Message: message, Trusted: trusted})
}

// cut shortens the rendering to n bytes.
func (r *Rendered) cut(n int) {
	r.Text = r.Text[:n]
	k := sort.Search(len(r.Segments), func(i int) bool { return r.Segments[i].End >= n })
	if k < len(r.Segments) {
		start := 0
		if k > 0 {
			start = r.Segments[k-1].End
		}
		if start == n {
			r.Segments = r.Segments[:k]
		} else {
			r.Segments = r.Segments[:k+1]
			r.Segments[k].End = n
		}
	}
	for len(r.Generation) > 0 {
		g := &r.Generation[len(r.Generation)-1]
		g.End = min(g.End, n)
		if g.Start < g.End {
			break
		}
		r.Generation = r.Generation[:len(r.Generation)-1]
	}
}

// Trusted returns the byte ranges in which special tokens are control tokens:
// maximal, ascending, disjoint.
func (r *Rendered) Trusted() []tokenizer.Span {
	var out []tokenizer.Span
	start := 0
	for _, s := range r.Segments {
		if s.Trusted {
			if n := len(out); n > 0 && out[n-1].End == start {
				out[n-1].End = s.End
			} else {
				out = append(out, tokenizer.Span{Start: start, End: s.End})
			}
		}
		start = s.End
	}
	return out
}

// At returns the segment that contains byte offset off; the length of the text
// gives the last one. In an empty text it is a Segment with Message -1.
func (r *Rendered) At(off int) Segment {
	if len(r.Segments) == 0 {
		return Segment{Message: -1}
	}
	k := sort.Search(len(r.Segments), func(i int) bool { return r.Segments[i].End > off })
	return r.Segments[min(k, len(r.Segments)-1)]
}
