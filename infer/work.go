package infer

import (
	"context"

	"leolm/sample"
)

// work is what a Scheduler does for a Ticket: a state machine that says which tokens it feeds next, and takes what the
// pass computed for them. The methods of one work are called by one goroutine at a time.
type work interface {
	// sessions are those that it feeds: one, or one for each beam.
	sessions() []*Session
	// tokens are those that the work begins with, of which the first n may come from the prefix cache.
	tokens() (ids []int32, n int)
	// cached says that the session holds the first n of them now, and that they need not be fed.
	cached(n int)
	// reading reports whether there are tokens to feed that are known already, of which a pass may take as many as it has
	// room for. remaining is their number.
	reading() bool
	remaining() int
	// next appends the feeds of the next pass to dst: one session's, with at most budget tokens, while it is reading.
	next(ctx context.Context, e *Engine, budget int, dst []Feed) ([]Feed, error)
	// took takes what those feeds of n tokens wanted: rows of logits or of hidden states. Works take theirs at the same time:
	// the cache is not touched here.
	took(n int, rows []row) error
	done() bool
	// preempt frees the pages of the sessions, and arranges that its tokens are fed again.
	preempt()
	// end completes the result; err is why the work did not end by itself, or nil.
	end(err error) error
}

// scorer is a work that wants scores: it is given its logits a few rows at a time, before took is called without any.
type scorer interface {
	// scores takes logits of the tokens of the feed from the given one on, [rows][vocab].
	scores(first int, logits []float32, vocab int)
}

// brancher is a work that needs new sessions after a pass. Unlike took, branch is called with nothing beside it; evict frees
// a page that nobody uses, if there is one.
type brancher interface {
	branch(evict func() bool)
}

// ScoreRequest asks how probable the tokens of a text are.
type ScoreRequest struct {
	IDs []int32
	// From is the first token whose log-probability is wanted. The text before it is read only, so that its pages can
	// come from the prefix cache. The first token of a text has none; From is at least 1.
	From int
	// Top asks for this many most probable tokens at each place.
	Top int
	// Tenant and Salt are those of Request.
	Tenant, Salt string
}

// Score is how probable a token is after the text before it.
type Score struct {
	LogProb float64
	// Greedy reports whether it is the most probable one; the smaller id wins a tie.
	Greedy bool
	Top    []sample.LogProb
}

// scoring is the work of a ScoreRequest.
type scoring struct {
	s       *Session
	req     *ScoreRequest
	at      int // tokens fed; the last one of the text need not be
	found   []Score
	choices []*scoring // of followers: their first token has its logits from the same row
}

func (w *scoring) sessions() []*Session   { return []*Session{w.s} }
func (w *scoring) tokens() ([]int32, int) { return w.req.IDs, w.req.From - 1 }
func (w *scoring) cached(n int)           { w.at = n }
func (w *scoring) reading() bool          { return !w.done() }
func (w *scoring) remaining() int         { return len(w.req.IDs) - 1 - w.at }
func (w *scoring) done() bool             { return w.at >= len(w.req.IDs)-1 }
func (w *scoring) end(err error) error    { return err }

func (w *scoring) next(ctx context.Context, _ *Engine, budget int, dst []Feed) ([]Feed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ids := w.req.IDs[w.at : len(w.req.IDs)-1]
	// A feed is before the first wanted token, or from it on.
	next := w.req.From - 1 + len(w.found)
	want := wantScores
	if w.at < next {
		ids, want = w.req.IDs[w.at:next], WantNone
	}
	w.s.length = len(w.req.IDs)
	return append(dst, Feed{w.s, ids[:min(budget, len(ids))], want}), nil
}

func (w *scoring) scores(first int, logits []float32, vocab int) {
	rows := len(logits) / vocab
	at := len(w.found)
	w.found = append(w.found, make([]Score, rows)...)
	parallel(rows, func(i int) {
		row, token := logits[i*vocab:(i+1)*vocab], w.at+first+i+1
		w.found[at+i] = w.req.score(token, row)
		if token == w.req.From {
			for _, c := range w.choices {
				c.found = []Score{c.req.score(token, row)}
			}
		}
	})
}

// score is that of a token, after logits for its place.
func (r *ScoreRequest) score(token int, logits []float32) Score {
	target := r.IDs[token]
	top, lp := sample.LogProbs(nil, logits, target, max(r.Top, 1))
	s := Score{LogProb: lp, Greedy: len(top) > 0 && top[0].ID == target}
	if r.Top > 0 {
		s.Top = top
	}
	return s
}

func (w *scoring) took(n int, _ []row) error {
	w.s.length = 0
	w.at += n
	return nil
}

func (w *scoring) preempt() {
	w.s.Close()
	w.at = 0
}

// embedding is the work of Scheduler.Embed: the mean of the hidden states after the final norm, scaled to length 1.
type embedding struct {
	s   *Session
	ids []int32
	at  int
	sum []float64
	n   int // tokens in sum
}

func (w *embedding) sessions() []*Session   { return []*Session{w.s} }
func (w *embedding) tokens() ([]int32, int) { return w.ids, 0 } // every token's hidden state is needed
func (w *embedding) cached(int)             {}
func (w *embedding) reading() bool          { return !w.done() }
func (w *embedding) remaining() int         { return len(w.ids) - w.at }
func (w *embedding) done() bool             { return w.at >= len(w.ids) }
func (w *embedding) end(err error) error    { return err }

func (w *embedding) next(ctx context.Context, _ *Engine, budget int, dst []Feed) ([]Feed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ids, want := w.ids[w.at:], wantHidden
	if w.at < w.n {
		ids, want = w.ids[w.at:w.n], WantNone // fed before, but preempted
	}
	w.s.length = len(w.ids)
	return append(dst, Feed{w.s, ids[:min(budget, len(ids))], want}), nil
}

func (w *embedding) took(n int, hidden []row) error {
	w.s.length = 0
	w.at += n
	if len(hidden) == 0 {
		return nil
	}
	if w.sum == nil {
		w.sum = make([]float64, len(hidden[0].values))
	}
	for _, h := range hidden {
		for i, x := range h.values {
			w.sum[i] += float64(x)
		}
	}
	w.n += n
	return nil
}

func (w *embedding) preempt() {
	w.s.Close()
	w.at = 0
}
