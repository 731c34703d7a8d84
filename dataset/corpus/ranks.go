package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Ranks are processes that share a run, as a launcher such as mpirun started them, on one machine or many. Every rank
// calls the same methods in the same order.
type Ranks interface {
	// Rank is the number of this process, from 0; Size is how many there are.
	Rank() int
	Size() int
	// Gather gives every rank the values of all, by rank.
	Gather(ctx context.Context, value []byte) ([][]byte, error)
	// Share gives every rank the value of root.
	Share(ctx context.Context, root int, value []byte) ([]byte, error)
}

// A RankError says that a rank of the run failed. All ranks return it.
type RankError struct {
	Rank int
	Text string // of its error
	own  error  // on the rank itself
}

func (e *RankError) Error() string { return fmt.Sprintf("rank %d: %s", e.Rank, e.Text) }

// Unwrap returns the error itself, on the rank that has it.
func (e *RankError) Unwrap() error { return e.own }

// PlansDifferError says that the ranks of a run see different plans in the folder: it is not one that they share.
type PlansDifferError struct {
	Dir       string
	Rank      int
	ID, First string // the plan of Rank, and that of rank 0
}

func (e *PlansDifferError) Error() string {
	return fmt.Sprintf("%s: rank %d finds plan %s there, rank 0 plan %s: the folder must lie on a disk that all ranks share", e.Dir, e.Rank, e.ID, e.First)
}

// settling is how long a rank waits until it sees the files that others have written: network file systems show new
// names late.
const settling = 2 * time.Minute

// share does what is missing of all stages, together with the other ranks: rank 0 finds out what that is, every rank
// does its part of a stage, and none begins the next one before all are done.
func (r *runner) share(ctx context.Context) error {
	err := r.agree(ctx, nil)
	if err != nil {
		return err
	}
	if r.opt.Ranks.Rank() == 0 {
		err = r.prepare()
	}
	if err := r.agree(ctx, err); err != nil {
		return err
	}
	for i := range r.plan.Stages {
		if err := r.shareStage(ctx, &r.plan.Stages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) shareStage(ctx context.Context, s *Stage) error {
	ranks := r.opt.Ranks
	var todo []int
	var err error
	if ranks.Rank() == 0 {
		todo, err = r.todo(s, -1)
	}
	if err := r.agree(ctx, err); err != nil {
		return err
	}
	list, err := json.Marshal(todo)
	if err != nil {
		return err
	}
	if list, err = ranks.Share(ctx, 0, list); err != nil {
		return err
	}
	if err := json.Unmarshal(list, &todo); err != nil {
		return err
	}
	mine := deal(todo, ranks.Size(), func(task int) int64 { return r.load(s, task) })[ranks.Rank()]
	if s.Name == StagePrep {
		for _, task := range mine {
			if err == nil {
				err = r.plan.Inputs[task].unchanged()
			}
		}
	}
	if err == nil {
		err = r.work(ctx, s, mine)
	}
	if ctx.Err() != nil {
		return err // the others may be at work for long
	}
	if err := r.agree(ctx, err); err != nil {
		return err
	}
	return r.agree(ctx, r.settle(ctx, s))
}

// settle returns when this rank sees what all have done.
func (r *runner) settle(ctx context.Context, s *Stage) error {
	for start := time.Now(); ; {
		m := r.missing(s)
		if len(m) == 0 {
			return nil
		}
		if time.Since(start) > settling {
			return fmt.Errorf("stage %s is done, but this rank does not see %d of its %d tasks, task %d first: is %s on a disk that all ranks share?",
				s.Name, len(m), s.Tasks, m[0], r.dir)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// outcome is what a rank tells the others.
type outcome struct {
	Plan  string `json:"plan,omitempty"`
	Error string `json:"error,omitempty"`
}

// agree returns when all ranks have called it, with the error of the first rank that has one.
func (r *runner) agree(ctx context.Context, own error) error {
	var mine outcome
	if r.plan != nil {
		mine.Plan = r.plan.ID
	}
	if own != nil {
		mine.Error = own.Error()
	}
	b, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	gathered, err := r.opt.Ranks.Gather(ctx, b)
	if err != nil {
		return errors.Join(own, err)
	}
	all := make([]outcome, len(gathered))
	for rank, b := range gathered {
		if err := json.Unmarshal(b, &all[rank]); err != nil {
			return err
		}
	}
	for rank, o := range all {
		if o.Error != "" {
			err := &RankError{Rank: rank, Text: o.Error}
			if rank == r.opt.Ranks.Rank() {
				err.own = own
			}
			return err
		}
	}
	for rank, o := range all {
		if o.Plan != all[0].Plan {
			return &PlansDifferError{r.dir, rank, o.Plan, all[0].Plan}
		}
	}
	return nil
}

// load is how much work a task is, compared with others of its stage.
func (r *runner) load(s *Stage, task int) int64 {
	if s.Name == StagePrep || s.Name == StageTokenize {
		return max(1, r.plan.Inputs[task].load())
	}
	return 1
}

// deal gives each task, of which the largest are first, to the one of n ranks that has least.
func deal(tasks []int, n int, load func(task int) int64) [][]int {
	hands, sums := make([][]int, n), make([]int64, n)
	for _, t := range tasks {
		least := 0
		for r := range sums {
			if sums[r] < sums[least] {
				least = r
			}
		}
		hands[least] = append(hands[least], t)
		sums[least] += load(t)
	}
	return hands
}
