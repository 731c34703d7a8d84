// Package jinja interprets the part of the Jinja template language that chat
// templates are written in, as transformers sets it up (trim_blocks,
// lstrip_blocks, loop controls, generation blocks, its own tojson), and
// remembers for every byte of output where it came from.
//
// It owns the language: lexer, parser, evaluator, filters, tests, methods of
// Python's strings and dictionaries. It does not know messages or roles: the
// caller gives strings an origin and dictionaries a tag, and reads both back
// from the output.
//
// Templates come from strangers. Nothing they can write reaches outside the
// values they are given, and steps, output, nesting and numbers are bounded.
//
// What differs from Jinja: no inheritance, includes or imports; no recursive
// loops; no Markup (safe is the identity, escape gives a plain string);
// integers have 64 bits and overflow is an error; an unknown filter is an
// error when it is used.
package jinja

import (
	"time"
)

// Template is a parsed template, immutable and safe for concurrent use.
type Template struct {
	body     []node
	literals []string
}

// maxSource bounds a template's length in bytes.
const maxSource = 4 << 20

// Parse reads a template. An error is an *Error with a line.
func Parse(source string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, errorf(1, "the template is longer than %d bytes", maxSource)
	}
	toks, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(syntax)
			if !ok {
				panic(r)
			}
			t, err = nil, s.err
		}
	}()
	body, _ := p.body()
	return &Template{body: body, literals: p.literals}, nil
}

// Literals are the template's own texts and string constants, in order.
func (t *Template) Literals() []string { return t.literals }

// Output is a rendering.
type Output struct {
	// Text carries the marks: Origin as given to String, Tag as given to
	// NewDict for the message whose loop wrote the byte.
	Text Str
	// Generation are the byte ranges of {% generation %} blocks.
	Generation [][2]int
}

// Render runs the template. An error is an *Error.
func (t *Template) Render(vars map[string]Value, limits Limits, now time.Time) (out *Output, err error) {
	top := &strBuilder{}
	ev := &evaluator{limits: limits, now: now, out: top, top: top}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			out, err = nil, e
		}
	}()
	// Variables are below the template's own names, so that its assignments
	// don't reach the caller's map.
	ev.block(t.body, &scope{parent: &scope{vars: vars}})
	return &Output{Text: top.done(), Generation: ev.gen}, nil
}

var globals map[string]Value

func init() { globals = makeGlobals() }
