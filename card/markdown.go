package card

import (
	"fmt"
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

// inline makes text from anywhere one line of Markdown that shows it as it is.
func inline(s string) string {
	s = oneLine(s)
	var b strings.Builder
	for i, r := range s {
		switch r {
		case '\\', '`', '*', '_', '[', ']', '|', '~', '$', '<', '>', '&', '#':
			if r == '_' && insideWord(s, i) || r == '#' && i > 0 {
				break // means nothing there
			}
			if r == '<' || r == '>' || r == '&' {
				b.WriteString(html.EscapeString(string(r)))
				continue
			}
			b.WriteByte('\\')
		case '-', '+', '=':
			if i == 0 {
				b.WriteByte('\\')
			}
		case '.', ')':
			if i > 0 && strings.Trim(s[:i], "0123456789") == "" && (i+1 == len(s) || s[i+1] == ' ') { // a list's number
				b.WriteByte('\\')
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}

// insideWord reports whether the byte at i stands between letters or digits.
func insideWord(s string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i+1:])
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	return word(before) && word(after)
}

// oneLine replaces line breaks and control characters, and takes away space at both ends.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029' || r == '\u0085':
			return ' '
		case unicode.Is(unicode.C, r) && r != '\u00ad' && r != '\u200d': // controls, and what turns the direction of text
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd")))
}

// cell is inline for a table, with the line breaks of longer texts.
func cell(s string) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")), "\n")
	for i := range lines {
		lines[i] = inline(lines[i])
	}
	return strings.Join(lines, "<br>")
}

// code is text in backquotes, which may hold some itself.
func code(s string) string {
	s = oneLine(s)
	if s == "" {
		return ""
	}
	ticks := strings.Repeat("`", longest(s, '`')+1)
	if s[0] == '`' || s[len(s)-1] == '`' {
		s = " " + s + " "
	}
	return ticks + s + ticks
}

// codeCell is code for a table, where a bar ends the cell even between backquotes.
func codeCell(s string) string {
	if !strings.Contains(s, "|") {
		return code(s)
	}
	return "<code>" + strings.ReplaceAll(html.EscapeString(oneLine(s)), "|", "&#124;") + "</code>"
}

// fence is a code block that nothing in the text can end.
func fence(language, text string) string {
	ticks := strings.Repeat("`", max(3, longest(text, '`')+1))
	return ticks + language + "\n" + strings.TrimRight(text, "\n") + "\n" + ticks
}

// longest is the length of the longest run of c.
func longest(s string, c byte) int {
	most, n := 0, 0
	for i := range len(s) {
		if n++; s[i] != c {
			n = 0
		}
		most = max(most, n)
	}
	return most
}

// link is a link, or the text alone if there is no address.
func link(text, address string) string {
	if address == "" {
		return inline(text)
	}
	return fmt.Sprintf("[%s](%s)", inline(text), strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29", "<", "%3C", ">", "%3E", "|", "%7C", "\\", "%5C").Replace(oneLine(address)))
}

// openBlock says what a text of Markdown leaves open, so that all after it would be part of that; "" if nothing.
func openBlock(text string) string {
	fence, comment := "", false
	for line := range strings.SplitSeq(text, "\n") {
		s := strings.TrimSpace(line)
		if fence == "" {
			for rest := s; ; {
				mark := "<!--"
				if comment {
					mark = "-->"
				}
				_, after, found := strings.Cut(rest, mark)
				if !found {
					break
				}
				comment, rest = !comment, after
			}
		}
		for _, c := range []byte("`~") {
			n := len(s) - len(strings.TrimLeft(s, string(c)))
			switch {
			case n < 3 || comment:
			case fence == "":
				fence = s[:n]
			case fence[0] == c && n >= len(fence) && strings.TrimSpace(s[n:]) == "":
				fence = ""
			}
		}
	}
	switch {
	case fence != "":
		return "a code block"
	case comment:
		return "a comment"
	}
	return ""
}
