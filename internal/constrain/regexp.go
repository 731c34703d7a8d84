package constrain

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"
)

// maxPattern bounds the length of a schema or grammar in bytes, maxRegexp that
// of a regular expression.
const (
	maxPattern = 1 << 20
	maxRegexp  = 1 << 16
)

// Regexp compiles a regular expression in Go's (RE2's) syntax that the whole
// text must match. Look-around and back references are not regular and are
// refused, as are word boundaries and anchors inside the expression.
func Regexp(pattern string) (*Grammar, error) {
	e, err := parseRegexp(pattern)
	if err != nil {
		return nil, err
	}
	r := regexpWriter{}
	x, err := r.whole(e, true, true)
	if err != nil {
		return nil, fmt.Errorf("constrain: regular expression %.200q: %w", pattern, err)
	}
	return compile([]expr{x}, []string{"the regular expression"})
}

func parseRegexp(pattern string) (*syntax.Regexp, error) {
	if len(pattern) > maxRegexp {
		return nil, fmt.Errorf("constrain: a regular expression of %d bytes; the limit is %d", len(pattern), maxRegexp)
	}
	e, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("constrain: regular expression %.200q: %w", pattern, err)
	}
	return e, nil
}

// regexpWriter turns a parsed expression into one over characters.
type regexpWriter struct{}

// whole is the expression with any text around it where it is not anchored:
// begin and end say that it stands at the text's ends by itself.
func (r *regexpWriter) whole(e *syntax.Regexp, begin, end bool) (expr, error) {
	if e.Op == syntax.OpCapture {
		return r.whole(e.Sub[0], begin, end)
	}
	if e.Op == syntax.OpAlternate {
		var out alt
		for _, s := range e.Sub {
			x, err := r.whole(s, begin, end)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	}
	parts := []*syntax.Regexp{e}
	if e.Op == syntax.OpConcat {
		parts = e.Sub
	}
	for len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		begin, parts = true, parts[1:]
	}
	for n := len(parts); n > 0 && parts[n-1].Op == syntax.OpEndText; n-- {
		end, parts = true, parts[:n-1]
	}
	var out, tail seq
	any := rep{class{0, unicode.MaxRune}, 0, -1}
	// The parser moves common anchors of alternatives out and leaves others
	// in: a first or last part with anchors in it takes care of its end.
	if n := len(parts); n > 1 && !end && anchors(parts[n-1]) {
		x, err := r.whole(parts[n-1], true, false)
		if err != nil {
			return nil, err
		}
		tail, end, parts = seq{x}, true, parts[:n-1]
	}
	if len(parts) > 1 && !begin && anchors(parts[0]) {
		x, err := r.whole(parts[0], false, true)
		if err != nil {
			return nil, err
		}
		out, begin, parts = seq{x}, true, parts[1:]
	}
	if !begin {
		out = append(out, any)
	}
	for _, p := range parts {
		x, err := r.expr(p)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	if !end {
		out = append(out, any)
	}
	return append(out, tail...), nil
}

// anchors reports whether an alternative of e has an anchor.
func anchors(e *syntax.Regexp) bool {
	switch e.Op {
	case syntax.OpBeginText, syntax.OpEndText:
		return true
	case syntax.OpAlternate, syntax.OpCapture, syntax.OpConcat:
		for _, s := range e.Sub {
			if anchors(s) {
				return true
			}
		}
	}
	return false
}

func (r *regexpWriter) expr(e *syntax.Regexp) (expr, error) {
	subs := func() ([]expr, error) {
		out := make([]expr, len(e.Sub))
		for i, s := range e.Sub {
			x, err := r.expr(s)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	}
	switch e.Op {
	case syntax.OpNoMatch:
		return alt{}, nil
	case syntax.OpEmptyMatch:
		return seq{}, nil
	case syntax.OpLiteral:
		var out seq
		for _, c := range e.Rune {
			ranges := []rune{c, c}
			if e.Flags&syntax.FoldCase != 0 {
				for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
					ranges = append(ranges, f, f)
				}
			}
			out = append(out, class(ranges))
		}
		return out, nil
	case syntax.OpCharClass:
		return class(e.Rune), nil
	case syntax.OpAnyChar:
		return class{0, unicode.MaxRune}, nil
	case syntax.OpAnyCharNotNL:
		return class{0, '\n' - 1, '\n' + 1, unicode.MaxRune}, nil
	case syntax.OpCapture:
		return r.expr(e.Sub[0])
	case syntax.OpConcat:
		s, err := subs()
		return seq(s), err
	case syntax.OpAlternate:
		s, err := subs()
		return alt(s), err
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		x, err := r.expr(e.Sub[0])
		switch e.Op {
		case syntax.OpStar:
			return rep{x, 0, -1}, err
		case syntax.OpPlus:
			return rep{x, 1, -1}, err
		case syntax.OpQuest:
			return rep{x, 0, 1}, err
		}
		return rep{x, e.Min, e.Max}, err
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine:
		return nil, fmt.Errorf("an anchor (%s) in the middle is not supported; ^ and $ may only stand at the ends", e)
	case syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return nil, fmt.Errorf("word boundaries (%s) are not supported", e)
	}
	return nil, fmt.Errorf("%s is not supported", e)
}

// inString is one character of the ranges as it stands in a JSON string.
func inString(ranges class) expr {
	// In a JSON string quote, backslash and control characters are escaped.
	var plain class
	var out alt
	for i := 0; i+1 < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		for c := lo; c <= min(hi, 0x1f); c++ {
			out = append(out, lit(jsonEscape(c)))
		}
		for _, c := range []rune{'"', '\\'} {
			if lo <= c && c <= hi {
				out = append(out, lit(jsonEscape(c)))
			}
		}
		for _, p := range [][2]rune{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, unicode.MaxRune}} {
			if a, b := max(lo, p[0]), min(hi, p[1]); a <= b {
				plain = append(plain, a, b)
			}
		}
	}
	if len(plain) > 0 {
		out = append(out, plain)
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

// jsonEscape is how a JSON string writes a character that must be escaped.
func jsonEscape(c rune) string {
	if i := strings.IndexRune("\"\\\b\f\n\r\t", c); i >= 0 {
		return `\` + `"\bfnrt`[i:i+1]
	}
	return fmt.Sprintf(`\u%04x`, c)
}
