package dataset

import (
	"slices"
	"testing"
)

// TestFnmatch: which of the texts match, by Python 3.11's fnmatch.fnmatchcase.
func TestFnmatch(t *testing.T) {
	texts := []string{"anbieter/groß-4", "haus-klein", "haus/klein-2", "", "a", "b", "c", "abc", "a\nc", "ax", "bx", "dx", "]", "-", "[", "[x", "!", "\\*", "\\", "aab", "xaybzc", "x/b", "^", "d", "e", "a[b", "[!a", "[]", "[!]", "/"}
	for pattern, want := range map[string][]string{
		"*groß*":  {"anbieter/groß-4"},
		"haus*":   {"haus-klein", "haus/klein-2"},
		"?":       {"a", "b", "c", "]", "-", "[", "!", "\\", "^", "d", "e", "/"},
		"a?c":     {"abc", "a\nc"},
		"[ab]*":   {"anbieter/groß-4", "a", "b", "abc", "a\nc", "ax", "bx", "aab", "a[b"},
		"[!ab]*":  {"haus-klein", "haus/klein-2", "c", "dx", "]", "-", "[", "[x", "!", "\\*", "\\", "xaybzc", "x/b", "^", "d", "e", "[!a", "[]", "[!]", "/"},
		"[a-c]x":  {"ax", "bx"},
		"[c-a]x":  {},
		"[]a]":    {"a", "]"},
		"[!]a]":   {"b", "c", "-", "[", "!", "\\", "^", "d", "e", "/"},
		"[":       {"["},
		"[a":      {},
		"a]":      {},
		"[a-]":    {"a", "-"},
		"[-a]":    {"a", "-"},
		"[a-c-e]": {"a", "b", "c", "-", "e"},
		"\\*":     {"\\*", "\\"},
		"**a**b":  {"aab", "a[b"},
		"*a*b*c":  {"abc", "xaybzc"},
		"":        {""},
		"[[]x":    {"[x"},
		"[!!]":    {"a", "b", "c", "]", "-", "[", "\\", "^", "d", "e", "/"},
		"a*":      {"anbieter/groß-4", "a", "abc", "a\nc", "ax", "aab", "a[b"},
		"*/b":     {"x/b"},
		"[a\\]":   {"a", "\\"},
		"[]-a]":   {"a", "]", "^"},
		"[--0]":   {"-", "/"},
		"a[b":     {"a[b"},
		"[!a":     {"[!a"},
		"[]":      {"[]"},
		"[!]":     {"[!]"},
	} {
		var got []string
		for _, text := range texts {
			if fnmatch(pattern, text) {
				got = append(got, text)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q matches %q, want %q", pattern, got, want)
		}
	}
	for _, text := range texts {
		if !fnmatch("*", text) {
			t.Errorf("* does not match %q", text)
		}
	}
}
