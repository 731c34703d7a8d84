package tokenizer

import (
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// charSet answers for single characters, each asked once.
type charSet struct {
	re    *regexp2.Regexp
	ascii [utf8.RuneSelf]int8 // 0: not asked yet
	other map[rune]bool
}

func newCharSet(expr, flags string) (*charSet, error) {
	if flags != "" {
		expr = "(?" + flags + ":" + expr + ")"
	}
	re, err := regexp2.Compile(`\A`+expr+`\z`, regexp2.None)
	if err != nil {
		return nil, err
	}
	return &charSet{re: re, other: map[rune]bool{}}, nil
}

func (s *charSet) has(r rune) bool {
	if r >= 0 && r < utf8.RuneSelf && s.ascii[r] != 0 {
		return s.ascii[r] > 0
	}
	if ok, known := s.other[r]; known {
		return ok
	}
	ok, _ := s.re.MatchRunes([]rune{r}) // of one character: no time limit is set, none is needed
	if r >= 0 && r < utf8.RuneSelf {
		s.ascii[r] = -1
		if ok {
			s.ascii[r] = 1
		}
		return ok
	}
	s.other[r] = ok
	return ok
}
