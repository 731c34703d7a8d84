package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"leolm/chat"
	"leolm/infer"
)

// chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	sampling
	constrained
	Messages            []wireMessage  `json:"messages"`
	MaxCompletionTokens *int           `json:"max_completion_tokens"`
	LogProbs            bool           `json:"logprobs"`
	TopLogProbs         *int           `json:"top_logprobs"`
	Tools               []tool         `json:"tools"`
	ToolChoice          toolChoice     `json:"tool_choice"`
	TemplateVars        map[string]any `json:"chat_template_kwargs"`
	// ContinueFinal lets the model go on writing the last message, which is the assistant's.
	ContinueFinal       bool  `json:"continue_final_message"`
	AddGenerationPrompt *bool `json:"add_generation_prompt"`
}

// limit is the largest number of new tokens; 0 is the rest of the context.
func (r *chatRequest) limit() (int, error) {
	name, n := "max_tokens", r.MaxTokens
	if r.MaxCompletionTokens != nil {
		name, n = "max_completion_tokens", r.MaxCompletionTokens
	}
	switch {
	case n == nil:
		return 0, nil
	case *n < 1:
		return 0, bad(name, "%s is %d; it must be at least 1", name, *n)
	}
	return *n, nil
}

// top is how many log-probabilities are wanted at each token; -1 for none.
func (r *chatRequest) top() (int, error) {
	switch {
	case r.TopLogProbs == nil && !r.LogProbs:
		return -1, nil
	case r.TopLogProbs == nil:
		return 0, nil
	case !r.LogProbs:
		return 0, bad("top_logprobs", "top_logprobs needs logprobs: true")
	case *r.TopLogProbs < 0 || *r.TopLogProbs > maxTop:
		return 0, bad("top_logprobs", "top_logprobs is %d; it must be between 0 and %d", *r.TopLogProbs, maxTop)
	}
	return *r.TopLogProbs, nil
}

// conversation is a checked request for an answer to a conversation: what the APIs of OpenAI and Ollama have in common.
type conversation struct {
	model   *model
	release func()
	tools   *toolbox
	req     *infer.Request
	n       int
	build   func() infer.Constraint
}

// converse checks r and prepares its answers. Every mistake of the client is found here.
func (s *Server) converse(ctx context.Context, tenant string, r *chatRequest) (c *conversation, err error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	limit, err := r.limit()
	if err != nil {
		return nil, err
	}
	msgs, err := messages(r.Messages)
	if err != nil {
		return nil, err
	}
	c = &conversation{n: r.choices()}
	if c.tools, err = newToolbox(r.Tools, r.ToolChoice); err != nil {
		return nil, err
	}
	top, err := r.top()
	if err != nil {
		return nil, err
	}
	grammar, err := r.grammar()
	if err != nil {
		return nil, err
	}
	if schema := c.tools.schema(); schema != nil {
		if grammar.kind != "" {
			return nil, bad(grammar.param, "%s cannot be combined with a tool that must be called", grammar.param)
		}
		grammar = kindOf{"schema", string(schema), "tools"}
	} else if grammar.kind != "" && c.tools.mode == "auto" {
		return nil, bad(grammar.param, "%s cannot be combined with tools that may be called; set tool_choice to none", grammar.param)
	}
	if c.model, c.release, err = s.models.get(ctx, r.Model); err != nil {
		return nil, err
	}
	release := c.release
	defer func() {
		if err != nil {
			release()
		}
	}()
	if c.req, err = r.request(c.model, tenant, limit); err != nil {
		return nil, err
	}
	c.req.TopLogProbs = top
	enc, err := c.model.prompt(msgs, c.tools, r.options())
	if err != nil {
		return nil, err
	}
	c.req.Prompt = enc.IDs
	if n := len(enc.IDs) + 1; n > c.model.sched.Context() {
		return nil, tooLong(len(enc.IDs), c.model.sched.Context())
	}
	c.build, err = c.model.constraint(grammar)
	return c, err
}

// options are those of the template.
func (r *chatRequest) options() chat.Options {
	if r.ContinueFinal {
		return chat.Options{ContinueFinal: true, Vars: r.TemplateVars}
	}
	return chat.Options{AddGenerationPrompt: r.AddGenerationPrompt == nil || *r.AddGenerationPrompt, Vars: r.TemplateVars}
}

// chatCompletions answers POST /v1/chat/completions.
func (s *Server) chatCompletions(w http.ResponseWriter, r *http.Request) error {
	var req chatRequest
	if err := read(r, &req); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	c, err := s.converse(ctx, tenant(r), &req)
	if err != nil {
		return err
	}
	defer c.release()
	tickets, err := c.model.submit(ctx, c.req, c.n, c.build, nil)
	if err != nil {
		return err
	}
	a := &chatAnswer{c: c, ID: newID("chatcmpl-"), Created: time.Now().Unix(), logprobs: req.LogProbs}
	for range c.n {
		a.choices = append(a.choices, &choice{split: c.tools.splitter(c.model), tokens: c.model.tokenText(c.model.Tokenizer.NewDecoder(true))})
	}
	if req.Stream {
		s.streamChat(ctx, cancel, s.eventStream(w), a, tickets, req.StreamOptions != nil && req.StreamOptions.IncludeUsage)
		return nil
	}
	results, err := follow(ctx, cancel, tickets, func(i int, t infer.Token) error {
		a.take(i, t)
		return nil
	}, func(i int, r *infer.Result) error {
		a.ended(i, r)
		return nil
	}, nil)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a.whole(results))
	return nil
}

// chatAnswer is a chat completion in progress.
type chatAnswer struct {
	c        *conversation
	ID       string
	Created  int64
	choices  []*choice
	logprobs bool
}

// choice is one of its answers.
type choice struct {
	split   splitter
	tokens  *tokenText
	text    string
	calls   []wireCall
	content []tokenLogProb
	finish  string
}

// wireCall is a tool call in OpenAI's shape.
type wireCall struct {
	Index    *int   `json:"index,omitempty"`
	ID       string `json:"id,omitempty"`
	Type     string `json:"type,omitempty"`
	Function struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// tokenLogProb is a token with its log-probability in OpenAI's shape.
type tokenLogProb struct {
	Token   string         `json:"token"`
	LogProb float64        `json:"logprob"`
	Bytes   []int          `json:"bytes"`
	Top     []tokenLogProb `json:"top_logprobs,omitempty"`
}

// take adds a token to a choice, and returns the pieces of its answer that are certain now.
func (a *chatAnswer) take(i int, t infer.Token) ([]delta, []tokenLogProb) {
	ch := a.choices[i]
	var probs []tokenLogProb
	if a.logprobs && t.ID >= 0 && !a.stops(t.ID) {
		lp := a.logProb(ch.tokens.of(t.ID), t.LogProb)
		lp.Top = []tokenLogProb{}
		for _, top := range t.Top {
			lp.Top = append(lp.Top, a.logProb(a.c.model.bytes(top.ID), top.LogProb))
		}
		probs = []tokenLogProb{lp}
		ch.content = append(ch.content, lp)
	}
	pieces := ch.split.push(t.Text)
	ch.add(pieces)
	return pieces, probs
}

// stops reports whether a token is the mark of the end, which is no part of the text.
func (a *chatAnswer) stops(id int32) bool {
	for _, stop := range a.c.req.StopIDs {
		if id == stop {
			return true
		}
	}
	return false
}

func (a *chatAnswer) logProb(b []byte, lp float64) tokenLogProb {
	out := tokenLogProb{Token: string(b), LogProb: finite(lp), Bytes: make([]int, len(b))}
	for i, x := range b {
		out.Bytes[i] = int(x)
	}
	return out
}

// finite is a log-probability that JSON can hold; OpenAI writes -9999 for what is impossible.
func finite(lp float64) float64 {
	if !(lp > -9999) {
		return -9999
	}
	return lp
}

// ended completes a choice, and returns the pieces of its answer that were held back.
func (a *chatAnswer) ended(i int, r *infer.Result) []delta {
	ch := a.choices[i]
	pieces := ch.split.end()
	ch.add(pieces)
	ch.finish = finish(r)
	// A call that was cut off stays "length"; with a function that the client named, the answer just stops.
	if ch.finish == "stop" && ch.split.calls() > 0 && a.c.tools.mode != "named" {
		ch.finish = "tool_calls"
	}
	return pieces
}

// add keeps the pieces of an answer.
func (ch *choice) add(pieces []delta) {
	for _, p := range pieces {
		ch.text += p.text
		if p.call == nil {
			continue
		}
		if p.call.id != "" {
			c := wireCall{ID: p.call.id, Type: "function"}
			c.Function.Name = p.call.name
			ch.calls = append(ch.calls, c)
		}
		ch.calls[len(ch.calls)-1].Function.Arguments += p.call.arguments
	}
}

// whole is the response that is no stream.
func (a *chatAnswer) whole(results []*infer.Result) any {
	type message struct {
		Role      string     `json:"role"`
		Content   *string    `json:"content"`
		Refusal   *string    `json:"refusal"`
		ToolCalls []wireCall `json:"tool_calls,omitempty"`
	}
	type wireChoice struct {
		Index    int     `json:"index"`
		Message  message `json:"message"`
		LogProbs any     `json:"logprobs"`
		Finish   string  `json:"finish_reason"`
	}
	var list []wireChoice
	for i, ch := range a.choices {
		m := message{Role: "assistant", Content: &ch.text, ToolCalls: ch.calls}
		if ch.text == "" && len(ch.calls) > 0 {
			m.Content = nil
		}
		wc := wireChoice{Index: i, Message: m, Finish: ch.finish}
		if a.logprobs {
			wc.LogProbs = probs(ch.content)
		}
		list = append(list, wc)
	}
	u, t := measured(results)
	return struct {
		ID          string       `json:"id"`
		Object      string       `json:"object"`
		Created     int64        `json:"created"`
		Model       string       `json:"model"`
		Choices     []wireChoice `json:"choices"`
		Usage       usage        `json:"usage"`
		Fingerprint string       `json:"system_fingerprint"`
		Timings     *timings     `json:"timings"`
	}{a.ID, "chat.completion", a.Created, a.c.model.card.name, list, u, a.fingerprint(), t}
}

// fingerprint names the weights that answered.
func (a *chatAnswer) fingerprint() string { return "leo-" + a.c.model.card.fingerprint }

// probs is the object around the log-probabilities of a choice.
func probs(content []tokenLogProb) map[string]any {
	if content == nil {
		content = []tokenLogProb{}
	}
	return map[string]any{"content": content, "refusal": nil}
}

// chunk is an event of a stream.
type chunk struct {
	ID          string          `json:"id"`
	Object      string          `json:"object"`
	Created     int64           `json:"created"`
	Model       string          `json:"model"`
	Fingerprint string          `json:"system_fingerprint"`
	Choices     []chunkChoice   `json:"choices"`
	Usage       json.RawMessage `json:"usage,omitempty"`
	Timings     *timings        `json:"timings,omitempty"`
}

type chunkChoice struct {
	Index    int        `json:"index"`
	Delta    chunkDelta `json:"delta"`
	LogProbs any        `json:"logprobs"`
	Finish   *string    `json:"finish_reason"`
}

type chunkDelta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
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
		Fingerprint: c.a.fingerprint(), Choices: choices,
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
		if p.call != nil {
			call := wireCall{Index: &p.call.index, ID: p.call.id}
			if p.call.id != "" {
				call.Type = "function"
			}
			call.Function.Name, call.Function.Arguments = p.call.name, p.call.arguments
			wc.Delta.ToolCalls = []wireCall{call}
		} else {
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
	started := make([]bool, len(tickets))
	// The role comes with the first token, so that a client can tell from it that the answer has begun.
	begin := func(i int) error {
		if started[i] {
			return nil
		}
		started[i] = true
		empty := ""
		return out.data(c.chunk(chunkChoice{Index: i, Delta: chunkDelta{Role: "assistant", Content: &empty}}))
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
	if err == nil && withUsage {
		u, t := measured(results)
		last := c.chunk()
		last.Choices, last.Timings = []chunkChoice{}, t
		if last.Usage, err = json.Marshal(u); err == nil {
			err = out.data(last)
		}
	}
	if err == nil {
		err = out.done()
	}
	if err != nil {
		s.broken(out, err)
	}
}
