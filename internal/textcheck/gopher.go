package textcheck

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Gopher applies the quality and repetition rules of Rae et al. 2021, "Scaling
// Language Models: Methods, Analysis & Insights from Training Gopher",
// appendix A.1.1 and table A1. Zero fields switch a rule off; use
// DefaultGopher for the published thresholds.
//
// Where the paper leaves a choice, we take datatrove's: a duplicate line is an
// occurrence after the first, and so are the words of a duplicate n-gram; every
// word counts once however many duplicate n-grams cover it. Shares of
// characters are shares of bytes of the text's words (n-grams) or of the
// non-blank text (lines, paragraphs).
type Gopher struct {
	// Quality.
	MinWords, MaxWords       int     // words in the text
	MinMeanWord, MaxMeanWord float64 // mean characters of a word
	MaxSymbols               float64 // '#' or ellipses per word
	MaxBullets               float64 // share of lines that begin with a bullet
	MaxEllipsisLines         float64 // share of lines that end with an ellipsis
	MinAlphaWords            float64 // share of words with a letter
	MinStopWords             int     // distinct words of StopWords that must occur
	StopWords                []string

	// Repetition.
	MaxDupLines, MaxDupParagraphs         float64    // share of lines or paragraphs
	MaxDupLineChars, MaxDupParagraphChars float64    // share of characters in them
	MaxTopGram                            [3]float64 // share of characters in the most frequent 2-, 3-, 4-gram
	MaxDupGram                            [6]float64 // share of characters in duplicate 5- to 10-grams
}

// GermanStopWords stands for the paper's English list (the, be, to, of, and,
// that, have, with): articles, conjunctions and prepositions without which a
// German paragraph hardly does.
var GermanStopWords = []string{"der", "die", "das", "und", "ist", "nicht", "zu", "mit", "den", "von", "ein", "eine", "in", "im", "es", "sich", "auf", "er", "sie", "ich", "war", "als", "auch", "daß", "dass"}

// EnglishStopWords is the list of the paper.
var EnglishStopWords = []string{"the", "be", "to", "of", "and", "that", "have", "with"}

// GopherQuality has the published quality thresholds with German stop words
// and no repetition rules.
var GopherQuality = Gopher{
	MinWords: 50, MaxWords: 100_000,
	MinMeanWord: 3, MaxMeanWord: 10,
	MaxSymbols: 0.1, MaxBullets: 0.9, MaxEllipsisLines: 0.3, MinAlphaWords: 0.8,
	MinStopWords: 2, StopWords: GermanStopWords,
}

// GopherRepetition has the published repetition thresholds only.
var GopherRepetition = Gopher{
	MaxDupLines: 0.30, MaxDupParagraphs: 0.30, MaxDupLineChars: 0.20, MaxDupParagraphChars: 0.20,
	MaxTopGram: [3]float64{0.20, 0.18, 0.16},
	MaxDupGram: [6]float64{0.15, 0.14, 0.13, 0.12, 0.11, 0.10},
}

// A Scanner runs the Gopher rules; it holds scratch memory (about 40 bytes a
// word of the longest text) and is for one goroutine.
type Scanner struct {
	words  []span   // white-space separated
	hashes []uint64 // of the words, case folded where ASCII
	table  table
}

type span struct{ from, to int32 }

// Reason is the name of a failed rule, "" when a text passes.
type Reason string

// Check returns the first rule of g that text breaks, "" if none, with the
// value measured.
func (s *Scanner) Check(g *Gopher, text string) (Reason, float64) {
	s.split(text)
	if r, v := s.quality(g, text); r != "" {
		return r, v
	}
	return s.repetition(g, text)
}

func (s *Scanner) split(text string) {
	s.words, s.hashes = s.words[:0], s.hashes[:0]
	start := -1
	var h uint64
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == ' ' || c >= '\t' && c <= '\r' {
			if start >= 0 {
				s.words = append(s.words, span{int32(start), int32(i)})
				s.hashes = append(s.hashes, mix(h))
				start = -1
			}
			continue
		}
		if start < 0 {
			start, h = i, 0x9e3779b97f4a7c15
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		h = (h ^ uint64(c)) * 0x100000001b3
		h ^= h >> 29
	}
	if start >= 0 {
		s.words = append(s.words, span{int32(start), int32(len(text))})
		s.hashes = append(s.hashes, mix(h))
	}
}

func (s *Scanner) quality(g *Gopher, text string) (Reason, float64) {
	n := len(s.words)
	if g.MinWords > 0 && n < g.MinWords {
		return "too few words", float64(n)
	}
	if g.MaxWords > 0 && n > g.MaxWords {
		return "too many words", float64(n)
	}
	if n == 0 {
		return "", 0
	}
	chars, alpha := 0, 0
	for _, w := range s.words {
		word := text[w.from:w.to]
		chars += utf8.RuneCountInString(word)
		if hasLetter(word) {
			alpha++
		}
	}
	mean := float64(chars) / float64(n)
	if g.MinMeanWord > 0 && mean < g.MinMeanWord {
		return "words too short", mean
	}
	if g.MaxMeanWord > 0 && mean > g.MaxMeanWord {
		return "words too long", mean
	}
	if share := float64(alpha) / float64(n); g.MinAlphaWords > 0 && share < g.MinAlphaWords {
		return "too few words with letters", share
	}
	if g.MaxSymbols > 0 {
		if v := float64(strings.Count(text, "#")) / float64(n); v > g.MaxSymbols {
			return "too many hash signs", v
		}
		if v := float64(strings.Count(text, "...")+strings.Count(text, "…")) / float64(n); v > g.MaxSymbols {
			return "too many ellipses", v
		}
	}
	if g.MaxBullets > 0 || g.MaxEllipsisLines > 0 {
		lines, bullets, dots := 0, 0, 0
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			lines++
			if strings.HasPrefix(line, "•") || strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "* ") || strings.HasPrefix(line, "‣") || strings.HasPrefix(line, "– ") {
				bullets++
			}
			if strings.HasSuffix(line, "...") || strings.HasSuffix(line, "…") {
				dots++
			}
		}
		if v := float64(bullets) / float64(lines); g.MaxBullets > 0 && v > g.MaxBullets {
			return "too many bullet lines", v
		}
		if v := float64(dots) / float64(lines); g.MaxEllipsisLines > 0 && v > g.MaxEllipsisLines {
			return "too many lines ending in ellipsis", v
		}
	}
	if g.MinStopWords > 0 {
		found := 0
		for _, stop := range g.StopWords {
			for _, w := range s.words {
				if int(w.to-w.from) == len(stop) && strings.EqualFold(text[w.from:w.to], stop) {
					found++
					break
				}
			}
			if found >= g.MinStopWords {
				break
			}
		}
		if found < g.MinStopWords {
			return "too few stop words", float64(found)
		}
	}
	return "", 0
}

func hasLetter(w string) bool {
	for _, r := range w {
		if r < utf8.RuneSelf {
			if 'a' <= r|0x20 && r|0x20 <= 'z' {
				return true
			}
		} else if unicode.IsLetter(r) {
			return true
		}
	}
	return false
}

// dup is the share of repeated pieces of text cut at sep, and of their bytes.
func (s *Scanner) dup(text, sep string) (pieces, bytes float64) {
	n, all, again, againBytes := 0, 0, 0, 0
	s.table.reset(strings.Count(text, sep) + 1)
	for p := range strings.SplitSeq(text, sep) {
		p = strings.TrimSpace(p)
		if p == "" {
			continue
		}
		n++
		all += len(p)
		if s.table.add(hashString(p)) > 1 {
			again++
			againBytes += len(p)
		}
	}
	if n == 0 {
		return 0, 0
	}
	return float64(again) / float64(n), float64(againBytes) / float64(all)
}

func hashString(p string) uint64 {
	h := uint64(len(p)) * 0x9e3779b97f4a7c15
	for len(p) >= 8 {
		x := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 | uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		h = mix(h ^ x)
		p = p[8:]
	}
	var x uint64
	for i := range len(p) {
		x |= uint64(p[i]) << (8 * i)
	}
	return mix(h ^ x)
}

func (s *Scanner) repetition(g *Gopher, text string) (Reason, float64) {
	if g.MaxDupLines > 0 || g.MaxDupLineChars > 0 {
		n, b := s.dup(text, "\n")
		if g.MaxDupLines > 0 && n > g.MaxDupLines {
			return "duplicate lines", n
		}
		if g.MaxDupLineChars > 0 && b > g.MaxDupLineChars {
			return "characters in duplicate lines", b
		}
	}
	if (g.MaxDupParagraphs > 0 || g.MaxDupParagraphChars > 0) && strings.Contains(text, "\n\n") {
		n, b := s.dup(text, "\n\n")
		if g.MaxDupParagraphs > 0 && n > g.MaxDupParagraphs {
			return "duplicate paragraphs", n
		}
		if g.MaxDupParagraphChars > 0 && b > g.MaxDupParagraphChars {
			return "characters in duplicate paragraphs", b
		}
	}
	total := 0
	for _, w := range s.words {
		total += int(w.to - w.from)
	}
	if total == 0 {
		return "", 0
	}
	for k, limit := range g.MaxTopGram {
		n := k + 2
		if limit <= 0 || len(s.words) < n {
			continue
		}
		if v := s.topGram(n, total); v > limit {
			return Reason("most frequent " + string(rune('0'+n)) + "-gram"), v
		}
	}
	for k, limit := range g.MaxDupGram {
		n := k + 5
		if limit <= 0 || len(s.words) < n {
			continue
		}
		v := s.dupGram(n, total)
		if v > limit {
			name := "10"
			if n < 10 {
				name = string(rune('0' + n))
			}
			return Reason("duplicate " + name + "-grams"), v
		}
		if v == 0 { // no repeated n-gram, so no repeated longer one
			break
		}
	}
	return "", 0
}

// topGram is the share of bytes in the most frequent n-gram, occurrences that
// overlap counted as they come; a tie goes to the longer one.
func (s *Scanner) topGram(n, total int) float64 {
	s.table.reset(len(s.words))
	best, bestBytes := 1, 0
	for i := 0; i+n <= len(s.words); i++ {
		c := s.table.add(ngramHash(s.hashes[i : i+n]))
		if c < best || c == 1 {
			continue
		}
		b := 0
		for _, w := range s.words[i : i+n] {
			b += int(w.to - w.from)
		}
		if c > best || b > bestBytes {
			best, bestBytes = c, b
		}
	}
	return float64(best*bestBytes) / float64(total)
}

// dupGram is the share of bytes covered by n-grams seen before in the text.
func (s *Scanner) dupGram(n, total int) float64 {
	s.table.reset(len(s.words))
	covered, upto := 0, 0 // words below upto are counted
	for i := 0; i+n <= len(s.words); i++ {
		if s.table.add(ngramHash(s.hashes[i:i+n])) == 1 {
			continue
		}
		for k := max(i, upto); k < i+n; k++ {
			covered += int(s.words[k].to - s.words[k].from)
		}
		upto = i + n
	}
	return float64(covered) / float64(total)
}

// table counts 64-bit keys: open addressing, cleared by a generation number.
type table struct {
	slots []slot
	gen   uint32
	mask  uint64
}

type slot struct {
	key   uint64
	gen   uint32
	count uint32
}

func (t *table) reset(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	if size > len(t.slots) {
		t.slots = make([]slot, size)
		t.gen = 0
	}
	t.mask = uint64(size - 1) // a prefix of the table: small texts stay in cache
	t.gen++
	if t.gen == 0 {
		clear(t.slots)
		t.gen = 1
	}
}

// add counts key and returns how often it was added since reset.
func (t *table) add(key uint64) int {
	for i := key & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		if s.gen != t.gen {
			*s = slot{key, t.gen, 1}
			return 1
		}
		if s.key == key {
			s.count++
			return int(s.count)
		}
	}
}
