package serve

import (
	"context"
	"net/http"
	"time"

	"leolm/chat"
	"leolm/infer"
)

// chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	sampling
	constrained
	thinking
	Messages            []wireMessage  `json:"messages"`
	MaxCompletionTokens *whole         `json:"max_completion_tokens"`
	LogProbs            bool           `json:"logprobs"`
	TopLogProbs         *whole         `json:"top_logprobs"`
	Tools               []tool         `json:"tools"`
	ToolChoice          toolChoice     `json:"tool_choice"`
	TemplateVars        map[string]any `json:"chat_template_kwargs"`
	// ContinueFinal lets the model go on writing the last message, which is the assistant's.
	ContinueFinal       bool  `json:"continue_final_message"`
	AddGenerationPrompt *bool `json:"add_generation_prompt"`

	// encode writes the prompt in place of the template, for calls that have none.
	encode func(*model) (*chat.Encoded, error)
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
	return int(*n), nil
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
	return int(*r.TopLogProbs), nil
}

// conversation is a checked request for an answer to a conversation: what the APIs of OpenAI and Ollama have in common.
type conversation struct {
	model   *model
	release func()
	tools   *toolbox
	req     *infer.Request
	n       int
	build   func() infer.Constraint
	text    func() infer.Text
	// opened says that the prompt ends inside a thought; hide that thoughts are not shown.
	opened, hide bool
	loading      time.Duration // of the model, if it had to be
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
	var msgs []chat.Message
	if r.encode == nil {
		if msgs, err = messages(r.Messages); err != nil {
			return nil, err
		}
	}
	opt, err := r.options()
	if err != nil {
		return nil, err
	}
	c = &conversation{n: r.choices(), hide: r.hidden()}
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
	start := time.Now()
	if c.model, c.release, err = s.models.get(ctx, r.Model); err != nil {
		return nil, err
	}
	c.loading = time.Since(start)
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
	var enc *chat.Encoded
	if r.encode != nil {
		enc, err = r.encode(c.model)
	} else {
		enc, err = c.model.prompt(msgs, c.tools, opt)
	}
	if err != nil {
		return nil, err
	}
	c.req.Prompt = enc.IDs
	c.opened = opt.AddGenerationPrompt && c.model.card.tags.opened(enc.Rendered.Text)
	if n := len(enc.IDs) + 1; n > c.model.sched.Context() {
		return nil, tooLong(len(enc.IDs), c.model.sched.Context())
	}
	if c.build, err = c.model.constraint(ctx, grammar); err != nil {
		return nil, err
	}
	if c.build != nil && c.opened {
		c.build = c.model.afterThought(c.build)
	}
	if names := c.model.controlTags(); len(names) > 0 {
		c.text = func() infer.Text { return &tagText{c.model.Tokenizer.NewDecoder(true), names} }
	}
	return c, nil
}

// begin starts the answers to c.
func (c *conversation) begin(ctx context.Context, prefix string, logprobs bool) (*chatAnswer, []*infer.Ticket, error) {
	tickets, err := c.model.submit(ctx, c.req, c.n, c.build, c.text)
	if err != nil {
		return nil, nil, err
	}
	a := &chatAnswer{c: c, ID: newID(prefix), Created: time.Now().Unix(), logprobs: logprobs}
	for range c.n {
		a.choices = append(a.choices, &choice{
			split:  newThoughts(c.model.card.tags, c.opened, c.hide, c.tools.splitter(c.model)),
			tokens: c.model.tokenText(c.model.Tokenizer.NewDecoder(true)),
		})
	}
	return a, tickets, nil
}

// options are those of the template.
func (r *chatRequest) options() (chat.Options, error) {
	vars, err := r.thinking.vars(r.TemplateVars)
	if r.ContinueFinal {
		return chat.Options{ContinueFinal: true, Vars: vars}, err
	}
	return chat.Options{AddGenerationPrompt: r.AddGenerationPrompt == nil || *r.AddGenerationPrompt, Vars: vars}, err
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
	a, tickets, err := c.begin(ctx, "chatcmpl-", req.LogProbs)
	if err != nil {
		return err
	}
	if req.Stream {
		s.streamChat(ctx, cancel, s.eventStream(w), a, tickets, req.StreamOptions != nil && req.StreamOptions.IncludeUsage)
		return nil
	}
	results, err := a.collect(ctx, cancel, tickets)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a.whole(results))
	return nil
}

// collect waits for the whole answer.
func (a *chatAnswer) collect(ctx context.Context, cancel context.CancelFunc, tickets []*infer.Ticket) ([]*infer.Result, error) {
	return follow(ctx, cancel, tickets, func(i int, t infer.Token) error {
		a.take(i, t)
		return nil
	}, func(i int, r *infer.Result) error {
		a.ended(i, r)
		return nil
	}, nil)
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
	split     splitter
	tokens    *tokenText
	text      string
	reasoning string
	thought   int // tokens of the reasoning
	calls     []wireCall
	content   []tokenLogProb
	finish    string
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
	Top     []tokenLogProb `json:"top_logprobs,omitzero"`
}

// take adds a token to a choice, and returns the pieces of its answer that are certain now.
func (a *chatAnswer) take(i int, t infer.Token) ([]delta, []tokenLogProb) {
	ch := a.choices[i]
	thought := ch.thinks()
	pieces := ch.split.push(t.Text)
	ch.add(pieces)
	if thought = thought || ch.thinks(); thought && t.ID >= 0 {
		ch.thought++
	}
	var probs []tokenLogProb
	if a.logprobs && !thought && t.ID >= 0 && !a.stops(t.ID) {
		lp := a.logProb(ch.tokens.of(t.ID), t.LogProb)
		lp.Top = []tokenLogProb{}
		for _, top := range t.Top {
			lp.Top = append(lp.Top, a.logProb(a.c.model.bytes(top.ID), top.LogProb))
		}
		probs = []tokenLogProb{lp}
		ch.content = append(ch.content, lp)
	}
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
		ch.reasoning += p.reasoning
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
		Role    string  `json:"role"`
		Content *string `json:"content"`
		Refusal *string `json:"refusal"`
		wireReasoning
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
		m := message{Role: "assistant", Content: &ch.text, wireReasoning: reasoned(ch.reasoning), ToolCalls: ch.calls}
		if ch.text == "" && len(ch.calls) > 0 {
			m.Content = nil
		}
		wc := wireChoice{Index: i, Message: m, Finish: ch.finish}
		if a.logprobs {
			wc.LogProbs = probs(ch.content)
		}
		list = append(list, wc)
	}
	u, t := a.measured(results)
	return struct {
		ID          string       `json:"id"`
		Object      string       `json:"object"`
		Created     int64        `json:"created"`
		Model       string       `json:"model"`
		Choices     []wireChoice `json:"choices"`
		Usage       usage        `json:"usage"`
		Fingerprint string       `json:"system_fingerprint"`
		Timings     *timings     `json:"timings"`
	}{a.ID, "chat.completion", a.Created, a.c.model.card.name, list, u, a.c.model.card.systemFingerprint(), t}
}

// measured counts the tokens of the answer.
func (a *chatAnswer) measured(results []*infer.Result) (usage, *timings) {
	u, t := measured(results)
	for _, ch := range a.choices {
		u.CompletionDetails.Reasoning += ch.thought
	}
	return u, t
}

// wireReasoning is what a model thought, under the two names that clients look for.
type wireReasoning struct {
	ReasoningContent string `json:"reasoning_content,omitempty"`
	Reasoning        string `json:"reasoning,omitempty"`
}

func reasoned(text string) wireReasoning { return wireReasoning{text, text} }

// probs is the object around the log-probabilities of a choice.
func probs(content []tokenLogProb) map[string]any {
	if content == nil {
		content = []tokenLogProb{}
	}
	return map[string]any{"content": content, "refusal": nil}
}
