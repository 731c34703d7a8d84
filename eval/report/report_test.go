package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"

	"leolm/eval"
	"leolm/eval/compare"
	"leolm/eval/harness"
	"leolm/eval/mtbench"
	"leolm/internal/screen"
)

// fake is a model that scores and answers with functions of the request.
type fake struct {
	name   string
	score  func(r eval.ScoreRequest) float64
	answer func(r eval.Request) string
}

func (f *fake) Identity() eval.Identity {
	return eval.Identity{Name: f.name, Kind: "local", Weights: eval.HashOf(f.name)[:16], BOS: "auto"}
}

func (f *fake) Score(_ context.Context, reqs []eval.ScoreRequest, done func(i int, s eval.Score) error) error {
	for i, r := range reqs {
		if err := done(i, eval.Score{LogProb: f.score(r), Tokens: 1}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) ScoreRolling(context.Context, []string, func(i int, s eval.Score) error) error {
	return nil
}

func (f *fake) Generate(_ context.Context, reqs []eval.Request, done func(i int, a eval.Answer) error) error {
	for i, r := range reqs {
		if err := done(i, eval.Answer{Text: f.answer(r), Finish: "stop", NewTokens: 3}); err != nil {
			return err
		}
	}
	return nil
}

// choices makes a task of n documents with two choices, the first of which is right.
func choicesTask(name string, n, shots int) *harness.Task {
	t := &harness.Task{Name: name, Version: "1", Shots: shots, Rows: n, Metrics: []harness.Metric{{Name: "acc"}}}
	for i := range n {
		q := fmt.Sprintf("Frage %d von %s?", i, name)
		c := harness.Choice{Texts: []string{"ja", "nein"}, Gold: []int{0}}
		it := harness.Item{Doc: i, Row: fmt.Sprintf("datei, row %d", i+1), Hash: eval.HashOf(q), Gold: 0, Question: q, Choices: c.Texts}
		for _, text := range c.Texts {
			it.Scores = append(it.Scores, eval.ScoreRequest{Context: strings.Repeat("Beispiel.\n", shots) + q, Continuation: " " + text})
		}
		it.Grade = func(o *harness.Outcome) (harness.Grade, error) { return c.Grade(o.LogProbs()), nil }
		t.Items = append(t.Items, it)
	}
	return t
}

// number is that in the question of a request.
func number(r eval.ScoreRequest) int {
	n := 0
	if _, err := fmt.Sscanf(r.Context[strings.LastIndex(r.Context, "Frage"):], "Frage %d", &n); err != nil {
		panic(err)
	}
	return n
}

// knows is a model that answers the documents right of which right says so.
func knows(name string, right func(i int) bool) *fake {
	return &fake{name: name, score: func(r eval.ScoreRequest) float64 {
		i := number(r)
		if strings.HasSuffix(r.Continuation, "ja") == right(i) {
			return -1
		}
		return -2 - float64(i%7)/10
	}}
}

// run scores tasks with a model and leaves the artifacts in a folder.
func run(t *testing.T, dir string, m eval.Model, tasks ...*harness.Task) string {
	t.Helper()
	opt := harness.Options{Dir: dir, Leo: eval.Software{Version: "v1"}, Config: map[string]any{"limit": 0}}
	results, err := harness.Run(t.Context(), m, tasks, opt)
	if err == nil {
		err = harness.Write(results, m.Identity(), &opt)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// written is a page and what it says of itself.
func written(t *testing.T, opt Options, paths ...string) (string, *Summary) {
	t.Helper()
	var b bytes.Buffer
	s, err := Write(t.Context(), &b, paths, opt)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), s
}

// elements are those that a page is made of; no other one may be in it, whatever models say.
var elements = strings.Fields(`html head meta title style body h1 h2 h3 h4 p dl div dt dd section figure figcaption table caption thead tbody tr th td
	strong em ul li details summary article footer svg text line path circle rect i span`)

// checkPage holds a page to what every page must be: whole, without scripts and addresses, readable by a screen reader.
func checkPage(t *testing.T, page string) {
	t.Helper()
	for _, r := range page {
		if r != '\n' && r != '\t' && screen.Acts(r) {
			t.Fatalf("the page has a %U", r)
		}
	}
	if !utf8.ValidString(page) {
		t.Error("the page is no UTF-8")
	}
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if !slices.Contains(elements, n.Data) {
			t.Errorf("there is a <%s>", n.Data)
		}
		var caption, scope, label bool
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || slices.Contains([]string{"src", "href", "srcset", "action", "data", "xlink:href"}, a.Key) {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
			if strings.Contains(a.Val, "url(") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
			scope, label = scope || a.Key == "scope", label || a.Key == "aria-label"
		}
		switch n.Data {
		case "style":
			for _, bad := range []string{"url(", "@import", "http"} {
				if strings.Contains(n.FirstChild.Data, bad) {
					t.Errorf("the styles have %s", bad)
				}
			}
		case "table":
			caption = n.FirstChild != nil && n.FirstChild.Data == "caption"
			if !caption {
				t.Errorf("a table has no caption: %s", inner(n))
			}
		case "th":
			if !scope {
				t.Errorf("a head has no scope: %s", inner(n))
			}
		case "svg":
			if !label {
				t.Error("a picture has no label")
			}
		}
	}
}

// inner is the text below a node.
func inner(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return b.String()
}

// tableRows are the rows of the table whose caption begins with a text.
func tableRows(t *testing.T, page, caption string) [][]string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Data != "table" || n.FirstChild == nil || !strings.HasPrefix(inner(n.FirstChild), caption) {
			continue
		}
		var out [][]string
		for r := range n.Descendants() {
			if r.Data != "tr" || r.Parent.Data != "tbody" {
				continue
			}
			var row []string
			for c := range r.ChildNodes() {
				row = append(row, strings.TrimSpace(inner(c)))
			}
			out = append(out, row)
		}
		return out
	}
	return nil
}

func even(i int) bool { return i%2 == 0 }

// Best is marked where a difference is more than chance, and only there.
func TestBestNeedsMoreThanChance(t *testing.T) {
	dir := t.TempDir()
	a := run(t, filepath.Join(dir, "a"), knows("a", even), choicesTask("klar", 60, 0), choicesTask("knapp", 60, 0))
	b := run(t, filepath.Join(dir, "b"), &fake{name: "b", score: func(r eval.ScoreRequest) float64 {
		i := number(r)
		right := even(i) || i == 1 // one document more
		if strings.Contains(r.Context, "klar") {
			right = i%10 != 0
		}
		return knows("", func(int) bool { return right }).score(r)
	}}, choicesTask("klar", 60, 0), choicesTask("knapp", 60, 0))
	page, s := written(t, Options{Disagreements: 3}, a, b)
	checkPage(t, page)
	if len(s.Warnings) > 0 || s.Models != 2 || s.Tasks != 2 || s.Results != 4 || s.Disagreements != 4 {
		t.Errorf("%+v", s)
	}
	rows := tableRows(t, page, "Tasks and models")
	if len(rows) != 2 || rows[0][0] != "klar" || !strings.HasPrefix(rows[0][4], "★ 0.9") || strings.Contains(rows[0][3], "★") {
		t.Errorf("%q", rows)
	}
	if strings.Contains(strings.Join(rows[1], " "), "★") {
		t.Errorf("a difference of one document is marked: %q", rows[1])
	}
	if !strings.Contains(page, "klar: 3 of ") || !strings.Contains(page, "knapp: 1 of 1 documents") {
		t.Error("the disagreements are not counted")
	}
}

// Four documents of four are no proof.
func TestBestNeedsDocuments(t *testing.T) {
	dir := t.TempDir()
	part := func(n int) []*harness.Task {
		p := choicesTask("mmlu_de_a", n, 0)
		p.Group = "mmlu_de"
		return []*harness.Task{choicesTask("x", n, 0), p}
	}
	for n, marked := range map[int]int{4: 0, 6: 2} {
		a := run(t, filepath.Join(dir, fmt.Sprint("a", n)), knows("a", func(int) bool { return true }), part(n)...)
		b := run(t, filepath.Join(dir, fmt.Sprint("b", n)), knows("b", func(int) bool { return false }), part(n)...)
		page, _ := written(t, Options{}, a, b)
		rows := fmt.Sprint(tableRows(t, page, "Tasks and models"))
		if strings.Count(rows, "★") != marked {
			t.Errorf("%d documents: %s", n, rows)
		}
	}
}

// What the page says of pairs is what package compare says.
func TestPairsAreThoseOfCompare(t *testing.T) {
	dir := t.TempDir()
	a := run(t, filepath.Join(dir, "a"), knows("a", even), choicesTask("x", 41, 0))
	b := run(t, filepath.Join(dir, "b"), knows("b", func(i int) bool { return i%3 == 0 }), choicesTask("x", 41, 0))
	want, _, err := compare.Folders(a, b)
	if err != nil {
		t.Fatal(err)
	}
	page, _ := written(t, Options{}, a, b)
	rows := tableRows(t, page, "B − A")
	if len(rows) != len(want) || len(rows) == 0 {
		t.Fatalf("%q", rows)
	}
	for i, w := range want {
		got := strings.Join(rows[i], "|")
		for _, text := range []string{
			w.Metric, fmt.Sprintf("%+.4f", w.Diff), fmt.Sprintf("%+.4f … %+.4f", w.CI95[0], w.CI95[1]), fmt.Sprintf("|%d|%d|%.4f", *w.OnlyA, *w.OnlyB, *w.P),
		} {
			if !strings.Contains(got, text) {
				t.Errorf("%q lacks %q", got, text)
			}
		}
	}
	if strings.Contains(page, "Disagreements") {
		t.Error("disagreements are shown where none are wanted")
	}
}

// Numbers that cannot be compared are never compared silently.
func TestUnlikeRunsAreNotCompared(t *testing.T) {
	dir := t.TempDir()
	good := func(int) bool { return true }
	a := run(t, filepath.Join(dir, "a"), knows("a", good), choicesTask("x", 30, 0))
	for name, task := range map[string]*harness.Task{
		"num_fewshot differs":                  choicesTask("x", 30, 2),
		"the version of the task differs":      func() *harness.Task { t := choicesTask("x", 30, 0); t.Version = "2"; return t }(),
		"documents, prompts, examples) differ": choicesTask("x", 29, 0),
	} {
		b := run(t, t.TempDir(), knows("b", func(int) bool { return false }), task)
		page, s := written(t, Options{Disagreements: 5}, a, b)
		checkPage(t, page)
		if !strings.Contains(strings.Join(s.Warnings, "\n"), name) || !strings.Contains(page, "Before you compare") {
			t.Errorf("%s: %q", name, s.Warnings)
		}
		rows := tableRows(t, page, "Tasks and models")
		if got := strings.Join(rows[0], " "); strings.Contains(got, "★") || strings.Count(got, "not comparable") != 2 {
			t.Errorf("%s: %q", name, got)
		}
		if tableRows(t, page, "B − A") != nil || s.Disagreements != 0 {
			t.Errorf("%s: they are compared all the same", name)
		}
	}
	// A limit leaves a part, and that is said.
	limited := choicesTask("x", 30, 0)
	limited.Items, limited.Limited = limited.Items[:10], true
	_, s := written(t, Options{}, run(t, t.TempDir(), knows("c", good), limited))
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "not complete") {
		t.Errorf("%q", s.Warnings)
	}
}

// hostileTexts are answers that would change a page if they were not escaped.
var hostileTexts = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</td></table></body>", "<!--", "]]>", "&lt;&#0;", "# Titel\n**fett** [x](http://example.org)",
	strings.Repeat("a", 50000), "\u202egnirts\u202c \u2066x\u2069", "\x00\x01\x1b[2J\x7f\u0085", "שלום עולם", "\xff\xfe", "{{.}} {{template \"x\"}}", "",
}

func TestHostileAnswersStayText(t *testing.T) {
	dir := t.TempDir()
	task := &harness.Task{Name: "texte<b>", Version: "1", Rows: len(hostileTexts), Metrics: []harness.Metric{{Name: "exact_match"}}}
	task.Name = "texte"
	for i, text := range hostileTexts {
		task.Items = append(task.Items, harness.Item{
			Doc: i, Row: "reihe <" + text[:min(len(text), 40)] + ">", Hash: fmt.Sprint(i), Gold: text, Question: text,
			Ask: &eval.Request{ID: fmt.Sprint(i), Prompt: fmt.Sprint(i)},
			Grade: func(o *harness.Outcome) (harness.Grade, error) {
				v := harness.Value{Den: 1}
				if o.Answer.Text == "gut" {
					v.Num = 1
				}
				return harness.Grade{Picked: text, Values: map[string]harness.Value{"exact_match": v}}, nil
			},
		})
	}
	at := func(r eval.Request) string {
		n := 0
		fmt.Sscan(r.Prompt, &n)
		return hostileTexts[n]
	}
	a := run(t, filepath.Join(dir, "a"), &fake{name: "<script>modell", answer: at}, task)
	b := run(t, filepath.Join(dir, "b"), &fake{name: "b\u202e\x1b", answer: func(eval.Request) string { return "gut" }}, task)
	page, s := written(t, Options{Disagreements: 100, Title: "<i>Titel"}, a, b)
	checkPage(t, page)
	if s.Disagreements != len(hostileTexts) {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{"&lt;script&gt;alert(1)", "&lt;i&gt;Titel", `\u202e`, `\x1b[2J`, "bytes more)", "שלום", "(empty)", "&lt;script&gt;modell: wrong"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if len(page) > 400_000 {
		t.Errorf("%d bytes: long answers are not cut", len(page))
	}
	again, _ := written(t, Options{Disagreements: 100, Title: "<i>Titel"}, a, b)
	if again != page {
		t.Error("the same runs give another page")
	}
}

// A task that is the mean of others shows them folded, and pools their documents.
func TestPartsOfTasks(t *testing.T) {
	dir := t.TempDir()
	parts := func() []*harness.Task {
		var out []*harness.Task
		for _, s := range []string{"a", "b", "c"} {
			p := choicesTask("mmlu_de_"+s, 20, 0)
			p.Group = "mmlu_de"
			out = append(out, p)
		}
		return out
	}
	a := run(t, filepath.Join(dir, "a"), knows("a", func(int) bool { return true }), parts()...)
	b := run(t, filepath.Join(dir, "b"), knows("b", even), parts()...)
	page, s := written(t, Options{Disagreements: 4}, dir)
	checkPage(t, page)
	if s.Models != 2 || s.Disagreements != 4 || s.Results != 8 {
		t.Errorf("%+v", s)
	}
	if rows := tableRows(t, page, "Tasks and models"); len(rows) != 1 || rows[0][0] != "mmlu_de" || !strings.HasPrefix(rows[0][3], "★ 1.0000") {
		t.Errorf("%q", rows)
	}
	if rows := tableRows(t, page, "mmlu_de"); len(rows) != 3 || rows[1][0] != "mmlu_de_b" {
		t.Errorf("%q", rows)
	}
	rows := tableRows(t, page, "B − A")
	if len(rows) != 1 || rows[0][3] != "60" || rows[0][8] != "30" {
		t.Errorf("%q", rows)
	}
	if !strings.Contains(page, "mmlu_de: 4 of 30 documents") {
		t.Error("the disagreements are not those of all parts")
	}
	// One of the two, by its file.
	if _, s := written(t, Options{}, filepath.Join(a, "mmlu_de.json"), filepath.Join(b, "mmlu_de.json")); s.Results != 2 {
		t.Errorf("%+v", s)
	}
}

// The documents shown first are those in which the probability of the right choice differs most.
func TestDisagreementsAreInOrder(t *testing.T) {
	dir := t.TempDir()
	a := run(t, filepath.Join(dir, "a"), knows("a", func(int) bool { return true }), choicesTask("x", 14, 0))
	b := run(t, filepath.Join(dir, "b"), knows("b", func(int) bool { return false }), choicesTask("x", 14, 0))
	page, _ := written(t, Options{Disagreements: 2}, a, b)
	got := regexp.MustCompile(`Frage (\d+) von x`).FindAllString(page, -1)
	if want := []string{"Frage 6 von x", "Frage 13 von x"}; !slices.Equal(got, want) { // those with i%7 == 6
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPathsWithoutResults(t *testing.T) {
	dir := t.TempDir()
	a := run(t, filepath.Join(dir, "a"), knows("a", even), choicesTask("x", 5, 0))
	b := run(t, filepath.Join(dir, "b"), knows("b", even), choicesTask("x", 5, 0))
	fails := func(paths ...string) error {
		_, err := Write(t.Context(), io.Discard, paths, Options{})
		return err
	}
	empty := t.TempDir()
	var none *NoResultsError
	if err := fails(a, empty); !errors.As(err, &none) || none.Path != empty {
		t.Errorf("%v", err)
	}
	if err := fails(filepath.Join(dir, "nix")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	// A file that was cut off, and one of another kind.
	data, err := os.ReadFile(filepath.Join(b, "x.json"))
	if err != nil {
		t.Fatal(err)
	}
	var not *eval.NotArtifactError
	for _, text := range []string{string(data[:len(data)/2]), `{"schema": "leo-eval-result"}`, strings.Replace(string(data), `"version": 1`, `"version": 99`, 1)} {
		if err := os.WriteFile(filepath.Join(b, "x.json"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := fails(a, b); !errors.As(err, &not) {
			t.Errorf("%v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(b, "x.json"), data, 0o666); err != nil {
		t.Fatal(err)
	}
	// Single results that are not those of the artifact, or gone.
	records := filepath.Join(b, "x.jsonl")
	if err := os.WriteFile(records, []byte("{}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, s := written(t, Options{}, a, b); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "not those that the artifact") {
		t.Errorf("%q", s.Warnings)
	}
	if err := os.Remove(records); err != nil {
		t.Fatal(err)
	}
	if _, s := written(t, Options{}, a, b); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "not beside the artifact") {
		t.Errorf("%q", s.Warnings)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, io.Discard, []string{a}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Results of any task that leaves an artifact are shown, also those of tasks that this program does not know.
func TestForeignTasks(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"a", "b"} {
		a := eval.NewArtifact("perplexity", eval.Identity{Name: name, Kind: "local", Tokenizer: name}, eval.Software{})
		v, se := 1.5+float64(i), 0.01
		a.Complete, a.Details = true, json.RawMessage(`["something", "else"]`)
		a.Add(eval.Metric{Name: "bits_per_byte", Value: &v, StdErr: &se, N: 7, Lower: true})
		a.Add(eval.Metric{Name: "nothing", Value: nil, N: 0})
		nan := math.NaN()
		a.Add(eval.Metric{Name: "nan", Value: &nan, N: 0})
		if err := a.WriteFile(filepath.Join(dir, name+".json")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "other.json"), []byte(`{"a": 1`), 0o666); err != nil {
		t.Fatal(err)
	}
	page, s := written(t, Options{}, dir)
	checkPage(t, page)
	rows := tableRows(t, page, "Tasks and models")
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "different tokenizers") {
		t.Errorf("%q", s.Warnings)
	}
	if s.Models != 2 || len(rows) != 3 || !strings.HasPrefix(rows[0][3], "★ 1.5000 ± 0.0100") || rows[0][1] != "bits_per_byte ↓" || strings.Contains(page, "NaN") {
		t.Errorf("%+v %q", s, rows)
	}
}

// judgedRun answers questions of MT-Bench and lets a judge rate them.
func judgedRun(t *testing.T, dir, model, answer string, rating func(turn int) int) string {
	t.Helper()
	set, err := mtbench.OwnQuestions()
	if err != nil {
		t.Fatal(err)
	}
	prompts, err := mtbench.OwnPrompts()
	if err != nil {
		t.Fatal(err)
	}
	r, err := mtbench.OpenRun(t.Context(), dir, set.Head(30))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	if err := r.Answer(t.Context(), &fake{name: model, answer: func(eval.Request) string { return answer }}, mtbench.AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	judge := &fake{name: "richter", answer: func(eval.Request) string {
		n++
		return fmt.Sprintf("Das Urteil <%s>.\nNote: [[%d]]", model, rating(n))
	}}
	if _, err := r.Judge(t.Context(), judge, mtbench.JudgeOptions{Prompts: prompts}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMTBenchSideBySide(t *testing.T) {
	dir := t.TempDir()
	a := judgedRun(t, filepath.Join(dir, "a"), "eins", "Antwort <eins>", func(n int) int { return 2 + n%2 })
	b := judgedRun(t, filepath.Join(dir, "b"), "zwei", "Antwort <zwei>", func(n int) int { return 9 })
	page, s := written(t, Options{Disagreements: 3}, a, b)
	checkPage(t, page)
	if s.Models != 2 || s.Disagreements != 3 || len(s.Warnings) != 0 {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{"Rating by category", "3 of 60 turns", "eins: rated 2", "zwei: rated 9", "Antwort &lt;eins&gt;", "Das Urteil &lt;zwei&gt;", "The judge&#39;s words"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, row := range tableRows(t, page, "Tasks and models") {
		if row[1] == "average ↑" && !strings.HasPrefix(row[4], "★ 9.00") {
			t.Errorf("%q", row)
		}
	}
	// The same answers under a second judge: the two are not mixed, and their agreement is told.
	results, err := mtbench.Results(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	var alone bytes.Buffer
	if err := WriteMTBench(&alone, results); err != nil {
		t.Fatal(err)
	}
	checkPage(t, alone.String())
	svg, err := RadarSVG(results)
	if err != nil || !bytes.Contains(svg, []byte("<circle")) {
		t.Errorf("%s, %v", svg, err)
	}
}

func TestColumnsOfOneModel(t *testing.T) {
	dir := t.TempDir()
	m := knows("m", even)
	a := run(t, filepath.Join(dir, "erste"), m, choicesTask("x", 5, 0))
	b := run(t, filepath.Join(dir, "zweite"), m, choicesTask("y", 5, 0))
	if _, s := written(t, Options{}, a, b); s.Models != 1 {
		t.Errorf("results of two tasks of one model stand apart: %+v", s)
	}
	c := run(t, filepath.Join(dir, "dritte"), m, choicesTask("x", 5, 1))
	page, s := written(t, Options{}, a, c)
	if s.Models != 2 || !strings.Contains(page, "m (erste)") || !strings.Contains(page, "m (dritte)") {
		t.Errorf("%+v", s)
	}
	if _, s := written(t, Options{}, a, a, filepath.Join(a, "x.jsonl")); s.Results != 1 {
		t.Errorf("a result counts several times: %+v", s)
	}
}

// Of many models, each is compared with the first, and the page says so.
func TestManyModels(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		run(t, filepath.Join(dir, fmt.Sprint(i)), knows(fmt.Sprint("m", i), func(k int) bool { return k%(i+2) == 0 }), choicesTask("x", 12, 0))
	}
	page, _ := written(t, Options{Disagreements: 1}, dir)
	checkPage(t, page)
	rows := tableRows(t, page, "B − A")
	if len(rows) != 5 || !strings.Contains(page, "each is compared with the first") {
		t.Errorf("%q", rows)
	}
	for _, row := range rows {
		if !strings.HasPrefix(row[2], "A: m0") {
			t.Errorf("%q", row)
		}
	}
}

func TestTexts(t *testing.T) {
	for p, want := range map[float64]string{0.5: "0.5000", 1e-7: "1.0e-07"} {
		if got := printP(p); got != want {
			t.Errorf("%g: %s", p, got)
		}
	}
	into := map[string]string{}
	flatten("", map[string]any{"a": map[string]any{"b": 1}, "c": []int{2}}, into)
	if !maps.Equal(into, map[string]string{"a.b": "1", "c": "[2]"}) {
		t.Errorf("%v", into)
	}
}
