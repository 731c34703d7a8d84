package rows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// scanner cuts a byte stream into rows. Its buffer holds one row at a time
// and never grows beyond limit.
type scanner struct {
	src   io.Reader
	buf   []byte
	start int // of the row being cut
	pos   int // next byte to look at
	limit int
	line  int64 // line number at start
	err   error // sticky error of src; io.EOF at the end
}

func newScanner(src io.Reader, limit int) *scanner {
	return &scanner{src: src, buf: make([]byte, 0, 256<<10), limit: limit, line: 1}
}

var errTooLong = errors.New("row too long")

// fill reads more bytes behind the row being cut. It returns false at the end
// of the stream, on an error (in s.err), and when the row has reached the
// limit.
func (s *scanner) fill() (bool, error) {
	if s.err != nil {
		return false, nil
	}
	if s.start > 0 {
		n := copy(s.buf, s.buf[s.start:])
		s.buf = s.buf[:n]
		s.pos -= s.start
		s.start = 0
	}
	if len(s.buf) >= s.limit {
		return false, errTooLong
	}
	if len(s.buf) == cap(s.buf) {
		grown := make([]byte, len(s.buf), min(2*cap(s.buf), s.limit))
		copy(grown, s.buf)
		s.buf = grown
	}
	n, err := s.src.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if err != nil {
		s.err = err
	}
	return n > 0 || s.err == nil, nil
}

// take returns the bytes from the row's start to the cursor and starts the
// next row there.
func (s *scanner) take() (row []byte, line int64) {
	row, line = s.buf[s.start:s.pos], s.line
	s.line += int64(bytes.Count(row, []byte{'\n'}))
	s.start = s.pos
	return row, line
}

// ended reports whether the stream ended cleanly, else why not.
func (s *scanner) ended() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// nextLine cuts one line, without its line ending. It returns io.EOF at the
// end. After errTooLong the rest of the line has been passed over.
func (s *scanner) nextLine() (row []byte, line int64, err error) {
	for {
		if i := bytes.IndexByte(s.buf[s.pos:], '\n'); i >= 0 {
			s.pos += i + 1
			row, line = s.take()
			return trimNewline(row), line, nil
		}
		s.pos = len(s.buf)
		more, err := s.fill()
		if err != nil {
			line = s.line
			return nil, line, s.skipLine()
		}
		if more {
			continue
		}
		if err := s.ended(); err != nil {
			return nil, s.line, err
		}
		if s.start == len(s.buf) {
			return nil, s.line, io.EOF
		}
		row, line = s.take()
		return trimNewline(row), line, nil
	}
}

// skipLine passes over the rest of a line that is too long.
func (s *scanner) skipLine() error {
	for {
		if i := bytes.IndexByte(s.buf[s.pos:], '\n'); i >= 0 {
			s.pos += i + 1
			s.take()
			return errTooLong
		}
		s.pos = len(s.buf)
		s.take()
		if more, _ := s.fill(); !more {
			if err := s.ended(); err != nil {
				return err
			}
			return errTooLong
		}
	}
}

func trimNewline(row []byte) []byte {
	row = bytes.TrimSuffix(row, []byte{'\n'})
	return bytes.TrimSuffix(row, []byte{'\r'})
}

// peek returns the byte at the cursor, reading on if needed.
func (s *scanner) peek() (byte, bool, error) {
	for s.pos >= len(s.buf) {
		more, err := s.fill()
		if err != nil {
			return 0, false, err
		}
		if !more && s.pos >= len(s.buf) {
			return 0, false, s.ended()
		}
	}
	return s.buf[s.pos], true, nil
}

// skipSpace drops space, and every byte of also, before the next row.
func (s *scanner) skipSpace(also string) error {
	for {
		c, ok, err := s.peek()
		if err != nil || !ok {
			return err
		}
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' && strings.IndexByte(also, c) < 0 {
			return nil
		}
		s.pos++
		s.take()
	}
}

// errUnclosed says that the file ends inside a JSON value.
var errUnclosed = errors.New("the file ends inside this row")

// nextJSON cuts one JSON value by matching brackets and quotes only; its
// grammar is checked when the row is decoded. It returns io.EOF where no
// value starts.
func (s *scanner) nextJSON() (row []byte, line int64, err error) {
	depth, inText := 0, false
	first, ok, err := s.peek()
	if err != nil {
		return nil, s.line, err
	}
	if !ok {
		return nil, s.line, io.EOF
	}
	if strings.IndexByte(",:]}", first) >= 0 {
		return nil, s.line, fmt.Errorf("found %q where a value is expected", first)
	}
	scalar := first != '{' && first != '[' && first != '"'
	for {
		for s.pos < len(s.buf) {
			c := s.buf[s.pos]
			if inText {
				switch c {
				case '\\':
					// The escaped byte may not be read yet.
					if s.pos+1 >= len(s.buf) {
						goto more
					}
					s.pos++
				case '"':
					inText = false
					if depth == 0 {
						s.pos++
						row, line = s.take()
						return row, line, nil
					}
				}
				s.pos++
				continue
			}
			switch c {
			case '"':
				inText = true
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					s.pos++
					row, line = s.take()
					return row, line, nil
				}
			}
			if scalar && (c == ',' || c == ']' || c == '}' || c == '\n') {
				row, line = s.take()
				return row, line, nil
			}
			s.pos++
		}
	more:
		ok, err := s.fill()
		if err != nil {
			return nil, s.line, err
		}
		if !ok {
			if err := s.ended(); err != nil {
				return nil, s.line, err
			}
			if scalar {
				s.pos = len(s.buf)
				row, line = s.take()
				return row, line, nil
			}
			return nil, s.line, errUnclosed
		}
	}
}

// nextCSV cuts one record: to the first line end outside of quotes.
func (s *scanner) nextCSV(sep byte, quotes bool) (row []byte, line int64, err error) {
	if !quotes {
		return s.nextLine()
	}
	const (
		fieldStart = iota
		plain
		inQuotes
		afterQuotes // a quote here is the second of a doubled one
	)
	state := fieldStart
	for {
		for ; s.pos < len(s.buf); s.pos++ {
			c := s.buf[s.pos]
			switch {
			case state == inQuotes:
				if c == '"' {
					state = afterQuotes
				}
			case c == '\n':
				s.pos++
				row, line = s.take()
				return trimNewline(row), line, nil
			case c == '"' && state != plain:
				state = inQuotes
			case c == sep:
				state = fieldStart
			default:
				state = plain
			}
		}
		more, err := s.fill()
		if err != nil {
			return nil, s.line, err
		}
		if more {
			continue
		}
		if err := s.ended(); err != nil {
			return nil, s.line, err
		}
		if s.start == len(s.buf) {
			return nil, s.line, io.EOF
		}
		if state == inQuotes {
			return nil, s.line, errUnclosed
		}
		row, line = s.take()
		return trimNewline(row), line, nil
	}
}

// parseCSV splits a record into fields (RFC 4180, with quotes in the middle
// of an unquoted field taken as they are).
func parseCSV(s string, sep byte, quotes bool) ([]string, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("text is not valid UTF-8")
	}
	var fields []string
	for at := 0; ; {
		if quotes && at < len(s) && s[at] == '"' {
			var b strings.Builder
			i := at + 1
			for {
				end := strings.IndexByte(s[i:], '"')
				if end < 0 {
					return nil, fmt.Errorf("field %d: the closing quote is missing", len(fields)+1)
				}
				b.WriteString(s[i : i+end])
				i += end + 1
				if i >= len(s) || s[i] != '"' {
					break
				}
				b.WriteByte('"')
				i++
			}
			fields = append(fields, b.String())
			if i >= len(s) {
				return fields, nil
			}
			if s[i] != sep {
				return nil, fmt.Errorf("field %d: found %q after the closing quote, where %q is expected", len(fields), s[i], sep)
			}
			at = i + 1
			continue
		}
		end := strings.IndexByte(s[at:], sep)
		if end < 0 {
			return append(fields, s[at:]), nil
		}
		fields = append(fields, s[at:at+end])
		at += end + 1
	}
}
