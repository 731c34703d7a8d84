package dataset

import (
	"encoding/json"
	"fmt"
	"strings"

	"leolm/chat"
)

// Turn is one message of a dialogue.
type Turn struct {
	Role chat.Role
	Text string
	// Context is a document that belongs to the message and becomes a turn of
	// its own before it; empty for none.
	Context string

	// Of an assistant's turn: the calls it makes, and what it thought before.
	ToolCalls []chat.ToolCall
	Reasoning string
	// Of a tool's turn: the call it answers, and whose answer it is.
	ToolCallID, Name string
	// Muted turns are read but not learnt: no token of theirs carries loss.
	Muted bool
}

// Dialogue is one sample before tokenization.
type Dialogue struct {
	System string // system message, empty for none
	Turns  []Turn
	// Tools are JSON descriptions of the functions that may be called.
	Tools []json.RawMessage
}

// Text is everything said, one turn per paragraph, as the filters look at it.
func (d *Dialogue) Text() string {
	var b strings.Builder
	for i, t := range d.Turns {
		if i > 0 {
			b.WriteString("\n\n")
		}
		if t.Context != "" {
			b.WriteString(t.Context)
			b.WriteString("\n\n")
		}
		b.WriteString(t.Text)
		for _, c := range t.ToolCalls {
			b.WriteByte('\n')
			b.WriteString(c.Name)
			b.WriteByte(' ')
			b.Write(c.Arguments)
		}
	}
	return b.String()
}

// each calls f with every text of the dialogue, to look at it or replace it.
func (d *Dialogue) each(f func(role chat.Role, text *string)) {
	if d.System != "" {
		f(chat.System, &d.System)
	}
	for i := range d.Turns {
		if d.Turns[i].Context != "" {
			f(chat.Context, &d.Turns[i].Context)
		}
		f(d.Turns[i].Role, &d.Turns[i].Text)
	}
}

// messages is the dialogue as package chat takes it, and for each message
// whether it is muted.
func (d *Dialogue) messages() (msgs []chat.Message, muted []bool) {
	add := func(m chat.Message, mute bool) {
		msgs, muted = append(msgs, m), append(muted, mute)
	}
	if d.System != "" {
		add(chat.Message{Role: chat.System, Content: d.System}, false)
	}
	for _, t := range d.Turns {
		if t.Context != "" {
			add(chat.Message{Role: chat.Context, Content: t.Context}, t.Muted)
		}
		add(chat.Message{Role: t.Role, Content: t.Text, Name: t.Name, Reasoning: t.Reasoning, ToolCalls: t.ToolCalls, ToolCallID: t.ToolCallID}, t.Muted)
	}
	return msgs, muted
}

// unbalanced tells why the turns are not an alternation that begins with the
// user and ends with the assistant, or "". Tools answer between two turns of the
// assistant; what a tool says calls for an answer as a user's turn does.
func (d *Dialogue) unbalanced() string {
	want, last := chat.User, chat.Role(0)
	for i, t := range d.Turns {
		switch {
		case t.Role == chat.Context:
			continue
		case t.Role == chat.Tool && i > 0:
			want = chat.Assistant
		case t.Role != want:
			return fmt.Sprintf("turn %d is the %s's, where the %s's is expected", i+1, t.Role, want)
		default:
			want = chat.User + chat.Assistant - want
		}
		last = t.Role
	}
	if want == chat.Assistant {
		return fmt.Sprintf("the last turn is the %s's", last)
	}
	return ""
}

// empty tells which turn has no text, or "".
func (d *Dialogue) empty() string {
	if len(d.Turns) == 0 {
		return "no turns"
	}
	for i, t := range d.Turns {
		if strings.TrimSpace(t.Text) == "" && len(t.ToolCalls) == 0 && t.Role != chat.Tool {
			return fmt.Sprintf("turn %d has no text", i+1)
		}
	}
	return ""
}
