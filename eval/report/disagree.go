package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"leolm/eval/harness"
	page "leolm/internal/report"
)

// choice is a document on which models disagree.
type choice struct {
	root, task *task
	key        string
	columns    []int // those that have it
	spread     float64
	order      int
}

// key tells documents of a task apart.
func key(r *harness.Record) string { return fmt.Sprintf("%s/%d", r.Hash, r.Doc) }

// binaryMetric is the number of a task by which its documents are right or wrong.
func binaryMetric(t *task) string {
	rows := rowsOf(t, false)
	var list []string
	if r := headline(t, rows); r != nil {
		list = append(list, r.name)
	}
	for _, r := range rows {
		list = append(list, r.name)
	}
	for _, name := range list {
		switch base, _, _ := strings.Cut(name, ","); base {
		case "acc", "acc_norm", "acc_bytes", "mc1", "passed", "exact_match":
			return name
		}
	}
	return ""
}

// choices is how many log-likelihoods of a record are those of choices; 0 of a record that is no choice.
func choices(r *harness.Record) int {
	if _, ok := r.Picked.(float64); !ok || len(r.LogProbs) < 2 {
		return 0
	}
	if n := len(r.Choices); n > 0 && n <= len(r.LogProbs) {
		return n
	}
	return len(r.LogProbs)
}

// pickOf is what a model chose, by the metric: a choice's index, or whether its answer was right. "" is nothing.
func pickOf(r *harness.Record, metric string) string {
	n := choices(r)
	if n == 0 {
		if v, ok := r.Metrics[metric]; ok && r.Answer != nil {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
		return ""
	}
	length := func(i int) float64 { return 1 }
	if len(r.Choices) == n {
		switch metric {
		case "acc_norm":
			length = func(i int) float64 { return float64(len([]rune(r.Choices[i]))) }
		case "acc_bytes":
			length = func(i int) float64 { return float64(len(r.Choices[i])) }
		}
	}
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = r.LogProbs[i] / max(length(i), 1)
	}
	return strconv.Itoa(harness.ArgMax(xs))
}

// golds are the right choices of a record.
func golds(r *harness.Record) []int {
	list, ok := r.Gold.([]any)
	if !ok {
		list = []any{r.Gold}
	}
	var out []int
	for _, v := range list {
		if x, ok := v.(float64); ok {
			out = append(out, int(x))
		}
	}
	return out
}

// rightOf is the probability of the right choices among all.
func rightOf(r *harness.Record) float64 {
	n := choices(r)
	if n == 0 {
		return math.NaN()
	}
	top, sum, right := slices.Max(r.LogProbs[:n]), 0.0, 0.0
	for i, ll := range r.LogProbs[:n] {
		p := math.Exp(ll - top)
		sum += p
		if slices.Contains(golds(r), i) {
			right += p
		}
	}
	return right / sum
}

// largest are the columns of a task that were asked the same: the largest such group, the first of equals.
func (t *task) largest(have func(i int) bool) []int {
	groups := map[int][]int{}
	for i, r := range t.results {
		if r != nil && have(i) {
			groups[t.class[i]] = append(groups[t.class[i]], i)
		}
	}
	var best []int
	for _, c := range slices.Sorted(maps.Keys(groups)) {
		if len(groups[c]) > len(best) {
			best = groups[c]
		}
	}
	return best
}

// choose notes documents of a task on which models disagree, and keeps the first ones of the whole task.
func (b *builder) choose(root, t *task, briefs [][]brief) {
	cols := t.largest(func(i int) bool { return len(briefs[i]) > 0 })
	if len(cols) < 2 {
		return
	}
	byKey := make([]map[string]*brief, len(cols))
	for k, i := range cols {
		byKey[k] = map[string]*brief{}
		for n := range briefs[i] {
			byKey[k][key(&briefs[i][n].Record)] = &briefs[i][n]
		}
	}
	for n := range briefs[cols[0]] {
		c := choice{root: root, task: t, key: key(&briefs[cols[0]][n].Record), order: n}
		lo, hi := math.Inf(1), math.Inf(-1)
		picks := map[string]bool{}
		for k, i := range cols {
			x := byKey[k][c.key]
			if x == nil || x.Error != "" || x.pick == "" || x.Asked != briefs[cols[0]][n].Asked {
				continue
			}
			c.columns = append(c.columns, i)
			picks[x.pick] = true
			if !math.IsNaN(x.right) {
				lo, hi = min(lo, x.right), max(hi, x.right)
			}
		}
		if len(picks) < 2 {
			continue
		}
		if hi > lo {
			c.spread = hi - lo
		}
		root.differing++
		b.chosen = append(b.chosen, c)
	}
	b.chosen = keepFirst(b.chosen, root, b.opt.Disagreements)
}

// keepFirst sorts the documents of a task by how far the models are apart, and keeps so many of them.
func keepFirst(list []choice, root *task, n int) []choice {
	of := func(c choice) bool { return c.root == root }
	own := slices.DeleteFunc(slices.Clone(list), func(c choice) bool { return !of(c) })
	slices.SortStableFunc(own, func(a, b choice) int { return cmp.Compare(b.spread, a.spread) })
	list = slices.DeleteFunc(list, of)
	return append(list, own[:min(len(own), n)]...)
}

// disagreements is the section of documents and answers on which models disagree.
func (b *builder) disagreements() (page.Section, int, error) {
	s := page.Section{
		Heading: "Disagreements",
		Text: "Documents on which models chose differently, those first in which the probability that they give to the right choice differs most; generated answers of which one is right " +
			"and another is not, in their order; turns of MT-Bench whose ratings differ most. Models that were not asked the same are left out.",
	}
	if b.opt.Disagreements == 0 {
		return s, 0, nil
	}
	shown := 0
	for _, t := range b.tasks {
		var blocks []page.Block
		var err error
		what := "documents"
		switch {
		case t.part:
			continue
		case strings.HasPrefix(t.name, mtbenchTask):
			blocks, err = b.turns(t)
			what = "turns"
		default:
			blocks, err = b.documents(t)
		}
		if err != nil {
			return s, 0, err
		}
		if len(blocks) == 0 {
			continue
		}
		summary := fmt.Sprintf("%s: %d of %d %s on which the models differ", t.name, len(blocks), t.differing, what)
		s.Blocks = append(s.Blocks, page.Folded{Summary: summary, Open: shown == 0, Blocks: blocks})
		shown += len(blocks)
	}
	return s, shown, nil
}

// documents are the chosen documents of a task, written out.
func (b *builder) documents(t *task) ([]page.Block, error) {
	type at struct {
		task *task
		key  string
	}
	wanted := map[*task]map[string]bool{}
	var list []choice
	for _, c := range b.chosen {
		if c.root == t {
			list = append(list, c)
			if wanted[c.task] == nil {
				wanted[c.task] = map[string]bool{}
			}
			wanted[c.task][c.key] = true
		}
	}
	found := map[at][]*harness.Record{} // by column
	for leaf, keys := range wanted {
		for i, r := range leaf.results {
			if r == nil || r.records() == "" {
				continue
			}
			err := harness.EachRecord(r.records(), func(rec *harness.Record) error {
				k := at{leaf, key(rec)}
				if keys[k.key] {
					if found[k] == nil {
						found[k] = make([]*harness.Record, len(b.columns))
					}
					found[k][i] = rec
				}
				return b.ctx.Err()
			})
			if err != nil {
				return nil, err
			}
		}
	}
	var out []page.Block
	for _, c := range list {
		records := found[at{c.task, c.key}]
		if records != nil && !slices.ContainsFunc(c.columns, func(i int) bool { return records[i] == nil }) {
			out = append(out, b.document(c, records))
		}
	}
	return out, nil
}

// document writes one document out.
func (b *builder) document(c choice, records []*harness.Record) page.Case {
	first := records[c.columns[0]]
	out := page.Case{Heading: c.task.name + ", " + first.Row}
	if first.Question != "" {
		out.Texts = append(out.Texts, page.Labeled{Label: "Question", Text: first.Question})
	} else {
		out.Texts = append(out.Texts, page.Labeled{Label: "Question", Text: "The result was written by a program that did not keep it."})
	}
	metric := binaryMetric(c.root)
	if choices(first) > 0 {
		t := b.choiceTable(c, records, metric)
		out.Table = &t
		return out
	}
	if gold, err := json.Marshal(first.Gold); err == nil && first.Gold != nil {
		text, ok := first.Gold.(string)
		if !ok {
			text = string(gold)
		}
		out.Texts = append(out.Texts, page.Labeled{Label: "Expected", Text: text})
	}
	for _, i := range c.columns {
		r := records[i]
		s := page.Side{Name: b.columns[i].label + ": " + verdict(r, metric)}
		if r.Answer != nil {
			s.Texts = append(s.Texts, page.Labeled{Text: *r.Answer})
		}
		if picked, ok := r.Picked.(string); ok && picked != "" && (r.Answer == nil || picked != *r.Answer) {
			s.Texts = append(s.Texts, page.Labeled{Label: "What counted", Text: picked})
		}
		out.Sides = append(out.Sides, s)
	}
	return out
}

// verdict says whether a document was answered right.
func verdict(r *harness.Record, metric string) string {
	if r.Metrics[metric] == 1 {
		return "right"
	}
	return "wrong"
}

// choiceTable shows the choices of a document with each model's log-likelihoods.
func (b *builder) choiceTable(c choice, records []*harness.Record, metric string) page.Table {
	first := records[c.columns[0]]
	t := page.Table{
		Caption: fmt.Sprintf("Log-likelihoods in nats; ◀ is what the model chose by %s", metric), RowHeads: true,
		Head: []string{"Choice"}, Numeric: []bool{false},
	}
	for _, i := range c.columns {
		t.Head, t.Numeric = append(t.Head, fmt.Sprintf("%s\n%s", b.columns[i].label, verdict(records[i], metric))), append(t.Numeric, true)
	}
	right := golds(first)
	for k := range choices(first) {
		name := fmt.Sprintf("%d", k+1)
		if k < len(first.Choices) {
			name += ". " + clip(first.Choices[k], 2000)
		}
		if slices.Contains(right, k) {
			name = "✓ " + name
		}
		cells := []string{name}
		for _, i := range c.columns {
			r := records[i]
			cell := "–"
			if k < len(r.LogProbs) {
				cell = fmt.Sprintf("%.3f", r.LogProbs[k])
			}
			if pickOf(r, metric) == strconv.Itoa(k) {
				cell = "◀ " + cell
			}
			cells = append(cells, cell)
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// clip is the beginning of a long text.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return fmt.Sprintf("%s… (%d characters more)", string(r[:n]), len(r)-n)
	}
	return s
}
