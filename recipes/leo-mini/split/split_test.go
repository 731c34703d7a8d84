package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"leolm/recipes/leo-mini/minidata"
)

// prose returns n words that are different for every seed.
func prose(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	w := make([]string, n)
	for i := range w {
		w[i] = fmt.Sprintf("w%d", r.IntN(1<<30))
	}
	return strings.Join(w, " ") + "."
}

func corpus(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "corpus_de"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, docs ...minidata.Doc) {
		var b bytes.Buffer
		if err := minidata.WriteDocs(&b, docs); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "corpus_de", name+".jsonl.gz"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Rhein and Knochen are held out, Igel is trained on.
	write("klexikon", minidata.Doc{Title: "Igel", Text: prose(1, 60)}, minidata.Doc{Title: "Rhein", Text: prose(2, 60)})
	write("wikipedia_subset", minidata.Doc{Title: "Igel", Text: prose(3, 200)}, minidata.Doc{Title: "Rhein", Text: prose(4, 200)},
		minidata.Doc{Title: "Knochen", Text: prose(1, 60) + "\n" + prose(5, 30)}) // two thirds of it stand in Klexikon's Igel
	write("novels_eltec", minidata.Doc{Title: "Witiko : ELTeC ausgabe", Text: prose(6, 300)})
	tale := prose(7, 80)
	write("maerchen_textgrid", minidata.Doc{Title: "Das Huhn", Text: "1. Das Huhn.\n" + tale})
	var book strings.Builder
	for i := range 6 {
		text := prose(uint64(20+i), 60)
		if i == 3 {
			text = strings.Replace(tale, ".", " und noch etwas.", 1) // the tale again, slightly changed
		}
		fmt.Fprintf(&book, "%d. Märchen Nummer %d\n%s\n", i+1, i, text)
	}
	write("maerchen_grimm", minidata.Doc{Title: "buch", Text: book.String()})
	write("maerchen_andersen", minidata.Doc{Title: "Die Nixe", Text: prose(8, 80)})
	write("gedichte_dlk_1790ff", minidata.Doc{Title: "x", Text: "d&#228;mpft " + prose(9, 20)})
	write("saetze_cc0", minidata.Doc{Text: "Ein Satz."}, minidata.Doc{Text: "Ein  Satz."}, minidata.Doc{Text: "Noch einer."})
	return dir
}

func TestSplit(t *testing.T) {
	data, out := corpus(t), t.TempDir()
	if err := run(data, out); err != nil {
		t.Fatal(err)
	}
	titles := func(name string) string {
		var s []string
		if err := minidata.ReadDocs(filepath.Join(out, name+".jsonl.gz"), func(d minidata.Doc) error {
			s = append(s, d.Title)
			if !strings.HasPrefix(d.Text, d.Title) {
				t.Errorf("%s: the text of %s doesn't begin with its title", name, d.Title)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Join(s, "|")
	}
	for name, want := range map[string]string{
		"klexikon.train": "Igel", "klexikon.valid": "Rhein", "wikipedia.train": "Igel", "wikipedia.valid": "Rhein",
		"tales.train": "Das Huhn|Märchen Nummer 0|Märchen Nummer 1|Märchen Nummer 2|Märchen Nummer 4|Märchen Nummer 5|Die Nixe", "tales.valid": "",
	} {
		if got := titles(name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	b, err := os.ReadFile(filepath.Join(out, "split.json"))
	if err != nil {
		t.Fatal(err)
	}
	var reports []report
	if err := json.Unmarshal(b, &reports); err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		dups, drop := map[string]int{"tales": 1, "sentences": 1}[r.Name], map[string]int{"wikipedia": 1}[r.Name]
		if r.Duplicates != dups || r.OverlapRemove != drop {
			t.Errorf("%s: %d duplicates and %d overlapping texts removed, want %d and %d", r.Name, r.Duplicates, r.OverlapRemove, dups, drop)
		}
		if r.Overlap != 0 {
			t.Errorf("%s: overlap %g of unrelated texts", r.Name, r.Overlap)
		}
	}
	again := t.TempDir()
	if err := run(data, again); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(out, "*"))
	if len(files) != 13 {
		t.Errorf("%d files, want 13", len(files))
	}
	for _, f := range files {
		x, _ := os.ReadFile(f)
		y, _ := os.ReadFile(filepath.Join(again, filepath.Base(f)))
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs between two runs", filepath.Base(f))
		}
	}
}

func TestSplitNamesWhatIsMissing(t *testing.T) {
	if err := run(t.TempDir(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "klexikon.jsonl.gz") {
		t.Errorf("got %v", err)
	}
}
