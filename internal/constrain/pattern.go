package constrain

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parsePattern reads the regular expression of a schema's pattern, which is
// ECMAScript's in Unicode mode (JSON Schema core, 6.4). Validators run it on
// engines that differ in their classes: \d is ASCII in one and Unicode in
// another. What is allowed here satisfies all of them: a class has the
// characters that ECMAScript and Python agree on, its complement those that
// both leave out. Look-around and back references are refused, and so is what
// the two read differently.
func parsePattern(pattern string) (*syntax.Regexp, error) {
	if len(pattern) > maxRegexp {
		return nil, fmt.Errorf("%d bytes long; the limit is %d", len(pattern), maxRegexp)
	}
	if !utf8.ValidString(pattern) {
		return nil, fmt.Errorf("broken UTF-8")
	}
	p := &patternParser{src: pattern}
	if rest, ok := strings.CutPrefix(pattern, "(?i)"); ok { // Python's
		p.pos, p.fold = len(pattern)-len(rest), true
	}
	e := p.alternation(0)
	if p.err == nil && p.pos < len(p.src) {
		p.fail("unexpected %q", p.src[p.pos])
	}
	return e, p.err
}

type patternParser struct {
	src  string
	pos  int
	fold bool // case does not count
	size int  // ranges of characters so far
	err  error
}

// maxRanges bounds the ranges of characters in all classes of a pattern: \W
// has some seven hundred.
const maxRanges = 200_000

func (p *patternParser) fail(format string, args ...any) *syntax.Regexp {
	if p.err == nil {
		p.err = fmt.Errorf("at byte %d: %s", p.pos, fmt.Sprintf(format, args...))
	}
	p.pos = len(p.src)
	return &syntax.Regexp{Op: syntax.OpNoMatch}
}

func (p *patternParser) rest() string { return p.src[p.pos:] }

func (p *patternParser) skip(s string) bool {
	if strings.HasPrefix(p.rest(), s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *patternParser) alternation(depth int) *syntax.Regexp {
	if depth > maxDepth/4 {
		return p.fail("nested deeper than %d levels", maxDepth/4)
	}
	subs := []*syntax.Regexp{p.sequence(depth)}
	for p.err == nil && p.skip("|") {
		subs = append(subs, p.sequence(depth))
	}
	if len(subs) == 1 {
		return subs[0]
	}
	return &syntax.Regexp{Op: syntax.OpAlternate, Sub: subs}
}

func (p *patternParser) sequence(depth int) *syntax.Regexp {
	out := &syntax.Regexp{Op: syntax.OpConcat}
	for p.err == nil && p.pos < len(p.src) && p.src[p.pos] != '|' && p.src[p.pos] != ')' {
		var e *syntax.Regexp
		anchor := true
		switch {
		case p.skip("^"):
			e = &syntax.Regexp{Op: syntax.OpBeginText}
		case p.skip("$"):
			e = &syntax.Regexp{Op: syntax.OpEndText}
		case p.skip(`\b`), p.skip(`\B`):
			return p.fail("word boundaries are not supported")
		default:
			e, anchor = p.atom(depth), false
		}
		out.Sub = append(out.Sub, p.quantifier(e, anchor))
	}
	switch len(out.Sub) {
	case 0:
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}
	case 1:
		return out.Sub[0]
	}
	return out
}

func (p *patternParser) atom(depth int) *syntax.Regexp {
	r, n := utf8.DecodeRuneInString(p.rest())
	switch r {
	case '(':
		return p.group(depth)
	case '[':
		p.pos++
		return p.class()
	case '.':
		p.pos++
		return p.charClass(anyButLines)
	case '\\':
		set, _ := p.escape()
		return p.set(set)
	case '*', '+', '?':
		return p.fail("nothing to repeat before %q", r)
	}
	p.pos += n
	return p.set(class{r, r})
}

// set is one character of the class, in any case if that does not count.
func (p *patternParser) set(c class) *syntax.Regexp {
	if p.fold {
		c = folded(c, false)
	}
	return p.charClass(c)
}

func (p *patternParser) charClass(c class) *syntax.Regexp {
	if p.size += len(c) / 2; p.size > maxRanges {
		return p.fail("its classes have more than %d ranges of characters", maxRanges)
	}
	return &syntax.Regexp{Op: syntax.OpCharClass, Rune: c}
}

func (p *patternParser) group(depth int) *syntax.Regexp {
	p.pos++
	fold := p.fold
	if p.skip("?") {
		name := ""
		switch {
		case p.skip(":"):
		case p.skip("i:"):
			p.fold = true
		case p.skip("="), p.skip("!"), p.skip("<="), p.skip("<!"):
			return p.fail("look-around is not supported")
		case p.skip("<"), p.skip("P<"):
			end := strings.IndexByte(p.rest(), '>')
			if end > 0 {
				name = p.rest()[:end]
			}
			if name == "" || strings.ContainsAny(name, "()[]{}|\\ ") {
				return p.fail("a group without a proper name")
			}
			p.pos += end + 1
		default:
			return p.fail("a group of an unknown kind")
		}
	}
	e := p.alternation(depth + 1)
	if p.err == nil && !p.skip(")") {
		return p.fail("a group without )")
	}
	p.fold = fold
	return e
}

// quantifier reads what repeats e. Lazy ones match the same texts.
func (p *patternParser) quantifier(e *syntax.Regexp, anchor bool) *syntax.Regexp {
	out := &syntax.Regexp{Sub: []*syntax.Regexp{e}}
	switch {
	case p.skip("*"):
		out.Op = syntax.OpStar
	case p.skip("+"):
		out.Op = syntax.OpPlus
	case p.skip("?"):
		out.Op = syntax.OpQuest
	case strings.HasPrefix(p.rest(), "{"):
		lo, hi, ok := p.counts()
		if !ok {
			return e // a brace that stands for itself comes next
		}
		out.Op, out.Min, out.Max = syntax.OpRepeat, lo, hi
	default:
		return e
	}
	p.skip("?")
	if p.err == nil && p.pos < len(p.src) && strings.IndexByte("*+?", p.src[p.pos]) >= 0 {
		return p.fail("a repetition of a repetition")
	}
	if anchor {
		return p.fail("an anchor can't be repeated")
	}
	return out
}

// counts reads {n}, {n,} or {n,m}.
func (p *patternParser) counts() (lo, hi int, ok bool) {
	end := strings.IndexByte(p.rest(), '}')
	if end < 0 {
		return 0, 0, false
	}
	body := p.rest()[1:end]
	if strings.Trim(body, "0123456789,") != "" || body == "" || strings.Count(body, ",") > 1 {
		return 0, 0, false
	}
	from, to, comma := strings.Cut(body, ",")
	if from == "" {
		p.fail("{%s} means different things to different engines; write {0,%s}", body, to)
		return 0, 0, false
	}
	lo, err := strconv.Atoi(from)
	hi = lo
	if comma {
		hi = -1
		if to != "" && err == nil {
			hi, err = strconv.Atoi(to)
		}
	}
	switch {
	case err != nil || lo > maxRepeat || hi > maxRepeat:
		p.fail("{%s}: more than %d repetitions", body, maxRepeat)
	case hi >= 0 && hi < lo:
		p.fail("{%s}: the numbers are out of order", body)
	}
	if p.err != nil {
		return 0, 0, false
	}
	p.pos += end + 1
	return lo, hi, true
}

// class reads a class after its bracket.
func (p *patternParser) class() *syntax.Regexp {
	negate := p.skip("^")
	var set class
	for {
		if p.pos >= len(p.src) {
			return p.fail("a class without ]")
		}
		if p.skip("]") {
			break
		}
		if len(set) > 1<<16 {
			return p.fail("a class of more than %d ranges", 1<<15)
		}
		lo, single := p.member(negate)
		if p.err != nil {
			return p.fail("")
		}
		if single && strings.HasPrefix(p.rest(), "-") && !strings.HasPrefix(p.rest(), "-]") {
			p.pos++
			hi, single := p.member(negate)
			if p.err == nil && (!single || hi[0] < lo[0]) {
				return p.fail("a range in a class that ends before it begins, or in a class")
			}
			if p.err == nil {
				lo = class{lo[0], hi[0]}
			}
		}
		set = append(set, lo...)
	}
	if p.fold {
		set = folded(set, negate)
	}
	if negate {
		return p.charClass(complement(set))
	}
	if len(set) == 0 {
		return &syntax.Regexp{Op: syntax.OpNoMatch} // []: nothing, in ECMAScript
	}
	return p.charClass(merged(set))
}

// member is one character, or what an escape stands for, in a class. single
// says that it can begin or end a range. In a negated class it is the widest
// reading of the escape.
func (p *patternParser) member(wide bool) (set class, single bool) {
	if strings.HasPrefix(p.rest(), `\`) {
		if p.skip(`\b`) {
			return class{'\b', '\b'}, true
		}
		at := p.pos
		narrow, broad := p.escape()
		single = p.err == nil && len(narrow) == 2 && narrow[0] == narrow[1] && strings.IndexByte("dDsSwWpP", p.src[at+1]) < 0
		if wide {
			return broad, single
		}
		return narrow, single
	}
	r, n := utf8.DecodeRuneInString(p.rest())
	p.pos += n
	return class{r, r}, true
}

// escape reads a backslash and what it escapes: the characters that every
// engine finds in it, and those that any does.
func (p *patternParser) escape() (narrow, wide class) {
	p.pos++
	if p.pos >= len(p.src) {
		p.fail("a backslash at the end")
		return nil, nil
	}
	c := p.src[p.pos]
	if r, n := utf8.DecodeRuneInString(p.rest()); n > 1 {
		p.pos += n
		return class{r, r}, class{r, r}
	}
	p.pos++
	one := func(r rune) (class, class) { return class{r, r}, class{r, r} }
	switch c {
	case 'd':
		return narrowDigit, wideDigit
	case 'D':
		return narrowNotDigit, wideNotDigit
	case 's':
		return narrowSpace, wideSpace
	case 'S':
		return narrowNotSpace, wideNotSpace
	case 'w':
		return narrowWord, wideWord
	case 'W':
		return narrowNotWord, wideNotWord
	case 't', 'n', 'v', 'f', 'r':
		return one(rune("\t\n\v\f\r"[strings.IndexByte("tnvfr", c)]))
	case 'p', 'P':
		set := p.property()
		if c == 'P' {
			set = complement(set)
		}
		return set, set
	case 'c':
		if p.pos < len(p.src) && (p.src[p.pos]|32 >= 'a' && p.src[p.pos]|32 <= 'z') {
			p.pos++
			return one(rune(p.src[p.pos-1] & 31))
		}
	case 'x':
		if r, ok := p.hex(2); ok {
			return one(r)
		}
	case 'u':
		if r, ok := p.unicodeEscape(); ok {
			return one(r)
		}
	case '0':
		if p.pos >= len(p.src) || p.src[p.pos] < '0' || p.src[p.pos] > '9' {
			return one(0)
		}
	case 'k':
		p.fail("back references are not supported")
		return nil, nil
	default:
		if c >= '1' && c <= '9' {
			p.fail("back references are not supported")
			return nil, nil
		}
		if c < '0' || c > '9' && c|32 < 'a' || c|32 > 'z' {
			return one(rune(c))
		}
	}
	p.fail("the escape \\%c is malformed or unknown", c)
	return nil, nil
}

func (p *patternParser) hex(n int) (rune, bool) {
	if p.pos+n > len(p.src) {
		return 0, false
	}
	v, err := strconv.ParseUint(p.src[p.pos:p.pos+n], 16, 32)
	if err != nil {
		return 0, false
	}
	p.pos += n
	return rune(v), true
}

// unicodeEscape reads XXXX, a pair of surrogates, or {X…} after \u.
func (p *patternParser) unicodeEscape() (rune, bool) {
	if p.skip("{") {
		end := strings.IndexByte(p.rest(), '}')
		if end < 1 || end > 8 {
			return 0, false
		}
		r, ok := p.hex(end)
		p.pos++
		return r, ok && utf8.ValidRune(r)
	}
	r, ok := p.hex(4)
	if ok && r >= 0xd800 && r < 0xdc00 && p.skip(`\u`) {
		low, ok2 := p.hex(4)
		return 0x10000 + (r-0xd800)<<10 + (low - 0xdc00), ok2 && low >= 0xdc00 && low < 0xe000
	}
	return r, ok && utf8.ValidRune(r)
}

// property reads {…} after \p: a general category or a script.
func (p *patternParser) property() class {
	end := strings.IndexByte(p.rest(), '}')
	if !p.skip("{") || end < 0 {
		p.fail(`\p needs a name in braces`)
		return nil
	}
	name := p.src[p.pos : p.pos+end-1]
	p.pos += end
	if key, value, ok := strings.Cut(name, "="); ok {
		switch key {
		case "Script", "sc", "General_Category", "gc":
			name = value
		default:
			p.fail("the property %q is not supported", name)
			return nil
		}
	}
	switch name {
	case "Any":
		return class{0, unicode.MaxRune}
	case "ASCII":
		return class{0, 0x7f}
	}
	e, err := syntax.Parse(`\p{`+name+`}`, syntax.Perl)
	if err != nil || e.Op != syntax.OpCharClass {
		p.fail("the property %q is not known", name)
		return nil
	}
	return class(e.Rune)
}
