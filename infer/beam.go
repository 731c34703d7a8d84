package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"leolm/internal/sysmem"
	"leolm/sample"
)

// BeamAnswer is one result of a beam search.
type BeamAnswer struct {
	IDs   []int32
	Score float64 // sum of log-probabilities over length^LengthPenalty
}

// beams is the work of Scheduler.Beam. Each beam has a session of its own. Those of a preempted work are empty; they are
// filled again before the search goes on.
type beams struct {
	prompt []int32
	search *sample.BeamSearch
	beams  []beam
}

// beam is a running hypothesis: the text that it stands for, and the session that is to hold all of it but the last token.
type beam struct {
	s    *Session
	text []int32
}

// missing is how many tokens must be fed before the last one.
func (b *beam) missing() int { return max(len(b.text)-1-b.s.Len(), 0) }

func newBeams(e *Engine, s *Session, prompt []int32, p sample.BeamParams) (*beams, error) {
	if len(prompt) == 0 {
		return nil, errors.New("the prompt has no tokens; a model needs at least one (its BOS token, for example)")
	}
	if n := len(prompt) + 1; n > e.opt.Context {
		return nil, &ContextError{Tokens: n, Limit: e.opt.Context}
	}
	if p.MaxNewTokens <= 0 || p.MaxNewTokens > e.opt.Context-len(prompt) {
		p.MaxNewTokens = e.opt.Context - len(prompt)
	}
	// The logits of all beams, their log-probabilities, and each beam's candidates.
	if err := sysmem.Need(fmt.Sprintf("%d beams over %d tokens", p.Beams, e.model.Vocab), 16*float64(p.Beams)*float64(e.model.Vocab)); err != nil {
		return nil, err
	}
	search, err := sample.NewBeamSearch(p)
	if err != nil {
		return nil, err
	}
	return &beams{prompt: prompt, search: search, beams: []beam{{s, prompt}}}, nil
}

func (w *beams) sessions() []*Session {
	var all []*Session
	for _, b := range w.beams {
		all = append(all, b.s)
	}
	return all
}

func (w *beams) tokens() ([]int32, int) { return w.beams[0].text, len(w.beams[0].text) - 1 }
func (w *beams) cached(int)             {}
func (w *beams) reading() bool          { return w.remaining() > 0 }
func (w *beams) done() bool             { return w.search.Done() }
func (w *beams) end(err error) error    { return err }

func (w *beams) remaining() int {
	n := 0
	for i := range w.beams {
		n += w.beams[i].missing()
	}
	return n
}

func (w *beams) next(ctx context.Context, _ *Engine, budget int, dst []Feed) ([]Feed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range w.beams {
		b := &w.beams[i]
		if n := min(b.missing(), budget); n > 0 {
			at := b.s.Len()
			b.s.length = oneByOne
			if at < len(w.prompt) {
				n = min(n, len(w.prompt)-at)
				b.s.length = len(w.prompt)
			}
			return append(dst, Feed{b.s, b.text[at : at+n], WantNone}), nil
		}
	}
	for _, b := range w.beams {
		b.s.length = oneByOne
		if len(b.text) == len(w.prompt) {
			b.s.length = len(w.prompt)
		}
		dst = append(dst, Feed{b.s, b.text[len(b.text)-1:], WantLast})
	}
	return dst, nil
}

func (w *beams) took(_ int, rows []row) error {
	for _, b := range w.beams {
		b.s.length = 0
	}
	if len(rows) == 0 {
		return nil
	}
	lps := make([][]float32, len(w.beams))
	for i := range w.beams {
		if err := sample.CheckLogits(rows[i].values); err != nil {
			return err
		}
		lps[i] = logSoftmax(rows[i].values)
	}
	return w.search.Step(lps)
}

// branch implements brancher: beams that go on get a fork of the session that they come from; the last to come from it
// gets the session itself. One that the cache has no room for begins empty, and is filled when there is.
func (w *beams) branch(evict func() bool) {
	if slices.ContainsFunc(w.beams, func(b beam) bool { return b.s.Len() < len(b.text) }) {
		return // the pass only filled sessions
	}
	running := w.search.Running()
	heirs := make([]int, len(w.beams)) // of each beam, those that still need its session
	for _, h := range running {
		heirs[h.Parent]++
	}
	next := make([]beam, len(running))
	for i, h := range running {
		next[i].text = slices.Concat(w.prompt, h.Tokens)
		from := w.beams[h.Parent].s
		if heirs[h.Parent]--; heirs[h.Parent] == 0 {
			next[i].s = from
			continue
		}
		fork, err := from.forkEvicting(from.Len(), evict)
		if err != nil {
			fork = &Session{e: from.e, root: from.root, key: from.root}
		}
		next[i].s = fork
	}
	for parent, b := range w.beams {
		if !slices.ContainsFunc(running, func(h sample.Hypothesis) bool { return h.Parent == parent }) {
			b.s.Close()
		}
	}
	w.beams = next
}

func (w *beams) preempt() {
	for _, b := range w.beams {
		b.s.Close()
	}
}

// answers are the finished hypotheses.
func (w *beams) answers() []BeamAnswer {
	var out []BeamAnswer
	for _, h := range w.search.Finished() {
		out = append(out, BeamAnswer{IDs: h.Tokens, Score: float64(h.Score)})
	}
	return out
}

// logSoftmax sums in float64 and returns float32, the type of beam scores.
func logSoftmax(logits []float32) []float32 {
	top := logits[ArgMax(logits)]
	var sum float64
	for _, l := range logits {
		sum += math.Exp(float64(l - top))
	}
	lse := float64(top) + math.Log(sum)
	out := make([]float32, len(logits))
	for i, l := range logits {
		out[i] = float32(float64(l) - lse)
	}
	return out
}
