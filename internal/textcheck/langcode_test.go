package textcheck

import (
	"strings"
	"testing"
)

func TestLanguageCode(t *testing.T) {
	for tag, want := range map[string]string{
		"de": "de", "DE": "de", "deu": "de", "ger": "de", "de-AT": "de", "de_CH": "de", "eng": "en", "fre": "fr", "fra": "fr",
		"sh": "sh", "hbs": "sh", "hrv": "sh", "sr-Latn": "sh", "bos": "sh", "no": "nb", "nob": "nb", "iw": "he", "heb": "he",
		"jpn": "ja", "zho": "zh", "chi": "zh", "cmn": "zh", "ell": "el",
		"deutsch": "", "German": "", "xx": "", "": "", "und": "", "mul": "", "gsw": "", "nn": "", "d": "", "de-": "",
	} {
		got, err := LanguageCode(tag)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", tag, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "cs, da, de, el, en") {
			t.Errorf("%q: the error does not list what is known: %v", tag, err)
		}
	}
	// Whatever Detect answers is a code that a filter may name.
	for _, code := range Languages() {
		if got, err := LanguageCode(code); got != code || err != nil {
			t.Errorf("%s: got %q, %v", code, got, err)
		}
	}
}
