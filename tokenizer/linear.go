package tokenizer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// A linear matcher finds the same matches as a backtracking one in time
// proportional to the text. It tries the same ways in the same order, but none
// twice: whether the rest of the expression matches from a place on does not
// depend on how one came there, as long as there are no back-references.
//
// It stands in where the backtracking engine takes too long. Single characters
// and sets of them are asked of that engine, so that both agree on what \s or a
// folded case is.
type linear struct {
	prog []inst
	subs []*linear // of the groups that look ahead or don't give back
}

type instOp uint8

const (
	opChar   instOp = iota // one character of set
	opSplit                // x first, then y
	opJump                 // to x
	opAssert               // kind holds here
	opBehind               // set has, or with not has not, the character before
	opAhead                // subs[y] matches from here, or with not doesn't
	opAtomic               // to the end of subs[y]'s first match
	opMatch
)

type inst struct {
	op   instOp
	kind byte // of opAssert: the letter after the backslash, or ^ $ m M (multi-line ^ and $)
	not  bool
	x, y int
	set  *charSet
}

// maxProgram bounds the instructions of an expression; counted repetitions are written out.
const maxProgram = 20_000

// newLinear reads an expression in the syntax of regexp2, under the flags i, m and s. What it cannot bound is an error.
func newLinear(expr, flags string) (*linear, error) {
	p := &linearParser{src: []rune(expr)}
	l := &linear{}
	if err := p.alternatives(l, flags); err != nil {
		return nil, err
	}
	if p.at < len(p.src) {
		return nil, p.fail("a ) too many")
	}
	l.prog = append(l.prog, inst{op: opMatch})
	return l, nil
}

type linearParser struct {
	src   []rune
	at    int
	depth int
}

func (p *linearParser) fail(format string, args ...any) error {
	return fmt.Errorf("character %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

func (p *linearParser) peek(s string) bool {
	return strings.HasPrefix(string(p.src[p.at:min(p.at+len(s), len(p.src))]), s)
}

// alternatives reads up to a closing bracket or the end. The flags hold until there.
func (p *linearParser) alternatives(l *linear, flags string) error {
	if p.depth++; p.depth > 200 {
		return p.fail("nested deeper than 200 groups")
	}
	defer func() { p.depth-- }()
	start := len(l.prog)
	var ends []int
	for {
		if err := p.sequence(l, &flags); err != nil {
			return err
		}
		if p.at == len(p.src) || p.src[p.at] != '|' {
			break
		}
		p.at++
		// What was read becomes the first choice.
		l.insert(start, inst{op: opSplit})
		ends = append(ends, len(l.prog))
		l.prog = append(l.prog, inst{op: opJump})
		l.prog[start].x, l.prog[start].y = start+1, len(l.prog)
		start = len(l.prog)
	}
	for _, e := range ends {
		l.prog[e].x = len(l.prog)
	}
	return nil
}

// insert puts an instruction in front of those from at on.
func (l *linear) insert(at int, i inst) {
	l.prog = slices.Insert(l.prog, at, i)
	for k := at + 1; k < len(l.prog); k++ {
		l.prog[k] = l.prog[k].moved(1)
	}
}

// moved is the instruction n places further on, with what it points to.
func (i inst) moved(n int) inst {
	switch i.op {
	case opSplit:
		i.x, i.y = i.x+n, i.y+n
	case opJump:
		i.x += n
	}
	return i
}

func (p *linearParser) sequence(l *linear, flags *string) error {
	for p.at < len(p.src) && p.src[p.at] != '|' && p.src[p.at] != ')' {
		start := len(l.prog)
		if err := p.atom(l, flags); err != nil {
			return err
		}
		if err := p.repeated(l, start); err != nil {
			return err
		}
		if len(l.prog) > maxProgram {
			return p.fail("the expression is too large")
		}
	}
	return nil
}

// repeated reads a quantifier behind the instructions from start on.
func (p *linearParser) repeated(l *linear, start int) error {
	low, high, ok := p.quantifier()
	if !ok {
		return nil
	}
	lazy := p.peek("?")
	if lazy {
		p.at++
	}
	body := slices.Clone(l.prog[start:])
	l.prog = l.prog[:start]
	if n := max(low, high, 1); len(body)*n+start > maxProgram {
		return p.fail("the expression is too large")
	}
	add := func() {
		n := len(l.prog) - start
		for _, i := range body {
			l.prog = append(l.prog, i.moved(n))
		}
	}
	split := func() int {
		l.prog = append(l.prog, inst{op: opSplit})
		return len(l.prog) - 1
	}
	set := func(at, inside, outside int) {
		l.prog[at].x, l.prog[at].y = inside, outside
		if lazy {
			l.prog[at].x, l.prog[at].y = outside, inside
		}
	}
	for range low {
		add()
	}
	if high < 0 {
		at := split()
		add()
		l.prog = append(l.prog, inst{op: opJump, x: at})
		set(at, at+1, len(l.prog))
		return nil
	}
	var splits []int
	for range high - low {
		splits = append(splits, split())
		add()
	}
	for _, at := range splits {
		set(at, at+1, len(l.prog))
	}
	return nil
}

// quantifier reads * + ? {n} {n,} or {n,m}; high is -1 for no limit.
func (p *linearParser) quantifier() (low, high int, ok bool) {
	if p.at == len(p.src) {
		return 0, 0, false
	}
	switch p.src[p.at] {
	case '*':
		p.at++
		return 0, -1, true
	case '+':
		p.at++
		return 1, -1, true
	case '?':
		p.at++
		return 0, 1, true
	case '{':
		end := slices.Index(p.src[p.at:], '}')
		if end < 0 {
			return 0, 0, false
		}
		a, b, two := strings.Cut(string(p.src[p.at+1:p.at+end]), ",")
		low, err := strconv.ParseUint(a, 10, 20)
		if err != nil {
			return 0, 0, false // then { is a character
		}
		top := low
		if two && b != "" {
			if top, err = strconv.ParseUint(b, 10, 20); err != nil || top < low {
				return 0, 0, false
			}
		}
		p.at += end + 1
		if two && b == "" {
			return int(low), -1, true
		}
		return int(low), int(top), true
	}
	return 0, 0, false
}

func (p *linearParser) char(l *linear, expr, flags string) error {
	s, err := newCharSet(expr, flags)
	if err != nil {
		return p.fail("%s: %v", expr, err)
	}
	l.prog = append(l.prog, inst{op: opChar, set: s})
	return nil
}

func (p *linearParser) atom(l *linear, flags *string) error {
	c := p.src[p.at]
	switch c {
	case '(':
		return p.group(l, flags)
	case '[':
		expr, err := p.class()
		if err != nil {
			return err
		}
		return p.char(l, expr, *flags)
	case '^', '$':
		p.at++
		kind := byte(c)
		if strings.Contains(*flags, "m") {
			kind = map[rune]byte{'^': 'm', '$': 'M'}[c]
		}
		l.prog = append(l.prog, inst{op: opAssert, kind: kind})
		return nil
	case '\\':
		expr, err := p.escape()
		if err != nil {
			return err
		}
		switch expr[1] {
		case 'A', 'z', 'Z', 'b', 'B':
			i := inst{op: opAssert, kind: expr[1]}
			if i.kind == 'Z' {
				i.kind = '$'
			}
			if i.kind == 'b' || i.kind == 'B' {
				if i.set, err = newCharSet(`[\w\u200c\u200d]`, ""); err != nil {
					return err
				}
			}
			l.prog = append(l.prog, i)
			return nil
		}
		return p.char(l, expr, *flags)
	case '.':
		p.at++
		return p.char(l, ".", *flags)
	case '*', '+', '?':
		return p.fail("nothing to repeat")
	}
	p.at++
	return p.char(l, regexp2.Escape(string(c)), *flags)
}

// escape reads a backslash and what belongs to it.
func (p *linearParser) escape() (string, error) {
	if p.at+1 >= len(p.src) {
		return "", p.fail("a \\ at the end")
	}
	from := p.at
	size := 2
	switch c := p.src[p.at+1]; {
	case c == 'p' || c == 'P':
		if p.at+2 >= len(p.src) || p.src[p.at+2] != '{' {
			return "", p.fail("\\p without {")
		}
		end := slices.Index(p.src[p.at:], '}')
		if end < 0 {
			return "", p.fail("\\p{ without }")
		}
		size = end + 1
	case c == 'x' || c == 'u':
		size = 4
		if c == 'u' {
			size = 6
		}
		if p.at+2 < len(p.src) && p.src[p.at+2] == '{' {
			size = slices.Index(p.src[p.at:], '}') + 1
		}
		if size < 4 || p.at+size > len(p.src) {
			return "", p.fail("\\%c is cut off", c)
		}
	case c == 'c':
		size = 3
	case c >= '0' && c <= '9' || c == 'k' || c == 'G':
		return "", p.fail("\\%c: back-references cannot be bounded", c)
	}
	p.at = min(p.at+size, len(p.src))
	return string(p.src[from:p.at]), nil
}

// class reads a set in brackets.
func (p *linearParser) class() (string, error) {
	from := p.at
	p.at++
	if p.peek("^") {
		p.at++
	}
	if p.peek("]") {
		p.at++
	}
	for p.at < len(p.src) {
		switch p.src[p.at] {
		case ']':
			p.at++
			return string(p.src[from:p.at]), nil
		case '\\':
			p.at += 2
			continue
		case '[':
			if p.at+1 < len(p.src) && p.src[p.at+1] == ':' {
				if end := strings.Index(string(p.src[p.at:]), ":]"); end > 0 {
					p.at += utf8.RuneCountInString(string(p.src[p.at:])[:end]) + 2
					continue
				}
			}
			if p.src[p.at-1] == '-' { // a set that is taken off
				if _, err := p.class(); err != nil {
					return "", err
				}
				continue
			}
		}
		p.at++
	}
	return "", p.fail("a set without ]")
}

// group reads what stands in round brackets.
func (p *linearParser) group(l *linear, flags *string) error {
	p.at++
	if !p.peek("?") {
		return p.inside(l, *flags)
	}
	switch {
	case p.peek("?:"):
		p.at += 2
		return p.inside(l, *flags)
	case p.peek("?=") || p.peek("?!") || p.peek("?>"):
		i := inst{op: opAhead, not: p.src[p.at+1] == '!'}
		if p.src[p.at+1] == '>' {
			i.op = opAtomic
		}
		p.at += 2
		var err error
		i.y, err = p.sub(l, *flags)
		l.prog = append(l.prog, i)
		return err
	case p.peek("?<=") || p.peek("?<!"):
		not := p.src[p.at+2] == '!'
		p.at += 3
		n, err := p.sub(l, *flags)
		if err != nil {
			return err
		}
		s := l.subs[n]
		if len(s.prog) != 2 || s.prog[0].op != opChar {
			return p.fail("looking back at more than one character cannot be bounded")
		}
		l.prog = append(l.prog, inst{op: opBehind, not: not, set: s.prog[0].set})
		return nil
	case p.peek("?#"):
		end := slices.Index(p.src[p.at:], ')')
		if end < 0 {
			return p.fail("a comment without )")
		}
		p.at += end + 1
		return nil
	case p.peek("?<") || p.peek("?'"):
		end := slices.IndexFunc(p.src[p.at+2:], func(r rune) bool { return r == '>' || r == '\'' })
		if end < 0 {
			return p.fail("a name without end")
		}
		if slices.Contains(p.src[p.at:p.at+2+end], '-') {
			return p.fail("balancing groups cannot be bounded")
		}
		p.at += end + 3
		return p.inside(l, *flags)
	}
	return p.flagGroup(l, flags)
}

// inside reads what a group holds, and its end.
func (p *linearParser) inside(l *linear, flags string) error {
	if err := p.alternatives(l, flags); err != nil {
		return err
	}
	return p.closeGroup()
}

// sub reads what a group holds, and its end, into a program of its own and returns its number.
func (p *linearParser) sub(l *linear, flags string) (int, error) {
	s := &linear{}
	if err := p.alternatives(s, flags); err != nil {
		return 0, err
	}
	s.prog = append(s.prog, inst{op: opMatch})
	l.subs = append(l.subs, s)
	return len(l.subs) - 1, p.closeGroup()
}

func (p *linearParser) closeGroup() error {
	if !p.peek(")") {
		return p.fail("a group without )")
	}
	p.at++
	return nil
}

// flagGroup reads flags: of the rest of this group, or of a group of their own.
func (p *linearParser) flagGroup(l *linear, flags *string) error {
	end := p.at + 1
	for end < len(p.src) && strings.ContainsRune("imns-", p.src[end]) {
		end++
	}
	if end == len(p.src) || p.src[end] != ')' && p.src[end] != ':' {
		return p.fail("a group of a kind that cannot be bounded")
	}
	next := withFlags(*flags, string(p.src[p.at+1:end]))
	p.at = end + 1
	if p.src[end] == ':' {
		return p.inside(l, next)
	}
	*flags = next
	return nil
}

// withFlags adds and takes flags: "i", "m-s". Flag n does not matter here.
func withFlags(flags, change string) string {
	on, off, _ := strings.Cut(change, "-")
	var b strings.Builder
	for _, f := range "ims" {
		if (strings.ContainsRune(flags, f) || strings.ContainsRune(on, f)) && !strings.ContainsRune(off, f) {
			b.WriteRune(f)
		}
	}
	return b.String()
}
