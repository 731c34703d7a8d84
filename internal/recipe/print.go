package recipe

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Print writes the struct (or pointer to one) as YAML that Load reads back to the same values: keys in the
// order of the struct, maps sorted, every value written out, nil pointers as null. Same value, same bytes.
func Print(w io.Writer, recipe any) error {
	var b bytes.Buffer
	v := reflect.ValueOf(recipe)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return fmt.Errorf("recipe: can't print a %T, want a struct", recipe)
	}
	if err := printStruct(&b, v, 0); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func indent(b *bytes.Buffer, n int) {
	for range n {
		b.WriteString("  ")
	}
}

func printStruct(b *bytes.Buffer, v reflect.Value, level int) error {
	for i, f := range fields(v.Type()) {
		if i > 0 || level == 0 {
			indent(b, level)
		}
		b.WriteString(f.name + ":")
		if err := printValue(b, v.FieldByIndex(f.index), level); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// printValue writes what follows "key:", up to and with the line's end.
func printValue(b *bytes.Buffer, v reflect.Value, level int) error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			b.WriteString(" null\n")
			return nil
		}
		v = v.Elem()
	}
	if s, ok, err := printScalar(v); err != nil {
		return err
	} else if ok {
		b.WriteString(" " + s + "\n")
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		if len(fields(v.Type())) == 0 {
			b.WriteString(" {}\n")
			return nil
		}
		b.WriteByte('\n')
		indent(b, level+1)
		return printStruct(b, v, level+1)
	case reflect.Map:
		if v.Len() == 0 {
			b.WriteString(" {}\n")
			return nil
		}
		b.WriteByte('\n')
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		for _, k := range keys {
			indent(b, level+1)
			b.WriteString(quote(k.String()) + ":")
			if err := printValue(b, v.MapIndex(k), level+1); err != nil {
				return err
			}
		}
		return nil
	case reflect.Slice:
		return printSlice(b, v, level)
	}
	return fmt.Errorf("recipe: can't print a %s", v.Type())
}

func printSlice(b *bytes.Buffer, v reflect.Value, level int) error {
	if v.Len() == 0 {
		b.WriteString(" []\n")
		return nil
	}
	var flat []string
	for i := range v.Len() {
		s, ok, err := printScalar(v.Index(i))
		if err != nil {
			return err
		}
		if !ok {
			flat = nil
			break
		}
		flat = append(flat, s)
	}
	if flat != nil {
		b.WriteString(" [" + strings.Join(flat, ", ") + "]\n")
		return nil
	}
	b.WriteByte('\n')
	for i := range v.Len() {
		indent(b, level+1)
		b.WriteByte('-')
		e := v.Index(i)
		for e.Kind() == reflect.Pointer && !e.IsNil() {
			e = e.Elem()
		}
		if e.Kind() == reflect.Struct {
			b.WriteByte(' ')
			if err := printStruct(b, e, level+2); err != nil {
				return err
			}
			continue
		}
		if err := printValue(b, e, level+1); err != nil {
			return err
		}
	}
	return nil
}

func printScalar(v reflect.Value) (string, bool, error) {
	if v.Type() == durationType {
		return time.Duration(v.Int()).String(), true, nil
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		t, err := m.MarshalText()
		return quote(string(t)), true, err
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), true, nil
	case reflect.Float32, reflect.Float64:
		return number(v.Float(), v.Type().Bits()), true, nil
	case reflect.String:
		return quote(v.String()), true, nil
	}
	return "", false, nil
}

// number prints f so that YAML 1.1 readers (PyYAML) see a number too: to them 3e-05 is a string.
func number(f float64, bits int) string {
	s := strconv.FormatFloat(f, 'f', -1, bits)
	if len(s) > 24 {
		s = strconv.FormatFloat(f, 'e', -1, bits)
		if !strings.Contains(s, ".") {
			s = strings.Replace(s, "e", ".0e", 1)
		}
		return s
	}
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote leaves words and paths plain and writes anything else as a JSON string, which YAML reads.
func quote(s string) string {
	plain := s != "" && !meansOther(s) && !ambiguous[strings.ToLower(s)]
	for i, c := range s {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("_/.äöüÄÖÜß", c)
		other := c >= '0' && c <= '9' || strings.ContainsRune("-+@", c)
		if !letter && !(i > 0 && (other || c == ' ' && i < len(s)-1)) {
			plain = false
		}
	}
	if plain {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSpace(b.String())
}

// ambiguous words are bools to older YAML readers.
var ambiguous = map[string]bool{"yes": true, "no": true, "on": true, "off": true, "y": true, "n": true}

// Values lists what Print prints by dotted key, "optimizer.lr": numbers, texts, lists and maps as YAML on one line.
func Values(recipe any) (map[string]string, error) {
	values := map[string]string{}
	var walk func(v reflect.Value, key string) error
	walk = func(v reflect.Value, key string) error {
		for v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if _, scalar, err := printScalar(v); err != nil {
			return err
		} else if v.Kind() == reflect.Struct && !scalar {
			for _, f := range fields(v.Type()) {
				if err := walk(v.FieldByIndex(f.index), strings.TrimPrefix(key+"."+f.name, ".")); err != nil {
					return err
				}
			}
			return nil
		}
		var b bytes.Buffer
		if err := printValue(&b, v, 0); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		values[key] = strings.Join(strings.Fields(b.String()), " ")
		return nil
	}
	return values, walk(reflect.ValueOf(recipe), "")
}
