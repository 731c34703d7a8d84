package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// digitGroups cuts runs of digits into groups of three, counted from the right. The
// expressions of published files that say so look ahead to the end of the run from every
// group, which takes quadratic time.
type digitGroups struct {
	numbers bool // of \p{N}, not only \d
	ended   bool // only runs that no letter follows (\b)
	cuts    bool // the borders of groups of three cut; what comes before them is no piece of its own
}

// knownGroups are these expressions, as files spell them.
var knownGroups = map[string]digitGroups{
	`\d{1,3}(?=(?:\d{3})*\b)`:              {ended: true},
	`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`: {numbers: true},
	`(?=(\d{3})+(?!\d))`:                   {cuts: true},
}

func (g digitGroups) is(r rune) bool {
	if g.numbers {
		return unicode.Is(unicode.N, r) || unicode.Is(exprNumbers, r)
	}
	return unicode.Is(unicode.Nd, r)
}

// inWord is \w of expressions.
func inWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Pc)
}

func (g digitGroups) cut(dst []span, text string, in []span) []span {
	for _, w := range in {
		from := w.start
		cut := func(at int) {
			if from < at {
				dst = append(dst, span{from, at})
				from = at
			}
		}
		for i := w.start; i < w.end; {
			r, n := utf8.DecodeRuneInString(text[i:w.end])
			if !g.is(r) {
				i += n
				continue
			}
			begin, count := i, 0
			next := utf8.RuneError
			for i < w.end {
				r, n := utf8.DecodeRuneInString(text[i:w.end])
				if !g.is(r) {
					next = r
					break
				}
				count++
				i += n
			}
			if g.ended && i < w.end && inWord(next) {
				continue
			}
			if !g.cuts || count%3 == 0 {
				cut(begin)
			}
			for at := begin; at < i; count-- {
				_, n := utf8.DecodeRuneInString(text[at:i])
				at += n
				if count%3 == 1 && at < i {
					cut(at)
				}
			}
			if !g.cuts {
				cut(i)
			}
		}
		cut(w.end)
	}
	return dst
}
