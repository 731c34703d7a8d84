package mtbench

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"leolm/internal/shareddata"
)

func TestPromptsAreFilledInOnePass(t *testing.T) {
	p, err := ParsePrompts("p", []byte(`{
		"single-v1": {"system_prompt": "S {answer}", "prompt_template": "F: {question} {{x}} A: {answer}"},
		"single-v1-multi-turn": {"system_prompt": "", "prompt_template": "{question_1}|{answer_1}|{question_2}|{answer_2}"},
		"single-math-v1": {"system_prompt": "S", "prompt_template": "{question} {ref_answer_1} {answer}"},
		"single-math-v1-multi-turn": {"system_prompt": "S", "prompt_template": "{ref_answer_1} {ref_answer_2} {question_1} {answer_1} {question_2} {answer_2}"},
		"pair-v2": {"system_prompt": "S", "prompt_template": "{question} {answer_a} {answer_b}"},
		"something-else": {"prompt_template": "{unknown}"}}`))
	if err != nil {
		t.Fatal(err)
	}
	plain := Question{ID: "1", Category: "stem", Turns: []string{"Q1 {answer}", "Q2"}}
	ref := Question{ID: "2", Category: "math", Turns: []string{"Q1", "Q2"}, Reference: []string{"R1", "R2"}}
	answer := []string{"A1 {question} {{", "A2"}
	for _, c := range []struct {
		q          Question
		turn       int
		name, want string
		messages   int
	}{
		{plain, 1, "single-v1", "F: Q1 {answer} {x} A: A1 {question} {{", 2},
		{plain, 2, "single-v1-multi-turn", "Q1 {answer}|A1 {question} {{|Q2|A2", 1},
		{ref, 1, "single-math-v1", "Q1 R1 A1 {question} {{", 2},
		{ref, 2, "single-math-v1-multi-turn", "R1 R2 Q1 A1 {question} {{ Q2 A2", 2},
	} {
		name, msgs, err := p.Single(c.q, answer[:c.turn], c.turn)
		if err != nil || name != c.name || len(msgs) != c.messages || msgs[len(msgs)-1].Content != c.want {
			t.Errorf("question %s, turn %d: %s, %v, %v", c.q.ID, c.turn, name, msgs, err)
		}
		if len(msgs) == 2 && c.name == "single-v1" && msgs[0].Content != "S {answer}" {
			t.Errorf("the system prompt is filled: %q", msgs[0].Content)
		}
	}
	if _, msgs, err := p.Pair(plain, []string{"X"}, []string{"Y"}, 1); err != nil || msgs[1].Content != "Q1 {answer} X Y" {
		t.Errorf("%v %v", msgs, err)
	}
	var missing *MissingPromptError
	if _, _, err := p.Pair(ref, []string{"X"}, []string{"Y"}, 1); !errors.As(err, &missing) || missing.Prompt != "pair-math-v1" {
		t.Errorf("%v", err)
	}
}

func TestBadPrompts(t *testing.T) {
	for text, want := range map[string]string{
		`{"single-v1": {"system_prompt": "", "prompt_template": "{qestion}"}}`:  "{qestion} is no field",
		`{"single-v1": {"system_prompt": "", "prompt_template": "{answer_1}"}}`: "{answer_1} is no field",
		`{"single-v1": {"system_prompt": "", "prompt_template": "a } b"}}`:      "byte 2",
		`{"single-v1": {"system_prompt": "", "prompt_template": "a { b"}}`:      "byte 2",
		`{"single-v1": {"system_prompt": "", "prompt_template": "{answer!r}"}}`: "no field",
		`{"single-v1": {"prompt_template": "{answer}"}}`:                        "system_prompt",
		`{"name": "single-v1", "prompt_template": "{answer}"}`:                  "system_prompt",
		`[]`: "p:",
		``:   "p:",
		"{\"name\": \"x\", \"system_prompt\": \"\", \"prompt_template\": \"\"}\nkaputt": "line 2",
	} {
		if _, err := ParsePrompts("p", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestPromptsOfOthers(t *testing.T) {
	dir := shareddata.Path(t, "data/mtbench_de")
	q := Question{ID: "1", Category: "math", Turns: []string{"Q1", "Q2"}, Reference: []string{"R1", "R2"}}
	for name, pair := range map[string]bool{"judge_prompts_de.json": false, "mtbenchx_judge_prompts.jsonl": true} {
		data, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePrompts(name, data)
		if err != nil {
			t.Fatal(err)
		}
		for turn := 1; turn <= 2; turn++ {
			if _, msgs, err := p.Single(q, []string{"A1", "A2"}, turn); err != nil || !strings.Contains(msgs[len(msgs)-1].Content, "A"+string(rune('0'+turn))) {
				t.Errorf("%s: %v", name, err)
			}
			if _, _, err := p.Pair(q, []string{"A1", "A2"}, []string{"B1", "B2"}, turn); (err == nil) != pair {
				t.Errorf("%s: pairs %v", name, err)
			}
		}
	}
}

// Leo's own set has MT-Bench's shape and everything that running and judging it needs.
func TestOwnSet(t *testing.T) {
	set := ownSet(t)
	if err := set.Check(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(set.Categories(), CategoryNames()) || len(set.Questions) != 80 {
		t.Errorf("%d questions in %v", len(set.Questions), set.Categories())
	}
	seen := map[string]bool{}
	for i, q := range set.Questions {
		if q.Category != CategoryNames()[i/10] || (len(q.Reference) == 2) != slices.Contains(ReferenceCategories, q.Category) {
			t.Errorf("question %s: %s, %d references", q.ID, q.Category, len(q.Reference))
		}
		for _, text := range q.Turns {
			if seen[text] || len(text) < 40 {
				t.Errorf("question %s: a text twice or too short: %q", q.ID, text)
			}
			seen[text] = true
			if foreign(text) || Loops(text) {
				t.Errorf("question %s does not look like German: %q", q.ID, text)
			}
		}
	}
	p, err := OwnPrompts()
	if err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		if p.byName[name] == nil {
			t.Errorf("there is no prompt %s", name)
		}
		// The example in a prompt must be one that the parser reads, or the verdicts.
		both := p.raw[name][0] + p.raw[name][1]
		if strings.HasPrefix(name, "single") {
			if r, err := ParseRating(both); err != nil || r.Fallback {
				t.Errorf("%s shows no rating: %v", name, err)
			}
		} else if !strings.Contains(both, "[[A]]") || !strings.Contains(both, "[[B]]") || !strings.Contains(both, "[[C]]") {
			t.Errorf("%s shows no verdicts", name)
		}
	}
	for _, layout := range []func(*strings.Builder) error{
		func(b *strings.Builder) error { return set.FastEval(b) }, func(b *strings.Builder) error { return set.FastChat(b) },
	} {
		var b strings.Builder
		if err := layout(&b); err != nil {
			t.Fatal(err)
		}
		again, err := ParseQuestions("again", []byte(b.String()))
		if err != nil || again.Hash() != set.Hash() {
			t.Errorf("a layout changes the questions: %v", err)
		}
	}
}

// Nobody's questions are repeated: no long run of words is shared with the two German MT-Benches.
func TestOwnSetIsOurs(t *testing.T) {
	dir := shareddata.Path(t, "data/mtbench_de")
	words := func(text string) []string { return strings.Fields(strings.ToLower(text)) }
	grams := map[string]string{}
	const n = 7
	for _, name := range []string{"questions_de.json", "mtbenchx_question.jsonl"} {
		data, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := ParseQuestions(name, data)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range theirs.Questions {
			for _, text := range append(q.Turns, q.Reference...) {
				w := words(text)
				for i := 0; i+n <= len(w); i++ {
					grams[strings.Join(w[i:i+n], " ")] = q.ID
				}
			}
		}
	}
	for _, q := range ownSet(t).Questions {
		for _, text := range append(q.Turns, q.Reference...) {
			w := words(text)
			for i := 0; i+n <= len(w); i++ {
				if id := grams[strings.Join(w[i:i+n], " ")]; id != "" {
					t.Errorf("question %s shares %q with %s", q.ID, strings.Join(w[i:i+n], " "), id)
				}
			}
		}
	}
}
