package rows

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"leolm/internal/bounded/boundtest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// show renders a value as compact JSON, with numbers and booleans as written.
func show(v Value) string {
	switch v.Kind {
	case Null:
		return "null"
	case String:
		b, _ := json.Marshal(v.Text)
		return string(b)
	case List, Object:
		var parts []string
		for i, item := range v.Items {
			s := show(item)
			if v.Kind == Object {
				s = fmt.Sprintf("%q:%s", v.Names[i], s)
			}
			parts = append(parts, s)
		}
		if v.Kind == List {
			return "[" + strings.Join(parts, ",") + "]"
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return v.Text
}

// readAll renders every row of a file and every error, in order.
func readAll(path string, opt Options) []string {
	r, err := Open(path, opt)
	if err != nil {
		return []string{"open: " + strings.TrimPrefix(err.Error(), filepath.Dir(path)+"/")}
	}
	defer r.Close()
	var out []string
	for {
		var row Row
		err := r.Next(&row)
		if err == io.EOF {
			return out
		}
		var v Value
		if err == nil {
			v, err = row.Value()
		}
		if err != nil {
			mark := ""
			var e *Error
			if !errors.As(err, &e) {
				mark = "(not an *Error) "
			} else if e.Fatal {
				mark = "fatal: "
			}
			out = append(out, mark+strings.TrimPrefix(err.Error(), filepath.Dir(path)+"/"))
			if e == nil || e.Fatal {
				return out
			}
			continue
		}
		s := show(v)
		if row.Line > 0 {
			s = fmt.Sprintf("%d: %s", row.Line, s)
		}
		out = append(out, s)
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func expect(t *testing.T, name, content string, opt Options, want ...string) {
	t.Helper()
	got := readAll(write(t, name, content), opt)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s %q:\n got %s\nwant %s", name, content, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestJSON(t *testing.T) {
	expect(t, "a.json", `[{"a":1,"b":"ä\n"}, {"a":-2.5e3}]`, Options{}, `1: {"a":1,"b":"ä\n"}`, `1: {"a":-2.5e3}`)
	expect(t, "a.json", "[\n{\"a\":[]},\n\n{\"a\":{}}\n]\n", Options{}, `2: {"a":[]}`, `4: {"a":{}}`)
	expect(t, "a.json", `[]`, Options{})
	expect(t, "a.json", `[1, "x]", null,true]`, Options{}, "1: 1", `1: "x]"`, "1: null", "1: true")
	expect(t, "a.json", `["a\\", "b\"]", "\u00e4\ud83c\udf27\/"]`, Options{}, `1: "a\\"`, `1: "b\"]"`, `1: "ä🌧/"`)
	expect(t, "a.json", "{\"a\":1}\n{\"a\":2}", Options{}, `1: {"a":1}`, `2: {"a":2}`)
	expect(t, "a.json", `{"data":{"rows":[{"x":1},{"x":2}]}}`, Options{Path: "data.rows"}, `{"x":1}`, `{"x":2}`)
	expect(t, "a.json", "\ufeff[{\"a\":1}]", Options{}, `1: {"a":1}`)
	expect(t, "a.json", `{"a":1,"a":2}`, Options{}, `1: {"a":1,"a":2}`)

	expect(t, "a.json", `[{"a":1}`, Options{}, `1: {"a":1}`, "fatal: a.json: row 2 (line 1): the file ends inside its array: it is cut off, or the closing ] is missing")
	expect(t, "a.json", "[{\"a\":1},\n{\"a\":", Options{}, `1: {"a":1}`, "fatal: a.json: row 2 (line 2): the file ends inside this row: a bracket or quote is not closed, or the file is cut off")
	expect(t, "a.json", `[{"a":1} {"a":2}]`, Options{}, `1: {"a":1}`, "fatal: a.json: row 2 (line 1): found '{' where ',' or ']' is expected between rows")
	expect(t, "a.json", `[1,]`, Options{}, "1: 1", "fatal: a.json: row 2 (line 1): cannot read on: found ']' where a value is expected")
	expect(t, "a.json", `1,2`, Options{}, "1: 1", "fatal: a.json: row 2 (line 1): cannot read on: found ',' where a value is expected")
	expect(t, "a.json", `[1] 2`, Options{}, "1: 1", "fatal: a.json: row 2 (line 1): found '2' after the end of the array")
	expect(t, "a.json", "[{\"a\":\n1,}, {\"a\":2}]", Options{}, "a.json: row 1 (line 2): not valid JSON: column 3: found '}' where a field name in quotes is expected", `2: {"a":2}`)
	expect(t, "a.json", ``, Options{}, "open: a.json: the file is empty; JSON is expected")
	expect(t, "a.json", `{"data":3}`, Options{Path: "data"}, `open: a.json, column "data": want a list of rows, found a number`)
	expect(t, "a.json", `{"data":3}`, Options{Path: "rows"}, `open: a.json, column "rows": there is no field "rows" on the path to the rows`)
}

func TestJSONLines(t *testing.T) {
	expect(t, "a.jsonl", "{\"a\":1}\r\n\n{\"a\":2}", Options{}, `1: {"a":1}`, `3: {"a":2}`)
	expect(t, "a.jsonl", "{\"a\":1\n{\"a\":2}\n", Options{}, "a.jsonl: row 1 (line 1): not valid JSON: column 7: found the end of the row where ',' or '}' is expected", `2: {"a":2}`)
	expect(t, "a.jsonl", "\"a\xff\"\n", Options{}, `a.jsonl: row 1 (line 1): not valid JSON: column 3: byte 0xff is not valid UTF-8`)
	expect(t, "a.jsonl", `"\ud800"`, Options{}, `a.jsonl: row 1 (line 1): not valid JSON: column 7: half of a surrogate pair (\ud800): not valid Unicode`)
	expect(t, "a.jsonl", `"\ud83cx\u0041"`+"\n"+`"\ud83c\u0041"`, Options{},
		`a.jsonl: row 1 (line 1): not valid JSON: column 7: half of a surrogate pair (\ud83c): not valid Unicode`,
		`a.jsonl: row 2 (line 2): not valid JSON: column 13: broken surrogate pair: not valid Unicode`)
	for _, bad := range []string{"01", "1.", "1e", "-", "+1", ".5", "tru", "[1,]", "{1:2}", `{"a" 1}`, `"\x"`, `"\u12g4"`, `"\u12`, "\"\t\"", "1 2", "'a'", strings.Repeat("[", 300)} {
		got := readAll(write(t, "a.jsonl", bad), Options{})
		if len(got) != 1 || !strings.HasPrefix(got[0], "a.jsonl: row 1 (line 1): not valid JSON: column ") {
			t.Errorf("%q: got %q", bad, got)
		}
	}
	long := `"` + strings.Repeat("x", 3<<20) + `"`
	expect(t, "a.jsonl", "1\n"+long+"\n2\n", Options{MaxRow: 1 << 20}, "1: 1", "a.jsonl: row 2 (line 2): the line is longer than the limit of 1048576 bytes (max_row)", "3: 2")
	got := readAll(write(t, "a.json", "[1,"+long+",2]"), Options{MaxRow: 1 << 20})
	if len(got) != 2 || got[1] != "fatal: a.json: row 2 (line 1): the row is longer than the limit (max_row)" {
		t.Errorf("long row: got %.200q", got)
	}
}

func TestCSV(t *testing.T) {
	expect(t, "a.csv", "x,y\n1,\"a,\n\"\"b\"\"\"\r\n2,c\"d\n", Options{}, `2: {"x":"1","y":"a,\n\"b\""}`, `4: {"x":"2","y":"c\"d"}`)
	expect(t, "a.csv", "x,y\n1\n2,3,4\n5,6", Options{},
		"a.csv: row 1 (line 2): 1 fields, where the 2 columns x, y are expected",
		"a.csv: row 2 (line 3): 3 fields, where the 2 columns x, y are expected", `4: {"x":"5","y":"6"}`)
	expect(t, "a.csv", "x,y\n\"a\"b,c\n,\n", Options{}, `a.csv: row 1 (line 2): broken record: field 1: found 'b' after the closing quote, where ',' is expected`, `3: {"x":"","y":""}`)
	expect(t, "a.csv", "x\n\"a\nb", Options{}, "fatal: a.csv: row 1 (line 2): the file ends inside this row: a bracket or quote is not closed, or the file is cut off")
	expect(t, "a.csv", "", Options{}, "open: a.csv: the file is empty; a header line with the names of the columns is expected")
	expect(t, "a.tsv", "Wie \"viel\"?\t3\n", Options{Columns: []string{"question", "answer"}}, `1: {"question":"Wie \"viel\"?","answer":"3"}`)
	expect(t, "a.csv", "x,y\nab\"\"c,d\n", Options{}, `2: {"x":"ab\"\"c","y":"d"}`)
}

func TestYAML(t *testing.T) {
	expect(t, "a.yml", "categories: [x]\nconversations:\n- - Hallo\n  - 'Guten: Tag'\n- - 1\n  - mehr\n    davon\n", Options{Path: "conversations"}, `3: ["Hallo","Guten: Tag"]`, `5: [1,"mehr davon"]`)
	expect(t, "a.yml", "- {a: 1}\n--- {a: 2}\n---\n- {a: 3}\n", Options{}, `1: {"a":1}`, `2: {"a":2}`, `4: {"a":3}`)
	expect(t, "a.yml", "x: &x {a: 1, b: 2}\nrows:\n- {<<: *x, b: 3}\n- {<<: [*x, {c: 4}]}\n", Options{Path: "rows"},
		`3: {"a":1,"b":2,"b":3}`, `4: {"c":4,"a":1,"b":2}`)
	expect(t, "a.yml", "rows: 1\n", Options{Path: "rows"}, `open: a.yml (line 1), column "rows": want a list of rows`)
	expect(t, "a.yml", "x: 1\n", Options{Path: "rows"}, `open: a.yml (line 1), column "rows": there is no field "rows" on the path to the rows`)
	expect(t, "a.yml", "- ? [1]\n  : 2\n- 3\n", Options{}, `a.yml: row 1 (line 1): cannot be used: line 1: the name of a field is a list or an object`, "3: 3")
	got := readAll(write(t, "a.yaml", "a: [\nb: }"), Options{})
	if len(got) != 1 || !strings.HasPrefix(got[0], "open: a.yaml: cannot read the file: not valid YAML: ") {
		t.Errorf("got %q", got)
	}
	got = readAll(write(t, "a.yaml", strings.Repeat("- x\n", 1000)), Options{MaxRow: 100})
	if len(got) != 1 || got[0] != "open: a.yaml: the file is longer than the limit of 100 bytes (max_row)" {
		t.Errorf("got %q", got)
	}
}

// TestYAMLAsWritten: where text is wanted, YAML's unquoted values are what stands
// in the file (PyYAML's BaseLoader reads the same).
func TestYAMLAsWritten(t *testing.T) {
	for in, want := range map[string]struct {
		kind Kind
		text string // "-": none
		json string
	}{
		"3.10":      {Number, "3.10", "3.10"},
		"0431":      {Number, "0431", `"0431"`},
		"1_000":     {Number, "1_000", `"1_000"`},
		"0x1F":      {Number, "0x1F", `"0x1F"`},
		"1e3":       {Number, "1e3", "1e3"},
		"+49":       {Number, "+49", `"+49"`},
		".inf":      {Number, ".inf", `".inf"`},
		"12:30":     {String, "12:30", `"12:30"`},
		"2023-10-3": {String, "2023-10-3", `"2023-10-3"`},
		"no":        {String, "no", `"no"`},
		"True":      {Bool, "True", "true"},
		"Null":      {Null, "Null", "null"},
		"~":         {Null, "~", "null"},
		"":          {Null, "-", "null"},
		`"3.10"`:    {String, "3.10", `"3.10"`},
		"'Null'":    {String, "Null", `"Null"`},
		"!!str 007": {String, "007", `"007"`},
		"[]":        {List, "-", "[]"},
	} {
		r, err := Open(write(t, "a.yml", "- "+in+"\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var row Row
		if err := r.Next(&row); err != nil {
			t.Fatal(err)
		}
		v, err := row.Value()
		if err != nil {
			t.Fatal(err)
		}
		text, ok := v.AsText()
		if !ok {
			text = "-"
		}
		if v.Kind != want.kind || text != want.text || string(v.AppendJSON(nil)) != want.json {
			t.Errorf("%s: got %s %q %s, want %+v", in, v.Kind, text, v.AppendJSON(nil), want)
		}
	}
	// JSON says itself what is text.
	for _, in := range []string{"null", "3", "true"} {
		v, err := parseJSON(in)
		if text, ok := v.AsText(); err != nil || ok {
			t.Errorf("JSON %s: taken for the text %q, %v", in, text, err)
		}
	}
}

// TestYAMLBounded: a few lines of YAML may stand for more than any memory holds.
func TestYAMLBounded(t *testing.T) {
	laughs := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 12 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9)+fmt.Sprintf("*a%d", i))
	}
	for name, tc := range map[string]struct{ in, want string }{
		"aliases":       {laughs + "rows:\n- *a12\n", "aliases make more than 100000 values"},
		"loop":          {"a: &a [*a]\nrows:\n- *a\n", "nested deeper than 200 levels"},
		"flow brackets": {strings.Repeat("[", 50_000), "not valid YAML"},
		"block lists":   {"rows:\n" + strings.Repeat("- ", 300) + "x\n", "nested deeper than 200 levels"},
	} {
		got := readAll(write(t, "a.yml", tc.in), Options{Path: "rows"})
		if len(got) != 1 || !strings.Contains(got[0], tc.want) {
			t.Errorf("%s: got %.200q, want %q", name, got, tc.want)
		}
	}
}

// TestUsualPath: where the rows are does not depend on compression or on a mark
// at the beginning of the file.
func TestUsualPath(t *testing.T) {
	for _, content := range []string{`[{"a":1},{"a":2}]`, `{"rows":[{"a":1},{"a":2}]}`, " \n[{\"a\":1},{\"a\":2}]"} {
		for _, mark := range []string{"", "\ufeff"} {
			for _, kind := range []string{"", ".gz", ".zst"} {
				data := mark + content
				if kind != "" {
					data = string(pack(t, kind, data))
				}
				got := readAll(write(t, "a.json"+kind, data), Options{UsualPath: "rows"})
				for i := range got {
					_, got[i], _ = strings.Cut(" "+got[i], "{")
				}
				if strings.Join(got, "|") != `"a":1}|"a":2}` {
					t.Errorf("%q %q %q: got %q", kind, mark, content, got)
				}
			}
		}
	}
	expect(t, "a.yml", "- {a: 1}\n", Options{UsualPath: "rows"}, `1: {"a":1}`)
	expect(t, "a.yml", "rows: [{a: 1}]\n", Options{UsualPath: "rows"}, `1: {"a":1}`)
	// What stands behind the one object is not dropped without a word.
	expect(t, "a.json", "{\"rows\":[]}\n{\"rows\":[1]}", Options{UsualPath: "rows"},
		"open: a.json (line 2): found '{' behind the value; a path to the rows leads into a file of one object (format: jsonl reads one a line)")
}

func pack(t *testing.T, kind, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if kind == ".zst" {
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	io.WriteString(w, content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompressed(t *testing.T) {
	var lines strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&lines, "{\"i\":%d,\"text\":\"%x\"}\n", i, i*i*7919)
	}
	for _, kind := range []string{".gz", ".zst"} {
		data := pack(t, kind, lines.String())
		if got := readAll(write(t, "a.jsonl"+kind, string(data)), Options{}); len(got) != 20000 || got[19999] != `20000: {"i":19999,"text":"2e170cafb2f"}` {
			t.Errorf("%s: %d rows, last %q", kind, len(got), got[len(got)-1])
		}
		// A file without the extension is still recognised by its content.
		if got := readAll(write(t, "a.jsonl", string(data)), Options{}); len(got) != 20000 {
			t.Errorf("%s by content: %d rows", kind, len(got))
		}
		cut := readAll(write(t, "a.jsonl"+kind, string(data[:len(data)/2])), Options{})
		last := cut[len(cut)-1]
		if !strings.HasPrefix(last, "fatal: a.jsonl"+kind+": row ") || !strings.Contains(last, "cut off; fetch it again") {
			t.Errorf("%s cut off: last %q", kind, last)
		}
		data[len(data)/2] ^= 0x55
		bad := readAll(write(t, "a.jsonl"+kind, string(data)), Options{})
		if last := bad[len(bad)-1]; !strings.HasPrefix(last, "fatal: ") {
			t.Errorf("%s damaged: last %q", kind, last)
		}
	}
}

func TestParquet(t *testing.T) {
	got := readAll("../testdata/mix/oasst_de.parquet", Options{})
	if len(got) != 24 || !strings.HasPrefix(got[0], `{"conversation":[{"role":"prompter","text":"Was sollte ich mir in Bremen ansehen?"},{"role":"assistant","text":"In Bremen lohnt`) {
		t.Errorf("got %d rows, first %q", len(got), got[0])
	}
	got = readAll("../testdata/mix/german_songs.parquet", Options{})
	if len(got) != 20 || !strings.HasPrefix(got[19], `{"prompt":"Schreibe ein Lied über den Winter in Stralsund.","song":"[Strophe 1]\n`) {
		t.Errorf("got %d rows, last %q", len(got), got[len(got)-1])
	}
	data, err := os.ReadFile("../testdata/mix/german_poems.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{".gz", ".zst"} {
		if got := readAll(write(t, "a.parquet"+kind, string(pack(t, kind, string(data)))), Options{}); len(got) != 25 {
			t.Errorf("%s: %d rows: %q", kind, len(got), got)
		}
	}
	for _, n := range []int{0, 3, 4, 100, len(data) / 2, len(data) - 1} {
		got := readAll(write(t, "a.parquet", string(data[:n])), Options{})
		if last := got[len(got)-1]; !strings.HasPrefix(last, "open: a.parquet: ") {
			t.Errorf("first %d bytes: got %q", n, last)
		}
	}
	for i := 4; i < len(data); i += 37 {
		bad := bytes.Clone(data)
		bad[i] ^= 0xff
		readAll(write(t, "a.parquet", string(bad)), Options{}) // must not panic or hang
	}
}

// TestParquetBytes: what is not UTF-8 is no text, whatever the column says it is.
func TestParquetBytes(t *testing.T) {
	type line struct {
		Text  string   `parquet:"text"`
		Raw   []byte   `parquet:"raw"`
		Turns []string `parquet:"turns,list"`
	}
	path := filepath.Join(t.TempDir(), "a.parquet")
	if err := parquet.WriteFile(path, []line{{"Öl", []byte("Öl"), []string{"ja", "n\xf6"}}, {"\xd6l", []byte("\xff"), nil}}); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for range 2 {
		var row Row
		if err := r.Next(&row); err != nil {
			t.Fatal(err)
		}
		v, err := row.Value()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(v.AppendJSON(nil)))
		if text, ok := v.Items[0].AsText(); ok != (row.Number == 1) {
			t.Errorf("row %d: text %q is text: %v", row.Number, text, ok)
		}
	}
	if want := `{"text": "Öl", "raw": "Öl", "turns": ["ja", "bvY="]}|{"text": "1mw=", "raw": "/w==", "turns": []}`; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOpen(t *testing.T) {
	expect(t, "a.txt", "", Options{}, "open: a.txt: cannot tell the format from the name (want .parquet, .json, .jsonl, .csv, .tsv or .yaml, also with .gz or .zst); name the format in the mix")
	expect(t, "a.txt", "1\n2", Options{Format: "jsonl"}, "1: 1", "2: 2")
	if _, err := Open(filepath.Join(t.TempDir(), "none.json"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"ä\u00e4\ud83c\udf27",null,true]}`, `[`, `"\`, `"\u12`, `-`, "{\"\x7f\":{\"b\":[[]]}}", `{"text":"abcdefgh\"ijklmnop\u00e4qrstuvwx\nyzabcdefghij","t":"0123456789abcdef"}`, "\"0123456\n\"", "\"\xff\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseJSON(s)
		var std any
		stdErr := json.Unmarshal([]byte(s), &std)
		if err != nil {
			return
		}
		if stdErr != nil {
			if strings.Contains(s, "NaN") || strings.Contains(s, "Infinity") {
				return
			}
			t.Fatalf("%q accepted, encoding/json says %v", s, stdErr)
		}
		var again any
		if err := json.Unmarshal(v.AppendJSON(nil), &again); err != nil {
			t.Fatalf("%q: written as %s: %v", s, v.AppendJSON(nil), err)
		}
		if a, b := fmt.Sprint(std), fmt.Sprint(again); a != b {
			t.Fatalf("%q: got %s, want %s", s, b, a)
		}
	})
}

// FuzzYAML: no panic, no endless loop, bounded memory.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"a: &a [*a]\n", "- ? [1]\n  : 2\n", "<<: [{a: 1}, &b {c: *b}]\n", "--- |\n x\n...\n--- !!binary =\n", strings.Repeat("[", 300), "\"\\x41\\U0001F327\"", "- - - 3.10\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got []string
		path := write(t, "f.yml", s)
		boundtest.Run(t, 1<<30, 20*time.Second, func() { got = readAll(path, Options{MaxRow: 1 << 20}) })
		if len(got) > len(s)+2 {
			t.Fatalf("%d rows of %d bytes", len(got), len(s))
		}
	})
}

// FuzzScan cuts arbitrary bytes in every format: no panic, no endless loop,
// and the pieces of a whole JSON array are the rows encoding/json finds.
func FuzzScan(f *testing.F) {
	for _, s := range []string{"[1,{\"a\":\"]\"},[]]", "a,b\n\"x\"\"\",2\n", "{}{}", "[\"\\", "\"\n", ",,\n\r\n", "a\tb\n"} {
		f.Add(s, 16)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(4, limit%4096)
		for _, format := range []string{"json", "jsonl", "csv", "tsv"} {
			path := filepath.Join(t.TempDir(), "f."+format)
			if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
				t.Fatal(err)
			}
			if got := readAll(path, Options{MaxRow: limit}); len(got) > len(s)+2 {
				t.Fatalf("%s: %d rows of %d bytes", format, len(got), len(s))
			}
		}
	})
}

func BenchmarkJSONL(b *testing.B) {
	line := `{"id":"x","conversations":[{"from":"human","value":"` + strings.Repeat("Wie geht's? \\n", 40) + `"},{"from":"gpt","value":"` + strings.Repeat("Größe und Maß. ", 60) + `"}]}` + "\n"
	path := filepath.Join(b.TempDir(), "a.jsonl")
	os.WriteFile(path, []byte(strings.Repeat(line, 1000)), 0o644)
	b.SetBytes(int64(len(line) * 1000))
	for b.Loop() {
		r, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			var row Row
			if err := r.Next(&row); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			if _, err := row.Value(); err != nil {
				b.Fatal(err)
			}
		}
		r.Close()
	}
}
