package rows

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"leolm/internal/unpack"

	"leolm/internal/bounded"
)

// Options steer how a file is read. The zero value reads it by its name.
type Options struct {
	// Format is parquet, json, jsonl, csv, tsv or yaml; empty: by the name's
	// extension, before .gz or .zst.
	Format string
	// Columns name the columns of a CSV or TSV file without a header line;
	// nil: the first line is the header.
	Columns []string
	// Path, of field names joined by dots, leads to the list whose items are
	// the rows, in a JSON or YAML file that is one object.
	Path string
	// UsualPath is Path for files whose habit is known: a file that is not one
	// object has its rows where any file has them.
	UsualPath string
	// Part, if set, is the piece of the file to read, as Cut gave it.
	Part *Part
	// MaxRow bounds the bytes of one row, and of a whole file where a format
	// cannot be read in pieces; 0: 64 MiB.
	MaxRow int
}

const defaultMaxRow = 64 << 20

// Reader yields the rows of one file in order.
type Reader struct {
	path   string
	format string
	number int64
	next   func(*Row) error
	close  []func() error
}

// Format tells which of the formats the file was taken for.
func (r *Reader) Format() string { return r.format }

// Open opens a data file. Compression is recognised by content, the format
// by name or options.
func Open(path string, opt Options) (*Reader, error) {
	if opt.MaxRow <= 0 {
		opt.MaxRow = defaultMaxRow
	}
	format := opt.Format
	if format == "" {
		var ok bool
		if format, ok = FormatOf(path); !ok {
			return nil, fmt.Errorf("%s: cannot tell the format from the name (want .parquet, .json, .jsonl, .csv, .tsv or .yaml, also with .gz or .zst); name the format in the mix", path)
		}
	}
	f, err := bounded.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	r := &Reader{path: path, format: format, close: []func() error{f.Close}}
	if opt.Part != nil {
		r.number = opt.Part.Row
	}
	if err := r.start(f, opt); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// FormatOf tells a file's format by the extension of its name, looking
// through .gz and .zst.
func FormatOf(path string) (string, bool) {
	name := strings.ToLower(filepath.Base(path))
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	format, ok := map[string]string{".parquet": "parquet", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
		".csv": "csv", ".tsv": "tsv", ".yaml": "yaml", ".yml": "yaml"}[filepath.Ext(name)]
	return format, ok
}

// Close releases the file. It may be called more than once.
func (r *Reader) Close() error {
	var errs []error
	for i := len(r.close) - 1; i >= 0; i-- {
		errs = append(errs, r.close[i]())
	}
	r.close = nil
	return errors.Join(errs...)
}

// Next reads the next row. It returns io.EOF after the last one and an
// *Error otherwise; unless that is fatal, Next may be called again for the
// row that follows.
func (r *Reader) Next(row *Row) error {
	r.number++
	*row = Row{File: r.path, Number: r.number}
	err := r.next(row)
	if err == io.EOF || err == nil {
		return err
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = row.Errorf("", "cannot read on")
	e.Fatal = true
	e.Err = err
	var packed *unpack.Error
	switch {
	case errors.Is(err, errTooLong):
		e.What, e.Err = "the row is longer than the limit (max_row)", nil
	case errors.Is(err, errUnclosed):
		e.What, e.Err = errUnclosed.Error()+": a bracket or quote is not closed, or the file is cut off", nil
	case errors.As(err, &packed):
		e.What, e.Err = packed.What, packed.Err
	}
	return e
}

func (r *Reader) start(f *os.File, opt Options) error {
	if r.format == "parquet" {
		return r.startParquet(f, opt)
	}
	if p := opt.Part; p != nil {
		return r.startPart(f, p, opt)
	}
	src, err := r.decompress(f)
	if err != nil {
		return err
	}
	switch r.format {
	case "jsonl":
		r.startJSONL(newScanner(src, opt.MaxRow))
	case "json":
		return r.startJSON(newScanner(src, opt.MaxRow), opt)
	case "csv":
		return r.startCSV(newScanner(src, opt.MaxRow), ',', true, opt)
	case "tsv":
		return r.startCSV(newScanner(src, opt.MaxRow), '\t', false, opt)
	case "yaml":
		return r.startYAML(src, opt)
	default:
		return fmt.Errorf("%s: unknown format %q (want parquet, json, jsonl, csv, tsv or yaml)", r.path, r.format)
	}
	return nil
}

// decompress puts a decoder in front of a compressed file and drops a byte
// order mark.
func (r *Reader) decompress(f io.Reader) (io.Reader, error) {
	src, err := r.unpacked(f)
	if err != nil {
		return nil, err
	}
	return dropBOM(bufio.NewReaderSize(src, 64<<10)), nil
}

// unpacked is the content of a file, compressed or not.
func (r *Reader) unpacked(f io.Reader) (io.Reader, error) {
	src, err := unpack.Reader(bufio.NewReaderSize(f, 256<<10))
	var packed *unpack.Error
	if errors.As(err, &packed) {
		return nil, &Error{File: r.path, What: packed.What, Fatal: true, Err: packed.Err}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path, err)
	}
	r.close = append(r.close, src.Close)
	return src, nil
}

func dropBOM(br *bufio.Reader) io.Reader {
	if mark, _ := br.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		br.Discard(3)
	}
	return br
}

func (r *Reader) startJSONL(s *scanner) {
	r.next = func(row *Row) error {
		for {
			text, line, err := s.nextLine()
			row.Line = line
			if errors.Is(err, errTooLong) {
				return row.Errorf("", "the line is longer than the limit of %d bytes (max_row)", s.limit)
			}
			if err != nil {
				return err
			}
			if len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			row.text, row.decode = string(text), decodeJSON
			return nil
		}
	}
}

func decodeJSON(row *Row) (Value, error) {
	v, err := parseJSON(row.text)
	if err != nil {
		e := row.Errorf("", "not valid JSON")
		e.Err = err
		var at *syntaxError
		if errors.As(err, &at) {
			// The row may span lines: name the line of the fault itself.
			upTo := row.text[:min(at.at, len(row.text))]
			e.Line += int64(strings.Count(upTo, "\n"))
			e.Err = fmt.Errorf("column %d: %s", at.at-strings.LastIndexByte(upTo, '\n'), at.what)
		}
		return v, e
	}
	return v, nil
}

// startJSON reads a file of one array (its items are the rows), of one object
// (the row, or the list at Path), or of several values one after the other.
func (r *Reader) startJSON(s *scanner, opt Options) error {
	if err := s.skipSpace(""); err != nil {
		return &Error{File: r.path, What: "cannot read the file", Fatal: true, Err: err}
	}
	first, ok, err := s.peek()
	if err != nil {
		return &Error{File: r.path, What: "cannot read the file", Fatal: true, Err: err}
	}
	if !ok {
		return &Error{File: r.path, What: "the file is empty; JSON is expected", Fatal: true}
	}
	if opt.Path == "" && first != '[' {
		opt.Path = opt.UsualPath
	}
	if opt.Path != "" {
		return r.startList(opt, func() (Value, int64, error) { return r.onlyJSON(s) })
	}
	if first != '[' {
		r.next = func(row *Row) error {
			if err := s.skipSpace(""); err != nil {
				return err
			}
			text, line, err := s.nextJSON()
			row.Line = line
			if err != nil {
				return err
			}
			row.text, row.decode = string(text), decodeJSON
			return nil
		}
		return nil
	}
	s.pos++
	s.take()
	atStart, closed := true, false
	r.next = func(row *Row) error {
		if err := s.skipSpace(""); err != nil {
			return err
		}
		row.Line = s.line
		c, ok, err := s.peek()
		switch {
		case err != nil:
			return err
		case closed && ok:
			return r.fatal(row, "found %q after the end of the array", c)
		case closed:
			return io.EOF
		case !ok:
			return r.fatal(row, "the file ends inside its array: it is cut off, or the closing ] is missing")
		case c == ']':
			closed = true
			s.pos++
			s.take()
			return r.next(row)
		case !atStart && c != ',':
			return r.fatal(row, "found %q where ',' or ']' is expected between rows", c)
		case !atStart:
			s.pos++
			s.take()
			if err := s.skipSpace(""); err != nil {
				return err
			}
		}
		atStart = false
		text, line, err := s.nextJSON()
		row.Line = line
		if err == io.EOF {
			return r.fatal(row, "the file ends inside its array: it is cut off")
		}
		if err != nil {
			return err
		}
		row.text, row.decode = string(text), decodeJSON
		return nil
	}
	return nil
}

// onlyJSON decodes a file of one value.
func (r *Reader) onlyJSON(s *scanner) (v Value, line int64, err error) {
	text, line, err := s.nextJSON()
	if err != nil {
		return v, line, err
	}
	row := Row{File: r.path, Number: 1, Line: line, text: string(text)}
	if v, err = decodeJSON(&row); err != nil {
		return v, line, err
	}
	if err := s.skipSpace(""); err != nil {
		return v, s.line, err
	}
	c, more, err := s.peek()
	if more {
		err = r.fatal(&Row{File: r.path, Line: s.line}, "found %q behind the value; a path to the rows leads into a file of one object (format: jsonl reads one a line)", c)
	}
	return v, line, err
}

func (r *Reader) fatal(row *Row, format string, args ...any) error {
	e := row.Errorf("", format, args...)
	e.Fatal = true
	return e
}

// unreadable is an error of a file as a whole.
func (r *Reader) unreadable(line int64, err error) error {
	e := &Error{File: r.path, Line: line, What: "cannot read the file", Fatal: true, Err: err}
	var packed *unpack.Error
	if errors.As(err, &packed) {
		e.What, e.Err = packed.What, packed.Err
	}
	return e
}

// startList serves the items of the list at opt.Path inside one value.
func (r *Reader) startList(opt Options, load func() (Value, int64, error)) error {
	v, line, err := load()
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Fatal = true
			return e
		}
		row := Row{File: r.path, Line: line}
		if errors.Is(err, errTooLong) {
			return r.fatal(&row, "the file is longer than the limit of %d bytes (max_row)", opt.MaxRow)
		}
		return r.unreadable(line, err)
	}
	at := &v
	if opt.Path != "" {
		for _, name := range strings.Split(opt.Path, ".") {
			next, ok := at.Get(name)
			if !ok {
				return &Error{File: r.path, Column: opt.Path, What: fmt.Sprintf("there is no field %q on the path to the rows", name), Fatal: true}
			}
			at = next
		}
	}
	items := []Value{*at}
	if at.Kind == List {
		items = at.Items
	} else if opt.Path != "" {
		return &Error{File: r.path, Column: opt.Path, What: fmt.Sprintf("want a list of rows, found %s", at.Kind), Fatal: true}
	}
	r.next = func(row *Row) error {
		if row.Number > int64(len(items)) {
			return io.EOF
		}
		row.value = items[row.Number-1]
		return nil
	}
	return nil
}

func (r *Reader) startCSV(s *scanner, sep byte, quotes bool, opt Options) error {
	columns := opt.Columns
	if columns == nil {
		head, line, err := s.nextCSV(sep, quotes)
		if err == io.EOF {
			return &Error{File: r.path, What: "the file is empty; a header line with the names of the columns is expected", Fatal: true}
		}
		if err != nil {
			return &Error{File: r.path, Line: line, What: "cannot read the header line", Fatal: true, Err: err}
		}
		if columns, err = parseCSV(string(head), sep, quotes); err != nil {
			return &Error{File: r.path, Line: line, What: "cannot read the header line", Fatal: true, Err: err}
		}
	}
	decode := func(row *Row) (Value, error) {
		fields, err := parseCSV(row.text, sep, quotes)
		if err != nil {
			e := row.Errorf("", "broken record")
			e.Err = err
			return Value{}, e
		}
		if len(fields) != len(columns) {
			return Value{}, row.Errorf("", "%d fields, where the %d columns %s are expected", len(fields), len(columns), strings.Join(columns, ", "))
		}
		v := Value{Kind: Object, Names: columns, Items: make([]Value, len(fields))}
		for i, f := range fields {
			v.Items[i] = Value{Kind: String, Text: f}
		}
		return v, nil
	}
	r.next = func(row *Row) error {
		for {
			text, line, err := s.nextCSV(sep, quotes)
			row.Line = line
			if err != nil {
				return err
			}
			if len(text) == 0 {
				continue
			}
			row.text, row.decode = string(text), decode
			return nil
		}
	}
	return nil
}
