package textcheck

import (
	"fmt"
	"slices"
	"strings"

	xlang "golang.org/x/text/language"
)

// sameAs are codes whose language Detect calls by another one: it does not tell
// the standards of Serbo-Croatian in Latin letters apart, nor Norwegian without
// Bokmål.
var sameAs = map[string]string{"sr": "sh", "hr": "sh", "bs": "sh", "no": "nb", "cmn": "zh"}

// LanguageCode returns the ISO 639-1 code that Detect gives for the language of a
// BCP 47 tag: "de" for de, DE, deu, ger and de-AT. An error names the languages
// that Detect knows.
func LanguageCode(tag string) (string, error) {
	known := Languages()
	for _, code := range scriptLang {
		if code != "" {
			known = append(known, code)
		}
	}
	slices.Sort(known)
	if slices.Contains(known, tag) {
		return tag, nil
	}
	if t, err := xlang.Parse(tag); err == nil {
		base, sure := t.Base()
		code := base.String()
		if same := sameAs[code]; same != "" {
			code = same
		}
		if sure == xlang.Exact && slices.Contains(known, code) { // "und" would guess English
			return code, nil
		}
	}
	return "", fmt.Errorf("%q is no language that can be told from a text; known are %s", tag, strings.Join(known, ", "))
}
