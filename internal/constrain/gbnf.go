package constrain

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// GBNF compiles a grammar in llama.cpp's notation; the rule root is where it
// begins.
func GBNF(text string) (*Grammar, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("constrain: a grammar of %d bytes; the limit is %d", len(text), maxPattern)
	}
	p := &gbnfParser{src: text, line: 1, index: map[string]int{}}
	p.rule("root")
	p.space(true)
	for p.err == nil && p.pos < len(p.src) {
		p.definition()
	}
	if p.err != nil {
		return nil, fmt.Errorf("constrain: grammar, line %d: %w", p.line, p.err)
	}
	for i, e := range p.rules {
		if e == nil {
			return nil, fmt.Errorf("constrain: grammar: the rule %q is used or needed but not defined", p.names[i])
		}
	}
	names := make([]string, len(p.names))
	for i, n := range p.names {
		names[i] = fmt.Sprintf("the rule %q", n)
	}
	return compile(p.rules, names)
}

type gbnfParser struct {
	src   string
	pos   int
	line  int
	depth int
	err   error
	index map[string]int
	names []string
	rules []expr // nil: not defined yet
}

func (p *gbnfParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.pos = len(p.src)
}

func (p *gbnfParser) rule(name string) int {
	i, ok := p.index[name]
	if !ok {
		i = len(p.rules)
		p.index[name] = i
		p.names, p.rules = append(p.names, name), append(p.rules, nil)
	}
	return i
}

// space skips blanks and comments, line ends too if newline.
func (p *gbnfParser) space(newline bool) {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == ' ' || c == '\t':
			p.pos++
		case c == '#':
			for p.pos < len(p.src) && p.src[p.pos] != '\n' && p.src[p.pos] != '\r' {
				p.pos++
			}
		case newline && (c == '\n' || c == '\r'):
			if c == '\n' {
				p.line++
			}
			p.pos++
		default:
			return
		}
	}
}

func (p *gbnfParser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *gbnfParser) name() string {
	start := p.pos
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|32 < 'a' || c|32 > 'z') {
			break
		}
		p.pos++
	}
	if p.pos == start {
		r, _ := utf8.DecodeRuneInString(p.src[p.pos:])
		p.fail("expected a rule's name, got %q", r)
	}
	return p.src[start:p.pos]
}

func (p *gbnfParser) definition() {
	name := p.name()
	if p.err != nil {
		return
	}
	p.space(false)
	if !strings.HasPrefix(p.src[p.pos:], "::=") {
		p.fail("expected ::= after %q", name)
		return
	}
	p.pos += 3
	p.space(true)
	i := p.rule(name)
	if p.rules[i] != nil {
		p.fail("the rule %q is defined twice", name)
		return
	}
	e := p.alternates(false)
	if p.err != nil {
		return
	}
	p.rules[i] = e
	if c := p.peek(); p.pos < len(p.src) && c != '\n' && c != '\r' {
		p.fail("expected the end of the line, got %q", c)
		return
	}
	p.space(true)
}

func (p *gbnfParser) alternates(nested bool) expr {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth/4 {
		p.fail("nested deeper than %d levels", maxDepth/4)
		return nil
	}
	out := alt{p.sequence(nested)}
	for p.err == nil && p.peek() == '|' {
		p.pos++
		p.space(true)
		out = append(out, p.sequence(nested))
	}
	return out
}

func (p *gbnfParser) sequence(nested bool) expr {
	out := seq{}
	for p.err == nil && p.pos < len(p.src) {
		var e expr
		switch c := p.src[p.pos]; {
		case c == '"':
			p.pos++
			e = p.literal()
		case c == '[':
			p.pos++
			e = p.class()
		case c == '.':
			p.pos++
			e = class{0, unicode.MaxRune}
		case c == '(':
			p.pos++
			p.space(true)
			e = p.alternates(true)
			if p.peek() != ')' {
				p.fail("expected )")
				return out
			}
			p.pos++
		case c == '<':
			p.fail("tokens by number or name (<…>) are not supported")
		case c == '-' || c == '_' || c >= '0' && c <= '9' || c|32 >= 'a' && c|32 <= 'z':
			e = ref(p.rule(p.name()))
		default:
			return out
		}
		if p.err != nil {
			return out
		}
		p.space(nested)
		e = p.repeat(e, nested)
		out = append(out, e)
	}
	return out
}

// repeat parses *, +, ? and {m,n} after e.
func (p *gbnfParser) repeat(e expr, nested bool) expr {
	for n := 0; p.err == nil; n++ {
		if n > maxDepth/4 {
			p.fail("more than %d repetition marks in a row", maxDepth/4)
		}
		switch p.peek() {
		case '*':
			e = rep{e, 0, -1}
		case '+':
			e = rep{e, 1, -1}
		case '?':
			e = rep{e, 0, 1}
		case '{':
			end := strings.IndexByte(p.src[p.pos:], '}')
			if end < 0 {
				p.fail("a repetition without }")
				return e
			}
			body := p.src[p.pos+1 : p.pos+end]
			lo, hi, comma := strings.Cut(body, ",")
			num := func(s string, def int) int {
				s = strings.TrimSpace(s)
				if s == "" {
					return def
				}
				v, err := strconv.Atoi(s)
				if err != nil || v < 0 || v > maxRepeat {
					p.fail("a bad number of repetitions %q", s)
				}
				return v
			}
			r := rep{e: e, min: num(lo, 0)}
			r.max = r.min
			if comma {
				r.max = num(hi, -1)
			}
			if strings.TrimSpace(lo) == "" || r.max >= 0 && r.max < r.min {
				p.fail("a bad repetition {%s}", body)
			}
			if p.err != nil {
				return e
			}
			e = r
			p.pos += end
		default:
			return e
		}
		p.pos++
		p.space(nested)
	}
	return e
}

// char reads one character of a literal or class.
func (p *gbnfParser) char() rune {
	r, n := utf8.DecodeRuneInString(p.src[p.pos:])
	if r == utf8.RuneError && n <= 1 {
		p.fail("broken UTF-8")
		return 0
	}
	p.pos += n
	if r == '\n' {
		p.line++
	}
	if r != '\\' {
		return r
	}
	c := p.peek()
	p.pos++
	width := 0
	switch c {
	case 'x':
		width = 2
	case 'u':
		width = 4
	case 'U':
		width = 8
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'n':
		return '\n'
	case '\\', '"', '[', ']', '-', '^':
		return rune(c)
	default:
		p.fail("unknown escape \\%c", c)
		return 0
	}
	if p.pos+width > len(p.src) {
		p.fail("a truncated escape")
		return 0
	}
	v, err := strconv.ParseUint(p.src[p.pos:p.pos+width], 16, 32)
	if err != nil || v > unicode.MaxRune || v >= 0xd800 && v < 0xe000 {
		p.fail("the escape \\%c%s is no character", c, p.src[p.pos:p.pos+width])
		return 0
	}
	p.pos += width
	return rune(v)
}

func (p *gbnfParser) literal() expr {
	var b strings.Builder
	for p.err == nil {
		if p.pos >= len(p.src) {
			p.fail("a string without its closing quote")
		} else if p.src[p.pos] == '"' {
			p.pos++
			return lit(b.String())
		} else {
			b.WriteRune(p.char())
		}
	}
	return nil
}

func (p *gbnfParser) class() expr {
	negate := p.peek() == '^'
	if negate {
		p.pos++
	}
	var ranges class
	for p.err == nil {
		if p.pos >= len(p.src) {
			p.fail("a class without ]")
			return nil
		}
		if p.src[p.pos] == ']' {
			p.pos++
			break
		}
		lo := p.char()
		hi := lo
		if p.peek() == '-' && p.pos+1 < len(p.src) && p.src[p.pos+1] != ']' {
			p.pos++
			hi = p.char()
		}
		if hi < lo {
			p.fail("a range of characters that ends before it begins")
		}
		ranges = append(ranges, lo, hi)
	}
	if !negate {
		return ranges
	}
	return complement(ranges)
}
