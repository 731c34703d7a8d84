// Package screentest is a small terminal for tests: it shows what Leo's escape
// sequences do, on a screen of a given size that scrolls. It knows only those
// that Leo writes, and remembers all others.
package screentest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// A Screen shows what is written to it.
type Screen struct {
	// Others are the control sequences that it doesn't know, in quoted form.
	Others []string
	// Scrolled are the rows that left at the top.
	Scrolled []string

	columns, rows int
	cells         [][]string // "" follows a wide character
	x, y          int
	styles        int
	held          string // the beginning of what is still to come
}

// New returns an empty screen.
func New(columns, rows int) *Screen {
	s := &Screen{columns: columns, rows: rows, cells: make([][]string, rows)}
	for i := range s.cells {
		s.cells[i] = s.blank()
	}
	return s
}

func (s *Screen) blank() []string {
	row := make([]string, s.columns)
	for i := range row {
		row[i] = " "
	}
	return row
}

// Write implements io.Writer. Characters and sequences may be split between calls.
func (s *Screen) Write(p []byte) (int, error) {
	text := s.held + string(p)
	s.held = ""
	for text != "" {
		if text[0] >= utf8.RuneSelf && !utf8.FullRuneInString(text) || text == "\x1b" {
			s.held = text
			return len(p), nil
		}
		switch c := text[0]; {
		case c == '\r':
			s.x = 0
		case c == '\n':
			s.newline()
		case c == 0x1b && len(text) > 1 && text[1] == '[':
			end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= 0x40 && r <= 0x7e })
			if end < 0 {
				s.held = text
				return len(p), nil
			}
			s.sequence(text[2:2+end], text[2+end])
			text = text[3+end:]
			continue
		case c < ' ' || c == 0x7f:
			s.Others = append(s.Others, strconv.Quote(text[:1]))
		default:
			cluster, _, width, _ := uniseg.FirstGraphemeClusterInString(text, -1)
			if strings.Contains(cluster, "\u009b") {
				s.Others = append(s.Others, strconv.Quote(cluster))
			}
			s.put(cluster, width)
			text = text[len(cluster):]
			continue
		}
		text = text[1:]
	}
	return len(p), nil
}

func (s *Screen) newline() {
	if s.y++; s.y < s.rows {
		return
	}
	s.y = s.rows - 1
	s.Scrolled = append(s.Scrolled, line(s.cells[0]))
	s.cells = append(s.cells[1:], s.blank())
}

func (s *Screen) put(cluster string, width int) {
	if s.x+width > s.columns {
		s.x = 0
		s.newline()
	}
	if width == 0 {
		return
	}
	s.cells[s.y][s.x] = cluster
	for i := 1; i < width; i++ {
		s.cells[s.y][s.x+i] = ""
	}
	s.x += width
}

func (s *Screen) sequence(parameters string, last byte) {
	n, err := strconv.Atoi(parameters)
	if err != nil || n == 0 {
		n = 1
	}
	switch last {
	case 'A':
		s.y = max(0, s.y-n)
	case 'B':
		s.y = min(s.rows-1, s.y+n)
	case 'C':
		s.x = min(s.columns-1, s.x+n)
	case 'D':
		s.x = max(0, min(s.x, s.columns-1)-n)
	case 'H':
		s.x, s.y = 0, 0
	case 'K':
		s.clear(s.y, s.x)
	case 'J':
		from := s.y + 1
		if parameters == "2" {
			from = 0
		} else {
			s.clear(s.y, s.x)
		}
		for y := from; y < s.rows; y++ {
			s.clear(y, 0)
		}
	case 'm':
		s.styles++
	case 'h', 'l': // cursor on and off, paste marks
	default:
		s.Others = append(s.Others, fmt.Sprintf("%q", "\x1b["+parameters+string(last)))
	}
}

func (s *Screen) clear(y, x int) {
	for ; x < s.columns; x++ {
		s.cells[y][x] = " "
	}
}

func line(cells []string) string { return strings.TrimRight(strings.Join(cells, ""), " ") }

// Text is what the screen shows, without empty rows at the end.
func (s *Screen) Text() string {
	var rows []string
	for _, c := range s.cells {
		rows = append(rows, line(c))
	}
	return strings.TrimRight(strings.Join(rows, "\n"), "\n")
}

// Cursor is where the next character goes.
func (s *Screen) Cursor() (x, y int) { return s.x, s.y }

// Styles counts the changes of color and weight so far.
func (s *Screen) Styles() int { return s.styles }
