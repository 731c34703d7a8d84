package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"leolm/checkpoint"
	"leolm/sample"
	"leolm/tensor"
)

// scoresAlone are the scores of a text whose tokens are fed one by one.
func scoresAlone(t testing.TB, e *Engine, r *ScoreRequest) []Score {
	t.Helper()
	s := e.NewSession()
	defer s.Close()
	var out []Score
	for i, id := range r.IDs[:len(r.IDs)-1] {
		logits, err := e.Step([]Feed{{s, []int32{id}, WantLast}})
		if err != nil {
			t.Fatal(err)
		}
		if i+1 >= r.From {
			top, lp := sample.LogProbs(nil, logits, r.IDs[i+1], max(r.Top, 1))
			score := Score{LogProb: lp, Greedy: top[0].ID == r.IDs[i+1]}
			if r.Top > 0 {
				score.Top = top
			}
			out = append(out, score)
		}
	}
	return out
}

func sameScores(a, b []Score) bool {
	return slices.EqualFunc(a, b, func(x, y Score) bool {
		return x.LogProb == y.LogProb && x.Greedy == y.Greedy && slices.Equal(x.Top, y.Top)
	})
}

// Scores and embeddings come out of a crowded batch, with shared prefixes and a cache that is too small, as they do alone.
func TestSchedulerScoresAndEmbedsAsAlone(t *testing.T) {
	for _, pages := range []int{9, 200} {
		t.Run(fmt.Sprintf("%d pages", pages), func(t *testing.T) {
			e := schedulerEngine(t, pages)
			rng := rand.New(rand.NewPCG(uint64(pages), 2))
			common := tokens(100, 7)
			var reqs []*ScoreRequest
			var want [][]Score
			var vectors [][]float32
			for i := range 24 {
				ids := append(slices.Clone(common[:rng.IntN(101)]), tokens(2+rng.IntN(100), uint64(i))...)
				reqs = append(reqs, &ScoreRequest{IDs: ids, From: 1 + rng.IntN(len(ids)), Top: i % 3})
				want = append(want, scoresAlone(t, e, reqs[i]))
				v, err := e.Embed(context.Background(), ids)
				if err != nil {
					t.Fatal(err)
				}
				vectors = append(vectors, v)
			}
			s, _ := start(t, e, SchedulerOptions{MaxSequences: 10, MaxTokens: 70})
			var wg sync.WaitGroup
			for i, r := range reqs {
				delay := time.Duration(rng.IntN(40)) * time.Millisecond
				wg.Go(func() {
					time.Sleep(delay)
					got, err := s.Score(context.Background(), r)
					if err != nil || !sameScores(got[0], want[i]) {
						t.Errorf("text %d: %v, alone %v (%v)", i, got, want[i], err)
					}
					if v, err := s.Embed(context.Background(), "", r.IDs); err != nil || !slices.Equal(v, vectors[i]) {
						t.Errorf("text %d has another embedding (%v)", i, err)
					}
				})
				wg.Go(func() {
					time.Sleep(delay)
					if _, err := s.Submit(context.Background(), newPlain, &Request{Prompt: tokens(30, uint64(i)), MaxNewTokens: 20, TopLogProbs: -1}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	}
}

// Choices that branch from one text, of one token or many, equal ones and an empty one among them, score as each does
// alone, also when the cache has room for a few of them only or when some groups are canceled; and no page is lost.
func TestSchedulerScoresChoicesAsAlone(t *testing.T) {
	for _, c := range []struct{ pages, sequences int }{{7, 10}, {30, 3}, {200, 64}} {
		t.Run(fmt.Sprintf("%d pages, %d sequences", c.pages, c.sequences), func(t *testing.T) {
			e := schedulerEngine(t, c.pages)
			rng := rand.New(rand.NewPCG(uint64(c.pages), 3))
			var groups [][]*ScoreRequest
			var want [][][]Score
			for i := range 12 {
				context := tokens(1+rng.IntN(100), uint64(i))
				var g []*ScoreRequest
				var w [][]Score
				for k := range 1 + rng.IntN(5) {
					r := &ScoreRequest{IDs: append(slices.Clone(context), tokens(rng.IntN(3)*rng.IntN(30)+min(k, 1), uint64(k/2))...), From: len(context), Top: k % 2}
					g, w = append(g, r), append(w, scoresAlone(t, e, r))
				}
				groups, want = append(groups, g), append(want, w)
			}
			s, stop := start(t, e, SchedulerOptions{MaxSequences: c.sequences, MaxTokens: 40})
			var wg sync.WaitGroup
			for i, g := range groups {
				wg.Go(func() {
					got, err := s.Score(context.Background(), g...)
					if err != nil || !slices.EqualFunc(got, want[i], sameScores) {
						t.Errorf("group %d: %v, alone %v (%v)", i, got, want[i], err)
					}
				})
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
					defer cancel()
					if _, err := s.Score(ctx, g...); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("group %d, canceled: %v", i, err)
					}
				})
			}
			wg.Wait()
			stop()
			if n := e.cache.PagesInUse(); n > 0 {
				t.Errorf("%d pages are in use", n)
			}
		})
	}
	e := schedulerEngine(t, 20)
	s, stop := start(t, e, SchedulerOptions{})
	ids := tokens(60, 9)
	var choices []*ScoreRequest
	for i := range 4 {
		choices = append(choices, &ScoreRequest{IDs: append(slices.Clone(ids), tokens(1+i, uint64(i))...), From: len(ids)})
	}
	if _, err := s.Score(context.Background(), choices...); err != nil {
		t.Fatal(err)
	}
	choices[1].From--
	if _, err := s.Score(context.Background(), choices...); err == nil {
		t.Error("choices of two texts")
	}
	stop() // the last pass is counted after its works have ended
	if fed := s.Stats().BatchTokens; fed != 60+0+1+2+3 {
		t.Errorf("a text of 60 tokens and choices of 1 to 4 took %d tokens", fed)
	}
}

// Where keys depend on the length of the text, only texts of one length share them: what is kept for others changes nothing.
func TestPrefixesOfLongTexts(t *testing.T) {
	for name, scaling := range map[string]checkpoint.RopeScaling{
		"dynamic":  {Type: "dynamic", Factor: 4},
		"longrope": {Type: "longrope", Factor: 4, OriginalMaxPositions: 80, Long: slices.Repeat([]float32{3}, 16), Short: slices.Repeat([]float32{1}, 16)},
	} {
		scaled := func(c *checkpoint.Config) { c.MaxPositions, c.RopeScaling = 80, scaling }
		var reqs []*ScoreRequest
		for i := range 4 { // of 76 tokens to 106
			reqs = append(reqs, &ScoreRequest{IDs: append(tokens(70, 1), tokens(6+10*i, uint64(i))...), From: 70})
		}
		score := func(e *Engine, reqs ...*ScoreRequest) [][]Score {
			s, _ := start(t, e, SchedulerOptions{})
			var all [][]Score
			for range 2 {
				var err error
				if all, err = s.Score(context.Background(), reqs...); err != nil {
					t.Fatal(name, err)
				}
			}
			return all
		}
		together := score(schedulerEngine(t, 20, scaled), reqs...)
		for i, r := range reqs {
			if alone := score(schedulerEngine(t, 20, scaled), r); !sameScores(alone[0], together[i]) {
				t.Errorf("%s, text of %d tokens: %v alone, %v together", name, len(r.IDs), alone[0], together[i])
			}
		}
	}
}

// The logits of Score and the loss of Engine.Score are two ways to one number.
func TestSchedulerScoresWhatEngineScores(t *testing.T) {
	e := schedulerEngine(t, 20)
	ids := tokens(150, 4)
	session := e.NewSession()
	want, err := e.Score(context.Background(), session, ids)
	if err != nil {
		t.Fatal(err)
	}
	session.Close()
	s, _ := start(t, e, SchedulerOptions{})
	all, err := s.Score(context.Background(), &ScoreRequest{IDs: ids, From: 1})
	if err != nil {
		t.Fatal(err)
	}
	got := all[0]
	if err != nil || len(got) != len(ids)-1 {
		t.Fatal(len(got), err)
	}
	for i, g := range got {
		if math.Abs(g.LogProb-float64(want[i+1])) > 1e-5 {
			t.Errorf("token %d: %v and %v", i+1, g.LogProb, want[i+1])
		}
	}
	if _, err := s.Score(context.Background(), &ScoreRequest{IDs: ids, From: 0}); err == nil {
		t.Error("the first token has no score")
	}
}

// What one tenant has asked is not found by another, nor by the same one with another salt.
func TestPrefixesAreKeptApart(t *testing.T) {
	e := schedulerEngine(t, 60)
	s, _ := start(t, e, SchedulerOptions{})
	for _, c := range []struct {
		tenant, salt string
		cached       int
	}{{"a", "", 0}, {"a", "", 128}, {"b", "", 0}, {"a", "b", 0}, {"ab", "", 0}, {"a", "b", 128}} {
		r := &Request{Prompt: tokens(140, 3), MaxNewTokens: 1, TopLogProbs: -1, Tenant: c.tenant, Salt: c.salt}
		ts, err := s.Submit(context.Background(), newPlain, r)
		if err != nil {
			t.Fatal(err)
		}
		res, err := ts[0].Result()
		if err != nil || res.Stats.CachedTokens != c.cached {
			t.Errorf("tenant %q, salt %q: %d tokens were cached, want %d (%v)", c.tenant, c.salt, res.Stats.CachedTokens, c.cached, err)
		}
	}
}

// An answer that nobody reads pauses, the others go on, and it ends as it would have when it is read again.
func TestUnreadAnswersPause(t *testing.T) {
	e := schedulerEngine(t, 100)
	r := &Request{Prompt: tokens(20, 5), MaxNewTokens: 60, TopLogProbs: 0}
	want := alone(t, e, r)
	s, _ := start(t, e, SchedulerOptions{})
	slow := *r
	slow.Unread = 7
	ts, err := s.Submit(context.Background(), newPlain, &slow)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		other, err := s.Submit(context.Background(), newPlain, r)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := other[0].Result(); err != nil || !slices.Equal(res.IDs, want.res.IDs) {
			t.Fatal(res, err)
		}
	}
	ts[0].mu.Lock()
	if n := len(ts[0].tokens); n != 7 {
		t.Errorf("%d tokens wait, of at most 7", n)
	}
	ts[0].mu.Unlock()
	var got written
	for tok, ok := ts[0].Next(); ok; tok, ok = ts[0].Next() {
		got.toks = append(got.toks, tok)
	}
	if got.res, err = ts[0].Result(); err != nil || !same(got, want) {
		t.Error("the answer is another one", err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	if ts, err = s.Submit(ctx, newPlain, &slow); err != nil {
		t.Fatal(err)
	}
	<-ts[0].Ready()
	cancel()
	if _, err := ts[0].Result(); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled while it paused: %v", err)
	}
}

// A long prompt is read in pieces beside running answers, and short prompts that come later are not kept waiting by it.
func TestShortPromptsOvertakeLongOnes(t *testing.T) {
	e := schedulerEngine(t, 200)
	s, _ := start(t, e, SchedulerOptions{MaxTokens: 32})
	begin := time.Now()
	submit := func(n int) *Ticket {
		ts, err := s.Submit(context.Background(), newPlain, &Request{Prompt: tokens(n, uint64(n)), MaxNewTokens: 1, TopLogProbs: -1})
		if err != nil {
			t.Fatal(err)
		}
		return ts[0]
	}
	long := submit(3000)
	var short []*Ticket
	for i := range 5 {
		short = append(short, submit(10+i))
	}
	for _, ticket := range short {
		if _, err := ticket.Result(); err != nil {
			t.Fatal(err)
		}
	}
	if _, written, ended := long.Poll(); written || ended {
		t.Error("the short prompts waited for the long one")
	}
	if _, err := long.Result(); err != nil {
		t.Error(err)
	}
	t.Log(time.Since(begin))
}

// Tenants take turns: the one that asks much does not keep the one that asks little waiting.
func TestTenantsTakeTurns(t *testing.T) {
	s := &Scheduler{opt: SchedulerOptions{MaxSequences: 8}}
	for range 4 {
		s.active = append(s.active, &Ticket{tenant: "much"})
	}
	for _, who := range []string{"much", "much", "little", "much"} {
		s.waiting = append(s.waiting, &Ticket{tenant: who})
	}
	if i := s.turn(); i != 2 {
		t.Errorf("it is the turn of request %d", i)
	}
}

func TestPaceBoundsPasses(t *testing.T) {
	p := pace{stretch: 2.5}
	for range 20 {
		n := p.budget(0, 1, 0)
		p.took(fed{prompts: n}, time.Duration(n)*4*time.Millisecond)
	}
	if n := p.budget(0, 1, 0); n != 250 {
		t.Errorf("pieces of %d tokens, of which each takes 4 ms, in a pass that should take a second", n)
	}
	if n := p.budget(4, 1, 0); n != 0 {
		t.Errorf("%d tokens are read before a pass was measured", n)
	}
	p.took(fed{answers: 4}, 30*time.Millisecond)
	if n := p.budget(4, 1, 0); n != 5 {
		t.Errorf("%d tokens are read before a pass with both was measured", n)
	}
	for range 20 {
		n := p.budget(4, 1, 0)
		p.took(fed{answers: 4, prompts: n}, 30*time.Millisecond+time.Duration(n)*4*time.Millisecond)
	}
	if n := p.budget(4, 1, 0); n != 11 { // 1.5 × 30 ms hold 11 tokens of 4 ms
		t.Errorf("pieces of %d tokens", n)
	}
	p.took(fed{answers: 4}, 5*time.Millisecond)
	if n := p.budget(4, 1, 0); n != minPiece {
		t.Errorf("pieces of %d tokens", n)
	}
	p.took(fed{answers: 32}, 130*time.Millisecond)
	if n := p.budget(32, 1, 0); n < 40 || n > 50 {
		t.Errorf("pieces of %d tokens beside 32 answers", n)
	}
	if one, two, many := p.budget(32, 1, 0), p.budget(32, 2, 0), p.budget(32, 32, 0); two != one || many < 4*one-3 || many > 4*one+3 {
		t.Errorf("%d tokens of one prompt beside 32 answers, %d of two, %d of 32", one, two, many)
	}
	if n := p.budget(1, 31, 100) * int(p.beside); n > int(longestPass) {
		t.Errorf("31 prompts make one answer wait for %v", time.Duration(n))
	}
	// A prompt that nobody is read before is never late; one that waited twice as long for others gets twice as much.
	own := time.Duration(100 * float64(p.beside) * p.stretch / (p.stretch - 1))
	if one := p.late(own, 100); one < 0.99 || one > 1.01 || p.budget(32, 1, one) != p.budget(32, 1, 0) {
		t.Errorf("a prompt read without pause is %g late, and pieces have %d tokens", one, p.budget(32, 1, one))
	}
	if usual, late := p.budget(32, 1, 0), p.budget(32, 1, p.late(2*own, 100)); late < 2*usual-1 || late > 2*usual+1 {
		t.Errorf("pieces of %d tokens, of a late prompt %d", usual, late)
	}
	for range measureAfter {
		p.took(fed{answers: 32, prompts: 48}, 300*time.Millisecond)
	}
	if n := p.budget(32, 1, 0); n != 0 {
		t.Error("a pass without prompts is never measured again")
	}
}

// A batch of answers allocates little, and none of it grows with the vocabulary.
func BenchmarkSchedulerPass(b *testing.B) {
	e := testEngine(b, 2, tensor.Q8_0, tensor.F16, 32)
	s, _ := start(b, e, SchedulerOptions{})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		var ts []*Ticket
		for i := range 8 {
			t, err := s.Submit(context.Background(), newPlain, &Request{Prompt: tokens(8, uint64(i)), MaxNewTokens: 64, TopLogProbs: -1})
			if err != nil {
				b.Fatal(err)
			}
			ts = append(ts, t...)
		}
		for _, t := range ts {
			res, err := t.Result()
			if err != nil {
				b.Fatal(err)
			}
			n += len(res.IDs)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tokens/s")
}

// beamAlone searches with nothing else running, and gives the engine back.
func beamAlone(t testing.TB, e *Engine, prompt []int32, p sample.BeamParams) []BeamAnswer {
	t.Helper()
	s, stop := start(t, e, SchedulerOptions{})
	found, err := s.Beam(context.Background(), prompt, p)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	return found
}

// A beam search beside other works, with a cache that is too small for all of them, finds what it finds alone; no page is
// lost when it is canceled.
func TestBeamsBesideOthers(t *testing.T) {
	for _, pages := range []int{12, 200} {
		e := schedulerEngine(t, pages)
		var want [][]BeamAnswer
		var prompts [][]int32
		p := sample.BeamParams{Beams: 4, LengthPenalty: 1, MaxNewTokens: 20}
		for i := range 4 {
			prompts = append(prompts, tokens(40+20*i, uint64(i)))
			want = append(want, beamAlone(t, e, prompts[i], p))
		}
		s, stop := start(t, e, SchedulerOptions{MaxSequences: 6, MaxTokens: 40})
		var wg sync.WaitGroup
		for i, prompt := range prompts {
			wg.Go(func() {
				got, err := s.Beam(context.Background(), prompt, p)
				if err != nil || !slices.EqualFunc(got, want[i], func(x, y BeamAnswer) bool { return x.Score == y.Score && slices.Equal(x.IDs, y.IDs) }) {
					t.Errorf("%d pages, search %d: %v, alone %v (%v)", pages, i, got, want[i], err)
				}
			})
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(10+10*i)*time.Millisecond)
				defer cancel()
				if _, err := s.Beam(ctx, prompt, p); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				r := &Request{Prompt: prompt, MaxNewTokens: 30, TopLogProbs: -1}
				ts, err := s.Submit(context.Background(), newPlain, r, r)
				if err != nil {
					t.Error(err)
					return
				}
				for _, ticket := range ts {
					if _, err := ticket.Result(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		stop()
		if n := e.cache.PagesInUse(); n != 0 {
			t.Errorf("%d pages are still in use", n)
		}
	}
}
