package rows

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// rowsOf lists every row of a file, or of a part, with its number and line.
func rowsOf(t *testing.T, path string, part *Part) (out []string) {
	t.Helper()
	r, err := Open(path, Options{Part: part})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		var row Row
		if err := r.Next(&row); err == io.EOF {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		v, err := row.Value()
		if err != nil {
			out = append(out, err.Error())
			continue
		}
		out = append(out, fmt.Sprint(row.Number, " ", row.Line, " ", string(v.AppendJSON(nil))))
	}
}

// The parts of a file give the rows of the file.
func TestParts(t *testing.T) {
	dir := t.TempDir()
	var lines strings.Builder
	lines.WriteString("\xef\xbb\xbf")
	type row struct {
		Text string `parquet:"text"`
		N    int    `parquet:"n"`
	}
	pqPath := filepath.Join(dir, "x.parquet")
	f, err := os.Create(pqPath)
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewGenericWriter[row](f)
	for i := range 400 {
		text := strings.Repeat("wort ", i%40)
		end := []string{"\n", "\r\n", "\n\n", "\n \t\r\n"}[i%4]
		if i == 77 {
			fmt.Fprint(&lines, "{broken\n")
		}
		fmt.Fprintf(&lines, `{"text": %q, "n": %d}%s`, text, i, end)
		if _, err := w.Write([]row{{text, i}}); err != nil {
			t.Fatal(err)
		}
		if i%37 == 36 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	jsonl := filepath.Join(dir, "x.jsonl")
	whole := strings.TrimRight(lines.String(), "\n\r\t ") // no line end at the end
	if err := os.WriteFile(jsonl, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{jsonl, pqPath} {
		format, _ := FormatOf(path)
		want := rowsOf(t, path, nil)
		if len(want) < 400 {
			t.Fatalf("%s: %d rows", path, len(want))
		}
		most := 0
		for _, size := range []int64{1, 300, 1000, 4000, 1 << 20} {
			parts, err := Cut(path, format, size)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, len(parts))
			if size == 1<<20 && parts != nil {
				t.Errorf("%s: a small file was cut into %d parts", path, len(parts))
			}
			var got []string
			for i := range parts {
				got = append(got, rowsOf(t, path, &parts[i])...)
			}
			if parts != nil && !slices.Equal(got, want) {
				t.Errorf("%s in parts of %d bytes: %d rows, the file has %d, or they differ", path, size, len(got), len(want))
			}
		}
		if most < 10 {
			t.Errorf("%s: at most %d parts", path, most)
		}
	}
	packed := filepath.Join(dir, "y.jsonl")
	if err := os.WriteFile(packed, []byte("\x1f\x8b"+whole), 0o644); err != nil {
		t.Fatal(err)
	}
	if parts, err := Cut(packed, "jsonl", 100); parts != nil || err != nil {
		t.Errorf("a compressed file was cut: %v, %v", parts, err)
	}
	// A footer longer than the file must not cost memory.
	b, err := os.ReadFile(pqPath)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-5] ^= 0x80
	long := filepath.Join(dir, "long.parquet")
	if err := os.WriteFile(long, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(long, Options{}); err == nil || !strings.Contains(err.Error(), "footer is said to have 21") {
		t.Errorf("a footer longer than the file: %v", err)
	}
	if _, err := Open(pqPath, Options{Part: &Part{From: 3, To: 99}}); err == nil || !strings.Contains(err.Error(), "row groups") {
		t.Errorf("row groups that are not there: %v", err)
	}
}

// Whatever the bytes, the parts of a JSONL file give its rows.
func FuzzParts(f *testing.F) {
	for _, s := range []string{"{}\n\n[1]\r\n \n\"x\"", "\xef\xbb\xbf1\n2", "\n\n\n", "{\"a\":\"" + strings.Repeat("ä", 40) + "\"}\n{\n", "\v\n\u00a0\n1", "\ufeff\n0"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, size int) {
		if strings.HasPrefix(s, "\x1f\x8b") || strings.HasPrefix(s, "\x28\xb5\x2f\xfd") {
			return
		}
		path := filepath.Join(t.TempDir(), "f.jsonl")
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		parts, err := Cut(path, "jsonl", int64(max(1, size%200)))
		if err != nil && len(s) >= 4 {
			t.Fatal(err)
		}
		if parts == nil {
			return
		}
		var got []string
		for i := range parts {
			got = append(got, rowsOf(t, path, &parts[i])...)
		}
		if want := rowsOf(t, path, nil); !slices.Equal(got, want) {
			t.Fatalf("%q in %+v:\n%q\nwhole:\n%q", s, parts, got, want)
		}
	})
}

// A damaged Parquet file is an error, not a crash.
func FuzzParquet(f *testing.F) {
	type row struct {
		Text string   `parquet:"text"`
		N    *float64 `parquet:"n,optional"`
		List []string `parquet:"list,list"`
	}
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Zstd} {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[row](&b, parquet.Compression(codec))
		x := 2.5
		if _, err := w.Write([]row{{"eins", nil, []string{"a", "b"}}, {"zwei", &x, nil}, {"eins", nil, []string{""}}}); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), 40, byte(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, at int, flip byte) {
		data = slices.Clone(data)
		if len(data) > 0 {
			data[uint(at)%uint(len(data))] ^= flip
		}
		path := filepath.Join(t.TempDir(), "f.parquet")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := readAll(path, Options{}); len(got) > 1<<20 {
			t.Fatalf("%d rows of %d bytes", len(got), len(data))
		}
		if _, err := Cut(path, "parquet", 1); err != nil && err.Error() == "" {
			t.Fatal("an error that says nothing")
		}
	})
}
