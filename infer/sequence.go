package infer

import (
	"context"
	"errors"
	"slices"
	"time"

	"leolm/sample"
)

// sequence is one answer in progress: what it feeds next, and what it does with the logits. The owner of the engine drives
// it: Generate a single one, a Scheduler many (it is a work).
type sequence struct {
	run
	s      *Session
	prompt []int32   // the whole prompt
	rest   []int32   // to feed before sampling: the rest of the prompt, or of a preempted sequence
	again  bool      // rest was fed before the preemption: feeding it again gives no new token
	last   int32     // sampled, but not fed yet
	feed   []int32   // of the current pass: last, and the tokens proposed to follow it
	limit  int       // largest number of new tokens
	full   Finish    // the reason if the answer reaches limit
	first  time.Time // when the first token was sampled
}

// newSequence checks req and prepares it; the session's cached prefix is reused.
func (e *Engine) newSequence(s *Session, text Text, req *Request, emit func(Token) error) (*sequence, error) {
	q := &sequence{run: run{req: req, text: text, emit: emit, stops: sample.NewStopMatcher(req.Stops), start: time.Now()}, s: s, prompt: req.Prompt}
	p := req.Params
	p.StopIDs = req.StopIDs
	p.Vocab = e.model.Vocab
	var err error
	if q.sampler, err = sample.New(p, e.model.Vocab); err != nil {
		return q, err
	}
	q.sampler.Prompt(req.Prompt)
	if len(req.Prompt) == 0 {
		return q, errors.New("the prompt has no tokens; a model needs at least one (its BOS token, for example)")
	}
	// There must be room for at least one new token.
	if n := len(req.Prompt) + 1; n > e.opt.Context {
		return q, &ContextError{Tokens: n, Limit: e.opt.Context}
	}
	q.limit, q.full = e.opt.Context-len(req.Prompt), FinishContext
	if req.MaxNewTokens > 0 && req.MaxNewTokens <= q.limit {
		q.limit, q.full = req.MaxNewTokens, FinishLength
	}
	q.res.Stats.PromptTokens = len(req.Prompt)
	q.cached(s.Reuse(req.Prompt))
	return q, nil
}

func (q *sequence) sessions() []*Session { return []*Session{q.s} }

// tokens implements work. One token of the prompt is left to be fed, because generation starts from its logits. Tokens
// that are fed again after a preemption come from the cache, too, except the last: it was not fed yet.
func (q *sequence) tokens() ([]int32, int) {
	if q.again {
		return q.rest, len(q.rest)
	}
	return q.prompt, len(q.prompt) - 1
}

func (q *sequence) remaining() int { return len(q.rest) }

func (q *sequence) done() bool { return q.over }

// cached records that the first n tokens of the prompt are in the session.
func (q *sequence) cached(n int) {
	if q.again {
		q.rest = q.rest[n:]
		q.again = q.reading()
		return
	}
	q.res.Stats.CachedTokens = n
	q.rest = q.prompt[n:]
}

// reading reports whether tokens must be fed before the next one is sampled.
func (q *sequence) reading() bool { return len(q.rest) > 0 }

// next appends the feed of the next pass to dst: at most budget tokens of the prompt, or the last token with proposals.
func (q *sequence) next(ctx context.Context, e *Engine, budget int, dst []Feed) ([]Feed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.reading() {
		n := min(budget, len(q.rest))
		q.s.length = len(q.prompt)
		if at := q.s.Len(); at < len(q.prompt) {
			n = min(n, len(q.prompt)-at)
		} else {
			q.s.length = oneByOne // as it was fed the first time
		}
		want := WantNone
		if n == len(q.rest) && !q.again {
			want = WantLast
		}
		return append(dst, Feed{q.s, q.rest[:n], want}), nil
	}
	q.feed = append(q.feed[:0], q.last)
	if q.req.Draft != nil && q.req.Speculate > 0 {
		if room := min(q.req.Speculate, q.limit-len(q.res.IDs)-1, e.opt.Context-q.s.Len()-1); room > 0 {
			guess, err := q.req.Draft.Propose(ctx, append(slices.Clone(q.s.Tokens()), q.last), room)
			if err != nil {
				return nil, err
			}
			q.res.Stats.Proposed += len(guess)
			q.feed = append(q.feed, guess...)
		}
	}
	q.s.length = oneByOne
	return append(dst, Feed{q.s, q.feed, WantAll}), nil
}

// took processes the logits of the feed of n tokens that next returned. It keeps the proposals that turn out right.
func (q *sequence) took(n int, rows []row) error {
	q.s.length = 0
	if q.reading() {
		q.rest = q.rest[n:]
		if q.req.Progress != nil && !q.again {
			q.req.Progress(len(q.prompt)-q.res.Stats.CachedTokens-len(q.rest), len(q.prompt)-q.res.Stats.CachedTokens)
		}
		if q.reading() || q.again {
			q.again = q.again && q.reading()
			return nil
		}
		q.res.Stats.PrefillTime = time.Since(q.start)
		err := q.sampled(q.run.next(rows[0]))
		q.first = time.Now()
		q.res.Stats.FirstTokenLag = q.first.Sub(q.start)
		return err
	}
	base := q.s.Len() - len(q.feed)
	for i := 0; ; i++ {
		id, err := q.run.next(rows[i])
		if err != nil || q.over || i+1 == len(q.feed) || id != q.feed[i+1] || len(q.res.IDs) >= q.limit {
			q.s.Truncate(base + i + 1)
			return q.sampled(id, err)
		}
		q.res.Stats.Accepted++
	}
}

// sampled records the last token, and ends the answer if it has reached its limit.
func (q *sequence) sampled(id int32, err error) error {
	q.last = id
	if err == nil && !q.over && len(q.res.IDs) >= q.limit {
		q.over, q.res.Finish = true, q.full
	}
	return err
}

// preempt frees the session's pages; its tokens are fed again when there is room.
func (q *sequence) preempt() {
	fed := slices.Clone(q.s.Tokens())
	if q.reading() && !q.again {
		fed = append(fed, q.rest...)
	} else {
		fed, q.again = append(fed, q.rest...), true
	}
	q.s.Close()
	q.rest = fed
}

// end emits the text that was held back and completes the statistics.
func (q *sequence) end(err error) error {
	if len(q.res.IDs) == 0 {
		return err
	}
	if !q.first.IsZero() {
		q.res.Stats.DecodeTime = time.Since(q.first)
	}
	if ferr := q.flush(); err == nil {
		err = ferr
	}
	return err
}
