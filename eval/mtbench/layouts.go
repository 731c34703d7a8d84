package mtbench

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"leolm/eval"
	"leolm/internal/pyjson"
)

// ofChoice is a file's name for a choice: answers.json, answers-1.json, …; FastEval knows one answer to a question only.
func ofChoice(name string, choice int) string {
	if choice == 0 {
		return name
	}
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), choice, ext)
}

// fastEvalAnswers writes answers.json of a choice; questions whose turns are not both answered are not in it.
func (r *Run) fastEvalAnswers(w io.Writer, choice int) error {
	o := pyjson.Object{}
	for _, q := range r.Set.Questions {
		if texts, ok := r.answer(q.ID, choice, 2); ok {
			o.Set(q.ID, texts)
		}
	}
	_, err := w.Write(pyjson.Append(nil, o, 4))
	return err
}

// fastChatAnswers writes model_answer/MODEL.jsonl. Ids of answers are hashes, and the time is 0: equal runs give equal
// bytes.
func (r *Run) fastChatAnswers(w io.Writer, model string) error {
	var out []byte
	for _, q := range r.Set.Questions {
		var choices []any
		for c := range r.choices() {
			if texts, ok := r.answer(q.ID, c, 2); ok {
				choices = append(choices, pyjson.Object{{Key: "index", Value: c}, {Key: "turns", Value: texts}})
			}
		}
		if choices == nil {
			continue
		}
		out = append(pyjson.Append(out, pyjson.Object{
			{Key: "question_id", Value: idValue(q.ID)}, {Key: "answer_id", Value: eval.HashOf(model, q.ID, choices)[:22]},
			{Key: "model_id", Value: model}, {Key: "choices", Value: choices}, {Key: "tstamp", Value: 0.0},
		}, 0), '\n')
	}
	_, err := w.Write(out)
	return err
}

// fastEvalReplies writes judge-replies.json of a choice.
func fastEvalReplies(w io.Writer, replies []Reply, choice int) error {
	list := []any{}
	for _, r := range replies {
		if r.Choice == choice {
			list = append(list, pyjson.Object{
				{Key: "question_id", Value: r.Question}, {Key: "turn_number", Value: r.Turn - 1}, {Key: "judge_reply", Value: r.Text},
			})
		}
	}
	_, err := w.Write(pyjson.Append(nil, list, 4))
	return err
}

// fastChatJudgments writes model_judgment/JUDGE_single.jsonl. A reply without a rating has the score -1, as there.
func (j *Judged) fastChatJudgments(w io.Writer, model, judge string) error {
	var out []byte
	for i, r := range j.Replies {
		var score any = -1
		if rating, err := ParseRating(r.Text); err == nil {
			score = rating.value.JSON()
		}
		p := j.prompts[i]
		out = append(pyjson.Append(out, pyjson.Object{
			{Key: "question_id", Value: idValue(r.Question)}, {Key: "model", Value: model},
			{Key: "judge", Value: []string{judge, p.name}}, {Key: "user_prompt", Value: p.user}, {Key: "judgment", Value: r.Text},
			{Key: "score", Value: score}, {Key: "turn", Value: r.Turn}, {Key: "tstamp", Value: 0.0},
		}, 0), '\n')
	}
	_, err := w.Write(out)
	return err
}
