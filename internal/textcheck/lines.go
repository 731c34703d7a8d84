package textcheck

import (
	"strings"
	"unicode/utf8"
)

// C4Lines applies the line rules of Raffel et al. 2020, "Exploring the Limits
// of Transfer Learning" (§2.2), which keep sentences and drop the boilerplate
// of web pages. Zero fields switch a rule off.
type C4Lines struct {
	Terminal   bool // keep only lines that end with . ! ? or a closing quote
	MinWords   int  // drop shorter lines (paper: 5 in the text, 3 in the code released)
	Javascript bool // drop lines that mention JavaScript
	Policy     bool // drop lines on cookies, privacy and terms of use
	// Whole texts:
	Braces     bool // refuse a text with '{': code
	LoremIpsum bool // refuse placeholder text
	MinLines   int  // refuse a text of which fewer lines are left (paper: 3 sentences in the code, 5 in the text)
}

// DefaultC4 has the published rules with a minimum of 3 words and 3 lines.
var DefaultC4 = C4Lines{Terminal: true, MinWords: 3, Javascript: true, Policy: true, Braces: true, LoremIpsum: true, MinLines: 3}

var policyWords = []string{
	"cookie", "datenschutzerklärung", "datenschutzbestimmungen", "nutzungsbedingungen", "allgemeine geschäftsbedingungen", "impressum",
	"terms of use", "privacy policy", "uses cookies", "use of cookies",
}

// Apply returns the text without its bad lines, how many were dropped, and the
// reason for refusing the whole text ("" if it stays).
func (c *C4Lines) Apply(text string) (out string, dropped int, reason Reason) {
	if c.Braces && strings.IndexByte(text, '{') >= 0 {
		return text, 0, "curly bracket"
	}
	if c.LoremIpsum && containsFold(text, "lorem ipsum") {
		return text, 0, "lorem ipsum"
	}
	left := 0
	out, dropped = filterLines(text, func(line string) bool {
		ok := c.keep(line)
		if ok {
			left++
		}
		return ok
	})
	if left < c.MinLines {
		return out, dropped, "too few lines left"
	}
	return out, dropped, ""
}

func (c *C4Lines) keep(line string) bool {
	if c.Terminal && !terminal(line) {
		return false
	}
	if c.MinWords > 0 && wordCountBelow(line, c.MinWords) {
		return false
	}
	if c.Javascript && containsFold(line, "javascript") {
		return false
	}
	if c.Policy {
		for _, p := range policyWords {
			if containsFold(line, p) {
				return false
			}
		}
	}
	return true
}

func terminal(line string) bool {
	r, _ := utf8.DecodeLastRuneInString(line)
	switch r {
	case '.':
		return !strings.HasSuffix(line, "...")
	case '!', '?', '"', '“', '”', '«', '»', '‹', '›', '’', '‘', '\'', ')':
		return true
	}
	return false
}

func wordCountBelow(line string, n int) bool {
	for range strings.FieldsSeq(line) {
		if n--; n <= 0 {
			return false
		}
	}
	return true
}

// boilerplate holds phrases of page furniture, in lower case; a line of at most
// 80 characters that contains one is dropped.
var boilerplate = []string{
	"zum inhalt springen", "navigation überspringen", "zur navigation", "zum hauptinhalt", "skip to content", "cookies akzeptieren", "alle akzeptieren", "cookie-einstellungen",
	"diese website verwendet", "diese webseite verwendet", "wir verwenden cookies", "datenschutzerklärung", "impressum", "alle rechte vorbehalten", "all rights reserved",
	"newsletter abonnieren", "jetzt anmelden", "passwort vergessen", "in den warenkorb", "zur kasse", "zzgl. versand", "inkl. mwst", "auf facebook teilen", "auf twitter teilen",
	"per whatsapp", "artikel drucken", "seite drucken", "nach oben", "weiterlesen", "mehr lesen", "mehr erfahren", "lesen sie auch", "das könnte sie auch interessieren",
	"kommentar schreiben", "kommentare (", "antworten abbrechen", "javascript", "bitte aktivieren sie", "quelle: dpa", "bildquelle", "foto: ", "anzeige",
}

// Boilerplate returns the text without lines of page furniture (menus, cookie
// banners, share buttons, "read more") and how many were dropped. Only short
// lines that do not end like a sentence go.
func Boilerplate(text string) (string, int) {
	return filterLines(text, func(line string) bool {
		if len(line) > 80 {
			return true
		}
		if r := line[len(line)-1]; r == '.' && !strings.HasSuffix(line, "...") || r == '?' {
			return true
		}
		for _, p := range boilerplate {
			if i := indexFold(line, p); i >= 0 {
				if p == "anzeige" && len(line) > len(p)+2 {
					continue // the word alone, not a sentence with it
				}
				return false
			}
		}
		return true
	})
}

// filterLines drops non-blank lines for which keep is false; blank lines stay.
func filterLines(text string, keep func(line string) bool) (string, int) {
	dropped := 0
	var out []byte
	from := 0 // text[from:] is not yet copied
	for i := 0; i <= len(text); {
		end := strings.IndexByte(text[i:], '\n')
		next := len(text) + 1
		if end >= 0 {
			next = i + end + 1
			end += i
		} else {
			end = len(text)
		}
		if line := strings.TrimSpace(text[i:end]); line != "" && !keep(line) {
			dropped++
			out = append(out, text[from:i]...)
			from = min(next, len(text))
		}
		i = next
	}
	if dropped == 0 {
		return text, 0
	}
	out = append(out, text[from:]...)
	return strings.Trim(string(out), "\n"), dropped
}

func containsFold(s, low string) bool { return indexFold(s, low) >= 0 }

// indexFold finds low (lower case) in s, case folded for ASCII and for the
// German umlauts.
func indexFold(s, low string) int {
	c := low[0]
	for i := 0; i+len(low) <= len(s); i++ {
		b := s[i]
		if b >= 'A' && b <= 'Z' {
			b |= 0x20
		}
		if b != c {
			continue
		}
		k := 1
		for ; k < len(low); k++ {
			b := s[i+k]
			if b >= 'A' && b <= 'Z' {
				b |= 0x20
			} else if s[i+k-1] == 0xC3 && (b == 0x84 || b == 0x96 || b == 0x9C) {
				b |= 0x20 // Ä Ö Ü → ä ö ü
			}
			if b != low[k] {
				break
			}
		}
		if k == len(low) {
			return i
		}
	}
	return -1
}
