package corpus

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

func zst(s string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(s), nil))
}

func wetRecord(kind, uri, body string) string {
	return fmt.Sprintf("WARC/1.0\r\nWARC-Type: %s\r\nWARC-Target-URI: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n", kind, uri, len(body), body)
}

func TestReadEveryFormat(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	jsonl := `{"title":"A","text":"Grüße \ud83d\ude00"}` + "\n" + `{"title":null,"text":"zwei","more":[1,{"x":2}]}` + "\n"
	wet := wetRecord("warcinfo", "", "Software: x") + wetRecord("conversion", "http://a.de/", "Grüße 😀") + wetRecord("conversion", "http://b.de/", "zwei")
	type pq struct {
		Title string `parquet:"title"`
		Text  string `parquet:"text"`
	}
	pqPath := filepath.Join(dir, "p.parquet")
	if err := parquet.WriteFile(pqPath, []pq{{"A", "Grüße 😀"}, {"", "zwei"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		keys string
	}{
		{write("a.jsonl", jsonl), "A,"},
		{write("a.jsonl.gz", gz(jsonl)), "A,"},
		{write("two.jsonl.gz", gz(jsonl[:strings.IndexByte(jsonl, '\n')+1])+gz(jsonl[strings.IndexByte(jsonl, '\n')+1:])), "A,"},
		{write("a.jsonl.zst", zst(jsonl)), "A,"},
		{write("a.json", `[{"title":"A","text":"Grüße 😀"},{"text":"zwei"}]`), "A,"},
		{write("a.csv", "title,text\nA,Grüße 😀\n,zwei\n"), "A,"},
		{write("a.wet", wet), "http://a.de/,http://b.de/"},
		{write("a.wet.gz", gz(wet)), "http://a.de/,http://b.de/"},
		{pqPath, "A,"},
	} {
		in := Input{Text: "text", Key: "title"}
		format, err := in.formatOf(c.path)
		if err != nil {
			t.Error(err)
			continue
		}
		r, err := openInput(c.path, format, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		var texts, keys []string
		for {
			d, err := r.next()
			if err == io.EOF {
				break
			}
			if err == nil {
				err = d.decode(&in)
			}
			if err != nil {
				t.Errorf("%s: %v", c.path, err)
				break
			}
			texts, keys = append(texts, d.text), append(keys, d.key)
		}
		r.Close()
		if strings.Join(texts, "|") != "Grüße 😀|zwei" || strings.Join(keys, ",") != c.keys {
			t.Errorf("%s: texts %q, keys %q", filepath.Base(c.path), texts, keys)
		}
	}
	whole := write("buch.txt.gz", gz("\xef\xbb\xbfEin Buch.\n\nNoch etwas."))
	r, err := openInput(whole, "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.next()
	if err != nil || d.text != "Ein Buch.\n\nNoch etwas." {
		t.Errorf("%q, %v", d.text, err)
	}
	if _, err := r.next(); err != io.EOF {
		t.Errorf("a text file has a second document: %v", err)
	}
	r.Close()
	if _, err := (&Input{}).formatOf("x.bin"); err == nil || !strings.Contains(err.Error(), "format:") {
		t.Errorf("unknown format: %v", err)
	}
}

// Every kind of bad input is refused with file, row and what was expected, and
// nothing of it counts as done; with skip, bad rows are counted and listed.
func TestBadInput(t *testing.T) {
	good := `{"text":"eins"}` + "\n"
	wet := wetRecord("conversion", "http://a.de/", strings.Repeat("Text. ", 100))
	for _, c := range []struct {
		name, data string
		want       []string // in the error
		skip       int64    // bad rows with on_error: skip; −1: cannot be skipped
	}{
		{"a.jsonl", good + `{"text":"zwei` + "\n" + good, []string{"a.jsonl", "row 2", "line 2"}, 1},
		{"a.jsonl", good + `{"text":"zw\q"}` + "\n" + good, []string{"row 2", "escape"}, 1},
		{"a.jsonl", good + `{"text":"\ud83d"}` + "\n", []string{"row 2", "surrogate"}, 1},
		{"a.jsonl", good + `{"text":17}` + "\n" + good, []string{"row 2", `"text"`, "number", "text is expected"}, 1},
		{"a.jsonl", good + `{"Text":"x"}` + "\n" + good, []string{"row 2", `"text"`, "missing", "Text"}, 1},
		{"a.jsonl", good + `["text"]` + "\n" + good, []string{"row 2", "list", "object"}, 1},
		{"a.jsonl", good + `{"text":"x","title":{"a":1}}` + "\n" + good, []string{"row 2", `"title"`, "object"}, 1},
		{"a.jsonl.gz", gz(strings.Repeat(good, 1000))[:60], []string{"a.jsonl.gz", "cut off"}, -1},
		{"a.jsonl.gz", "\x1f\x8bxx" + gz(good), []string{"a.jsonl.gz", "gzip"}, -1},
		{"a.jsonl.zst", zst(strings.Repeat(good, 1000))[:30], []string{"a.jsonl.zst"}, -1},
		{"a.wet", wet + wet[:200], []string{"a.wet", "row 2", "cut off", "of 600 bytes"}, -1},
		{"a.wet.gz", gz(wet + wet)[:70], []string{"a.wet.gz", "cut off"}, -1},
		{"a.wet", wet + "Hallo\n", []string{"row 2", "Hallo", "WARC/1.0"}, -1},
		{"a.wet", strings.Replace(wet, "Content-Length: 600", "Content-Length: 99999999999999", 1), []string{"row 1", "99999999999999"}, -1},
		{"a.wet", strings.Replace(wet, "Content-Length: 600", "Content-Length: viel", 1), []string{"row 1", "viel", "number"}, -1},
		{"a.parquet", "PAR1 nothing", []string{"a.parquet"}, -1},
	} {
		for _, mode := range []string{"stop", "skip"} {
			dir := t.TempDir()
			path := filepath.Join(dir, c.name)
			os.WriteFile(path, []byte(c.data), 0o644)
			os.WriteFile(filepath.Join(dir, "tok"), nil, 0o644)
			r := &Recipe{Name: "t", OnError: mode, Inputs: []Input{{Path: path, Text: "text", Key: "title"}}, Tokenizer: filepath.Join(dir, "tok"), Pack: Pack{Window: 8, ShardMB: 1}, Filters: Filters{Mojibake: "off"}}
			p, err := MakePlan(r, PlanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "o")
			if err := p.Write(out, false); err != nil {
				t.Fatal(err)
			}
			err = Run(context.Background(), out, RunOptions{Task: -1, Workers: 2, Tokenizer: wordTokenizer})
			if mode == "skip" && c.skip > 0 {
				if err != nil {
					t.Errorf("%s %.40q, skip: %v", c.name, c.data, err)
					continue
				}
				rep, err := ReadReport(out)
				if err != nil {
					t.Fatal(err)
				}
				list, _ := os.ReadFile(filepath.Join(out, "work/docs/00000-skipped.jsonl"))
				var bad struct {
					File string
					Row  int64
				}
				if json.Unmarshal(list, &bad) != nil || bad.File != path || bad.Row != 2 || rep.Total.Errors != c.skip {
					t.Errorf("%s %.40q, skip: %d errors, list %q", c.name, c.data, rep.Total.Errors, list)
				}
				continue
			}
			if err == nil {
				t.Errorf("%s %.40q, %s: no error", c.name, c.data, mode)
				continue
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s %.40q, %s: %q lacks %q", c.name, c.data, mode, err, w)
				}
			}
			if m, _ := filepath.Glob(filepath.Join(out, "done", "*")); len(m) > 0 {
				t.Errorf("%s, %s: marked as done: %v", c.name, mode, m)
			}
		}
	}
}

func FuzzWET(f *testing.F) {
	f.Add(wetRecord("conversion", "http://a.de/", "Text"))
	f.Add("WARC/1.0\r\nContent-Length: 3\r\n\r\nab")
	f.Add("WARC/1.1\nwarc-type:conversion\ncontent-length: 0\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		path := filepath.Join(t.TempDir(), "x")
		os.WriteFile(path, []byte(s), 0o644)
		r, err := openInput(path, "wet", nil)
		if err != nil {
			return
		}
		defer r.Close()
		for range 1000 {
			if _, err := r.next(); err != nil {
				return
			}
		}
	})
}

// A damaged work file is an error, never a panic or wrong data.
func FuzzDocsFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed")
	w, err := createDocs(path)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		w.add(&doc{row: int64(i), key: "k", text: "Ein Text."})
	}
	if err := w.commit(); err != nil {
		f.Fatal(err)
	}
	seed, _ := os.ReadFile(path)
	f.Add(seed)
	f.Add(seed[:len(seed)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x")
		os.WriteFile(path, b, 0o644)
		readBlocks(path, func(block []byte) error {
			return blockDocs(block, func(doc) error { return nil })
		})
		os.WriteFile(path, b, 0o644)
		if tf, err := openTokens(path); err == nil {
			tf.entries(nil, 0, 2, true)
			tf.f.Close()
		}
	})
}

func TestSplitDocument(t *testing.T) {
	re := regexp.MustCompile(`(?m)^\d+\. (.+)$`)
	var got []string
	splitDoc(re, doc{row: 3, key: "Buch", text: "Vorwort\n1. Der Hase\nlief.\n2. Der Igel\nauch."}, func(d doc) {
		got = append(got, fmt.Sprintf("%d.%d %s: %q", d.row, d.part, d.key, d.text))
	})
	want := `3.0 Buch: "Vorwort\n"|3.1 Der Hase: "1. Der Hase\nlief.\n"|3.2 Der Igel: "2. Der Igel\nauch."`
	if strings.Join(got, "|") != want {
		t.Errorf("got %s", strings.Join(got, "|"))
	}
	got = nil
	splitDoc(re, doc{key: "x", text: "Nichts zu teilen"}, func(d doc) { got = append(got, d.key+d.text) })
	if len(got) != 1 || got[0] != "xNichts zu teilen" {
		t.Errorf("got %q", got)
	}
}

// Each filter drops what it should, in order, and the report says so.
func TestFiltersReport(t *testing.T) {
	dir := t.TempDir()
	long := "Der König und die Königin hatten keine Kinder, und das machte sie sehr traurig. "
	docs := []inputDoc{
		{"gut", long + "Da kam eines Tages ein Frosch aus dem Wasser und sprach mit ihnen."},
		{"kurz", "Zu kurz."},
		{"englisch", "The king and the queen had no children, and this made them very sad indeed, every single day."},
		{"kaputt", "Der KÃ¶nig und die KÃ¶nigin hatten viele Kinder, und das machte sie sehr frÃ¶hlich an jedem Tag."},
		{"wieder", strings.Repeat("immer wieder das gleiche ", 10)},
		{"prüfung", long + "Wie viele Beine hat eine Spinne, die drei davon verloren hat, im Winter?"},
		{"werbung", long + "\nAlle akzeptieren\nEin guter Satz folgt noch."},
	}
	writeJSONL(t, filepath.Join(dir, "in.jsonl"), docs)
	writeJSONL(t, filepath.Join(dir, "eval.jsonl"), []inputDoc{{"", "Wie viele Beine hat eine Spinne, die drei davon verloren hat?"}})
	os.WriteFile(filepath.Join(dir, "tok"), nil, 0o644)
	recipe := filepath.Join(dir, "r.yaml")
	os.WriteFile(recipe, fmt.Appendf(nil, `
tokenizer: %[1]s/tok
inputs: [{path: %[1]s/in.jsonl}]
filters:
  boilerplate: true
  length: {min_chars: 20}
  language: {}
  gopher_repetition: {}
  overlap: {files: [%[1]s/eval.jsonl], ngrams: [8]}
pack: {window: 16}
`, dir), 0o644)
	out := filepath.Join(dir, "o")
	mustPlan(t, recipe, out, 0)
	mustRun(t, out, 2)
	rep, err := ReadReport(out)
	if err != nil {
		t.Fatal(err)
	}
	in := rep.Inputs[0]
	for why, key := range map[string]string{"length: too short": "kurz", "language: en": "englisch", "gopher_repetition: most frequent 2-gram": "wieder", "overlap": "prüfung"} {
		found := ""
		for _, e := range in.Examples {
			if e.Filter == why {
				found = e.Key
			}
		}
		if in.Dropped[why].Docs != 1 || found != key {
			t.Errorf("%s: %+v, example %q, want %q", why, in.Dropped[why], found, key)
		}
	}
	if in.Kept.Docs != 3 || in.Repaired["mojibake (Latin-1)"].Docs != 1 || in.Lines["boilerplate"] != 1 {
		t.Errorf("kept %d, repaired %v, lines %v", in.Kept.Docs, in.Repaired, in.Lines)
	}
	var b strings.Builder
	if err := rep.Print(&b); err != nil || !strings.Contains(b.String(), "language: en") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestRecipeErrors(t *testing.T) {
	dir := t.TempDir()
	for yaml, want := range map[string]string{
		"inputs: [{path: a}]": "tokenizer",
		"tokenizer: t":        "inputs",
		"tokenizer: t\ninputs: [{path: a}]\nseeed: 1":                                       "seed",
		"tokenizer: t\ninputs: [{path: a, format: pdf}]":                                    "jsonl",
		"tokenizer: t\ninputs: [{path: a, split: '('}]":                                     "split",
		"tokenizer: t\ninputs: [{path: a}]\ndedup: {minhash: {bands: 0}}":                   "bands",
		"tokenizer: t\ninputs: [{path: a}]\nfilters: {overlap: {files: [x], ngrams: [99]}}": "1 to 64",
		"tokenizer: t\ninputs: [{path: a}]\non_error: ignore":                               "stop",
		"tokenizer: t\ninputs: [{path: a}]\nfilters: {language: {keep: [de, alemannisch]}}": `"alemannisch" is no language that can be told`,
	} {
		p := filepath.Join(dir, "r.yaml")
		os.WriteFile(p, []byte(yaml), 0o644)
		if _, err := LoadRecipe(p, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", yaml, err, want)
		}
	}
	// Codes of three letters are those that the filter's answers have.
	p := filepath.Join(dir, "r.yaml")
	os.WriteFile(p, []byte("tokenizer: t\ninputs: [{path: a}]\nfilters: {language: {keep: [deu, eng, sr]}}"), 0o644)
	r, err := LoadRecipe(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.Filters.Language.Keep, " "); got != "de en sh" {
		t.Errorf("keeps %s, want de en sh", got)
	}
}
