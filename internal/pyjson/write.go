package pyjson

import (
	"fmt"
	"math/big"
	"strconv"

	"leolm/internal/pynum"
)

// Object is a JSON object whose keys keep their order, as a Python dict's do.
type Object []Member

// Member is one key of an Object.
type Member struct {
	Key   string
	Value any
}

// Set changes the value of a key, or adds it at the end.
func (o *Object) Set(key string, value any) {
	for i := range *o {
		if (*o)[i].Key == key {
			(*o)[i].Value = value
			return
		}
	}
	*o = append(*o, Member{key, value})
}

// Append writes v as json.dumps(v, indent=indent) does; an indent of 0 is none, with the separators ", " and ": ". A value
// is nil, a bool, an int, a *big.Int, a float64, a string, a []any, a []string or an Object.
func Append(dst []byte, v any, indent int) []byte { return appendValue(dst, v, indent, "\n") }

func appendValue(dst []byte, v any, indent int, line string) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case *big.Int:
		return v.Append(dst, 10)
	case float64:
		return append(dst, floatText(v)...)
	case string:
		return AppendString(dst, v)
	case []string:
		return appendList(dst, '[', ']', len(v), indent, line, func(dst []byte, i int, line string) []byte {
			return AppendString(dst, v[i])
		})
	case []any:
		return appendList(dst, '[', ']', len(v), indent, line, func(dst []byte, i int, line string) []byte {
			return appendValue(dst, v[i], indent, line)
		})
	case Object:
		return appendList(dst, '{', '}', len(v), indent, line, func(dst []byte, i int, line string) []byte {
			dst = append(AppendString(dst, v[i].Key), ": "...)
			return appendValue(dst, v[i].Value, indent, line)
		})
	}
	panic(fmt.Sprintf("pyjson: a %T has no form in JSON", v)) // a mistake in the program
}

// appendList writes n items between brackets. line is the line feed with the indent of the brackets.
func appendList(dst []byte, left, right byte, n, indent int, line string, item func(dst []byte, i int, line string) []byte) []byte {
	dst = append(dst, left)
	inner := line
	if indent > 0 {
		inner = fmt.Sprintf("%s%*s", line, indent, "")
	}
	for i := range n {
		switch {
		case i > 0 && indent == 0:
			dst = append(dst, ", "...)
		case i > 0:
			dst = append(dst, ',')
		}
		if indent > 0 {
			dst = append(dst, inner...)
		}
		dst = item(dst, i, inner)
	}
	if n > 0 && indent > 0 {
		dst = append(dst, line...)
	}
	return append(dst, right)
}

// floatText is a float in Python's JSON, where what JSON lacks has names of its own.
func floatText(f float64) string {
	switch s := pynum.FloatRepr(f); s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	default:
		return s
	}
}

// AppendString writes s in quotes, all but printable ASCII escaped.
func AppendString(dst []byte, s string) []byte {
	const short = "\bb\ff\nn\rr\tt\"\"\\\\"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\' || r < ' ':
			if i := indexPair(short, byte(r)); i >= 0 {
				dst = append(dst, '\\', short[i+1])
				continue
			}
			dst = fmt.Appendf(dst, "\\u%04x", r)
		case r <= '~':
			dst = append(dst, byte(r))
		case r <= 0xffff:
			dst = fmt.Appendf(dst, "\\u%04x", r)
		default:
			r -= 0x10000
			dst = fmt.Appendf(dst, "\\u%04x\\u%04x", 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return append(dst, '"')
}

// indexPair finds c at the even places of s.
func indexPair(s string, c byte) int {
	for i := 0; i < len(s); i += 2 {
		if s[i] == c {
			return i
		}
	}
	return -1
}
