package jinja

import (
	"slices"
	"strings"
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

func (p *parser) expression() expr {
	p.enter()
	defer p.leave()
	e := p.or()
	for p.skipName("if") {
		c := &eCond{test: p.or(), yes: e}
		if p.skipName("else") {
			c.no = p.expression()
		}
		e = c
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for line := p.cur().line; p.skipName("or"); {
		e = &eBinary{"or", e, p.and(), line}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for line := p.cur().line; p.skipName("and"); {
		e = &eBinary{"and", e, p.not(), line}
	}
	return e
}

func (p *parser) not() expr {
	line := p.cur().line
	if p.skipName("not") {
		p.enter()
		defer p.leave()
		return &eUnary{"not", p.not(), line}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	first := p.sum()
	c := &eCompare{first: first, line: p.cur().line}
	for {
		op := ""
		t := p.cur()
		switch {
		case t.kind == kOp:
			switch t.text {
			case "==", "!=", "<", "<=", ">", ">=":
				op = t.text
				p.pos++
			}
		case p.isName("in"):
			op = "in"
			p.pos++
		case p.isName("not") && p.toks[p.pos+1].kind == kName && p.toks[p.pos+1].text == "in":
			op = "not in"
			p.pos += 2
		}
		if op == "" {
			break
		}
		c.ops = append(c.ops, op)
		c.rest = append(c.rest, p.sum())
	}
	if len(c.ops) == 0 {
		return first
	}
	return c
}

func (p *parser) sum() expr {
	e := p.concat()
	for p.isOp("+") || p.isOp("-") {
		t := p.next()
		e = &eBinary{t.text, e, p.concat(), t.line}
	}
	return e
}

func (p *parser) concat() expr {
	e := p.product()
	if !p.isOp("~") {
		return e
	}
	c := &eConcat{items: []expr{e}}
	for p.skipOp("~") {
		c.items = append(c.items, p.product())
	}
	return c
}

func (p *parser) product() expr {
	e := p.power()
	for p.isOp("*") || p.isOp("/") || p.isOp("//") || p.isOp("%") {
		t := p.next()
		e = &eBinary{t.text, e, p.power(), t.line}
	}
	return e
}

func (p *parser) power() expr {
	e := p.unary(true)
	for p.isOp("**") {
		t := p.next()
		e = &eBinary{"**", e, p.unary(true), t.line}
	}
	return e
}

func (p *parser) unary(withFilter bool) expr {
	p.enter()
	defer p.leave()
	var e expr
	if t := p.cur(); p.isOp("-") || p.isOp("+") {
		p.pos++
		e = &eUnary{t.text, p.unary(false), t.line}
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	if withFilter {
		for {
			switch {
			case p.isOp("|"):
				e = p.filter(e, false)
			case p.isName("is"):
				e = p.test(e)
			case p.isOp("("):
				e = p.call(e)
			default:
				return e
			}
		}
	}
	return e
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case kName:
		switch t.text {
		case "true", "True":
			return &eConst{true}
		case "false", "False":
			return &eConst{false}
		case "none", "None":
			return &eConst{nil}
		}
		for _, m := range p.macros {
			switch t.text {
			case "varargs":
				m.varargs = true
			case "kwargs":
				m.kwargs = true
			case "caller":
				m.caller = true
			}
		}
		return &eName{t.text, t.line}
	case kString:
		var b strings.Builder
		b.WriteString(t.text)
		for p.cur().kind == kString {
			b.WriteString(p.next().text)
		}
		s := b.String()
		p.literals = append(p.literals, s)
		return &eConst{Str{S: s}}
	case kInt:
		return &eConst{t.num}
	case kFloat:
		return &eConst{t.flt}
	case kOp:
		switch t.text {
		case "(":
			if p.skipOp(")") {
				return &eList{tuple: true}
			}
			e := p.tuple(true, nil)
			p.expectOp(")")
			return e
		case "[":
			l := &eList{}
			for !p.isOp("]") {
				if len(l.items) > 0 {
					p.expectOp(",")
					if p.isOp("]") {
						break
					}
				}
				l.items = append(l.items, p.expression())
			}
			p.expectOp("]")
			return l
		case "{":
			d := &eDict{line: t.line}
			for !p.isOp("}") {
				if len(d.keys) > 0 {
					p.expectOp(",")
					if p.isOp("}") {
						break
					}
				}
				d.keys = append(d.keys, p.expression())
				p.expectOp(":")
				d.values = append(d.values, p.expression())
			}
			p.expectOp("}")
			return d
		}
	}
	p.fail(t.line, "unexpected %s", t.describe())
	return nil
}

// tuple parses an expression or several with commas between them.
func (p *parser) tuple(cond bool, ends []string) expr {
	p.enter()
	defer p.leave()
	one := func() expr {
		if cond {
			return p.expression()
		}
		return p.or()
	}
	atEnd := func() bool {
		t := p.cur()
		return t.kind == kVarEnd || t.kind == kBlockEnd || t.kind == kOp && t.text == ")" ||
			t.kind == kName && slices.Contains(ends, t.text)
	}
	first := one()
	if !p.isOp(",") {
		return first
	}
	l := &eList{items: []expr{first}, tuple: true}
	for p.skipOp(",") {
		if atEnd() {
			break
		}
		l.items = append(l.items, one())
	}
	return l
}

func (p *parser) postfix(e expr) expr {
	for {
		switch {
		case p.isOp("."):
			line := p.next().line
			t := p.next()
			switch t.kind {
			case kName:
				e = &eAttr{e, t.text, line}
			case kInt:
				e = &eItem{e, &eConst{t.num}, line}
			default:
				p.fail(t.line, "expected a name or number after '.', got %s", t.describe())
			}
		case p.isOp("["):
			e = p.subscript(e)
		case p.isOp("("):
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) subscript(x expr) expr {
	line := p.next().line
	end := func() bool { return p.isOp(":") || p.isOp("]") || p.isOp(",") }
	var start expr
	if !p.isOp(":") {
		start = p.expression()
	}
	if !p.isOp(":") {
		if p.isOp(",") {
			p.fail(line, "more than one subscript")
		}
		p.expectOp("]")
		return &eItem{x, start, line}
	}
	p.pos++
	s := &eSlice{x: x, start: start, line: line}
	if !end() {
		s.stop = p.expression()
	}
	if p.skipOp(":") && !end() {
		s.step = p.expression()
	}
	p.expectOp("]")
	return s
}

func (p *parser) call(fn expr) expr {
	line := p.cur().line
	return &eCall{fn, p.arguments(), line}
}

func (p *parser) arguments() args {
	var a args
	line := p.cur().line
	p.expectOp("(")
	need := false
	for !p.isOp(")") {
		if need {
			p.expectOp(",")
			if p.isOp(")") {
				break
			}
		}
		need = true
		bad := false
		switch {
		case p.skipOp("*"):
			bad = a.star != nil || a.stars != nil
			a.star = p.expression()
		case p.skipOp("**"):
			bad = a.stars != nil
			a.stars = p.expression()
		case p.cur().kind == kName && p.toks[p.pos+1].kind == kOp && p.toks[p.pos+1].text == "=":
			bad = a.stars != nil
			name := p.next().text
			p.pos++
			bad = bad || slices.Contains(a.names, name)
			if len(a.names) >= maxKeywords {
				p.fail(line, "more than %d keyword arguments", maxKeywords)
			}
			a.names = append(a.names, name)
			a.values = append(a.values, p.expression())
		default:
			bad = a.star != nil || a.stars != nil || len(a.names) > 0
			a.pos = append(a.pos, p.expression())
		}
		if bad {
			p.fail(line, "invalid order of arguments")
		}
	}
	p.expectOp(")")
	return a
}

func (p *parser) dotted() string {
	name := p.expectName()
	for p.skipOp(".") {
		name += "." + p.expectName()
	}
	return name
}

// filter parses one or more filters; with inline the first has no bar.
func (p *parser) filter(x expr, inline bool) *eFilter {
	var f *eFilter
	for inline || p.isOp("|") {
		if !inline {
			p.pos++
		}
		inline = false
		line := p.cur().line
		f = &eFilter{x: x, name: p.dotted(), line: line}
		if p.isOp("(") {
			f.args = p.arguments()
		}
		x = f
	}
	return f
}

func (p *parser) test(x expr) expr {
	t := &eTest{x: x, line: p.next().line}
	t.not = p.skipName("not")
	t.name = p.dotted()
	c := p.cur()
	switch {
	case p.isOp("("):
		t.args = p.arguments()
	case c.kind == kString, c.kind == kInt, c.kind == kFloat, p.isOp("["), p.isOp("{"),
		c.kind == kName && c.text != "else" && c.text != "or" && c.text != "and":
		if p.isName("is") {
			p.fail(c.line, "tests with \"is\" can't be chained")
		}
		// As in Jinja, "x is t if y" would take "if" for an argument.
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	return t
}
