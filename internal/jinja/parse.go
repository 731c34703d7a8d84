package jinja

import (
	"slices"
)

// maxKeywords bounds the keyword arguments of one call.
const maxKeywords = 1000

// maxDepth bounds the nesting of expressions and statements.
const maxDepth = 200

type parser struct {
	toks  []token
	pos   int
	depth int
	loops int
	// macros are those whose bodies are being parsed.
	macros   []*nMacro
	literals []string
	// generation is set if there is a {% generation %} block.
	generation bool
}

// syntax is how the parser gives up; Parse recovers it.
type syntax struct{ err error }

func (p *parser) fail(line int, format string, args ...any) {
	panic(syntax{errorf(line, format, args...)})
}

func (p *parser) cur() token { return p.toks[p.pos] }

func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != kEOF {
		p.pos++
	}
	return t
}

func (p *parser) isOp(op string) bool {
	t := p.cur()
	return t.kind == kOp && t.text == op
}

func (p *parser) isName(name string) bool {
	t := p.cur()
	return t.kind == kName && t.text == name
}

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.fail(p.cur().line, "expected %q, got %s", op, p.cur().describe())
	}
}

func (p *parser) expectName() string {
	t := p.next()
	if t.kind != kName {
		p.fail(t.line, "expected a name, got %s", t.describe())
	}
	return t.text
}

func (p *parser) expect(k kind) {
	if t := p.next(); t.kind != k {
		p.fail(t.line, "expected %s, got %s", token{kind: k}.describe(), t.describe())
	}
}

func (p *parser) enter() {
	p.depth++
	if p.depth > maxDepth {
		p.fail(p.cur().line, "nested deeper than %d levels", maxDepth)
	}
}

func (p *parser) leave() { p.depth-- }

// body parses statements up to a block that begins with one of ends, whose
// name is consumed and returned. Without ends it goes to the end.
func (p *parser) body(ends ...string) ([]node, string) {
	p.enter()
	defer p.leave()
	var out []node
	for {
		t := p.next()
		switch t.kind {
		case kEOF:
			if len(ends) > 0 {
				p.fail(t.line, "unexpected end of template, expected %q", ends)
			}
			return out, ""
		case kData:
			p.literals = append(p.literals, t.text)
			out = append(out, &nData{t.text})
		case kVarBegin:
			e := p.tuple(true, nil)
			p.expect(kVarEnd)
			out = append(out, &nOutput{e})
		case kBlockBegin:
			name := p.cur()
			if name.kind != kName {
				p.fail(name.line, "expected a tag name, got %s", name.describe())
			}
			p.pos++
			if slices.Contains(ends, name.text) {
				return out, name.text
			}
			if n := p.statement(name); n != nil {
				out = append(out, n)
			}
			p.expect(kBlockEnd)
		default:
			p.fail(t.line, "unexpected %s", t.describe())
		}
	}
}

// block parses "%} … {% end" and consumes the end's name.
func (p *parser) block(ends ...string) ([]node, string) {
	p.skipOp(":")
	p.expect(kBlockEnd)
	return p.body(ends...)
}

func (p *parser) statement(name token) node {
	switch name.text {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement()
	case "set":
		return p.set(name.line)
	case "with":
		n := &nWith{}
		for p.cur().kind != kBlockEnd {
			if len(n.targets) > 0 {
				p.expectOp(",")
			}
			n.targets = append(n.targets, p.target(false))
			p.expectOp("=")
			n.values = append(n.values, p.expression())
		}
		n.body, _ = p.block("endwith")
		return n
	case "macro":
		n := &nMacro{name: p.expectName(), line: name.line}
		p.signature(n)
		p.macroBody(n, "endmacro")
		return n
	case "call":
		m := &nMacro{name: "caller", line: name.line}
		if p.isOp("(") {
			p.signature(m)
		}
		call, ok := p.expression().(*eCall)
		if !ok {
			p.fail(name.line, "a call block needs a call")
		}
		p.macroBody(m, "endcall")
		return &nCall{macro: m, call: call}
	case "filter":
		f := p.filter(nil, true)
		body, _ := p.block("endfilter")
		return &nFilterBlock{filter: f, body: body}
	case "generation":
		// In transformers the block is the body of a call: loops end here.
		loops := p.loops
		p.loops, p.generation = 0, true
		body, _ := p.block("endgeneration")
		p.loops = loops
		return &nGeneration{body}
	case "break", "continue":
		if p.loops == 0 {
			p.fail(name.line, "%s outside of a loop", name.text)
		}
		if name.text == "break" {
			return &nBreak{}
		}
		return &nContinue{}
	case "print":
		var items []expr
		for p.cur().kind != kBlockEnd {
			if len(items) > 0 {
				p.expectOp(",")
			}
			items = append(items, p.expression())
		}
		return &nOutput{&eConcat{items}}
	}
	p.fail(name.line, "tag %q is unknown, or belongs to files (extends, include, import, block), which chat templates have none of", name.text)
	return nil
}

func (p *parser) ifStatement() node {
	n := &nIf{}
	for {
		n.tests = append(n.tests, p.tuple(false, nil))
		body, end := p.block("elif", "else", "endif")
		n.bodies = append(n.bodies, body)
		if end == "elif" {
			continue
		}
		if end == "else" {
			n.els, _ = p.block("endif")
		}
		return n
	}
}

func (p *parser) forStatement() node {
	n := &nFor{line: p.cur().line}
	n.target = p.target(true)
	if !p.skipName("in") {
		p.fail(p.cur().line, "expected \"in\", got %s", p.cur().describe())
	}
	n.iter = p.tuple(false, []string{"recursive"})
	if p.skipName("if") {
		n.cond = p.expression()
	}
	n.recursive = p.skipName("recursive")
	p.loops++
	body, end := p.block("endfor", "else")
	p.loops--
	n.body = body
	if end == "else" {
		n.els, _ = p.block("endfor")
	}
	return n
}

func (p *parser) set(line int) node {
	t := p.target(true)
	if p.skipOp("=") {
		return &nSet{target: t, value: p.tuple(true, nil), line: line}
	}
	n := &nSetBlock{target: t}
	if p.isOp("|") {
		n.filter = p.filter(nil, false)
	}
	n.body, _ = p.block("endset")
	return n
}

// target parses what is assigned to.
func (p *parser) target(tuple bool) target {
	p.enter()
	defer p.leave()
	one := func() target {
		line := p.cur().line
		if p.skipOp("(") {
			t := p.target(true)
			p.expectOp(")")
			return t
		}
		name := p.expectName()
		switch name {
		case "true", "false", "none", "True", "False", "None":
			p.fail(line, "can't assign to %s", name)
		}
		if p.skipOp(".") {
			return &tAttr{name, p.expectName()}
		}
		return &tName{name}
	}
	first := one()
	if !tuple || !p.isOp(",") {
		return first
	}
	t := &tTuple{items: []target{first}}
	for p.skipOp(",") {
		if p.isOp("=") || p.isOp(")") || p.isName("in") || p.cur().kind == kBlockEnd {
			break
		}
		t.items = append(t.items, one())
	}
	return t
}

func (p *parser) signature(n *nMacro) {
	p.expectOp("(")
	for !p.isOp(")") {
		if len(n.params) > 0 {
			p.expectOp(",")
		}
		line := p.cur().line
		n.params = append(n.params, p.expectName())
		if p.skipOp("=") {
			n.defaults = append(n.defaults, p.expression())
		} else if len(n.defaults) > 0 {
			p.fail(line, "a parameter without a default follows one that has one")
		}
	}
	p.expectOp(")")
}

func (p *parser) macroBody(n *nMacro, end string) {
	loops := p.loops
	p.loops = 0
	p.macros = append(p.macros, n)
	n.body, _ = p.block(end)
	p.macros = p.macros[:len(p.macros)-1]
	p.loops = loops
}
