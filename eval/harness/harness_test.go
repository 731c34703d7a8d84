package harness

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/eval"
)

func TestChoice(t *testing.T) {
	for _, c := range []struct {
		texts []string
		gold  int
		lls   []float64
		want  [3]float64 // acc, acc_norm, acc_bytes
		tie   bool
	}{
		{[]string{"a", "bb"}, 0, []float64{-1, -1.5}, [3]float64{1, 0, 0}, false},
		// Umlauts are one code point and two bytes.
		{[]string{"ää", "aaa"}, 0, []float64{-3, -4.2}, [3]float64{1, 0, 1}, false},
		// Of equal ones the first counts.
		{[]string{"a", "b"}, 1, []float64{-2, -2}, [3]float64{0, 0, 0}, true},
		{[]string{"a", "b"}, 0, []float64{-2, -2}, [3]float64{1, 1, 1}, true},
	} {
		g := (&Choice{Texts: c.texts, Gold: []int{c.gold}}).Grade(c.lls)
		got := [3]float64{g.Values["acc"].Num, g.Values["acc_norm"].Num, g.Values["acc_bytes"].Num}
		if got != c.want || g.Tie != c.tie {
			t.Errorf("%v %v: %v, tie %v", c.texts, c.lls, got, g.Tie)
		}
	}
}

func near(x *float64, want float64) bool { return x != nil && math.Abs(*x-want) < 1e-12 }

func TestAggregations(t *testing.T) {
	vs := func(xs ...float64) (out []Value) {
		for _, x := range xs {
			out = append(out, Value{x, 1})
		}
		return out
	}
	m := Metric{Name: "acc"}
	if n := m.Aggregate(vs(1, 0, 0, 1)); !near(n.Value, .5) || !near(n.StdErr, math.Sqrt(1.0/3)/2) {
		t.Errorf("%v ± %v", *n.Value, *n.StdErr)
	}
	if n := m.Aggregate(vs(1)); n.StdErr != nil || !near(n.Value, 1) {
		t.Error("one document has a standard error")
	}
	if n := m.Aggregate(nil); n.Value != nil || n.StdErr != nil {
		t.Error("nothing has a mean")
	}
	if n := (Metric{Aggregation: Median}).Aggregate(vs(3, 1, 2)); !near(n.Value, 2) {
		t.Errorf("median %v", *n.Value)
	}
	// A long document weighs more: the perplexity of two is not the mean of theirs.
	two := []Value{{-100, 1}, {-100, 100}}
	if n := (Metric{Aggregation: WeightedPerplexity, Lower: true}).Aggregate(two); !near(n.Value, math.Exp(200.0/101)) || n.StdErr != nil || n.Direction() != "↓" {
		t.Errorf("%v", *n.Value)
	}
	if n := (Metric{Aggregation: BitsPerByte}).Aggregate([]Value{{-math.Ln2 * 3, 2}}); !near(n.Value, 1.5) {
		t.Errorf("%v", *n.Value)
	}
	if n := (Metric{Aggregation: Perplexity}).Aggregate(vs(-1, -3)); !near(n.Value, math.Exp(2)) {
		t.Errorf("%v", *n.Value)
	}
}

func TestGroups(t *testing.T) {
	part := func(x, se float64) Number { return Number{Metric: Metric{Name: "acc"}, Value: &x, StdErr: &se, N: 10} }
	parts := []Number{part(.5, .3), part(.7, .4)}
	m := Metric{Name: "acc"}
	if g := GroupMean(m, parts, false); !near(g.Value, .6) || !near(g.StdErr, .25) || g.N != 20 {
		t.Errorf("%v ± %v", *g.Value, *g.StdErr)
	}
	if g := GroupMean(m, parts, true); !near(g.StdErr, .35) || g.Note == "" {
		t.Errorf("the German harness' error: %v", *g.StdErr)
	}
	if g := GroupMean(m, append(parts, Number{N: 0}), false); g.Value != nil {
		t.Error("a missing part passed")
	}
	if g := GroupMean(Metric{Aggregation: WeightedPerplexity}, parts, false); g.Value != nil {
		t.Error("perplexities were averaged")
	}
	// NumPy's order of additions: 57 subjects, to the last bit.
	xs := make([]float64, 57)
	for i := range xs {
		xs[i] = 1 / float64(i+3)
	}
	if got := numpySum(xs); got != 3.1632037462850713 {
		t.Errorf("%v", got)
	}
}

func TestWordsAsThere(t *testing.T) {
	for text, want := range map[string]int{" a b ": 4, "a b": 2, "a": 1, "Ä\u00a0b\n\nc": 3} {
		if got := countWords(text); got != want {
			t.Errorf("%q: %d words, want %d", text, got, want)
		}
	}
}

func TestFilters(t *testing.T) {
	number := `(\-?[0-9][0-9.,]*[0-9]|[0-9])`
	for _, c := range []struct {
		step  FilterStep
		in    string
		want  string
		found bool
	}{
		{FilterStep{Function: "regex", Pattern: number, Fallback: "[invalid]"}, "72, also insgesamt", "72", true},
		{FilterStep{Function: "regex", Pattern: number, GroupSelect: -1, Fallback: "[invalid]"}, "erst 3, dann 8,000.", "8,000", true},
		{FilterStep{Function: "regex", Pattern: number, Fallback: "[invalid]"}, "keine", "[invalid]", false},
		{FilterStep{Function: "regex", Pattern: `(a)|(b)`, Fallback: "-"}, "xb", "b", true},
		{FilterStep{Function: "regex", Pattern: `ab?`, Fallback: "-"}, " ab ", "ab", true},
		{FilterStep{Function: "regex", Pattern: `(?P<n>\d)(?=€)`, Fallback: "-"}, "4 5€", "5", true},
		{FilterStep{Function: "remove_whitespace"}, " \u00a0x\n", "x", true},
		{FilterStep{Function: "map", Mapping: map[string]string{"ja": "yes"}}, "ja", "yes", true},
		{FilterStep{Function: "map", Mapping: map[string]string{"ja": "yes"}}, "nein", "", false},
	} {
		step, err := c.step.compile()
		if err != nil {
			t.Fatal(err)
		}
		got, found, err := (&filter{steps: []func(string) (string, bool, error){step}}).apply(c.in)
		if err != nil || got != c.want || found != c.found {
			t.Errorf("%+v of %q: %q, %v, %v", c.step, c.in, got, found, err)
		}
	}
	for _, bad := range []FilterStep{{Function: "regex", Pattern: "("}, {Function: "majority_vote"}} {
		if _, err := bad.compile(); err == nil {
			t.Errorf("%+v compiled", bad)
		}
	}
}

func TestLiterals(t *testing.T) {
	v, err := parseLiteral(`['a', "b's", 'c\n\u00e4' 'd', 3, True, None, ['x',],]`)
	if err != nil || string(v.AppendJSON(nil)) != `["a", "b's", "c\näd", 3, true, null, ["x"]]` {
		t.Errorf("%s, %v", v.AppendJSON(nil), err)
	}
	for _, bad := range []string{"", "[", "['a", "['a' b]", "[a]", "['a']x", strings.Repeat("[", 100), `['\x4']`, "['a\n']"} {
		if _, err := parseLiteral(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzLiteral(f *testing.F) {
	f.Add(`['a', "b"]`)
	f.Fuzz(func(t *testing.T, s string) { parseLiteral(s) })
}

// What is wrong in a task file is named with its line.
func TestTaskFilesThatAreWrong(t *testing.T) {
	for _, c := range []struct{ change, to, want string }{
		{"doc_to_text:", "doc_to_tekst:", `:8: doc_to_tekst: unknown key; is doc_to_text meant?`},
		{"doc_to_target: richtig", "", "doc_to_target: is needed"},
		{"output_type: multiple_choice", "output_type: quiz", `output_type: "quiz": there are`},
		{"doc_to_choice: \"{{antworten}}\"", "", "doc_to_choice: belongs to"},
		{"doc_to_target: richtig", "doc_to_target: !function utils.gold", "a function in Python cannot be run"},
		{"doc_to_target: richtig", "doc_to_target: richtig\nprocess_docs: !function utils.docs", "process_docs: a function in Python"},
		{"doc_to_target: richtig", "doc_to_target: \"{{richtig\"", "doc_to_target: line 1"},
		{"doc_to_target: richtig", "doc_to_target: richtig\nmetric_list: [{metric: bleu}]", `has no metric "bleu"`},
		{"doc_to_target: richtig", "doc_to_target: richtig\nmetric_list: [{metric: acc, aggregation: sum}]", `unknown aggregation "sum"`},
		{"doc_to_target: richtig", "doc_to_target: richtig\nmetric_list: [{metric: acc, agregation: mean}]", "metric_list.agregation: unknown key"},
		{"doc_to_target: richtig", "doc_to_target: richtig\nrepeats: 4", "repeats: only 1"},
		{"doc_to_target: richtig", "doc_to_target: richtig\ntask: zwei", "task: is given twice"},
		{"doc_to_target: richtig", "doc_to_target: nirgends.fehlt", "none of its 6 rows can be used; test.jsonl, row 1: doc_to_target"},
		{"doc_to_text: \"Frage: {{frage}}\\nAntwort:\"", "doc_to_text: \"{{fehlt}}\"", "fehlt is undefined"},
		{"task: wahl", "task: ../wahl", "may have no slash"},
		{"num_fewshot: 1", "num_fewshot: -1", "must not be negative"},
		{"num_fewshot: 1", "num_fewshot: 9", "9 examples before each document need 9 rows"},
		{"train.jsonl", "weg.jsonl", "no such file"},
		{"fewshot_split: train", "fewshot_split: dev", "no split dev"},
	} {
		text := strings.Replace(choiceFile+"num_fewshot: 1\n", c.change, c.to, 1)
		dir := write(t, map[string]string{"wahl.yaml": text, "test.jsonl": choices(6), "train.jsonl": choices(3)})
		cfg, err := ReadConfig(t.Context(), filepath.Join(dir, "wahl.yaml"))
		if err == nil {
			_, err = cfg.Build(t.Context(), BuildOptions{})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q → %q: %v, want %q", c.change, c.to, err, c.want)
		}
	}
}

func TestTaskFilesIncludeEachOther(t *testing.T) {
	dir := write(t, map[string]string{"base.yaml": choiceFile, "test.jsonl": choices(6), "train.jsonl": choices(3),
		"wahl.yaml": "include: base.yaml\ntask: andere\ndoc_to_choice: [ja, no, off]\ndoc_to_target: 1\nshould_decontaminate: true\n", "ring.yaml": "include: ring.yaml\n"})
	task := build(t, dir, "wahl.yaml", BuildOptions{})
	it := task.Items[0]
	// Words that YAML takes for truth values are choices all the same.
	if task.Name != "andere" || it.Scores[1].Continuation != " no" || it.Scores[2].Continuation != " off" || it.Gold != 1 || len(task.Notes) != 1 {
		t.Errorf("%+v, notes %q", it, task.Notes)
	}
	if _, err := ReadConfig(t.Context(), filepath.Join(dir, "ring.yaml")); err == nil {
		t.Error("a file that includes itself was read")
	}
}

// Examples do not depend on a limit, the document itself is never one, and another seed draws others.
func TestExamples(t *testing.T) {
	file := strings.Replace(choiceFile, "fewshot_split: train", "fewshot_split: test", 1)
	dir := write(t, map[string]string{"wahl.yaml": file, "test.jsonl": choices(8), "train.jsonl": choices(3)})
	k := 7
	all := build(t, dir, "wahl.yaml", BuildOptions{Shots: &k, Seed: 1})
	for i, it := range all.Items {
		question := "Frage: Nummer " + string(rune('A'+i)) + "a?"
		if n := strings.Count(it.Scores[0].Context, question); n != 1 {
			t.Errorf("document %d stands %d times in its prompt", i, n)
		}
	}
	k = 2
	all = build(t, dir, "wahl.yaml", BuildOptions{Shots: &k, Seed: 1})
	some := build(t, dir, "wahl.yaml", BuildOptions{Shots: &k, Seed: 1, Limit: 3})
	other := build(t, dir, "wahl.yaml", BuildOptions{Shots: &k, Seed: 2})
	differs := false
	for i, it := range some.Items {
		if !slices.Equal(it.Scores, all.Items[i].Scores) {
			t.Errorf("document %d is asked otherwise with a limit", i)
		}
		differs = differs || it.Scores[0] != other.Items[i].Scores[0]
	}
	if !differs || !some.Limited || all.Digest() == other.Digest() || all.Digest() != build(t, dir, "wahl.yaml", BuildOptions{Shots: &k, Seed: 1}).Digest() {
		t.Error("the seed changes nothing, or the digest does not show it")
	}
}

// What was cut off, empty, or not understood is counted.
func TestAnswersAreCounted(t *testing.T) {
	dir := write(t, map[string]string{"frei.yaml": `
task: frei
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
doc_to_text: frage
doc_to_target: "4"
generation_kwargs: {until: "\n", max_gen_toks: 3}
filter_list: [{name: zahl, filter: [{function: regex, regex_pattern: "[0-9]"}]}]
`, "test.jsonl": choices(3)})
	task := build(t, dir, "frei.yaml", BuildOptions{})
	if got := task.Items[0].Ask; !slices.Equal(got.Stops, []string{"\n"}) || got.MaxNewTokens != 3 || got.Temperature != 0 {
		t.Errorf("%+v", got)
	}
	outcomes := []Outcome{{Answer: eval.Answer{Text: "4", Finish: "stop"}}, {Answer: eval.Answer{Text: "vier", Finish: "length"}}, {Answer: eval.Answer{Err: errors.New("too long")}}}
	r := grade(task, outcomes)
	c := r.Counts
	if c.Documents != 2 || c.Failed != 1 || c.Unmatched != 1 || c.CutOff != 1 || r.Complete() {
		t.Errorf("%+v", c)
	}
	if n, ok := r.Number("exact_match,zahl"); !ok || !near(n.Value, .5) {
		t.Errorf("%+v", r.Numbers)
	}
}
