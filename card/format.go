package card

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// pythonText is a literal of Python.
func pythonText(s string) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return strings.TrimSpace(b.String()), err
}

// count is a number of parameters or tokens for people.
func count(n int64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, " trillion"}, {1e9, " billion"}, {1e6, " million"}} {
		if v := float64(n); v >= u.size {
			return strconv.FormatFloat(math.Round(v/u.size*100)/100, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// bytesText is a size for people.
func bytesText(n int64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, " GB"}, {1e6, " MB"}, {1e3, " kB"}} {
		if v := float64(n); v >= u.size {
			return strconv.FormatFloat(math.Round(v/u.size*10)/10, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// languageNames are those of the languages around German.
var languageNames = map[string]string{
	"de": "German", "en": "English", "fr": "French", "nl": "Dutch", "da": "Danish", "pl": "Polish", "cs": "Czech", "it": "Italian", "es": "Spanish",
	"pt": "Portuguese", "sv": "Swedish", "tr": "Turkish", "ru": "Russian", "uk": "Ukrainian", "gsw": "Swiss German", "nds": "Low German", "code": "code", "multilingual": "many",
}

func languageName(id string) string {
	if s := languageNames[id]; s != "" {
		return s
	}
	return id
}

// every takes each n-th entry of a list, from the first on.
func every(n int, list []any) ([]any, error) {
	if n < 1 {
		return nil, fmt.Errorf("every %d: it takes numbers from 1", n)
	}
	var out []any
	for i := 0; i < len(list); i += n {
		out = append(out, list[i])
	}
	return out, nil
}
