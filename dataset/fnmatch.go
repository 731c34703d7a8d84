package dataset

import "strings"

// fnmatch reports whether the whole of text matches a pattern of Python's fnmatch:
// * any text, ? one character, [ab-z] one of these, [!ab] one of others. There is
// no other special character: / and line breaks are as any, and what is special
// stands for itself in brackets.
func fnmatch(pattern, text string) bool {
	p, s := []rune(pattern), []rune(text)
	i, k := 0, 0
	star, from := -1, 0 // the last *, and what of the text follows what it took
	for k < len(s) {
		if i < len(p) && p[i] == '*' {
			star, from = i, k
			i++
			continue
		}
		if i < len(p) {
			if n, ok := matchOne(p[i:], s[k]); ok {
				i += n
				k++
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		i, k = star+1, from
	}
	return strings.Trim(string(p[i:]), "*") == ""
}

// matchOne matches one character against the beginning of a pattern, of which it
// takes n.
func matchOne(p []rune, c rune) (n int, ok bool) {
	switch p[0] {
	case '?':
		return 1, true
	case '[':
		set, n := bracket(p)
		if n == 0 { // without an end it is no set
			return 1, c == '['
		}
		if set[0] == '!' {
			return n, !inSet(set[1:], c)
		}
		return n, inSet(set, c)
	}
	return 1, p[0] == c
}

// bracket returns what stands between [ and its ], and the length of the whole.
func bracket(p []rune) (set []rune, n int) {
	end := 1
	if end < len(p) && p[end] == '!' {
		end++
	}
	if end < len(p) && p[end] == ']' { // the first one is a member
		end++
	}
	for ; end < len(p); end++ {
		if p[end] == ']' {
			return p[1:end], end + 1
		}
	}
	return nil, 0
}

func inSet(set []rune, c rune) bool {
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			if set[i] <= c && c <= set[i+2] {
				return true
			}
			i += 2
			continue
		}
		if set[i] == c {
			return true
		}
	}
	return false
}
