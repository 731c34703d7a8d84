package rows

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"

	"leolm/internal/bounded"
	"leolm/internal/unpack"
)

// A Part is a piece of a file: whole lines of an uncompressed JSONL file, or row
// groups of a Parquet file. The parts of a file, one after the other, hold its
// rows in order, and their rows and lines keep their numbers.
type Part struct {
	From int64 `json:"from"` // first byte, or first row group
	To   int64 `json:"to"`   // the one behind the last
	Row  int64 `json:"row"`  // rows before it
	Line int64 `json:"line"` // lines before it; JSONL
	Size int64 `json:"size"` // bytes
}

// Cut divides a file into parts of about size bytes each, at least one row. It
// returns nil for a file that cannot be cut (of another format, or compressed)
// and for one that would be a single part. A JSONL file is read once for it, of
// a Parquet file the footer.
func Cut(path, format string, size int64) ([]Part, error) {
	if format != "jsonl" && format != "parquet" {
		return nil, nil
	}
	f, err := bounded.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if size <= 0 || info.Size() <= size {
		return nil, nil
	}
	var head [unpack.HeadLen]byte
	if n, err := f.ReadAt(head[:], 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %w", path, err)
	} else if unpack.Format(head[:n]) != "" {
		return nil, nil
	}
	var parts []Part
	if format == "parquet" {
		parts, err = cutParquet(f, path, info.Size(), size)
	} else {
		parts, err = cutLines(f, size)
	}
	if err != nil || len(parts) < 2 {
		return nil, err
	}
	return parts, nil
}

func cutLines(f *os.File, size int64) ([]Part, error) {
	br := bufio.NewReaderSize(f, 1<<20)
	var parts []Part
	var at, row, line int64
	var now Part
	blank := true // so far, of a line longer than the buffer
	for {
		b, err := br.ReadSlice('\n')
		text := b
		if at == 0 {
			text = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // as dropBOM does
		}
		at += int64(len(b))
		blank = blank && len(bytes.TrimSpace(text)) == 0
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if !blank {
			row++
		}
		line++
		blank = true
		if at-now.From >= size || err == io.EOF {
			if now.To, now.Size = at, at-now.From; now.Size > 0 {
				parts = append(parts, now)
			}
			now = Part{From: at, Row: row, Line: line}
		}
		if err == io.EOF {
			return parts, nil
		}
	}
}

func cutParquet(f *os.File, path string, total, size int64) (parts []Part, err error) {
	defer func() {
		// The library panics on some damaged files.
		if p := recover(); p != nil {
			err = &Error{File: path, What: fmt.Sprintf("damaged Parquet file: %v", p), Fatal: true}
		}
	}()
	pf, err := openParquet(f, path, total)
	if err != nil {
		return nil, err
	}
	var now Part
	row := int64(0)
	groups := pf.Metadata().RowGroups
	for i, g := range groups {
		row += g.NumRows
		n := g.TotalCompressedSize
		if n <= 0 {
			n = g.TotalByteSize
		}
		now.Size += max(n, 0)
		if now.Size >= size || i == len(groups)-1 {
			now.To = int64(i + 1)
			parts = append(parts, now)
			now = Part{From: now.To, Row: row}
		}
	}
	return parts, nil
}

// startPart reads whole lines of an uncompressed JSONL file.
func (r *Reader) startPart(f *os.File, p *Part, opt Options) error {
	if r.format != "jsonl" {
		return fmt.Errorf("%s: a file of format %s cannot be read in parts", r.path, r.format)
	}
	src := bufio.NewReaderSize(io.NewSectionReader(f, p.From, p.To-p.From), 256<<10)
	var from io.Reader = src
	if p.From == 0 {
		from = dropBOM(src)
	}
	s := newScanner(from, opt.MaxRow)
	s.line += p.Line
	r.startJSONL(s)
	return nil
}
