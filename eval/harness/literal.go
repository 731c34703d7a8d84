package harness

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"leolm/dataset/rows"
)

// parseLiteral reads what Python prints of lists, tuples, texts, numbers, truth values and None, as ast.literal_eval does.
func parseLiteral(text string) (rows.Value, error) {
	p := &literal{text: text}
	v, err := p.value(0)
	if err == nil {
		if p.space(); p.at < len(text) {
			err = p.errorf("unexpected %q", text[p.at])
		}
	}
	return v, err
}

type literal struct {
	text string
	at   int
}

// maxLiteral bounds the nesting of lists.
const maxLiteral = 64

func (p *literal) errorf(format string, args ...any) error {
	return fmt.Errorf("not a list as Python writes it, at byte %d: %s", p.at, fmt.Sprintf(format, args...))
}

func (p *literal) space() {
	p.at = len(p.text) - len(strings.TrimLeft(p.text[p.at:], " \t\r\n"))
}

func (p *literal) value(depth int) (rows.Value, error) {
	p.space()
	if p.at >= len(p.text) {
		return rows.Value{}, p.errorf("it ends too early")
	}
	switch c := p.text[p.at]; c {
	case '[', '(':
		return p.list(map[byte]byte{'[': ']', '(': ')'}[c], depth)
	case '\'', '"':
		s, err := p.quoted(c)
		for err == nil { // texts beside each other are one
			if p.space(); p.at >= len(p.text) || p.text[p.at] != '\'' && p.text[p.at] != '"' {
				break
			}
			var more string
			more, err = p.quoted(p.text[p.at])
			s += more
		}
		return rows.Value{Kind: rows.String, Text: s}, err
	}
	end := p.at
	for end < len(p.text) && !strings.ContainsRune(",])} \t\r\n", rune(p.text[end])) {
		end++
	}
	word := p.text[p.at:end]
	v := rows.Value{Kind: rows.Number, Text: word}
	switch word {
	case "None":
		v = rows.Value{Kind: rows.Null}
	case "True", "False":
		v.Kind = rows.Bool
	default:
		if _, err := strconv.ParseFloat(word, 64); err != nil {
			return v, p.errorf("%q", word)
		}
	}
	p.at = end
	return v, nil
}

func (p *literal) list(end byte, depth int) (rows.Value, error) {
	v := rows.Value{Kind: rows.List}
	if depth >= maxLiteral {
		return v, p.errorf("nested too deep")
	}
	for p.at++; ; {
		p.space()
		if p.at < len(p.text) && p.text[p.at] == end {
			p.at++
			return v, nil
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, item)
		p.space()
		switch {
		case p.at < len(p.text) && p.text[p.at] == ',':
			p.at++
		case p.at >= len(p.text) || p.text[p.at] != end:
			return v, p.errorf("want a comma or %q", end)
		}
	}
}

// escapes of one character.
var escapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': `\`, '\'': "'", '"': `"`, '0': "\x00", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\n': ""}

func (p *literal) quoted(quote byte) (string, error) {
	var b strings.Builder
	for p.at++; p.at < len(p.text); {
		c := p.text[p.at]
		switch {
		case c == quote:
			p.at++
			return b.String(), nil
		case c == '\n':
			return "", p.errorf("a line feed in a text")
		case c != '\\':
			_, n := utf8.DecodeRuneInString(p.text[p.at:])
			b.WriteString(p.text[p.at : p.at+n])
			p.at += n
		default:
			if err := p.escape(&b); err != nil {
				return "", err
			}
		}
	}
	return "", p.errorf("a text without end")
}

// escape reads a backslash and what it stands for.
func (p *literal) escape(b *strings.Builder) error {
	if p.at+1 >= len(p.text) {
		return p.errorf("a text without end")
	}
	c := p.text[p.at+1]
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if digits > 0 {
		if p.at+2+digits > len(p.text) {
			return p.errorf("an escape is cut off")
		}
		n, err := strconv.ParseUint(p.text[p.at+2:p.at+2+digits], 16, 32)
		if err != nil || !utf8.ValidRune(rune(n)) {
			return p.errorf("%q", p.text[p.at:p.at+2+digits])
		}
		b.WriteRune(rune(n))
		p.at += 2 + digits
		return nil
	}
	if s, ok := escapes[c]; ok {
		b.WriteString(s)
		p.at += 2
		return nil
	}
	b.WriteByte('\\') // Python keeps a backslash that means nothing
	p.at++
	return nil
}
