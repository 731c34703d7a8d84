package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// format is str.format: fields {}, {0} and {name} with attributes and items
// behind them, conversions !r !s !a, and format specifications.
func (ev *evaluator) format(f Str, a *callArgs, line int) Str {
	b := ev.builder(line)
	auto := 0 // the next {}; negative once a {0} was seen
	for i := 0; i < len(f.S); {
		n := strings.IndexAny(f.S[i:], "{}")
		if n < 0 {
			b.slice(f, i, len(f.S))
			break
		}
		b.slice(f, i, i+n)
		i += n
		if i+1 < len(f.S) && f.S[i+1] == f.S[i] {
			b.slice(f, i, i+1)
			i += 2
			continue
		}
		end := strings.IndexByte(f.S[i:], '}')
		if f.S[i] == '}' || end < 0 {
			ev.fail(line, "single brace in a format string")
		}
		field := f.S[i+1 : i+end]
		i += end + 1
		ev.work(line, 1)
		if strings.Contains(field, "{") {
			ev.fail(line, "fields inside the format field {%s} are not supported", field)
		}
		field, spec, _ := strings.Cut(field, ":")
		field, conv, converted := strings.Cut(field, "!")
		v := ev.formatField(field, &auto, a, line)
		if converted {
			v = ev.convert(conv, v, line)
		}
		out := ev.formatValue(v, spec, line)
		if f.safe {
			out = ev.escape(out)
		}
		b.str(out)
	}
	return b.done().as(f.safe)
}

// formatField is the value of a field's name.
func (ev *evaluator) formatField(field string, auto *int, a *callArgs, line int) Value {
	name, path := field, ""
	if k := strings.IndexAny(field, ".["); k >= 0 {
		name, path = field[:k], field[k:]
	}
	v, ok := Value(nil), false
	if name == "" {
		if *auto < 0 {
			ev.fail(line, "{} and {0} can't be mixed in a format string")
		}
		v, ok = a.get(*auto, "")
		*auto++
	} else if k, err := strconv.Atoi(name); err == nil {
		if *auto > 0 {
			ev.fail(line, "{} and {0} can't be mixed in a format string")
		}
		*auto = -1
		v, ok = a.get(k, "")
	} else {
		v, ok = a.get(-1, name)
	}
	if !ok {
		ev.fail(line, "the format field {%s} has no argument", field)
	}
	for path != "" {
		if path[0] == '.' {
			k := strings.IndexAny(path[1:], ".[") + 1
			if k == 0 {
				k = len(path)
			}
			v, path = ev.attr(v, path[1:k], line), path[k:]
			continue
		}
		k := strings.IndexByte(path, ']')
		if path[0] != '[' || k < 0 {
			ev.fail(line, "the format field {%s} is malformed", field)
		}
		var key Value = Str{S: path[1:k]}
		if n, err := strconv.ParseInt(path[1:k], 10, 64); err == nil {
			key = n
		}
		v, path = ev.item(v, key, line), path[k+1:]
	}
	return v
}

// convert is a conversion as !r.
func (ev *evaluator) convert(conv string, v Value, line int) Value {
	switch conv {
	case "s":
		return ev.toStr(v)
	case "r", "a":
		b := ev.builder(line)
		ev.repr(&b, v)
		s := b.done()
		if conv == "a" {
			s = ev.runes(s, asciiEscape)
		}
		return s
	}
	ev.fail(line, "unknown conversion %q in a format string", conv)
	return nil
}

// asciiEscape is what ascii() makes of a character.
func asciiEscape(_ int, r rune) string {
	switch {
	case r < utf8.RuneSelf:
		return string(r)
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// formatSpec is Python's [[fill]align][sign][#][0][width][,][.precision][type].
type formatSpec struct {
	fill        rune
	align, sign byte // 0: not given
	alternate   bool
	group       byte // ',' or '_'; 0: none
	width       int
	prec        int // -1: not given
	verb        byte
}

// maxFormat bounds width and precision of a number.
const maxFormat = 1000

func parseFormatSpec(s string) (p formatSpec, ok bool) {
	p = formatSpec{fill: ' ', prec: -1}
	aligns := "<>=^"
	if r, n := utf8.DecodeRuneInString(s); len(s) > n && strings.IndexByte(aligns, s[n]) >= 0 {
		p.fill, p.align, s = r, s[n], s[n+1:]
	} else if s != "" && strings.IndexByte(aligns, s[0]) >= 0 {
		p.align, s = s[0], s[1:]
	}
	take := func(set string) byte {
		if s != "" && strings.IndexByte(set, s[0]) >= 0 {
			c := s[0]
			s = s[1:]
			return c
		}
		return 0
	}
	digits := func(def int) int {
		n := def
		for s != "" && s[0] >= '0' && s[0] <= '9' {
			n = min(max(n, 0)*10+int(s[0]-'0'), maxFormat+1)
			s = s[1:]
		}
		return n
	}
	p.sign = take("+- ")
	p.alternate = take("#") != 0
	if take("0") != 0 && p.align == 0 {
		p.fill, p.align = '0', '='
	}
	p.width = digits(0)
	p.group = take(",_")
	if take(".") != 0 {
		if p.prec = digits(-1); p.prec < 0 {
			return p, false
		}
	}
	p.verb = take("bcdeEfFgGnosxX%")
	return p, s == "" && p.width <= maxFormat && p.prec <= maxFormat
}

// formatValue writes a value under a format specification.
func (ev *evaluator) formatValue(v Value, spec string, line int) Str {
	if spec == "" {
		return ev.toStr(v)
	}
	p, ok := parseFormatSpec(spec)
	if !ok {
		ev.fail(line, "the format specification %q is invalid, or asks for more than %d characters", spec, maxFormat)
	}
	switch n := v.(type) {
	case Str:
		if p.verb != 0 && p.verb != 's' || p.align == '=' && p.fill != '0' || p.sign != 0 || p.group != 0 || p.alternate {
			ev.fail(line, "the format specification %q is not for a string", spec)
		}
		if off := n.offsets(); p.prec >= 0 && p.prec < len(off)-1 {
			n = n.sub(0, off[p.prec])
		}
		return ev.pad(n, p, '<', line)
	case int64, bool:
		return ev.pad(Str{S: ev.formatInt(ev.number(n, line, "").(int64), &p, spec, line)}, p, '>', line)
	case float64:
		return ev.pad(Str{S: ev.formatFloat(n, &p, spec, line)}, p, '>', line)
	}
	ev.fail(line, "the format specification %q is not for %s", spec, typeName(v))
	return Str{}
}

func (ev *evaluator) formatInt(n int64, p *formatSpec, spec string, line int) string {
	base, prefix, every := 10, "", 3
	switch p.verb {
	case 0, 'd', 'n':
	case 'b':
		base, prefix, every = 2, "0b", 4
	case 'o':
		base, prefix, every = 8, "0o", 4
	case 'x', 'X':
		base, prefix, every = 16, "0"+string(p.verb), 4
	case 'c':
		if n < 0 || n > 0x10ffff {
			ev.fail(line, "%d is no character", n)
		}
		return string(rune(n))
	case 's':
		ev.fail(line, "the format specification %q is not for an integer", spec)
	default:
		return ev.formatFloat(float64(n), p, spec, line)
	}
	if p.prec >= 0 {
		ev.fail(line, "the format specification %q has a precision, which integers have none of", spec)
	}
	s := strings.TrimPrefix(strconv.FormatInt(n, base), "-")
	if p.verb == 'X' {
		s = strings.ToUpper(s)
	}
	s = p.grouped(s, every)
	if p.alternate {
		s = prefix + s
	}
	return p.signed(s, n < 0)
}

func (ev *evaluator) formatFloat(f float64, p *formatSpec, spec string, line int) string {
	verb, prec, percent := p.verb, p.prec, ""
	switch verb {
	case 0:
		if prec < 0 {
			return p.signed(p.grouped(strings.TrimPrefix(floatRepr(f), "-"), 3), math.Signbit(f))
		}
		verb = 'g'
	case 'n':
		verb = 'g'
	case '%':
		f, verb, percent = f*100, 'f', "%"
	case 'e', 'E', 'f', 'F', 'g', 'G':
	default:
		ev.fail(line, "the format specification %q is not for a float", spec)
	}
	if prec < 0 {
		prec = 6
	}
	abs := math.Abs(f)
	var s string
	if math.IsInf(f, 0) || math.IsNaN(f) {
		s = floatRepr(abs)
	} else if verb|32 == 'g' {
		s = fmt.Sprintf("%.*"+string(verb|32), max(prec, 1), abs)
		// Without a type Python keeps one digit behind the point.
		if p.verb == 0 && !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
	} else {
		s = fmt.Sprintf("%.*"+string(verb|32), prec, abs)
	}
	if p.verb >= 'A' && p.verb <= 'Z' {
		s = strings.ToUpper(s)
	}
	return p.signed(p.grouped(s, 3)+percent, math.Signbit(f))
}

// grouped puts separators between the digits before the point.
func (p *formatSpec) grouped(s string, every int) string {
	if p.group == 0 {
		return s
	}
	end := strings.IndexAny(s, ".e")
	if end < 0 {
		end = len(s)
	}
	whole := s[:end]
	var b strings.Builder
	for i, c := range []byte(whole) {
		if i > 0 && (len(whole)-i)%every == 0 {
			b.WriteByte(p.group)
		}
		b.WriteByte(c)
	}
	return b.String() + s[end:]
}

func (p *formatSpec) signed(s string, negative bool) string {
	switch {
	case negative:
		return "-" + s
	case p.sign == '+' || p.sign == ' ':
		return string(p.sign) + s
	}
	return s
}

// pad fills a field up to its width; align is the one if none is given.
func (ev *evaluator) pad(s Str, p formatSpec, align byte, line int) Str {
	n := p.width - utf8.RuneCountInString(s.S)
	if n <= 0 {
		return s
	}
	if p.align != 0 {
		align = p.align
	}
	b := ev.builder(line)
	fill := func(k int) { b.lit(strings.Repeat(string(p.fill), k)) }
	switch align {
	case '<':
		b.str(s)
		fill(n)
	case '^':
		fill(n / 2)
		b.str(s)
		fill(n - n/2)
	case '=':
		k := 0
		if s.S != "" && strings.IndexByte("+- ", s.S[0]) >= 0 {
			k = 1
		}
		b.slice(s, 0, k)
		fill(n)
		b.slice(s, k, len(s.S))
	default:
		fill(n)
		b.str(s)
	}
	return b.done()
}
