package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"leolm/eval"
	page "leolm/internal/report"
)

// z95 is how many standard errors are 95 % of a normal distribution to each side.
const z95 = 1.959963984540054

// row is one number of a task, as all models have it.
type row struct {
	task   *task
	name   string
	group  string
	values []*eval.Metric // by column; nil where there is none
}

// rowsOf are the numbers of a task's results: those of the whole task, or with parts those of its groups.
func rowsOf(t *task, groups bool) []row {
	var out []row
	for i, r := range t.results {
		if r == nil {
			continue
		}
		for k := range r.Metrics {
			m := &r.Metrics[k]
			if t.detail(m) != groups {
				continue
			}
			at := slices.IndexFunc(out, func(x row) bool { return x.name == m.Name && x.group == m.Group })
			if at < 0 {
				at = len(out)
				out = append(out, row{task: t, name: m.Name, group: m.Group, values: make([]*eval.Metric, len(t.results))})
			}
			out[at].values[i] = m
		}
	}
	return out
}

// detail reports whether a number is of a part of its task: a category, a subject, one kind of expectation. A task that has
// no others shows them as its own.
func (t *task) detail(m *eval.Metric) bool {
	part := func(m *eval.Metric) bool { return m.Group != "" || strings.Contains(m.Name, "/") }
	for _, r := range t.results {
		if r != nil && slices.ContainsFunc(r.Metrics, func(m eval.Metric) bool { return !part(&m) }) {
			return part(m)
		}
	}
	return false
}

// lower reports whether less is better.
func (r *row) lower() bool {
	for _, m := range r.values {
		if m != nil {
			return m.Lower
		}
	}
	return false
}

// text prints a number with its error.
func text(m *eval.Metric) string {
	if m == nil || m.Value == nil {
		return "–"
	}
	digits := 4
	if strings.HasPrefix(m.Unit, "rating") {
		digits = 2
	}
	s := fmt.Sprintf("%.*f", digits, *m.Value)
	switch {
	case m.StdErr != nil:
		s += fmt.Sprintf(" ± %.*f", digits, *m.StdErr)
	case m.CI95 != nil:
		s += fmt.Sprintf(" (%.*f … %.*f)", digits, m.CI95[0], digits, m.CI95[1])
	}
	return s
}

// interval is the 95 % interval of a number; ok is false where its uncertainty is not known.
func interval(m *eval.Metric) (lo, hi float64, ok bool) {
	switch {
	case m == nil || m.Value == nil:
	case m.CI95 != nil:
		return m.CI95[0], m.CI95[1], true
	case m.StdErr != nil:
		return *m.Value - z95**m.StdErr, *m.Value + z95**m.StdErr, true
	}
	return math.NaN(), math.NaN(), false
}

// best is the column whose number is better than every other one by more than the interval of the difference; -1 if there
// is none, or if the numbers cannot be compared.
func (b *builder) best(r *row) int {
	best, n := -1, 0
	for i, m := range r.values {
		if m == nil || m.Value == nil {
			continue
		}
		n++
		if best < 0 || (*m.Value > *r.values[best].Value) != r.lower() && *m.Value != *r.values[best].Value {
			best = i
		}
	}
	if n < 2 {
		return -1
	}
	for i, m := range r.values {
		if i == best || m == nil || m.Value == nil {
			continue
		}
		if !r.task.comparable(best, i) || r.values[best].N != m.N || !b.apart(r, best, i) {
			return -1
		}
	}
	return best
}

// apart reports whether two numbers differ by more than the 95 % interval of their difference: that of the pairs of
// documents where both have them, else that of independent numbers.
func (b *builder) apart(r *row, i, j int) bool {
	if p, ok := b.paired(r, i, j); ok {
		// Of few documents a bootstrap has no width, where the exact test knows better.
		return (p.CI95[0] > 0 || p.CI95[1] < 0) && (p.P == nil || *p.P < 0.05)
	}
	half := func(m *eval.Metric) (float64, bool) {
		lo, hi, ok := interval(m)
		return (hi - lo) / 2, ok
	}
	a, okA := half(r.values[i])
	c, okC := half(r.values[j])
	return okA && okC && math.Abs(*r.values[i].Value-*r.values[j].Value) > math.Hypot(a, c)
}

// table has a row for each number and a column for each model.
func (b *builder) table(caption string, rows []row, name func(*row) string) page.Table {
	t := page.Table{Caption: caption, Head: []string{"Task", "Metric", "n"}, Numeric: []bool{false, false, true}, RowHeads: true, Marked: map[[2]int]bool{}}
	for _, c := range b.columns {
		t.Head, t.Numeric = append(t.Head, c.label), append(t.Numeric, true)
	}
	for k := range rows {
		r := &rows[k]
		arrow := " ↑"
		if r.lower() {
			arrow = " ↓"
		}
		cells := []string{name(r), strings.TrimPrefix(r.name, "expect/") + arrow, r.counts()}
		for i, m := range r.values {
			s := text(m)
			if m != nil && len(r.task.unlike) > 0 && r.task.count() > 1 {
				s += "\nnot comparable"
			}
			if res := r.task.results[i]; m != nil && res != nil && !res.Complete {
				s += "\nincomplete"
			}
			cells = append(cells, s)
		}
		if i := b.best(r); i >= 0 {
			t.Marked[[2]int{len(t.Rows), i + 3}] = true
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// counts says of how many documents, ratings or bytes the numbers are.
func (r *row) counts() string {
	var ns []string
	for _, m := range r.values {
		if m == nil {
			continue
		}
		if n := fmt.Sprint(m.N); !slices.Contains(ns, n) {
			ns = append(ns, n)
		}
	}
	return strings.Join(ns, ", ")
}

// numbers is the section of all numbers.
func (b *builder) numbers() page.Section {
	var rows []row
	var charts []page.Block
	for _, t := range b.tasks {
		if t.part || t.name == answersTask { // what is wrong with answers on their face has tables of its own
			continue
		}
		own := rowsOf(t, false)
		rows = append(rows, own...)
		if c, ok := b.chart(t, own); ok {
			charts = append(charts, c)
		}
	}
	s := page.Section{
		Heading: "Results",
		Text: "Behind ± stands the standard error, in parentheses the 95 % interval. ★ marks the best number of a row, and only where it is better than every other " +
			"one by more than the 95 % interval of the difference: that of a bootstrap over the documents where both models were asked the same, else that of two independent numbers. " +
			"Where documents are right or wrong, McNemar's p is below 0.05 too.",
	}
	s.Blocks = append(s.Blocks, b.table("Tasks and models; the arrow says which way is better", rows, func(r *row) string {
		if r.group != "" {
			return r.task.name + ": " + r.group
		}
		return r.task.name
	}))
	s.Blocks = append(s.Blocks, charts...)
	return s
}

// preferred are the metrics that stand for their tasks, as LeoLM's tables show them; else the first one does.
var preferred = map[string]string{"arc_de": "acc_norm", "hellaswag_de": "acc_norm", "mmlu_de": "acc", "truthfulqa_de": "mc2"}

// headline is the row that stands for a task.
func headline(t *task, rows []row) *row {
	names := []string{preferred[t.name], "average", "passed", "acc_norm"}
	for _, name := range names {
		for i := range rows {
			if name != "" && rows[i].name == name {
				return &rows[i]
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return &rows[0]
}

// chart draws the number that stands for a task.
func (b *builder) chart(t *task, rows []row) (page.Estimates, bool) {
	r := headline(t, rows)
	if r == nil {
		return page.Estimates{}, false
	}
	title := t.name + ", " + r.name
	if r.group != "" {
		title += " of " + r.group
	}
	if r.lower() {
		title += " (less is better)"
	}
	if len(t.unlike) > 0 && t.count() > 1 {
		title += " – not comparable"
	}
	c := page.Estimates{Title: title, Format: func(e page.Estimate) string {
		if strings.HasPrefix(r.unit(), "rating") {
			return fmt.Sprintf("%.2f", e.Value)
		}
		return fmt.Sprintf("%.4f", e.Value)
	}}
	for i, m := range r.values {
		if m == nil || m.Value == nil {
			continue
		}
		lo, hi, _ := interval(m)
		if r.isShare() { // a normal interval knows no ends
			lo, hi = max(lo, 0), min(hi, 1)
		}
		c.Rows = append(c.Rows, page.Estimate{Label: b.columns[i].label, Value: *m.Value, Lo: lo, Hi: hi, Color: i})
	}
	return c, len(c.Rows) > 0
}

// isShare reports whether a number lies between 0 and 1 by what it is.
func (r *row) isShare() bool {
	name, _, _ := strings.Cut(r.name, ",")
	return r.unit() == "fraction" || slices.Contains(shares, name)
}

// shares are metrics that are 0 or 1 for a document, or a probability.
var shares = []string{"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "mc1", "mc2", "exact_match", "passed"}

func (r *row) unit() string {
	for _, m := range r.values {
		if m != nil {
			return m.Unit
		}
	}
	return ""
}

// maxParts is how many rows of parts a page shows of one task.
const maxParts = 400

// partSection has the numbers of parts, folded: subjects, categories, kinds of expectations.
func (b *builder) partSection() page.Section {
	s := page.Section{Heading: "Parts of tasks"}
	for _, t := range b.tasks {
		if t.part || t.name == answersTask || t.name == mtbenchTask || strings.HasPrefix(t.name, mtbenchTask+",") {
			continue // MT-Bench has a section of its own
		}
		rows := rowsOf(t, true)
		if len(t.parts) > 0 {
			rows = nil // the parts' own results have more: their tasks are paired
			for _, p := range t.parts {
				rows = append(rows, rowsOf(p, false)...)
			}
		}
		if len(rows) == 0 {
			continue
		}
		summary := fmt.Sprintf("%s: %d numbers", t.name, len(rows))
		if len(rows) > maxParts {
			summary += fmt.Sprintf(", the first %d of them", maxParts)
			rows = rows[:maxParts]
		}
		s.Blocks = append(s.Blocks, page.Folded{Summary: summary, Blocks: []page.Block{b.table(t.name, rows, func(r *row) string {
			if r.group != "" {
				return r.group
			}
			return r.task.name
		})}})
	}
	return s
}
