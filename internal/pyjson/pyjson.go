// Package pyjson reads JSON as Python writes it, and writes it so, byte for byte:
// the json module writes Infinity, -Infinity and NaN, which are not JSON, escapes
// all but ASCII, and keeps the order of keys.
package pyjson

import "bytes"

// Standard returns data as standard JSON: infinities as the largest numbers of a
// double, NaN as the string "NaN", which readers of numbers reject. Data without
// them is returned unchanged, damaged data stays damaged.
func Standard(data []byte) []byte {
	if !bytes.Contains(data, []byte("Infinity")) && !bytes.Contains(data, []byte("NaN")) {
		return data
	}
	out := make([]byte, 0, len(data)+64)
	for i := 0; i < len(data); {
		switch rest := data[i:]; {
		case rest[0] == '"':
			n := text(rest)
			out = append(out, rest[:n]...)
			i += n
		case word(data, i, "Infinity"):
			out = append(out, "1e308"...)
			i += len("Infinity")
		case word(data, i, "NaN"):
			out = append(out, `"NaN"`...)
			i += len("NaN")
		default:
			out = append(out, rest[0])
			i++
		}
	}
	return out
}

// text returns the length of the string that data begins with, or of data.
func text(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// word reports whether w stands at data[i:] by itself.
func word(data []byte, i int, w string) bool {
	letter := func(k int) bool {
		return k >= 0 && k < len(data) && (data[k]|0x20 >= 'a' && data[k]|0x20 <= 'z' || data[k] >= '0' && data[k] <= '9' || data[k] == '_')
	}
	return bytes.HasPrefix(data[i:], []byte(w)) && !letter(i-1) && !letter(i+len(w))
}
