package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// filterTitle is the filter of that name: words begin after white space,
// hyphens and opening brackets only.
func filterTitle(ev *evaluator, s Str) Str {
	start := true
	return ev.runes(s.as(false), func(_ int, r rune) string {
		first := start
		start = r == '-' || pySpace(r) || r == '(' || r == '{' || r == '[' || r == '<'
		switch {
		case start:
			return string(r)
		case first:
			return upper(r)
		}
		return lower(r)
	})
}

func filterIndent(ev *evaluator, x Value, a *callArgs, line int) Value {
	pad := Str{S: "    "}
	if v, ok := a.get(0, "width"); ok {
		if s, ok := v.(Str); ok {
			pad = s
		} else {
			pad = ev.repeat(Str{S: " "}, ev.argInt(v, line), line).(Str)
		}
	}
	first, blank := optBool(a, 1, "first", false), optBool(a, 2, "blank", false)
	s, ok := x.(Str)
	if !ok {
		ev.fail(line, "indent needs a string, not %s", typeName(x))
	}
	if s.safe {
		pad = pad.as(true) // Jinja takes its indentation for Markup then
	}
	b := ev.builder(line)
	b.str(s)
	b.lit("\n")
	lines := ev.splitLines(b.done(), false, line)
	b = ev.builder(line)
	for i, l := range lines {
		if i > 0 {
			b.lit("\n")
		}
		if i == 0 && first || i > 0 && (blank || l.S != "") {
			b.str(pad)
		}
		b.str(l)
	}
	return b.done().as(s.safe)
}

func filterTruncate(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch x.(type) {
	case nil, bool, int64, float64:
		ev.fail(line, "%s has no length", typeName(x))
	}
	s := ev.toStr(x)
	length := ev.optInt(a, 0, "length", 255, line)
	end := Str{S: "..."}
	if v, ok := a.get(2, "end"); ok {
		end = ev.toStr(v)
	}
	leeway := ev.optInt(a, 3, "leeway", 5, line)
	off := s.offsets()
	n := int64(utf8.RuneCountInString(end.S))
	if length < n || leeway < 0 {
		ev.fail(line, "truncate: length %d is less than that of the end", length)
	}
	if int64(len(off)-1) <= length+leeway {
		return s
	}
	cut := s.sub(0, off[length-n])
	if !optBool(a, 1, "killwords", false) {
		if i := strings.LastIndexByte(cut.S, ' '); i >= 0 {
			cut = cut.sub(0, i)
		}
	}
	if s.safe {
		end = ev.escape(end)
	}
	b := ev.builder(line)
	b.str(cut)
	b.str(end)
	return b.done().as(s.safe)
}

func filterCenter(ev *evaluator, x Value, a *callArgs, line int) Value {
	w := ev.optInt(a, 0, "width", 80, line)
	return strMethods["center"](ev, ev.toStr(x), &callArgs{pos: []Value{w}}, line)
}

func filterFormat(ev *evaluator, x Value, a *callArgs, line int) Value {
	var arg Value = &List{items: a.pos, kind: tuple}
	if len(a.names) > 0 {
		if len(a.pos) > 0 {
			ev.fail(line, "format takes positional or keyword arguments, not both")
		}
		arg = ev.dict(&callArgs{names: a.names, vals: a.vals}, line)
	}
	return ev.percent(ev.toStr(x), arg, line)
}

func filterReplace(ev *evaluator, x Value, a *callArgs, line int) Value {
	old, ok := a.get(0, "old")
	repl, ok2 := a.get(1, "new")
	if !ok || !ok2 {
		ev.fail(line, "replace needs an old and a new string")
	}
	return ev.replace(ev.toStr(x), ev.toStr(old), ev.toStr(repl), int(ev.optInt(a, 2, "count", -1, line)), line)
}

func filterTrim(ev *evaluator, x Value, a *callArgs, line int) Value {
	s := ev.toStr(x)
	ev.grown(line, len(s.S))
	v, ok := a.get(0, "chars")
	if !ok || v == nil {
		return strip(s, "", false, true, true)
	}
	return strip(s, ev.argStr(a, 0, "chars", line).S, true, true, true)
}

func filterWordcount(ev *evaluator, x Value, a *callArgs, line int) Value {
	s := ev.toStr(x)
	ev.grown(line, len(s.S))
	n, inWord := int64(0), false
	for _, r := range s.S {
		was := inWord
		inWord = r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
		if inWord && !was {
			n++
		}
	}
	return n
}
