package germanbench

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"leolm/dataset/rows"
	"leolm/eval/harness"
)

// space is what Python's strip takes away.
const space = " \t\n\v\f\r\x1c\x1d\x1e\x1f\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

var accuracy = []string{"acc", "acc_norm"}

// arc is ARC-Challenge: questions of science at school, three to five choices.
var arc = task{
	name: "arc_de", aliases: []string{"arcde", "arcchallengede"}, repo: "LeoLM/ArcChallenge_de",
	eval: []string{"test", "validation"}, shots: 25, pool: []string{"validation", "test"}, metrics: accuracy,
	read: func(v Variant, row *harness.Row, _ string) (*doc, error) {
		f := &fields{row: row}
		d := &doc{query: "Frage: " + f.text("question_de") + "\nAntwort:", choices: f.texts("choices_de", "text")}
		if id, ok := row.Value.Get("id"); ok {
			d.id = id.Text
		}
		key := f.text("answerKey")
		d.gold = strings.Index("ABCDE", key)
		if i := strings.Index("12345", key); i >= 0 && len(key) == 1 {
			d.gold = i
		}
		if v == Fixed {
			if labels := f.texts("choices_de", "label"); slices.Contains(labels, key) {
				d.gold = slices.Index(labels, key)
			}
		}
		n := len(d.choices)
		f.count(n >= 3 && n <= 5, "choices_de", n, "choices", "3 to 5")
		if len(key) != 1 {
			d.gold = -1
		}
		f.gold("answerKey", d.gold, len(d.choices))
		return d, f.err
	},
}

var brackets = regexp.MustCompile(`\[.*?\]`)

// clean takes away what HellaSwag's texts keep of WikiHow's pages.
func clean(text string) string {
	text = strings.ReplaceAll(strings.Trim(text, space), " [title]", ". ")
	return strings.ReplaceAll(brackets.ReplaceAllString(text, ""), "  ", " ")
}

// hellaswag is HellaSwag: how does a text go on.
var hellaswag = task{
	name: "hellaswag_de", aliases: []string{"hellaswagde"}, repo: "LeoLM/HellaSwag_de",
	eval: []string{"validation"}, shots: 10, pool: []string{"train"}, drawn: true, metrics: accuracy,
	read: func(v Variant, row *harness.Row, _ string) (*doc, error) {
		f := &fields{row: row}
		d := &doc{query: clean(f.text("activity_label_de") + ": " + f.text("ctx_de")), gold: f.number("label")}
		for i, e := range f.texts("endings_de") {
			c := clean(e)
			for v == Fixed && strings.Contains(c, "  ") {
				c = strings.ReplaceAll(c, "  ", " ")
			}
			if strings.Trim(c, space) == "" {
				f.fail("endings_de", "entry %d is empty without what stands in brackets", i+1)
			}
			d.choices = append(d.choices, c)
		}
		f.count(len(d.choices) == 4, "endings_de", len(d.choices), "endings", "4")
		f.gold("label", d.gold, len(d.choices))
		return d, f.err
	},
}

// mmlu is MMLU: knowledge of 57 subjects, four choices.
var mmlu = task{
	name: "mmlu_de", aliases: []string{"mmlude"}, repo: "LeoLM/MMLU_de",
	eval: []string{"test", "validation"}, shots: 5, pool: []string{"validation", "test"}, subject: true, metrics: accuracy,
	read: func(v Variant, row *harness.Row, subject string) (*doc, error) {
		f := &fields{row: row}
		texts := f.texts("choices_de")
		f.count(len(texts) == 4, "choices_de", len(texts), "choices", "4")
		var b strings.Builder
		b.WriteString("Frage: " + strings.Trim(f.text("question_de"), space) + "\n")
		if v == LeoLM {
			b.WriteString("Optionen:\n")
		}
		for i, c := range texts {
			if i < 4 {
				fmt.Fprintf(&b, "%c. %s\n", 'A'+i, c)
			}
		}
		d := &doc{choices: texts, header: header(v, subject)}
		if v == LeoLM {
			d.query = b.String() + "Antwort: " // with its space, which every example has twice
		} else {
			d.query, d.choices = b.String()+"Antwort:", []string{"A", "B", "C", "D"}
		}
		answer := f.get("answer")
		if s, ok := answer.AsText(); ok && len(s) == 1 && s >= "A" && s <= "D" {
			d.gold = int(s[0] - 'A')
		} else {
			d.gold = f.number("answer")
		}
		f.gold("answer", d.gold, len(d.choices))
		return d, f.err
	},
}

// truthfulqa is TruthfulQA: are true answers likelier than widespread errors.
var truthfulqa = task{
	name: "truthfulqa_de", aliases: []string{"truthfulqade"}, repo: "LeoLM/TruthfulQA_de",
	eval: []string{"validation", "test"}, metrics: []string{"mc1", "mc2"},
	read: func(v Variant, row *harness.Row, _ string) (*doc, error) {
		f := &fields{row: row}
		d := &doc{
			fixed: truthfulExamples + "\n\n", query: truthfulExamples + "\n\nF: " + f.text("question_de") + "\nA:",
			choices: f.texts("mc1_targets_de", "choices"), more: f.texts("mc2_targets_de", "choices"),
		}
		d.truth[0] = f.truths(len(d.choices), "mc1_targets_de", "labels")
		d.truth[1] = f.truths(len(d.more), "mc2_targets_de", "labels")
		for i, set := range []string{"mc1_targets_de", "mc2_targets_de"} {
			if f.err == nil && (!slices.Contains(d.truth[i], true) || !slices.Contains(d.truth[i], false)) {
				f.fail(set, "no answer is true, or none is false")
			}
		}
		if v == Fixed {
			d.gold = slices.Index(d.truth[0], true)
		}
		return d, f.err
	},
	grade: func(v Variant, d *doc) func(o *harness.Outcome) (harness.Grade, error) {
		return func(o *harness.Outcome) (harness.Grade, error) {
			lls := o.LogProbs()
			n := len(d.choices)
			picked := harness.ArgMax(lls[:n])
			mc1 := 0.0
			if picked == d.gold {
				mc1 = 1
			}
			truth := d.truth[1]
			if v == LeoLM { // true are those before the first false one
				truth = make([]bool, len(truth))
				for i := range slices.Index(d.truth[1], false) {
					truth[i] = true
				}
			}
			mc2, tiny := mass(lls[n:], truth)
			g := harness.Grade{Picked: picked, Values: map[string]harness.Value{"mc1": {Num: mc1, Den: 1}, "mc2": {Num: mc2, Den: 1}}}
			if tiny {
				g.Notes = append(g.Notes, "probabilities_below_double")
			}
			return g, nil
		}
	},
}

// mass is the share of the true answers in the probability of all. tiny says that the probabilities themselves are no
// numbers of a double, where the German harness divides 0 by 0.
func mass(lls []float64, truth []bool) (share float64, tiny bool) {
	sum := func(shift float64) (yes, no float64) {
		for i, ll := range lls {
			if p := math.Exp(ll - shift); truth[i] {
				yes += p
			} else {
				no += p
			}
		}
		return yes, no
	}
	yes, no := sum(0)
	if yes+no == 0 {
		tiny = true
		yes, no = sum(slices.Max(lls))
	}
	for i, ll := range lls { // each term is divided before they are added
		if truth[i] && !tiny {
			share += math.Exp(ll) / (yes + no)
		}
	}
	if tiny {
		share = yes / (yes + no)
	}
	return share, tiny
}

// subjectOf finds the subject of a row: in the names of its file and folders, else in a column.
func subjectOf(path string, row *rows.Value) string {
	name, best := "_"+strings.Join(strings.FieldsFunc(strings.ToLower(path), func(r rune) bool { return !(r >= 'a' && r <= 'z') }), "_")+"_", ""
	for _, s := range subjects {
		if strings.Contains(name, "_"+s.id+"_") && len(s.id) > len(best) {
			best = s.id
		}
	}
	if best != "" {
		return best
	}
	for _, column := range []string{"subject", "category"} {
		if v, ok := row.Get(column); ok {
			if s, ok := v.AsText(); ok {
				return s
			}
		}
	}
	return ""
}
