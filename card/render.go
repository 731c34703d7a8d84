package card

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"text/template"

	"leolm/internal/bounded"
)

//go:embed card.tmpl
var defaultTemplate string

// DefaultTemplate is the template that cards are made with, in the language of text/template. Each section is a
// definition of its own.
func DefaultTemplate() string { return defaultTemplate }

// TemplateError says that a template cannot be read, or cannot be filled; a number that is missing is its *MissingError.
type TemplateError struct {
	Name string
	Err  error
}

func (e *TemplateError) Error() string {
	var exec template.ExecError
	var missing *MissingError
	if errors.As(e.Err, &exec) && errors.As(e.Err, &missing) {
		return fmt.Sprintf("%s: %v", e.Name, missing) // where in the template is no help to those who did not write it
	}
	return fmt.Sprintf("%s: %v", e.Name, e.Err)
}

// Unwrap returns what is wrong.
func (e *TemplateError) Unwrap() error { return e.Err }

// Bounds of a template and of a card, in bytes.
const (
	maxTemplate = 1 << 20
	maxCard     = 16 << 20
)

// Render fills the default template, with the definitions of the configuration's over it: a template may replace single
// sections, or all of it by text outside any definition. What comes out has a front matter that the hub takes, or the
// error is a *FrontMatterError.
func (f *Facts) Render() ([]byte, error) {
	t, err := template.New("card.tmpl").Option("missingkey=error").Funcs(f.funcs()).Parse(defaultTemplate)
	if err != nil {
		return nil, &TemplateError{"card.tmpl", err}
	}
	shown := "card.tmpl"
	if f.cfg.Template != "" {
		shown = f.shown(f.cfg.path(f.cfg.Template))
		over, err := bounded.Regular(f.cfg.path(f.cfg.Template), maxTemplate)
		if err != nil {
			return nil, err
		}
		if t, err = t.Parse(string(over)); err != nil {
			return nil, &TemplateError{shown, err}
		}
	}
	out := &limited{left: maxCard}
	if err := t.Execute(out, f); err != nil {
		return nil, &TemplateError{shown, err}
	}
	card := tidy(out.Bytes())
	return card, CheckFrontMatter(card)
}

// limited is a buffer that takes so much.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, &bounded.SizeError{Name: "the card", Limit: maxCard, Size: -1}
	}
	return l.Buffer.Write(p)
}

// tidy leaves at most one empty line in a row, outside blocks of code, and one line feed at the end.
func tidy(card []byte) []byte {
	var out []string
	fence := ""
	for line := range strings.SplitSeq(strings.TrimSpace(string(card)), "\n") {
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
		case fence != "" && len(ticks) >= len(fence) && strings.TrimSpace(line) == ticks:
			fence = ""
		case fence == "" && strings.TrimSpace(line) == "":
			if len(out) > 0 && out[len(out)-1] == "" {
				continue
			}
			line = ""
		}
		out = append(out, line)
	}
	return []byte(strings.Join(out, "\n") + "\n")
}

// funcs are what templates can call, beside the methods of Facts.
func (f *Facts) funcs() template.FuncMap {
	return template.FuncMap{
		"metric": func(task, name string, group ...string) (*Number, error) {
			return f.Metric("", task, name, strings.Join(group, ""))
		},
		"metricOf": func(of, task, name string, group ...string) (*Number, error) {
			return f.Metric(of, task, name, strings.Join(group, ""))
		},
		"inline": inline, "cell": cell, "code": code, "codecell": codeCell, "fence": fence, "link": link, "shell": shellWord, "python": pythonText, "local": localName,
		"display": f.display, "count": count, "bytes": bytesText, "language": languageName, "every": every, "join": strings.Join,
		"prose": strings.TrimSpace,
	}
}
