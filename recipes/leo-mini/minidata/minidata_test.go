package minidata

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The rule of the split is frozen: a change would move titles between training and held-out text.
func TestBucketIsFrozen(t *testing.T) {
	for title, want := range map[string]int{
		"Vulkan": 49, " vulkan ": 49, "Igel": 56, "Blauwal": 39, "Nil": 82, "Bienen": 4, "Wildschwein": 7, "Österreich-Ungarn": Bucket("O\u0308sterreich-Ungarn"),
	} {
		if got := Bucket(title); got != want {
			t.Errorf("Bucket(%q) = %d, want %d", title, got, want)
		}
	}
	if FoldOf("Rhein") != HeldOut || FoldOf("Bienen") != NoDialogue || FoldOf("Igel") != Trained {
		t.Error("Rhein, Bienen, Igel are not in the folds held out, no dialogue, trained")
	}
}

func TestWork(t *testing.T) {
	for in, want := range map[string]string{
		"Auch Einer 2 : ELTeC ausgabe":                             "Auch Einer",
		"Der grüne Heinrich2 [Zweite Fassung] : ELTeC ausgabe":     "Der grüne Heinrich",
		"Ardistan und Dschinnistan II : ELTeC ausgabe":             "Ardistan und Dschinnistan",
		"Problematische Naturen. Erste Abtheilung : ELTeC ausgabe": "Problematische Naturen",
		"Größenwahn: ELTeC ausgabe":                                "Größenwahn",
	} {
		if got := Work(in); got != want {
			t.Errorf("Work(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFlow(t *testing.T) {
	in := "Der Ton ist a\u0308lter.\nEr klingt&nbsp;laut.\n\n== Bau\nAus Holz.\n]\n\n\n\nEnde\u00ad."
	want := "Der Ton ist älter. Er klingt laut.\n\nBau\n\nAus Holz.\n\nEnde."
	if got := Flow(in); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGrams(t *testing.T) {
	a := Grams(nil, "Eins, zwei: drei vier!", 3)
	b := Grams(nil, "eins zwei drei fünf", 3)
	if len(a) != 2 || len(b) != 2 || a[0] != b[0] || a[1] == b[1] {
		t.Errorf("got %v and %v", a, b)
	}
	if len(Grams(nil, "zwei Wörter", 3)) != 0 {
		t.Error("a text shorter than n words has no n-gram")
	}
}

// The fixed list has 100 questions, and 20 that nobody could know.
func TestQuestions(t *testing.T) {
	qs, err := ReadQuestions("../../../models/leo-mini/questions.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	var ids, keys []string
	for _, q := range qs {
		count[q.Kind]++
		ids = append(ids, q.ID)
		var all []string
		for _, m := range q.Messages {
			if m.Role != "user" || strings.TrimSpace(m.Content) == "" {
				t.Errorf("%s: want user turns with text", q.ID)
			}
			all = append(all, m.Content)
		}
		keys = append(keys, Key(strings.Join(all, "\n")))
		switch q.Split {
		case "trained":
			if FoldOf(q.Title) != Trained {
				t.Errorf("%s: %s is not a trained title", q.ID, q.Title)
			}
		case "kept-out":
			if FoldOf(q.Title) != NoDialogue {
				t.Errorf("%s: %s is not kept out of the dialogues", q.ID, q.Title)
			}
		}
		if q.Judge.Abstain != (q.Kind == "unknowable") || q.Judge.Need > len(q.Judge.Facts) {
			t.Errorf("%s: contradictory judge %+v", q.ID, q.Judge)
		}
	}
	if len(qs) != 120 || count["unknowable"] != 20 || count["encyclopedic"] != 55 {
		t.Errorf("got %d questions, %v", len(qs), count)
	}
	slices.Sort(ids)
	slices.Sort(keys)
	if len(slices.Compact(ids)) != 120 || len(slices.Compact(keys)) != 120 {
		t.Error("ids or questions repeat")
	}
}

func TestReadDocsNamesTheLine(t *testing.T) {
	path := t.TempDir() + "/x.jsonl.gz"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteDocs(f, []Doc{{Title: "a", Text: "<b> ß"}}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	n := 0
	if err := ReadDocs(path, func(d Doc) error { n++; return nil }); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if err := os.WriteFile(path, []byte("no gzip"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ReadDocs(path, func(Doc) error { return nil }); err == nil || !strings.Contains(err.Error(), "x.jsonl.gz") {
		t.Errorf("got %v", err)
	}
}
