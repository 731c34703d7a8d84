package infer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"leolm/sample"
)

// Text turns ids into text piece by piece; tokenizer.Decoder is one.
type Text interface {
	Append(dst []byte, id int32) []byte
	Flush(dst []byte) []byte
}

// Constraint limits which tokens may come next.
type Constraint interface {
	// Mask returns one bit per token, set where it is allowed; valid until Accept.
	Mask() ([]uint64, error)
	// Accept moves on by a token that the mask allowed.
	Accept(id int32) error
	// Done reports whether the text is complete and nothing may follow.
	Done() bool
}

// Proposer guesses how a sequence continues, so that one pass can verify several tokens (speculative decoding).
type Proposer interface {
	// Propose returns at most n tokens that may follow ids.
	Propose(ctx context.Context, ids []int32, n int) ([]int32, error)
}

// Request is one answer to be generated.
type Request struct {
	Prompt       []int32
	Params       sample.Params
	MaxNewTokens int // 0: as many as the context holds
	StopIDs      []int32
	Stops        []string // stop strings, in the text of the answer
	Constraint   Constraint
	// TopLogProbs asks for the log-probability of each token, and of this many most
	// probable ones at its place; -1: none at all.
	TopLogProbs int
	// Draft proposes up to Speculate tokens per pass. The answer does not depend on it.
	Draft     Proposer
	Speculate int
	// Progress, if not nil, is called as the prompt is read, in tokens.
	Progress func(done, total int)

	// Tenant is who asks, for a Scheduler: tenants take turns, and none learns from the time of an answer what another has
	// asked, since their prefixes are kept apart. Salt keeps prefixes apart within one tenant.
	Tenant, Salt string
	// Unread, if not 0, is how many tokens may wait for a reader: a Scheduler pauses an answer that is not read.
	Unread int
}

// Token is a generated token and the text that became certain with it. What was held back comes at the end with ID -1.
type Token struct {
	ID      int32
	Text    string
	LogProb float64
	Top     []sample.LogProb
}

// Finish is the reason why an answer ended.
type Finish string

// The reasons.
const (
	FinishStop    Finish = "stop"    // a stop id, a stop string or the end of a constraint
	FinishLength  Finish = "length"  // MaxNewTokens
	FinishContext Finish = "context" // prompt and answer fill the context
)

// Result is a generated answer. IDs include the stop id, Text does not.
type Result struct {
	IDs        []int32
	Text       string
	Finish     Finish
	StopString string
	Stats      Stats
}

// Stats are the timings of one answer.
type Stats struct {
	PromptTokens  int           // of the prompt
	CachedTokens  int           // of those, already in the session
	NewTokens     int           // generated
	Proposed      int           // by speculation
	Accepted      int           // of those
	QueueTime     time.Duration // until the scheduler began; part of PrefillTime
	PrefillTime   time.Duration // until the first logits
	DecodeTime    time.Duration // after them
	FirstTokenLag time.Duration // from the call to the first token
}

// DecodeRate is generated tokens per second, without the first one, whose time is the prefill's.
func (s *Stats) DecodeRate() float64 {
	if s.DecodeTime <= 0 || s.NewTokens < 2 {
		return 0
	}
	return float64(s.NewTokens-1) / s.DecodeTime.Seconds()
}

// PrefillRate is prompt tokens per second, without the cached ones.
func (s *Stats) PrefillRate() float64 {
	if s.PrefillTime <= 0 {
		return 0
	}
	return float64(s.PromptTokens-s.CachedTokens) / s.PrefillTime.Seconds()
}

// run collects the tokens of one answer.
type run struct {
	req     *Request
	text    Text
	sampler *sample.Sampler
	stops   *sample.StopMatcher
	emit    func(Token) error
	buf     []byte
	scratch []float32
	res     Result
	over    bool
	start   time.Time
}

// Generate answers req in s and reuses its cached prefix. emit, if not nil, is called for every token, with the text
// that has become certain; an error from it ends the answer. On error (cancellation included) the result holds
// what was generated so far. A prompt that leaves no room for a token is a *ContextError.
func (e *Engine) Generate(ctx context.Context, s *Session, text Text, req *Request, emit func(Token) error) (*Result, error) {
	q, err := e.newSequence(s, text, req, emit)
	if err != nil {
		return &q.res, err
	}
	defer func() { s.length = 0 }()
	var feeds []Feed
	for err == nil && !q.over {
		if feeds, err = q.next(ctx, e, e.opt.PrefillChunk, feeds[:0]); err != nil {
			break
		}
		var rows []row
		if rows, err = e.step(feeds, q.enough()); err == nil {
			err = q.took(len(feeds[0].IDs), rows)
		}
	}
	return &q.res, q.end(err)
}

// next samples one token, records it and emits its text.
func (r *run) next(row row) (int32, error) {
	var mask []uint64
	if c := r.req.Constraint; c != nil {
		var err error
		if mask, err = c.Mask(); err != nil {
			return 0, err
		}
	}
	tok, err := r.choose(row, mask)
	if err != nil {
		return 0, err
	}
	id := tok.ID
	r.sampler.Accept(id)
	r.res.IDs = append(r.res.IDs, id)
	r.res.Stats.NewTokens++
	if slices.Contains(r.req.StopIDs, id) {
		r.over, r.res.Finish = true, FinishStop
		return id, r.send(tok)
	}
	if c := r.req.Constraint; c != nil {
		if err := c.Accept(id); err != nil {
			return id, err
		}
		if c.Done() {
			r.over, r.res.Finish = true, FinishStop
		}
	}
	r.buf = r.text.Append(r.buf[:0], id)
	emit, stopped := r.stops.Push(string(r.buf))
	if stopped {
		r.over, r.res.Finish, r.res.StopString = true, FinishStop, r.stops.Matched()
	}
	tok.Text = emit
	return id, r.send(tok)
}

func (r *run) send(t Token) error {
	r.res.Text += t.Text
	if r.emit == nil {
		return nil
	}
	return r.emit(t)
}

// flush emits the text that was held back.
func (r *run) flush() error {
	if r.res.StopString != "" {
		return nil
	}
	text, _ := r.stops.Push(string(r.text.Flush(nil)))
	text += r.stops.Flush()
	if text == "" {
		return nil
	}
	r.res.Text += text
	if r.emit == nil {
		return nil
	}
	return r.emit(Token{ID: -1, Text: text})
}

// PromptLookup proposes the tokens that followed the most recent earlier occurrence of the
// sequence's last few tokens (prompt lookup decoding, Saxena 2023).
type PromptLookup struct {
	// MaxNGram is the longest run of last tokens to look for (default 3).
	MaxNGram int
}

// Propose implements Proposer.
func (l *PromptLookup) Propose(_ context.Context, ids []int32, n int) ([]int32, error) {
	size := l.MaxNGram
	if size == 0 {
		size = 3
	}
	for ; size > 0; size-- {
		if len(ids) <= size {
			continue
		}
		tail := ids[len(ids)-size:]
		for at := len(ids) - size - 1; at >= 0; at-- {
			if slices.Equal(ids[at:at+size], tail) {
				from := at + size
				return ids[from:min(from+n, len(ids))], nil
			}
		}
	}
	return nil, nil
}

// DraftModel proposes the greedy continuation of a smaller model with the same vocabulary.
type DraftModel struct {
	e *Engine
	s *Session
}

// NewDraftModel returns a proposer on e.
func NewDraftModel(e *Engine) *DraftModel { return &DraftModel{e: e, s: e.NewSession()} }

// Propose implements Proposer.
func (d *DraftModel) Propose(ctx context.Context, ids []int32, n int) ([]int32, error) {
	if len(ids)+n > d.e.opt.Context {
		return nil, nil
	}
	logits, err := d.e.Prefill(ctx, d.s, ids[d.s.Reuse(ids):], nil)
	if err != nil {
		return nil, fmt.Errorf("draft model: %w", err)
	}
	var out []int32
	for {
		out = append(out, ArgMax(logits))
		if len(out) == n {
			return out, nil
		}
		if logits, err = d.e.Step([]Feed{{d.s, out[len(out)-1:], WantLast}}); err != nil {
			return nil, fmt.Errorf("draft model: %w", err)
		}
	}
}

// ArgMax returns the index of the largest element, the first of equals.
func ArgMax(v []float32) int32 {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return int32(best)
}
