package mtbench

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"leolm/eval"
	"leolm/internal/report"
)

// Entry is a result with its details, for tables and pages.
type Entry struct {
	*eval.Artifact
	Details *Details
	// Label tells it apart from the others: the model, and the judge where several judged.
	Label string
}

// Entries reads the details of results and labels them.
func Entries(results []*eval.Artifact) ([]Entry, error) {
	var list []Entry
	judges := map[string]bool{}
	for _, a := range results {
		d, err := ReadDetails(a)
		if err != nil {
			return nil, err
		}
		judges[judgeOf(a)] = true
		list = append(list, Entry{Artifact: a, Details: d, Label: a.Model.Name})
	}
	for i := range list {
		if j := judgeOf(list[i].Artifact); len(judges) > 1 && j != "" {
			list[i].Label += ", by " + j
		}
	}
	return list, nil
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
func categoriesOf(list []Entry) []string {
	var found []string
	for _, e := range list {
		for _, q := range e.Details.Quality {
			if !slices.Contains(found, q.Category) {
				found = append(found, q.Category)
			}
		}
	}
	known := CategoryNames()
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
func radar(list []Entry) report.Radar {
	r := report.Radar{Title: "Rating by category", Axes: categoriesOf(list), Lo: 0, Hi: 10}
	for _, e := range list {
		if _, ok := e.Metric("average", ""); !ok {
			continue
		}
		s := report.RadarSeries{Name: e.Label}
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

// RadarSVG draws the ratings of several results by category, as a picture that stands alone.
func RadarSVG(results []*eval.Artifact) ([]byte, error) {
	list, err := Entries(results)
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
func scoreTable(list []Entry) report.Table {
	t := report.Table{
		Caption: "Means, in parentheses the interval that 95 % of 2000 draws of the questions fall into; the judge is taken as it is",
		Head:    []string{""}, Numeric: []bool{false},
	}
	for _, e := range list {
		t.Head, t.Numeric = append(t.Head, e.Label), append(t.Numeric, true)
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
func qualityTable(e Entry) report.Table {
	t := report.Table{
		Caption: e.Label,
		Head:    []string{"category", "answers", "failed", "empty", "not German", "cut off", "looping", "tokens each"},
		Numeric: []bool{false, true, true, true, true, true, true, true},
	}
	var sum Quality
	for _, q := range append(slices.Clone(e.Details.Quality), Quality{Category: "all"}) {
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

// Agreements compares all judges that rated answers of the same model.
func Agreements(list []Entry) []Agreement {
	var out []Agreement
	for i, a := range list {
		for _, b := range list[i+1:] {
			if eval.HashOf(a.Model) != eval.HashOf(b.Model) || judgeOf(a.Artifact) == judgeOf(b.Artifact) {
				continue
			}
			if g := Agree(judgeOf(a.Artifact), judgeOf(b.Artifact), a.Details.Ratings, b.Details.Ratings); g.N > 0 {
				out = append(out, g)
			}
		}
	}
	return out
}

func agreementTable(list []Agreement) report.Table {
	t := report.Table{
		Caption: "Judges on the same answers; kappa is Cohen's, weighted by the square of the difference in the second column",
		Head:    []string{"judges", "ratings", "means", "equal", "within 1", "kappa", "weighted kappa", "Spearman"},
		Numeric: []bool{false, true, true, true, true, true, true, true},
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
func lostTable(e Entry) report.Table {
	t := report.Table{Caption: e.Label, Head: []string{"question", "turn", "why it is in no mean"}}
	for _, list := range [][]Failure{e.Details.Failed, e.Details.Dropped} {
		for _, f := range list {
			t.Rows = append(t.Rows, []string{f.Question, strconv.Itoa(f.Turn), f.Why})
		}
	}
	return t
}

// runTable says what each result is of.
func runTable(list []Entry) report.Table {
	t := report.Table{Caption: "Runs", Head: []string{"model", "judge", "questions", "judge prompts", "complete"}}
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
func unlike(list []Entry) []string {
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

// WriteReport writes a page that shows results side by side, readable without a network.
func WriteReport(w io.Writer, results []*eval.Artifact) error {
	list, err := Entries(results)
	if err != nil {
		return err
	}
	p := &report.Page{
		Title: "MT-Bench in German",
		Lead:  "Questions of two turns in eight categories, rated from 1 to 10 by a judge that is a language model itself.",
	}
	var warnings []string
	scores := report.Section{Heading: "Scores"}
	quality := report.Section{Heading: "Answers", Text: "What is wrong with answers on their face. Code is left out before the language is told, and texts of few letters have none."}
	lost := report.Section{Heading: "Turns without a rating"}
	if r := radar(list); len(r.Series) > 0 {
		scores.Blocks = append(scores.Blocks, r, scoreTable(list))
	}
	shown := map[string]bool{} // several judges may have seen the same answers
	for _, e := range list {
		warnings = append(warnings, e.Details.Warning...)
		if id := eval.HashOf(e.Model, e.Details.Quality); !shown[id] {
			shown[id] = true
			quality.Blocks = append(quality.Blocks, qualityTable(e))
		}
		if t := lostTable(e); len(t.Rows) > 0 {
			lost.Blocks = append(lost.Blocks, t)
		}
	}
	for _, warning := range slices.Compact(append(unlike(list), warnings...)) {
		scores.Text += "Beware: " + warning + ". "
	}
	scores.Blocks = append(scores.Blocks, runTable(list))
	p.Sections = append(p.Sections, scores)
	if list := Agreements(list); len(list) > 0 {
		p.Sections = append(p.Sections, report.Section{Heading: "Agreement of judges", Blocks: []report.Block{agreementTable(list)}})
	}
	p.Sections = append(p.Sections, quality)
	if len(lost.Blocks) > 0 {
		p.Sections = append(p.Sections, lost)
	}
	return p.WriteHTML(w)
}
