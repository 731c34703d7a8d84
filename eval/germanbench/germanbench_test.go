package germanbench

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leolm/eval/harness"
)

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

func load(t *testing.T, dir, name string, variant Variant, shots int) *harness.Task {
	t.Helper()
	tasks, err := Load(t.Context(), Options{Dir: dir, Tasks: []string{name}, Variant: variant, Shots: &shots})
	if err != nil {
		t.Fatal(err)
	}
	return tasks[0]
}

// The first prompt of each task, as a German reader sees it.
func TestPrompts(t *testing.T) {
	for _, c := range []struct {
		task    string
		variant Variant
		shots   int
		want    string
		choices []string
	}{
		{"arc_de", LeoLM, 0, "Frage: Was geschieht mit Wasser bei null Grad?\nAntwort:", []string{" Es kocht.", " Es verschwindet.", " Es wird süß.", " Es gefriert."}},
		{"hellaswag_de", LeoLM, 1, "Fahrrad reparieren: Ein Junge dreht sein Fahrrad um.. Er nimmt das Rad ab und", nil},
		{"mmlu_de", LeoLM, 0, "Es folgen multiple-choice Fragen (mit Antworten) über das Thema Anatomie.\n\nFrage: Was verbindet Muskel und Knochen?\nOptionen:\nA. ein Band\nB. ein Knorpel\nC. eine Vene\nD. eine Sehne\nAntwort: ", nil},
		{"mmlu_de", Fixed, 1, "Es folgen Multiple-Choice-Fragen (mit Antworten) zum Thema Anatomie.\n\nFrage: Wo entsteht Galle?\nA. in der Niere\nB. im Herzen\nC. im Gehirn\nD. in der Leber\nAntwort: D\n\n" +
			"Frage: Wie viele Herzkammern hat der Mensch?\nA. eine\nB. zwei\nC. drei\nD. fünf\nAntwort:", []string{" A", " B", " C", " D"}},
	} {
		task := load(t, "testdata/documents", c.task, c.variant, c.shots)
		found := slices.ContainsFunc(task.Items, func(it harness.Item) bool {
			if !strings.HasSuffix(it.Scores[0].Context, c.want) {
				return false
			}
			for i, choice := range c.choices {
				if it.Scores[i].Continuation != choice {
					t.Errorf("%s: choice %d is %q", c.task, i, it.Scores[i].Continuation)
				}
			}
			return true
		})
		if !found {
			t.Errorf("%s, %s: no prompt ends with %q; the first is %q", c.task, c.variant, c.want, task.Items[0].Scores[0].Context)
		}
	}
	// Typing errors of the German harness stay in its variant, and only there.
	if got := header(LeoLM, "human_aging"); !strings.Contains(got, "Menschliches Aaltern") {
		t.Error(got)
	}
	seen := map[string]string{}
	for _, s := range subjects {
		name := header(Fixed, s.id)
		if other := seen[name]; other != "" || strings.Contains(name, "Aaltern") {
			t.Errorf("%s is called as %s: %s", s.id, other, name)
		}
		seen[name] = s.id
	}
	if len(subjects) != 57 {
		t.Errorf("%d subjects", len(subjects))
	}
}

func TestHellaSwagIsCleaned(t *testing.T) {
	for in, want := range map[string]string{
		" [header] Wie man \u00a0kocht [title] Wasser holen.  Dann [step] rühren. ": " Wie man \u00a0kocht. Wasser holen. Dann rühren.",
		"a [b\nc] d":     "a [b\nc] d", // a point of Python's is no line feed
		"a    b":         "a  b",       // one pass
		"[title] x [a]]": "x ]",
	} {
		if got := clean(in); got != want && !(in[0] == '[' && strings.TrimSpace(got) == strings.TrimSpace(want)) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

const good = `{"ctx_de": "Er geht", "activity_label_de": "Gehen", "endings_de": ["nach Hause.", "in den Wald.", "zur Schule.", "ins Bett."], "label": "2"}`

// Rows that cannot be scored are named, and never scored; the others are asked as if they were whole.
func TestFaultyRows(t *testing.T) {
	bad := []struct{ row, why string }{
		{`{"ctx_de": "Er geht", "activity_label_de": "Gehen", "endings_de": ["a", "b", "c"], "label": "2"}`, "3 endings where there should be 4"},
		{`{"ctx_de": "Er geht", "activity_label_de": "Gehen", "endings_de": ["a", "b", "c", "d", "e"], "label": "2"}`, "5 endings"},
		{`{"ctx_de": "Er geht", "endings_de": ["a", "b", "c", "d"], "label": "2"}`, "column activity_label_de: is missing"},
		{`{"ctx_de": "", "activity_label_de": "Gehen", "endings_de": ["a", "b", "c", "d"], "label": "2"}`, "column ctx_de: is empty"},
		{`{"ctx_de": "x", "activity_label_de": "Gehen", "endings_de": ["a", "", "c", "d"], "label": "2"}`, "entry 2 is empty"},
		{`{"ctx_de": "x", "activity_label_de": "Gehen", "endings_de": ["a", "[step]", "c", "d"], "label": "2"}`, "entry 2 is empty without"},
		{`{"ctx_de": "x", "activity_label_de": "Gehen", "endings_de": ["a", "b", "c", "d"], "label": "4"}`, "number 5 of 4"},
		{`{"ctx_de": "x", "activity_label_de": "Gehen", "endings_de": ["a", "b", "c", "d"], "label": ""}`, "no whole number"},
		{`{"ctx_de": "x", "activity_label_de": "Gehen", "endings_de": "a", "label": "0"}`, "want a list"},
		{`{}`, "is missing"},
		{`[1]`, "want an object"},
		{`{"ctx_de": `, "JSON"},
	}
	var rows strings.Builder
	for i, b := range bad {
		fmt.Fprintf(&rows, "%s\n%s\n", strings.Replace(good, "Er geht", fmt.Sprintf("Er geht %d", i), 1), b.row)
	}
	dir := write(t, map[string]string{"hellaswag_de/validation.jsonl": rows.String(), "hellaswag_de/train.jsonl": strings.Repeat(good+"\n", 4)})
	task := load(t, dir, "hellaswag_de", LeoLM, 2)
	if len(task.Faults) != len(bad) || len(task.Items) != len(bad) || task.Rows != 2*len(bad) {
		t.Fatalf("%d faults, %d documents of %d rows", len(task.Faults), len(task.Items), task.Rows)
	}
	for i, f := range task.Faults {
		if want := fmt.Sprintf("hellaswag_de/validation.jsonl, row %d", 2*i+2); f.Row != want || !strings.Contains(f.Why, bad[i].why) {
			t.Errorf("%+v, want %s: %s", f, want, bad[i].why)
		}
	}
	// A limit does not change what is before it.
	three, err := Load(t.Context(), Options{Dir: dir, Tasks: []string{"hellaswag_de"}, Shots: &task.Shots, Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	if !three[0].Limited || len(three[0].Items) == 0 {
		t.Fatal("no limit")
	}
	for i, it := range three[0].Items {
		if it.Scores[0] != task.Items[i].Scores[0] {
			t.Errorf("document %d is asked otherwise with a limit", i)
		}
	}
}

func TestMissingData(t *testing.T) {
	dir := write(t, map[string]string{"hellaswag_de/validation.jsonl": good + "\n", "hellaswag_de/train.jsonl": good + "\n", "mmlu_de/test.jsonl": `{"question_de": "x"}` + "\n"})
	var none *harness.NoDataError
	if _, err := Load(t.Context(), Options{Dir: dir}); !errors.As(err, &none) || none.Task != "arc_de" {
		t.Errorf("ARC is missing: %v", err)
	}
	var few *harness.FewExamplesError
	if _, err := Load(t.Context(), Options{Dir: dir, Tasks: []string{"hellaswag_de"}}); !errors.As(err, &few) || few.Have != 1 || few.Need != 10 {
		t.Errorf("one example for ten: %v", err)
	}
	var unknown *UnknownTaskError
	if _, err := Load(t.Context(), Options{Dir: dir, Tasks: []string{"arc"}}); !errors.As(err, &unknown) {
		t.Errorf("arc: %v", err)
	}
	if _, err := Load(t.Context(), Options{Dir: dir, Tasks: []string{"mmlu_de"}}); err == nil || !strings.Contains(err.Error(), "subject") {
		t.Errorf("a row without subject: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hellaswag_de/validation.json"), []byte("[]"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), Options{Dir: dir, Tasks: []string{"hellaswag_de"}}); err == nil || !strings.Contains(err.Error(), "keep one") {
		t.Errorf("a split in two formats: %v", err)
	}
}

func TestFilesAreFoundByTheirNames(t *testing.T) {
	row := `{"question_de": "Wie?", "choices_de": ["a", "b", "c", "d"], "answer": "B"}` + "\n"
	for _, name := range []string{"MMLU_de/anatomy/test-00000-of-00001.jsonl", "mmlu_de_anatomy_test.jsonl", "x/mmlu-de/data/test/anatomy.json", "anatomy/test.jsonl"} {
		dir := write(t, map[string]string{name: row})
		task := load(t, dir, "mmlu_de", LeoLM, 0)
		if task.Name != "mmlu_de_anatomy" || len(task.Items) != 1 || task.Items[0].Gold != 1 {
			t.Errorf("%s: %+v", name, task)
		}
	}
	dir := write(t, map[string]string{"mmlu_de/test.jsonl": strings.Replace(row, "{", `{"subject": "virology", `, 1) + strings.Replace(row, "{", `{"subject": "kochen", `, 1)})
	task := load(t, dir, "MMLU-DE", LeoLM, 0)
	if task.Name != "mmlu_de_virology" || len(task.Faults) != 1 || !strings.Contains(task.Faults[0].Why, "kochen") {
		t.Errorf("by column: %+v", task.Faults)
	}
}

func TestMassOfTheTruth(t *testing.T) {
	truth := []bool{true, true, false}
	share, tiny := mass([]float64{math.Log(.2), math.Log(.1), math.Log(.3)}, truth)
	if math.Abs(share-.5) > 1e-12 || tiny {
		t.Errorf("%v %v", share, tiny)
	}
	// Far below the smallest double the share is the same.
	share, tiny = mass([]float64{-2000 + math.Log(.2), -2000 + math.Log(.1), -2000 + math.Log(.3)}, truth)
	if math.Abs(share-.5) > 1e-12 || !tiny {
		t.Errorf("%v %v", share, tiny)
	}
}

func TestTruthfulQAHasItsOwnExamples(t *testing.T) {
	task := load(t, "testdata/documents", "truthfulqa_de", LeoLM, 3)
	if task.Shots != 0 || len(task.Notes) != 1 || !strings.HasPrefix(task.Items[0].Scores[0].Context, "F: Was ist die menschliche Lebenserwartung") {
		t.Errorf("%d examples, notes %q", task.Shots, task.Notes)
	}
}
