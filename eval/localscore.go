package eval

import (
	"context"
	"errors"
	"slices"

	"leolm/infer"
)

// scoredRows is how many rows of logits exist at one time.
const scoredRows = 64

// Score implements Scorer. Requests with a common beginning share its computation.
func (l *Local) Score(ctx context.Context, reqs []ScoreRequest, done func(i int, s Score) error) error {
	type item struct {
		i    int
		ids  []int32
		from int
		s    Score
	}
	items := make([]item, 0, len(reqs))
	for i, r := range reqs {
		it := item{i: i}
		it.ids, it.from, it.s = l.scored(r)
		items = append(items, it)
	}
	slices.SortStableFunc(items, func(a, b item) int { return slices.Compare(a.ids, b.ids) })
	return l.exclusively(func() error {
		s := l.m.Engine.NewSession()
		defer s.Close()
		for _, it := range items {
			score := it.s
			if score.Err == nil {
				err := l.logLikelihood(ctx, s, it.ids, it.from, &score)
				if err != nil && (ctx.Err() != nil || !ownFault(err)) {
					return err
				}
				score.Err = err
			}
			if err := done(it.i, score); err != nil {
				return err
			}
		}
		return nil
	})
}

// exclusively runs f while the scheduler does not use the engine.
func (l *Local) exclusively(f func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.busy > 0 {
		l.idle.Wait()
	}
	l.stop()
	return f()
}

// prefix is the token that stands before a text without context.
func (l *Local) prefix() (int32, error) {
	t := l.m.Tokenizer
	if t.BOS() >= 0 {
		return t.BOS(), nil
	}
	if t.EOS() >= 0 {
		return t.EOS(), nil
	}
	return 0, errors.New("the tokenizer has neither a BOS nor an EOS token: a text without context can't be scored")
}

// scored returns the tokens of context and continuation, and where the continuation begins, as lm-evaluation-harness'
// _encode_pair finds them.
func (l *Local) scored(r ScoreRequest) (ids []int32, from int, s Score) {
	before, after := splitContext(r)
	t := l.m.Tokenizer
	if before == "" {
		prefix, err := l.prefix()
		if err != nil {
			return nil, 0, Score{Err: err}
		}
		ids, from = t.AppendTokens([]int32{prefix}, after), 1
	} else {
		context := t.AppendTokens(l.bos(), before)
		ids, from = t.AppendTokens(l.bos(), before+after), len(context)
		s.Uneven = !slices.Equal(context, ids[:min(len(context), len(ids))])
		if from >= len(ids) {
			ids, s.Alone = t.AppendTokens(context, after), true
		}
	}
	if s.Tokens = len(ids) - from; s.Tokens == 0 {
		return nil, 0, Score{Err: errors.New("the continuation has no tokens")}
	}
	// The last token is not fed: the window holds all others. What stands first stays, if it is a BOS.
	if over := len(ids) - 1 - l.m.Engine.Context(); over > 0 {
		keep := 0
		if ids[0] == t.BOS() {
			keep = 1
		}
		if from-over < keep+1 {
			return nil, 0, Score{Err: &infer.ContextError{Tokens: s.Tokens, Limit: l.m.Engine.Context()}}
		}
		ids, from, s.Dropped = slices.Delete(slices.Clone(ids), keep, keep+over), from-over, over
	}
	return ids, from, s
}

// logLikelihood adds log p(ids[from:] | ids[:from]) to out and says whether each of them was the most probable. s may hold a
// beginning of ids.
func (l *Local) logLikelihood(ctx context.Context, s *infer.Session, ids []int32, from int, out *Score) error {
	e := l.m.Engine
	// Only what stands before the first wanted row may be reused.
	s.Truncate(s.Reuse(ids[:from]))
	if fresh := ids[s.Len() : from-1]; len(fresh) > 0 {
		if _, err := e.Prefill(ctx, s, fresh, nil); err != nil {
			return err
		}
	}
	out.LogProb, out.Greedy = 0, true
	vocab := e.Model().Vocab
	for at := from; at < len(ids); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(scoredRows, len(ids)-at)
		logits, err := e.Step([]infer.Feed{{Session: s, IDs: ids[at-1 : at-1+n], Want: infer.WantAll}})
		if err != nil {
			return err
		}
		for k := range n {
			row := logits[k*vocab : (k+1)*vocab]
			id := ids[at+k]
			out.LogProb += float64(infer.LogProb(row, id))
			out.Greedy = out.Greedy && infer.ArgMax(row) == id
		}
		at += n
	}
	return nil
}

// ScoreRolling implements Scorer: the first window is the prefix token and what the window has room for, each later one
// scores the next tokens behind as many earlier ones as there is room for.
func (l *Local) ScoreRolling(ctx context.Context, texts []string, done func(i int, s Score) error) error {
	prefix, err := l.prefix()
	if err != nil {
		return err
	}
	return l.exclusively(func() error {
		s := l.m.Engine.NewSession()
		defer s.Close()
		for i, text := range texts {
			total := Score{Greedy: true}
			ids := l.m.Tokenizer.AppendTokens([]int32{prefix}, text)
			for _, w := range rollingWindows(len(ids)-1, l.m.Engine.Context()) {
				s.Close()
				var part Score
				if err := l.logLikelihood(ctx, s, ids[w.begin:w.end], w.from-w.begin, &part); err != nil {
					return err
				}
				total.LogProb += part.LogProb
				total.Greedy = total.Greedy && part.Greedy
				total.Tokens += w.end - w.from
			}
			if total.Tokens == 0 {
				total = Score{Err: errors.New("the text has no tokens")}
			}
			if err := done(i, total); err != nil {
				return err
			}
		}
		return nil
	})
}

// window is a stretch of a text with its prefix token: ids[from:end] are scored behind ids[begin:from].
type window struct{ begin, from, end int }

// rollingWindows cuts a text of n tokens, which the prefix token precedes, into windows that feed at most size tokens.
func rollingWindows(n, size int) []window {
	var ws []window
	for scored := 0; scored < n; {
		end := min(n, scored+size)
		ws = append(ws, window{begin: max(0, end-size), from: scored + 1, end: end + 1})
		scored = end
	}
	return ws
}
