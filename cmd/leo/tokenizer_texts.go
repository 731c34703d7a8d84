package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"leolm/internal/bounded"
)

// A text of one line of a JSONL file, or of a whole plain file, is held in memory.
const maxText = 1 << 30

// openText opens a file that may be compressed (.gz, .zst); "-" is standard
// input. base is the name without the compression's ending.
func openText(ctx context.Context, path string) (r io.ReadCloser, base string, err error) {
	if path == "-" {
		return io.NopCloser(bounded.Stream(ctx, os.Stdin)), "-", nil
	}
	f, err := bounded.Open(ctx, path)
	if err != nil {
		return nil, "", err
	}
	base = path
	in := bounded.Stream(ctx, f)
	src := in
	switch {
	case strings.HasSuffix(path, ".gz"):
		base = strings.TrimSuffix(path, ".gz")
		z, err := gzip.NewReader(in)
		if err != nil {
			f.Close()
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		src = z
	case strings.HasSuffix(path, ".zst"):
		base = strings.TrimSuffix(path, ".zst")
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(256<<20))
		if err != nil {
			f.Close()
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		src = z.IOReadCloser()
	}
	return struct {
		io.Reader
		io.Closer
	}{src, f}, base, nil
}

// eachText calls f with the texts of the files, on several goroutines: worker
// says which one. A .jsonl file has a text in the given field of each line, any
// other file is one text per line, its line break included.
func eachText(ctx context.Context, paths []string, field string, workers int, f func(worker int, text string) error) error {
	type batch struct {
		path  string
		line  int
		jsonl bool
		lines [][]byte
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan batch, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for b := range work {
				for i, line := range b.lines {
					text := string(line)
					if b.jsonl {
						var err error
						if text, err = jsonField(line, field); err != nil {
							cancel(fmt.Errorf("%s, line %d: %w", b.path, b.line+i, err))
							return
						}
					}
					if err := f(w, text); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	send := func(b batch) bool {
		select {
		case work <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	read := func(path string) error {
		r, base, err := openText(ctx, path)
		if err != nil {
			return err
		}
		defer r.Close()
		jsonl := strings.HasSuffix(base, ".jsonl") || strings.HasSuffix(base, ".ndjson")
		in := bufio.NewReaderSize(r, 1<<20)
		b := batch{path: path, line: 1, jsonl: jsonl}
		size := 0
		for n := 1; ; n++ {
			line, err := readLine(in)
			if err != nil && err != io.EOF {
				return fmt.Errorf("%s, line %d: %w", path, n, err)
			}
			if len(line) > 0 && (!jsonl || len(strings.TrimSpace(string(line))) > 0) {
				b.lines = append(b.lines, line)
				size += len(line)
			}
			if size > 1<<18 || err == io.EOF || len(b.lines) > 0 && len(line) == 0 {
				if len(b.lines) > 0 && !send(b) {
					return context.Cause(ctx)
				}
				b, size = batch{path: path, line: n + 1, jsonl: jsonl}, 0
			}
			if err == io.EOF {
				return nil
			}
		}
	}
	var err error
	for _, path := range paths {
		if err = read(path); err != nil {
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

// readLine returns the next line with its line break, in memory of its own.
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

// jsonField returns the text in a field of a JSON object.
func jsonField(line []byte, field string) (string, error) {
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(line, &obj); err != nil {
		return "", err
	}
	raw, ok := obj[field]
	if !ok {
		return "", fmt.Errorf("has no field %q (choose another with --field)", field)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", fmt.Errorf("field %q holds no text", field)
	}
	return text, nil
}
