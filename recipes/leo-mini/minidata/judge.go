package minidata

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"leolm/internal/textcheck"
)

// Answer is a model's answer to the last user turn of a fixed question.
type Answer struct {
	Text  string `json:"text"`
	Ended bool   `json:"ended"` // by itself, not cut off
}

// Verdict is the judgment of one answer. It is a rule over words, printed beside the answer so that a reader can
// disagree.
type Verdict struct {
	German  bool `json:"german"`
	Ended   bool `json:"ended"`
	Topic   bool `json:"topic"` // names the topic and doesn't abstain
	Abstain bool `json:"abstain"`
	Right   bool `json:"right"` // enough facts, or abstaining where nobody could know
	Words   int  `json:"words"`
}

var abstaining = regexp.MustCompile(`(?i)(wei(ß|ss) ich( das)?( leider)?( auch)? nicht|ich wei(ß|ss) (es|das)?( leider)? ?nicht|nicht wissen|nicht bekannt|keine antwort|kenne ich( leider)? nicht|noch nie gehört|steht( leider)? nicht im text|im text .*keine|text sagt dazu nichts|sagt der text nichts|geht aus dem text nicht hervor|steht in diesem abschnitt nichts|angabe fehlt)`)

// Abstains reports whether an answer says that the model doesn't know.
func Abstains(text string) bool { return abstaining.MatchString(text) }

// english are words that no German sentence has: many answers are too short for statistics of letters.
var english = []string{"the", "and", "is", "are", "you", "of", "to", "with", "this", "that", "not", "yes", "hello", "what"}

func german(text string, words []string) bool {
	if len(words) == 0 {
		return false
	}
	if len(words) >= 4 && utf8.RuneCountInString(text) >= 20 {
		return textcheck.Detect(text).Lang == "de"
	}
	for _, w := range words {
		if slices.Contains(english, strings.ToLower(w)) {
			return false
		}
	}
	return true
}

func split(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// has looks for a word of a judge: up to three letters or digits must be a word of their own, longer ones may be
// inside a word (German compounds), and anything with punctuation or spaces is matched literally.
func has(text string, words []string, want string, exact bool) bool {
	if !exact {
		text, want = strings.ToLower(text), strings.ToLower(want)
	}
	plain := strings.IndexFunc(want, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) < 0
	isNumber := plain && strings.IndexFunc(want, unicode.IsLetter) < 0
	if !plain || utf8.RuneCountInString(want) > 3 && !isNumber {
		return strings.Contains(text, want)
	}
	for _, w := range words {
		if !exact {
			w = strings.ToLower(w)
		}
		if w == want {
			return true
		}
	}
	return false
}

// Verdict judges an answer.
func (q *Question) Verdict(a Answer) Verdict {
	text := norm.NFC.String(a.Text)
	words := split(text)
	v := Verdict{German: german(text, words), Ended: a.Ended, Abstain: Abstains(text), Words: len(strings.Fields(text))}
	j := q.Judge
	any := func(list []string) bool {
		return slices.ContainsFunc(list, func(w string) bool { return has(text, words, w, j.ExactCase) })
	}
	topic := slices.ContainsFunc(j.Topic, func(w string) bool {
		// The topic of a calculation is any number, listed by its digits.
		return has(text, words, w, false) || len(w) == 1 && w[0] >= '0' && w[0] <= '9' && strings.Contains(text, w)
	})
	if j.Abstain {
		v.Topic, v.Right = v.Abstain, v.Abstain
		return v
	}
	v.Topic = topic && !v.Abstain
	n := 0
	for _, group := range j.Facts {
		if any(group) {
			n++
		}
	}
	v.Right = v.Topic && n >= j.Need
	return v
}

// Summary has the results over all answers, as shares from 0 to 1.
type Summary struct {
	Questions         int                `json:"questions"`
	German            float64            `json:"german"`
	Ended             float64            `json:"ended"`
	OnTopic           float64            `json:"on_topic"`             // of the questions that can be answered
	AbstainKnown      float64            `json:"abstain_known"`        // on titles in the training text
	AbstainUnknowable float64            `json:"abstain_unknowable"`   // on what nobody could know
	RightTrained      float64            `json:"right_trained"`        // facts on titles with dialogues
	RightKeptOut      float64            `json:"right_kept_out"`       // facts on titles without dialogues
	MedianWords       int                `json:"median_words_was_ist"` // of the answers to "Was ist …"
	MostRepeated      float64            `json:"most_repeated"`        // share of the commonest answer, abstentions apart
	RightByKind       map[string]float64 `json:"right_by_kind"`
}

// Summarize counts verdicts; answers[i] answers questions[i].
func Summarize(questions []Question, answers []Answer) Summary {
	s := Summary{Questions: len(questions), RightByKind: map[string]float64{}}
	type tally struct{ hit, all float64 }
	share := func(t tally) float64 {
		if t.all == 0 {
			return 0
		}
		return t.hit / t.all
	}
	var ger, end, top, absK, absU, rightT, rightK tally
	kinds := map[string]*tally{}
	count := func(t *tally, hit bool) {
		t.all++
		if hit {
			t.hit++
		}
	}
	same := map[string]int{}
	var lengths []int
	for i := range questions {
		q := &questions[i]
		v := q.Verdict(answers[i])
		count(&ger, v.German)
		count(&end, v.Ended)
		if kinds[q.Kind] == nil {
			kinds[q.Kind] = &tally{}
		}
		count(kinds[q.Kind], v.Right)
		if q.Judge.Abstain {
			count(&absU, v.Abstain)
		} else {
			count(&top, v.Topic)
		}
		switch q.Split {
		case "trained":
			count(&rightT, v.Right)
		case "kept-out":
			count(&rightK, v.Right)
		}
		if q.Split != "" {
			count(&absK, v.Abstain)
		}
		if !v.Abstain {
			same[Key(answers[i].Text)]++
		}
		if strings.HasPrefix(q.Messages[len(q.Messages)-1].Content, "Was ist ") && q.Kind == "encyclopedic" {
			lengths = append(lengths, v.Words)
		}
	}
	s.German, s.Ended, s.OnTopic = share(ger), share(end), share(top)
	s.AbstainKnown, s.AbstainUnknowable = share(absK), share(absU)
	s.RightTrained, s.RightKeptOut = share(rightT), share(rightK)
	slices.Sort(lengths)
	if len(lengths) > 0 {
		s.MedianWords = lengths[len(lengths)/2]
	}
	most := 0
	for _, n := range same {
		most = max(most, n)
	}
	if len(questions) > 0 {
		s.MostRepeated = float64(most) / float64(len(questions))
	}
	for k, t := range kinds {
		s.RightByKind[k] = share(*t)
	}
	return s
}
