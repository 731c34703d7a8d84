package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// upper and lower follow Python where one character becomes several.
func upper(r rune) string {
	switch r {
	case 'ß':
		return "SS"
	case 'ŉ':
		return "ʼN"
	case 'ǰ':
		return "J̌"
	case 'ﬀ':
		return "FF"
	case 'ﬁ':
		return "FI"
	case 'ﬂ':
		return "FL"
	case 'ﬃ':
		return "FFI"
	case 'ﬄ':
		return "FFL"
	case 'ﬅ', 'ﬆ':
		return "ST"
	}
	return string(unicode.ToUpper(r))
}

func lower(r rune) string {
	if r == 'İ' {
		return "i̇"
	}
	return string(unicode.ToLower(r))
}

func titleCase(r rune) string {
	if r == 'ß' {
		return "Ss"
	}
	return string(unicode.ToTitle(r))
}

// strip removes characters at the ends; chars empty and not given means white
// space.
func strip(s Str, chars string, given, left, right bool) Str {
	cut := pySpace
	if given {
		set := make(map[rune]bool, min(len(chars), 64))
		for _, r := range chars {
			set[r] = true
		}
		cut = func(r rune) bool { return set[r] }
	}
	i, j := 0, len(s.S)
	if left {
		i = j - len(strings.TrimLeftFunc(s.S, cut))
	}
	if right {
		j = max(i, len(strings.TrimRightFunc(s.S, cut)))
	}
	return s.sub(i, j)
}

// split is str.split (max < 0: no limit). sep nil splits at white space.
func split(s Str, sep *string, max int) []Str {
	var out []Str
	if sep == nil {
		i := 0
		for {
			rest := strings.TrimLeftFunc(s.S[i:], pySpace)
			i = len(s.S) - len(rest)
			if rest == "" {
				return out
			}
			if max == 0 {
				return append(out, s.sub(i, len(s.S)))
			}
			n := strings.IndexFunc(rest, pySpace)
			if n < 0 {
				n = len(rest)
			}
			out = append(out, s.sub(i, i+n))
			i += n
			max--
		}
	}
	i := 0
	for max != 0 {
		n := strings.Index(s.S[i:], *sep)
		if n < 0 {
			break
		}
		out = append(out, s.sub(i, i+n))
		i += n + len(*sep)
		max--
	}
	return append(out, s.sub(i, len(s.S)))
}

// rsplit is str.rsplit with a limit.
func rsplit(s Str, sep *string, max int) []Str {
	if max < 0 {
		return split(s, sep, -1)
	}
	var out []Str
	j := len(s.S)
	if sep == nil {
		j = len(strings.TrimRightFunc(s.S, pySpace))
	}
	for ; max > 0; max-- {
		if sep == nil {
			n := strings.LastIndexFunc(s.S[:j], pySpace)
			if n < 0 {
				break
			}
			_, w := utf8.DecodeRuneInString(s.S[n:])
			out = append(out, s.sub(n+w, j))
			j = len(strings.TrimRightFunc(s.S[:n], pySpace))
			continue
		}
		n := strings.LastIndex(s.S[:j], *sep)
		if n < 0 {
			break
		}
		out = append(out, s.sub(n+len(*sep), j))
		j = n
	}
	if sep != nil || j > 0 {
		out = append(out, s.sub(0, j))
	}
	slices.Reverse(out)
	return out
}

// splitLines is str.splitlines.
func (ev *evaluator) splitLines(s Str, keep bool, line int) []Str {
	var out []Str
	start := 0
	for i := 0; i < len(s.S); {
		r, n := utf8.DecodeRuneInString(s.S[i:])
		switch r {
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029, '\r':
			ev.work(line, 1)
			end := i
			if r == '\r' && strings.HasPrefix(s.S[i+1:], "\n") {
				n = 2
			}
			if keep {
				end = i + n
			}
			out = append(out, s.sub(start, end))
			start = i + n
		}
		i += n
	}
	if start < len(s.S) {
		out = append(out, s.sub(start, len(s.S)))
	}
	return out
}

// replace is str.replace: the new text has its own origin.
func (ev *evaluator) replace(s, old, repl Str, max int, line int) Str {
	b := ev.builder(line)
	i := 0
	if old.S == "" {
		off := s.offsets()
		for k, at := range off {
			ev.work(line, 1)
			if max != 0 {
				b.str(repl)
				max--
			}
			if k+1 < len(off) {
				b.slice(s, at, off[k+1])
			}
		}
		return b.done()
	}
	for max != 0 {
		n := strings.Index(s.S[i:], old.S)
		if n < 0 {
			break
		}
		ev.work(line, 1)
		b.slice(s, i, i+n)
		b.str(repl)
		i += n + len(old.S)
		max--
	}
	b.slice(s, i, len(s.S))
	return b.done()
}

func casefold(r rune) string {
	if r == 'ß' {
		return "ss"
	}
	return lower(r)
}

// eachRune maps the characters of a string one by one.
func eachRune(f func(r rune) string) func(ev *evaluator, s Str) Str {
	return func(ev *evaluator, s Str) Str { return ev.runes(s, func(_ int, r rune) string { return f(r) }) }
}

func capitalize(ev *evaluator, s Str) Str {
	return ev.runes(s, func(at int, r rune) string {
		if at == 0 {
			return titleCase(r)
		}
		return lower(r)
	})
}

// title is str.title: a letter after a non-letter is upper case.
func title(ev *evaluator, s Str) Str {
	inWord := false
	return ev.runes(s, func(_ int, r rune) string {
		was := inWord
		inWord = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
		if was {
			return lower(r)
		}
		return titleCase(r)
	})
}
