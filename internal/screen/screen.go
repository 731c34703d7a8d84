// Package screen owns how text looks on a terminal: control characters that
// strangers put into model files and answers are written out instead of acted
// on, and long lines break between words by the width that they take. It does
// not own styles, keys or what is shown.
package screen

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"
)

// Harmless returns s with every character written out that a terminal would act
// on: C0 and C1 controls, DEL, overrides of the writing direction, bytes that are
// not UTF-8. Line feeds and tabs stay; a carriage return is never kept; in front of
// a line feed it is dropped.
func Harmless(s string) string { return harmless(s, "\n\t") }

// Line is Harmless for what must stay on one line: line feeds and tabs are written out too.
func Line(s string) string { return harmless(s, "") }

func harmless(s, keep string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return Acts(r) && !strings.ContainsRune(keep, r) || r == utf8.RuneError })
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for s = s[i:]; s != ""; {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case r == '\r' && keep != "" && strings.HasPrefix(s[1:], "\n"):
		case !Acts(r) || strings.ContainsRune(keep, r):
			b.WriteString(s[:n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ':
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			// JSON's way, so that JSON stays JSON: its encoder leaves these as they are.
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		s = s[n:]
	}
	return b.String()
}

// Acts reports whether a terminal does something at r instead of showing it.
func Acts(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// A Cleaner is Harmless for text in pieces.
type Cleaner struct {
	held string // the beginning of a character, or of a line end, whose rest is still to come
}

// Add takes the next piece and returns the text that is certain so far and was not returned yet.
func (c *Cleaner) Add(text string) string {
	text = c.held + text
	keep := len(text) - unfinished(text)
	c.held = text[keep:]
	return Harmless(text[:keep])
}

// End returns the rest.
func (c *Cleaner) End() string {
	rest := Harmless(c.held)
	c.held = ""
	return rest
}

// A Writer is standard output or standard error. What is written to it directly
// arrives harmless. It is safe for concurrent use.
type Writer struct {
	file     *os.File
	terminal bool

	mu   sync.Mutex
	text Cleaner
}

// New returns a writer to f.
func New(f *os.File) *Writer {
	return &Writer{file: f, terminal: term.IsTerminal(int(f.Fd()))}
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := io.WriteString(w.file, w.text.Add(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what Write holds back. Call it at the end.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.text.End()
	if rest == "" {
		return nil // the file may be closed by now: don't write to it
	}
	_, err := io.WriteString(w.file, rest)
	return err
}

// unfinished is the length of the end of text that means something else with what may follow.
func unfinished(text string) int {
	if n := len(text); n > 0 && text[n-1] == '\r' {
		return 1
	}
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if c := text[len(text)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRuneInString(text[len(text)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// Terminal reports whether a terminal shows what is written.
func (w *Writer) Terminal() bool { return w.terminal }

// Size is the width and height of the terminal, 80 columns and 24 rows if they are unknown.
func (w *Writer) Size() (columns, rows int) {
	if c, r, err := term.GetSize(int(w.file.Fd())); err == nil && c > 0 && r > 0 {
		return c, r
	}
	return 80, 24
}

// Raw is the writer for the caller's own escape sequences. Text that is not the
// caller's own must have gone through Harmless or Line.
func (w *Writer) Raw() io.Writer { return w.file }

// Exact is the writer for output that other programs read: byte for byte, unless a terminal shows it.
func (w *Writer) Exact() io.Writer {
	if w.terminal {
		return w
	}
	return w.file
}
