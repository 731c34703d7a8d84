package recipe

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// The decoder reads the syntax tree by itself: the library's own decoding turns 1.5 into the int 1, takes
// '5' for a number and stops at the first error.

type field struct {
	name  string
	index []int
	tag   reflect.StructTag
}

// fields lists the keys of struct type t, embedded structs flattened.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, has := f.Tag.Lookup("yaml")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !has && f.Type.Kind() == reflect.Struct:
			for _, sub := range fields(f.Type) {
				sub.index = append([]int{i}, sub.index...)
				out = append(out, sub)
			}
		case !f.IsExported() || name == "" || name == "-":
		default:
			out = append(out, field{name: name, index: []int{i}, tag: f.Tag})
		}
	}
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// pairsOf returns the pairs of a mapping node.
func pairsOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

func keyText(p *ast.MappingValueNode) string {
	if p.Key == nil {
		return ""
	}
	if t := p.Key.GetToken(); t != nil {
		return t.Value
	}
	return ""
}

// scalar is a plain or quoted YAML value.
type scalar struct {
	text   string
	quoted bool // quotes or a block: always a string
	null   bool
}

func scalarOf(n ast.Node) (scalar, bool) {
	switch x := n.(type) {
	case nil:
		return scalar{null: true}, true
	case *ast.NullNode:
		return scalar{null: true, text: "null"}, true
	case *ast.LiteralNode:
		if x.Value == nil {
			return scalar{quoted: true}, true
		}
		return scalar{text: x.Value.Value, quoted: true}, true
	case *ast.StringNode:
		t := x.Token
		quoted := t != nil && (t.Type == token.SingleQuoteType || t.Type == token.DoubleQuoteType)
		return scalar{text: x.Value, quoted: quoted}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{text: n.GetToken().Value}, true
	}
	return scalar{}, false
}

// plainString returns the text of a scalar that means a string.
func plainString(n ast.Node) (string, bool) {
	s, ok := scalarOf(n)
	if !ok || s.null || !s.quoted && meansOther(s.text) {
		return "", false
	}
	return s.text, true
}

// meansOther reports whether plain text t is a number, a bool or null in YAML's core schema, so that a
// string with this content needs quotes.
func meansOther(t string) bool {
	switch strings.ToLower(t) {
	case "", "~", "null", "true", "false", ".inf", "+.inf", "-.inf", ".nan":
		return true
	}
	_, isInt := parseInt(t)
	_, isFloat := parseFloat(t)
	return isInt || isFloat
}

func digitsOnly(t string) (string, bool) {
	s := strings.TrimLeft(t, "+-")
	if len(t)-len(s) > 1 || s == "" || s[0] == '_' || s[len(s)-1] == '_' {
		return "", false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && c != '_' {
			return "", false
		}
	}
	return strings.ReplaceAll(t, "_", ""), true
}

// parseInt takes 42, -7 and 131_214. A leading zero is refused because YAML versions disagree on it.
func parseInt(t string) (string, bool) {
	s, ok := digitsOnly(t)
	if !ok {
		return "", false
	}
	if n := strings.TrimLeft(s, "+-"); len(n) > 1 && n[0] == '0' {
		return "", false
	}
	return strings.TrimPrefix(s, "+"), true
}

// parseFloat takes finite decimal numbers: 1, 1.5, .5, 3e-5, 1_000.5.
func parseFloat(t string) (float64, bool) {
	digits := false
	for i, c := range t {
		switch {
		case c >= '0' && c <= '9':
			digits = true
		case c == '.', c == '_' && digits, (c == 'e' || c == 'E') && digits:
		case c == '+' || c == '-':
			if i > 0 && t[i-1] != 'e' && t[i-1] != 'E' {
				return 0, false
			}
		default:
			return 0, false
		}
	}
	if !digits {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(t, "_", ""), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, false
	}
	return f, true
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func describe(n ast.Node) string {
	if n == nil {
		return "nothing"
	}
	if s, ok := scalarOf(n); ok {
		switch {
		case s.null:
			return "nothing"
		case s.quoted:
			return fmt.Sprintf("the text %q", short(s.text))
		default:
			return short(s.text)
		}
	}
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a block of keys"
	case *ast.AliasNode, *ast.AnchorNode, *ast.MergeKeyNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	}
	return n.Type().String()
}

func short(s string) string {
	r := []rune(s)
	if len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func want(t reflect.Type) string {
	switch {
	case t == durationType:
		return `a duration such as "90s" or "1h30m"`
	case reflect.PointerTo(t).Implements(textType):
		return "a word or a quoted text"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a block of keys"
	case reflect.Pointer:
		return want(t.Elem())
	}
	return t.String()
}

// node decodes n into v. top marks the root of a file, where "extends" is a key.
func (d *decoder) node(s *source, n ast.Node, v reflect.Value, path string, top bool) {
	at := d.at(s, n)
	switch x := n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		d.fail(at, path, "anchors and aliases aren't read here; use extends, or write the value again")
		return
	case *ast.TagNode:
		d.fail(at, path, "the tag %s isn't read here; write the plain value", x.Start.Value)
		return
	}
	d.origin[path] = at
	t := v.Type()
	sc, isScalar := scalarOf(n)
	if t.Kind() == reflect.Pointer {
		if isScalar && sc.null {
			v.SetZero()
			return
		}
		if v.IsNil() {
			fresh := reflect.New(t.Elem())
			if err := d.defaults(fresh.Elem()); err != nil {
				d.fail(at, path, "%v", err)
				return
			}
			v.Set(fresh)
		}
		d.node(s, n, v.Elem(), path, false)
		return
	}
	mismatch := func() { d.fail(at, path, "want %s, got %s", want(t), describe(n)) }
	if t == durationType {
		if !isScalar || sc.null {
			mismatch()
			return
		}
		dur, err := time.ParseDuration(sc.text)
		if err != nil {
			mismatch()
			return
		}
		v.SetInt(int64(dur))
		return
	}
	if v.CanAddr() && v.Addr().Type().Implements(textType) {
		if !isScalar || sc.null {
			mismatch()
			return
		}
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(sc.text)); err != nil {
			d.fail(at, path, "%v", err)
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		pairs, ok := pairsOf(n)
		if !ok {
			if isScalar && sc.null {
				return // "key:" with nothing under it
			}
			mismatch()
			return
		}
		d.structure(s, pairs, v, path, top)
	case reflect.Map:
		pairs, ok := pairsOf(n)
		if !ok {
			if isScalar && sc.null {
				return
			}
			mismatch()
			return
		}
		d.mapping(s, pairs, v, path)
	case reflect.Slice:
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			mismatch()
			return
		}
		out := reflect.MakeSlice(t, len(seq.Values), len(seq.Values))
		for i, e := range seq.Values {
			if err := d.defaults(out.Index(i)); err != nil {
				d.fail(at, path, "%v", err)
				return
			}
			d.node(s, e, out.Index(i), join(path, strconv.Itoa(i)), false)
		}
		v.Set(out)
	default:
		if !isScalar || sc.null {
			mismatch()
			return
		}
		if err := setScalar(v, sc); err != nil {
			d.fail(at, path, "%v", err)
		}
	}
}

// setScalar stores a scalar in a bool, number or string.
func setScalar(v reflect.Value, sc scalar) error {
	t := v.Type()
	got := short(sc.text)
	if sc.quoted && t.Kind() != reflect.String {
		return fmt.Errorf("want %s, got the text %q; leave the quotes out", want(t), got)
	}
	switch t.Kind() {
	case reflect.Bool:
		switch sc.text {
		case "true", "True", "TRUE":
			v.SetBool(true)
		case "false", "False", "FALSE":
			v.SetBool(false)
		default:
			return fmt.Errorf("want true or false, got %s", got)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		text, ok := parseInt(sc.text)
		if !ok {
			return fmt.Errorf("want a whole number such as 20 or 131_214, got %s", got)
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v.OverflowInt(n) {
			return fmt.Errorf("%s is too large for a %d-bit number", got, t.Bits())
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		text, ok := parseInt(sc.text)
		if !ok || strings.HasPrefix(text, "-") {
			return fmt.Errorf("want a whole number from 0, got %s", got)
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || v.OverflowUint(n) {
			return fmt.Errorf("%s is too large for a %d-bit number", got, t.Bits())
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		f, ok := parseFloat(sc.text)
		if !ok || v.OverflowFloat(f) {
			return fmt.Errorf("want a finite number such as 0.1 or 3e-5, got %s", got)
		}
		v.SetFloat(f)
	case reflect.String:
		if !sc.quoted && meansOther(sc.text) {
			return fmt.Errorf("want a text, got %s; put it in quotes if it is meant as one", got)
		}
		v.SetString(sc.text)
	default:
		return fmt.Errorf("the recipe's Go type %s can't be read from YAML", t)
	}
	return nil
}

func (d *decoder) structure(s *source, pairs []*ast.MappingValueNode, v reflect.Value, path string, top bool) {
	fs := fields(v.Type())
	first := map[string]place{}
	for _, p := range pairs {
		key, at := keyText(p), d.at(s, p.Key)
		full := join(path, key)
		if _, merge := p.Key.(*ast.MergeKeyNode); merge {
			d.fail(at, full, "merge keys (<<) aren't read here; use extends")
			continue
		}
		if prev, dup := first[key]; dup {
			d.fail(at, full, "this key is already given in line %d", prev.line)
			continue
		}
		first[key] = at
		if top && key == "extends" {
			continue
		}
		i := slices.IndexFunc(fs, func(f field) bool { return f.name == key })
		if i < 0 {
			d.fail(at, full, "unknown key%s", suggest(key, fs))
			continue
		}
		d.node(s, p.Value, v.FieldByIndex(fs[i].index), full, false)
		if _, ok := d.origin[full]; ok {
			if sc, is := scalarOf(p.Value); is && sc.null {
				d.origin[full] = at
			}
		}
	}
}

func (d *decoder) mapping(s *source, pairs []*ast.MappingValueNode, v reflect.Value, path string) {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		d.fail(d.at(s, pairs[0].Key), path, "the recipe's Go type %s can't be read from YAML", t)
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(t))
	}
	first := map[string]place{}
	for _, p := range pairs {
		key, at := keyText(p), d.at(s, p.Key)
		full := join(path, key)
		if prev, dup := first[key]; dup {
			d.fail(at, full, "this key is already given in line %d", prev.line)
			continue
		}
		first[key] = at
		d.entry(v, key, func(e reflect.Value) { d.node(s, p.Value, e, full, false) })
	}
}

// entry lets change work on a settable copy of the map's value for key and stores it.
func (d *decoder) entry(m reflect.Value, key string, change func(reflect.Value)) {
	k := reflect.ValueOf(key).Convert(m.Type().Key())
	e := reflect.New(m.Type().Elem()).Elem()
	if old := m.MapIndex(k); old.IsValid() {
		e.Set(old)
	} else if err := d.defaults(e); err != nil {
		d.fail(place{}, key, "%v", err)
		return
	}
	change(e)
	m.SetMapIndex(k, e)
}

// suggest names the nearest key, or all of them when none is near.
func suggest(key string, fs []field) string {
	best, dist := "", 3
	for _, f := range fs {
		if n := distance(strings.ToLower(key), strings.ToLower(f.name)); n < dist {
			best, dist = f.name, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	var names []string
	for _, f := range fs {
		names = append(names, f.name)
	}
	return "; known here: " + strings.Join(names, ", ")
}

// distance is the number of single-character edits from a to b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			diag, row[j] = row[j], min(row[j]+1, row[j-1]+1, diag+cost)
		}
	}
	return row[len(y)]
}

// defaults fills zero fields that carry a default tag.
func (d *decoder) defaults(v reflect.Value) error {
	if v.Kind() != reflect.Struct || v.Type() == durationType {
		return nil
	}
	for _, f := range fields(v.Type()) {
		fv := v.FieldByIndex(f.index)
		def, has := f.tag.Lookup("default")
		if has && fv.IsZero() {
			if err := d.fromText(def, fv); err != nil {
				return fmt.Errorf("recipe: default of %s.%s: %w", v.Type(), f.name, err)
			}
		}
		if err := d.defaults(fv); err != nil {
			return err
		}
	}
	return nil
}

// fromText decodes YAML text into v without touching the errors collected so far.
func (d *decoder) fromText(text string, v reflect.Value) error {
	sub := &decoder{origin: map[string]place{}}
	sub.value(&source{name: "default", text: []byte(text)}, text, v, "")
	if len(sub.errs) > 0 {
		return Errors(sub.errs)
	}
	return nil
}

// value decodes the YAML text of one value. A string target takes the text as it is, so that the 5 of "name=5"
// needs no quotes.
func (d *decoder) value(s *source, text string, v reflect.Value, path string) {
	d.seen = append(d.seen, s)
	t := v.Type()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	quoted := len(text) > 1 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0]
	if t.Kind() == reflect.String && !quoted && !(v.Kind() == reflect.Pointer && text == "null") {
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(t))
			v = v.Elem()
		}
		d.origin[path] = place{s, 1, 1}
		if v.CanAddr() && v.Addr().Type().Implements(textType) {
			if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
				d.fail(place{s, 1, 1}, path, "%v", err)
			}
			return
		}
		v.SetString(text)
		return
	}
	if line, deep := tooDeep([]byte(text)); deep {
		d.fail(place{s, line, 1}, path, "nested deeper than %d levels", maxDepth)
		return
	}
	root, ok := d.parse(s, []byte(text))
	if !ok {
		return
	}
	d.node(s, root, v, path, false)
}

// set applies one "a.b.c=value".
func (d *decoder) set(arg string, v reflect.Value) {
	key, text, ok := strings.Cut(arg, "=")
	s := &source{name: Assignment, text: []byte(arg), shift: len([]rune(key)) + 1}
	head := &source{name: Assignment, text: []byte(arg)}
	d.seen = append(d.seen, head)
	if !ok || key == "" {
		d.fail(place{head, 1, 1}, "", "want key=value, as in train.lr=3e-5")
		return
	}
	parts := strings.Split(key, ".")
	d.walk(v, parts, 0, func(at int, format string, args ...any) {
		col := 1
		for _, p := range parts[:at] {
			col += len([]rune(p)) + 1
		}
		d.fail(place{head, 1, col}, strings.Join(parts[:min(at+1, len(parts))], "."), format, args...)
	}, func(target reflect.Value) {
		d.value(s, text, target, key)
	})
}

// walk follows parts[i:] from v and hands the value found to apply.
func (d *decoder) walk(v reflect.Value, parts []string, i int, fail func(at int, format string, args ...any), apply func(reflect.Value)) {
	if i == len(parts) {
		apply(v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			fresh := reflect.New(v.Type().Elem())
			if err := d.defaults(fresh.Elem()); err != nil {
				fail(i, "%v", err)
				return
			}
			v.Set(fresh)
		}
		d.walk(v.Elem(), parts, i, fail, apply)
	case reflect.Struct:
		fs := fields(v.Type())
		j := slices.IndexFunc(fs, func(f field) bool { return f.name == parts[i] })
		if j < 0 {
			fail(i, "unknown key%s", suggest(parts[i], fs))
			return
		}
		d.walk(v.FieldByIndex(fs[j].index), parts, i+1, fail, apply)
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			fail(i, "keys of a %s can't be set", v.Type())
			return
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		d.entry(v, parts[i], func(e reflect.Value) { d.walk(e, parts, i+1, fail, apply) })
	case reflect.Slice:
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 || n >= v.Len() {
			fail(i, "want the number of a list entry from 0 to %d", v.Len()-1)
			return
		}
		d.walk(v.Index(n), parts, i+1, fail, apply)
	default:
		fail(i, "there are no keys below this one; it takes %s", want(v.Type()))
	}
}
