package recipe

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
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

// find returns the index in fs of the field that key names. Where key is a name of the past, the field's formerly:"…",
// it reports that.
func (d *decoder) find(fs []field, at place, path, key string) int {
	if i := slices.IndexFunc(fs, func(f field) bool { return f.name == key }); i >= 0 {
		return i
	}
	i := slices.IndexFunc(fs, func(f field) bool { return key != "" && f.tag.Get("formerly") == key })
	if i >= 0 && d.loader.Renamed != nil {
		d.loader.Renamed(fmt.Sprintf("%s:%d:%d: %s", at.src.name, at.line, at.col, join(path, key)), join(path, fs[i].name))
	}
	return i
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

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

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
	given := isScalar && !sc.null
	switch {
	case t.Kind() == reflect.Pointer:
		d.pointer(s, n, v, path)
	case t == durationType:
		dur, err := time.ParseDuration(sc.text)
		if !given || err != nil {
			d.mismatch(at, n, t, path)
			return
		}
		v.SetInt(int64(dur))
	case v.CanAddr() && v.Addr().Type().Implements(textType):
		if !given {
			d.mismatch(at, n, t, path)
			return
		}
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(sc.text)); err != nil {
			d.fail(at, path, "%v", err)
		}
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		pairs, ok := pairsOf(n)
		switch {
		case ok && t.Kind() == reflect.Struct:
			d.structure(s, pairs, v, path, top)
		case ok:
			d.mapping(s, pairs, v, path)
		case isScalar && sc.null: // "key:" with nothing under it
		default:
			d.mismatch(at, n, t, path)
		}
	case t.Kind() == reflect.Slice:
		d.list(s, n, v, path)
	case !given:
		d.mismatch(at, n, t, path)
	default:
		if err := setScalar(v, sc); err != nil {
			d.fail(at, path, "%v", err)
		}
	}
}

func (d *decoder) mismatch(at place, n ast.Node, t reflect.Type, path string) {
	d.fail(at, path, "want %s, got %s", want(t), describe(n))
}

// pointer decodes n into what v points to; null makes v nil.
func (d *decoder) pointer(s *source, n ast.Node, v reflect.Value, path string) {
	if sc, ok := scalarOf(n); ok && sc.null {
		v.SetZero()
		return
	}
	if v.IsNil() {
		fresh := reflect.New(v.Type().Elem())
		if err := d.defaults(fresh.Elem()); err != nil {
			d.fail(d.at(s, n), path, "%v", err)
			return
		}
		v.Set(fresh)
	}
	d.node(s, n, v.Elem(), path, false)
}

// list decodes a sequence into a slice.
func (d *decoder) list(s *source, n ast.Node, v reflect.Value, path string) {
	at := d.at(s, n)
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.mismatch(at, n, v.Type(), path)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, e := range seq.Values {
		if err := d.defaults(out.Index(i)); err != nil {
			d.fail(at, path, "%v", err)
			return
		}
		d.node(s, e, out.Index(i), join(path, strconv.Itoa(i)), false)
	}
	v.Set(out)
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
		i := d.find(fs, at, path, key)
		if i < 0 {
			d.fail(at, full, "unknown key%s", suggest(key, fs))
			continue
		}
		if full = join(path, fs[i].name); fs[i].name != key {
			if prev, dup := first[fs[i].name]; dup {
				d.fail(at, full, "this key is already given in line %d", prev.line)
				continue
			}
			first[fs[i].name] = at
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
