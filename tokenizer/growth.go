package tokenizer

import (
	"fmt"
	"strings"
)

// maxGrowth bounds how many times as long as its text the normalized text may
// become. Unicode's own forms come to 11 (U+FDFA under NFKC), and writing spaces
// as "▁" makes three of it: a thousand leaves room for several such rules,
// but not for rules that multiply.
const maxGrowth = 1000

// growth returns the most bytes that a step makes of one byte, and the most it adds
// once per text.
func growth(step normStep) (factor float64, added int) {
	switch s := step.(type) {
	case unicodeForm:
		return 12, 0
	case mapRunes:
		return 2, 0 // a letter in lower case has at most a byte more
	case prepend:
		return 1, len(s.text)
	case replaceText:
		if s.old == "" {
			return 1, 0
		}
		return max(1, float64(len(s.new))/float64(len(s.old))), 0
	case replaceMatches:
		// A match of a byte, and an empty one between it and the next.
		return 1 + 2*float64(len(s.new)), len(s.new)
	}
	return 1, 0
}

// checkGrowth refuses normalizers that make a text of gigabytes out of a few bytes.
func checkGrowth(steps []normStep) error {
	factor, added := 1.0, 0.0
	for _, s := range steps {
		f, n := growth(s)
		factor, added = factor*f, added*f+float64(n)
		if factor > maxGrowth || added > 1<<20 {
			return fmt.Errorf("the normalizer makes a text up to %.0f times as long and adds up to %.0f bytes; %d times and %d bytes are the most", factor, added, maxGrowth, 1<<20)
		}
	}
	return nil
}

// checkCharsmap is checkGrowth for SentencePiece's rules, whose texts end with zero bytes.
func checkCharsmap(texts string) error {
	for texts != "" {
		text, rest, _ := strings.Cut(texts, "\x00")
		if len(text) > maxGrowth {
			return fmt.Errorf("precompiled_charsmap has a replacement of %d bytes; %d are the most", len(text), maxGrowth)
		}
		texts = rest
	}
	return nil
}

// replaceAll replaces in all texts, as long as they stay below maxFile bytes together.
func replaceAll(texts []string, old, new string) error {
	total := 0
	for _, s := range texts {
		if total += len(s) + strings.Count(s, old)*max(0, len(new)-len(old)); total > maxFile {
			return fmt.Errorf("replacing %.20q makes the vocabulary longer than %d bytes", old, maxFile)
		}
	}
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], old, new)
	}
	return nil
}
