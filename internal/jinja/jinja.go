// Package jinja interprets the part of the Jinja template language that chat
// templates are written in, as transformers sets it up (trim_blocks,
// lstrip_blocks, loop controls, generation blocks, its own tojson), and
// remembers for every byte of output where it came from. Tasks of evaluations
// are written in it too, as lm-evaluation-harness sets it up.
//
// It owns the language: lexer, parser, evaluator, filters, tests, methods of
// Python's strings and dictionaries. It does not know messages or roles: the
// caller gives strings an origin and dictionaries a tag, and reads both back
// from the output.
//
// Templates come from strangers. Nothing they can write reaches outside the
// values they are given, and steps, output, nesting and numbers are bounded.
//
// What differs from Jinja: no inheritance, includes or imports; integers have
// 64 bits and overflow is an error (longer ones in JSON are kept as they are);
// an unknown filter is an error when it is used; random, lipsum, pprint and
// urlize are not there.
package jinja

import (
	"time"
)

// Template is a parsed template, immutable and safe for concurrent use.
type Template struct {
	body       []node
	literals   []string
	generation bool
	strict     bool
}

// maxSource bounds a template's length in bytes. Published ones have up to
// 30 kB; a parsed one takes a few hundred bytes for each of its own.
const maxSource = 1 << 20

// Parse reads a chat template. An error is an *Error with a line.
func Parse(source string) (*Template, error) { return parse(source, false) }

// ParseText reads a template as lm-evaluation-harness sets the language up: white space stays as it is
// (keep_trailing_newline, without trim_blocks and lstrip_blocks), whatever is undefined is an error when it is used
// (StrictUndefined), and there is a filter regex_replace.
func ParseText(source string) (*Template, error) { return parse(source, true) }

func parse(source string, strict bool) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, errorf(1, "the template is longer than %d bytes", maxSource)
	}
	toks, err := lex(source, strict)
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
	return &Template{body: body, literals: p.literals, generation: p.generation, strict: strict}, nil
}

// Literals are the template's own texts and string constants, in order.
func (t *Template) Literals() []string { return t.literals }

// HasGeneration reports whether the template has a {% generation %} block.
func (t *Template) HasGeneration() bool { return t.generation }

// Output is a rendering.
type Output struct {
	// Text carries the marks: Origin as given to String, Tag as given to
	// NewDict for the message whose loop wrote the byte, Generation for what
	// {% generation %} blocks wrote, through macros and filters too.
	Text Str
}

// Render runs the template. An error is an *Error.
func (t *Template) Render(vars map[string]Value, limits Limits, now time.Time) (out *Output, err error) {
	ev := &evaluator{limits: limits, now: now, line: 1, strict: t.strict}
	ev.out = &strBuilder{ev: ev}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			if e.Line == 0 {
				e.Line = ev.line
			}
			out, err = nil, e
		}
	}()
	// Variables are below the template's own names, so that its assignments
	// don't reach the caller's map.
	ev.block(t.body, &scope{parent: &scope{vars: vars}})
	return &Output{Text: ev.out.done()}, nil
}

var globals map[string]Value

func init() { globals = makeGlobals() }
