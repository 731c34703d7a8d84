package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2"
)

// expressions of published tokenizers, and ones that use all that the syntax has.
var linearExpressions = []string{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	` ?[^(\s|.,!?…。，、।۔،)]+`,
	`\p{N}{1,3}`, `[0-9][0-9][0-9]`, `\d{2}(?=\d)`, `(?:ab|a)(?:c|bcd)?`, `(?:ab|a)*?b`, `a{2,3}?a`, `a{0,2}b{2}`, `^a|b$`, `(?m)^a|b$`,
	`\ba|a\b|\Bb`, `(?>a+)b|ab`, `(?>a|ab)c`, `(?<!a)b`, `(?<=\s)b`, `(?i)AB(?-i)c`, `(?s).b`, `(?i)[a-b]S`, `[]a]`, `[^]a]`, `[\]a-]+`, `x{,2}`, `{`, `a{`,
	`(a|b)(?<n>c)`, `\x61|\u0062`, `(?#c)a`, `(a*)*b`, `(a|a?)+c`, `(?:a|(?=b))*c`, `(?=a+b)a|b`, `(?!a*c)[abc]`, `(?=(?:a|b)*c).`, `(?=(?>a*)b)a`, `[a-c-[b]]`, `\s+$`, `()a|`, `a\z`, `\Ab`, `b\Z`,
}

func TestLinearFindsTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "c", "ab", "aB", " ", "  ", "\n", "\r\n", "'s", "'LL", "ß", "Ä", "9", "12", ".", "…", "{", "]", "-", "S", "ſ", "x", "\u200d", "日"}
	for _, expr := range linearExpressions {
		re := regexp2.MustCompile(expr, regexp2.None)
		re.MatchTimeout = 5 * time.Second
		l, err := newLinear(expr, "")
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		for range 400 {
			var text []rune
			for range rng.IntN(14) {
				text = append(text, []rune(words[rng.IntN(len(words))])...)
			}
			var want, got []span
			m, err := re.FindRunesMatch(text)
			for ; err == nil && m != nil; m, err = re.FindNextMatch(m) {
				want = append(want, span{m.Index, m.Index + m.Length})
			}
			if err != nil {
				t.Fatal(expr, err)
			}
			l.all(text, func(start, end int) { got = append(got, span{start, end}) })
			if !slices.Equal(got, want) {
				t.Errorf("%s in %q: %v, want %v", expr, string(text), got, want)
				break
			}
		}
	}
}

// The time grows with the text and no faster, whatever the expression is.
func TestLinearIsLinear(t *testing.T) {
	for _, expr := range []string{`(a+)+b|c`, `(a|a)*b`, `(a*)*b`, `(?:a|aa)+$x`, `(?=(a+)+b)a|c`, `(?!(a|a)*b)x`, `a*a*a*a*a*a*a*b`} {
		l, err := newLinear(expr, "")
		if err != nil {
			t.Fatal(err)
		}
		text := []rune("c" + strings.Repeat("a", 20_000) + "!c")
		start := time.Now()
		n := 0
		l.all(text, func(_, _ int) { n++ })
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s: %v", expr, d)
		}
		if strings.HasSuffix(expr, "|c") && n != 2 {
			t.Errorf("%s: %d matches, want 2", expr, n)
		}
	}
}

func TestLinearRefuses(t *testing.T) {
	for _, expr := range []string{`(a)\1`, `(?<n>a)\k<n>`, `(?<=a+)b`, `(?(a)b|c)`, `(?<x-y>a)`, `((a{1000}){1000}){1000}`, strings.Repeat("(", 300) + strings.Repeat(")", 300)} {
		if _, err := newLinear(expr, ""); err == nil {
			t.Errorf("%.40s is taken", expr)
		}
	}
}

// An expression that backtracks without end changes no ids: what matches behind the
// place where it is slow is found as well.
func TestSlowExpression(t *testing.T) {
	for _, kind := range []string{"Replace", "Split"} {
		expr := `(a+)+b|c`
		p, err := (&hfPattern{Regex: &expr}).compile()
		if err != nil {
			t.Fatal(err)
		}
		p.re.MatchTimeout = 20 * time.Millisecond
		text := "c" + strings.Repeat("a", 40) + "!c"
		switch kind {
		case "Replace":
			if got, _ := (replaceMatches{p, "X"}).apply(text, nil, false); got != "X"+text[1:len(text)-1]+"X" {
				t.Errorf("replaced: %q", got)
			}
		case "Split":
			got := splitStep{find: p, behavior: "Isolated"}.cut(nil, text, []span{{0, len(text)}})
			if want := []span{{0, 1}, {1, 42}, {42, 43}}; !slices.Equal(got, want) {
				t.Errorf("split: %v, want %v", got, want)
			}
		}
	}
}

func FuzzLinear(f *testing.F) {
	for _, expr := range linearExpressions {
		f.Add(expr, "ab 12\n'LL Äß")
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 60 || len(text) > 40 {
			return
		}
		re, err := regexp2.Compile(expr, regexp2.None)
		if err != nil {
			return
		}
		re.MatchTimeout = 200 * time.Millisecond
		l, err := newLinear(expr, "")
		if err != nil {
			return
		}
		runes := []rune(text)
		var want, got []span
		m, err := re.FindRunesMatch(runes)
		for ; err == nil && m != nil; m, err = re.FindNextMatch(m) {
			want = append(want, span{m.Index, m.Index + m.Length})
		}
		l.all(runes, func(start, end int) { got = append(got, span{start, end}) })
		if err == nil && !slices.Equal(got, want) {
			t.Errorf("%q in %q: %v, want %v", expr, text, got, want)
		}
	})
}
