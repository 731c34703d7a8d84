package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"leolm/internal/cluster"
)

// onRanks runs a plan on n ranks, and returns what became of each; change may alter a rank's folder and options.
func onRanks(t *testing.T, n int, dir string, change func(rank int, dir *string, o *RunOptions)) []error {
	t.Helper()
	comms, err := cluster.Local(n, cluster.Faults{}, cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for rank, c := range comms {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			own, o := dir, RunOptions{Task: -1, Workers: 1, Tokenizer: wordTokenizer, Ranks: c}
			if change != nil {
				change(rank, &own, &o)
			}
			errs[rank] = Run(ctx, own, o)
			if err := c.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return errs
}

// Ranks share the tasks of every stage, each does some, and the bytes are those of one process; a run that was stopped
// goes on with what is missing.
func TestRanksShareTheTasks(t *testing.T) {
	dir, recipe := fixture(t)
	alone := filepath.Join(dir, "alone")
	mustPlan(t, recipe, alone, 3)
	mustRun(t, alone, 2)
	want := snapshot(t, alone)
	for _, n := range []int{2, 3} {
		out := filepath.Join(dir, fmt.Sprint("ranks", n))
		p := mustPlan(t, recipe, out, 3)
		var mu sync.Mutex
		done, skipped := make([]map[string]int, n), 0
		count := func(rank int, _ *string, o *RunOptions) {
			o.Event = func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Skipped {
					skipped++
					return
				}
				done[rank][e.Stage]++
			}
		}
		for _, missing := range []string{"", "done/prep-00000.json"} {
			for r := range done {
				done[r] = map[string]int{}
			}
			skipped = 0
			if missing != "" {
				if err := os.Remove(filepath.Join(out, missing)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(onRanks(t, n, out, count)...); err != nil {
				t.Fatal(err)
			}
			sameOutput(t, fmt.Sprint(n, " ranks"), snapshot(t, out), want)
			tasks, sum := 0, skipped
			for _, s := range p.Stages {
				tasks += s.Tasks
				for r := range done {
					sum += done[r][s.Name]
				}
			}
			if sum != tasks {
				t.Errorf("%d of %d tasks were done or skipped", sum, tasks)
			}
			if missing != "" && skipped != tasks-1 {
				t.Errorf("%d of %d tasks were done again", tasks-skipped, tasks)
			}
			if prep := done[1][StagePrep]; missing == "" && prep == 0 {
				t.Errorf("%d ranks: rank 1 did nothing of %v", n, done)
			}
		}
	}
}

// An error of one rank is that of all, with its name; what the others have done is kept.
func TestRanksFailTogether(t *testing.T) {
	dir, recipe := fixture(t)
	out := filepath.Join(dir, "out")
	mustPlan(t, recipe, out, 3)
	broken := errors.New("no tokenizer here")
	errs := onRanks(t, 2, out, func(rank int, _ *string, o *RunOptions) {
		if rank == 1 {
			o.Tokenizer = func(string) (*Tokenizer, error) { return nil, broken }
		}
	})
	for rank, err := range errs {
		var at *RankError
		if !errors.As(err, &at) || at.Rank != 1 || !strings.Contains(err.Error(), "no tokenizer here") {
			t.Errorf("rank %d: %v", rank, err)
		}
		if errors.Is(err, broken) != (rank == 1) {
			t.Errorf("rank %d: %#v", rank, err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "done", "prep-00000.json")); err != nil {
		t.Error(err)
	}
	if err := errors.Join(onRanks(t, 2, out, nil)...); err != nil {
		t.Error(err)
	}

	other := filepath.Join(dir, "other")
	mustPlan(t, recipe, other, 2)
	for rank, err := range onRanks(t, 2, out, func(rank int, dir *string, _ *RunOptions) {
		if rank == 1 {
			*dir = other
		}
	}) {
		var differ *PlansDifferError
		if !errors.As(err, &differ) || differ.Rank != 1 {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
	for rank, err := range onRanks(t, 2, out, func(rank int, dir *string, _ *RunOptions) {
		if rank == 0 {
			*dir = filepath.Join(*dir, "nowhere")
		}
	}) {
		var at *RankError
		if !errors.As(err, &at) || at.Rank != 0 {
			t.Errorf("rank %d: %v", rank, err)
		}
	}
}

func TestDeal(t *testing.T) {
	load := func(task int) int64 { return int64([]int{9, 5, 5, 4, 1, 1, 1}[task]) }
	if got := deal([]int{0, 1, 2, 3, 4, 5, 6}, 3, load); !slices.EqualFunc(got, [][]int{{0}, {1, 3}, {2, 4, 5, 6}}, slices.Equal[[]int]) {
		t.Errorf("%v", got)
	}
	if got := deal(nil, 2, load); len(got) != 2 || len(got[0])+len(got[1]) > 0 {
		t.Errorf("%v", got)
	}
}
