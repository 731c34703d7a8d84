package eval

import (
	"context"
	"errors"
	"slices"
	"sort"

	"leolm/infer"
)

const (
	// scoresTogether is how many texts are scored at the same time.
	scoresTogether = 32
	// sharedTokens is the length of a common beginning for which a text waits until another has read it: about a page.
	sharedTokens = 32
)

// scoreItem is a text to score, and what comes of it.
type scoreItem struct {
	i     int // of the request
	ids   []int32
	from  int
	score Score
}

// Score implements Scorer. Texts with a common beginning are scored one after the other as far as they share it, so that
// it is read once.
func (l *Local) Score(ctx context.Context, reqs []ScoreRequest, done func(i int, s Score) error) error {
	items := make([]scoreItem, len(reqs))
	for i, r := range reqs {
		items[i].i = i
		items[i].ids, items[i].from, items[i].score = l.scored(r)
	}
	slices.SortStableFunc(items, func(a, b scoreItem) int { return slices.Compare(a.ids, b.ids) })
	return l.scoreAll(ctx, items, done)
}

// scoreAll scores items, which are sorted, several at a time.
func (l *Local) scoreAll(ctx context.Context, items []scoreItem, done func(i int, s Score) error) error {
	after := leaders(items)
	finished := make([]chan struct{}, len(items))
	for i := range finished {
		finished[i] = make(chan struct{})
	}
	return each(ctx, scoresTogether, len(items), func(ctx context.Context, k int) (Score, error) {
		it := &items[k]
		defer close(finished[k])
		// Items are begun in order, so the one that is waited for has been begun.
		if j := after[k]; j >= 0 {
			select {
			case <-finished[j]:
			case <-ctx.Done():
				return Score{}, ctx.Err()
			}
		}
		if it.score.Err != nil {
			return it.score, nil
		}
		err := l.logLikelihood(ctx, it)
		if err != nil && !ownFault(err) {
			return it.score, &endedError{err}
		}
		it.score.Err = err
		return it.score, nil
	}, func(k int, s Score) error { return done(items[k].i, s) })
}

// leaders returns for each item the first of those before it that share the longest beginning with it, -1 if none shares
// enough.
func leaders(items []scoreItem) []int {
	out := make([]int, len(items))
	type run struct{ first, common int } // items from first on share so many tokens with the present one
	var runs []run
	for k := range items {
		common := 0
		if k > 0 {
			a, b := items[k-1].ids, items[k].ids
			for common < min(len(a), len(b)) && a[common] == b[common] {
				common++
			}
		}
		first := k - 1
		for len(runs) > 0 && runs[len(runs)-1].common >= common {
			first = runs[len(runs)-1].first
			runs = runs[:len(runs)-1]
		}
		out[k] = -1
		if k > 0 {
			runs = append(runs, run{first, common})
			if common >= sharedTokens {
				out[k] = first
			}
		}
	}
	return out
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

// logLikelihood scores an item: the sum of log p of ids[from:], and whether each of them was the most probable.
func (l *Local) logLikelihood(ctx context.Context, it *scoreItem) error {
	scores, err := l.s.Score(ctx, &infer.ScoreRequest{IDs: it.ids, From: it.from})
	it.score.LogProb, it.score.Greedy = 0, true
	for _, s := range scores {
		it.score.LogProb += s.LogProb
		it.score.Greedy = it.score.Greedy && s.Greedy
	}
	return err
}

// ScoreRolling implements Scorer: the first window is the prefix token and what the window has room for, each later one
// scores the next tokens behind as many earlier ones as there is room for.
func (l *Local) ScoreRolling(ctx context.Context, texts []string, done func(i int, s Score) error) error {
	prefix, err := l.prefix()
	if err != nil {
		return err
	}
	// The windows of a text are items[begin[i]:begin[i+1]].
	totals, left, begin := make([]Score, len(texts)), make([]int, len(texts)), make([]int, len(texts)+1)
	var items []scoreItem
	for i, text := range texts {
		ids := l.m.Tokenizer.AppendTokens([]int32{prefix}, text)
		ws := rollingWindows(len(ids)-1, l.m.Engine.Context())
		totals[i], left[i] = Score{Greedy: true, Tokens: len(ids) - 1}, len(ws)
		for _, w := range ws {
			items = append(items, scoreItem{i: len(items), ids: ids[w.begin:w.end], from: w.from - w.begin})
		}
		begin[i+1] = len(items)
		if len(ws) == 0 {
			if err := done(i, Score{Err: errors.New("the text has no tokens")}); err != nil {
				return err
			}
		}
	}
	parts := make([]Score, len(items))
	return l.scoreAll(ctx, items, func(k int, s Score) error {
		parts[k] = s
		text := sort.SearchInts(begin[1:], k+1) // the first that ends behind the window
		if left[text]--; left[text] > 0 {
			return nil
		}
		// They are added in their order, whatever order they were scored in.
		total := totals[text]
		for _, part := range parts[begin[text]:begin[text+1]] {
			total.LogProb += part.LogProb
			total.Greedy = total.Greedy && part.Greedy
			if total.Err == nil {
				total.Err = part.Err
			}
		}
		return done(text, total)
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
