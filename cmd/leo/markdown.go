package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"leolm/internal/durable"
)

// markdown shows streamed Markdown on a terminal. Text appears as it comes;
// when a line is complete it is written again with emphasis, code and headings
// styled, so nothing is held back and nothing flickers across lines.
type markdown struct {
	w     io.Writer
	plain bool
	line  strings.Builder
	code  bool // inside a fenced block
}

func newMarkdown(w io.Writer, plain bool) *markdown {
	return &markdown{w: w, plain: plain || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"}
}

func (m *markdown) write(text string) error {
	if m.plain {
		_, err := io.WriteString(m.w, text)
		return err
	}
	for text != "" {
		part, rest, ended := strings.Cut(text, "\n")
		m.line.WriteString(part)
		if _, err := io.WriteString(m.w, part); err != nil {
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

// finish ends the current line, restyled if that changes it and it fits one row of the screen.
func (m *markdown) finish() error {
	line := m.line.String()
	m.line.Reset()
	if styled := m.style(line); styled != line && len([]rune(line)) < columns(m.w) {
		if _, err := fmt.Fprintf(m.w, "\r\x1b[2K%s", styled); err != nil {
			return err
		}
	}
	_, err := io.WriteString(m.w, "\n")
	return err
}

func (m *markdown) end() {
	if m.plain {
		fmt.Fprintln(m.w)
		return
	}
	m.finish()
	m.code = false
}

var (
	heading  = regexp.MustCompile(`^#{1,6} +(.*)$`)
	bullet   = regexp.MustCompile(`^(\s*)[-*+] +`)
	strong   = regexp.MustCompile(`\*\*([^*\s](?:[^*]*[^*\s])?)\*\*`)
	emphasis = regexp.MustCompile(`(^|[\s(])[*_]([^*_\s](?:[^*_]*[^*_\s])?)[*_]`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
)

// style returns the line with terminal attributes.
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

// save writes the conversation as JSON.
func (t *terminal) save(path string) error {
	if path == "" {
		return fmt.Errorf("name a file: /save FILE")
	}
	var b strings.Builder
	if err := printJSON(&b, map[string]any{"model": t.l.Name, "messages": t.c.Messages}); err != nil {
		return err
	}
	if dir := filepath.Dir(path); dir != "." {
		if _, err := os.Stat(dir); err != nil {
			return err
		}
	}
	return durable.WriteFile(path, []byte(b.String()))
}
