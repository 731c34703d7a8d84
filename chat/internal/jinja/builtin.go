package jinja

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// sortBy sorts stably and counts the work.
func (ev *evaluator) sortBy(idx []int, cmp func(a, b int) int) {
	sort.SliceStable(idx, func(i, j int) bool { return cmp(idx[i], idx[j]) < 0 })
}

func fn(name string, call func(ev *evaluator, line int, a *callArgs) Value) *function {
	return &function{name, call}
}

func makeGlobals() map[string]Value {
	return map[string]Value{
		"range": fn("range", func(ev *evaluator, line int, a *callArgs) Value {
			v := [3]int64{0, 0, 1}
			switch len(a.pos) {
			case 1:
				v[1] = ev.argInt(a.pos[0], line)
			case 2, 3:
				for i, x := range a.pos {
					v[i] = ev.argInt(x, line)
				}
			default:
				ev.fail(line, "range takes one to three integers")
			}
			if v[2] == 0 {
				ev.fail(line, "range step must not be zero")
			}
			out := &List{kind: rangeObj}
			for i := v[0]; v[2] > 0 && i < v[1] || v[2] < 0 && i > v[1]; i += v[2] {
				if len(out.items) >= maxRange {
					ev.fail(line, "range of more than %d numbers", maxRange)
				}
				out.items = append(out.items, i)
				if v[2] > 0 && i > math.MaxInt64-v[2] || v[2] < 0 && i < math.MinInt64-v[2] {
					break
				}
			}
			ev.work(line, len(out.items))
			return out
		}),
		"dict": fn("dict", func(ev *evaluator, line int, a *callArgs) Value { return ev.dict(a, line) }),
		"namespace": fn("namespace", func(ev *evaluator, line int, a *callArgs) Value {
			d := ev.dict(a, line)
			for _, k := range d.keys {
				if s, ok := k.(Str); ok && strings.HasPrefix(s.S, "_") {
					ev.fail(line, "the attribute %q of a namespace begins with an underscore", s.S)
				}
			}
			return &namespace{d}
		}),
		"raise_exception": fn("raise_exception", func(ev *evaluator, line int, a *callArgs) Value {
			msg := Str{}
			if v, ok := a.get(0, "message"); ok {
				msg = ev.toStr(v)
			}
			panic(&Error{Line: line, Msg: msg.S, Raised: true})
		}),
		"strftime_now": fn("strftime_now", func(ev *evaluator, line int, a *callArgs) Value {
			f := ev.argStr(a, 0, "format", line)
			return Str{S: strftime(ev.now, f.S)}
		}),
	}
}

func (ev *evaluator) dict(a *callArgs, line int) *Dict {
	d := NewDict(0)
	if len(a.pos) > 1 {
		ev.fail(line, "dict takes one positional argument")
	}
	if len(a.pos) == 1 {
		if src, ok := a.pos[0].(*Dict); ok {
			for i, k := range src.keys {
				d.set(k, src.vals[i])
			}
		} else {
			for _, pair := range ev.iterate(a.pos[0], line) {
				kv := ev.iterate(pair, line)
				if len(kv) != 2 || !d.set(kv[0], kv[1]) {
					ev.fail(line, "dict needs pairs of a key and a value")
				}
			}
		}
	}
	for i, n := range a.names {
		d.Set(n, a.vals[i])
	}
	ev.work(line, len(d.keys))
	return d
}

func (ev *evaluator) argInt(v Value, line int) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case bool:
		return int64(toFloat(v))
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	}
	ev.fail(line, "an integer is needed, not %s", typeName(v))
	return 0
}

// argStr is a required string argument.
func (ev *evaluator) argStr(a *callArgs, i int, name string, line int) Str {
	v, ok := a.get(i, name)
	if !ok {
		ev.fail(line, "missing argument %q", name)
	}
	s, ok := v.(Str)
	if !ok {
		ev.fail(line, "argument %q must be a string, not %s", name, typeName(v))
	}
	return s
}

// optInt is an optional integer argument; none counts as not given.
func (ev *evaluator) optInt(a *callArgs, i int, name string, def int64, line int) int64 {
	v, ok := a.get(i, name)
	if !ok || v == nil {
		return def
	}
	return ev.argInt(v, line)
}

func optBool(a *callArgs, i int, name string, def bool) bool {
	if v, ok := a.get(i, name); ok {
		return truth(v)
	}
	return def
}

// method is attribute name of x as Python has it, nil if there is none.
func (ev *evaluator) method(x Value, name string, line int) Value {
	switch x := x.(type) {
	case Str:
		if m, ok := strMethods[name]; ok {
			return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
				ev.grown(line, len(x.S))
				return m(ev, x, a, line)
			})
		}
	case *Dict:
		return dictMethod(x, name)
	case *namespace:
		if v, ok := x.d.get(Str{S: name}); ok {
			return v
		}
	case *List:
		switch name {
		case "index", "count":
			if x.kind > rangeObj {
				return nil
			}
			return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
				v, _ := a.get(0, "")
				n := int64(0)
				for i, y := range x.items {
					if ev.equal(y, v, line) {
						if name == "index" {
							return int64(i)
						}
						n++
					}
				}
				if name == "index" {
					ev.fail(line, "the value is not in the list")
				}
				return n
			})
		case "copy":
			if x.kind == list {
				return fn(name, func(ev *evaluator, line int, a *callArgs) Value { return x })
			}
		case "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse":
			if x.kind == list {
				ev.fail(line, "a template may not change a list (%s)", name)
			}
		}
	case *loopVar:
		return x.attr(name)
	case *macro:
		if name == "name" {
			return Str{S: x.def.name}
		}
	}
	return nil
}

func dictMethod(d *Dict, name string) Value {
	var call func(ev *evaluator, line int, a *callArgs) Value
	switch name {
	case "items":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			return &List{items: pairs(ev, d, line), kind: view, name: "dict_items"}
		}
	case "keys":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			ev.work(line, len(d.keys))
			return &List{items: slices.Clone(d.keys), kind: view, name: "dict_keys"}
		}
	case "values":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			ev.work(line, len(d.keys))
			return &List{items: slices.Clone(d.vals), kind: view, name: "dict_values"}
		}
	case "get":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			k, ok := a.get(0, "")
			if !ok {
				ev.fail(line, "get needs a key")
			}
			if v, ok := d.get(k); ok {
				return v
			}
			v, _ := a.get(1, "default")
			return v
		}
	case "copy":
		call = func(ev *evaluator, line int, a *callArgs) Value { return d }
	case "pop", "popitem", "update", "setdefault", "clear":
		call = func(ev *evaluator, line int, a *callArgs) Value {
			ev.fail(line, "a template may not change a dictionary (%s)", name)
			return nil
		}
	default:
		return nil
	}
	return fn(name, call)
}

func pairs(ev *evaluator, d *Dict, line int) []Value {
	ev.work(line, 2*len(d.keys))
	out := make([]Value, len(d.keys))
	for i, k := range d.keys {
		out[i] = &List{items: []Value{k, d.vals[i]}, kind: tuple}
	}
	return out
}

func (l *loopVar) attr(name string) Value {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.i + 1)
	case "index0":
		return int64(l.i)
	case "revindex":
		return int64(n - l.i)
	case "revindex0":
		return int64(n - l.i - 1)
	case "first":
		return l.i == 0
	case "last":
		return l.i == n-1
	case "length":
		return int64(n)
	case "depth":
		return int64(1) // deeper only in recursive loops
	case "depth0":
		return int64(0)
	case "previtem":
		if l.i == 0 {
			return undefined{"there is no previous item"}
		}
		return l.items[l.i-1]
	case "nextitem":
		if l.i == n-1 {
			return undefined{"there is no next item"}
		}
		return l.items[l.i+1]
	case "cycle":
		i := l.i
		return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
			if len(a.pos) == 0 {
				ev.fail(line, "no items for cycling given")
			}
			return a.pos[i%len(a.pos)]
		})
	case "changed":
		return fn(name, func(ev *evaluator, line int, a *callArgs) Value {
			now := &List{items: a.pos, kind: tuple}
			if l.started && ev.equal(l.changed, now, line) {
				return false
			}
			l.started, l.changed = true, now
			return true
		})
	}
	return nil
}

type strMethod func(ev *evaluator, s Str, a *callArgs, line int) Value

var strMethods map[string]strMethod

func init() {
	stripper := func(left, right bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			v, ok := a.get(0, "chars")
			if !ok || v == nil {
				return strip(s, "", false, left, right)
			}
			return strip(s, ev.argStr(a, 0, "chars", line).S, true, left, right)
		}
	}
	splitter := func(f func(Str, *string, int) []Str) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			var sep *string
			if v, ok := a.get(0, "sep"); ok && v != nil {
				t := ev.argStr(a, 0, "sep", line).S
				if t == "" {
					ev.fail(line, "empty separator")
				}
				sep = &t
			}
			return ev.strs(f(s, sep, int(ev.optInt(a, 1, "maxsplit", -1, line))), line)
		}
	}
	// affix is startswith and endswith, which take a string or a tuple.
	affix := func(has func(s, x string) bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if len(a.pos) != 1 {
				ev.fail(line, "one argument is needed")
			}
			if l, ok := a.pos[0].(*List); ok && l.kind == tuple {
				for _, x := range l.items {
					if t, ok := x.(Str); ok && has(s.S, t.S) {
						return true
					}
				}
				return false
			}
			return has(s.S, ev.argStr(a, 0, "prefix", line).S)
		}
	}
	find := func(last, must bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if len(a.pos) != 1 {
				ev.fail(line, "find and index take one argument here")
			}
			sub := ev.argStr(a, 0, "sub", line).S
			i := strings.Index(s.S, sub)
			if last {
				i = strings.LastIndex(s.S, sub)
			}
			if i < 0 {
				if must {
					ev.fail(line, "substring not found")
				}
				return int64(-1)
			}
			return int64(utf8.RuneCountInString(s.S[:i]))
		}
	}
	all := func(ok func(r rune) bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			for _, r := range s.S {
				if !ok(r) {
					return false
				}
			}
			return s.S != ""
		}
	}
	cased := func(bad func(r rune) bool) strMethod {
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
	just := func(left, right bool) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			fill := Str{S: " "}
			if _, ok := a.get(1, "fillchar"); ok {
				fill = ev.argStr(a, 1, "fillchar", line)
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
			var b strBuilder
			b.str(ev.repeat(fill, before, line).(Str))
			b.str(s)
			b.str(ev.repeat(fill, after, line).(Str))
			return b.done()
		}
	}
	part := func(last bool) strMethod {
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
				out.items = []Value{Str{}, Str{}, s}
			default:
				out.items = []Value{s, Str{}, Str{}}
			}
			return out
		}
	}
	mapper := func(f func(s Str) Str) strMethod {
		return func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if len(a.pos)+len(a.names) > 0 {
				ev.fail(line, "no arguments are taken here")
			}
			return f(s)
		}
	}
	strMethods = map[string]strMethod{
		"strip": stripper(true, true), "lstrip": stripper(true, false), "rstrip": stripper(false, true),
		"split": splitter(split), "rsplit": splitter(rsplit),
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"find": find(false, false), "rfind": find(true, false), "index": find(false, true), "rindex": find(true, true),
		"upper":      mapper(func(s Str) Str { return s.runes(func(_ int, r rune) string { return upper(r) }) }),
		"lower":      mapper(func(s Str) Str { return s.runes(func(_ int, r rune) string { return lower(r) }) }),
		"casefold":   mapper(func(s Str) Str { return s.runes(func(_ int, r rune) string { return casefold(r) }) }),
		"capitalize": mapper(capitalize),
		"title":      mapper(title),
		"swapcase": mapper(func(s Str) Str {
			return s.runes(func(_ int, r rune) string {
				if unicode.IsUpper(r) {
					return lower(r)
				}
				return upper(r)
			})
		}),
		"isdigit": all(unicode.IsDigit), "isnumeric": all(unicode.IsNumber), "isdecimal": all(unicode.IsDigit),
		"isalpha": all(unicode.IsLetter), "isspace": all(pySpace),
		"isalnum": all(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper": cased(unicode.IsLower), "islower": cased(unicode.IsUpper),
		"ljust": just(false, true), "rjust": just(true, false), "center": just(true, true),
		"partition": part(false), "rpartition": part(true),
		"splitlines": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			return ev.strs(splitLines(s, optBool(a, 0, "keepends", false)), line)
		},
		"replace": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			return ev.replace(s, ev.argStr(a, 0, "old", line), ev.argStr(a, 1, "new", line), int(ev.optInt(a, 2, "count", -1, line)), line)
		},
		"count": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			return int64(strings.Count(s.S, ev.argStr(a, 0, "sub", line).S))
		},
		"join": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			v, _ := a.get(0, "iterable")
			var b strBuilder
			for i, x := range ev.iterate(v, line) {
				t, ok := x.(Str)
				if !ok {
					ev.fail(line, "item %d to join is %s, not a string", i, typeName(x))
				}
				if i > 0 {
					b.str(s)
				}
				b.str(t)
				ev.grownOnce(line, len(b.b))
			}
			ev.grown(line, len(b.b))
			return b.done()
		},
		"removeprefix": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if p := ev.argStr(a, 0, "prefix", line).S; strings.HasPrefix(s.S, p) {
				return s.sub(len(p), len(s.S))
			}
			return s
		},
		"removesuffix": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			if p := ev.argStr(a, 0, "suffix", line).S; strings.HasSuffix(s.S, p) {
				return s.sub(0, len(s.S)-len(p))
			}
			return s
		},
		"zfill": func(ev *evaluator, s Str, a *callArgs, line int) Value {
			v, _ := a.get(0, "width")
			pad := ev.argInt(v, line) - int64(utf8.RuneCountInString(s.S))
			if pad <= 0 {
				return s
			}
			var b strBuilder
			k := 0
			if s.S != "" && (s.S[0] == '-' || s.S[0] == '+') {
				k = 1
			}
			b.slice(s, 0, k)
			b.str(ev.repeat(Str{S: "0"}, pad, line).(Str))
			b.slice(s, k, len(s.S))
			return b.done()
		},
		"format": func(ev *evaluator, s Str, a *callArgs, line int) Value { return ev.format(s, a, line) },
	}
}

func casefold(r rune) string {
	if r == 'ß' {
		return "ss"
	}
	return lower(r)
}

func capitalize(s Str) Str {
	return s.runes(func(at int, r rune) string {
		if at == 0 {
			return titleCase(r)
		}
		return lower(r)
	})
}

// title is str.title: a letter after a non-letter is upper case.
func title(s Str) Str {
	inWord := false
	return s.runes(func(_ int, r rune) string {
		was := inWord
		inWord = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
		if was {
			return lower(r)
		}
		return titleCase(r)
	})
}

// filterTitle is the filter of that name: words begin after white space,
// hyphens and opening brackets only.
func filterTitle(s Str) Str {
	start := true
	return s.runes(func(_ int, r rune) string {
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

// strs makes a list of strings.
func (ev *evaluator) strs(in []Str, line int) *List {
	ev.work(line, len(in))
	out := &List{items: make([]Value, len(in))}
	for i, s := range in {
		out.items[i] = s
	}
	return out
}

type filterFunc func(ev *evaluator, x Value, a *callArgs, line int) Value

var filters map[string]filterFunc

func (ev *evaluator) filter(name string, x Value, a *callArgs, line int) Value {
	f, ok := filters[name]
	if !ok {
		ev.fail(line, "no filter named %q", name)
	}
	ev.work(line, 1)
	return f(ev, x, a, line)
}

// path reads the attribute argument of filters: "a.b" or a number.
func (ev *evaluator) path(x Value, attr Value, line int) Value {
	return ev.pathOr(x, attr, nil, line)
}

// pathOr takes def, if it is not nil, for what is undefined on the way.
func (ev *evaluator) pathOr(x Value, attr, def Value, line int) Value {
	switch p := attr.(type) {
	case Str:
		for part := range strings.SplitSeq(p.S, ".") {
			var key Value = Str{S: part}
			if n, err := strconv.ParseInt(part, 10, 64); err == nil {
				key = n
			}
			x = ev.item(x, key, line)
			if _, undef := x.(undefined); undef && def != nil {
				x = def
			}
		}
		return x
	case nil:
		return x
	}
	return ev.item(x, attr, line)
}

// fold is the key of a case-insensitive comparison.
func fold(v Value, sensitive bool) Value {
	if s, ok := v.(Str); ok && !sensitive {
		return Str{S: s.runes(func(_ int, r rune) string { return lower(r) }).S}
	}
	return v
}

func (ev *evaluator) sorted(items []Value, key func(Value) Value, reverse bool, line int) []Value {
	ev.work(line, len(items))
	keys := make([]Value, len(items))
	idx := make([]int, len(items))
	for i, x := range items {
		keys[i], idx[i] = key(x), i
	}
	ev.sortBy(idx, func(a, b int) int {
		c := ev.order(keys[a], keys[b], line)
		if reverse {
			return -c
		}
		return c
	})
	out := make([]Value, len(items))
	for i, k := range idx {
		out[i] = items[k]
	}
	return out
}

// pick is select, reject, selectattr and rejectattr.
func pick(byAttr, keep bool) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value {
		pos := a.pos
		var attr Value
		if byAttr {
			if len(pos) == 0 {
				ev.fail(line, "missing the attribute's name")
			}
			attr, pos = pos[0], pos[1:]
		}
		test := func(v Value) bool { return truth(v) }
		if len(pos) > 0 {
			name, ok := pos[0].(Str)
			if !ok {
				ev.fail(line, "the name of a test must be a string")
			}
			rest := &callArgs{pos: pos[1:], names: a.names, vals: a.vals}
			test = func(v Value) bool { return ev.test(name.S, v, rest, line) }
		}
		out := &List{kind: generator}
		for _, v := range ev.iterate(x, line) {
			ev.work(line, 1)
			if test(ev.path(v, attr, line)) == keep {
				out.items = append(out.items, v)
			}
		}
		return out
	}
}

// extreme is min and max.
func extreme(sign int) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value {
		attr, _ := a.get(1, "attribute")
		sensitive := optBool(a, 0, "case_sensitive", false)
		var best, bestKey Value
		for i, v := range ev.iterate(x, line) {
			k := fold(ev.path(v, attr, line), sensitive)
			if i == 0 || sign*ev.order(k, bestKey, line) > 0 {
				best, bestKey = v, k
			}
		}
		if bestKey == nil && best == nil {
			return undefined{"the extreme of an empty sequence"}
		}
		return best
	}
}

// onStr is a filter that first makes a string of its value.
func onStr(f func(s Str) Str) filterFunc {
	return func(ev *evaluator, x Value, a *callArgs, line int) Value {
		s := ev.toStr(x)
		ev.grown(line, len(s.S))
		return f(s)
	}
}

func filterDefault(ev *evaluator, x Value, a *callArgs, line int) Value {
	_, undef := x.(undefined)
	if undef || optBool(a, 1, "boolean", false) && !truth(x) {
		if v, ok := a.get(0, "default_value"); ok {
			return v
		}
		return Str{}
	}
	return x
}

func filterLength(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch v := x.(type) {
	case Str:
		return int64(utf8.RuneCountInString(v.S))
	case *List:
		if v.kind != generator {
			return int64(len(v.items))
		}
	case *Dict:
		return int64(len(v.keys))
	case undefined:
		return int64(0)
	}
	ev.fail(line, "%s has no length", typeName(x))
	return nil
}

func filterInt(ev *evaluator, x Value, a *callArgs, line int) Value {
	def, ok := a.get(0, "default")
	if !ok {
		def = int64(0)
	}
	switch v := x.(type) {
	case int64, bool:
		return ev.number(v, line, "")
	case float64:
		if math.IsNaN(v) || math.Abs(v) >= 1<<62 {
			return def
		}
		return int64(v)
	case Str:
		base := int(ev.optInt(a, 1, "base", 10, line))
		s := strings.ReplaceAll(strings.TrimFunc(v.S, pySpace), "_", "")
		if base != 10 {
			s = strings.ToLower(s)
			for b, p := range map[int]string{16: "0x", 8: "0o", 2: "0b"} {
				if b == base {
					s = strings.TrimPrefix(s, p)
				}
			}
		}
		if n, err := strconv.ParseInt(s, max(2, min(base, 36)), 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
			return int64(f)
		}
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	}
	return def
}

func filterFloat(ev *evaluator, x Value, a *callArgs, line int) Value {
	switch v := x.(type) {
	case int64, bool, float64:
		return toFloat(v)
	case Str:
		if f, err := strconv.ParseFloat(strings.TrimFunc(v.S, pySpace), 64); err == nil {
			return f
		}
	case undefined:
		ev.fail(line, "%s is undefined", v.what)
	}
	if def, ok := a.get(0, "default"); ok {
		return def
	}
	return 0.0
}

func filterRound(ev *evaluator, x Value, a *callArgs, line int) Value {
	prec := ev.optInt(a, 0, "precision", 0, line)
	method := "common"
	if v, ok := a.get(1, "method"); ok {
		method = ev.toStr(v).S
	}
	n := ev.number(x, line, "round needs a number")
	if prec < -300 || prec > 300 {
		ev.fail(line, "precision %d is out of range", prec)
	}
	switch method {
	case "common":
		if _, ok := n.(int64); ok && prec >= 0 {
			return n
		}
		// Python rounds the exact decimal value, halves to even.
		f := toFloat(n)
		if prec >= 0 {
			r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(prec), 64), 64)
			if err == nil {
				return r
			}
			return f
		}
		p := math.Pow(10, float64(-prec))
		r := math.RoundToEven(f/p) * p
		if _, ok := n.(int64); ok {
			return int64(r)
		}
		return r
	case "ceil", "floor":
		p := math.Pow(10, float64(prec))
		if method == "ceil" {
			return math.Ceil(toFloat(n)*p) / p
		}
		return math.Floor(toFloat(n)*p) / p
	}
	ev.fail(line, "method must be common, ceil or floor")
	return nil
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
	var b strBuilder
	b.str(ev.toStr(x))
	b.lit("\n")
	lines := splitLines(b.done(), false)
	b = strBuilder{}
	for i, l := range lines {
		if i > 0 {
			b.lit("\n")
		}
		if i == 0 && first || i > 0 && (blank || l.S != "") {
			b.str(pad)
		}
		b.str(l)
		ev.grownOnce(line, len(b.b))
	}
	ev.grown(line, len(b.b))
	return b.done()
}

func filterJoin(ev *evaluator, x Value, a *callArgs, line int) Value {
	var sep Str
	if v, ok := a.get(0, "d"); ok {
		sep = ev.toStr(v)
	}
	attr, _ := a.get(1, "attribute")
	var b strBuilder
	for i, v := range ev.iterate(x, line) {
		if i > 0 {
			b.str(sep)
		}
		b.str(ev.toStr(ev.path(v, attr, line)))
		ev.grownOnce(line, len(b.b))
	}
	ev.grown(line, len(b.b))
	return b.done()
}

func filterToJSON(ev *evaluator, x Value, a *callArgs, line int) Value {
	o := &jsonOptions{comma: ", ", colon: ": ", errorLine: line}
	o.ascii = optBool(a, 0, "ensure_ascii", false)
	if v, ok := a.get(1, "indent"); ok && v != nil {
		o.pretty, o.comma = true, ","
		if s, ok := v.(Str); ok {
			o.indent = s.S
		} else {
			o.indent = strings.Repeat(" ", int(max(0, min(ev.argInt(v, line), 1000))))
		}
	}
	if v, ok := a.get(2, "separators"); ok && v != nil {
		pair := ev.iterate(v, line)
		if len(pair) != 2 {
			ev.fail(line, "separators must be two strings")
		}
		o.comma, o.colon = ev.toStr(pair[0]).S, ev.toStr(pair[1]).S
	}
	o.sortKeys = optBool(a, 3, "sort_keys", false)
	var b strBuilder
	ev.json(&b, x, o, 0)
	return b.done()
}

func filterMap(ev *evaluator, x Value, a *callArgs, line int) Value {
	out := &List{kind: generator}
	if attr, ok := a.get(-1, "attribute"); ok {
		def, _ := a.get(-1, "default")
		for _, v := range ev.iterate(x, line) {
			ev.work(line, 1)
			out.items = append(out.items, ev.pathOr(v, attr, def, line))
		}
		return out
	}
	if len(a.pos) == 0 {
		ev.fail(line, "map needs a filter's name or attribute=…")
	}
	name, ok := a.pos[0].(Str)
	if !ok {
		ev.fail(line, "the name of a filter must be a string")
	}
	rest := &callArgs{pos: a.pos[1:], names: a.names, vals: a.vals}
	for _, v := range ev.iterate(x, line) {
		out.items = append(out.items, ev.filter(name.S, v, rest, line))
	}
	return out
}

func filterGroupBy(ev *evaluator, x Value, a *callArgs, line int) Value {
	attr, _ := a.get(0, "attribute")
	def, _ := a.get(1, "default")
	sensitive := optBool(a, 2, "case_sensitive", false)
	get := func(v Value) Value { return ev.pathOr(v, attr, def, line) }
	key := func(v Value) Value { return fold(get(v), sensitive) }
	out := NewList()
	var last *List
	var lastKey Value
	for _, v := range ev.sorted(ev.iterate(x, line), key, false, line) {
		k := key(v)
		if last == nil || !ev.equal(k, lastKey, line) {
			last, lastKey = NewList(), k
			out.items = append(out.items, &List{items: []Value{get(v), last}, kind: tuple})
		}
		last.items = append(last.items, v)
	}
	return out
}

func filterTruncate(ev *evaluator, x Value, a *callArgs, line int) Value {
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
	var b strBuilder
	b.str(cut)
	b.str(end)
	return b.done()
}

func init() {
	escape := onStr(func(s Str) Str {
		return s.runes(func(_ int, r rune) string {
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
		})
	})
	ends := func(last bool) filterFunc {
		return func(ev *evaluator, x Value, a *callArgs, line int) Value {
			items := ev.iterate(x, line)
			if len(items) == 0 {
				return undefined{"no item in an empty sequence"}
			}
			if last {
				if l, ok := x.(*List); ok && l.kind == generator {
					ev.fail(line, "a generator can't be reversed")
				}
				return items[len(items)-1]
			}
			return items[0]
		}
	}
	filters = map[string]filterFunc{
		"abs": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			switch v := ev.number(x, line, "abs needs a number").(type) {
			case int64:
				if v == math.MinInt64 {
					ev.fail(line, "integer overflow")
				}
				return max(v, -v)
			case float64:
				return math.Abs(v)
			}
			return nil
		},
		"attr": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			name := ev.argStr(a, 0, "name", line).S
			if _, ok := x.(undefined); !ok {
				if m := ev.method(x, name, line); m != nil {
					return m
				}
			}
			return undefined{"attribute " + name}
		},
		"batch": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			v, _ := a.get(0, "linecount")
			n := ev.argInt(v, line)
			if n < 1 {
				ev.fail(line, "batches of %d items", n)
			}
			fill, hasFill := a.get(1, "fill_with")
			out := &List{kind: generator}
			for c := range slices.Chunk(ev.iterate(x, line), int(min(n, 1<<30))) {
				b := NewList(c...)
				if hasFill && fill != nil {
					b.items = slices.Clone(c)
					for int64(len(b.items)) < n {
						ev.work(line, 1)
						b.items = append(b.items, fill)
					}
				}
				out.items = append(out.items, b)
			}
			return out
		},
		"capitalize": onStr(capitalize),
		"center": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			w := ev.optInt(a, 0, "width", 80, line)
			return strMethods["center"](ev, ev.toStr(x), &callArgs{pos: []Value{w}}, line)
		},
		"count":   filterLength,
		"d":       filterDefault,
		"default": filterDefault,
		"dictsort": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			d, ok := x.(*Dict)
			if !ok {
				ev.fail(line, "dictsort needs a dictionary, not %s", typeName(x))
			}
			sensitive := optBool(a, 0, "case_sensitive", false)
			pos := 0
			if v, ok := a.get(1, "by"); ok {
				switch ev.toStr(v).S {
				case "key":
				case "value":
					pos = 1
				default:
					ev.fail(line, "dictsort by key or value")
				}
			}
			key := func(v Value) Value { return fold(v.(*List).items[pos], sensitive) }
			return NewList(ev.sorted(pairs(ev, d, line), key, optBool(a, 2, "reverse", false), line)...)
		},
		"e":           escape,
		"escape":      escape,
		"forceescape": escape,
		"first":       ends(false),
		"float":       filterFloat,
		"format": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			var arg Value = &List{items: a.pos, kind: tuple}
			if len(a.names) > 0 {
				if len(a.pos) > 0 {
					ev.fail(line, "format takes positional or keyword arguments, not both")
				}
				arg = ev.dict(&callArgs{names: a.names, vals: a.vals}, line)
			}
			return ev.percent(ev.toStr(x), arg, line)
		},
		"groupby": filterGroupBy,
		"indent":  filterIndent,
		"int":     filterInt,
		"items": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			switch v := x.(type) {
			case undefined:
				return &List{kind: generator}
			case *Dict:
				return &List{items: pairs(ev, v, line), kind: generator}
			}
			ev.fail(line, "items needs a mapping, not %s", typeName(x))
			return nil
		},
		"join":   filterJoin,
		"last":   ends(true),
		"length": filterLength,
		"list": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			items := ev.iterate(x, line)
			ev.work(line, len(items))
			return NewList(slices.Clone(items)...)
		},
		"lower":  onStr(func(s Str) Str { return s.runes(func(_ int, r rune) string { return lower(r) }) }),
		"map":    filterMap,
		"max":    extreme(1),
		"min":    extreme(-1),
		"reject": pick(false, false), "rejectattr": pick(true, false),
		"select": pick(false, true), "selectattr": pick(true, true),
		"replace": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			old, ok := a.get(0, "old")
			repl, ok2 := a.get(1, "new")
			if !ok || !ok2 {
				ev.fail(line, "replace needs an old and a new string")
			}
			return ev.replace(ev.toStr(x), ev.toStr(old), ev.toStr(repl), int(ev.optInt(a, 2, "count", -1, line)), line)
		},
		"reverse": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			if s, ok := x.(Str); ok {
				off := s.offsets()
				ev.grown(line, len(s.S))
				var b strBuilder
				for i := len(off) - 2; i >= 0; i-- {
					b.slice(s, off[i], off[i+1])
				}
				return b.done()
			}
			items := slices.Clone(ev.iterate(x, line))
			ev.work(line, len(items))
			slices.Reverse(items)
			return &List{items: items, kind: generator}
		},
		"round": filterRound,
		"safe":  func(ev *evaluator, x Value, a *callArgs, line int) Value { return ev.toStr(x) },
		"sort": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			attr, _ := a.get(2, "attribute")
			sensitive := optBool(a, 1, "case_sensitive", false)
			key := func(v Value) Value {
				s, ok := attr.(Str)
				if !ok || !strings.Contains(s.S, ",") {
					return fold(ev.path(v, attr, line), sensitive)
				}
				k := NewList()
				for part := range strings.SplitSeq(s.S, ",") {
					k.items = append(k.items, fold(ev.path(v, Str{S: part}, line), sensitive))
				}
				return k
			}
			return NewList(ev.sorted(ev.iterate(x, line), key, optBool(a, 0, "reverse", false), line)...)
		},
		"string": func(ev *evaluator, x Value, a *callArgs, line int) Value { return ev.toStr(x) },
		"sum": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			attr, _ := a.get(0, "attribute")
			var sum Value = int64(0)
			if v, ok := a.get(1, "start"); ok {
				sum = v
			}
			for _, v := range ev.iterate(x, line) {
				sum = ev.arith("+", sum, ev.path(v, attr, line), line)
			}
			return sum
		},
		"title":  onStr(filterTitle),
		"tojson": filterToJSON,
		"trim": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			s := ev.toStr(x)
			ev.grown(line, len(s.S))
			v, ok := a.get(0, "chars")
			if !ok || v == nil {
				return strip(s, "", false, true, true)
			}
			return strip(s, ev.argStr(a, 0, "chars", line).S, true, true, true)
		},
		"truncate": filterTruncate,
		"unique": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			attr, _ := a.get(1, "attribute")
			sensitive := optBool(a, 0, "case_sensitive", false)
			seen := map[any]bool{}
			out := &List{kind: generator}
			for _, v := range ev.iterate(x, line) {
				ev.work(line, 1)
				h, ok := hash(fold(ev.path(v, attr, line), sensitive))
				if !ok {
					ev.fail(line, "%s can't be compared by unique", typeName(v))
				}
				if !seen[h] {
					seen[h] = true
					out.items = append(out.items, v)
				}
			}
			return out
		},
		"upper": onStr(func(s Str) Str { return s.runes(func(_ int, r rune) string { return upper(r) }) }),
		"wordcount": func(ev *evaluator, x Value, a *callArgs, line int) Value {
			s := ev.toStr(x)
			ev.grown(line, len(s.S))
			return int64(len(strings.FieldsFunc(s.S, func(r rune) bool {
				return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
			})))
		},
	}
}

func (ev *evaluator) test(name string, x Value, a *callArgs, line int) bool {
	arg := func() Value {
		v, ok := a.get(0, "")
		if !ok {
			ev.fail(line, "test %q needs an argument", name)
		}
		return v
	}
	integer := func() int64 {
		n, ok := ev.number(x, line, "test "+name+" needs a number").(int64)
		if !ok {
			ev.fail(line, "test %q needs an integer", name)
		}
		return n
	}
	switch name {
	case "defined":
		_, undef := x.(undefined)
		return !undef
	case "undefined":
		_, undef := x.(undefined)
		return undef
	case "none":
		return x == nil
	case "boolean":
		_, ok := x.(bool)
		return ok
	case "true":
		return x == true
	case "false":
		return x == false
	case "integer":
		_, ok := x.(int64)
		return ok
	case "float":
		_, ok := x.(float64)
		return ok
	case "number":
		return isNumber(x)
	case "string":
		_, ok := x.(Str)
		return ok
	case "mapping":
		_, ok := x.(*Dict)
		return ok
	case "iterable":
		switch x.(type) {
		case Str, *List, *Dict, undefined, *loopVar:
			return true
		}
		return false
	case "sequence":
		switch v := x.(type) {
		case Str, *Dict, undefined:
			return true
		case *List:
			return v.kind <= rangeObj
		}
		return false
	case "callable":
		switch x.(type) {
		case *function, *macro, undefined:
			return true
		}
		return false
	case "sameas":
		y := arg()
		switch x.(type) {
		case nil, bool, *List, *Dict, *namespace, *macro:
			return x == y
		}
		return ev.equal(x, y, line) && typeName(x) == typeName(y)
	case "eq", "equalto", "==":
		return ev.equal(x, arg(), line)
	case "ne", "!=":
		return !ev.equal(x, arg(), line)
	case "lt", "lessthan", "<":
		return ev.order(x, arg(), line) < 0
	case "le", "<=":
		return ev.order(x, arg(), line) <= 0
	case "gt", "greaterthan", ">":
		return ev.order(x, arg(), line) > 0
	case "ge", ">=":
		return ev.order(x, arg(), line) >= 0
	case "in":
		return ev.contains(arg(), x, line)
	case "odd":
		return integer()&1 == 1
	case "even":
		return integer()&1 == 0
	case "divisibleby":
		d := ev.argInt(arg(), line)
		if d == 0 {
			ev.fail(line, "modulo by zero")
		}
		return integer()%d == 0
	case "lower":
		return truth(strMethods["islower"](ev, ev.toStr(x), a, line))
	case "upper":
		return truth(strMethods["isupper"](ev, ev.toStr(x), a, line))
	case "escaped":
		return false
	case "filter":
		s, ok := x.(Str)
		_, have := filters[s.S]
		return ok && have
	case "test":
		s, ok := x.(Str)
		return ok && knownTests[s.S]
	}
	ev.fail(line, "no test named %q", name)
	return false
}

var knownTests = map[string]bool{}

func init() {
	for name := range strings.FieldsSeq("defined undefined none boolean true false integer float number string mapping iterable " +
		"sequence callable sameas eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >= in odd even divisibleby " +
		"lower upper escaped filter test") {
		knownTests[name] = true
	}
}
