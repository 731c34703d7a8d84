package eval

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"slices"

	"leolm/infer"
)

// scoredTogether is how many texts a scheduler is given at a time: enough to fill its passes.
const scoredTogether = 64

// Score implements Scorer. Requests with a common beginning share its computation: of each of them the first is scored
// alone, and the others take over its pages.
func (l *Local) Score(ctx context.Context, reqs []ScoreRequest, done func(i int, s Score) error) error {
	texts := make([]scored, len(reqs))
	for i, r := range reqs {
		texts[i].ids, texts[i].from, texts[i].Score = l.scored(r)
	}
	return l.scoreAll(ctx, texts, done)
}

// ScoreRolling implements Scorer: the first window is the prefix token and what the window has room for, each later one
// scores the next tokens behind as many earlier ones as there is room for.
func (l *Local) ScoreRolling(ctx context.Context, texts []string, done func(i int, s Score) error) error {
	prefix, err := l.prefix()
	if err != nil {
		return err
	}
	var parts []scored
	var of []int               // the text of each part
	left := map[int]int{}      // parts of a text that are not scored yet
	totals := map[int]*Score{} // of texts that are begun
	for i, text := range texts {
		ids := l.m.Tokenizer.AppendTokens([]int32{prefix}, text)
		ws := rollingWindows(len(ids)-1, l.m.Engine.Context())
		if len(ws) == 0 {
			parts, of, left[i] = append(parts, scored{Score: Score{Err: errNoTokens}}), append(of, i), 1
		}
		for _, w := range ws {
			parts, of = append(parts, scored{ids: ids[w.begin:w.end], from: w.from - w.begin, Score: Score{Tokens: w.end - w.from}}), append(of, i)
			left[i]++
		}
		totals[i] = &Score{Greedy: true}
	}
	// Parts are added in the order of the text, so that the sum does not depend on which was finished first.
	got := make([]Score, len(parts))
	return l.scoreAll(ctx, parts, func(k int, s Score) error {
		got[k] = s
		i := of[k]
		if left[i]--; left[i] > 0 {
			return nil
		}
		t := totals[i]
		for k := slices.Index(of, i); k < len(of) && of[k] == i; k++ {
			t.add(got[k])
		}
		return done(i, *t)
	})
}

// add adds a part of the same text.
func (s *Score) add(p Score) {
	s.LogProb += p.LogProb
	s.Tokens += p.Tokens
	s.Greedy = s.Greedy && p.Greedy
	if s.Err == nil {
		s.Err = p.Err
	}
}

var errNoTokens = errors.New("the text has no tokens")

// scored is a text to be scored from one of its tokens on; with an error there is none.
type scored struct {
	Score
	ids  []int32
	from int
}

// plan says which text must be scored before which, so that it finds its beginning in the cache.
type plan struct {
	order    []int   // of texts; others begin with what an earlier one begins with
	children [][]int // places in order, that wait for the text at this place
	ready    readyList
}

// readyList is a heap of places in order: what stands together is scored together.
type readyList []int

func (r readyList) Len() int           { return len(r) }
func (r readyList) Less(i, j int) bool { return r[i] < r[j] }
func (r readyList) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }

// Push and Pop implement heap.Interface.
func (r *readyList) Push(x any) { *r = append(*r, x.(int)) }
func (r *readyList) Pop() any {
	old := *r
	x := old[len(old)-1]
	*r = old[:len(old)-1]
	return x
}

// newPlan sorts texts by their tokens. A text waits for the first one that has as many whole pages in common with it as any
// before it.
func newPlan(texts []scored, pageLen int) *plan {
	p := &plan{children: make([][]int, len(texts))}
	for i := range texts {
		p.order = append(p.order, i)
	}
	slices.SortStableFunc(p.order, func(a, b int) int { return slices.Compare(texts[a].ids, texts[b].ids) })
	type level struct{ pages, first int }
	var stack []level
	for k, i := range p.order {
		pages := 0
		if k > 0 {
			// Only what stands before the first wanted token can come from the cache.
			pages = common(texts[p.order[k-1]].ids, texts[i].ids[:max(texts[i].from-1, 0)]) / pageLen
		}
		first := k - 1
		for len(stack) > 0 && stack[len(stack)-1].pages > pages {
			first = stack[len(stack)-1].first
			stack = stack[:len(stack)-1]
		}
		if pages == 0 {
			heap.Push(&p.ready, k)
			continue
		}
		if len(stack) == 0 || stack[len(stack)-1].pages < pages {
			stack = append(stack, level{pages, first})
		}
		parent := stack[len(stack)-1].first
		p.children[parent] = append(p.children[parent], k)
	}
	return p
}

// common is the length of the common beginning.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// scoreAll scores texts with the scheduler and hands the results on, one at a time.
func (l *Local) scoreAll(ctx context.Context, texts []scored, done func(i int, s Score) error) error {
	r := l.scheduler()
	defer l.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type finished struct {
		at  int
		s   Score
		err error
	}
	p := newPlan(texts, r.s.Stats().PageLen)
	results := make(chan finished, scoredTogether)
	running := 0
	defer func() { // nobody may use the texts' pages when this function has returned
		cancel()
		for ; running > 0; running-- {
			<-results
		}
	}()
	for p.ready.Len() > 0 || running > 0 {
		for p.ready.Len() > 0 && running < scoredTogether {
			at := heap.Pop(&p.ready).(int)
			running++
			go func() {
				s, err := l.scoreOne(ctx, r.s, &texts[p.order[at]])
				results <- finished{at, s, err}
			}()
		}
		f := <-results
		running--
		if f.err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !ownFault(f.err) {
				return f.err
			}
			f.s.Err = f.err
		}
		if err := done(p.order[f.at], f.s); err != nil {
			return err
		}
		for _, k := range p.children[f.at] {
			heap.Push(&p.ready, k)
		}
	}
	return nil
}

// scoreOne scores one text.
func (l *Local) scoreOne(ctx context.Context, s *infer.Scheduler, t *scored) (Score, error) {
	if t.Err != nil {
		return t.Score, nil
	}
	tokens, err := s.Score(ctx, &infer.ScoreRequest{IDs: t.ids, From: t.from})
	if err != nil {
		return t.Score, err
	}
	out := t.Score
	out.Greedy = true
	for _, tok := range tokens {
		out.LogProb += tok.LogProb
		out.Greedy = out.Greedy && tok.Greedy
	}
	if math.IsInf(out.LogProb, -1) || math.IsNaN(out.LogProb) {
		out.Err = errors.New("the model gives a token no probability: its weights or its arithmetic are broken")
	}
	return out, nil
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
