package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type strMethod func(ev *evaluator, s Str, a *callArgs, line int) Value

var strMethods map[string]strMethod

func init() {
	strMethods = map[string]strMethod{
		"strip": stripper(true, true), "lstrip": stripper(true, false), "rstrip": stripper(false, true),
		"split": splitter(split), "rsplit": splitter(rsplit),
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"find": finder(false, false), "rfind": finder(true, false), "index": finder(false, true), "rindex": finder(true, true),
		"upper":      mapper(eachRune(upper)),
		"lower":      mapper(eachRune(lower)),
		"casefold":   mapper(eachRune(casefold)),
		"capitalize": mapper(capitalize),
		"title":      mapper(title),
		"swapcase": mapper(eachRune(func(r rune) string {
			if unicode.IsUpper(r) {
				return lower(r)
			}
			return upper(r)
		})),
		"isascii":      strIsascii,
		"isprintable":  strIsprintable,
		"isidentifier": strIsidentifier,
		"istitle":      func(ev *evaluator, s Str, a *callArgs, line int) Value { return isTitle(s.S) },
		"expandtabs":   expandTabs,
		"format_map":   strFormatMap,
		"isdigit":      allRunes(unicode.IsDigit), "isnumeric": allRunes(unicode.IsNumber), "isdecimal": allRunes(unicode.IsDigit),
		"isalpha": allRunes(unicode.IsLetter), "isspace": allRunes(pySpace),
		"isalnum": allRunes(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper": cased(unicode.IsLower), "islower": cased(unicode.IsUpper),
		"ljust": justifier(false, true), "rjust": justifier(true, false), "center": justifier(true, true),
		"partition": partitioner(false), "rpartition": partitioner(true),
		"splitlines":   strSplitlines,
		"replace":      strReplace,
		"count":        strCount,
		"join":         strJoin,
		"removeprefix": strRemoveprefix,
		"removesuffix": strRemovesuffix,
		"zfill":        strZfill,
		"format":       func(ev *evaluator, s Str, a *callArgs, line int) Value { return ev.format(s, a, line) },
	}
}

func stripper(left, right bool) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		v, ok := a.get(0, "chars")
		if !ok || v == nil {
			return strip(s, "", false, left, right)
		}
		return strip(s, ev.argStr(a, 0, "chars", line).S, true, left, right)
	}
}

func splitter(f func(Str, *string, int) []Str) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		var sep *string
		parts := len(s.S) / 2
		if v, ok := a.get(0, "sep"); ok && v != nil {
			t := ev.argStr(a, 0, "sep", line).S
			if t == "" {
				ev.fail(line, "empty separator")
			}
			sep = &t
			parts = strings.Count(s.S, t)
		}
		limit := ev.optInt(a, 1, "maxsplit", -1, line)
		if limit >= 0 {
			parts = int(min(int64(parts), limit))
		}
		ev.work(line, parts)
		return ev.strs(f(s, sep, int(limit)), line)
	}
}

// affix is startswith and endswith, which take a string or a tuple.
func affix(has func(s, x string) bool) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		if len(a.pos) < 1 || len(a.pos) > 3 {
			ev.fail(line, "one to three arguments are needed")
		}
		_, i, j, ok := ev.window(s, a, line)
		part := ""
		if ok {
			part = s.S[i:j]
		}
		if l, isList := a.pos[0].(*List); isList && l.kind == tuple {
			for _, x := range l.items {
				t, isStr := x.(Str)
				if !isStr {
					ev.fail(line, "the tuple must hold strings, not %s", typeName(x))
				}
				ev.work(line, 1+len(t.S)/32)
				if ok && has(part, t.S) {
					return true
				}
			}
			return false
		}
		return has(part, ev.argStr(a, 0, "prefix", line).S) && ok
	}
}

func finder(last, must bool) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		sub := ev.argStr(a, 0, "sub", line).S
		start, i, j, ok := ev.window(s, a, line)
		at := -1
		if ok && last {
			at = strings.LastIndex(s.S[i:j], sub)
		} else if ok {
			at = strings.Index(s.S[i:j], sub)
		}
		if at < 0 {
			if must {
				ev.fail(line, "substring not found")
			}
			return int64(-1)
		}
		return int64(start + utf8.RuneCountInString(s.S[i:i+at]))
	}
}

func allRunes(ok func(r rune) bool) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		for _, r := range s.S {
			if !ok(r) {
				return false
			}
		}
		return s.S != ""
	}
}

func cased(bad func(r rune) bool) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		any := false
		for _, r := range s.S {
			if bad(r) {
				return false
			}
			any = any || unicode.IsUpper(r) || unicode.IsLower(r)
		}
		return any
	}
}

func justifier(left, right bool) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		fill := Str{S: " ", safe: s.safe}
		if _, ok := a.get(1, "fillchar"); ok {
			fill = ev.argStr(a, 1, "fillchar", line)
			if s.safe {
				fill = ev.escape(fill)
			}
			if utf8.RuneCountInString(fill.S) != 1 {
				ev.fail(line, "the fill character must be one character")
			}
		}
		v, _ := a.get(0, "width")
		pad := ev.argInt(v, line) - int64(utf8.RuneCountInString(s.S))
		if pad <= 0 {
			return s
		}
		before, after := int64(0), pad
		if left && right {
			// CPython puts the odd one left if the width is odd too.
			before = pad/2 + pad&ev.argInt(v, line)&1
			after = pad - before
		} else if left {
			before, after = pad, 0
		}
		b := ev.builder(line)
		b.str(ev.repeat(fill, before, line).(Str))
		b.str(s)
		b.str(ev.repeat(fill, after, line).(Str))
		return b.done().as(s.safe)
	}
}

func partitioner(last bool) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		sep := ev.argStr(a, 0, "sep", line)
		if sep.S == "" {
			ev.fail(line, "empty separator")
		}
		i := strings.Index(s.S, sep.S)
		if last {
			i = strings.LastIndex(s.S, sep.S)
		}
		out := &List{kind: tuple}
		switch {
		case i >= 0:
			out.items = []Value{s.sub(0, i), s.sub(i, i+len(sep.S)), s.sub(i+len(sep.S), len(s.S))}
		case last:
			out.items = []Value{Str{safe: s.safe}, Str{safe: s.safe}, s}
		default:
			out.items = []Value{s, Str{safe: s.safe}, Str{safe: s.safe}}
		}
		return out
	}
}

func mapper(f func(ev *evaluator, s Str) Str) strMethod {
	return func(ev *evaluator, s Str, a *callArgs, line int) Value {
		if len(a.pos)+len(a.names) > 0 {
			ev.fail(line, "no arguments are taken here")
		}
		return f(ev, s)
	}
}

func strIsascii(ev *evaluator, s Str, a *callArgs, line int) Value {
	return strings.IndexFunc(s.S, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

func strIsprintable(ev *evaluator, s Str, a *callArgs, line int) Value {
	return strings.IndexFunc(s.S, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) < 0
}

func strIsidentifier(ev *evaluator, s Str, a *callArgs, line int) Value {
	for i, r := range s.S {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.Is(unicode.Mn, r)) {
			return false
		}
	}
	return s.S != ""
}

func strFormatMap(ev *evaluator, s Str, a *callArgs, line int) Value {
	v, _ := a.get(0, "mapping")
	d, ok := v.(*Dict)
	if !ok {
		ev.fail(line, "format_map needs a mapping, not %s", typeName(v))
	}
	named := &callArgs{}
	for i, k := range d.keys {
		if k, ok := k.(Str); ok {
			named.names, named.vals = append(named.names, k.S), append(named.vals, d.vals[i])
		}
	}
	ev.work(line, len(d.keys))
	return ev.format(s, named, line)
}

func strSplitlines(ev *evaluator, s Str, a *callArgs, line int) Value {
	return ev.strs(ev.splitLines(s, optBool(a, 0, "keepends", false), line), line)
}

func strReplace(ev *evaluator, s Str, a *callArgs, line int) Value {
	repl := ev.argStr(a, 1, "new", line)
	if s.safe {
		repl = ev.escape(repl)
	}
	return ev.replace(s, ev.argStr(a, 0, "old", line), repl, int(ev.optInt(a, 2, "count", -1, line)), line).as(s.safe)
}

func strCount(ev *evaluator, s Str, a *callArgs, line int) Value {
	sub := ev.argStr(a, 0, "sub", line).S
	_, i, j, ok := ev.window(s, a, line)
	if !ok {
		return int64(0)
	}
	return int64(strings.Count(s.S[i:j], sub))
}

func strJoin(ev *evaluator, s Str, a *callArgs, line int) Value {
	v, _ := a.get(0, "iterable")
	b := ev.builder(line)
	for i, x := range ev.iterate(v, line) {
		ev.work(line, 1)
		t, ok := x.(Str)
		if s.safe {
			t, ok = ev.escape(ev.toStr(x)), true
		}
		if !ok {
			ev.fail(line, "item %d to join is %s, not a string", i, typeName(x))
		}
		if i > 0 {
			b.str(s)
		}
		b.str(t)
	}
	return b.done().as(s.safe)
}

func strRemoveprefix(ev *evaluator, s Str, a *callArgs, line int) Value {
	if p := ev.argStr(a, 0, "prefix", line).S; strings.HasPrefix(s.S, p) {
		return s.sub(len(p), len(s.S))
	}
	return s
}

func strRemovesuffix(ev *evaluator, s Str, a *callArgs, line int) Value {
	if p := ev.argStr(a, 0, "suffix", line).S; strings.HasSuffix(s.S, p) {
		return s.sub(0, len(s.S)-len(p))
	}
	return s
}

func strZfill(ev *evaluator, s Str, a *callArgs, line int) Value {
	v, _ := a.get(0, "width")
	pad := ev.argInt(v, line) - int64(utf8.RuneCountInString(s.S))
	if pad <= 0 {
		return s
	}
	b := ev.builder(line)
	k := 0
	if s.S != "" && (s.S[0] == '-' || s.S[0] == '+') {
		k = 1
	}
	b.slice(s, 0, k)
	b.str(ev.repeat(Str{S: "0"}, pad, line).(Str))
	b.slice(s, k, len(s.S))
	return b.done().as(s.safe)
}

// window reads the optional arguments start and end of find, count and their
// like: the first character and the bytes between; false if start is behind
// the string or its end.
func (ev *evaluator) window(s Str, a *callArgs, line int) (start, i, j int, ok bool) {
	if len(a.pos) < 2 {
		return 0, 0, len(s.S), true
	}
	off := s.offsets()
	ev.work(line, len(off)/8)
	n := int64(len(off) - 1)
	clamp := func(v int64) int64 {
		if v < 0 {
			v = max(0, v+n)
		}
		return v
	}
	from := clamp(ev.optInt(a, 1, "start", 0, line))
	to := min(n, clamp(ev.optInt(a, 2, "end", n, line)))
	if from > n || from > to {
		return 0, 0, 0, false
	}
	return int(from), off[from], off[to], true
}

// isTitle is str.istitle.
func isTitle(s string) bool {
	inWord, any := false, false
	for _, r := range s {
		up, low := unicode.IsUpper(r) || unicode.IsTitle(r), unicode.IsLower(r)
		if up && inWord || low && !inWord {
			return false
		}
		inWord = up || low
		any = any || inWord
	}
	return any
}

// expandTabs is str.expandtabs.
func expandTabs(ev *evaluator, s Str, a *callArgs, line int) Value {
	size := int(min(max(0, ev.optInt(a, 0, "tabsize", 8, line)), int64(ev.limits.Output)))
	b := ev.builder(line)
	column := 0
	for i, r := range s.S {
		switch r {
		case '\t':
			if size > 0 {
				n := size - column%size
				ev.added(line, 0, len(b.b)+n)
				b.lit(strings.Repeat(" ", n))
				column += n
			}
			continue
		case '\n', '\r':
			column = 0
		default:
			column++
		}
		ev.work(line, 1)
		b.slice(s, i, i+utf8.RuneLen(r))
	}
	return b.done().as(s.safe)
}

// strs makes a list of strings.
func (ev *evaluator) strs(in []Str, line int) *List {
	ev.work(line, len(in))
	out := &List{items: make([]Value, len(in))}
	for i, s := range in {
		out.items[i] = s
	}
	return out
}
