package textcheck_test

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"

	"leolm/dataset/rows"
	"leolm/internal/shareddata"
	"leolm/internal/textcheck"
)

// sharedCorpora are the real texts, outside of the repository.
func sharedCorpora(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(shareddata.Path(t, "data/corpus_de"), "*.jsonl.gz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpora: %v", err)
	}
	return files
}

// 205 MB of healthy German: nothing may look damaged.
func TestSharedNoFalseRepairs(t *testing.T) {
	for _, path := range sharedCorpora(t) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReaderSize(z, 1<<20)
		for row := 1; ; row++ {
			line, err := br.ReadString('\n') // the files hold UTF-8 unescaped
			if d := textcheck.Mojibake(line); d.Found() {
				t.Errorf("%s row %d: %+v", filepath.Base(path), row, d)
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
}

// Whole documents, and 40 bytes from their middle. What is missing to 100 % in
// the poems are poems in Low German, which the model calls Dutch.
func TestSharedLanguage(t *testing.T) {
	for _, path := range sharedCorpora(t) {
		r, err := rows.Open(path, rows.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var whole, short [2]int
		var row rows.Row
		for n := 0; n < 3000; n++ {
			if err := r.Next(&row); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			v, err := row.Value()
			if err != nil {
				t.Fatal(err)
			}
			text, _ := v.Get("text")
			count(&whole, text.Text)
			if m := middle(text.Text, 40); m != "" {
				count(&short, m)
			}
		}
		r.Close()
		name := filepath.Base(path)
		if short[0] > 0 && float64(short[1]) < 0.965*float64(short[0]) {
			t.Errorf("%s: 40 bytes: German %d of %d", name, short[1], short[0])
		}
		if float64(whole[1]) < 0.99*float64(whole[0]) {
			t.Errorf("%s: whole texts: German %d of %d", name, whole[1], whole[0])
		}
		t.Logf("%-32s German %d of %d whole, %d of %d with 40 bytes", name, whole[1], whole[0], short[1], short[0])
	}
}

func count(c *[2]int, text string) {
	c[0]++
	if textcheck.Detect(text).Lang == "de" {
		c[1]++
	}
}

// middle is about n bytes of whole words from a third into text on.
func middle(text string, n int) string {
	if len(text) < 2*n {
		return ""
	}
	text = text[len(text)/3:]
	text = text[strings.IndexByte(text, ' ')+1:]
	if len(text) < n {
		return ""
	}
	for n > 0 && !utf8.RuneStart(text[n-1]) {
		n--
	}
	text = text[:n-1]
	if i := strings.LastIndexByte(text, ' '); i > 0 {
		text = text[:i]
	}
	return text
}
