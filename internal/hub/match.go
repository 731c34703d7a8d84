package hub

import (
	"slices"
	"strings"
)

// matchAny reports whether one of the patterns stands for the name, as
// huggingface_hub's filter_repo_objects understands them.
func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		p = strings.ReplaceAll(p, `\`, "/")
		if strings.HasSuffix(p, "/") {
			p += "*"
		}
		return match([]rune(p), []rune(name))
	})
}

// match is Python's fnmatch.fnmatchcase: * and ? stand for any characters, "/"
// among them, and […] and [!…] for one of a set. It takes time in proportion to
// len(pattern)·len(name) at most: only the last * is tried again.
func match(pattern, name []rune) bool {
	p, n := 0, 0
	star, from := -1, 0 // the last * and where the name goes on after it
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, from = p, n
			p++
			continue
		}
		if size, ok := matchOne(pattern[p:], name[n]); ok {
			p += size
			n++
			continue
		}
		if star < 0 {
			return false
		}
		from++
		p, n = star+1, from
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one character with the first item of a pattern, which is no
// *, and returns that item's length.
func matchOne(pattern []rune, r rune) (size int, ok bool) {
	if len(pattern) == 0 {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		// A ] at the start belongs to the set; without an end, [ is itself.
		i := 1
		if i < len(pattern) && pattern[i] == '!' {
			i++
		}
		end := -1
		if i < len(pattern) {
			if end = slices.Index(pattern[i+1:], ']'); end >= 0 {
				end += i + 1
			}
		}
		if end < 0 {
			return 1, r == '['
		}
		in := false
		for k := i; k < end; {
			if k+2 < end && pattern[k+1] == '-' {
				in = in || pattern[k] <= r && r <= pattern[k+2]
				k += 3
				continue
			}
			in = in || pattern[k] == r
			k++
		}
		return end + 1, in == (i == 1)
	}
	return 1, pattern[0] == r
}
