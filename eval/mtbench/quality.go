package mtbench

import (
	"regexp"
	"strings"
	"unicode"

	"leolm/internal/textcheck"
)

// Quality counts what is wrong with answers on their face, before any judge has seen them.
type Quality struct {
	Category  string `json:"category"`
	Answers   int    `json:"answers"` // turns that were answered
	Failed    int    `json:"failed"`  // that were not
	Empty     int    `json:"empty"`
	NotGerman int    `json:"not_german"`
	CutOff    int    `json:"cut_off"`
	Looping   int    `json:"looping"`
	NewTokens int    `json:"new_tokens"`
}

// add looks at one answer.
func (q *Quality) add(r *Record) {
	q.Answers++
	q.NewTokens += r.NewTokens
	if strings.TrimSpace(r.Text) == "" {
		q.Empty++
	}
	if foreign(r.Text) {
		q.NotGerman++
	}
	if r.CutOff() {
		q.CutOff++
	}
	if Loops(r.Text) {
		q.Looping++
	}
}

// fences are blocks and pieces of code, which have no language.
var fences = regexp.MustCompile("(?s)```.*?(```|$)|`[^`\n]+`")

// minLetters is the number of letters below which a text is too short to tell its language.
const minLetters = 40

// foreign reports whether a text, without its code, is surely in another language than German.
func foreign(text string) bool {
	text = fences.ReplaceAllString(text, " ")
	letters := 0
	for _, r := range text {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	if letters < minLetters {
		return false
	}
	g := textcheck.Detect(text)
	return g.Lang != "" && g.Lang != "de" && g.Prob > 0.9
}

const (
	loopTail  = 60 // bytes that a repetition at the end covers at least
	loopLines = 5  // times that a line of some length occurs at least
	loopLine  = 15 // bytes of such a line at least
)

// Loops reports whether a text says the same again and again: its end is three or more repetitions of one piece, or a
// longer line occurs five times.
func Loops(text string) bool {
	text = strings.TrimSpace(text)
	lines := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if len(line) < loopLine || strings.Trim(line, "-=|+_ :") == "" { // rules of tables and of headings
			continue
		}
		if lines[line]++; lines[line] >= loopLines {
			return true
		}
	}
	if strings.Trim(text[max(0, len(text)-loopTail):], "-=|+_ \n:.") == "" {
		return false
	}
	// match[p] is how far the reversed text agrees with itself p bytes on: a tail of period p is match[p]+p long.
	n := len(text)
	at := func(i int) byte { return text[n-1-i] }
	match := make([]int, n)
	left, right := 0, 0
	for p := 1; p < n; p++ {
		if p < right {
			match[p] = min(right-p, match[p-left])
		}
		for p+match[p] < n && at(match[p]) == at(p+match[p]) {
			match[p]++
		}
		if p+match[p] > right {
			left, right = p, p+match[p]
		}
		if match[p] >= 2*p && match[p]+p >= loopTail {
			return true
		}
	}
	return false
}

// quality counts per category, in the order of the questions.
func (r *Run) quality() []Quality {
	var out []Quality
	index := map[string]int{}
	for _, c := range r.Set.Categories() {
		index[c] = len(out)
		out = append(out, Quality{Category: c})
	}
	for _, q := range r.Set.Questions {
		for choice := range r.choices() {
			for turn := 1; turn <= 2; turn++ {
				if rec, ok := r.answers[Place{q.ID, choice, turn}]; ok {
					out[index[q.Category]].add(&rec)
				}
			}
		}
	}
	for _, f := range r.failures {
		if q, ok := r.Set.Find(f.Question); ok {
			out[index[q.Category]].Failed++
		}
	}
	return out
}
