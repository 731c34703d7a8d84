package corpus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// RunOptions choose what Run does. The zero value does everything that is
// missing, with one worker per core.
type RunOptions struct {
	Stage   string // "": all stages in order
	Task    int    // −1: all tasks of the stage (or stages)
	Workers int    // goroutines that compute; 0: GOMAXPROCS
	Wait    bool   // wait for tasks of earlier stages that others do
	// Ranks, if set, share the tasks of all stages: every rank calls Run with the same folder, on a disk that all can write,
	// and Stage and Task stay empty.
	Ranks Ranks
	// Tokenizer opens the recipe's tokenizer; nil: package tokenizer.
	Tokenizer func(path string) (*Tokenizer, error)
	// Event, if set, is told of every task that ends, from any goroutine.
	Event func(e Event)
}

// An Event is the end of a task.
type Event struct {
	Stage   string
	Task    int
	Tasks   int
	Skipped bool // it was done before
	Took    time.Duration
	Note    string // what came out, in a few words
}

// marker is the content of DIR/done/STAGE-TASK.json.
type marker struct {
	Stage string          `json:"stage"`
	Task  int             `json:"task"`
	Key   string          `json:"key"`
	Files []outFile       `json:"files"`
	Stats json.RawMessage `json:"stats"`

	path string
}

type outFile struct {
	Path string `json:"path"` // below DIR, with slashes
	Size int64  `json:"size"`
}

// A runner works on one plan in one folder.
type runner struct {
	dir  string
	plan *Plan
	opt  RunOptions
	gate gate

	cleanOnce sync.Once
	clean     *cleaner
	cleanErr  error
	tokOnce   sync.Once
	tok       *Tokenizer
	tokErr    error
}

// Run does the tasks of the plan in dir that opt names and that are not done.
func Run(ctx context.Context, dir string, opt RunOptions) error {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	r := &runner{dir: dir, opt: opt, gate: make(gate, opt.Workers)}
	p, err := ReadPlan(dir)
	if err == nil {
		err = p.CheckRecipe()
	}
	if opt.Ranks != nil {
		if opt.Stage != "" || opt.Task >= 0 {
			return errors.New("ranks share all stages, not one stage or task")
		}
		if err != nil {
			return r.agree(ctx, err)
		}
		r.plan = p
		return r.share(ctx)
	}
	if err != nil {
		return err
	}
	r.plan = p
	if err := r.prepare(); err != nil {
		return err
	}
	if opt.Stage == "" {
		if opt.Task >= 0 {
			return errors.New("a task needs its stage")
		}
		for i := range p.Stages {
			if err := r.stage(ctx, &p.Stages[i], -1); err != nil {
				return err
			}
		}
		return nil
	}
	s, err := p.stage(opt.Stage)
	if err != nil {
		return err
	}
	if opt.Task >= s.Tasks {
		return fmt.Errorf("stage %s has tasks 0 to %d, there is no task %d", s.Name, s.Tasks-1, opt.Task)
	}
	if err := r.ready(ctx, s); err != nil {
		return err
	}
	return r.stage(ctx, s, opt.Task)
}

// prepare makes the folders, and removes what killed runs have left in them.
func (r *runner) prepare() error {
	for _, sub := range []string{"done", "out", "work/docs", "work/keys", "work/pairs", "work/drop", "work/tokens"} {
		d := r.path(sub)
		if err := durable.MkdirAll(d); err != nil {
			return err
		}
		if _, err := durable.RemoveStale(d, 0); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) path(parts ...string) string {
	return filepath.Join(append([]string{r.dir}, parts...)...)
}

// ready checks that the stages before s are complete, or waits for it.
func (r *runner) ready(ctx context.Context, s *Stage) error {
	for {
		var missing *NotReadyError
		for i := range r.plan.Stages {
			before := &r.plan.Stages[i]
			if before.Name == s.Name {
				break
			}
			if m := r.missing(before); len(m) > 0 {
				missing = &NotReadyError{Stage: s.Name, Before: before.Name, Missing: len(m), Of: before.Tasks, First: m[0]}
				break
			}
		}
		if missing == nil {
			return nil
		}
		if !r.opt.Wait {
			return missing
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

// missing lists the tasks of a stage that are not done.
func (r *runner) missing(s *Stage) []int {
	var out []int
	for i := range s.Tasks {
		if _, ok := r.done(s, i); !ok {
			out = append(out, i)
		}
	}
	return out
}

func markerName(stage string, task int) string { return fmt.Sprintf("%s-%05d.json", stage, task) }

// done reads the marker of a task; ok only if it belongs to this plan and its
// files are there.
func (r *runner) done(s *Stage, task int) (m *marker, ok bool) {
	m, ok = r.doneAs(s.Name, s, task)
	if !ok && s.Name == StageTokenize {
		m, ok = r.doneAs(formerTokenize, s, task)
	}
	return m, ok
}

// doneAs is done for markers that call the stage by name.
func (r *runner) doneAs(name string, s *Stage, task int) (*marker, bool) {
	m := marker{path: r.path("done", markerName(name, task))}
	b, err := bounded.Regular(m.path, maxOwnFile)
	if err != nil {
		return nil, false
	}
	if json.Unmarshal(b, &m) != nil || m.Stage != name || m.Task != task || m.Key != s.Keys[task] {
		return nil, false
	}
	for _, f := range m.Files {
		st, err := os.Stat(r.path(filepath.FromSlash(f.Path)))
		if err != nil || st.Size() != f.Size {
			return nil, false
		}
	}
	return &m, true
}

// stats decodes the stats of every task of a stage.
func stats[T any](r *runner, stage string) ([]T, error) {
	s, err := r.plan.stage(stage)
	if err != nil {
		return nil, err
	}
	out := make([]T, s.Tasks)
	for i := range out {
		m, ok := r.done(s, i)
		if !ok {
			return nil, fmt.Errorf("task %d of stage %s is not done", i, stage)
		}
		if err := json.Unmarshal(m.Stats, &out[i]); err != nil {
			return nil, fmt.Errorf("%s: %w; remove it and run the task again", m.path, err)
		}
	}
	return out, nil
}

// A job's result: files below dir, stats for the marker, a note for people.
type result struct {
	files []string
	stats any
	note  string
}

// stage does the tasks of a stage that are missing, or only one of them.
func (r *runner) stage(ctx context.Context, s *Stage, only int) error {
	todo, err := r.todo(s, only)
	if err != nil {
		return err
	}
	return r.work(ctx, s, todo)
}

// todo lists the tasks of a stage that are missing, the largest first.
func (r *runner) todo(s *Stage, only int) ([]int, error) {
	var todo []int
	for i := range s.Tasks {
		if only >= 0 && i != only {
			continue
		}
		if s.Name == StagePrep { // also where it is done: later stages build on it
			if err := r.plan.Inputs[i].unchanged(); err != nil {
				return nil, err
			}
		}
		if _, ok := r.done(s, i); ok {
			r.event(Event{Stage: s.Name, Task: i, Tasks: s.Tasks, Skipped: true})
			continue
		}
		todo = append(todo, i)
	}
	slices.SortStableFunc(todo, func(a, b int) int { return cmp.Compare(r.load(s, b), r.load(s, a)) })
	return todo, nil
}

// work does tasks of a stage.
func (r *runner) work(ctx context.Context, s *Stage, todo []int) error {
	do := map[string]func(context.Context, int) (result, error){
		StagePrep: r.prep, StageBuckets: r.buckets, StageCluster: r.cluster, StageTokenize: r.tokenize, StagePack: r.pack, StageReport: r.report,
	}[s.Name]
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, r.opt.Workers)
	var wg sync.WaitGroup
	for _, i := range todo {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			start := time.Now()
			res, err := do(ctx, i)
			if err == nil {
				err = r.mark(s, i, &res)
			}
			if err != nil {
				cancel(fmt.Errorf("stage %s, task %d: %w", s.Name, i, err))
				return
			}
			r.event(Event{Stage: s.Name, Task: i, Tasks: s.Tasks, Took: time.Since(start), Note: res.note})
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (r *runner) event(e Event) {
	if r.opt.Event != nil {
		r.opt.Event(e)
	}
}

func (r *runner) mark(s *Stage, task int, res *result) error {
	m := marker{Stage: s.Name, Task: task, Key: s.Keys[task], Files: []outFile{}}
	for _, path := range res.files {
		st, err := os.Stat(r.path(filepath.FromSlash(path)))
		if err != nil {
			return err
		}
		m.Files = append(m.Files, outFile{path, st.Size()})
	}
	var err error
	if m.Stats, err = json.Marshal(res.stats); err != nil {
		return err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return durable.Mark(r.path("done"), markerName(s.Name, task), append(b, '\n'))
}

// StageStatus is how far a stage is.
type StageStatus struct {
	Stage   string `json:"stage"`
	Tasks   int    `json:"tasks"`
	Done    int    `json:"done"`
	Missing []int  `json:"missing"`
}

// Status tells how far the plan in dir is, and what changed since it was made
// (nil if nothing did).
func Status(dir string) ([]StageStatus, *Plan, error) {
	p, err := ReadPlan(dir)
	if err != nil {
		return nil, nil, err
	}
	r := &runner{dir: dir, plan: p}
	var out []StageStatus
	for i := range p.Stages {
		s := &p.Stages[i]
		m := r.missing(s)
		out = append(out, StageStatus{s.Name, s.Tasks, s.Tasks - len(m), m})
	}
	if err := p.CheckRecipe(); err != nil {
		return out, p, err
	}
	for _, list := range [][]File{p.Inputs, p.Tokenizer, p.EvalFiles} {
		for i := range list {
			if err := list[i].unchanged(); err != nil {
				return out, p, err
			}
		}
	}
	return out, p, nil
}

// Clean removes the work files of a finished plan; the output, the markers and
// the report stay.
func Clean(dir string) error {
	st, _, err := Status(dir)
	var changed *ChangedError
	if err != nil && !errors.As(err, &changed) {
		return err
	}
	for _, s := range st {
		if s.Stage == StageReport && s.Done == 0 {
			return fmt.Errorf("%s: the plan is not finished; its work files are still needed", dir)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "work")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
