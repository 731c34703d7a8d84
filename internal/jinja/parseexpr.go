package jinja

import (
	"slices"
	"strings"
)

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
