// Package converse owns a running conversation: its messages, how they become
// a prompt that fits the context, and the answer that is generated and appended.
// The terminal talks through it, and so can a server. It does not own the model,
// the template or how an answer is shown.
package converse

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"leolm/catalog"
	"leolm/chat"
	"leolm/infer"
)

// OnFull is what happens when a conversation no longer fits the context.
type OnFull string

// The choices. The system turn is always kept, and nothing is dropped unless asked for.
const (
	FullError OnFull = "error" // refuse with a *FullContextError
	FullReset OnFull = "reset" // drop all earlier turns
	FullDrop  OnFull = "drop"  // drop the oldest exchange, repeatedly, until it fits
)

// ParseOnFull parses a choice by its name.
func ParseOnFull(s string) (OnFull, error) {
	switch f := OnFull(s); f {
	case FullError, FullReset, FullDrop:
		return f, nil
	}
	return "", fmt.Errorf("%q: choose error, reset or drop", s)
}

// FullContextError reports that the prompt leaves no room for a minimal answer.
type FullContextError struct {
	Tokens, Limit int
	Turns         int // earlier turns that could be dropped; 0: the question alone is too long
}

func (e *FullContextError) Error() string {
	what := "conversation"
	if e.Turns == 0 {
		what = "question"
	}
	return fmt.Sprintf("the %s has %d tokens; a context of %d leaves no room for an answer", what, e.Tokens, e.Limit)
}

// minAnswer is the room for an answer, in tokens, below which a conversation counts as full.
const minAnswer = 16

// Conversation is a dialogue with a model. It is used by one goroutine at a time.
type Conversation struct {
	Messages []chat.Message
	// Dropped counts the turns dropped so far because the context was full.
	Dropped int

	model   *catalog.Model
	engine  *infer.Engine
	session *infer.Session
}

// New starts a conversation; system may be empty.
func New(m *catalog.Model, e *infer.Engine, system string) *Conversation {
	c := &Conversation{model: m, engine: e, session: e.NewSession()}
	c.SetSystem(system)
	return c
}

// SetSystem replaces the system turn; an empty text removes it.
func (c *Conversation) SetSystem(text string) {
	if len(c.Messages) > 0 && c.Messages[0].Role == chat.System {
		c.Messages = c.Messages[1:]
	}
	if text != "" {
		c.Messages = slices.Insert(c.Messages, 0, chat.Message{Role: chat.System, Content: text})
	}
}

// Reset drops all turns but the system's.
func (c *Conversation) Reset() {
	c.Messages = c.Messages[:c.first()]
}

// first is the index of the first turn after the system's.
func (c *Conversation) first() int {
	if len(c.Messages) > 0 && c.Messages[0].Role == chat.System {
		return 1
	}
	return 0
}

// Undo removes the last exchange and returns its question.
func (c *Conversation) Undo() (string, bool) {
	for i := len(c.Messages) - 1; i >= c.first(); i-- {
		if c.Messages[i].Role == chat.User {
			q := c.Messages[i].Content
			c.Messages = c.Messages[:i]
			return q, true
		}
	}
	return "", false
}

// Close returns the pages of its session to the cache.
func (c *Conversation) Close() { c.session.Close() }

// Tokens returns the prompt for the next answer.
func (c *Conversation) Tokens() ([]int32, error) {
	ids, _, err := c.model.Template.Encode(c.model.Tokenizer, c.Messages, chat.Options{AddGenerationPrompt: true})
	return ids, err
}

// fit returns the prompt, and applies full if it leaves no room for an answer.
func (c *Conversation) fit(full OnFull) ([]int32, error) {
	for {
		ids, err := c.Tokens()
		if err != nil {
			return nil, err
		}
		if len(ids)+minAnswer <= c.engine.Context() {
			return ids, nil
		}
		last := len(c.Messages) - 1 // the new question stays
		old := last - c.first()
		if full == FullError || old == 0 {
			return nil, &FullContextError{Tokens: len(ids), Limit: c.engine.Context(), Turns: old}
		}
		n := old
		if full == FullDrop {
			// One exchange: up to the next user turn.
			n = 1
			for n < old && c.Messages[c.first()+n].Role != chat.User {
				n++
			}
		}
		c.Messages = slices.Delete(c.Messages, c.first(), c.first()+n)
		c.Dropped += n
	}
}

// Ask appends a question, generates the answer and appends it too. Prompt, stop
// ids and stop strings of the conversation are added to req. If ctx is canceled,
// the unfinished answer stays in the conversation and the error is ctx's. If the
// question does not fit, or on any other error, the conversation is as before.
func (c *Conversation) Ask(ctx context.Context, question string, full OnFull, req infer.Request, emit func(infer.Token) error) (*infer.Result, error) {
	before := slices.Clone(c.Messages)
	c.Messages = append(c.Messages, chat.Message{Role: chat.User, Content: question})
	ids, err := c.fit(full)
	if err != nil {
		c.Messages = before
		return nil, err
	}
	req.Prompt = ids
	req.StopIDs = append(slices.Clone(c.model.StopIDs), req.StopIDs...)
	req.Stops = append(slices.Clone(c.model.StopStrings), req.Stops...)
	res, err := c.engine.Generate(ctx, c.session, c.model.Tokenizer.NewDecoder(true), &req, emit)
	if err != nil && !errors.Is(err, context.Canceled) {
		c.Messages = before
		return res, err
	}
	c.Messages = append(c.Messages, chat.Message{Role: chat.Assistant, Content: res.Text})
	return res, err
}
