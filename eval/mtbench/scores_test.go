package mtbench

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"leolm/internal/shareddata"
)

func TestParseRating(t *testing.T) {
	for reply, want := range map[string]string{
		"Bewertung: [[7]]":                      "7",
		"[[7.5]]":                               "7.5",
		"[[7.]]":                                "7.0",
		"[[07.5]]":                              "7.5",
		"[[0]] [[00]]":                          "0",
		"siehe [1], also [[8]]":                 "8",
		"[[3]] besser: [[8]]":                   "3 several",
		"[[3]] und [[3.0]]":                     "3",
		"siehe [1]":                             "1 fallback",
		"siehe [1] und [2]":                     "1 fallback several",
		"[[7/10]]":                              "none",
		"[[7-8]]":                               "none",
		"[[ 8 ]]":                               "none",
		"[[8,5]]":                               "none",
		"[[8,5]] also [8]":                      "8 fallback",
		"[[-3]]":                                "none",
		"[[1e1]]":                               "none",
		"[[007]]":                               "none",
		"[[٧]]":                                 "none", // a digit for \d, but no number for Python
		"[[85]]":                                "85",
		"[[[5]]]":                               "5",
		"[[5]\n]":                               "5 fallback",
		"":                                      "none",
		"Ich gebe 7 von 10 Punkten.":            "none",
		"[[Bewertung]] [[6]]":                   "6",
		"[[" + strings.Repeat("1", 4301) + "]]": "none",
	} {
		got := "none"
		r, err := ParseRating(reply)
		if err == nil {
			got = r.String()
			if r.Fallback {
				got += " fallback"
			}
			if r.Several {
				got += " several"
			}
		}
		var none *NoRatingError
		if got != want || err != nil && !errors.As(err, &none) {
			t.Errorf("%.60q: %s (%v), want %s", reply, got, err, want)
		}
	}
}

// What CPython makes of 150 reports, byte for byte.
func TestScoresEqualPython(t *testing.T) {
	data, err := os.ReadFile("testdata/reports.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Questions json.RawMessage
		Reports   []struct {
			Replies json.RawMessage
			Scores  *string
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Reports) != 150 {
		t.Fatal(len(golden.Reports), err)
	}
	set, err := ParseQuestions("q", golden.Questions)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range golden.Reports {
		replies, err := ParseReplies("r", r.Replies)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Score(set, replies)
		switch {
		case (err != nil) != (r.Scores == nil):
			t.Errorf("report %d: %v, Python scores it: %v", i, err, r.Scores != nil)
		case err == nil && string(s.JSON()) != *r.Scores:
			t.Errorf("report %d: %s, want %s", i, s.JSON(), *r.Scores)
		}
		if got := len(s.Rated) + len(s.Dropped); got != len(replies) {
			t.Errorf("report %d: %d of %d replies are accounted for", i, got, len(replies))
		}
	}
}

func TestScoresOfTheSharedReport(t *testing.T) {
	dir := shareddata.Path(t, "data/mtbench_de")
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	replies, err := ParseReplies("judge-replies.json", read("fasteval_example/judge-replies.json"))
	if err != nil || len(replies) != 160 {
		t.Fatal(len(replies), err)
	}
	want := string(read("fasteval_example/scores.json"))
	set, err := ParseQuestions("questions_de.json", read("questions_de.json"))
	if err != nil || len(set.Questions) != 80 || set.Check() != nil {
		t.Fatal(err, set.Check())
	}
	s, err := Score(set, replies)
	if err != nil || string(s.JSON()) != want {
		t.Errorf("%v: %s", err, s.JSON())
	}
	// The second set has ids of its own; the same ratings under them have the same means.
	second, err := ParseQuestions("mtbenchx_question.jsonl", read("mtbenchx_question.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range replies {
		replies[i].Question += "_DE"
	}
	if s, err = Score(second, replies); err != nil || string(s.JSON()) != want {
		t.Errorf("%v: %s", err, s.JSON())
	}
	refs, err := ParseAnswers("mtbenchx_reference_answer_gpt-4.jsonl", read("mtbenchx_reference_answer_gpt-4.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	second, err = second.WithReferences("references", refs)
	if err != nil || second.Check() != nil {
		t.Fatal(err, second.Check())
	}
	n := 0
	for _, q := range second.Questions {
		n += len(q.Reference)
	}
	if n != 60 {
		t.Errorf("%d reference answers", n)
	}
	if _, err := second.WithReferences("references", refs[1:]); err == nil || !strings.Contains(err.Error(), "101_DE") {
		t.Errorf("a missing reference: %v", err)
	}
}

// Ratings with the means of LeoLM's card give the card's block.
func TestScoresOfTheCard(t *testing.T) {
	// Sums over the ten questions of a category, both turns: 20 times the card's mean. The first turn adds up to 522.
	sums := map[string]float64{"writing": 138.5, "roleplay": 134, "reasoning": 91, "math": 65, "coding": 69, "extraction": 108, "stem": 151, "humanities": 177.5}
	var qs []Question
	for _, c := range CategoryNames() {
		for range 10 {
			qs = append(qs, Question{ID: string(rune('a'+len(qs)/10)) + string(rune('0'+len(qs)%10)), Category: c})
		}
	}
	set, err := NewSet("card", qs)
	if err != nil {
		t.Fatal(err)
	}
	firsts := map[string]float64{"writing": 74.5, "roleplay": 73, "reasoning": 50, "math": 39, "coding": 40, "extraction": 62, "stem": 86, "humanities": 97.5}
	var replies []Reply
	for turn := 1; turn <= 2; turn++ {
		for _, c := range CategoryNames() {
			left := firsts[c]
			if turn == 2 {
				left = sums[c] - firsts[c]
			}
			for k, q := range set.Questions {
				if q.Category != c {
					continue
				}
				n := float64(int(left / float64(10-k%10))) // whole numbers, and what is left over at the end
				if k%10 == 9 {
					n = left
				}
				left -= n
				text, _ := json.Marshal(n)
				replies = append(replies, Reply{Question: q.ID, Turn: turn, Text: "Bewertung: [[" + string(text) + "]]"})
			}
		}
	}
	s, err := Score(set, replies)
	const want = `{
    "first_turn": 6.525,
    "second_turn": 5.15,
    "categories": {
        "writing": 6.925,
        "roleplay": 6.7,
        "reasoning": 4.55,
        "math": 3.25,
        "coding": 3.45,
        "extraction": 5.4,
        "stem": 7.55,
        "humanities": 8.875
    },
    "average": 5.8375
}`
	if err != nil || string(s.JSON()) != want {
		t.Errorf("%v: %s", err, s.JSON())
	}
}

func TestRepliesThatCannotBeUsed(t *testing.T) {
	set, err := ParseQuestions("q", []byte(`{"81": {"category": "math", "turns": ["a", "b"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`[{"turn_number": 0, "judge_reply": "x"}]`:                         "entry 1: it has no question_id",
		`[{"question_id": "81", "judge_reply": "x"}]`:                      "entry 1: it has neither turn_number nor turn",
		`[{"question_id": "81", "turn_number": 0}]`:                        "entry 1: it has neither judge_reply nor judgment",
		`[{"question_id": "81", "turn_number": 0, "judge_reply": "x"}, 5]`: "entry 2",
		`null`:       "want a list",
		`{`:          "line 1",
		"[\"\xff\"]": "not UTF-8",
		``:           "unexpected end",
	} {
		if _, err := ParseReplies("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	replies, err := ParseReplies("f", []byte(`[{"question_id": 81, "turn_number": 0, "judge_reply": null}, {"question_id": "81", "turn_number": 1, "judge_reply": "[[5]]"}]`))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Score(set, replies); !errors.Is(err, ErrNoRatings) || len(s.Dropped) != 1 || !strings.Contains(s.Dropped[0].Why, "not a text") {
		t.Errorf("%v %+v", err, s)
	}
	var unknown *UnknownQuestionError
	if _, err := Score(set, []Reply{{Row: 3, Question: "82", Turn: 1}}); !errors.As(err, &unknown) || unknown.Row != 3 {
		t.Errorf("%v", err)
	}
	lines, err := ParseReplies("f", []byte("{\"question_id\": 81, \"turn\": 1, \"judgment\": \"[[5]]\"}\n{\"question_id\": 81, \"turn\": 2, \"judgment\": \"[[6]]\"}\n"))
	if err != nil || len(lines) != 2 || lines[0].Turn != 1 || lines[1].Turn != 2 || lines[1].Text != "[[6]]" {
		t.Errorf("%v %+v", err, lines)
	}
}
