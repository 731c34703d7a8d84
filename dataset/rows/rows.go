// Package rows reads the rows of data files: Parquet, JSON, JSON lines, CSV,
// TSV and YAML, each also compressed with gzip or zstd.
//
// It owns: finding a file's format and compression, cutting the file into
// rows with bounded memory, decoding a row into a Value, and saying exactly
// where something is wrong. Cutting is sequential and cheap; decoding
// (Row.Value) may run in any goroutine. It does not own what a row means:
// that is package dataset.
package rows

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Object
	Binary
)

// String names the kind with its article, as error messages need it.
func (k Kind) String() string {
	return [...]string{"nothing", "a truth value", "a number", "text", "a list", "an object", "bytes that are not UTF-8"}[k]
}

// Value is a decoded cell, list or row.
type Value struct {
	Kind  Kind
	Text  string   // String: the text; Number and Bool: as written; Null: if Plain; Binary: the bytes
	Names []string // Object: the names of Items, in file order
	Items []Value  // List and Object
	// Plain is of a YAML value that is no String but written without quotes, as
	// YAML's texts are: where text is wanted, Text is it.
	Plain bool
}

// Get returns the field of an object. Of fields with the same name the last
// one counts, as in Python's json.
func (v *Value) Get(name string) (*Value, bool) {
	for i := len(v.Names) - 1; i >= 0; i-- {
		if v.Names[i] == name {
			return &v.Items[i], true
		}
	}
	return nil, false
}

// AsText is the value where text is wanted: a text, or what YAML writes without
// quotes.
func (v *Value) AsText() (string, bool) { return v.Text, v.Kind == String || v.Plain }

// Row is one row of a file, not yet decoded where that takes time.
type Row struct {
	File   string
	Number int64 // from 1, within the file
	Line   int64 // line of the file where the row starts, from 1; 0 if the format has none

	text   string
	decode func(*Row) (Value, error)
	value  Value
}

// Value decodes the row. It may be called from any goroutine. An error is an
// *Error that names the row.
func (r *Row) Value() (Value, error) {
	if r.decode == nil {
		return r.value, nil
	}
	return r.decode(r)
}

// Errorf returns an error about this row. Column may be empty.
func (r *Row) Errorf(column, format string, args ...any) *Error {
	return &Error{File: r.File, Row: r.Number, Line: r.Line, Column: column, What: fmt.Sprintf(format, args...)}
}

// Object is an error if v, the row's value, is no object with named columns.
func (r *Row) Object(v *Value) error {
	if v.Kind != Object {
		return r.Errorf("", "want an object with named columns, found %s", v.Kind)
	}
	return nil
}

// Each calls f for every row, until an error of the reader or of f.
func Each(r *Reader, f func(*Row) error) error {
	for {
		var row Row
		err := r.Next(&row)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f(&row)
		}
		if err != nil {
			return err
		}
	}
}

// Error says what is wrong with a file, and where.
type Error struct {
	File   string
	Row    int64  // from 1; 0 if the whole file is meant
	Line   int64  // from 1; 0 if unknown
	Column string // name of the column or path inside the row, or ""
	What   string // what was found and what was expected
	Fatal  bool   // the rows that follow cannot be read
	Err    error  // underlying error, or nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Row > 0 {
		fmt.Fprintf(&b, ": row %d", e.Row)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, " (line %d)", e.Line)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ", column %q", e.Column)
	}
	b.WriteString(": ")
	b.WriteString(e.What)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// AppendJSON appends the value as JSON, fields in their order. Numbers and
// truth values come out as they were written, bytes in base64.
func (v *Value) AppendJSON(b []byte) []byte {
	switch v.Kind {
	case Null:
		return append(b, "null"...)
	case String:
		return appendString(b, v.Text)
	case Binary:
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), []byte(v.Text)), '"')
	case List:
		b = append(b, '[')
		for i := range v.Items {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = v.Items[i].AppendJSON(b)
		}
		return append(b, ']')
	case Object:
		b = append(b, '{')
		for i := range v.Items {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(appendString(b, v.Names[i]), ": "...)
			b = v.Items[i].AppendJSON(b)
		}
		return append(b, '}')
	case Bool:
		return append(b, strings.ToLower(v.Text)...)
	}
	if v.Plain && !json.Valid([]byte(v.Text)) { // 0431, 1_000, 0x1f, .inf
		return appendString(b, v.Text)
	}
	return append(b, v.Text...)
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
