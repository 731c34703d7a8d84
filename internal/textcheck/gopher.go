package textcheck

import (
	"leolm/internal/splitmix"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Gopher applies the quality and repetition rules of Rae et al. 2021, "Scaling
// Language Models: Methods, Analysis & Insights from Training Gopher",
// appendix A.1.1 and table A1. Zero fields switch a rule off; use
// DefaultGopher for the published thresholds.
//
// Where the paper leaves a choice, we take datatrove's, so that both keep the
// same documents (bench/corpus/same_documents.py): a word ends at white space;
// words of punctuation alone don't count for the number of words and their mean
// length; blank lines are lines for the bullets and the ellipses; stop words
// count as written; a duplicate line or paragraph is an occurrence after the
// first; a duplicate n-gram is searched for after the last one found. Shares of
// characters are of all characters of the text, white space included. One
// difference: the most frequent n-gram must occur twice; datatrove also takes
// one that occurs once, and so drops nearly every text of one sentence.
type Gopher struct {
	// Quality.
	MinWords, MaxWords       int     // words in the text, those of punctuation alone left out
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
	hashes []uint64 // of the words
	chars  int      // characters of the text
	table  table
}

type span struct{ from, to, chars int32 }

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

// split finds the words: what stands between characters that Unicode or ASCII
// calls space or separator.
func (s *Scanner) split(text string) {
	s.words, s.hashes, s.chars = s.words[:0], s.hashes[:0], 0
	start, chars := -1, int32(0)
	var h uint64
	end := func(at int) {
		if start >= 0 {
			s.words = append(s.words, span{int32(start), int32(at), chars})
			s.hashes = append(s.hashes, splitmix.Mix(h))
			start = -1
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c&0xC0 != 0x80 { // the first byte of a character
			s.chars++
			space := c == ' ' || c >= '\t' && c <= '\r' || c >= 0x1C && c <= 0x1F
			if c == 0xC2 || c >= 0xE1 && c <= 0xE3 { // where the other spaces begin
				r, _ := utf8.DecodeRuneInString(text[i:])
				space = unicode.IsSpace(r)
			}
			if space {
				end(i)
				for i+1 < len(text) && text[i+1]&0xC0 == 0x80 {
					i++
				}
				continue
			}
			if start < 0 {
				start, chars, h = i, 0, splitmix.Gamma
			}
			chars++
		}
		h = (h ^ uint64(c)) * 0x100000001b3
		h ^= h >> 29
	}
	end(len(text))
}

func (s *Scanner) quality(g *Gopher, text string) (Reason, float64) {
	n, chars, alpha := 0, 0, 0
	for _, w := range s.words {
		word := text[w.from:w.to]
		if hasLetter(word) {
			alpha++
		} else if punctuation(word) {
			continue
		}
		n++
		chars += int(w.chars)
	}
	if g.MinWords > 0 && n < g.MinWords {
		return "too few words", float64(n)
	}
	if g.MaxWords > 0 && n > g.MaxWords {
		return "too many words", float64(n)
	}
	if n == 0 {
		return "", 0
	}
	mean := float64(chars) / float64(n)
	if g.MinMeanWord > 0 && mean < g.MinMeanWord {
		return "words too short", mean
	}
	if g.MaxMeanWord > 0 && mean > g.MaxMeanWord {
		return "words too long", mean
	}
	all := float64(len(s.words))
	if g.MaxSymbols > 0 {
		if v := float64(strings.Count(text, "#")) / all; v > g.MaxSymbols {
			return "too many hash signs", v
		}
		if v := float64(strings.Count(text, "...")+strings.Count(text, "…")) / all; v > g.MaxSymbols {
			return "too many ellipses", v
		}
	}
	if g.MaxBullets > 0 || g.MaxEllipsisLines > 0 {
		lines, bullets, dots := 0, 0, 0
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			lines++
			if strings.HasPrefix(line, "•") || strings.HasPrefix(line, "-") {
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
	if share := float64(alpha) / all; g.MinAlphaWords > 0 && share < g.MinAlphaWords {
		return "too few words with letters", share
	}
	if g.MinStopWords > 0 {
		found := 0
		for _, stop := range g.StopWords {
			for _, w := range s.words {
				if text[w.from:w.to] == stop {
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

// punctuation reports whether w has nothing but punctuation, ASCII symbols and
// control characters.
func punctuation(w string) bool {
	for _, r := range w {
		if !(unicode.IsPunct(r) || r < utf8.RuneSelf && unicode.IsSymbol(r) || unicode.IsControl(r) || r == '´' || r == '►') {
			return false
		}
	}
	return true
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

// dup is the share of repeated pieces of text, cut at runs of at least so many line
// feeds, and their characters' share of all.
func (s *Scanner) dup(text string, least int) (pieces, chars float64) {
	n, again, againChars := 0, 0, 0
	s.table.reset(strings.Count(text, "\n") + 1)
	for {
		end, next := len(text), -1
		for i := strings.IndexByte(text, '\n'); i >= 0; {
			k := i + 1
			for k < len(text) && text[k] == '\n' {
				k++
			}
			if k-i >= least {
				end, next = i, k
				break
			}
			if i = strings.IndexByte(text[k:], '\n'); i >= 0 {
				i += k
			}
		}
		n++
		if p := text[:end]; s.table.add(hashString(p)) > 1 {
			again++
			againChars += utf8.RuneCountInString(p)
		}
		if next < 0 {
			break
		}
		text = text[next:]
	}
	return float64(again) / float64(n), float64(againChars) / float64(max(s.chars, 1))
}

func hashString(p string) uint64 {
	h := uint64(len(p)) * splitmix.Gamma
	for len(p) >= 8 {
		x := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 | uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		h = splitmix.Mix(h ^ x)
		p = p[8:]
	}
	var x uint64
	for i := range len(p) {
		x |= uint64(p[i]) << (8 * i)
	}
	return splitmix.Mix(h ^ x)
}

func (s *Scanner) repetition(g *Gopher, text string) (Reason, float64) {
	if g.MaxDupParagraphs > 0 || g.MaxDupParagraphChars > 0 {
		n, c := s.dup(strings.TrimSpace(text), 2)
		if g.MaxDupParagraphs > 0 && n > g.MaxDupParagraphs {
			return "duplicate paragraphs", n
		}
		if g.MaxDupParagraphChars > 0 && c > g.MaxDupParagraphChars {
			return "characters in duplicate paragraphs", c
		}
	}
	if g.MaxDupLines > 0 || g.MaxDupLineChars > 0 {
		n, c := s.dup(text, 1)
		if g.MaxDupLines > 0 && n > g.MaxDupLines {
			return "duplicate lines", n
		}
		if g.MaxDupLineChars > 0 && c > g.MaxDupLineChars {
			return "characters in duplicate lines", c
		}
	}
	for k, limit := range g.MaxTopGram {
		n := k + 2
		if limit <= 0 || len(s.words) < n {
			continue
		}
		if v := s.topGram(n); v > limit {
			return Reason("most frequent " + string(rune('0'+n)) + "-gram"), v
		}
	}
	for k, limit := range g.MaxDupGram {
		n := k + 5
		if limit <= 0 || len(s.words) < n {
			continue
		}
		v := s.dupGram(n)
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

// topGram is the share of the most frequent n-gram, with single spaces inside,
// times the number of its occurrences, those that overlap counted as they come;
// of several the one that comes first. 0 if none occurs twice.
func (s *Scanner) topGram(n int) float64 {
	s.table.reset(len(s.words))
	best := 1
	for i := 0; i+n <= len(s.words); i++ {
		best = max(best, s.table.add(ngramHash(s.hashes[i:i+n])))
	}
	if best == 1 {
		return 0
	}
	for i := 0; i+n <= len(s.words); i++ {
		if s.table.get(ngramHash(s.hashes[i:i+n])) == best {
			return float64(best*(s.gramChars(i, n)+n-1)) / float64(s.chars)
		}
	}
	return 0
}

// gramChars is the number of characters of n words from i on.
func (s *Scanner) gramChars(i, n int) (chars int) {
	for _, w := range s.words[i : i+n] {
		chars += int(w.chars)
	}
	return chars
}

// dupGram is the share of the characters in n-grams seen before in the text.
func (s *Scanner) dupGram(n int) float64 {
	s.table.reset(len(s.words))
	covered := 0
	for i := 0; i+n <= len(s.words); {
		if s.table.add(ngramHash(s.hashes[i:i+n])) == 1 {
			i++
			continue
		}
		covered += s.gramChars(i, n)
		i += n
	}
	return float64(covered) / float64(s.chars)
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

// get is how often key was added since reset.
func (t *table) get(key uint64) int {
	for i := key & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slots[i]
		if s.gen != t.gen {
			return 0
		}
		if s.key == key {
			return int(s.count)
		}
	}
}
