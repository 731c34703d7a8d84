package lineedit

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"leolm/internal/screen"
)

// row is a row of the screen with a part of the text.
type row struct {
	shown  string // with the prompt or the space under it
	indent int
	start  int // of its text
	text   string
}

// at is the position of the text at a column.
func (r *row) at(column int) int {
	pos, x := r.start, r.indent
	rest, state := r.text, -1
	for rest != "" {
		var c string
		var width int
		c, rest, width, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if x+width > column {
			break
		}
		x += width
		pos += len(c)
	}
	return pos
}

// placed is the text in rows, and where the cursor is.
type placed struct {
	rows        []row
	row, column int
}

// place lays the text out. The last column stays free, because terminals differ in where the cursor is after it.
func (s *session) place() placed {
	width, _ := s.e.size()
	width = max(width-1, 2)
	prompt := s.prompt
	if s.search {
		prompt = fmt.Sprintf("(search %q) ", s.pattern)
	}
	indent := screen.Width(prompt)
	if indent > width/2 {
		indent = 0 // the text begins below the prompt
	}
	var p placed
	lead := strings.Repeat(" ", indent)
	if indent == 0 && prompt != "" {
		for _, part := range strings.Split(screen.Wrap(prompt, width+1), "\n") {
			p.rows = append(p.rows, row{shown: part})
		}
	} else {
		lead = prompt
	}
	at := 0
	for i, line := range strings.SplitAfter(s.text, "\n") {
		if i > 0 {
			lead = strings.Repeat(" ", indent)
		}
		r := row{shown: lead, indent: indent, start: at}
		x := indent
		mark := func() {
			if at == s.pos {
				p.row, p.column = len(p.rows), x
			}
		}
		body := strings.TrimSuffix(line, "\n")
		for state := -1; body != ""; {
			var c string
			var w int
			c, body, w, state = uniseg.FirstGraphemeClusterInString(body, state)
			if x+w > width && x > indent {
				p.rows = append(p.rows, r)
				r = row{shown: strings.Repeat(" ", indent), indent: indent, start: at}
				x = indent
			}
			mark()
			r.shown += c
			r.text += c
			x += w
			at += len(c)
		}
		mark()
		p.rows = append(p.rows, r)
		at = r.start + len(r.text)
		if strings.HasSuffix(line, "\n") {
			at++
		}
	}
	return p
}

// draw shows the text; of one that is higher than the screen, the rows around the cursor.
func (s *session) draw() {
	p := s.place()
	_, height := s.e.size()
	first, last := 0, len(p.rows)
	if height = max(height-1, 1); last > height {
		first = min(max(0, p.row-height/2), last-height)
		last = first + height
	}
	var b strings.Builder
	for i, r := range p.rows[first:last] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(r.shown)
	}
	if up := last - 1 - p.row; up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteByte('\r')
	if p.column > 0 {
		fmt.Fprintf(&b, "\x1b[%dC", p.column)
	}
	s.show(b.String(), p.row-first)
}

// drawAll shows the whole text and a mark after it.
func (s *session) drawAll(mark string) {
	p := s.place()
	var b strings.Builder
	for i, r := range p.rows {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(r.shown)
	}
	b.WriteString(mark)
	s.show(b.String(), len(p.rows)-1)
}

// show puts a drawing in the place of the one before.
func (s *session) show(drawing string, cursorRow int) {
	columns, _ := s.e.size()
	if drawing == s.drawn && columns == s.columns {
		return
	}
	back := "\r"
	if s.row > 0 {
		back += fmt.Sprintf("\x1b[%dA", s.row)
	}
	s.write("\x1b[?25l" + back + "\x1b[J" + drawing + "\x1b[?25h")
	s.drawn, s.row, s.columns = drawing, cursorRow, columns
}

// before is the position of the character in front of pos.
func before(text string, pos int) int {
	// Clusters do not cross line breaks.
	start := strings.LastIndexByte(text[:pos], '\n') + 1
	if start == pos {
		return max(0, pos-1)
	}
	last := start
	for rest, state := text[start:pos], -1; rest != ""; {
		var c string
		c, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if rest != "" {
			last += len(c)
		}
	}
	return last
}

// after is the position after the character at pos.
func after(text string, pos int) int {
	c, _, _, _ := uniseg.FirstGraphemeClusterInString(text[pos:], -1)
	return pos + len(c)
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// backOver goes back over characters that are not of a kind, then over those that are.
func backOver(text string, pos int, kind func(rune) bool) int {
	for _, inside := range []bool{false, true} {
		for pos > 0 {
			r, n := utf8.DecodeLastRuneInString(text[:pos])
			if kind(r) != inside {
				break
			}
			pos -= n
		}
	}
	return pos
}

func wordBefore(text string, pos int) int { return backOver(text, pos, isWord) }

func spaceBefore(text string, pos int) int {
	return backOver(text, pos, func(r rune) bool { return !unicode.IsSpace(r) })
}

func wordAfter(text string, pos int) int {
	for _, inside := range []bool{false, true} {
		for pos < len(text) {
			r, n := utf8.DecodeRuneInString(text[pos:])
			if isWord(r) != inside {
				break
			}
			pos += n
		}
	}
	return pos
}
