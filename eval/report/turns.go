package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"leolm/eval/mtbench"
	page "leolm/internal/report"
)

// sorted are the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// turns are the turns of MT-Bench that a judge rated most differently, with the answers beside each other.
func (b *builder) turns(t *task) ([]page.Block, error) {
	ratings := make([]map[mtbench.Place]mtbench.PlacedRating, len(b.columns))
	for i, r := range t.results {
		if r == nil || r.Task != mtbenchTask {
			continue
		}
		d, err := mtbench.ReadDetails(r.Artifact)
		if err != nil {
			return nil, err
		}
		ratings[i] = map[mtbench.Place]mtbench.PlacedRating{}
		for _, x := range d.Ratings {
			if x.Turn == 1 || x.Turn == 2 {
				ratings[i][x.Place] = x
			}
		}
	}
	cols := t.largest(func(i int) bool { return len(ratings[i]) > 0 })
	if len(cols) < 2 {
		return nil, nil
	}
	texts := make([]*mtbench.Texts, len(b.columns))
	for _, i := range cols {
		var err error
		if texts[i], err = mtbench.ReadTexts(b.ctx, t.results[i].path); err != nil {
			return nil, err
		}
	}
	type turn struct {
		mtbench.PlacedRating
		spread float64
	}
	var list []turn
	for place, x := range ratings[cols[0]] {
		lo, hi := x.Rating, x.Rating
		for _, i := range cols[1:] {
			if y, ok := ratings[i][place]; ok {
				lo, hi = min(lo, y.Rating), max(hi, y.Rating)
			}
		}
		if hi > lo {
			list = append(list, turn{x, hi - lo})
		}
	}
	slices.SortFunc(list, func(x, y turn) int {
		return cmp.Or(cmp.Compare(y.spread, x.spread), cmp.Compare(x.Question, y.Question), x.Choice-y.Choice, x.Turn-y.Turn)
	})
	t.differing = len(list)
	var out []page.Block
	for _, x := range list[:min(len(list), b.opt.Disagreements)] {
		out = append(out, b.turn(t, x.PlacedRating, cols, ratings, texts))
	}
	return out, nil
}

// turn writes one turn out: the question, and of each model the answer, its rating and the judge's words.
func (b *builder) turn(t *task, x mtbench.PlacedRating, cols []int, ratings []map[mtbench.Place]mtbench.PlacedRating, texts []*mtbench.Texts) page.Case {
	out := page.Case{Heading: fmt.Sprintf("Question %s (%s), turn %d", x.Question, x.Category, x.Turn)}
	if q, ok := texts[cols[0]].Questions.Find(x.Question); ok {
		for k, text := range q.Turns[:min(x.Turn, len(q.Turns))] {
			out.Texts = append(out.Texts, page.Labeled{Label: fmt.Sprintf("Turn %d", k+1), Text: text, Folded: k+1 < x.Turn})
		}
		if x.Turn <= len(q.Reference) {
			out.Texts = append(out.Texts, page.Labeled{Label: "Reference", Text: q.Reference[x.Turn-1], Folded: true})
		}
	}
	for _, i := range cols {
		s := page.Side{Name: b.columns[i].label + ": no rating"}
		if r, ok := ratings[i][x.Place]; ok {
			s.Name = fmt.Sprintf("%s: rated %s", b.columns[i].label, r.Text)
		}
		if x.Turn == 2 {
			first := x.Place
			first.Turn = 1
			if text, ok := texts[i].Answers[first]; ok {
				s.Texts = append(s.Texts, page.Labeled{Label: "Answer to the first turn", Text: text, Folded: true})
			}
		}
		if text, ok := texts[i].Answers[x.Place]; ok {
			s.Texts = append(s.Texts, page.Labeled{Text: text})
		} else {
			s.Texts = append(s.Texts, page.Labeled{Text: "The answer is not beside the result."})
		}
		if text, ok := texts[i].Replies[x.Place]; ok {
			s.Texts = append(s.Texts, page.Labeled{Label: "The judge's words", Text: text, Folded: true})
		}
		out.Sides = append(out.Sides, s)
	}
	return out
}
