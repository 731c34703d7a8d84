package infer

import (
	"context"
	"errors"
	"slices"
	"time"

	"leolm/sample"
)

// sequence is one answer on its way: what it feeds next, and what it does with the logits. Whoever owns the engine runs it:
// Generate one alone, a Scheduler many.
type sequence struct {
	run
	s      *Session
	prompt []int32 // all of it
	rest   []int32 // to be fed before anything is sampled: what is missing of the prompt, or of a preempted sequence
	again  bool    // rest was sampled from before: feeding it gives no new token
	last   int32   // sampled, not fed yet
	feed   []int32 // in the pass that runs: last and what is proposed to follow it
	limit  int     // new tokens
	full   Finish  // why the answer ends there
	first  time.Time
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
	// Room for one new token, or the request makes no sense.
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

// cached says that the first n tokens of the prompt are in the session.
func (q *sequence) cached(n int) {
	q.res.Stats.CachedTokens = n
	q.rest = q.prompt[n:]
}

// reading reports whether there is text to be fed before the next token is sampled.
func (q *sequence) reading() bool { return len(q.rest) > 0 }

// next is what to feed in the next pass, at most budget tokens of a prompt.
func (q *sequence) next(ctx context.Context, e *Engine, budget int) (Feed, error) {
	if err := ctx.Err(); err != nil {
		return Feed{}, err
	}
	if q.reading() {
		n := min(budget, len(q.rest))
		q.s.length = len(q.prompt)
		if at := q.s.Len(); at < len(q.prompt) {
			n = min(n, len(q.prompt)-at)
		} else {
			q.s.length = oneByOne // it was fed so the first time
		}
		want := WantNone
		if n == len(q.rest) && !q.again {
			want = WantLast
		}
		return Feed{q.s, q.rest[:n], want}, nil
	}
	q.feed = append(q.feed[:0], q.last)
	if q.req.Draft != nil && q.req.Speculate > 0 {
		if room := min(q.req.Speculate, q.limit-len(q.res.IDs)-1, e.opt.Context-q.s.Len()-1); room > 0 {
			guess, err := q.req.Draft.Propose(ctx, append(slices.Clone(q.s.Tokens()), q.last), room)
			if err != nil {
				return Feed{}, err
			}
			q.res.Stats.Proposed += len(guess)
			q.feed = append(q.feed, guess...)
		}
	}
	q.s.length = oneByOne
	return Feed{q.s, q.feed, WantAll}, nil
}

// took deals with the logits of the feed that next gave: rows of vocab numbers. Of proposals it keeps those that come true.
func (q *sequence) took(n int, logits []float32, vocab int) error {
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
		err := q.sampled(q.run.next(logits[:vocab]))
		q.first = time.Now()
		q.res.Stats.FirstTokenLag = q.first.Sub(q.start)
		return err
	}
	base := q.s.Len() - len(q.feed)
	for row := 0; ; row++ {
		id, err := q.run.next(logits[row*vocab : (row+1)*vocab])
		if err != nil || q.done || row+1 == len(q.feed) || id != q.feed[row+1] || len(q.res.IDs) >= q.limit {
			q.s.Truncate(base + row + 1)
			return q.sampled(id, err)
		}
		q.res.Stats.Accepted++
	}
}

// sampled remembers the last token and ends the answer where its limit is reached.
func (q *sequence) sampled(id int32, err error) error {
	q.last = id
	if err == nil && !q.done && len(q.res.IDs) >= q.limit {
		q.done, q.res.Finish = true, q.full
	}
	return err
}

// preempt gives the session's pages back; the sequence is fed anew when there is room again.
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

// end shows what was held back and closes the books.
func (q *sequence) end(err error) error {
	if !q.first.IsZero() {
		q.res.Stats.DecodeTime = time.Since(q.first)
	}
	if ferr := q.flush(); err == nil {
		err = ferr
	}
	return err
}
