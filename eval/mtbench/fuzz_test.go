package mtbench

import (
	"bytes"
	"testing"
)

// Files come from anywhere: whatever is in them, they are read or refused, and what is read can be scored and written.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{
		`{"81": {"category": "math", "turns": ["a", "b"], "reference": ["x", "y"]}, "81": {"category": "stem", "turns": []}}`,
		"{\"question_id\": 81, \"category\": \"math\", \"turns\": [\"a\", \"b\"]}\n{\"question_id\": \"82_DE\", \"category\": \"\"}\n",
		`[{"question_id": "81", "turn_number": 0, "judge_reply": "[[5]] [[7.]] [3]"}, {"question_id": 81, "turn_number": NaN, "judge_reply": null}]`,
		"{\"question_id\": 81, \"turn\": 2, \"judgment\": \"[[10]]\"}\n",
		`{"81": ["a", "b"], "82": null}`,
		"{\"question_id\": 81, \"choices\": [{\"index\": 0, \"turns\": [\"a\"]}]}\n",
		`{"single-v1": {"system_prompt": "s", "prompt_template": "{question} {{x}} {answer}"}, "pair-v2": {}}`,
		"\ufeff{}", "[", "null", "{}\n{}", `{"a":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseQuestions("q", data)
		if err == nil {
			var out bytes.Buffer
			if err := set.FastEval(&out); err != nil {
				t.Fatal(err)
			}
			again, err := ParseQuestions("again", out.Bytes())
			if err != nil || len(again.Questions) != len(set.Questions) {
				t.Fatalf("written and read again: %v", err)
			}
			_ = set.Check()
		} else {
			set = &Set{byID: map[string]int{"81": 0}, Questions: []Question{{ID: "81", Category: "math"}}}
		}
		if replies, err := ParseReplies("r", data); err == nil {
			if s, err := Score(set, replies); err == nil && len(s.JSON()) == 0 {
				t.Fatal("scores without a text")
			}
		}
		if answers, err := ParseAnswers("a", data); err == nil {
			_, _ = set.WithReferences("a", answers)
		}
		if p, err := ParsePrompts("p", data); err == nil {
			_ = p.Hash()
		}
		_ = Loops(string(data))
		_ = foreign(string(data))
	})
}
