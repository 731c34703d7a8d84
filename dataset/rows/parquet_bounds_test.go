package rows

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"leolm/internal/bounded/boundtest"
)

type parquetRow struct {
	Text   string   `parquet:"text"`
	Dict   string   `parquet:"dict,dict"`
	Prefix string   `parquet:"prefix,delta"`
	Number int64    `parquet:"number,delta"`
	Maybe  *string  `parquet:"maybe,optional"`
	List   []string `parquet:"list,list"`
	Deep   []struct {
		Role string   `parquet:"role,dict"`
		Tags []string `parquet:"tags,list"`
	} `parquet:"deep,list"`
	Flag bool `parquet:"flag"`
}

var parquetCodecs = map[string]compress.Codec{
	"none": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip, "zstd": &parquet.Zstd, "brotli": &parquet.Brotli, "lz4": &parquet.Lz4Raw,
}

func parquetFile[T any](t testing.TB, rows []T, opt ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, opt...)
	for i := range rows {
		if _, err := w.Write(rows[i : i+1]); err != nil {
			t.Fatal(err)
		}
		if i%97 == 96 {
			if err := w.Flush(); err != nil { // a row group
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll reads a file's rows as JSON, one a line.
func readParquet(t testing.TB, data []byte, maxRow int) (string, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Open(name, Options{MaxRow: maxRow})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var out []byte
	for {
		var row Row
		if err := r.Next(&row); err == io.EOF {
			return string(out), nil
		} else if err != nil {
			return string(out), err
		}
		v, err := row.Value()
		if err != nil {
			return string(out), err
		}
		out = append(v.AppendJSON(out), '\n')
	}
}

func sampleRows(n int) []parquetRow {
	rows := make([]parquetRow, n)
	for i := range rows {
		x := &rows[i]
		x.Text = strings.Repeat("Straße ", i%7) + "ä"
		x.Dict = []string{"eins", "zwei", "drei"}[i%3]
		x.Prefix = "gemeinsam" + strings.Repeat("x", i%50)
		x.Number = int64(i*i) - 50
		if i%3 == 0 {
			x.Maybe = &x.Text
		}
		for j := range i % 5 {
			x.List = append(x.List, strings.Repeat("l", j))
		}
		for j := range i % 4 {
			x.Deep = append(x.Deep, struct {
				Role string   `parquet:"role,dict"`
				Tags []string `parquet:"tags,list"`
			}{"user", make([]string, j)})
		}
		x.Flag = i%2 == 0
	}
	return rows
}

// What is whole is read, whatever its compression and its pages' version are.
func TestParquetCodecs(t *testing.T) {
	rows := sampleRows(300)
	want := ""
	for name, codec := range parquetCodecs {
		for version := range 2 {
			got, err := readParquet(t, parquetFile(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version+1), parquet.PageBufferSize(700)), 1<<20)
			if err != nil {
				t.Errorf("%s, version %d: %v", name, version+1, err)
				continue
			}
			if want == "" {
				want = got
			}
			if got != want || strings.Count(got, "\n") != len(rows) || !strings.Contains(got, `"text": "Straße Straße ä"`) {
				t.Errorf("%s, version %d: other rows:\n%.500s", name, version+1, got)
			}
		}
	}
}

// max_row holds for Parquet too, before the row takes memory: one long text, a short one that a
// list names many times, a list of many nothings.
func TestParquetLongRows(t *testing.T) {
	type text struct {
		Text string `parquet:"text,zstd"`
	}
	type many struct {
		List []string `parquet:"list,list,dict,zstd"`
	}
	big := strings.Repeat("x", 8<<20)
	list := make([]string, 1000)
	for i := range list {
		list[i] = big[:64<<10]
	}
	for name, data := range map[string][]byte{
		"one long text":     parquetFile(t, []text{{"a"}, {big}}, parquet.Compression(&parquet.Zstd)),
		"gzip":              parquetFile(t, []text{{big}}, parquet.Compression(&parquet.Gzip)),
		"one text of many":  parquetFile(t, []many{{list[:1]}, {list}}),
		"a list of nothing": parquetFile(t, []many{{nil}, {make([]string, 1_000_000)}}),
	} {
		boundtest.Run(t, 200<<20, 10*time.Second, func() {
			_, err := readParquet(t, data, 1<<20)
			if err == nil || !strings.Contains(err.Error(), "max_row") {
				t.Errorf("%s (%d bytes): %v", name, len(data), err)
			}
		})
	}
	if got, err := readParquet(t, parquetFile(t, []many{{list[:3]}}), 1<<20); err != nil || len(got) < 3*64<<10 {
		t.Errorf("a row within the limit: %d bytes, %v", len(got), err)
	}
}

// Damaged pages of every compression are errors, in bounded memory and time.
func TestParquetDamaged(t *testing.T) {
	for name, codec := range parquetCodecs {
		whole := parquetFile(t, sampleRows(120), parquet.Compression(codec), parquet.PageBufferSize(700))
		failed := 0
		boundtest.Run(t, 4<<30, 2*time.Minute, func() {
			for at := 4; at < len(whole)-8; at += 1 + len(whole)/60 {
				b := bytes.Clone(whole)
				b[at] ^= 0xff
				if _, err := readParquet(t, b, 1<<20); err != nil {
					failed++
					var e *Error
					if !errors.As(err, &e) {
						t.Errorf("%s, byte %d: %v", name, at, err)
					}
				}
			}
		})
		if failed < 20 {
			t.Errorf("%s: only %d of 60 damages are found", name, failed)
		}
	}
}

func FuzzParquetCodecs(f *testing.F) {
	for _, codec := range parquetCodecs {
		for version := range 2 {
			f.Add(parquetFile(f, sampleRows(12), parquet.Compression(codec), parquet.DataPageVersion(version+1), parquet.PageBufferSize(200)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		boundtest.Run(t, 3<<29, 20*time.Second, func() {
			_, _ = readParquet(t, data, 1<<16)
		})
	})
}
