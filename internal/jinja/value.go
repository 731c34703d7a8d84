package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Value is a value of the template language: nil (none), bool, int64,
// float64, Str, *List, *Dict, or one of the package's own kinds (undefined,
// namespaces, functions, the loop variable).
type Value any

// Str is a string that knows where its bytes came from. M is nil if all of
// them are the template's own.
type Str struct {
	S string
	M []Mark
	// safe marks what Python's MarkupSafe calls Markup: text that is HTML
	// already. Strings that are joined to it are escaped.
	safe bool
}

// Mark says of the bytes from the previous mark's end up to End what their
// origin is (0: the template), in which message's loop they were written
// (0: none, or not written yet), and whether a {% generation %} block wrote
// them.
type Mark struct {
	End        int
	Origin     int32
	Tag        int32
	Generation bool
}

// same says that two stretches differ in their end only.
func (m Mark) same(o Mark) bool {
	return m.Origin == o.Origin && m.Tag == o.Tag && m.Generation == o.Generation
}

// String is a string of one origin.
func String(s string, origin int32) Str {
	if origin == 0 || s == "" {
		return Str{S: s}
	}
	return Str{S: s, M: []Mark{{End: len(s), Origin: origin}}}
}

// maxMarks bounds the stretches of different origin in one string: 24 bytes
// each. A tool description of a megabyte has about a quarter of it.
const maxMarks = 1 << 19

// strBuilder assembles a Str. With an evaluator it charges what it adds to
// the limits; without one, the string it reads must bound what it writes.
type strBuilder struct {
	b    []byte
	m    []Mark
	ev   *evaluator
	line int
}

// builder is a strBuilder that counts against the limits.
func (ev *evaluator) builder(line int) strBuilder { return strBuilder{ev: ev, line: line} }

// add appends text of the given mark, whose end is of no account.
func (b *strBuilder) add(s string, m Mark) {
	if s == "" {
		return
	}
	if b.ev != nil {
		b.ev.added(b.line, len(s), len(b.b)+len(s))
	}
	b.b = append(b.b, s...)
	if n := len(b.m); n > 0 && b.m[n-1].same(m) {
		b.m[n-1].End = len(b.b)
		return
	}
	if b.ev != nil {
		b.ev.work(b.line, 1)
	}
	if len(b.m) >= maxMarks {
		panic(errorf(b.line, "a string is made of more than %d pieces of different origin", maxMarks))
	}
	m.End = len(b.b)
	b.m = append(b.m, m)
}

func (b *strBuilder) lit(s string) { b.add(s, Mark{}) }

// slice adds bytes i to j of s.
func (b *strBuilder) slice(s Str, i, j int) {
	if s.M == nil {
		b.add(s.S[i:j], Mark{})
		return
	}
	k := sort.Search(len(s.M), func(k int) bool { return s.M[k].End > i })
	for ; i < j; k++ {
		end := min(s.M[k].End, j)
		b.add(s.S[i:end], s.M[k])
		i = end
	}
}

func (b *strBuilder) str(s Str) { b.slice(s, 0, len(s.S)) }

func (b *strBuilder) done() Str {
	s := Str{S: string(b.b)}
	if len(b.m) > 1 || len(b.m) == 1 && !b.m[0].same(Mark{}) {
		s.M = b.m
	}
	return s
}

// sub is bytes i to j of s.
func (s Str) sub(i, j int) Str {
	if s.M == nil {
		return Str{S: s.S[i:j], safe: s.safe}
	}
	var b strBuilder
	b.slice(s, i, j)
	return b.done().as(s.safe)
}

// as is the string as Markup, or as plain text.
func (s Str) as(safe bool) Str {
	s.safe = safe
	return s
}

// runes maps each character of s through f; what f returns has the origin of
// the character it is for.
func (ev *evaluator) runes(s Str, f func(at int, r rune) string) Str {
	ev.work(0, len(s.S)/8)
	b := ev.builder(0)
	k := 0
	for i := 0; i < len(s.S); {
		r, n := utf8.DecodeRuneInString(s.S[i:])
		out := ""
		if r == utf8.RuneError && n == 1 {
			out = s.S[i : i+1] // a broken byte passes through
		} else {
			out = f(i, r)
		}
		var m Mark
		if s.M != nil {
			for s.M[k].End <= i {
				k++
			}
			m = s.M[k]
		}
		b.add(out, m)
		i += n
	}
	return b.done().as(s.safe)
}

// offsets are the byte offsets of the characters, with the length at the end.
func (s Str) offsets() []int {
	out := make([]int, 0, len(s.S)+1)
	for i := range s.S {
		out = append(out, i)
	}
	return append(out, len(s.S))
}

// listKind tells Python's sequence types apart where it can be seen.
type listKind uint8

const (
	list listKind = iota
	tuple
	rangeObj
	view      // dict_keys, dict_values, dict_items
	generator // a second run finds it empty
)

// List is any sequence.
type List struct {
	items  []Value
	kind   listKind
	name   string   // of a view
	fields []string // names of a named tuple's items
}

// NewList is a list of values.
func NewList(items ...Value) *List { return &List{items: items} }

// Dict is an ordered dictionary.
type Dict struct {
	keys  []Value
	vals  []Value
	index map[any]int
	tag   int32
}

// NewDict is an empty dictionary. tag, if not 0, makes a loop over a list
// with this dictionary in it mark the text its body writes.
func NewDict(tag int32) *Dict { return &Dict{index: map[any]int{}, tag: tag} }

// Set adds or replaces a value under a string key of the template's origin.
func (d *Dict) Set(key string, v Value) { d.set(Str{S: key}, v) }

func (d *Dict) set(key, v Value) bool {
	h, ok := hash(key)
	if !ok {
		return false
	}
	if i, ok := d.index[h]; ok {
		d.vals[i] = v
		return true
	}
	d.index[h] = len(d.keys)
	d.keys, d.vals = append(d.keys, key), append(d.vals, v)
	return true
}

func (d *Dict) get(key Value) (Value, bool) {
	h, ok := hash(key)
	if !ok {
		return nil, false
	}
	i, ok := d.index[h]
	if !ok {
		return nil, false
	}
	return d.vals[i], true
}

type (
	noneKey  struct{}
	tupleKey string
)

// maxTupleKey bounds the text that stands for a tuple used as a key.
const maxTupleKey = 4096

// hash makes keys that are equal in Python equal in Go; false if the value
// can't be a key.
func hash(v Value) (any, bool) {
	switch v := v.(type) {
	case nil:
		return noneKey{}, true
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case int64, bigInt:
		return v, true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<62 {
			return int64(v), true
		}
		return v, true
	case Str:
		return v.S, true
	case *List:
		if v.kind == tuple {
			var b []byte
			ok := appendKey(&b, v)
			return tupleKey(b), ok
		}
	}
	return nil, false
}

// appendKey writes what tells a key from others; false if it can't be one or
// is too long.
func appendKey(b *[]byte, v Value) bool {
	if l, ok := v.(*List); ok && l.kind == tuple {
		*b = append(*b, '(')
		for _, x := range l.items {
			if !appendKey(b, x) {
				return false
			}
		}
		*b = append(*b, ')')
		return len(*b) <= maxTupleKey
	}
	h, ok := hash(v)
	if s, isStr := h.(string); isStr && len(s) > maxTupleKey {
		return false
	}
	if ok {
		*b = fmt.Appendf(*b, "%T %#v,", h, h)
	}
	return ok && len(*b) <= maxTupleKey
}

// bigInt is an integer beyond 64 bits in decimal digits, as JSON schemas have
// them for bounds. It is written and compared; arithmetic on it is an error.
type bigInt string

// maxDigits is how many digits Python reads in an integer.
const maxDigits = 4300

// namespace is the object of namespace().
type namespace struct{ d *Dict }

// undefined is what a missing name or attribute gives.
type undefined struct{ what string }

// function is something that can be called.
type function struct {
	name string
	call func(ev *evaluator, line int, a *callArgs) Value
}

// macro is a macro with the scope it was defined in.
type macro struct {
	def   *nMacro
	scope *scope
}

// loopVar is the variable "loop".
type loopVar struct {
	items   []Value
	i       int
	depth   int
	again   func(items []Value) Value // runs a recursive loop one level deeper; nil in others
	changed Value
	started bool
}

// callArgs are the arguments of a call, evaluated.
type callArgs struct {
	pos   []Value
	names []string
	vals  []Value
}

// get is the argument at position i or under the name; ok is false if neither
// was given.
func (a *callArgs) get(i int, name string) (Value, bool) {
	if i >= 0 && i < len(a.pos) {
		return a.pos[i], true
	}
	for k, n := range a.names {
		if n == name {
			return a.vals[k], true
		}
	}
	return nil, false
}

// FromJSON reads JSON, keeping the order of keys. Strings, keys too, get the
// origin.
func FromJSON(data []byte, origin int32) (Value, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := fromDecoder(dec, origin, 0)
	if err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

func fromDecoder(dec *json.Decoder, origin int32, depth int) (Value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON nested deeper than %d levels", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			l := NewList()
			for dec.More() {
				v, err := fromDecoder(dec, origin, depth+1)
				if err != nil {
					return nil, err
				}
				l.items = append(l.items, v)
			}
			_, err := dec.Token()
			return l, err
		}
		d := NewDict(0)
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := fromDecoder(dec, origin, depth+1)
			if err != nil {
				return nil, err
			}
			d.set(String(k.(string), origin), v)
		}
		_, err := dec.Token()
		return d, err
	case string:
		return String(t, origin), nil
	case json.Number:
		if !strings.ContainsAny(string(t), ".eE") {
			n, err := strconv.ParseInt(string(t), 10, 64)
			if err == nil {
				return n, nil
			}
			if len(t) > maxDigits {
				return nil, fmt.Errorf("an integer of %d digits; the limit is %d", len(t), maxDigits)
			}
			return bigInt(t), nil
		}
		f, err := strconv.ParseFloat(string(t), 64)
		if err != nil {
			return nil, fmt.Errorf("the number %s is out of range", t)
		}
		return f, nil
	case bool:
		return t, nil
	}
	return nil, nil
}

// From converts Go values as encoding/json makes them (and ints) to template
// values; keys of maps are sorted. Strings get the origin. A whole float64 is
// an integer: encoding/json has no other kind of number to decode one into.
func From(v any, origin int32) (Value, error) {
	switch v := v.(type) {
	case nil, bool, int64, Str, *List, *Dict:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), nil
		}
		return v, nil
	case int:
		return int64(v), nil
	case string:
		return String(v, origin), nil
	case json.RawMessage:
		return FromJSON(v, origin)
	case json.Number:
		return FromJSON([]byte(v), origin)
	case []string:
		l := NewList()
		for _, x := range v {
			l.items = append(l.items, String(x, origin))
		}
		return l, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("a value of type %T can't be used in a template", v)
	}
	return FromJSON(data, origin)
}

func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case bool:
		return "a boolean"
	case int64, bigInt:
		return "an integer"
	case float64:
		return "a float"
	case Str:
		return "a string"
	case *List:
		return [...]string{"a list", "a tuple", "a range", "a dictionary view", "a generator"}[v.kind]
	case *Dict:
		return "a dictionary"
	case *namespace:
		return "a namespace"
	case undefined:
		return "undefined"
	case *loopVar:
		return "the loop variable"
	}
	return "a function"
}
