package recipe

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

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
