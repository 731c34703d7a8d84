package rows

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxDepth bounds the nesting of lists and objects.
const maxDepth = 200

// syntaxError is a violation of JSON's grammar at a byte of the row.
type syntaxError struct {
	at   int
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.at, e.what) }

// parseJSON decodes exactly one JSON value (RFC 8259) with space around it.
// Strings without escapes share memory with s. What Python's json accepts
// beyond the standard (NaN, Infinity) is accepted as a number; broken UTF-8
// and lone surrogates are errors, because no tokenizer could encode them.
func parseJSON(s string) (Value, error) {
	if at := invalidUTF8(s); at >= 0 {
		return Value{}, &syntaxError{at, fmt.Sprintf("byte 0x%02x is not valid UTF-8", s[at])}
	}
	p := jsonParser{s: s}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	p.space()
	if p.i < len(s) {
		return Value{}, p.errorf("text after the end of the value")
	}
	return v, nil
}

// invalidUTF8 is the first byte of s that is not UTF-8, or -1.
func invalidUTF8(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for at := 0; ; {
		r, n := utf8.DecodeRuneInString(s[at:])
		if r == utf8.RuneError && n == 1 {
			return at
		}
		at += n
	}
}

type jsonParser struct {
	s string
	i int
}

func (p *jsonParser) errorf(format string, args ...any) error {
	return &syntaxError{p.i, fmt.Sprintf(format, args...)}
}

func (p *jsonParser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\n', '\r', '\t':
			p.i++
		default:
			return
		}
	}
}

// found describes the byte at the cursor.
func (p *jsonParser) found() string {
	if p.i >= len(p.s) {
		return "the end of the row"
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.i:])
	return strconv.QuoteRune(r)
}

func (p *jsonParser) value(depth int) (Value, error) {
	if depth > maxDepth {
		return Value{}, p.errorf("nested deeper than %d levels", maxDepth)
	}
	if p.i >= len(p.s) {
		return Value{}, p.errorf("the row ends where a value is expected")
	}
	switch c := p.s[p.i]; {
	case c == '"':
		text, err := p.text()
		return Value{Kind: String, Text: text}, err
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.list(depth)
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range [...]struct {
		text string
		kind Kind
	}{{"null", Null}, {"true", Bool}, {"false", Bool}, {"NaN", Number}, {"Infinity", Number}} {
		if strings.HasPrefix(p.s[p.i:], word.text) {
			p.i += len(word.text)
			if word.kind == Null {
				return Value{}, nil
			}
			return Value{Kind: word.kind, Text: word.text}, nil
		}
	}
	return Value{}, p.errorf("found %s where a value is expected", p.found())
}

func (p *jsonParser) object(depth int) (Value, error) {
	v := Value{Kind: Object}
	p.i++
	p.space()
	if p.i < len(p.s) && p.s[p.i] == '}' {
		p.i++
		return v, nil
	}
	for {
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			return v, p.errorf("found %s where a field name in quotes is expected", p.found())
		}
		name, err := p.text()
		if err != nil {
			return v, err
		}
		p.space()
		if p.i >= len(p.s) || p.s[p.i] != ':' {
			return v, p.errorf("found %s where ':' is expected", p.found())
		}
		p.i++
		p.space()
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.Names = append(v.Names, name)
		v.Items = append(v.Items, item)
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			p.space()
			continue
		}
		if p.i < len(p.s) && p.s[p.i] == '}' {
			p.i++
			return v, nil
		}
		return v, p.errorf("found %s where ',' or '}' is expected", p.found())
	}
}

func (p *jsonParser) list(depth int) (Value, error) {
	v := Value{Kind: List}
	p.i++
	p.space()
	if p.i < len(p.s) && p.s[p.i] == ']' {
		p.i++
		return v, nil
	}
	for {
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, item)
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			p.space()
			continue
		}
		if p.i < len(p.s) && p.s[p.i] == ']' {
			p.i++
			return v, nil
		}
		return v, p.errorf("found %s where ',' or ']' is expected", p.found())
	}
}

func (p *jsonParser) number() (Value, error) {
	start := p.i
	if p.s[p.i] == '-' {
		p.i++
		if strings.HasPrefix(p.s[p.i:], "Infinity") {
			p.i += len("Infinity")
			return Value{Kind: Number, Text: p.s[start:p.i]}, nil
		}
	}
	digits := func() bool {
		from := p.i
		for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
			p.i++
		}
		return p.i > from
	}
	whole := p.i
	if !digits() {
		return Value{}, p.errorf("found %s where a digit is expected", p.found())
	}
	if p.s[whole] == '0' && p.i > whole+1 {
		p.i = whole
		return Value{}, p.errorf("a number must not start with 0")
	}
	if p.i < len(p.s) && p.s[p.i] == '.' {
		p.i++
		if !digits() {
			return Value{}, p.errorf("found %s where a digit is expected", p.found())
		}
	}
	if p.i < len(p.s) && (p.s[p.i] == 'e' || p.s[p.i] == 'E') {
		p.i++
		if p.i < len(p.s) && (p.s[p.i] == '+' || p.s[p.i] == '-') {
			p.i++
		}
		if !digits() {
			return Value{}, p.errorf("found %s where a digit is expected", p.found())
		}
	}
	return Value{Kind: Number, Text: p.s[start:p.i]}, nil
}

// text decodes the string that starts at the cursor.
func (p *jsonParser) text() (string, error) {
	p.i++
	start := p.i
	p.i = special(p.s, p.i)
	if p.i >= len(p.s) {
		return "", p.errorf("the row ends inside a text")
	}
	switch c := p.s[p.i]; c {
	case '"':
		out := p.s[start:p.i]
		p.i++
		return out, nil
	case '\\':
		return p.escaped(start)
	default:
		return "", p.errorf("control character 0x%02x inside a text", c)
	}
}

// special returns the place of the first quote, backslash or control character
// of s from i on, or its length. It looks at eight bytes at a time.
func special(s string, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^ones*'"', x^ones*'\\'
		// A byte's high bit is set where it is zero, or below a space; the lowest
		// one set is right, those above it may come from a borrow.
		if m := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(s) && s[i] != '"' && s[i] != '\\' && s[i] >= ' ' {
		i++
	}
	return i
}

// escaped is text from the first backslash on.
func (p *jsonParser) escaped(start int) (string, error) {
	var b strings.Builder
	// The closing quote bounds the size: an escape never grows.
	end := p.i
	for end < len(p.s) && p.s[end] == '\\' {
		end = special(p.s, min(end+2, len(p.s)))
	}
	b.Grow(end - start)
	for {
		p.i = special(p.s, p.i)
		if p.i >= len(p.s) {
			break
		}
		c := p.s[p.i]
		b.WriteString(p.s[start:p.i])
		if c == '"' {
			p.i++
			return b.String(), nil
		}
		if c < 0x20 {
			return "", p.errorf("control character 0x%02x inside a text", c)
		}
		p.i++
		if p.i >= len(p.s) {
			break
		}
		switch e := p.s[p.i]; e {
		case '"', '\\', '/':
			b.WriteByte(e)
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			r, err := p.hex()
			if err != nil {
				return "", err
			}
			if utf16.IsSurrogate(r) {
				if !strings.HasPrefix(p.s[p.i+1:], `\u`) {
					return "", p.errorf("half of a surrogate pair (\\u%04x): not valid Unicode", r)
				}
				p.i += 2
				low, err := p.hex()
				if err != nil {
					return "", err
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return "", p.errorf("broken surrogate pair: not valid Unicode")
				}
			}
			b.WriteRune(r)
		default:
			return "", p.errorf("unknown escape \\%s", strings.Trim(p.found(), "'"))
		}
		p.i++
		start = p.i
	}
	return "", p.errorf("the row ends inside a text")
}

// hex reads the four digits after the u at the cursor and leaves the cursor
// on the last of them.
func (p *jsonParser) hex() (rune, error) {
	if p.i+5 > len(p.s) {
		return 0, p.errorf("the row ends inside a \\u escape")
	}
	n, err := strconv.ParseUint(p.s[p.i+1:p.i+5], 16, 16)
	if err != nil {
		return 0, p.errorf("\\u%s is not an escape of four hexadecimal digits", p.s[p.i+1:p.i+5])
	}
	p.i += 4
	return rune(n), nil
}
