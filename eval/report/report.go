// Package report owns the page that shows results of evaluations side by side: which runs may be compared and which not,
// their numbers with errors, what lies between two models on the same documents, and the documents and answers on which
// models disagree. It reads artifacts and the single results beside them, of every task, and needs no model.
//
// It does not own how numbers are made (packages harness, mtbench, suite), the tests of two results (package compare), or
// how a page is drawn.
package report

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	page "leolm/internal/report"
)

// DefaultDisagreements is how many disagreements a page shows of each task unless Options say otherwise.
const DefaultDisagreements = 10

// Options say what a page shows.
type Options struct {
	Title         string
	Disagreements int // documents of each task at most; 0: none
}

// Summary says what a page shows.
type Summary struct {
	Models, Tasks, Results int
	Disagreements          int      // shown
	Warnings               []string // why numbers cannot be compared, and what is missing
}

// Write writes a page that shows the results below paths, each a folder that an evaluation left or an artifact's file. A
// path without results is a *NoResultsError; a result that cannot be read is an error, too.
func Write(ctx context.Context, w io.Writer, paths []string, opt Options) (*Summary, error) {
	results, err := load(ctx, paths)
	if err != nil {
		return nil, err
	}
	b := &builder{ctx: ctx, opt: opt, columns: columns(results), warned: map[string][]string{}}
	b.tasks = tasksOf(b.columns)
	b.compareSettings()
	if err := b.pair(); err != nil {
		return nil, err
	}
	if opt.Title == "" {
		opt.Title = "Evaluation report"
	}
	p := &page.Page{
		Title: opt.Title,
		Lead:  "Numbers of evaluations side by side, with their uncertainty. All of them come from the artifacts of the runs.",
		Facts: [][2]string{{"Models", fmt.Sprint(len(b.columns))}, {"Tasks", fmt.Sprint(len(b.tasks))}, {"Results", fmt.Sprint(len(results))}},
	}
	judged, err := b.judged()
	if err != nil {
		return nil, err
	}
	cases, shown, err := b.disagreements()
	if err != nil {
		return nil, err
	}
	p.Sections = append(p.Sections, b.header(), b.numbers())
	p.Sections = append(p.Sections, judged...)
	for _, s := range []page.Section{b.pairSection(), b.partSection(), cases} {
		if len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	p.Footer = footer(results)
	s := &Summary{Models: len(b.columns), Tasks: len(b.tasks), Results: len(results), Disagreements: shown, Warnings: b.warnings()}
	return s, p.WriteHTML(w)
}

// builder makes the sections of a page.
type builder struct {
	ctx     context.Context
	opt     Options
	columns []*column
	tasks   []*task
	pairs   []pair
	// firstOnly says that a task has too many models to compare each with each.
	firstOnly bool
	// warned has the tasks of each warning, order the warnings as they came.
	warned map[string][]string
	order  []string
	chosen []choice // documents on which models disagree
}

// warn notes what a reader must know before the numbers of a task. What is true of several tasks is said once.
func (b *builder) warn(t *task, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if b.warned[text] == nil {
		b.order = append(b.order, text)
	}
	if !slices.Contains(b.warned[text], t.name) {
		b.warned[text] = append(b.warned[text], t.name)
	}
}

// maxNamed is how many tasks a warning names.
const maxNamed = 6

// warnings are the texts of all warnings.
func (b *builder) warnings() []string {
	var out []string
	for _, text := range b.order {
		names := b.warned[text]
		if n := len(names); n > maxNamed {
			names = append(slices.Clone(names[:maxNamed-1]), fmt.Sprintf("%d more", n-maxNamed+1))
		}
		out = append(out, strings.Join(names, "; ")+": "+text)
	}
	return out
}

// footer says which programs made the results.
func footer(results []*result) string {
	seen, text := map[string]bool{}, ""
	for _, r := range results {
		if v := software(r.Leo); !seen[v] {
			seen[v] = true
			if text != "" {
				text += ", "
			}
			text += v
		}
	}
	return "Measured with " + text + "."
}
