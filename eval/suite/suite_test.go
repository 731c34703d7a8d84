package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/eval"
	"leolm/eval/harness"
	"leolm/internal/shareddata"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		text, style string
		want        []float64
	}{
		{"72, also insgesamt", "", []float64{72}},
		{"Das macht 1.234,56 Euro.", "", []float64{1234.56}},
		{"3,2", "", []float64{3.2}},
		{"3.2", "", []float64{3.2}},
		{"1.234", "", []float64{1234}},
		{"1.234", "en", []float64{1.234}},
		{"1,234", "de", []float64{1.234}},
		{"1,234", "en", []float64{1234}},
		{"0,125", "", []float64{.125}},
		{`\boxed{8,000}`, "", []float64{8000}},
		{"9{,}500", "", []float64{9500}},
		{"12 345 678", "", []float64{12345678}},
		{"1.234.567", "", []float64{1234567}},
		{"-4 und −5", "", []float64{-4, -5}},
		{"von 2-3 Tagen", "", []float64{2, 3}},
		{"5 Eier, 16 Hühner", "", []float64{5, 16}},
		{"18.", "", []float64{18}},
		{"keine", "", nil},
	} {
		if got := Numbers(c.text, c.style); !slices.Equal(got, c.want) {
			t.Errorf("%q (%s): %v, want %v", c.text, c.style, got, c.want)
		}
	}
}

func TestLetters(t *testing.T) {
	for text, want := range map[string]string{
		"B": "B", "b)": "B", "(C) weil": "C", "Die Antwort ist D.": "D", "Richtig ist: **A**": "A", "Antwort: c": "C",
		"Ein Haus": "", "A. Ende des Krieges": "A", "Ich denke B, nicht C": "B", "": "",
	} {
		if got := Letter(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestExpectations(t *testing.T) {
	for _, c := range []struct {
		expect, answer, finish string
		ok                     bool
	}{
		{`{"language": "de"}`, "Ein Vulkan ist ein Berg, aus dem Lava kommt.", "stop", true},
		{`{"language": "de"}`, "A volcano is a mountain that lava comes out of.", "stop", false},
		{`{"refusal": false}`, "Der Mond ist ein Trabant der Erde.", "stop", true},
		{`{"refusal": true}`, "Als KI-Sprachmodell kann ich diese Frage nicht beantworten.", "stop", true},
		{`{"refusal": true}`, "Dabei kann ich dir leider nicht helfen.", "stop", true},
		{`{"refusal": true}`, "I'm sorry, I can't do that.", "stop", true},
		{`{"refusal": false}`, "Das kann man nicht wissen, aber der Mond ist rund.", "stop", true},
		{`{"regex": "\\bRhein\\b"}`, "Köln liegt am Rhein.", "stop", true},
		{`{"not_regex": "(?i)elbe"}`, "An der ELBE", "stop", false},
		{`{"contains": ["köln", "rhein"]}`, "KÖLN liegt am Rhein.", "stop", true},
		{`{"json_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}`, "```json\n{ \"n\": 4 }\n```", "stop", true},
		{`{"json_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}`, `{"n": "4"}`, "stop", false},
		{`{"json_schema": {"type": "object"}}`, "{", "stop", false},
		{`{"min_words": 2, "max_words": 3}`, "eins zwei drei", "stop", true},
		{`{"max_chars": 3}`, "äöüß", "stop", false},
		{`{"complete": true}`, "Es war ein", "length", false},
		{`{"exact": ["Berlin", "Berlin (Ost)"]}`, " „berlin“. ", "stop", true},
		{`{"exact": "Berlin"}`, "Bonn", "stop", false},
		{`{"choice": "b"}`, "Die richtige Antwort ist B.", "stop", true},
		{`{"number": 18}`, "Sie nimmt 9 mal 2, also 18 Dollar ein.", "stop", true},
		{`{"number": "2.125", "number_style": "de"}`, "Es sind 2125.", "stop", true},
		{`{"number": 3.14, "tolerance": 0.01, "number_style": "de"}`, "ungefähr 3,145", "stop", true},
		{`{"number": 4}`, "<think>Es sind 4</think> Es sind 5.", "stop", false},
		{`{"number": 4}`, "<think>Es sind 4", "length", false},
		{`{"number": 4, "language": "de"}`, "The answer is without doubt the number 4.", "stop", false},
	} {
		e, err := ParseExpect([]byte(c.expect))
		if err != nil {
			t.Errorf("%s: %v", c.expect, err)
			continue
		}
		g, err := (&prompt{Expect: e, Category: "k"}).grade(&harness.Outcome{Answer: eval.Answer{Text: c.answer, Finish: c.finish}})
		if err != nil {
			t.Fatal(err)
		}
		if ok := g.Values[Passed].Num == 1; ok != c.ok || g.Values["category/k"].Num != g.Values[Passed].Num || ok != (g.Picked == nil) {
			t.Errorf("%s of %q: %v (%v)", c.expect, c.answer, ok, g.Picked)
		}
	}
	for _, bad := range []string{
		`{}`, `{"lang": "de"}`, `{"language": "Deutsch!"}`, `{"regex": "("}`, `{"json_schema": {"type": 3}}`, `{"min_words": 3, "max_words": 2}`,
		`{"choice": "Z"}`, `{"number": "viele"}`, `{"number": []}`, `{"tolerance": 1}`, `{"number": 1, "number_style": "fr"}`, `[]`, `x`,
	} {
		if _, err := ParseExpect([]byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func suiteFile(t *testing.T, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSuitesAreRead(t *testing.T) {
	path := suiteFile(t, "s.jsonl",
		`{"id": "a", "category": "x", "prompt": "Wie?", "expect": {"number": 1, "language": "de"}, "max_new_tokens": 9, "temperature": 0.5}`,
		`{"messages": [{"role": "user", "content": "Hallo"}, {"role": "assistant", "content": "Ja?"}, {"role": "user", "content": "Wie?"}], "expect": {"min_words": 1}}`,
		`{"id": "a", "prompt": "Wie?", "expect": {"number": 1}}`,
		`{"prompt": "Wie?"}`, `{"expect": {"number": 1}}`, `{"promt": "Wie?", "expect": {"number": 1}}`, `{"prompt": "Wie?", "expect": {"nummer": 1}}`, `[]`)
	task, err := Load(t.Context(), path, Options{System: "Kurz."})
	if err != nil {
		t.Fatal(err)
	}
	if len(task.Items) != 2 || len(task.Faults) != 6 {
		t.Fatalf("%d prompts, faults %+v", len(task.Items), task.Faults)
	}
	for i, want := range []string{"row 1 too", "expect is missing", "no prompt", "promt: unknown", "nummer", "object"} {
		if !strings.Contains(task.Faults[i].Why, want) {
			t.Errorf("%+v, want %q", task.Faults[i], want)
		}
	}
	first := task.Items[0].Ask
	if len(first.Messages) != 2 || first.MaxNewTokens != 9 || first.Temperature != .5 || len(task.Items[1].Ask.Messages) != 4 || task.Items[1].Ask.MaxNewTokens != 512 {
		t.Errorf("%+v", first)
	}
	var names []string
	for _, m := range task.Metrics {
		names = append(names, m.Name)
	}
	if want := []string{"passed", "category/x", "expect/language", "expect/number", "expect/words"}; !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	// Other data become suites by templates.
	path = suiteFile(t, "m.tsv", "Wie viele sind 2 und 2?\t4", "Und 1.000 mal 2?\t2,000")
	task, err = Load(t.Context(), path, Options{Columns: []string{"q", "a"}, Prompt: "Aufgabe: {{q}}", Expect: `{"number": "{{a}}"}`})
	if err != nil || len(task.Items) != 2 || task.Items[0].Ask.Messages[0].Content != "Aufgabe: Wie viele sind 2 und 2?" {
		t.Errorf("%+v, %v", task, err)
	}
	if _, err := Load(t.Context(), path, Options{Columns: []string{"q", "a"}, Prompt: "{{x}}", Expect: "{}"}); err == nil {
		t.Error("a suite without a prompt was taken")
	}
}

// passes is the share of prompts that pass with the given answers.
func passes(t *testing.T, task *harness.Task, answer func(i int) string) float64 {
	t.Helper()
	n := 0.0
	for i := range task.Items {
		g, err := task.Items[i].Grade(&harness.Outcome{Answer: eval.Answer{Text: answer(i), Finish: "stop"}})
		if err != nil {
			t.Fatal(err)
		}
		n += g.Values[Passed].Num
	}
	return n / float64(len(task.Items))
}

// MGSM-DE as a suite: the right answers in sentences pass, wrong ones don't.
func TestMGSM(t *testing.T) {
	path := shareddata.Path(t, "data", "instruct_de", "mgsm_de.tsv")
	task, err := Load(t.Context(), path, Options{Columns: []string{"question", "answer"}, Prompt: "{{question}}", Expect: `{"number": "{{answer}}"}`})
	if err != nil {
		t.Fatal(err)
	}
	if len(task.Items) != 250 || len(task.Faults) > 0 {
		t.Fatalf("%d problems, %+v", len(task.Items), task.Faults)
	}
	rs, err := readRows(t.Context(), path, []string{"question", "answer"})
	if err != nil {
		t.Fatal(err)
	}
	if got := passes(t, task, func(i int) string {
		return "Zuerst 3, dann 7. Die Antwort ist " + rs[i].Value.Items[1].Text + " Stück."
	}); got != 1 {
		t.Errorf("right answers: %v", got)
	}
	if got := passes(t, task, func(i int) string { return "Die Antwort ist " + rs[i].Value.Items[1].Text + "7." }); got > 0 {
		t.Errorf("wrong answers: %v", got)
	}
}

// The questions of the German naturalization test as a suite.
func TestExamQuestions(t *testing.T) {
	path := shareddata.Path(t, "data", "instruct_de", "leben_in_deutschland_fragen.json")
	task, err := Load(t.Context(), path, Options{
		Prompt: "{{question}}\nA) {{a}}\nB) {{b}}\nC) {{c}}\nD) {{d}}\nAntworte mit dem Buchstaben.", Expect: `{"choice": "{{solution}}"}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(task.Items) < 450 {
		t.Errorf("%d questions, faults %+v", len(task.Items), task.Faults)
	}
	shares := 0.0
	for _, letter := range []string{"A", "B", "C", "D"} {
		shares += passes(t, task, func(int) string { return fmt.Sprintf("Die Antwort ist %s.", letter) })
	}
	if shares < .999 || shares > 1.001 {
		t.Errorf("the four letters are right in %v of the questions", shares)
	}
}
