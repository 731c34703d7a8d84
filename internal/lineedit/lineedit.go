// Package lineedit owns typing on a terminal: a text of one or several lines
// that is edited in place, with earlier texts one key away. It knows grapheme
// clusters, wide characters and marked ("bracketed") paste, and asks the
// terminal nothing, so that it works on those that don't answer. It does not own
// what the text means or where earlier texts are kept.
//
// The keys are those of Emacs and readline, beside arrows, Home, End and Delete
// in the forms that xterm, rxvt, tmux, the Linux console and Windows send.
package lineedit

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"leolm/internal/screen"
)

// ErrInterrupted is what Read returns after Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// A History is earlier texts, the oldest first.
type History interface {
	Len() int
	Line(i int) string
}

// An Editor reads texts from a terminal. Input typed between Reads is kept for the next.
type Editor struct {
	// More reports whether a text goes on: Enter then begins a new line instead of ending it. It may be nil.
	More func(text string) bool
	// History may be nil.
	History History

	in   *os.File
	out  io.Writer
	size func() (columns, rows int)

	input   []byte // read and not handled yet
	killed  string
	lines   *bufio.Reader // instead of all this on a dumb terminal
	scratch [4096]byte
}

// New returns an editor for a terminal. Escape sequences go to out as they are.
func New(in *os.File, out io.Writer) *Editor {
	e := &Editor{in: in, out: out}
	e.size = func() (int, int) {
		if c, r, err := term.GetSize(int(in.Fd())); err == nil && c > 0 && r > 0 {
			return c, r
		}
		return 80, 24
	}
	if os.Getenv("TERM") == "dumb" {
		e.lines = bufio.NewReader(in)
	}
	return e
}

// PasteOff ends the marking of pasted text, for programs that end in the middle of a Read.
const PasteOff = "\x1b[?2004l"

const pasteOn = "\x1b[?2004h"

// Read shows the prompt and returns what is typed up to Enter. It returns
// io.EOF after Ctrl-D on an empty text or when the terminal is gone, and
// ErrInterrupted, with the text so far, after Ctrl-C.
func (e *Editor) Read(prompt string) (string, error) {
	if e.lines != nil {
		return e.readPlain(prompt)
	}
	old, err := term.MakeRaw(int(e.in.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(e.in.Fd()), old)
	defer io.WriteString(e.out, PasteOff)
	return e.edit(prompt, func() error {
		n, _ := e.in.Read(e.scratch[:])
		e.input = append(e.input, e.scratch[:n]...)
		if n > 0 {
			return nil
		}
		return io.EOF // a terminal that was closed gives other errors
	})
}

// edit is Read on a terminal in raw mode; fill adds to e.input.
func (e *Editor) edit(prompt string, fill func() error) (string, error) {
	s := &session{e: e, prompt: prompt}
	if e.History != nil {
		s.at = e.History.Len()
	}
	s.write(pasteOn)
	s.draw()
	for {
		k, n := nextKey(e.input)
		if n == 0 {
			s.draw()
			if err := fill(); err != nil {
				s.leave("")
				return "", err
			}
			continue
		}
		e.input = e.input[n:]
		if done, err := s.key(k); done {
			return s.text, err
		}
	}
}

func (e *Editor) readPlain(prompt string) (string, error) {
	var text strings.Builder
	for {
		if _, err := io.WriteString(e.out, prompt); err != nil {
			return "", err
		}
		line, err := e.lines.ReadString('\n')
		text.WriteString(line)
		if err == nil && e.More != nil && e.More(text.String()) {
			continue
		}
		if errors.Is(err, io.EOF) && text.Len() > 0 {
			err = nil
		}
		return strings.TrimRight(text.String(), "\r\n"), err
	}
}

// session is one Read.
type session struct {
	e      *Editor
	prompt string

	text string
	pos  int // of the cursor, in bytes

	at    int    // in the history; its length is the text being written
	draft string // that text while another is shown
	goal  int    // column that Up and Down keep to, when the last key was one of them
	moved bool   // the last key was Up or Down

	search  bool
	pattern string

	drawn   string // what the screen shows, to leave out a drawing that changes nothing
	row     int    // of the cursor on the screen, from the first row drawn
	columns int
}

func (s *session) write(text string) { _, _ = io.WriteString(s.e.out, text) }

// key handles a key; done ends the Read.
func (s *session) key(k key) (done bool, err error) {
	if s.search && s.searchKey(k) {
		return false, nil
	}
	wasMoved := s.moved
	s.moved = false
	switch k.name {
	case keyText:
		s.insert(k.text)
	case keyPaste:
		s.insert(strings.TrimRight(k.text, "\n"))
	case keyEnter:
		if s.e.More != nil && s.e.More(s.text) {
			s.pos = len(s.text)
			s.insert("\n")
			return false, nil
		}
		s.leave("")
		return true, nil
	case keyNewline:
		s.insert("\n")
	case keyInterrupt:
		s.leave("^C")
		return true, ErrInterrupted
	case keyDelete, keyEOF:
		if k.name == keyEOF && s.text == "" {
			s.leave("")
			return true, io.EOF
		}
		s.cut(s.pos, after(s.text, s.pos), false)
	case keyBackspace:
		s.cut(before(s.text, s.pos), s.pos, false)
	case keyLeft:
		s.pos = before(s.text, s.pos)
	case keyRight:
		s.pos = after(s.text, s.pos)
	case keyWordLeft:
		s.pos = wordBefore(s.text, s.pos)
	case keyWordRight:
		s.pos = wordAfter(s.text, s.pos)
	case keyHome:
		s.pos = s.lineStart()
	case keyEnd:
		s.pos = s.lineEnd()
	case keyUp, keyDown:
		s.vertical(k.name == keyUp, wasMoved)
	case keyOlder:
		s.recall(s.at - 1)
	case keyNewer:
		s.recall(s.at + 1)
	case keyKillWord:
		s.cut(spaceBefore(s.text, s.pos), s.pos, true)
	case keyKillWordLeft:
		s.cut(wordBefore(s.text, s.pos), s.pos, true)
	case keyKillWordRight:
		s.cut(s.pos, wordAfter(s.text, s.pos), true)
	case keyKillStart:
		s.cut(s.lineStart(), s.pos, true)
	case keyKillEnd:
		end := s.lineEnd()
		if end == s.pos && end < len(s.text) {
			end++ // the line break itself
		}
		s.cut(s.pos, end, true)
	case keyYank:
		s.insert(s.e.killed)
	case keySwap:
		s.swap()
	case keyClear:
		s.write("\x1b[H\x1b[2J")
		s.row, s.drawn = 0, ""
	case keySearch:
		s.search, s.pattern = true, ""
	}
	return false, nil
}

// insert puts text at the cursor.
func (s *session) insert(text string) {
	s.text = s.text[:s.pos] + text + s.text[s.pos:]
	s.pos += len(text)
}

// cut takes a part out; keep puts it where Ctrl-Y finds it.
func (s *session) cut(from, to int, keep bool) {
	if keep && from < to {
		s.e.killed = s.text[from:to]
	}
	s.text = s.text[:from] + s.text[to:]
	s.pos = from
}

// swap exchanges the characters around the cursor, or the last two at the end of a line.
func (s *session) swap() {
	mid := s.pos
	if mid == s.lineEnd() {
		mid = before(s.text, mid)
	}
	from, to := before(s.text, mid), after(s.text, mid)
	if from >= mid || mid >= to || from < s.lineStart() {
		return
	}
	s.text = s.text[:from] + s.text[mid:to] + s.text[from:mid] + s.text[to:]
	s.pos = to
}

func (s *session) lineStart() int { return strings.LastIndexByte(s.text[:s.pos], '\n') + 1 }

func (s *session) lineEnd() int {
	if n := strings.IndexByte(s.text[s.pos:], '\n'); n >= 0 {
		return s.pos + n
	}
	return len(s.text)
}

// vertical moves by a row of the screen, and beyond the first and last to other texts of the history.
func (s *session) vertical(up, again bool) {
	p := s.place()
	to := p.row + 1
	if up {
		to = p.row - 1
	}
	if to < 0 || to >= len(p.rows) {
		if up {
			s.recall(s.at - 1)
		} else {
			s.recall(s.at + 1)
		}
		return
	}
	if !again {
		s.goal = p.column
	}
	s.pos, s.moved = p.rows[to].at(s.goal), true
}

// recall shows a text of the history.
func (s *session) recall(i int) {
	h := s.e.History
	if h == nil || i < 0 || i > h.Len() {
		return
	}
	if s.at == h.Len() {
		s.draft = s.text
	}
	s.at = i
	if i == h.Len() {
		s.text = s.draft
	} else {
		s.text = clean(h.Line(i))
	}
	s.pos = len(s.text)
}

// searchKey handles a key while a text of the history is looked for; false: it ends the search and has its usual meaning.
func (s *session) searchKey(k key) bool {
	switch k.name {
	case keyText:
		s.pattern += k.text
		s.find(s.at)
	case keyBackspace:
		s.pattern = s.pattern[:before(s.pattern, len(s.pattern))]
		if s.e.History != nil {
			s.find(s.e.History.Len() - 1)
		}
	case keySearch:
		s.find(s.at - 1)
	case keyCancel:
		s.search = false
		if s.e.History != nil {
			s.recall(s.e.History.Len())
		}
	case keyInterrupt, keyEnter:
		s.search = false
		return false
	default:
		s.search = false
		return false
	}
	return true
}

// find shows the newest text with the pattern in it, from i backwards.
func (s *session) find(i int) {
	h := s.e.History
	if h == nil || s.pattern == "" {
		return
	}
	for i = min(i, h.Len()-1); i >= 0; i-- {
		if n := strings.Index(h.Line(i), s.pattern); n >= 0 {
			s.recall(i)
			s.pos = min(len(s.text), max(0, strings.Index(s.text, s.pattern)))
			return
		}
	}
}

// leave draws the whole text for the last time, and puts the cursor below it.
func (s *session) leave(mark string) {
	s.search = false
	s.pos = len(s.text)
	s.drawAll(mark)
	s.write("\r\n")
}

// clean is text without what a line can't show. Bytes that are not UTF-8 become U+FFFD.
func clean(text string) string {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\t", " ").Replace(text)
	return strings.Map(func(r rune) rune {
		if r != '\n' && screen.Acts(r) {
			return -1
		}
		return r
	}, text)
}
