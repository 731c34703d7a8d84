package dataset

import (
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
}

// Dialogue is one sample before tokenization.
type Dialogue struct {
	System string // system message, empty for none
	Turns  []Turn
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

// messages is the dialogue as package chat takes it.
func (d *Dialogue) messages() []chat.Message {
	msgs := make([]chat.Message, 0, len(d.Turns)+1)
	d.each(func(role chat.Role, text *string) {
		msgs = append(msgs, chat.Message{Role: role, Content: *text})
	})
	return msgs
}

// unbalanced tells why the turns are not an alternation that begins with the
// user and ends with the assistant, or "".
func (d *Dialogue) unbalanced() string {
	want := chat.User
	for i, t := range d.Turns {
		if t.Role == chat.Context || t.Role == chat.Tool {
			continue
		}
		if t.Role != want {
			return fmt.Sprintf("turn %d is the %s's, where the %s's is expected", i+1, t.Role, want)
		}
		want = chat.User + chat.Assistant - want
	}
	if want == chat.Assistant {
		return "the last turn is the user's"
	}
	return ""
}

// empty tells which turn has no text, or "".
func (d *Dialogue) empty() string {
	if len(d.Turns) == 0 {
		return "no turns"
	}
	for i, t := range d.Turns {
		if strings.TrimSpace(t.Text) == "" {
			return fmt.Sprintf("turn %d has no text", i+1)
		}
	}
	return ""
}
