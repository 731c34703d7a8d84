package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"leolm/dataset/rows"
	"leolm/internal/unpack"
)

// A text of one row of a data file, or of a whole plain file, is held in memory.
const maxText = 1 << 30

// textBatch is a piece of a file on its way to a worker: lines of a plain file, or rows of a data file.
type textBatch struct {
	lines []string
	rows  []rows.Row
}

// eachText calls f with the texts of the files, on several goroutines, numbered by
// worker. A data file (JSON, JSONL, Parquet, CSV, TSV, YAML, by its name) has
// a text in the given field of each row, or is a list of texts; any other file has
// one text per line, line break included. "-" is standard input, read as a plain file.
func eachText(ctx context.Context, paths []string, field string, workers int, f func(worker int, text string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan textBatch, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for b := range work {
				if err := b.each(field, func(text string) error { return f(w, text) }); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	send := func(b textBatch) error {
		select {
		case work <- b:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var err error
	for _, path := range paths {
		if _, ok := rows.FormatOf(path); ok {
			err = sendRows(path, send)
		} else {
			err = sendLines(path, send)
		}
		if err != nil {
			break
		}
	}
	close(work)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (b *textBatch) each(field string, f func(text string) error) error {
	for _, line := range b.lines {
		if err := f(line); err != nil {
			return err
		}
	}
	for i := range b.rows {
		text, err := rowText(&b.rows[i], field)
		if err == nil {
			err = f(text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rowText returns the text in a field of a row, or the row itself if it is a text.
func rowText(row *rows.Row, field string) (string, error) {
	v, err := row.Value()
	if err != nil {
		return "", err
	}
	if text, ok := v.AsText(); ok {
		return text, nil
	}
	if v.Kind != rows.Object {
		return "", row.Errorf("", "want an object with a field %q, or a text; found %s", field, v.Kind)
	}
	got, ok := v.Get(field)
	if !ok {
		return "", row.Errorf("", "has no field %q; there are %s (choose one with --field)", field, strings.Join(v.Names, ", "))
	}
	text, ok := got.AsText()
	if !ok {
		return "", row.Errorf(field, "want text, found %s", got.Kind)
	}
	return text, nil
}

// sendRows cuts a data file into batches.
func sendRows(path string, send func(textBatch) error) error {
	const batchRows = 64
	r, err := rows.Open(path, rows.Options{MaxRow: maxText})
	if err != nil {
		return err
	}
	defer r.Close()
	var b textBatch
	for {
		var row rows.Row
		err := r.Next(&row)
		if err != nil && err != io.EOF {
			return err
		}
		if err == nil {
			b.rows = append(b.rows, row)
		}
		if len(b.rows) == batchRows || err == io.EOF {
			if err := send(b); err != nil {
				return err
			}
			b = textBatch{}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// sendLines cuts a plain file into batches.
func sendLines(path string, send func(textBatch) error) error {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return err
		}
		defer f.Close()
	}
	src, err := unpack.Reader(bufio.NewReaderSize(f, 256<<10))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer src.Close()
	in := bufio.NewReaderSize(src, 1<<20)
	var b textBatch
	size := 0
	for n := 1; ; n++ {
		line, err := readLine(in)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		if bytes.IndexByte(line, 0) >= 0 {
			return fmt.Errorf("%s, line %d: a zero byte: this is not plain text; data files are recognized by .jsonl, .json, .parquet, .csv, .tsv or .yaml in their names", path, n)
		}
		if len(line) > 0 {
			b.lines = append(b.lines, string(line))
			size += len(line)
		}
		if size > 1<<18 || err == io.EOF {
			if err := send(b); err != nil {
				return err
			}
			b, size = textBatch{}, 0
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine returns a copy of the next line with its line break.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxText {
			return nil, fmt.Errorf("longer than %d MiB", maxText>>20)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
