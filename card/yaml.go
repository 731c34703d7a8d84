package card

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// plainYAML are texts that mean the same in quotes and without, whatever version of YAML reads them, but for words of
// their own.
var plainYAML = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_/+.-]*$`)

// yamlWords are the words that some version of YAML takes for something else than text.
var yamlWords = map[string]bool{"y": true, "yes": true, "n": true, "no": true, "true": true, "false": true, "on": true, "off": true, "null": true, "nan": true, "inf": true}

// yamlText writes a text for the right side of "key: ".
func yamlText(s string) string {
	if plainYAML.MatchString(s) && !yamlWords[strings.ToLower(s)] {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r&^1 == 0xfffe:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// yamlNumber writes a finite number so that it is read as one.
func yamlNumber(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if strings.ContainsAny(s, "e") && !strings.Contains(s, ".") { // YAML 1.1 wants the point
		s = strings.Replace(s, "e", ".0e", 1)
	}
	return s
}

// yamlList writes a list of texts below a key, nothing if it is empty.
func yamlList(b *strings.Builder, key string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "%s:\n", key)
	for _, s := range items {
		fmt.Fprintf(b, "- %s\n", yamlText(s))
	}
}

// yamlPair writes "key: text", nothing if the text is empty.
func yamlPair(b *strings.Builder, indent, key, text string) {
	if text != "" {
		fmt.Fprintf(b, "%s%s: %s\n", indent, key, yamlText(text))
	}
}
