package screen

import (
	"fmt"
	"strings"

	"github.com/rivo/uniseg"
)

// A Wrapper breaks a stream of text between words, where Unicode (UAX 14) lets
// a line break. The text comes in pieces of any size and goes out at once; when
// a word reaches the margin, the part on the screen is erased, and the word
// begins the next row. The last column stays free: terminals differ in
// where the cursor is once it is taken.
//
// Its input holds no control characters but line feeds and tabs.
type Wrapper struct {
	columns int
	column  int    // where tail begins
	tail    string // what the row holds since the last place where it may break
	rows    int
}

// NewWrapper returns a Wrapper for a screen of the given width.
func NewWrapper(columns int) *Wrapper { return &Wrapper{columns: max(columns-1, 2)} }

// Rows is how many rows the current line has beyond its first.
func (w *Wrapper) Rows() int { return w.rows }

// Add returns what to write on the screen for the next piece of the text.
func (w *Wrapper) Add(text string) string {
	var out strings.Builder
	for {
		part, rest, ended := strings.Cut(text, "\n")
		w.add(&out, strings.ReplaceAll(part, "\t", "    "))
		if !ended {
			return out.String()
		}
		out.WriteByte('\n')
		w.column, w.tail, w.rows = 0, "", 0
		text = rest
	}
}

func (w *Wrapper) add(out *strings.Builder, text string) {
	if text == "" {
		return
	}
	shown := w.layOut(w.tail, w.column).rows[0]
	l := w.layOut(w.tail+text, w.column)
	if more, ok := strings.CutPrefix(l.rows[0], shown); ok {
		out.WriteString(more)
	} else {
		fmt.Fprintf(out, "\x1b[%dD\x1b[K%s", uniseg.StringWidth(shown), l.rows[0])
	}
	for _, row := range l.rows[1:] {
		out.WriteByte('\n')
		out.WriteString(row)
	}
	w.rows += len(l.rows) - 1
	w.column, w.tail = l.column, l.tail
}

// layout is a text in rows. Its last unbreakable part is tail, which begins at column of the last row.
type layout struct {
	rows   []string
	column int
	tail   string
}

// layOut places text after the column that the row has reached.
func (w *Wrapper) layOut(text string, column int) layout {
	l := layout{rows: []string{""}, column: column}
	next := func() {
		l.rows = append(l.rows, "")
		column = 0
	}
	for state := -1; text != ""; {
		var part string
		part, text, _, state = uniseg.FirstLineSegmentInString(text, state)
		if column > 0 && column+uniseg.StringWidth(strings.TrimRight(part, " ")) > w.columns {
			next()
		}
		l.column, l.tail = column, part
		for clusters := uniseg.NewGraphemes(part); clusters.Next(); {
			c := clusters.Str()
			if column+clusters.Width() > w.columns {
				if c == " " {
					continue // the break stands for it
				}
				if column > 0 {
					next()
					from, _ := clusters.Positions()
					l.column, l.tail = 0, part[from:]
				}
			}
			l.rows[len(l.rows)-1] += c
			column += clusters.Width()
		}
	}
	return l
}

// Wrap breaks a whole line, in which sequences ESC[…m may style the text.
func Wrap(styled string, columns int) string {
	var plain strings.Builder
	for s := styled; s != ""; {
		n := styleLen(s)
		if n == 0 {
			n = 1
			plain.WriteByte(s[0])
		}
		s = s[n:]
	}
	wrapped := NewWrapper(columns).Add(plain.String())
	var out strings.Builder
	for s := strings.ReplaceAll(styled, "\t", "    "); s != ""; {
		switch n := styleLen(s); {
		case n > 0:
			out.WriteString(s[:n])
			s = s[n:]
		case wrapped != "" && wrapped[0] == s[0]:
			out.WriteByte(s[0])
			s, wrapped = s[1:], wrapped[1:]
		case wrapped != "" && wrapped[0] == '\n':
			out.WriteByte('\n')
			wrapped = wrapped[1:]
		default:
			s = s[1:] // a space at the margin
		}
	}
	return out.String()
}

// styleLen is the length of the sequence ESC[…m that s begins with, or 0.
func styleLen(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	return strings.IndexByte(s, 'm') + 1
}

// Width is the number of columns that a line takes.
func Width(s string) int { return uniseg.StringWidth(s) }
