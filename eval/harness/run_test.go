package harness

import (
	"bytes"
	"context"
	"errors"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/eval"
)

// fake is a model that makes numbers and answers of texts, and breaks after some results.
type fake struct {
	name  string
	left  int // results until it breaks; -1: never
	asked int
	nan   string // a continuation without a number
}

var errBroken = errors.New("the machine is off")

func (f *fake) Identity() eval.Identity { return eval.Identity{Name: f.name, Kind: "fake"} }

func (f *fake) spend() error {
	if f.left == 0 {
		return errBroken
	}
	f.left--
	f.asked++
	return nil
}

func sum(parts ...string) float64 {
	h := fnv.New32a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return -float64(h.Sum32()%100000)/1000 - 1
}

func (f *fake) Score(_ context.Context, reqs []eval.ScoreRequest, done func(int, eval.Score) error) error {
	for i := len(reqs) - 1; i >= 0; i-- { // in any order
		if err := f.spend(); err != nil {
			return err
		}
		s := eval.Score{LogProb: sum(f.name, reqs[i].Context, reqs[i].Continuation), Tokens: 1 + i%3, Greedy: i%2 == 0, Uneven: i%5 == 0}
		if f.nan != "" && strings.Contains(reqs[i].Continuation, f.nan) {
			s.LogProb = math.NaN()
		}
		if err := done(i, s); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) ScoreRolling(_ context.Context, texts []string, done func(int, eval.Score) error) error {
	for i, t := range texts {
		if err := f.spend(); err != nil {
			return err
		}
		if err := done(i, eval.Score{LogProb: sum(f.name, t), Tokens: len(t)}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) Generate(_ context.Context, reqs []eval.Request, done func(int, eval.Answer) error) error {
	for i, r := range reqs {
		if err := f.spend(); err != nil {
			return err
		}
		if err := done(i, eval.Answer{Text: "Die Antwort ist " + r.Prompt[:1] + ".", Finish: "stop"}); err != nil {
			return err
		}
	}
	return nil
}

// write writes files below a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const choiceFile = `
task: wahl
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl, train: train.jsonl}}
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "Frage: {{frage}}\nAntwort:"
doc_to_choice: "{{antworten}}"
doc_to_target: richtig
`

func choices(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`{"frage": "Nummer ` + string(rune('A'+i%26)) + string(rune('a'+i/26)) + `?", "antworten": ["ja", "nein", "vielleicht"], "richtig": ` + string(rune('0'+i%3)) + "}\n")
	}
	return b.String()
}

func build(t *testing.T, dir, name string, opt BuildOptions) *Task {
	t.Helper()
	c, err := ReadConfig(t.Context(), filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.Build(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestRunGoesOnWhereItWasKilled(t *testing.T) {
	dir := write(t, map[string]string{"wahl.yaml": choiceFile, "test.jsonl": choices(30), "train.jsonl": choices(8), "frei.yaml": `
task: frei
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
doc_to_text: frage
doc_to_target: "N"
filter_list: [{name: wort, filter: [{function: regex, regex_pattern: "ist (\\w)"}, {function: take_first}]}]
`, "ganz.yaml": `
task: ganz
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_target: frage
`})
	shots := 2
	tasks := func() []*Task {
		return []*Task{build(t, dir, "wahl.yaml", BuildOptions{Shots: &shots}), build(t, dir, "frei.yaml", BuildOptions{}), build(t, dir, "ganz.yaml", BuildOptions{})}
	}
	run := func(out string, f *fake) error {
		opt := Options{Dir: out}
		rs, err := Run(t.Context(), f, tasks(), opt)
		if err == nil {
			err = Write(rs, f.Identity(), &opt)
		}
		return err
	}
	whole := filepath.Join(t.TempDir(), "out")
	if err := run(whole, &fake{name: "m", left: -1}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	total := 0
	for step := 1; ; step++ {
		f := &fake{name: "m", left: step}
		err := run(out, f)
		total += f.asked
		if err == nil {
			break
		}
		if !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		// What a kill in the middle of a line leaves.
		j, err := os.OpenFile(filepath.Join(out, journalFile), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		j.WriteString(`{"key": "abc", "ll": -1`)
		j.Close()
	}
	if want := 30*3 + 30 + 30; total != want {
		t.Errorf("%d requests were made, want %d: nothing twice", total, want)
	}
	for _, name := range []string{"wahl.jsonl", "frei.jsonl", "ganz.jsonl"} {
		a, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs after kills (%v)", name, err)
		}
	}
	// Another model has other answers: nothing of the first one counts for it.
	other := &fake{name: "n", left: -1}
	if err := run(out, other); err != nil || other.asked != 150 {
		t.Errorf("another model was asked %d times (%v)", other.asked, err)
	}
	a, err := eval.ReadArtifact(t.Context(), filepath.Join(out, "wahl.json"))
	if err != nil || !a.Complete || len(a.Raw) != 1 || a.Raw[0].Name != "wahl.jsonl" || a.Model.Name != "n" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestNaNIsNoResult(t *testing.T) {
	dir := write(t, map[string]string{"wahl.yaml": choiceFile, "test.jsonl": choices(9), "train.jsonl": choices(3)})
	task := build(t, dir, "wahl.yaml", BuildOptions{})
	task.Items[4].Scores[1].Continuation = " kaputt"
	rs, err := Run(t.Context(), &fake{name: "m", left: -1, nan: "kaputt"}, []*Task{task}, Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := rs[0]
	if r.Counts.Failed != 1 || r.Counts.Documents != 8 || r.Complete() || r.Records[4].Error == "" || r.Records[4].Metrics != nil {
		t.Errorf("%+v %+v", r.Counts, r.Records[4])
	}
	if n, _ := r.Number("acc"); n.N != 8 {
		t.Errorf("acc of %d documents", n.N)
	}
}
