package jinja

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// toStr is Python's str().
func (ev *evaluator) toStr(v Value) Str {
	switch v := v.(type) {
	case Str:
		return v
	case undefined:
		return Str{}
	}
	b := ev.builder(0)
	ev.repr(&b, v)
	return b.done()
}

// escape is the string as HTML: & < > and quotes written as entities. Markup
// is left alone.
func (ev *evaluator) escape(s Str) Str {
	if s.safe {
		return s
	}
	return ev.runes(s, func(_ int, r rune) string {
		switch r {
		case '&':
			return "&amp;"
		case '<':
			return "&lt;"
		case '>':
			return "&gt;"
		case '\'':
			return "&#39;"
		case '"':
			return "&#34;"
		}
		return string(r)
	}).as(true)
}

// repr is Python's repr().
func (ev *evaluator) repr(b *strBuilder, v Value) {
	ev.deeper(0)
	defer func() { ev.depth-- }()
	ev.work(0, 1)
	switch v := v.(type) {
	case nil:
		b.lit("None")
	case bool:
		if v {
			b.lit("True")
		} else {
			b.lit("False")
		}
	case int64:
		b.lit(strconv.FormatInt(v, 10))
	case float64:
		b.lit(floatRepr(v))
	case bigInt:
		b.lit(string(v))
	case Str:
		if v.safe {
			b.lit("Markup(")
			defer b.lit(")")
		}
		b.str(ev.strRepr(v.as(false)))
	case undefined:
		b.lit("Undefined")
	case *List:
		open, end := "[", "]"
		switch v.kind {
		case tuple:
			open, end = "(", ")"
			if len(v.items) == 1 {
				end = ",)"
			}
		case view:
			open, end = v.name+"([", "])"
		case rangeObj:
			if n := len(v.items); n == 0 {
				b.lit("range(0, 0)")
			} else {
				first, last := v.items[0].(int64), v.items[n-1].(int64)
				step := int64(1)
				if n > 1 {
					step = v.items[1].(int64) - first
				}
				b.lit(fmt.Sprintf("range(%d, %d", first, last+step))
				if step != 1 {
					b.lit(fmt.Sprintf(", %d", step))
				}
				b.lit(")")
			}
			return
		case generator:
			b.lit("<generator object>")
			return
		}
		b.lit(open)
		for i, x := range v.items {
			if i > 0 {
				b.lit(", ")
			}
			ev.repr(b, x)
		}
		b.lit(end)
	case *Dict:
		b.lit("{")
		for i, k := range v.keys {
			if i > 0 {
				b.lit(", ")
			}
			ev.repr(b, k)
			b.lit(": ")
			ev.repr(b, v.vals[i])
		}
		b.lit("}")
	case *namespace:
		b.lit("<Namespace ")
		ev.repr(b, v.d)
		b.lit(">")
	case *loopVar:
		b.lit(fmt.Sprintf("<LoopContext %d/%d>", v.i+1, len(v.items)))
	case *macro:
		b.lit("<Macro '" + v.def.name + "'>")
	default:
		b.lit("<function>")
	}
}

// floatRepr is repr() of a Python float: the shortest digits that read back.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mant, exp, _ := strings.Cut(s, "e")
	n, _ := strconv.Atoi(exp)
	if n < -4 || n >= 16 {
		if len(exp) == 2 {
			exp = exp[:1] + "0" + exp[1:]
		}
		return mant + "e" + exp
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func (ev *evaluator) strRepr(s Str) Str {
	quote := "'"
	if strings.Contains(s.S, "'") && !strings.Contains(s.S, `"`) {
		quote = `"`
	}
	b := ev.builder(0)
	b.lit(quote)
	b.str(ev.runes(s, func(_ int, r rune) string {
		switch {
		case string(r) == quote || r == '\\':
			return `\` + string(r)
		case r == '\n':
			return `\n`
		case r == '\r':
			return `\r`
		case r == '\t':
			return `\t`
		case r < 0x20 || r == 0x7f:
			return fmt.Sprintf(`\x%02x`, r)
		case r < 0x7f || unicode.IsPrint(r):
			return string(r)
		case r < 0x100:
			return fmt.Sprintf(`\x%02x`, r)
		case r < 0x10000:
			return fmt.Sprintf(`\u%04x`, r)
		}
		return fmt.Sprintf(`\U%08x`, r)
	}))
	b.lit(quote)
	return b.done()
}

// jsonOptions are the arguments of tojson.
type jsonOptions struct {
	ascii     bool
	indent    string
	pretty    bool
	comma     string
	colon     string
	sortKeys  bool
	errorLine int
}

// json writes v as Python's json.dumps does.
func (ev *evaluator) json(b *strBuilder, v Value, o *jsonOptions, level int) {
	ev.deeper(o.errorLine)
	defer func() { ev.depth-- }()
	ev.work(o.errorLine, 1)
	newline := func(level int) {
		if o.pretty {
			b.lit("\n" + strings.Repeat(o.indent, level))
		}
	}
	switch v := v.(type) {
	case nil:
		b.lit("null")
	case bool:
		b.lit(strconv.FormatBool(v))
	case int64:
		b.lit(strconv.FormatInt(v, 10))
	case float64:
		b.lit(jsonFloat(v))
	case bigInt:
		b.lit(string(v))
	case Str:
		ev.jsonString(b, v, o.ascii)
	case *List:
		if v.kind > tuple {
			ev.fail(o.errorLine, "%s is not JSON serializable", typeName(v))
		}
		if len(v.items) == 0 {
			b.lit("[]")
			return
		}
		b.lit("[")
		for i, x := range v.items {
			if i > 0 {
				b.lit(o.comma)
			}
			newline(level + 1)
			ev.json(b, x, o, level+1)
		}
		newline(level)
		b.lit("]")
	case *Dict:
		if len(v.keys) == 0 {
			b.lit("{}")
			return
		}
		order := make([]int, len(v.keys))
		for i := range order {
			order[i] = i
		}
		if o.sortKeys {
			ev.sortBy(order, func(a, b int) int { return ev.order(v.keys[a], v.keys[b], o.errorLine) })
		}
		b.lit("{")
		for n, i := range order {
			if n > 0 {
				b.lit(o.comma)
			}
			newline(level + 1)
			key := Str{}
			switch k := v.keys[i].(type) {
			case Str:
				key = k
			case nil:
				key.S = "null"
			case bool:
				key.S = strconv.FormatBool(k)
			case int64:
				key.S = strconv.FormatInt(k, 10)
			case bigInt:
				key.S = string(k)
			case float64:
				key.S = jsonFloat(k)
			default:
				ev.fail(o.errorLine, "keys of JSON objects can't be %s", typeName(k))
			}
			ev.jsonString(b, key, o.ascii)
			b.lit(o.colon)
			ev.json(b, v.vals[i], o, level+1)
		}
		newline(level)
		b.lit("}")
	default:
		ev.fail(o.errorLine, "%s is not JSON serializable", typeName(v))
	}
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

func (ev *evaluator) jsonString(b *strBuilder, s Str, ascii bool) {
	b.lit(`"`)
	b.str(ev.runes(s, func(_ int, r rune) string {
		switch r {
		case '"', '\\':
			return `\` + string(r)
		case '\n':
			return `\n`
		case '\r':
			return `\r`
		case '\t':
			return `\t`
		case '\b':
			return `\b`
		case '\f':
			return `\f`
		}
		switch {
		case r < 0x20:
			return fmt.Sprintf(`\u%04x`, r)
		case r < 0x7f || !ascii:
			return string(r)
		case r >= 0x10000:
			r -= 0x10000
			return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case r == 0x7f:
			return "\x7f"
		}
		return fmt.Sprintf(`\u%04x`, r)
	}))
	b.lit(`"`)
}

// upper and lower follow Python where one character becomes several.
func upper(r rune) string {
	switch r {
	case 'ß':
		return "SS"
	case 'ŉ':
		return "ʼN"
	case 'ǰ':
		return "J̌"
	case 'ﬀ':
		return "FF"
	case 'ﬁ':
		return "FI"
	case 'ﬂ':
		return "FL"
	case 'ﬃ':
		return "FFI"
	case 'ﬄ':
		return "FFL"
	case 'ﬅ', 'ﬆ':
		return "ST"
	}
	return string(unicode.ToUpper(r))
}

func lower(r rune) string {
	if r == 'İ' {
		return "i̇"
	}
	return string(unicode.ToLower(r))
}

func titleCase(r rune) string {
	if r == 'ß' {
		return "Ss"
	}
	return string(unicode.ToTitle(r))
}

// strip removes characters at the ends; chars empty and not given means white
// space.
func strip(s Str, chars string, given, left, right bool) Str {
	cut := pySpace
	if given {
		set := make(map[rune]bool, min(len(chars), 64))
		for _, r := range chars {
			set[r] = true
		}
		cut = func(r rune) bool { return set[r] }
	}
	i, j := 0, len(s.S)
	if left {
		i = j - len(strings.TrimLeftFunc(s.S, cut))
	}
	if right {
		j = max(i, len(strings.TrimRightFunc(s.S, cut)))
	}
	return s.sub(i, j)
}

// split is str.split (max < 0: no limit). sep nil splits at white space.
func split(s Str, sep *string, max int) []Str {
	var out []Str
	if sep == nil {
		i := 0
		for {
			rest := strings.TrimLeftFunc(s.S[i:], pySpace)
			i = len(s.S) - len(rest)
			if rest == "" {
				return out
			}
			if max == 0 {
				return append(out, s.sub(i, len(s.S)))
			}
			n := strings.IndexFunc(rest, pySpace)
			if n < 0 {
				n = len(rest)
			}
			out = append(out, s.sub(i, i+n))
			i += n
			max--
		}
	}
	i := 0
	for max != 0 {
		n := strings.Index(s.S[i:], *sep)
		if n < 0 {
			break
		}
		out = append(out, s.sub(i, i+n))
		i += n + len(*sep)
		max--
	}
	return append(out, s.sub(i, len(s.S)))
}

// rsplit is str.rsplit with a limit.
func rsplit(s Str, sep *string, max int) []Str {
	if max < 0 {
		return split(s, sep, -1)
	}
	var out []Str
	j := len(s.S)
	if sep == nil {
		j = len(strings.TrimRightFunc(s.S, pySpace))
	}
	for ; max > 0; max-- {
		if sep == nil {
			n := strings.LastIndexFunc(s.S[:j], pySpace)
			if n < 0 {
				break
			}
			_, w := utf8.DecodeRuneInString(s.S[n:])
			out = append(out, s.sub(n+w, j))
			j = len(strings.TrimRightFunc(s.S[:n], pySpace))
			continue
		}
		n := strings.LastIndex(s.S[:j], *sep)
		if n < 0 {
			break
		}
		out = append(out, s.sub(n+len(*sep), j))
		j = n
	}
	if sep != nil || j > 0 {
		out = append(out, s.sub(0, j))
	}
	slices.Reverse(out)
	return out
}

// splitLines is str.splitlines.
func (ev *evaluator) splitLines(s Str, keep bool, line int) []Str {
	var out []Str
	start := 0
	for i := 0; i < len(s.S); {
		r, n := utf8.DecodeRuneInString(s.S[i:])
		switch r {
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029, '\r':
			ev.work(line, 1)
			end := i
			if r == '\r' && strings.HasPrefix(s.S[i+1:], "\n") {
				n = 2
			}
			if keep {
				end = i + n
			}
			out = append(out, s.sub(start, end))
			start = i + n
		}
		i += n
	}
	if start < len(s.S) {
		out = append(out, s.sub(start, len(s.S)))
	}
	return out
}

// replace is str.replace: the new text has its own origin.
func (ev *evaluator) replace(s, old, repl Str, max int, line int) Str {
	b := ev.builder(line)
	i := 0
	if old.S == "" {
		off := s.offsets()
		for k, at := range off {
			ev.work(line, 1)
			if max != 0 {
				b.str(repl)
				max--
			}
			if k+1 < len(off) {
				b.slice(s, at, off[k+1])
			}
		}
		return b.done()
	}
	for max != 0 {
		n := strings.Index(s.S[i:], old.S)
		if n < 0 {
			break
		}
		ev.work(line, 1)
		b.slice(s, i, i+n)
		b.str(repl)
		i += n + len(old.S)
		max--
	}
	b.slice(s, i, len(s.S))
	return b.done()
}

// percent is the % operator of strings.
func (ev *evaluator) percent(f Str, arg Value, line int) Str {
	var vals []Value
	if l, ok := arg.(*List); ok && l.kind == tuple {
		vals = l.items
	} else {
		vals = []Value{arg}
	}
	b := ev.builder(line)
	used := 0
	next := func() Value {
		if used >= len(vals) {
			ev.fail(line, "not enough arguments for the format string")
		}
		used++
		return vals[used-1]
	}
	for i := 0; i < len(f.S); {
		n := strings.IndexByte(f.S[i:], '%')
		if n < 0 {
			b.slice(f, i, len(f.S))
			break
		}
		b.slice(f, i, i+n)
		i += n + 1
		var key *Str
		if i < len(f.S) && f.S[i] == '(' {
			end := strings.IndexByte(f.S[i:], ')')
			if end < 0 {
				ev.fail(line, "incomplete format key")
			}
			k := f.sub(i+1, i+end)
			key = &k
			i += end + 1
		}
		flags, width, prec := "", 0, -1
		for i < len(f.S) && strings.IndexByte("-+ 0#", f.S[i]) >= 0 {
			flags += f.S[i : i+1]
			i++
		}
		digits := func() int {
			v := 0
			for i < len(f.S) && f.S[i] >= '0' && f.S[i] <= '9' {
				v = min(v*10+int(f.S[i]-'0'), 1<<20)
				i++
			}
			return v
		}
		width = digits()
		if i < len(f.S) && f.S[i] == '.' {
			i++
			prec = digits()
		}
		if i >= len(f.S) {
			ev.fail(line, "incomplete format")
		}
		verb := f.S[i]
		i++
		if verb == '%' {
			b.lit("%")
			continue
		}
		var v Value
		if key != nil {
			d, ok := arg.(*Dict)
			if !ok {
				ev.fail(line, "a format with names needs a mapping")
			}
			if v, ok = d.get(*key); !ok {
				ev.fail(line, "the format names %q, which is missing", key.S)
			}
			used = len(vals)
		} else {
			v = next()
		}
		ev.work(line, width/4)
		var out Str
		switch verb {
		case 's', 'r', 'a':
			out = ev.toStr(v)
			if verb != 's' {
				rb := ev.builder(line)
				ev.repr(&rb, v)
				out = rb.done()
			}
			if f.safe {
				out = ev.escape(out)
			}
			if prec >= 0 {
				if off := out.offsets(); prec < len(off)-1 {
					out = out.sub(0, off[prec])
				}
			}
		case 'd', 'i', 'u', 'x', 'X', 'o':
			num := ev.number(v, line, "%d format: a number is required")
			if fl, ok := num.(float64); ok {
				if math.IsNaN(fl) || math.Abs(fl) >= 1<<62 {
					ev.fail(line, "cannot convert %v to an integer", fl)
				}
				num = int64(fl)
			}
			out = Str{S: fmt.Sprintf("%"+numFlags(flags, width)+string(map[byte]rune{'d': 'd', 'i': 'd', 'u': 'd', 'x': 'x', 'X': 'X', 'o': 'o'}[verb]), num)}
		case 'f', 'F', 'e', 'E', 'g', 'G':
			if prec < 0 {
				prec = 6
			}
			fl := toFloat(ev.number(v, line, "a float format needs a number"))
			out = Str{S: fmt.Sprintf("%"+numFlags(flags, width)+"."+strconv.Itoa(min(prec, 1000))+string(rune(verb)), fl)}
		case 'c':
			switch v := v.(type) {
			case int64:
				out = Str{S: string(rune(v))}
			case Str:
				out = v
			default:
				ev.fail(line, "%%c needs an integer or a character")
			}
		default:
			ev.fail(line, "unsupported format character %q", verb)
		}
		pad := width - utf8.RuneCountInString(out.S)
		if strings.Contains(flags, "-") {
			b.str(out)
		}
		if pad > 0 {
			b.lit(strings.Repeat(" ", pad))
		}
		if !strings.Contains(flags, "-") {
			b.str(out)
		}
	}
	if _, isDict := arg.(*Dict); used < len(vals) && !isDict {
		ev.fail(line, "not all arguments of the format string are used")
	}
	return b.done().as(f.safe)
}

// numFlags are the flags and width of a number that fmt understands alike.
func numFlags(flags string, width int) string {
	s := ""
	for _, c := range "-+ 0#" {
		if strings.ContainsRune(flags, c) {
			s += string(c)
		}
	}
	if width > 0 {
		s += strconv.Itoa(min(width, 1000))
	}
	return s
}

// strftime formats a time as C's function does, in English.
func strftime(t time.Time, f string) string {
	var b strings.Builder
	for i := 0; i < len(f); i++ {
		if f[i] != '%' || i+1 == len(f) {
			b.WriteByte(f[i])
			continue
		}
		i++
		noPad := false
		if f[i] == '-' && i+1 < len(f) {
			noPad = true
			i++
		}
		num := func(v, width int) {
			if noPad {
				width = 0
			}
			fmt.Fprintf(&b, "%0*d", width, v)
		}
		switch f[i] {
		case 'Y':
			num(t.Year(), 0)
		case 'y':
			num(t.Year()%100, 2)
		case 'm':
			num(int(t.Month()), 2)
		case 'd':
			num(t.Day(), 2)
		case 'e':
			fmt.Fprintf(&b, "%2d", t.Day())
		case 'H':
			num(t.Hour(), 2)
		case 'I':
			num((t.Hour()+11)%12+1, 2)
		case 'M':
			num(t.Minute(), 2)
		case 'S':
			num(t.Second(), 2)
		case 'f':
			num(t.Nanosecond()/1000, 6)
		case 'j':
			num(t.YearDay(), 3)
		case 'w':
			num(int(t.Weekday()), 0)
		case 'u':
			num((int(t.Weekday())+6)%7+1, 0)
		case 'B':
			b.WriteString(t.Month().String())
		case 'b', 'h':
			b.WriteString(t.Month().String()[:3])
		case 'A':
			b.WriteString(t.Weekday().String())
		case 'a':
			b.WriteString(t.Weekday().String()[:3])
		case 'p':
			b.WriteString(t.Format("PM"))
		case 'F':
			b.WriteString(t.Format("2006-01-02"))
		case 'T', 'X':
			b.WriteString(t.Format("15:04:05"))
		case 'R':
			b.WriteString(t.Format("15:04"))
		case 'D', 'x':
			b.WriteString(t.Format("01/02/06"))
		case 'c':
			b.WriteString(t.Format("Mon Jan _2 15:04:05 2006"))
		case 's':
			fmt.Fprint(&b, t.Unix())
		case 'Z', 'z': // datetime.now() has no zone
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '%':
			b.WriteByte('%')
		default:
			b.WriteString("%" + f[i:i+1])
		}
	}
	return b.String()
}
