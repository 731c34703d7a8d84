package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"leolm/chat"
	"leolm/internal/cluster"
	"leolm/open"
)

// counting is a model whose results follow from the requests; it counts them.
type counting struct {
	name  string
	fails string // a text that it cannot score
	asked int
}

func (m *counting) Identity() Identity { return Identity{Name: m.name, Kind: "local"} }

func (m *counting) Score(ctx context.Context, reqs []ScoreRequest, done func(int, Score) error) error {
	for _, i := range rand.Perm(len(reqs)) {
		r := reqs[i]
		m.asked++
		if err := ctx.Err(); err != nil {
			return err
		}
		if m.fails != "" && r.Context == m.fails {
			return errors.New("no memory")
		}
		s := Score{LogProb: -float64(len(r.Context)) / 3, Tokens: len(r.Continuation), Greedy: len(r.Context)%2 == 0}
		switch r.Continuation {
		case "":
			s.Err = errors.New("nothing to score")
		case "?":
			s.LogProb = math.NaN()
		}
		if err := done(i, s); err != nil {
			return err
		}
	}
	return nil
}

func (m *counting) ScoreRolling(ctx context.Context, texts []string, done func(int, Score) error) error {
	for i, t := range texts {
		m.asked++
		if err := done(i, Score{LogProb: -float64(len(t)), Tokens: len(t)}); err != nil {
			return err
		}
	}
	return nil
}

func (m *counting) Generate(ctx context.Context, reqs []Request, done func(int, Answer) error) error {
	for i, r := range reqs {
		m.asked++
		if err := done(i, Answer{Text: fmt.Sprint("re: ", r.Messages[0].Content, r.Seed), Finish: "stop", NewTokens: 3}); err != nil {
			return err
		}
	}
	return nil
}

// onReplicas runs f on rank 0 with the replicas of models.
func onReplicas(t *testing.T, models []*counting, f func(ctx context.Context, m Model)) []error {
	t.Helper()
	comms, err := cluster.Local(len(models), cluster.Faults{}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, len(models))
	var wg sync.WaitGroup
	for rank, c := range comms {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if rank > 0 {
				errs[rank] = Follow(ctx, c, models[rank])
			} else if m, err := NewReplicas(ctx, c, models[0]); err != nil {
				errs[0] = err
			} else {
				f(ctx, m)
				errs[0] = errors.Join(m.Close(), m.Close())
			}
			if err := c.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return errs
}

func models(n int) []*counting {
	m := make([]*counting, n)
	for i := range m {
		m[i] = &counting{name: "m"}
	}
	return m
}

// Every request is answered once, by the rank that it was dealt to, as by one model; all ranks have work.
func TestReplicas(t *testing.T) {
	var scores []ScoreRequest
	var texts []string
	var asks []Request
	for i := range 301 {
		r := ScoreRequest{strings.Repeat("x", 7*i%977), fmt.Sprint(i)}
		switch i {
		case 17:
			r.Continuation = ""
		case 18:
			r.Continuation = "?"
		}
		scores, texts = append(scores, r), append(texts, strings.Repeat("y", i))
		asks = append(asks, Request{Messages: []chat.Message{{Role: chat.User, Content: fmt.Sprint(i)}}, Seed: uint64(i)})
	}
	type all struct {
		Scores, Rolling [301]Score
		Answers         [301]Answer
		Calls           int
	}
	ask := func(t *testing.T, ctx context.Context, m Model) *all {
		a := &all{}
		err := errors.Join(
			m.Score(ctx, scores, func(i int, s Score) error { a.Scores[i] = s; a.Calls++; return nil }),
			m.ScoreRolling(ctx, texts, func(i int, s Score) error { a.Rolling[i] = s; a.Calls++; return nil }),
			m.Generate(ctx, asks, func(i int, x Answer) error { a.Answers[i] = x; a.Calls++; return nil }))
		if err != nil {
			t.Error(err)
		}
		return a
	}
	want := ask(t, t.Context(), models(1)[0])
	for _, n := range []int{1, 2, 5} {
		replicas := models(n)
		err := errors.Join(onReplicas(t, replicas, func(ctx context.Context, m Model) {
			if m.Identity().Name != "m" {
				t.Errorf("%v", m.Identity())
			}
			if got := ask(t, ctx, m); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				t.Errorf("%d ranks: other results, from %d calls", n, got.Calls)
			}
		})...)
		if err != nil {
			t.Error(err)
		}
		sum := 0
		for rank, m := range replicas {
			sum += m.asked
			if m.asked < 3*301/(2*n) {
				t.Errorf("rank %d of %d was asked %d times", rank, n, m.asked)
			}
		}
		if sum != 3*301 {
			t.Errorf("%d ranks were asked %d times, want %d", n, sum, 3*301)
		}
	}
}

// What one rank cannot do ends the call, with its name; models that differ are refused; a full disk ends the call.
func TestReplicasFail(t *testing.T) {
	reqs := []ScoreRequest{{"a", "1"}, {"b", "2"}, {"c", "3"}, {"z", "4"}}
	keep := func(int, Score) error { return nil }
	for rank, text := range []string{"a", "z"} {
		replicas := models(2)
		replicas[rank].fails = text
		err := errors.Join(onReplicas(t, replicas, func(ctx context.Context, m Model) {
			var other *open.RankError
			err := m.Score(ctx, reqs, keep)
			if err == nil || !strings.Contains(err.Error(), "no memory") || errors.As(err, &other) != (rank == 1) {
				t.Errorf("rank %d: %v", rank, err)
			}
			if err := m.ScoreRolling(ctx, []string{"a", "b"}, keep); err != nil {
				t.Errorf("after an error: %v", err)
			}
		})...)
		if err != nil {
			t.Error(err)
		}
	}
	full := errors.New("disk full")
	err := errors.Join(onReplicas(t, models(3), func(ctx context.Context, m Model) {
		if err := m.Score(ctx, reqs, func(i int, _ Score) error {
			if i == 3 {
				return full
			}
			return nil
		}); !errors.Is(err, full) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if err := m.Score(ctx, reqs, keep); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})...)
	if err != nil {
		t.Error(err)
	}
	others := models(2)
	others[1].name = "n"
	for rank, err := range onReplicas(t, others, nil) {
		var differ *open.DifferError
		if !errors.As(err, &differ) || differ.Rank != 1 {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

func TestCuts(t *testing.T) {
	for _, c := range []struct {
		work []int
		n    int
		want string
	}{
		{[]int{1, 1, 1, 1}, 2, "[0 2 4]"}, {[]int{9, 1, 1, 1}, 2, "[0 1 4]"}, {[]int{1, 1, 1, 9}, 2, "[0 3 4]"},
		{[]int{5}, 3, "[0 0 1 1]"}, {nil, 2, "[0 0 0]"}, {[]int{3, 3, 3}, 3, "[0 1 2 3]"},
	} {
		if got := fmt.Sprint(cuts(c.work, c.n)); got != c.want {
			t.Errorf("%v for %d: %s, want %s", c.work, c.n, got, c.want)
		}
	}
}
