package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// Hugging Face's tokenizers match with Oniguruma, Leo with regexp2, whose
// expressions are .NET's. Most are the same in both. netExpression rewrites what
// isn't:
//
//	X?+  X*+  X++      possessive        (?>X?)  (?>X*)  (?>X+)
//	X{1,3}+            repeated          (?:X{1,3})+
//	[ab[cd]]           a class in one    [abcd]
//	[a&&[^b]]          intersection      [a-[b]]
//	(?i:s)             the long s too    (?i:[sſ])
//
// What has no counterpart is an error: a rule that is misread would silently
// change ids.
func netExpression(expr string) (string, error) {
	if len(expr) > maxExpression {
		return "", fmt.Errorf("it has %d bytes; %d are possible", len(expr), maxExpression)
	}
	x := expression{in: expr}
	if err := x.alternatives(); err != nil {
		return "", err
	}
	if x.more() {
		return "", errors.New(`a ")" that closes nothing`)
	}
	return x.out.String(), nil
}

// maxExpression is many times the longest expression in use.
const maxExpression = 64 << 10

// compileExpression compiles an expression of a tokenizer.json. As in Ruby, ^ and $
// mean the borders of lines.
func compileExpression(expr string) (*regexp2.Regexp, error) {
	re, _, err := compileBoth(expr)
	return re, err
}

// newPattern compiles an expression for two engines with the same matches: the first is
// fast but may backtrack exponentially, the second takes linear time.
func newPattern(expr string) (*pattern, error) {
	re, l, err := compileBoth(expr)
	if err != nil {
		return nil, err
	}
	return &pattern{re: re, linear: l}, nil
}

func compileBoth(expr string) (*regexp2.Regexp, *linear, error) {
	net, err := netExpression(expr)
	if err != nil {
		return nil, nil, fmt.Errorf("expression %q: %w", expr, err)
	}
	re, err := regexp2.Compile(net, regexp2.Multiline)
	if err != nil {
		return nil, nil, fmt.Errorf("expression %q: %w", expr, err)
	}
	re.MatchTimeout = matchTimeout
	l, err := newLinear(net, "m")
	if err != nil {
		return nil, nil, fmt.Errorf("expression %q: %w", expr, err)
	}
	return re, l, nil
}

// matchTimeout is how long the fast engine may look for one match.
const matchTimeout = time.Second

type expression struct {
	in   string
	at   int
	out  strings.Builder
	fold bool // inside (?i:…)
	deep int  // nesting of groups and classes
}

func (x *expression) peek(s string) bool { return strings.HasPrefix(x.in[x.at:], s) }

func (x *expression) more() bool { return x.at < len(x.in) }

// alternatives rewrites up to the end of the group or of the expression.
func (x *expression) alternatives() error {
	if x.deep++; x.deep > 100 {
		return errors.New("it is nested too deeply")
	}
	defer func() { x.deep-- }()
	for x.more() && x.in[x.at] != ')' {
		start := x.out.Len()
		if err := x.atom(); err != nil {
			return err
		}
		if err := x.quantifier(start); err != nil {
			return err
		}
	}
	return nil
}

func (x *expression) atom() error {
	switch c := x.in[x.at]; c {
	case '(':
		return x.group()
	case '[':
		class, err := x.class()
		if err != nil {
			return err
		}
		x.out.WriteString(class.text())
	case '\\':
		e, err := x.escape()
		x.out.WriteString(e)
		return err
	case 's', 'S':
		x.at++
		if x.fold {
			x.out.WriteString("[" + string(c) + "ſ]")
			break
		}
		x.out.WriteByte(c)
	default:
		_, n := utf8.DecodeRuneInString(x.in[x.at:])
		x.out.WriteString(x.in[x.at : x.at+n])
		x.at += n
	}
	return nil
}

// escape returns \x, \p{…} and so on as it stands.
func (x *expression) escape() (string, error) {
	from := x.at
	if x.at += 2; x.at > len(x.in) {
		return "", errors.New(`it ends with "\"`)
	}
	if strings.ContainsRune("pPxu", rune(x.in[x.at-1])) && x.peek("{") {
		end := strings.IndexByte(x.in[x.at:], '}')
		if end < 0 {
			return "", errors.New(`"{" is not closed`)
		}
		x.at += end + 1
		if x.in[from+1] == 'x' || x.in[from+2] == '{' && x.in[from+3] == '^' {
			return "", fmt.Errorf("%s isn't supported", x.in[from:x.at])
		}
	}
	return x.in[from:x.at], nil
}

func (x *expression) group() error {
	from := x.at
	x.at++
	fold := x.fold
	if x.peek("?") {
		// (?:  (?=  (?!  (?>  (?<=  (?<!  (?i:  (?i)  (?<name>
		end := strings.IndexAny(x.in[x.at:], ":=!>)")
		if end < 0 {
			return errors.New(`"(" is not closed`)
		}
		x.at += end + 1
		head := x.in[from:x.at]
		if flags, off, _ := strings.Cut(strings.Trim(head, "(?:)"), "-"); !strings.ContainsAny(head, "=!<>#") {
			fold = (fold || strings.Contains(flags, "i")) && !strings.Contains(off, "i")
		}
		if strings.HasSuffix(head, ")") {
			x.out.WriteString(head)
			x.fold = fold // for the rest of the group around it
			return nil
		}
		x.out.WriteString(head)
	} else {
		x.out.WriteByte('(')
	}
	outer := x.fold
	x.fold = fold
	err := x.alternatives()
	x.fold = outer
	if err != nil {
		return err
	}
	if !x.peek(")") {
		return errors.New(`"(" is not closed`)
	}
	x.at++
	x.out.WriteByte(')')
	return nil
}

// quantifier rewrites what follows the atom that begins at start of the output.
func (x *expression) quantifier(start int) error {
	for first := true; x.more(); first = false {
		q := ""
		switch c := x.in[x.at]; {
		case c == '?' || c == '*' || c == '+':
			q = x.in[x.at : x.at+1]
		case c == '{':
			if end := strings.IndexByte(x.in[x.at:], '}'); end > 0 && strings.Trim(x.in[x.at+1:x.at+end], "0123456789,") == "" && end > 1 {
				q = x.in[x.at : x.at+end+1]
			}
		}
		if q == "" {
			return nil
		}
		x.at += len(q)
		atom := x.out.String()[start:]
		before := x.out.String()[:start]
		rewrite := func(s string) { x.out.Reset(); x.out.WriteString(before + s) }
		switch {
		case !first: // of something already quantified
			rewrite("(?:" + atom + ")" + q)
		case q[0] != '{' && x.peek("+"):
			x.at++
			rewrite("(?>" + atom + q + ")")
		case x.peek("?"):
			x.at++
			x.out.WriteString(q + "?")
		default:
			x.out.WriteString(q)
		}
	}
	return nil
}

// charClass is […] in the parts that .NET can have.
type charClass struct {
	negated bool
	items   string
	minus   string // what is taken away from items: a class of .NET, or ""
}

func (c charClass) text() string {
	s := "["
	if c.negated {
		s += "^"
	}
	s += c.items
	if c.minus != "" {
		s += "-" + c.minus
	}
	return s + "]"
}

// class reads a character class.
func (x *expression) class() (c charClass, err error) {
	if x.deep++; x.deep > 100 {
		return c, errors.New("it is nested too deeply")
	}
	defer func() { x.deep-- }()
	x.at++
	if x.peek("^") {
		c.negated = true
		x.at++
	}
	for first := true; ; first = false {
		switch {
		case !x.more():
			return c, errors.New(`"[" is not closed`)
		case x.peek("]") && !first:
			x.at++
			return c, nil
		case x.peek("[:"):
			return c, errors.New("classes such as [:alpha:] aren't supported")
		case x.peek("["):
			inner, err := x.class()
			if err != nil {
				return c, err
			}
			if inner.negated || inner.minus != "" {
				return c, errors.New("a class that excludes inside another isn't supported")
			}
			c.items += inner.items
		case x.peek("&&"):
			x.at += 2
			if c.minus, err = x.intersection(); err != nil {
				return c, err
			}
			if c.negated {
				return c, errors.New("an intersection inside [^…] isn't supported")
			}
			return c, nil
		case x.peek(`\`):
			e, err := x.escape()
			if err != nil {
				return c, err
			}
			c.items += e
		default:
			b := x.in[x.at]
			x.at++
			if x.fold && (b == 's' || b == 'S') {
				c.items += "ſ"
			}
			c.items += string([]byte{b})
		}
	}
}

// intersection reads the right-hand side of && up to the end of the class, and
// returns what it excludes.
func (x *expression) intersection() (minus string, err error) {
	if !x.peek("[") {
		return "", errors.New("after && only a class in brackets is supported")
	}
	right, err := x.class()
	if err != nil {
		return "", err
	}
	if !x.peek("]") {
		return "", errors.New("after && only one class is supported")
	}
	x.at++
	right.negated = !right.negated
	if right.minus != "" {
		return "", errors.New("nested intersections aren't supported")
	}
	return right.text(), nil
}
