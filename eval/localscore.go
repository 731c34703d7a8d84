package eval

import (
	"context"
	"errors"
	"slices"
	"sort"

	"leolm/infer"
)

const (
	// scoresTogether is how many texts, or groups of choices, are scored at the same time.
	scoresTogether = 32
	// sharedTokens is the length of a common beginning for which a text waits until another has read it: about a page.
	sharedTokens = 32
	// choiceTokens is the least number of tokens before the choices of a group: fewer are not worth sharing. A group has at
	// most mostChoices.
	choiceTokens, mostChoices = 8, 32
)

// scoreItem is a text to score, and what comes of it.
type scoreItem struct {
	i     int // of the request
	ids   []int32
	from  int
	score Score
}

// Score implements Scorer. What texts have in common is read once: the choices of one question branch from its end, and
// questions that begin alike are scored one after the other as far as they do.
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
	groups := groupsOf(items)
	after := leaders(groups)
	finished := make([]chan struct{}, len(groups))
	for i := range finished {
		finished[i] = make(chan struct{})
	}
	return each(ctx, scoresTogether, len(groups), func(ctx context.Context, k int) ([]Score, error) {
		defer close(finished[k])
		// Groups are begun in order, so the one that is waited for has been begun.
		if j := after[k]; j >= 0 {
			select {
			case <-finished[j]:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		g := groups[k]
		err := l.logLikelihoods(ctx, g)
		if err != nil && ownFault(err) && len(g) > 1 {
			// One of them is at fault: which one is seen when they are scored one by one.
			err = nil
			for i := range g {
				if g[i].score.Err = l.logLikelihoods(ctx, g[i:i+1]); g[i].score.Err != nil && !ownFault(g[i].score.Err) {
					err = g[i].score.Err
				}
			}
		}
		if err != nil && !ownFault(err) {
			return nil, &endedError{err}
		}
		scores := make([]Score, len(g))
		for i := range g {
			scores[i] = g[i].score
			if err != nil {
				scores[i].Err = err
			}
		}
		return scores, nil
	}, func(k int, scores []Score) error {
		for i, s := range scores {
			if err := done(groups[k][i].i, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// groupsOf parts sorted items into runs that are equal up to where their scores begin: the choices of one question. An item
// that cannot be scored is alone.
func groupsOf(items []scoreItem) [][]scoreItem {
	var groups [][]scoreItem
	for k := range items {
		if n := len(groups); n > 0 {
			g, it := groups[n-1], &items[k]
			if first := &g[0]; it.from == first.from && it.from >= choiceTokens && len(g) < mostChoices && slices.Equal(it.ids[:it.from], first.ids[:it.from]) {
				groups[n-1] = items[k-len(g) : k+1]
				continue
			}
		}
		groups = append(groups, items[k:k+1])
	}
	return groups
}

// leaders returns for each group the first of those before it that share the longest beginning with it, -1 if none shares
// enough.
func leaders(groups [][]scoreItem) []int {
	out := make([]int, len(groups))
	type run struct{ first, common int } // groups from first on share so many tokens with the present one
	var runs []run
	for k := range groups {
		common := 0
		if k > 0 {
			a, b := groups[k-1][0].ids, groups[k][0].ids
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

// logLikelihoods scores the items of a group: for each the sum of log p of ids[from:], and whether each of these tokens was
// the most probable.
func (l *Local) logLikelihoods(ctx context.Context, g []scoreItem) error {
	if g[0].score.Err != nil {
		return nil // it is alone
	}
	reqs := make([]*infer.ScoreRequest, len(g))
	for i, it := range g {
		reqs[i] = &infer.ScoreRequest{IDs: it.ids, From: it.from}
	}
	all, err := l.s.Score(ctx, reqs...)
	for i, scores := range all {
		s := &g[i].score
		s.LogProb, s.Greedy = 0, true
		for _, x := range scores {
			s.LogProb += x.LogProb
			s.Greedy = s.Greedy && x.Greedy
		}
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
