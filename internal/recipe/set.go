package recipe

import (
	"encoding"
	"reflect"
	"strconv"
	"strings"
)

// fromText decodes YAML text into v without touching the errors collected so far.
func (d *decoder) fromText(text string, v reflect.Value) error {
	sub := &decoder{origin: map[string]place{}}
	sub.value(&source{name: "default", text: []byte(text)}, text, v, "")
	if len(sub.errs) > 0 {
		return Errors(sub.errs)
	}
	return nil
}

// value decodes the YAML text of one value. A string target takes the text as it is, so that a shell user
// needn't quote "--set name=5".
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
		j := d.find(fs, place{d.seen[len(d.seen)-1], 1, 1}, strings.Join(parts[:i], "."), parts[i])
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
