package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"leolm/infer"
	"leolm/sample"
)

// completionRequest is the body of POST /v1/completions.
type completionRequest struct {
	sampling
	constrained
	Prompt   prompts `json:"prompt"`
	Echo     bool    `json:"echo"`
	LogProbs *whole  `json:"logprobs"`
	BestOf   *whole  `json:"best_of"`
	Suffix   string  `json:"suffix"`
}

// defaultCompletion is OpenAI's default for max_tokens in this call.
const defaultCompletion = 16

// maxPrompts is how many prompts one request may have.
const maxPrompts = 128

// limit is the largest number of new tokens; 0 writes none, and is for scoring a prompt.
func (r *completionRequest) limit() (int, error) {
	switch {
	case r.MaxTokens == nil:
		return defaultCompletion, nil
	case *r.MaxTokens < 0, *r.MaxTokens == 0 && !r.Echo:
		return 0, bad("max_tokens", "max_tokens is %d; it must be at least 1, or 0 with echo", *r.MaxTokens)
	}
	return int(*r.MaxTokens), nil
}

func (r *completionRequest) checkAll() error {
	if err := r.check(); err != nil {
		return err
	}
	switch {
	case len(r.Prompt) == 0:
		return bad("prompt", "prompt is missing")
	case len(r.Prompt)*r.choices() > maxPrompts:
		return bad("prompt", "%d prompts with n %d; there may be %d answers", len(r.Prompt), r.choices(), maxPrompts)
	case r.LogProbs != nil && (*r.LogProbs < 0 || *r.LogProbs > maxTop):
		return bad("logprobs", "logprobs is %d; it must be between 0 and %d", *r.LogProbs, maxTop)
	case r.BestOf != nil && int(*r.BestOf) != r.choices():
		return bad("best_of", "best_of is %d; only the value of n is possible", *r.BestOf)
	case r.Suffix != "":
		return bad("suffix", "suffix: these models do not insert text")
	case r.Stream && r.Echo && r.LogProbs != nil:
		return bad("stream", "echo with logprobs cannot be streamed")
	}
	return nil
}

// promptIDs turns a text into ids, with BOS if the tokenizer asks for it. Ids are taken as they are.
func (m *model) promptIDs(p prompt, bos bool) []int32 {
	if p.ids != nil {
		return p.ids
	}
	var ids []int32
	if t := m.Tokenizer; bos && t.AddBOS() && t.BOS() >= 0 {
		ids = append(ids, t.BOS())
	}
	return m.Tokenizer.AppendTokens(ids, p.text)
}

// completion is the answers to one prompt of a request.
type completion struct {
	ids     []int32
	tickets []*infer.Ticket
	scores  []infer.Score // of the prompt, if they are wanted
}

// completions answers POST /v1/completions.
func (s *Server) completions(w http.ResponseWriter, r *http.Request) error {
	var req completionRequest
	if err := read(r, &req); err != nil {
		return err
	}
	if err := req.checkAll(); err != nil {
		return err
	}
	limit, err := req.limit()
	if err != nil {
		return err
	}
	grammar, err := req.grammar()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	m, release, err := s.models.get(ctx, req.Model)
	if err != nil {
		return err
	}
	defer release()
	one, err := req.request(m, tenant(r), limit)
	if err != nil {
		return err
	}
	if req.LogProbs != nil {
		one.TopLogProbs = int(*req.LogProbs)
	}
	build, err := m.constraint(ctx, grammar)
	if err != nil {
		return err
	}
	a := &textAnswer{m: m, req: &req, one: one, limit: limit, ID: newID("cmpl-"), Created: time.Now().Unix()}
	if err := a.prepare(); err != nil {
		return err
	}
	if err := a.begin(ctx, build); err != nil {
		return err
	}
	if req.Stream {
		a.stream(ctx, cancel, s, s.eventStream(w))
		return nil
	}
	results, err := a.collect(ctx, cancel)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a.whole(results))
	return nil
}

// textAnswer is a completion in progress.
type textAnswer struct {
	m       *model
	req     *completionRequest
	one     *infer.Request
	limit   int
	ID      string
	Created int64
	parts   []*completion
	choices []*textChoice // of all prompts, in order
}

// textChoice is one of its answers.
type textChoice struct {
	text   string
	finish string
	probs  *textProbs
	tokens *tokenText
}

// textProbs are log-probabilities in the shape of OpenAI's older calls.
type textProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []*float64           `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"`

	length int // characters so far
}

// add adds a token; lp is nil for the first one of a prompt, which has no probability.
func (p *textProbs) add(m *model, b []byte, lp *float64, top []sample.LogProb, wanted int) {
	text := string(b)
	p.Tokens = append(p.Tokens, text)
	p.Offsets = append(p.Offsets, p.length)
	p.length += utf8.RuneCountInString(text)
	if lp == nil {
		p.LogProbs, p.Top = append(p.LogProbs, nil), append(p.Top, nil)
		return
	}
	v := finite(*lp)
	p.LogProbs = append(p.LogProbs, &v)
	list := map[string]float64{}
	for _, t := range top {
		name := string(m.bytes(t.ID))
		if old, ok := list[name]; !ok || old < t.LogProb {
			list[name] = finite(t.LogProb)
		}
	}
	if _, ok := list[text]; !ok && wanted > 0 {
		list[text] = v
	}
	p.Top = append(p.Top, list)
}

// prepare checks the prompts.
func (a *textAnswer) prepare() error {
	for i, p := range a.req.Prompt {
		ids := a.m.promptIDs(p, true)
		rows := a.m.Engine.Model().Config.VocabSize
		if err := tokenIDs(ids).check("prompt", rows); err != nil {
			return err
		}
		if len(ids) == 0 {
			return bad("prompt", "prompt %d is empty, and this model has no token that begins a text", i)
		}
		if n := len(ids) + min(a.limit, 1); n > a.m.sched.Context() {
			e := tooLong(len(ids), a.m.sched.Context())
			e.Param = "prompt"
			return e
		}
		a.parts = append(a.parts, &completion{ids: ids})
	}
	return nil
}

// begin scores the prompts that are wanted with their log-probabilities, and starts the answers.
func (a *textAnswer) begin(ctx context.Context, build func() infer.Constraint) error {
	for _, p := range a.parts {
		if a.req.Echo && a.req.LogProbs != nil {
			if a.limit == 0 {
				if err := exchangeOf(ctx).reserve(len(p.ids), 0); err != nil {
					return err
				}
				exchangeOf(ctx).reads(len(p.ids))
			}
			scores, err := a.m.sched.Score(ctx, &infer.ScoreRequest{
				IDs: p.ids, From: 1, Top: int(*a.req.LogProbs), Tenant: a.one.Tenant, Salt: a.one.Salt,
			})
			if err != nil {
				return err
			}
			p.scores = scores[0]
		}
		if a.limit > 0 {
			one := *a.one
			one.Prompt = p.ids
			text := func() infer.Text { return a.m.Tokenizer.ContinueDecoder(p.ids, true) }
			var err error
			if p.tickets, err = a.m.submit(ctx, &one, a.req.choices(), build, text); err != nil {
				return err
			}
		}
		for range a.req.choices() {
			a.choices = append(a.choices, a.choice(p))
		}
	}
	return nil
}

// choice begins an answer to p, with the prompt itself if it is to be repeated.
func (a *textAnswer) choice(p *completion) *textChoice {
	ch := &textChoice{tokens: a.m.tokenText(a.m.Tokenizer.ContinueDecoder(p.ids, true)), finish: "length"}
	if a.req.LogProbs != nil {
		ch.probs = &textProbs{Tokens: []string{}, LogProbs: []*float64{}, Top: []map[string]float64{}, Offsets: []int{}}
	}
	if !a.req.Echo {
		return ch
	}
	ch.text = a.m.Tokenizer.Decode(p.ids, true)
	if ch.probs == nil {
		return ch
	}
	tokens := a.m.tokenText(a.m.Tokenizer.NewDecoder(true))
	for i, id := range p.ids {
		if i == 0 {
			ch.probs.add(a.m, tokens.of(id), nil, nil, 0)
			continue
		}
		s := &p.scores[i-1]
		ch.probs.add(a.m, tokens.of(id), &s.LogProb, s.Top, int(*a.req.LogProbs))
	}
	return ch
}

// tickets are those of all prompts, in the order of the choices.
func (a *textAnswer) tickets() []*infer.Ticket {
	var all []*infer.Ticket
	for _, p := range a.parts {
		all = append(all, p.tickets...)
	}
	return all
}

// take adds a token to a choice. It returns the log-probabilities that came with it.
func (a *textAnswer) take(i int, t infer.Token) *textProbs {
	ch := a.choices[i]
	ch.text += t.Text
	if ch.probs == nil || t.ID < 0 {
		return nil
	}
	before := len(ch.probs.Tokens)
	ch.probs.add(a.m, ch.tokens.of(t.ID), &t.LogProb, t.Top, int(*a.req.LogProbs))
	return &textProbs{
		Tokens: ch.probs.Tokens[before:], LogProbs: ch.probs.LogProbs[before:], Top: ch.probs.Top[before:], Offsets: ch.probs.Offsets[before:],
	}
}

func (a *textAnswer) collect(ctx context.Context, cancel context.CancelFunc) ([]*infer.Result, error) {
	return follow(ctx, cancel, a.tickets(), func(i int, t infer.Token) error {
		a.take(i, t)
		return nil
	}, func(i int, r *infer.Result) error {
		a.choices[i].finish = finish(r)
		return nil
	}, nil)
}

// count sums up all prompts, each of which is counted once.
func (a *textAnswer) count(results []*infer.Result) (usage, *timings) {
	if len(results) == 0 {
		var u usage
		for _, p := range a.parts {
			u.Prompt += len(p.ids)
		}
		u.Total = u.Prompt
		return u, nil
	}
	var total usage
	var first *timings
	n := a.req.choices()
	for at := 0; at < len(results); at += n {
		u, t := measured(results[at : at+n])
		total.add(u)
		if first == nil {
			first = t
		}
	}
	return total, first
}

// textChunk is the response of POST /v1/completions, or an event of its stream.
type textChunk struct {
	ID          string            `json:"id"`
	Object      string            `json:"object"`
	Created     int64             `json:"created"`
	Model       string            `json:"model"`
	Choices     []textChunkChoice `json:"choices"`
	Usage       any               `json:"usage,omitempty"` // a usage, or null
	Fingerprint string            `json:"system_fingerprint"`
	Timings     *timings          `json:"timings,omitempty"`
}

type textChunkChoice struct {
	Index    int        `json:"index"`
	Text     string     `json:"text"`
	LogProbs *textProbs `json:"logprobs"`
	Finish   *string    `json:"finish_reason"`
}

func (a *textAnswer) chunk(choices ...textChunkChoice) *textChunk {
	return &textChunk{
		ID: a.ID, Object: "text_completion", Created: a.Created, Model: a.m.card.name, Choices: choices,
		Fingerprint: a.m.card.systemFingerprint(),
	}
}

func (a *textAnswer) whole(results []*infer.Result) any {
	var list []textChunkChoice
	for i, ch := range a.choices {
		list = append(list, textChunkChoice{Index: i, Text: ch.text, LogProbs: ch.probs, Finish: &ch.finish})
	}
	out := a.chunk(list...)
	out.Usage, out.Timings = a.count(results)
	return out
}

// stream writes a completion as server-sent events.
func (a *textAnswer) stream(ctx context.Context, cancel context.CancelFunc, s *Server, out *stream) {
	withUsage := a.req.StreamOptions != nil && a.req.StreamOptions.IncludeUsage
	send := func(c textChunkChoice) error {
		ch := a.chunk(c)
		if withUsage {
			ch.Usage = json.RawMessage("null")
		}
		return out.data(ch)
	}
	var err error
	if a.req.Echo {
		for i, ch := range a.choices {
			if err == nil {
				err = send(textChunkChoice{Index: i, Text: ch.text})
			}
		}
	}
	var results []*infer.Result
	if err == nil {
		results, err = follow(ctx, cancel, a.tickets(), func(i int, t infer.Token) error {
			lp := a.take(i, t)
			if t.Text == "" && lp == nil {
				return nil
			}
			return send(textChunkChoice{Index: i, Text: t.Text, LogProbs: lp})
		}, func(i int, r *infer.Result) error {
			reason := finish(r)
			return send(textChunkChoice{Index: i, Finish: &reason})
		}, out.comment)
	}
	var last any
	if err == nil && withUsage {
		end := a.chunk()
		end.Choices = []textChunkChoice{}
		end.Usage, end.Timings = a.count(results)
		last = end
	}
	s.finish(out, err, last)
}
