package textcheck

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"unicode"
	"unicode/utf8"
)

// The language model is a linear classifier over hashed features of words: the
// n-grams of one to four characters of the folded word between two marks, and
// the word itself. Weights were learned by logistic regression on texts drawn
// word by word from frequency lists (see langtrain_test.go); they are 8 bits
// each. Sums of 8-bit weights make it exact and independent of the machine.

// lang.bin: "LEOLANG1", u8 languages, u8 log2 of buckets, codes of 2 bytes,
// float32 scale (of all weights), then int8 weights, the languages of a bucket
// side by side.
//
//go:embed lang.bin
var langModel []byte

// langWeights holds the weights, raised by 128 to be positive, as 16-bit lanes
// of 8 words per bucket (32 languages): one bucket is one cache line, and 8
// additions score it for all languages. 256 of them fit before a lane overflows.
type langWeights struct {
	codes []string
	mask  uint32
	scale float64
	w     [][8]uint64
}

var lang = sync.OnceValue(func() *langWeights {
	m, err := parseLang(langModel)
	if err != nil {
		panic("textcheck: embedded language model: " + err.Error())
	}
	return m
})

func parseLang(b []byte) (*langWeights, error) {
	if len(b) < 14 || string(b[:8]) != "LEOLANG1" {
		return nil, fmt.Errorf("no language model")
	}
	n, bitsOf := int(b[8]), int(b[9])
	b = b[10:]
	if n == 0 || n > maxLangs || bitsOf > 24 || len(b) != 2*n+4+n<<bitsOf {
		return nil, fmt.Errorf("%d bytes for %d languages of 2^%d buckets", len(b), n, bitsOf)
	}
	m := &langWeights{mask: 1<<bitsOf - 1}
	for i := range n {
		m.codes = append(m.codes, string(b[2*i:2*i+2]))
	}
	m.scale = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[2*n:])))
	m.w = make([][8]uint64, 1<<bitsOf)
	for i, x := range b[2*n+4:] {
		l := i % n
		m.w[i/n][l/4] |= uint64(int(int8(x))+128) << (16 * (l % 4))
	}
	return m, nil
}

const maxLangs = 32

// Languages are the codes that Detect tells apart by their words. A text in
// another script of one language only (Greek, Hebrew, Arabic, Thai, Devanagari,
// Chinese, Japanese, Korean) is recognized by that.
func Languages() []string { return append([]string(nil), lang().codes...) }

// A Guess is the language of a text.
type Guess struct {
	Lang string  // ISO 639-1 code ("sh" for Serbo-Croatian in Latin letters), "" if there is no evidence
	Prob float64 // among the languages known; a text of names and numbers can get a high one and be wrong
}

const (
	langWhole   = 4 << 10 // texts up to this size are read whole
	langWindows = 8       // longer ones in this many windows
	langWindow  = 384     // of this size
	langWord    = 24      // characters of a word that count
)

// Detect identifies the language of text. Of texts longer than 4 KiB it reads
// eight windows at even distances, so its cost is bounded.
func Detect(text string) Guess {
	d := detector{m: lang()}
	if len(text) <= langWhole {
		d.add(text)
		return d.guess()
	}
	for i := range langWindows {
		at := (len(text) - langWindow) * i / (langWindows - 1)
		for at < len(text) && at > 0 && !asciiSpace(text[at-1]) && at%langWindow != 0 {
			at++
		}
		for at < len(text) && !utf8.RuneStart(text[at]) {
			at++
		}
		end := min(at+langWindow, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		d.add(text[at:end])
	}
	return d.guess()
}

func asciiSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// Scripts that settle the language.
const (
	scriptNone = iota
	scriptModel
	scriptGreek
	scriptHebrew
	scriptArabic
	scriptDevanagari
	scriptThai
	scriptHan
	scriptKana
	scriptHangul
	scriptCount
)

var scriptLang = [scriptCount]string{scriptGreek: "el", scriptHebrew: "he", scriptArabic: "ar", scriptDevanagari: "hi", scriptThai: "th", scriptHan: "zh", scriptKana: "ja", scriptHangul: "ko"}

func scriptOf(r rune) int {
	switch {
	case r < 0x370:
		return scriptModel
	case r < 0x400:
		return scriptGreek
	case r < 0x530:
		return scriptModel // Cyrillic
	case r >= 0x590 && r < 0x600:
		return scriptHebrew
	case r >= 0x600 && r < 0x780:
		return scriptArabic
	case r >= 0x900 && r < 0x980:
		return scriptDevanagari
	case r >= 0xE00 && r < 0xE80:
		return scriptThai
	case r >= 0x1E00 && r < 0x1F00:
		return scriptModel
	case r >= 0x1F00 && r < 0x2000:
		return scriptGreek
	case r >= 0x3040 && r < 0x3100:
		return scriptKana
	case r >= 0x3400 && r < 0xA000, r >= 0x20000 && r < 0x32000:
		return scriptHan
	case r >= 0xAC00 && r < 0xD7B0, r >= 0x1100 && r < 0x1200:
		return scriptHangul
	}
	return scriptNone
}

type detector struct {
	m       *langWeights
	lanes   [8]uint64
	held    int // features in lanes
	score   [maxLangs]int32
	feats   [5*langWord + 8]uint32
	scripts [scriptCount]int32
	words   int32
	word    [langWord + 2]rune
}

func (d *detector) add(text string) {
	n := 1
	d.word[0] = '_'
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			if c |= 0x20; c >= 'a' && c <= 'z' {
				d.scripts[scriptModel]++
				if n <= langWord {
					d.word[n] = rune(c)
				}
				n++
				continue
			}
			n = d.end(n)
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		switch {
		case r >= 0xC0 && r < 0x180:
			r = latinFold[r-0xC0]
		case unicode.IsLetter(r):
			r = unicode.ToLower(r)
		case r == 0xAD || unicode.Is(unicode.M, r):
			continue
		default:
			r = 0
		}
		if r == 0 {
			n = d.end(n)
			continue
		}
		s := scriptOf(r)
		d.scripts[s]++
		if s != scriptModel {
			n = d.end(n)
			continue
		}
		if n <= langWord {
			d.word[n] = r
		}
		n++
	}
	d.end(n)
}

// end takes the word of n−1 characters in d.word.
func (d *detector) end(n int) int {
	if n == 1 {
		return 1
	}
	n = min(n, langWord+1)
	d.word[n] = '_'
	d.words++
	feats := wordFeatures(d.feats[:0], d.word[:n+1], d.m.mask)
	if d.held+len(feats) > 256 {
		d.flush()
	}
	d.held += len(feats)
	t := &d.lanes
	for _, f := range feats {
		w := &d.m.w[f]
		t[0] += w[0]
		t[1] += w[1]
		t[2] += w[2]
		t[3] += w[3]
		t[4] += w[4]
		t[5] += w[5]
		t[6] += w[6]
		t[7] += w[7]
	}
	return 1
}

// flush empties the lanes into the scores.
func (d *detector) flush() {
	for i := range d.score {
		d.score[i] += int32(d.lanes[i/4]>>(16*(i%4))&0xffff) - int32(128*d.held)
	}
	d.lanes, d.held = [8]uint64{}, 0
}

// wordFeatures appends the buckets of a word, given with its marks: at most 4
// for each character and one.
func wordFeatures(dst []uint32, word []rune, mask uint32) []uint32 {
	whole := uint32(0x811c9dc5)
	for i, r := range word {
		whole = (whole ^ uint32(r)) * 0x01000193
		h := uint32(0x2545f491)
		for n := 0; n < 4 && i+n < len(word); n++ {
			h = (h ^ uint32(word[i+n])) * 0x01000193
			if n == 0 && r == '_' {
				continue
			}
			dst = append(dst, spread(h)&mask)
		}
	}
	return append(dst, spread(whole^0x5bd1e995)&mask)
}

func spread(h uint32) uint32 {
	h ^= h >> 15
	h *= 0x2c1b3c6d
	return h ^ h>>12
}

func (d *detector) guess() Guess {
	best, letters := scriptNone, int32(0)
	for s := scriptModel; s < scriptCount; s++ {
		letters += d.scripts[s]
		if d.scripts[s] > d.scripts[best] || best == scriptNone && d.scripts[s] > 0 {
			best = s
		}
	}
	switch {
	case letters == 0:
		return Guess{}
	case best == scriptHan && d.scripts[scriptKana]*10 > d.scripts[scriptHan]:
		best = scriptKana
	}
	share := float64(d.scripts[best]) / float64(letters)
	if best == scriptKana {
		share = float64(d.scripts[scriptKana]+d.scripts[scriptHan]) / float64(letters)
	}
	if best != scriptModel {
		return Guess{scriptLang[best], share}
	}
	d.flush()
	top := 0
	for i := range d.m.codes {
		if d.score[i] > d.score[top] {
			top = i
		}
	}
	sum := 0.0
	for i := range d.m.codes {
		sum += math.Exp(float64(d.score[i]-d.score[top]) * d.m.scale)
	}
	return Guess{d.m.codes[top], share / sum}
}
