package suite

import (
	"regexp"
	"strconv"
	"strings"
)

// numeral is digits with points, commas, apostrophes and narrow spaces between them; it begins and ends with a digit.
var numeral = regexp.MustCompile(`[-−]?[0-9](?:[0-9]|[.,'’\x{202f}\x{a0} ]?[0-9]|\{,\}[0-9])*`)

// Numbers finds the numbers in a text, in their order. Style says how they are written: "de" is 1.234,5, "en" is 1,234.5;
// with "" a separator that stands alone before exactly three digits parts groups, and any other one is the decimal sign.
// Units and punctuation beside a number are no part of it.
func Numbers(text, style string) []float64 {
	var out []float64
	for _, at := range numeral.FindAllStringIndex(text, -1) {
		word := text[at[0]:at[1]]
		if strings.HasPrefix(word, "-") && at[0] > 0 && isWord(text[at[0]-1]) {
			word = word[1:] // a hyphen: "2-3", "COVID-19"
		}
		for _, part := range split(word) {
			if f, ok := number(part, style); ok {
				out = append(out, f)
			}
		}
	}
	return out
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// split parts at spaces that do not part groups of three digits.
func split(word string) []string {
	fields := strings.FieldsFunc(word, func(r rune) bool { return r == ' ' })
	var out []string
	for i, f := range fields {
		head, _, _ := strings.Cut(strings.NewReplacer(",", ".").Replace(f), ".")
		if i > 0 && len(head) == 3 && groups.MatchString(out[len(out)-1]) {
			out[len(out)-1] += f
			continue
		}
		out = append(out, f)
	}
	return out
}

// groups is what may stand before a group of three digits.
var groups = regexp.MustCompile(`^[-−]?[0-9]{1,3}$|^[-−]?[0-9]{4,}$`)

func number(word, style string) (float64, bool) {
	word = strings.NewReplacer("−", "-", "'", "", "’", "", "\u202f", "", "\u00a0", "", "{,}", ",").Replace(word)
	points, commas := strings.Count(word, "."), strings.Count(word, ",")
	decimal := ""
	switch {
	case style == "de":
		decimal = ","
	case style == "en":
		decimal = "."
	case points > 0 && commas > 0:
		decimal = word[max(strings.LastIndexByte(word, '.'), strings.LastIndexByte(word, ',')):][:1]
	case points+commas > 1: // several of one kind part groups
	case points+commas == 1:
		i := strings.IndexAny(word, ".,")
		if digits := strings.TrimPrefix(word[:i], "-"); len(word)-i-1 != 3 || len(digits) > 3 || digits == "0" {
			decimal = word[i : i+1]
		}
	}
	for _, sign := range []string{".", ","} {
		if sign != decimal {
			word = strings.ReplaceAll(word, sign, "")
		}
	}
	if strings.Count(word, decimal) > 1 && decimal != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.Replace(word, ",", ".", 1), 64)
	return f, err == nil
}

var letterPatterns = []*regexp.Regexp{
	regexp.MustCompile(`(?i)(?:antwort|lösung|richtig|answer|option)\w*\b\s*(?:ist|is|:|lautet)?\s*:?\s*\*{0,2}\(?([A-Ja-j])\b`),
	regexp.MustCompile(`^\s*\*{0,2}\(?([A-Ja-j])\s*(?:[).:*]|$)`),
	regexp.MustCompile(`\(([A-Ja-j])\)`),
	regexp.MustCompile(`\b([B-J])\b`),
	regexp.MustCompile(`\b(A)\b(?:[).:]|\s*$)`),
}

// Letter finds the letter of a choice in an answer; "" if there is none.
func Letter(text string) string {
	for _, re := range letterPatterns {
		if m := re.FindStringSubmatch(text); m != nil {
			return strings.ToUpper(m[1])
		}
	}
	return ""
}
