package serve

import (
	"context"
	"encoding/json"

	"leolm/infer"
)

// chunk is an event of a stream.
type chunk struct {
	ID          string        `json:"id"`
	Object      string        `json:"object"`
	Created     int64         `json:"created"`
	Model       string        `json:"model"`
	Fingerprint string        `json:"system_fingerprint"`
	Choices     []chunkChoice `json:"choices"`
	Usage       any           `json:"usage,omitempty"` // a usage, or null
	Timings     *timings      `json:"timings,omitempty"`
}

type chunkChoice struct {
	Index    int        `json:"index"`
	Delta    chunkDelta `json:"delta"`
	LogProbs any        `json:"logprobs"`
	Finish   *string    `json:"finish_reason"`
}

type chunkDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
	wireReasoning
	ToolCalls []wireCall `json:"tool_calls,omitempty"`
}

// chatStream writes the events of a chat completion.
type chatStream struct {
	a     *chatAnswer
	out   *stream
	usage bool
}

func (c *chatStream) chunk(choices ...chunkChoice) *chunk {
	ch := &chunk{
		ID: c.a.ID, Object: "chat.completion.chunk", Created: c.a.Created, Model: c.a.c.model.card.name,
		Fingerprint: c.a.c.model.card.systemFingerprint(), Choices: choices,
	}
	if c.usage {
		ch.Usage = json.RawMessage("null")
	}
	return ch
}

// pieces writes the pieces of a choice, with the log-probabilities of the token that brought them.
func (c *chatStream) pieces(i int, pieces []delta, lp []tokenLogProb) error {
	if len(pieces) == 0 && len(lp) > 0 {
		pieces = []delta{{}} // log-probabilities do not wait for the text
	}
	for k, p := range pieces {
		wc := chunkChoice{Index: i}
		switch {
		case p.reasoning != "":
			wc.Delta.wireReasoning = reasoned(p.reasoning)
		case p.call != nil:
			call := wireCall{Index: &p.call.index, ID: p.call.id}
			if p.call.id != "" {
				call.Type = "function"
			}
			call.Function.Name, call.Function.Arguments = p.call.name, p.call.arguments
			wc.Delta.ToolCalls = []wireCall{call}
		default:
			wc.Delta.Content = &p.text
		}
		if k == 0 && len(lp) > 0 {
			wc.LogProbs = probs(lp)
		}
		if err := c.out.data(c.chunk(wc)); err != nil {
			return err
		}
	}
	return nil
}

// streamChat writes a chat completion as server-sent events.
func (s *Server) streamChat(ctx context.Context, cancel context.CancelFunc, out *stream, a *chatAnswer, tickets []*infer.Ticket, withUsage bool) {
	c := &chatStream{a: a, out: out, usage: withUsage}
	started := 0
	// The role comes with the first token, so that a client can tell from it that the answer has begun. Choices begin in
	// order: OpenAI's client has no place for the second one before it knows the first.
	begin := func(i int) error {
		for ; started <= i; started++ {
			empty := ""
			role := chunkChoice{Index: started, Delta: chunkDelta{Role: "assistant", Content: &empty}}
			if err := out.data(c.chunk(role)); err != nil {
				return err
			}
		}
		return nil
	}
	results, err := follow(ctx, cancel, tickets, func(i int, t infer.Token) error {
		if err := begin(i); err != nil {
			return err
		}
		pieces, lp := a.take(i, t)
		return c.pieces(i, pieces, lp)
	}, func(i int, r *infer.Result) error {
		if err := begin(i); err != nil {
			return err
		}
		if err := c.pieces(i, a.ended(i, r), nil); err != nil {
			return err
		}
		return out.data(c.chunk(chunkChoice{Index: i, Finish: &a.choices[i].finish}))
	}, out.comment)
	var last any
	if err == nil && withUsage {
		end := c.chunk()
		end.Choices = []chunkChoice{}
		end.Usage, end.Timings = c.a.measured(results)
		last = end
	}
	s.finish(out, err, last)
}
