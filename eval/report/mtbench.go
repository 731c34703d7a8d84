package report

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"leolm/eval"
	"leolm/eval/mtbench"
	page "leolm/internal/report"
)

// The tasks of MT-Bench: judged answers, and answers that nobody has judged.
const (
	mtbenchTask = "mtbench"
	answersTask = "mtbench-answers"
)

// entry is a result of MT-Bench with its details.
type entry struct {
	*eval.Artifact
	details *mtbench.Details
	// label tells it apart from the others: the model, and the judge where several judged.
	label string
}

// entries reads the details of results and labels them with the names of their models.
func entries(results []*eval.Artifact, name func(i int) string) ([]entry, error) {
	var list []entry
	judges := map[string]bool{}
	for i, a := range results {
		d, err := mtbench.ReadDetails(a)
		if err != nil {
			return nil, err
		}
		judges[judgeOf(a)] = true
		list = append(list, entry{Artifact: a, details: d, label: name(i)})
	}
	for i := range list {
		if j := judgeOf(list[i].Artifact); len(judges) > 1 && j != "" {
			list[i].label += ", by " + j
		}
	}
	return list, nil
}

// names are those of the results' models.
func names(results []*eval.Artifact) func(i int) string {
	return func(i int) string { return results[i].Model.Name }
}

// judgeOf is the name a judge was given, or its own.
func judgeOf(a *eval.Artifact) string {
	if judge, ok := a.Config["judge"].(map[string]any); ok {
		if name, ok := judge["name"].(string); ok {
			return name
		}
	}
	if len(a.Judges) > 0 {
		return a.Judges[0].Name
	}
	return ""
}

// categoriesOf are the categories of all entries, MT-Bench's first and in its order.
func categoriesOf(list []entry) []string {
	var found []string
	for _, e := range list {
		for _, q := range e.details.Quality {
			if !slices.Contains(found, q.Category) {
				found = append(found, q.Category)
			}
		}
	}
	known := mtbench.CategoryNames()
	slices.SortStableFunc(found, func(a, b string) int {
		i, j := slices.Index(known, a), slices.Index(known, b)
		if i < 0 {
			i = len(known)
		}
		if j < 0 {
			j = len(known)
		}
		return i - j
	})
	return found
}

// radar is the chart of the categories.
func radar(list []entry) page.Radar {
	r := page.Radar{Title: "Rating by category", Axes: categoriesOf(list), Lo: 0, Hi: 10}
	for _, e := range list {
		if _, ok := e.Metric("average", ""); !ok {
			continue
		}
		s := page.RadarSeries{Name: e.label}
		for _, c := range r.Axes {
			v := math.NaN()
			if m, ok := e.Metric("rating", c); ok && m.Value != nil {
				v = *m.Value
			}
			s.Values = append(s.Values, v)
		}
		r.Series = append(r.Series, s)
	}
	return r
}

// RadarSVG draws the ratings of several results of MT-Bench by category, as a picture that stands alone.
func RadarSVG(results []*eval.Artifact) ([]byte, error) {
	list, err := entries(results, names(results))
	if err != nil {
		return nil, err
	}
	return radar(list).SVG(), nil
}

// cellOf prints a mean with its interval.
func cellOf(m eval.Metric, ok bool) string {
	if !ok || m.Value == nil {
		return "–"
	}
	text := fmt.Sprintf("%.2f", *m.Value)
	if m.CI95 != nil {
		text += fmt.Sprintf("  (%.2f … %.2f)", m.CI95[0], m.CI95[1])
	}
	return text
}

// scoreTable has a column for each result.
func scoreTable(list []entry) page.Table {
	t := page.Table{
		Caption:  "Means, in parentheses the interval that 95 % of 2000 draws of the questions fall into; the judge is taken as it is",
		RowHeads: true, Head: []string{"Part"}, Numeric: []bool{false},
	}
	for _, e := range list {
		t.Head, t.Numeric = append(t.Head, e.label), append(t.Numeric, true)
	}
	row := func(label, name, group string) {
		cells := []string{label}
		for _, e := range list {
			cells = append(cells, cellOf(e.Metric(name, group)))
		}
		t.Rows = append(t.Rows, cells)
	}
	row("first turn", "first_turn", "")
	row("second turn", "second_turn", "")
	for _, c := range categoriesOf(list) {
		row(c, "rating", c)
	}
	row("average", "average", "")
	cells := []string{"ratings of expected"}
	for _, e := range list {
		cells = append(cells, fmt.Sprintf("%d of %d", e.Counts["rated"], e.Counts["replies_expected"]))
	}
	t.Rows = append(t.Rows, cells)
	return t
}

// qualityTable counts what is wrong with the answers of one result.
func qualityTable(e entry) page.Table {
	t := page.Table{
		Caption: e.label, RowHeads: true,
		Head:    []string{"category", "answers", "failed", "empty", "not German", "cut off", "looping", "tokens each"},
		Numeric: []bool{false, true, true, true, true, true, true, true},
	}
	var sum mtbench.Quality
	for _, q := range append(slices.Clone(e.details.Quality), mtbench.Quality{Category: "all"}) {
		if q.Category == "all" {
			sum.Category = "all"
			q = sum
		} else {
			sum.Answers += q.Answers
			sum.Failed += q.Failed
			sum.Empty += q.Empty
			sum.NotGerman += q.NotGerman
			sum.CutOff += q.CutOff
			sum.Looping += q.Looping
			sum.NewTokens += q.NewTokens
		}
		each := "–"
		if q.NewTokens > 0 && q.Answers > 0 {
			each = strconv.Itoa(q.NewTokens / q.Answers)
		}
		row := []string{q.Category}
		for _, n := range []int{q.Answers, q.Failed, q.Empty, q.NotGerman, q.CutOff, q.Looping} {
			row = append(row, strconv.Itoa(n))
		}
		t.Rows = append(t.Rows, append(row, each))
	}
	return t
}

// agreements compares all judges that rated answers of the same model.
func agreements(list []entry) []mtbench.Agreement {
	var out []mtbench.Agreement
	for i, a := range list {
		for _, b := range list[i+1:] {
			if eval.HashOf(a.Model) != eval.HashOf(b.Model) || judgeOf(a.Artifact) == judgeOf(b.Artifact) {
				continue
			}
			if g := mtbench.Agree(judgeOf(a.Artifact), judgeOf(b.Artifact), a.details.Ratings, b.details.Ratings); g.N > 0 {
				out = append(out, g)
			}
		}
	}
	return out
}

func agreementTable(list []mtbench.Agreement) page.Table {
	t := page.Table{
		Caption:  "Judges on the same answers; kappa is Cohen's, weighted by the square of the difference in the second column",
		RowHeads: true,
		Head:     []string{"judges", "ratings", "means", "equal", "within 1", "kappa", "weighted kappa", "Spearman"},
		Numeric:  []bool{false, true, true, true, true, true, true, true},
	}
	number := func(v float64) string {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "–"
		}
		return fmt.Sprintf("%.3f", v)
	}
	for _, g := range list {
		t.Rows = append(t.Rows, []string{
			g.A + ", " + g.B, strconv.Itoa(g.N), fmt.Sprintf("%.2f, %.2f", g.MeanA, g.MeanB), fmt.Sprintf("%.0f %%", 100*g.Equal),
			fmt.Sprintf("%.0f %%", 100*g.WithinOne), number(g.Kappa), number(g.Weighted), number(g.Spearman),
		})
	}
	return t
}

// lostTable lists turns without a rating.
func lostTable(e entry) page.Table {
	t := page.Table{Caption: e.label, Head: []string{"question", "turn", "why it is in no mean"}}
	for _, list := range [][]mtbench.Failure{e.details.Failed, e.details.Dropped} {
		for _, f := range list {
			t.Rows = append(t.Rows, []string{f.Question, strconv.Itoa(f.Turn), f.Why})
		}
	}
	return t
}

// runTable says what each result is of.
func runTable(list []entry) page.Table {
	t := page.Table{Caption: "Runs of MT-Bench", RowHeads: true, Head: []string{"model", "judge", "questions", "judge prompts", "complete"}}
	for _, e := range list {
		row := []string{e.Model.String(), "–", "–", "–", "no"}
		if j := judgeOf(e.Artifact); j != "" {
			row[1] = j
		}
		for _, in := range e.Inputs {
			text := fmt.Sprintf("%s (%.12s)", filepath.Base(in.Name), in.Hash)
			switch in.Role {
			case "questions":
				row[2] = text
			case "judge prompts":
				row[3] = text
			}
		}
		if e.Complete {
			row[4] = "yes"
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// unlike says why numbers of different results must not be compared.
func unlike(list []entry) []string {
	var out []string
	for _, role := range []string{"questions", "judge prompts"} {
		seen := map[string]bool{}
		for _, e := range list {
			for _, in := range e.Inputs {
				if in.Role == role {
					seen[in.Hash] = true
				}
			}
		}
		if len(seen) > 1 {
			out = append(out, "the runs have different "+role+", so their numbers can't be compared")
		}
	}
	return out
}

// WriteMTBench writes a page of results of MT-Bench alone.
func WriteMTBench(w io.Writer, results []*eval.Artifact) error {
	list, err := entries(results, names(results))
	if err != nil {
		return err
	}
	p := &page.Page{
		Title:    "MT-Bench in German",
		Lead:     "Questions of two turns in eight categories, rated from 1 to 10 by a judge that is a language model itself.",
		Sections: mtbenchSections(list, unlike(list)),
	}
	return p.WriteHTML(w)
}

// mtbenchSections show results of MT-Bench: scores, the agreement of judges, what is wrong with answers.
func mtbenchSections(list []entry, warnings []string) []page.Section {
	scores := page.Section{Heading: "MT-Bench"}
	quality := page.Section{Heading: "Answers in MT-Bench", Text: "What is wrong with answers on their face. Code is left out before the language is told, and texts of few letters have none."}
	lost := page.Section{Heading: "Turns without a rating"}
	shown := map[string]bool{} // several judges may have seen the same answers
	for _, e := range list {
		warnings = append(warnings, e.details.Warning...)
		if id := eval.HashOf(e.Model, e.details.Quality); !shown[id] {
			shown[id] = true
			quality.Blocks = append(quality.Blocks, qualityTable(e))
		}
		if t := lostTable(e); len(t.Rows) > 0 {
			lost.Blocks = append(lost.Blocks, page.Folded{Summary: fmt.Sprintf("%s: %d turns", e.label, len(t.Rows)), Blocks: []page.Block{t}})
		}
	}
	slices.Sort(warnings)
	if warnings = slices.Compact(warnings); len(warnings) > 0 {
		scores.Blocks = append(scores.Blocks, page.Notice{Title: "Beware", Items: warnings})
	}
	if r := radar(list); len(r.Series) > 0 {
		scores.Blocks = append(scores.Blocks, r, scoreTable(list))
	}
	scores.Blocks = append(scores.Blocks, runTable(list))
	out := []page.Section{scores}
	if a := agreements(list); len(a) > 0 {
		out = append(out, page.Section{Heading: "Agreement of judges", Blocks: []page.Block{agreementTable(a)}})
	}
	out = append(out, quality)
	if len(lost.Blocks) > 0 {
		out = append(out, lost)
	}
	return out
}

// judged are the sections of MT-Bench.
func (b *builder) judged() ([]page.Section, error) {
	var results []*eval.Artifact
	var labels []string
	for _, t := range b.tasks {
		for i, r := range t.results {
			if r != nil && (r.Task == mtbenchTask || r.Task == answersTask) {
				results, labels = append(results, r.Artifact), append(labels, b.columns[i].label)
			}
		}
	}
	if len(results) == 0 {
		return nil, nil
	}
	list, err := entries(results, func(i int) string { return labels[i] })
	if err != nil {
		return nil, err
	}
	return mtbenchSections(list, unlike(list)), nil
}
