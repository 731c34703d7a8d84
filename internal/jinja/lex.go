package jinja

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	kEOF      kind = iota
	kData          // text outside of tags
	kVarBegin      // {{
	kVarEnd
	kBlockBegin // {%
	kBlockEnd
	kName
	kString
	kInt
	kFloat
	kOp
)

type token struct {
	kind kind
	text string // decoded for strings and data
	num  int64
	flt  float64
	line int
}

// describe names a token in an error.
func (t token) describe() string {
	switch t.kind {
	case kEOF:
		return "end of template"
	case kData:
		return "template text"
	case kVarEnd:
		return "'}}'"
	case kBlockEnd:
		return "'%}'"
	}
	return strconv.Quote(t.text)
}

// operators, longest first.
var operators = []string{
	"==", "!=", ">=", "<=", "//", "**",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

type lexer struct {
	src  string
	keep bool // white space stays, but for the signs that take it away
	pos  int
	line int
	toks []token
}

// lex splits a template as jinja2.Lexer does with trim_blocks and
// lstrip_blocks set and keep_trailing_newline unset, or, to keep white space,
// the other way round.
func lex(src string, keep bool) ([]token, error) {
	if strings.Contains(src, "\r") {
		src = strings.ReplaceAll(src, "\r\n", "\n")
		src = strings.ReplaceAll(src, "\r", "\n")
	}
	if !keep {
		src = strings.TrimSuffix(src, "\n")
	}
	l := &lexer{src: src, line: 1, keep: keep}
	lineStart := true // whether the text before the next tag begins a line
	for l.pos < len(l.src) {
		at, open := nextTag(l.src[l.pos:])
		if at < 0 {
			l.data(l.src[l.pos:])
			break
		}
		text := l.src[l.pos : l.pos+at]
		l.pos += at + 2
		sign := byte(0)
		if l.pos < len(l.src) && (l.src[l.pos] == '-' || l.src[l.pos] == '+') {
			sign = l.src[l.pos]
			l.pos++
		}
		raw := 0
		if open == '%' {
			raw = rawBegin(l.src[l.pos:])
		}
		stripped := text
		switch {
		case sign == '-':
			stripped = strings.TrimRightFunc(text, pySpace)
		case sign != '+' && open != '{' && !keep:
			if nl := strings.LastIndexByte(text, '\n') + 1; nl > 0 || lineStart {
				if strings.TrimLeftFunc(text[nl:], pySpace) == "" {
					stripped = text[:nl]
				}
			}
		}
		l.data(stripped)
		l.line += strings.Count(text[len(stripped):], "\n")
		var end int
		var err error
		switch {
		case open == '#':
			end, err = l.comment()
		case raw > 0:
			l.skip(raw)
			end, err = l.raw()
		case open == '%':
			l.add(token{kind: kBlockBegin})
			end, err = l.tag("%}", kBlockEnd)
		default:
			l.add(token{kind: kVarBegin})
			end, err = l.tag("}}", kVarEnd)
		}
		if err != nil {
			return nil, err
		}
		lineStart = end > 0 && l.src[end-1] == '\n'
	}
	l.add(token{kind: kEOF})
	return l.toks, nil
}

// nextTag finds the next "{{", "{%" or "{#" and returns its second byte.
func nextTag(s string) (int, byte) {
	for i := 0; ; {
		k := strings.IndexByte(s[i:], '{')
		if k < 0 || i+k+1 >= len(s) {
			return -1, 0
		}
		i += k
		if c := s[i+1]; c == '{' || c == '%' || c == '#' {
			return i, c
		}
		i++
	}
}

// rawBegin is the length of " raw %}" at the start of s, 0 if there is none.
func rawBegin(s string) int {
	rest := strings.TrimLeftFunc(s, pySpace)
	rest, ok := strings.CutPrefix(rest, "raw")
	if !ok {
		return 0
	}
	rest = strings.TrimLeftFunc(rest, pySpace)
	if r, ok := strings.CutPrefix(rest, "-%}"); ok {
		return len(s) - len(strings.TrimLeftFunc(r, pySpace))
	}
	if r, ok := strings.CutPrefix(rest, "%}"); ok {
		return len(s) - len(r)
	}
	return 0
}

func (l *lexer) add(t token) {
	t.line = l.line
	l.toks = append(l.toks, t)
}

func (l *lexer) data(s string) {
	if s != "" {
		l.add(token{kind: kData, text: s})
		l.line += strings.Count(s, "\n")
	}
}

func (l *lexer) skip(n int) {
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
}

func (l *lexer) fail(format string, args ...any) error { return errorf(l.line, format, args...) }

// close moves behind the closing tag of n bytes at l.pos, with the white space
// that its sign or trim_blocks takes away.
func (l *lexer) close(sign byte, n int) int {
	l.skip(n)
	switch {
	case sign == '-':
		rest := l.src[l.pos:]
		l.skip(len(rest) - len(strings.TrimLeftFunc(rest, pySpace)))
	case sign == 0 && !l.keep && l.pos < len(l.src) && l.src[l.pos] == '\n':
		l.skip(1)
	}
	return l.pos
}

func (l *lexer) comment() (int, error) {
	k := strings.Index(l.src[l.pos:], "#}")
	if k < 0 {
		return 0, l.fail("missing end of comment tag")
	}
	sign := byte(0)
	if k > 0 {
		if c := l.src[l.pos+k-1]; c == '-' || c == '+' {
			sign = c
		}
	}
	l.skip(k)
	return l.close(sign, 2), nil
}

// raw copies text up to {% endraw %}.
func (l *lexer) raw() (int, error) {
	for i := l.pos; ; {
		k := strings.Index(l.src[i:], "{%")
		if k < 0 {
			return 0, l.fail("missing end of raw directive")
		}
		begin := i + k
		rest := l.src[begin+2:]
		lead := byte(0)
		if rest != "" && (rest[0] == '-' || rest[0] == '+') {
			lead, rest = rest[0], rest[1:]
		}
		rest = strings.TrimLeftFunc(rest, pySpace)
		if r, ok := strings.CutPrefix(rest, "endraw"); ok {
			r = strings.TrimLeftFunc(r, pySpace)
			sign := byte(0)
			if r != "" && (r[0] == '-' || r[0] == '+') {
				sign, r = r[0], r[1:]
			}
			if strings.HasPrefix(r, "%}") {
				text := l.src[l.pos:begin]
				end := len(l.src) - len(r)
				stripped := text
				if lead == '-' {
					stripped = strings.TrimRightFunc(text, pySpace)
				} else if nl := strings.LastIndexByte(text, '\n') + 1; !l.keep && lead == 0 && nl > 0 && strings.TrimLeftFunc(text[nl:], pySpace) == "" {
					stripped = text[:nl]
				}
				start := l.line
				l.data(stripped)
				l.line = start
				l.skip(end - l.pos)
				return l.close(sign, 2), nil
			}
		}
		i = begin + 2
	}
}

// tag splits the inside of a tag up to its end.
func (l *lexer) tag(end string, endKind kind) (int, error) {
	var open []byte
	for {
		rest := l.src[l.pos:]
		n := len(rest) - len(strings.TrimLeftFunc(rest, pySpace))
		l.skip(n)
		rest = rest[n:]
		if rest == "" {
			return 0, l.fail("unexpected end of template inside a tag")
		}
		if len(open) == 0 {
			sign, r := byte(0), rest
			if r[0] == '-' || r[0] == '+' && endKind == kBlockEnd {
				sign, r = r[0], r[1:]
			}
			if strings.HasPrefix(r, end) {
				l.add(token{kind: endKind})
				if endKind == kVarEnd && sign == 0 {
					sign = '+' // trim_blocks is for blocks only
				}
				return l.close(sign, len(rest)-len(r)+2), nil
			}
		}
		c := rest[0]
		switch {
		case c >= '0' && c <= '9':
			if err := l.number(rest); err != nil {
				return 0, err
			}
			continue
		case c == '\'' || c == '"':
			if err := l.str(rest); err != nil {
				return 0, err
			}
			continue
		}
		if r, _ := utf8.DecodeRuneInString(rest); r == '_' || unicode.IsLetter(r) {
			n := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)
			})
			if n < 0 {
				n = len(rest)
			}
			l.add(token{kind: kName, text: rest[:n]})
			l.pos += n
			continue
		}
		op := ""
		for _, o := range operators {
			if strings.HasPrefix(rest, o) {
				op = o
				break
			}
		}
		switch op {
		case "":
			r, _ := utf8.DecodeRuneInString(rest)
			return 0, l.fail("unexpected character %q", r)
		case "(":
			open = append(open, ')')
		case "[":
			open = append(open, ']')
		case "{":
			open = append(open, '}')
		case ")", "]", "}":
			if len(open) == 0 {
				return 0, l.fail("unexpected %q", op)
			}
			if want := open[len(open)-1]; want != op[0] {
				return 0, l.fail("unexpected %q, expected %q", op, want)
			}
			open = open[:len(open)-1]
		}
		l.add(token{kind: kOp, text: op})
		l.pos += len(op)
	}
}

func (l *lexer) number(s string) error {
	digits := func(i int, ok func(byte) bool) int {
		for i < len(s) && (ok(s[i]) || s[i] == '_' && i+1 < len(s) && ok(s[i+1])) {
			i++
		}
		return i
	}
	dec := func(c byte) bool { return c >= '0' && c <= '9' }
	n := digits(0, dec)
	isFloat := false
	// "1.e" is an attribute, ".5" no number: a point needs digits around it.
	if n+1 < len(s) && s[n] == '.' && dec(s[n+1]) && !(l.pos > 0 && l.src[l.pos-1] == '.') {
		n, isFloat = digits(n+1, dec), true
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		k := n + 1
		if k < len(s) && (s[k] == '+' || s[k] == '-') {
			k++
		}
		if k < len(s) && dec(s[k]) {
			n, isFloat = digits(k, dec), true
		}
	}
	if !isFloat && s[0] == '0' && len(s) > 2 && strings.IndexByte("xXoObB", s[1]) >= 0 {
		n = digits(2, func(c byte) bool { return dec(c) || c|32 >= 'a' && c|32 <= 'f' && s[1]|32 == 'x' })
	}
	text := strings.ReplaceAll(s[:n], "_", "")
	t := token{kind: kInt, text: s[:n]}
	var err error
	if isFloat {
		t.kind = kFloat
		t.flt, err = strconv.ParseFloat(text, 64)
	} else {
		base := 10
		if len(text) > 1 && strings.IndexByte("xXoObB", text[1]) >= 0 {
			base = 0
		}
		t.num, err = strconv.ParseInt(text, base, 64)
	}
	if err != nil {
		return l.fail("number %s is out of range", s[:n])
	}
	l.add(t)
	l.pos += n
	return nil
}

func (l *lexer) str(s string) error {
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); {
		c := s[i]
		switch {
		case c == quote:
			l.add(token{kind: kString, text: b.String()})
			l.skip(i + 1)
			return nil
		case c != '\\':
			b.WriteByte(c)
			i++
			continue
		}
		i++
		if i == len(s) {
			break
		}
		c = s[i]
		i++
		if k := strings.IndexByte("abfnrtv\\'\"", c); k >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v\\'\""[k])
			continue
		}
		width, base := 0, 16
		switch {
		case c == '\n':
			continue
		case c == 'x':
			width = 2
		case c == 'u':
			width = 4
		case c == 'U':
			width = 8
		case c >= '0' && c <= '7':
			i--
			base = 8
			for width < 3 && i+width < len(s) && s[i+width] >= '0' && s[i+width] <= '7' {
				width++
			}
		case c == 'N':
			return l.fail("characters by name (\\N{…}) are not supported in a string")
		default: // an unknown escape stays as it is, backslash and all
			b.WriteByte('\\')
			i--
			continue
		}
		if i+width > len(s) {
			return l.fail("truncated escape in a string")
		}
		v, err := strconv.ParseUint(s[i:i+width], base, 32)
		if err != nil || v > unicode.MaxRune {
			return l.fail("bad escape \\%c%s in a string", c, s[i:i+width])
		}
		i += width
		if v >= 0xd800 && v < 0xdc00 && strings.HasPrefix(s[i:], `\u`) && i+6 <= len(s) {
			if w, err := strconv.ParseUint(s[i+2:i+6], 16, 32); err == nil && w >= 0xdc00 && w < 0xe000 {
				return l.fail("surrogate pairs are not supported in a string; write the character or \\U%08x", 0x10000+(v-0xd800)<<10+(w-0xdc00))
			}
		}
		if v >= 0xd800 && v < 0xe000 {
			return l.fail("lone surrogate \\u%04x in a string", v)
		}
		b.WriteRune(rune(v))
	}
	return l.fail("unterminated string")
}

// pySpace is str.isspace of one character.
func pySpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
