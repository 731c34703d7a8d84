package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"leolm/internal/screen"
)

// display shows an answer as it is written.
type display interface {
	write(text string) error
	end() error // ends the last line
}

// newDisplay returns the display for standard output: exact bytes, or Markdown on a terminal.
func newDisplay(cmd *cobra.Command, plain, wrap bool) display {
	if s, ok := cmd.OutOrStdout().(*screen.Writer); ok && s.Terminal() {
		return newMarkdown(s, plain, wrap)
	}
	return exactDisplay{exactWriter(cmd)}
}

type exactDisplay struct{ w io.Writer }

func (d exactDisplay) write(text string) error {
	_, err := io.WriteString(d.w, text)
	return err
}

func (d exactDisplay) end() error { return d.write("\n") }

// markdown shows streamed Markdown on a terminal. Text appears as it arrives, wrapped between words. A complete line is
// rewritten with emphasis, code and headings styled: nothing is held back, and other lines never flicker.
type markdown struct {
	w       *screen.Writer
	plain   bool // no styles
	wrap    bool
	text    screen.Cleaner
	wrapper *screen.Wrapper // of the current line; nil if it is not wrapped
	columns int             // when the line began
	line    strings.Builder
	code    bool // inside a fenced block
}

func newMarkdown(w *screen.Writer, plain, wrap bool) *markdown {
	dumb := os.Getenv("TERM") == "dumb"
	return &markdown{w: w, plain: plain || dumb || os.Getenv("NO_COLOR") != "", wrap: wrap && !dumb}
}

func (m *markdown) write(text string) error { return m.show(m.text.Add(text)) }

func (m *markdown) show(text string) error {
	for text != "" {
		part, rest, ended := strings.Cut(text, "\n")
		if err := m.add(part); err != nil {
			return err
		}
		if ended {
			if err := m.finish(); err != nil {
				return err
			}
		}
		text = rest
	}
	return nil
}

// add shows more of the current line.
func (m *markdown) add(part string) error {
	if part == "" {
		return nil
	}
	if m.line.Len() == 0 {
		m.columns, _ = m.w.Size()
		m.wrapper = nil
		if m.wrap && !m.code {
			m.wrapper = screen.NewWrapper(m.columns)
		}
	}
	m.line.WriteString(part)
	if m.wrapper != nil {
		part = m.wrapper.Add(part)
	}
	_, err := io.WriteString(m.w.Raw(), part)
	return err
}

// finish ends the current line. It restyles the line if that changes anything and all its rows are still on the screen.
func (m *markdown) finish() error {
	line := m.line.String()
	m.line.Reset()
	if err := m.restyle(line); err != nil {
		return err
	}
	_, err := io.WriteString(m.w.Raw(), "\n")
	return err
}

func (m *markdown) restyle(line string) error {
	if m.plain || line == "" {
		return nil
	}
	styled := m.style(line)
	columns, rows := m.w.Size()
	if styled == line || columns != m.columns {
		return nil
	}
	up := ""
	switch {
	case m.wrapper == nil && screen.Width(line) >= columns:
		return nil // the terminal wrapped it somewhere
	case m.wrapper == nil:
	case m.wrapper.Rows() >= rows-1:
		return nil
	default:
		if n := m.wrapper.Rows(); n > 0 {
			up = fmt.Sprintf("\x1b[%dA", n)
		}
		styled = screen.Wrap(styled, columns)
	}
	_, err := fmt.Fprintf(m.w.Raw(), "\r%s\x1b[J%s", up, styled)
	return err
}

func (m *markdown) end() error {
	err := m.show(m.text.End())
	if ferr := m.finish(); err == nil {
		err = ferr
	}
	m.code = false
	return err
}

var (
	heading  = regexp.MustCompile(`^#{1,6} +(.*)$`)
	bullet   = regexp.MustCompile(`^(\s*)[-*+] +`)
	strong   = regexp.MustCompile(`\*\*([^*\s](?:[^*]*[^*\s])?)\*\*`)
	emphasis = regexp.MustCompile(`(^|[\s(])[*_]([^*_\s](?:[^*_]*[^*_\s])?)[*_]`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
)

// style returns the line with terminal escape sequences.
func (m *markdown) style(line string) string {
	if strings.HasPrefix(strings.TrimSpace(line), "```") {
		m.code = !m.code
		return "\x1b[2m" + line + "\x1b[0m"
	}
	if m.code {
		return "\x1b[36m" + line + "\x1b[0m"
	}
	if h := heading.FindStringSubmatch(line); h != nil {
		return "\x1b[1m" + h[1] + "\x1b[0m"
	}
	line = bullet.ReplaceAllString(line, "$1• ")
	line = codeSpan.ReplaceAllString(line, "\x1b[36m$1\x1b[39m")
	line = strong.ReplaceAllString(line, "\x1b[1m$1\x1b[22m")
	return emphasis.ReplaceAllString(line, "$1\x1b[3m$2\x1b[23m")
}
