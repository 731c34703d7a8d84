package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"leolm/eval"
	"leolm/internal/durable"
	"leolm/internal/journal"
)

// journalFile keeps the single results of a run, a line each, in the order in which they came.
const journalFile = "progress.jsonl"

// Options of a run.
type Options struct {
	// Dir is where results are kept, and where an earlier run is found and continued; "" keeps nothing.
	Dir string
	Leo eval.Software
	// Config is what the user chose, for the artifacts.
	Config map[string]any
	// MeanOfErrors makes the standard error of a group the mean of its parts' errors, as the German harness does.
	MeanOfErrors bool
	// Progress is told how far the run is; may be nil.
	Progress func(p Progress)
}

// Progress is how far a run is.
type Progress struct {
	Done, Total int // requests; those of earlier runs are done
	Fresh       int // done by this run
}

// Result is what came of a task.
type Result struct {
	Task    *Task
	Numbers []Number
	Records []Record
	Counts  Counts
	Seconds float64 // of this run, for all its tasks
}

// Counts are what was met on the way.
type Counts struct {
	Documents int            // that are scored
	Failed    int            // without a result, or with one that is no number
	Faults    int            // rows that cannot be scored
	Unmatched int            // answers that no filter understood
	Ties      int            // choices between equals
	Truncated int            // contexts that lost their beginning
	Uneven    int            // requests whose tokens do not begin with those of the context
	Alone     int            // continuations that were encoded alone
	CutOff    int            // answers that ended for want of room
	Empty     int            // answers without a text
	Notes     map[string]int // by remark
}

// Complete reports whether every row of the data, but for faulty ones, has a result.
func (r *Result) Complete() bool { return !r.Task.Limited && r.Counts.Failed == 0 }

// Number finds an aggregated metric.
func (r *Result) Number(name string) (Number, bool) {
	for _, n := range r.Numbers {
		if n.Name == name {
			return n, true
		}
	}
	return Number{}, false
}

// line is one result in the journal.
type line struct {
	Key     string  `json:"key"`
	LogProb float64 `json:"ll"`
	Tokens  int     `json:"n,omitempty"`
	Flags   string  `json:"flags,omitempty"` // g: greedy, u: uneven, a: encoded alone
	Dropped int     `json:"dropped,omitempty"`
	Answer  *answer `json:"answer,omitempty"`
}

// answer is a generated text in the journal.
type answer struct {
	Text   string `json:"text"`
	Finish string `json:"finish"`
	Prompt int    `json:"prompt_tokens,omitempty"`
	New    int    `json:"new_tokens,omitempty"`
}

// place is a request and the items that want its result.
type place struct {
	key  string
	wait []func(s eval.Score, a eval.Answer)
}

// runner collects the requests of all tasks; equal ones are made once.
type runner struct {
	ctx  context.Context
	m    eval.Model
	opt  Options
	who  string
	kept map[string]line

	byKey    map[string]*place
	scores   []eval.ScoreRequest
	rolling  []string
	asks     []eval.Request
	scoreAt  []*place
	rollAt   []*place
	askAt    []*place
	journal  *journal.Journal
	unsynced int
	synced   time.Time
	state    Progress
}

// Run scores the tasks with a model. An item that alone fails is counted; an error means that nothing more could be had.
// With a folder, what was done stays there for a later run with the same model and requests.
func Run(ctx context.Context, m eval.Model, tasks []*Task, opt Options) ([]*Result, error) {
	if err := checkNames(tasks); err != nil {
		return nil, err
	}
	start := time.Now()
	id := m.Identity()
	id.URL = "" // the same model may be reached in another way
	r := &runner{ctx: ctx, m: m, opt: opt, who: eval.HashOf(id), kept: map[string]line{}, byKey: map[string]*place{}}
	if opt.Dir != "" {
		if err := durable.MkdirAll(opt.Dir); err != nil {
			return nil, err
		}
		unlock, err := durable.LockDir(opt.Dir)
		if err != nil {
			return nil, err
		}
		defer unlock()
		if err := r.open(); err != nil {
			return nil, err
		}
		defer r.journal.Close()
	}
	outcomes := make([][]Outcome, len(tasks))
	for i, t := range tasks {
		outcomes[i] = make([]Outcome, len(t.Items))
		for k := range t.Items {
			r.plan(&t.Items[k], &outcomes[i][k])
		}
	}
	if err := r.work(); err != nil {
		return nil, err
	}
	results := make([]*Result, len(tasks))
	for i, t := range tasks {
		results[i] = grade(t, outcomes[i])
		results[i].Seconds = time.Since(start).Seconds()
	}
	return results, nil
}

func (r *runner) open() (err error) {
	r.journal, err = journal.Open(filepath.Join(r.opt.Dir, journalFile), func(b []byte) error {
		var l line
		if err := json.Unmarshal(b, &l); err != nil {
			return err
		}
		if l.Key == "" {
			return errors.New("it has no key")
		}
		r.kept[l.Key] = l
		return nil
	})
	r.synced = time.Now()
	return err
}

// plan notes the requests of an item, whose results go into out.
func (r *runner) plan(it *Item, out *Outcome) {
	out.Scores = make([]eval.Score, len(it.Scores))
	out.Rolling = make([]eval.Score, len(it.Rolling))
	for i, req := range it.Scores {
		if p := r.place("score", req, func(s eval.Score, _ eval.Answer) { out.Scores[i] = s }); p != nil {
			r.scores, r.scoreAt = append(r.scores, req), append(r.scoreAt, p)
		}
	}
	for i, text := range it.Rolling {
		if p := r.place("rolling", text, func(s eval.Score, _ eval.Answer) { out.Rolling[i] = s }); p != nil {
			r.rolling, r.rollAt = append(r.rolling, text), append(r.rollAt, p)
		}
	}
	if it.Ask != nil {
		if p := r.place("ask", it.Ask, func(_ eval.Score, a eval.Answer) { out.Answer = a }); p != nil {
			r.asks, r.askAt = append(r.asks, *it.Ask), append(r.askAt, p)
		}
	}
}

// place lets wait have the result of a request. It is nil if the request need not be made: it was before, or an equal one is.
func (r *runner) place(kind string, req any, wait func(eval.Score, eval.Answer)) *place {
	key := eval.HashOf(r.who, kind, req)[:32]
	if p, ok := r.byKey[key]; ok {
		if p == nil {
			wait(r.kept[key].result())
			return nil
		}
		p.wait = append(p.wait, wait)
		return nil
	}
	r.state.Total++
	if l, ok := r.kept[key]; ok {
		r.byKey[key] = nil
		r.state.Done++
		wait(l.result())
		return nil
	}
	p := &place{key: key, wait: []func(eval.Score, eval.Answer){wait}}
	r.byKey[key] = p
	return p
}

// result is what the line was made of.
func (l line) result() (eval.Score, eval.Answer) {
	s := eval.Score{LogProb: l.LogProb, Tokens: l.Tokens, Dropped: l.Dropped}
	for _, f := range l.Flags {
		switch f {
		case 'g':
			s.Greedy = true
		case 'u':
			s.Uneven = true
		case 'a':
			s.Alone = true
		}
	}
	var a eval.Answer
	if l.Answer != nil {
		a = eval.Answer{Text: l.Answer.Text, Finish: l.Answer.Finish, PromptTokens: l.Answer.Prompt, NewTokens: l.Answer.New}
	}
	return s, a
}

// work makes the requests that are left.
func (r *runner) work() error {
	r.progress()
	score := func(at []*place) func(i int, s eval.Score) error {
		return func(i int, s eval.Score) error { return r.done(at[i], s, eval.Answer{}, s.Err) }
	}
	if len(r.scores) > 0 {
		if err := r.m.Score(r.ctx, r.scores, score(r.scoreAt)); err != nil {
			return err
		}
	}
	if len(r.rolling) > 0 {
		if err := r.m.ScoreRolling(r.ctx, r.rolling, score(r.rollAt)); err != nil {
			return err
		}
	}
	if len(r.asks) > 0 {
		err := r.m.Generate(r.ctx, r.asks, func(i int, a eval.Answer) error { return r.done(r.askAt[i], eval.Score{}, a, a.Err) })
		if err != nil {
			return err
		}
	}
	if r.journal != nil {
		return r.journal.Sync()
	}
	return nil
}

func (r *runner) progress() {
	if r.opt.Progress != nil {
		r.opt.Progress(r.state)
	}
}

// done hands a result on, and keeps it unless it failed: a later run tries again.
func (r *runner) done(p *place, s eval.Score, a eval.Answer, err error) error {
	if err == nil && (math.IsNaN(s.LogProb) || math.IsInf(s.LogProb, 0)) {
		s.Err = &NotNumberError{s.LogProb}
		err = s.Err
	}
	for _, wait := range p.wait {
		wait(s, a)
	}
	r.state.Done++
	r.state.Fresh++
	r.progress()
	if r.journal == nil || err != nil {
		return nil
	}
	l := line{Key: p.key, LogProb: s.LogProb, Tokens: s.Tokens, Dropped: s.Dropped}
	for _, f := range []struct {
		is bool
		c  string
	}{{s.Greedy, "g"}, {s.Uneven, "u"}, {s.Alone, "a"}} {
		if f.is {
			l.Flags += f.c
		}
	}
	if s.Tokens == 0 {
		l.Answer = &answer{Text: a.Text, Finish: a.Finish, Prompt: a.PromptTokens, New: a.NewTokens}
	}
	if err := r.journal.Append(l); err != nil {
		return err
	}
	// A crash may cost a second's work.
	if r.unsynced++; r.unsynced >= 256 || time.Since(r.synced) > time.Second {
		r.unsynced, r.synced = 0, time.Now()
		return r.journal.Sync()
	}
	return nil
}

// NotNumberError says that a model gave a likelihood that is no number: its weights or its arithmetic are broken.
type NotNumberError struct{ LogProb float64 }

func (e *NotNumberError) Error() string {
	return fmt.Sprintf("the log-likelihood is %v", e.LogProb)
}
