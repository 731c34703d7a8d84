package constrain

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// The classes that all engines agree on, and those of the widest reading:
// ECMAScript's are ASCII except for white space, Python's are Unicode.
var (
	narrowDigit = class{'0', '9'}
	wideDigit   = tables(unicode.Nd)
	narrowWord  = class{'0', '9', 'A', 'Z', '_', '_', 'a', 'z'}
	wideWord    = merged(append(tables(unicode.L, unicode.N, unicode.M), '_', '_'))
	narrowSpace = class{'\t', '\r', ' ', ' ', 0xa0, 0xa0}
	wideSpace   = merged(append(tables(unicode.Zs), '\t', '\r', 0x1c, 0x1f, 0x85, 0x85, 0x180e, 0x180e, 0x2028, 0x2029, 0xfeff, 0xfeff))
)

// Their complements: what no engine finds in the class, and what some do not.
var (
	narrowNotDigit, wideNotDigit = complement(wideDigit), complement(narrowDigit)
	narrowNotWord, wideNotWord   = complement(wideWord), complement(narrowWord)
	narrowNotSpace, wideNotSpace = complement(wideSpace), complement(narrowSpace)
	anyButLines                  = complement(class{'\n', '\n', '\r', '\r', 0x2028, 0x2029})
)

func tables(list ...*unicode.RangeTable) class {
	var out class
	add := func(lo, hi, stride rune) {
		if stride == 1 {
			out = append(out, lo, hi)
			return
		}
		for c := lo; c <= hi; c += stride {
			out = append(out, c, c)
		}
	}
	for _, t := range list {
		for _, r := range t.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range t.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	return merged(out)
}

// merged is the same class with its ranges ascending and apart.
func merged(c class) class {
	n := len(c) / 2
	order := make([]int, n)
	for i := range order {
		order[i] = 2 * i
	}
	slices.SortFunc(order, func(a, b int) int { return int(c[a]) - int(c[b]) })
	out := make(class, 0, len(c))
	for _, i := range order {
		if k := len(out); k > 0 && c[i] <= out[k-1]+1 {
			out[k-1] = max(out[k-1], c[i+1])
		} else {
			out = append(out, c[i], c[i+1])
		}
	}
	return out
}

// complement is every character outside of the ranges.
func complement(c class) class {
	var out class
	at := rune(0)
	c = merged(c)
	for i := 0; i+1 < len(c); i += 2 {
		if at < c[i] {
			out = append(out, at, c[i]-1)
		}
		at = c[i+1] + 1
	}
	if at <= unicode.MaxRune {
		out = append(out, at, unicode.MaxRune)
	}
	return out
}

// folded adds the other cases of each character: for a negated class all that
// any engine takes for one, else those that every engine does.
func folded(c class, wide bool) class {
	out := slices.Clone(c)
	for i := 0; i+1 < len(c); i += 2 {
		for r := c[i]; r <= c[i+1]; r++ {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				if wide || f < utf8.RuneSelf == (r < utf8.RuneSelf) && unicode.ToLower(f) == unicode.ToLower(r) {
					out = append(out, f, f)
				}
			}
		}
	}
	return merged(out)
}
