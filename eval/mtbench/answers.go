package mtbench

import (
	"bytes"
	"encoding/json"
	"fmt"

	"leolm/internal/pyjson"
)

// Answers are the answers of one model to one question.
type Answers struct {
	Question string     // id
	Choices  [][]string // of each choice the texts of its turns
}

// ParseAnswers reads answers in FastEval's layout (an object with the list of turns by question) or FastChat's (a line each,
// with choices), which is also that of reference answers.
func ParseAnswers(name string, data []byte) ([]Answers, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var out []Answers
	if !isLines(data) {
		members, err := pyjson.Members(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, m := range members {
			var turns []string
			if err := json.Unmarshal(m.Value, &turns); err != nil {
				return nil, fmt.Errorf("%s: the answers to question %s: %w", name, m.Key, err)
			}
			out = append(out, Answers{m.Key, [][]string{turns}})
		}
		return out, nil
	}
	err := eachLine(data, func(line []byte) error {
		var l struct {
			ID      json.RawMessage `json:"question_id"`
			Choices []struct {
				Turns []string `json:"turns"`
			} `json:"choices"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		id, err := idText(l.ID)
		if err != nil {
			return err
		}
		a := Answers{Question: id}
		for _, c := range l.Choices {
			a.Choices = append(a.Choices, c.Turns)
		}
		out = append(out, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}
