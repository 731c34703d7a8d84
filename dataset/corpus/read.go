package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"leolm/dataset/rows"
	"leolm/internal/bounded"
	"leolm/internal/unpack"
)

// A raw document is one row of an input, perhaps not yet decoded.
type raw struct {
	row  int64 // from 1 within the file
	key  string
	text string
	rows *rows.Row // decode this instead, in any goroutine
	utf8 bool      // decoding refuses text that is not UTF-8
	bad  error     // the row could not be read
}

// decode fills key and text from the row.
func (d *raw) decode(in *Input) error {
	if d.rows == nil {
		return nil
	}
	v, err := d.rows.Value()
	if err != nil {
		return err
	}
	if v.Kind != rows.Object {
		return d.rows.Errorf("", "is %s where an object with a field %q is expected", v.Kind, in.Text)
	}
	field, ok := v.Get(in.Text)
	if !ok {
		return d.rows.Errorf(in.Text, "is missing (the row has %s); name the text's column with text:", strings.Join(v.Names, ", "))
	}
	if d.text, ok = field.AsText(); !ok {
		return d.rows.Errorf(in.Text, "is %s where text is expected", field.Kind)
	}
	if key, ok := v.Get(in.Key); ok && in.Key != "" {
		switch key.Kind {
		case rows.String, rows.Number:
			d.key = key.Text
		case rows.Null:
		default:
			return d.rows.Errorf(in.Key, "is %s where text is expected", key.Kind)
		}
	}
	d.rows = nil
	return nil
}

// A reader yields the raw documents of one file.
type reader interface {
	// next returns io.EOF at the end. After an error that is not a *rows.Error,
	// or a fatal one, it must not be called again.
	next() (raw, error)
	Close() error
}

// maxDocument bounds the bytes of one document in memory.
const maxDocument = 256 << 20

// openInput opens a file, or a part of it.
func openInput(path, format string, part *rows.Part) (reader, error) {
	switch format {
	case "text", "wet":
		f, err := bounded.OpenRegular(path)
		if err != nil {
			return nil, err
		}
		r := &plain{path: path, close: []io.Closer{f}}
		src, err := r.decompress(bufio.NewReaderSize(f, 256<<10))
		if err != nil {
			f.Close()
			return nil, err
		}
		if format == "wet" {
			return &wet{plain: r, br: bufio.NewReaderSize(src, 64<<10)}, nil
		}
		return &wholeFile{plain: r, src: src}, nil
	}
	r, err := rows.Open(path, rows.Options{Format: format, MaxRow: maxDocument, Part: part})
	if err != nil {
		return nil, err
	}
	return rowReader{r, format == "jsonl" || format == "json" || format == "csv" || format == "tsv"}, nil
}

type rowReader struct {
	*rows.Reader
	utf8 bool
}

func (r rowReader) next() (raw, error) {
	row := new(rows.Row)
	if err := r.Reader.Next(row); err != nil {
		return raw{}, err
	}
	return raw{row: row.Number, rows: row, utf8: r.utf8}, nil
}

// plain is what the readers of text and WET share.
type plain struct {
	path  string
	close []io.Closer
}

func (p *plain) Close() error {
	var errs []error
	for i := len(p.close) - 1; i >= 0; i-- {
		errs = append(errs, p.close[i].Close())
	}
	p.close = nil
	return errors.Join(errs...)
}

func (p *plain) decompress(br *bufio.Reader) (io.Reader, error) {
	src, err := unpack.Reader(br)
	if err != nil {
		return nil, p.errorf(0, err, "cannot read the file")
	}
	p.close = append(p.close, src)
	return src, nil
}

// errorf is a fatal error at a row.
func (p *plain) errorf(row int64, err error, format string, args ...any) error {
	e := &rows.Error{File: p.path, Row: row, What: fmt.Sprintf(format, args...), Fatal: true, Err: err}
	var packed *unpack.Error
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		e.What, e.Err = "the file is cut off ("+e.What+"); fetch it again", nil
	case errors.As(err, &packed):
		e.What, e.Err = packed.What+" ("+e.What+")", packed.Err
	}
	return e
}

// wholeFile is a text file as one document.
type wholeFile struct {
	*plain
	src  io.Reader
	done bool
}

func (w *wholeFile) next() (raw, error) {
	if w.done {
		return raw{}, io.EOF
	}
	w.done = true
	b, err := io.ReadAll(io.LimitReader(w.src, maxDocument+1))
	if err != nil {
		return raw{}, w.errorf(1, err, "after %d bytes of text", len(b))
	}
	if len(b) > maxDocument {
		return raw{}, w.errorf(1, nil, "more than %d bytes of text in one document; cut the file, or write it as JSONL", maxDocument)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	return raw{row: 1, key: w.path, text: string(b)}, nil
}

// wet reads the plain-text records ("conversion") of a WARC file as Common
// Crawl and OSCAR ship them.
type wet struct {
	*plain
	br  *bufio.Reader
	row int64
}

func (w *wet) next() (raw, error) {
	for {
		w.row++
		line, err := w.line(true)
		for err == nil && line == "" { // between records
			line, err = w.line(true)
		}
		if err == io.EOF {
			return raw{}, io.EOF
		}
		if err != nil {
			return raw{}, w.errorf(w.row, err, "before a record")
		}
		if !strings.HasPrefix(line, "WARC/1.") {
			return raw{}, w.errorf(w.row, nil, "found %q where a record beginning WARC/1.0 is expected", short(line))
		}
		size, kind, uri := int64(-1), "", ""
		for {
			line, err = w.line(false)
			if err != nil {
				return raw{}, w.errorf(w.row, err, "inside the header of a record")
			}
			if line == "" {
				break
			}
			name, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			switch strings.ToLower(name) {
			case "content-length":
				if size, err = strconv.ParseInt(value, 10, 64); err != nil || size < 0 {
					return raw{}, w.errorf(w.row, nil, "Content-Length is %q where a number of bytes is expected", short(value))
				}
			case "warc-type":
				kind = value
			case "warc-target-uri":
				uri = strings.Trim(value, "<>")
			}
		}
		if size < 0 {
			return raw{}, w.errorf(w.row, nil, "the record has no Content-Length")
		}
		if kind != "conversion" {
			if n, err := io.CopyN(io.Discard, w.br, size); err != nil {
				return raw{}, w.errorf(w.row, err, "%d of %d bytes of a record", n, size)
			}
			continue
		}
		if size > maxDocument {
			return raw{}, w.errorf(w.row, nil, "a record of %d bytes, more than the %d bytes of one document", size, maxDocument)
		}
		var b bytes.Buffer // grows with what is there, not with what is claimed
		if n, err := io.CopyN(&b, w.br, size); err != nil {
			return raw{}, w.errorf(w.row, err, "%d of %d bytes of a record", n, size)
		}
		return raw{row: w.row, key: uri, text: b.String()}, nil
	}
}

// line reads a header line. At the end of the file it returns io.EOF if eof
// allows, else io.ErrUnexpectedEOF.
func (w *wet) line(eof bool) (string, error) {
	b, err := w.br.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return "", fmt.Errorf("a header line longer than %d bytes", w.br.Size())
	case err == io.EOF && (len(b) > 0 || !eof):
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func short(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
