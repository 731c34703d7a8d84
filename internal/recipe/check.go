package recipe

import (
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// check applies the check tags and Validate methods below v.
func (d *decoder) check(v reflect.Value, path string, given bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			d.check(v.Elem(), path, given)
		}
	case reflect.Slice:
		for i := range v.Len() {
			d.check(v.Index(i), join(path, strconv.Itoa(i)), true)
		}
	case reflect.Map:
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		for _, k := range keys {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(v.MapIndex(k))
			d.check(e, join(path, k.String()), true)
		}
	case reflect.Struct:
		if v.Type() == durationType {
			return
		}
		before := len(d.errs)
		for _, f := range fields(v.Type()) {
			key := join(path, f.name)
			fv := v.FieldByIndex(f.index)
			_, set := d.origin[key]
			d.rules(fv, key, path, f.tag.Get("check"), set)
			d.check(fv, key, set)
		}
		if len(d.errs) > before || d.badBelow(path) {
			return // Validate may rely on the single values being right
		}
		if !v.CanAddr() {
			return
		}
		if val, ok := v.Addr().Interface().(Validator); ok {
			val.Validate(func(key, format string, args ...any) {
				full := path
				if key != "" {
					full = join(path, index.ReplaceAllString(key, ".$1"))
				}
				d.fail(d.placeOf(full), full, format, args...)
			})
		}
	}
}

// index is a list entry in Go's notation; paths here have it in dots.
var index = regexp.MustCompile(`\[(\d+)\]`)

func (d *decoder) badBelow(path string) bool {
	for k := range d.bad {
		if path == "" || k == path || strings.HasPrefix(k, path+".") {
			return true
		}
	}
	return false
}

// placeOf is where key, or the nearest block around it, was written.
func (d *decoder) placeOf(key string) place {
	for {
		if p, ok := d.origin[key]; ok {
			return p
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return d.origin[""]
		}
		key = key[:i]
	}
}

func (d *decoder) rules(v reflect.Value, key, parent, tag string, set bool) {
	if tag == "" || d.bad[key] {
		return
	}
	at := d.placeOf(key)
	for _, rule := range strings.Split(tag, ",") {
		name, arg, _ := strings.Cut(rule, "=")
		switch name {
		case "required":
			if v.IsZero() {
				if set {
					d.fail(at, key, "must not be empty")
				} else {
					d.fail(d.placeOf(parent), key, "this key is required")
				}
				return
			}
		case "min", "max", "gt", "lt":
			if v.Kind() == reflect.Pointer {
				if v.IsNil() {
					continue
				}
				v = v.Elem()
			}
			limit, err := strconv.ParseFloat(arg, 64)
			n, unit, ok := measure(v)
			if err != nil || !ok {
				d.fail(at, key, "the recipe's check %q doesn't fit a %s", rule, v.Type())
				continue
			}
			bad, word := false, ""
			switch name {
			case "min":
				bad, word = n < limit, "at least"
			case "max":
				bad, word = n > limit, "at most"
			case "gt":
				bad, word = n <= limit, "more than"
			case "lt":
				bad, word = n >= limit, "less than"
			}
			if bad {
				d.fail(at, key, "must be %s %s%s, is %s", word, arg, unit, strconv.FormatFloat(n, 'g', -1, 64))
			}
		case "oneof":
			options := strings.Split(arg, "|")
			if v.Kind() == reflect.String && !slices.Contains(options, v.String()) {
				d.fail(at, key, "must be one of %s, is %q", strings.Join(options, ", "), v.String())
			}
		default:
			d.fail(at, key, "the recipe's Go type has an unknown check %q", rule)
		}
	}
}

// measure returns a number's value or the length of a text, list or map.
func measure(v reflect.Value) (n float64, unit string, ok bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), "", true
	case v.CanUint():
		return float64(v.Uint()), "", true
	case v.CanFloat():
		return v.Float(), "", true
	}
	switch v.Kind() {
	case reflect.String:
		return float64(len([]rune(v.String()))), " characters", true
	case reflect.Slice, reflect.Map:
		return float64(v.Len()), " entries", true
	}
	return 0, "", false
}
