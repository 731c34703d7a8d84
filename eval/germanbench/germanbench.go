// Package germanbench owns GermanBench: ARC, HellaSwag, MMLU and TruthfulQA in
// German, as the LeoLM project measured its models on them (variant leolm: its
// prompts and few-shot examples, typing errors included), and with what was wrong
// there put right (variant fixed). It does not own how documents are scored
// (package harness).
//
// Prompts, subjects, the order of documents and the drawing of examples are those
// of the German fork of lm-evaluation-harness (bjoernpl/lm-evaluation-harness-de,
// branch mmlu_de).
package germanbench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"leolm/eval"
	"leolm/eval/harness"
	"leolm/internal/pynum"
)

// Variant is a way to ask.
type Variant string

// The variants.
const (
	// LeoLM is what LeoLM's numbers were measured with.
	LeoLM Variant = "leolm"
	// Fixed scores MMLU by letters, takes the first examples instead of drawn ones, and has no typing errors.
	Fixed Variant = "fixed"
)

// version changes when prompts or scoring of a variant do.
const version = "1"

// Options choose what is asked.
type Options struct {
	Tasks   []string // of Names; nil: all
	Variant Variant
	// Shots is the number of examples before each document, but for TruthfulQA, which has its own; nil: 25 for ARC, 10 for
	// HellaSwag, 5 for MMLU.
	Shots *int
	Limit int // documents of each task, of MMLU of each subject; 0: all
	// Dir has the data; "" fetches them from the hub.
	Dir string
	// Progress is told about downloads: how many bytes of a file are there, of how many (-1: unknown). It may be nil.
	Progress func(file string, done, total int64)
}

// task is one of the benchmark's.
type task struct {
	name    string
	aliases []string // of folders and files, without all but letters and digits
	repo    string
	eval    []string // splits that are evaluated: the first that is there
	shots   int
	pool    []string // splits that examples come from
	drawn   bool     // the pool is a training set, in which no document is left out
	subject bool     // documents are parted by subject
	read    func(v Variant, row *harness.Row, subject string) (*doc, error)
	metrics []string
	// grade of a document; nil is the choice between its texts.
	grade func(v Variant, d *doc) func(o *harness.Outcome) (harness.Grade, error)
}

// doc is a document, written out.
type doc struct {
	query   string
	choices []string // what is scored, without the space before it
	gold    int
	id      string
	header  string      // before the examples
	fixed   string      // beginning of query that all documents share
	more    []string    // further texts that are scored
	truth   [2][]bool   // of TruthfulQA: which of choices and of more are true
	row     harness.Row // where it came from
	fault   error       // it cannot be scored
	shown   bool        // it can be an example all the same
}

// same reports whether two documents are equal in what the harness compares.
func (d *doc) same(e *doc) bool {
	return d.query == e.query && d.gold == e.gold && d.id == e.id && slices.Equal(d.choices, e.choices)
}

var all = []task{arc, hellaswag, mmlu, truthfulqa}

// Names are the tasks in their usual order.
func Names() []string {
	var out []string
	for _, t := range all {
		out = append(out, t.name)
	}
	return out
}

// UnknownTaskError says that there is no such task.
type UnknownTaskError struct{ Name string }

func (e *UnknownTaskError) Error() string {
	return fmt.Sprintf("GermanBench has no task %q; it has %s", e.Name, strings.Join(Names(), ", "))
}

// letters keeps only letters and digits, small.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// find finds a task by its name, also in the spellings of the German harness.
func find(name string) (task, error) {
	for _, t := range all {
		if name == t.name || slices.Contains(t.aliases, letters(name)) {
			return t, nil
		}
	}
	return task{}, &UnknownTaskError{name}
}

// Load reads the data and makes the tasks: one for each name, and for MMLU one for each subject.
func Load(ctx context.Context, opt Options) ([]*harness.Task, error) {
	if opt.Variant == "" {
		opt.Variant = LeoLM
	}
	if opt.Variant != LeoLM && opt.Variant != Fixed {
		return nil, fmt.Errorf("variant %q: there are %s and %s", opt.Variant, LeoLM, Fixed)
	}
	names := opt.Tasks
	if len(names) == 0 {
		names = Names()
	}
	var tasks []task
	for _, name := range names {
		t, err := find(name)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	var out []*harness.Task
	for _, t := range tasks {
		made, err := t.load(ctx, &opt, len(tasks) == 1)
		if err != nil {
			return nil, err
		}
		out = append(out, made...)
	}
	return out, nil
}

// load makes one task, or those of all subjects.
func (t *task) load(ctx context.Context, opt *Options, only bool) ([]*harness.Task, error) {
	files, where, err := t.files(ctx, opt, only)
	if err != nil {
		return nil, err
	}
	splits, err := harness.SplitFiles(where, files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	asked, from, err := t.split(ctx, splits, t.eval)
	if err != nil {
		return nil, err
	}
	if asked == nil {
		return nil, &harness.NoDataError{Task: t.name, Where: where, Wanted: "file of the split " + strings.Join(t.eval, " or ")}
	}
	pool := t.pool
	if opt.Variant == Fixed {
		pool = []string{"dev", "train", "validation"}
	}
	shots := t.shots
	if opt.Shots != nil && t.shots > 0 {
		shots = *opt.Shots
	}
	var examples []harness.Row
	exampleSplit := ""
	if shots > 0 {
		if examples, exampleSplit, err = t.split(ctx, splits, pool); err != nil {
			return nil, err
		}
	}
	if t.subject {
		return t.bySubject(asked, examples, shots, where, from, exampleSplit, opt)
	}
	made, err := t.make(opt, "", asked, examples, shots)
	if err != nil {
		return nil, err
	}
	made.Inputs = inputs(where, from, exampleSplit, asked, examples)
	return []*harness.Task{made}, nil
}

func inputs(where, from, examples string, asked, pool []harness.Row) []eval.Input {
	out := []eval.Input{harness.Input("data", where+" "+from, asked)}
	if len(pool) > 0 {
		out = append(out, harness.Input("examples", where+" "+examples, pool))
	}
	return out
}

// split reads the first of the splits that is there.
func (t *task) split(ctx context.Context, s *harness.Splits, names []string) ([]harness.Row, string, error) {
	for _, name := range names {
		if len(s.Files[name]) == 0 {
			continue
		}
		rs, err := s.Read(ctx, name)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", t.name, err)
		}
		return rs, name, nil
	}
	return nil, "", nil
}

// files finds the task's files in the folder or on the hub.
func (t *task) files(ctx context.Context, opt *Options, only bool) ([]harness.Candidate, string, error) {
	if opt.Dir == "" {
		files, commit, err := harness.HubFiles(ctx, t.repo, opt.Progress)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", t.name, err)
		}
		return files, t.repo + "@" + commit, nil
	}
	files, err := harness.FolderFiles(opt.Dir)
	if err != nil {
		return nil, "", err
	}
	var own []harness.Candidate
	others := false
	for _, f := range files {
		name := letters(f.Name)
		if slices.ContainsFunc(t.aliases, func(a string) bool { return strings.Contains(name, a) }) {
			own = append(own, f)
			continue
		}
		others = others || slices.ContainsFunc(all, func(o task) bool {
			return slices.ContainsFunc(o.aliases, func(a string) bool { return strings.Contains(name, a) })
		})
	}
	if len(own) == 0 && only && !others {
		own = files // a folder of this task alone needs no name of it
	}
	if len(own) == 0 {
		return nil, "", &harness.NoDataError{Task: t.name, Where: opt.Dir, Wanted: fmt.Sprintf("data files with %s in their names or folders", t.name)}
	}
	return own, opt.Dir, nil
}

// make writes the documents of a task out.
func (t *task) make(opt *Options, subject string, asked, examples []harness.Row, shots int) (*harness.Task, error) {
	out := &harness.Task{Name: t.name, Version: string(opt.Variant) + "-" + version, Shots: shots, Rows: len(asked)}
	if subject != "" {
		out.Name, out.Group = t.name+"_"+subject, t.name
	}
	for _, m := range t.metrics {
		out.Metrics = append(out.Metrics, harness.Metric{Name: m})
	}
	if opt.Shots != nil && *opt.Shots > 0 && t.shots == 0 {
		out.Notes = append(out.Notes, t.name+" has six fixed examples and takes no others")
	}
	docs, pool := t.docs(opt.Variant, asked, subject), t.docs(opt.Variant, examples, subject)
	for _, d := range docs {
		if d.fault != nil {
			out.Faults = append(out.Faults, harness.Fault{Row: d.row.String(), Why: d.fault.Error()})
		}
	}
	draw, err := t.drawer(opt.Variant, pool, shots, out.Name)
	if err != nil {
		return nil, err
	}
	order := docs
	if opt.Variant == LeoLM {
		order = slices.Clone(docs)
		draw.rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for i, d := range order {
		if opt.Limit > 0 && i >= opt.Limit {
			out.Limited = true
			break
		}
		shots, err := draw.examples(d) // also of a faulty row: the drawing of the others must not move
		if d.fault != nil {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Items = append(out.Items, t.item(opt.Variant, d, shots, i))
	}
	if draw.faulty > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d rows of the examples are faulty and were not used", draw.faulty))
	}
	return out, nil
}

// docs writes rows out.
func (t *task) docs(v Variant, rs []harness.Row, subject string) []*doc {
	out := make([]*doc, len(rs))
	for i := range rs {
		d, err := (*doc)(nil), rs[i].Err
		if err == nil {
			d, err = t.read(v, &rs[i], subject)
		}
		if d == nil {
			d = new(doc)
		}
		var count *CountError
		d.row, d.fault = rs[i], err
		d.shown = err == nil || errors.As(err, &count) && d.gold >= 0 && d.gold < len(d.choices)
		out[i] = d
	}
	return out
}

// drawer chooses examples.
type drawer struct {
	rnd    *pynum.Random
	pool   []*doc
	shots  int
	v      Variant
	drawn  bool
	faulty int // in the pool
}

func (t *task) drawer(v Variant, pool []*doc, shots int, name string) (*drawer, error) {
	d := &drawer{rnd: pynum.NewRandom(42), shots: shots, v: v, drawn: t.drawn, pool: pool}
	for _, p := range pool {
		if !p.shown {
			d.faulty++
		}
	}
	need := shots
	if v == LeoLM && !t.drawn && shots > 0 {
		need++
	}
	if v == Fixed {
		d.pool = slices.DeleteFunc(slices.Clone(pool), func(p *doc) bool { return p.fault != nil })
	}
	if shots > 0 && len(d.pool) < need {
		return nil, &harness.FewExamplesError{Task: name, Shots: shots, Have: len(d.pool), Need: need}
	}
	return d, nil
}

// examples are those before a document. The German harness draws one more than it needs where there is no training set,
// and leaves the document itself out. A row that it draws and that cannot be shown makes the examples one less here.
func (d *drawer) examples(of *doc) ([]*doc, error) {
	if d.shots == 0 {
		return nil, nil
	}
	var out []*doc
	if d.v == Fixed {
		for _, p := range d.pool {
			if len(out) < d.shots && !p.same(of) {
				out = append(out, p)
			}
		}
		return out, nil
	}
	n := d.shots
	if !d.drawn {
		n++
	}
	for _, i := range d.rnd.Sample(len(d.pool), n) {
		p := d.pool[i]
		if !d.drawn && p.shown && of.shown && p.same(of) {
			continue
		}
		out = append(out, p)
	}
	out = out[:min(len(out), d.shots)]
	return slices.DeleteFunc(out, func(p *doc) bool { return !p.shown }), nil
}

// item makes the requests of a document.
func (t *task) item(v Variant, d *doc, shots []*doc, i int) harness.Item {
	var b strings.Builder
	if d.header != "" {
		b.WriteString(d.header + "\n\n")
	}
	for _, s := range shots {
		b.WriteString(s.query + " " + s.choices[s.gold] + "\n\n")
	}
	b.WriteString(d.query)
	it := harness.Item{Doc: i, Row: d.row.String(), Hash: d.row.Hash(), Gold: d.gold, Question: d.query[len(d.fixed):], Choices: d.choices}
	for _, c := range append(slices.Clone(d.choices), d.more...) {
		it.Scores = append(it.Scores, eval.ScoreRequest{Context: b.String(), Continuation: " " + c})
	}
	if t.grade != nil {
		it.Grade = t.grade(v, d)
		return it
	}
	choice := harness.Choice{Texts: d.choices, Gold: []int{d.gold}}
	it.Grade = func(o *harness.Outcome) (harness.Grade, error) { return choice.Grade(o.LogProbs()), nil }
	return it
}
