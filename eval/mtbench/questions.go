// Package mtbench owns MT-Bench in German: questions of two turns in eight
// categories, a model's answers, a judge's ratings of them, and the scores that
// LeoLM's cards print.
//
// It owns the files of FastEval and FastChat, the judge's prompts and how its
// replies are read, the means to the digit, comparisons in pairs, the agreement of
// judges, and a question set of its own. It does not own models and endpoints
// (package eval), or how a page looks.
package mtbench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"leolm/eval"
	"leolm/internal/pyjson"
)

// MaxFile bounds files of questions, prompts, answers and replies, in bytes.
const MaxFile = 256 << 20

// Question is one conversation of a set.
type Question struct {
	ID       string
	Category string
	Turns    []string
	// Reference has an answer to every turn, or is empty. With one, the judge is shown it.
	Reference []string
}

// Set is an ordered list of questions with distinct ids.
type Set struct {
	Name      string // where it came from
	Questions []Question
	byID      map[string]int
}

// NewSet makes a set of questions that are in order.
func NewSet(name string, qs []Question) (*Set, error) {
	s := &Set{Name: name, Questions: qs, byID: make(map[string]int, len(qs))}
	for i, q := range qs {
		if q.ID == "" {
			return nil, fmt.Errorf("%s: question %d has no id", name, i+1)
		}
		if _, twice := s.byID[q.ID]; twice {
			return nil, fmt.Errorf("%s: question %s appears twice", name, q.ID)
		}
		if q.Category == "" {
			return nil, fmt.Errorf("%s: question %s has no category", name, q.ID)
		}
		s.byID[q.ID] = i
	}
	return s, nil
}

// Find returns a question by its id.
func (s *Set) Find(id string) (Question, bool) {
	i, ok := s.byID[id]
	if !ok {
		return Question{}, false
	}
	return s.Questions[i], true
}

// Categories are the categories in the order of their first question.
func (s *Set) Categories() []string {
	var list []string
	for _, q := range s.Questions {
		if !slices.Contains(list, q.Category) {
			list = append(list, q.Category)
		}
	}
	return list
}

// Hash identifies the questions, whatever file they came from.
func (s *Set) Hash() string { return eval.HashOf(s.Questions) }

// Head is the set with its first n questions.
func (s *Set) Head(n int) *Set {
	h := &Set{Name: s.Name, Questions: s.Questions[:min(n, len(s.Questions))], byID: map[string]int{}}
	for i, q := range h.Questions {
		h.byID[q.ID] = i
	}
	return h
}

// Check refuses a set that cannot be asked and judged: two turns each, and a reference with as many entries or none.
// Scores need no more than categories, and no check.
func (s *Set) Check() error {
	for _, q := range s.Questions {
		if len(q.Turns) != 2 || slices.Contains(q.Turns, "") {
			return fmt.Errorf("%s: question %s has %d turns; it needs two, with text", s.Name, q.ID, len(q.Turns))
		}
		if n := len(q.Reference); n > 0 && (n != 2 || slices.Contains(q.Reference, "")) {
			return fmt.Errorf("%s: question %s has %d reference answers; it needs one for each of its two turns, or none", s.Name, q.ID, n)
		}
	}
	return nil
}

// idText reads an id: FastEval's are texts, FastChat's numbers.
func idText(raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var n json.Number
	if err := json.Unmarshal(raw, &n); err != nil || n == "" {
		return "", fmt.Errorf("an id is a text or a number, not %.40s", raw)
	}
	return n.String(), nil
}

// fastEvalQuestion is a question in both layouts; FastEval's id is the key.
type layoutQuestion struct {
	ID        json.RawMessage `json:"question_id"`
	Category  *string         `json:"category"`
	Turns     []string        `json:"turns"`
	Reference []string        `json:"reference"`
}

func (l *layoutQuestion) question(id string) (Question, error) {
	if l.Category == nil {
		return Question{}, fmt.Errorf("question %s has no category", id)
	}
	return Question{ID: id, Category: *l.Category, Turns: l.Turns, Reference: l.Reference}, nil
}

// ParseQuestions reads a set in FastEval's layout (an object of questions by id) or FastChat's (a question a line).
func ParseQuestions(name string, data []byte) (*Set, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var qs []Question
	var err error
	if isLines(data) {
		qs, err = questionLines(data)
	} else {
		qs, err = questionObject(data)
	}
	if err == nil && len(qs) == 0 {
		err = errors.New("there is no question in it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return NewSet(name, qs)
}

// isLines reports whether data is FastChat's layout: its first value is a record with an id, not an object of records.
func isLines(data []byte) bool {
	var first struct {
		ID json.RawMessage `json:"question_id"`
	}
	err := json.NewDecoder(bytes.NewReader(data)).Decode(&first)
	return err == nil && first.ID != nil
}

func questionObject(data []byte) ([]Question, error) {
	members, err := pyjson.Members(data)
	if err != nil {
		return nil, err
	}
	var qs []Question
	for _, m := range members {
		var l layoutQuestion
		if err := json.Unmarshal(m.Value, &l); err != nil {
			return nil, fmt.Errorf("question %s: %w", m.Key, err)
		}
		q, err := l.question(m.Key)
		if err != nil {
			return nil, err
		}
		qs = append(qs, q)
	}
	return qs, nil
}

func questionLines(data []byte) ([]Question, error) {
	var qs []Question
	err := eachLine(data, func(line []byte) error {
		var l layoutQuestion
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		id, err := idText(l.ID)
		if err != nil {
			return err
		}
		q, err := l.question(id)
		qs = append(qs, q)
		return err
	})
	return qs, err
}

// eachLine calls f with the lines of JSONL that are not empty; an error names the line.
func eachLine(data []byte, f func(line []byte) error) error {
	if !utf8.Valid(data) {
		return pyjson.ErrNotUTF8
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// ReferenceCategories are those that a judge rates beside a reference answer.
var ReferenceCategories = []string{"math", "reasoning", "coding"}

// WithReferences returns the set with the references of a file of answers (FastChat's reference_answer, or FastEval's
// answers): those of ReferenceCategories, in place of all that the questions had. It fails where one is missing.
func (s *Set) WithReferences(name string, answers []Answers) (*Set, error) {
	byID := map[string][]string{}
	for _, a := range answers {
		if len(a.Choices) > 0 {
			byID[a.Question] = a.Choices[0]
		}
	}
	qs := slices.Clone(s.Questions)
	for i := range qs {
		qs[i].Reference = nil
		if !slices.Contains(ReferenceCategories, qs[i].Category) {
			continue
		}
		ref, ok := byID[qs[i].ID]
		if !ok {
			return nil, fmt.Errorf("%s: no reference answer to question %s, which is in category %s", name, qs[i].ID, qs[i].Category)
		}
		qs[i].Reference = ref
	}
	return NewSet(s.Name, qs)
}

// FastEval writes the set as FastEval's questions.json.
func (s *Set) FastEval(w io.Writer) error {
	var o pyjson.Object
	for _, q := range s.Questions {
		o.Set(q.ID, append(pyjson.Object{}, q.members()...))
	}
	_, err := w.Write(append(pyjson.Append(nil, o, 4), '\n'))
	return err
}

// FastChat writes the set as FastChat's question.jsonl.
func (s *Set) FastChat(w io.Writer) error {
	var out []byte
	for _, q := range s.Questions {
		o := append(pyjson.Object{{Key: "question_id", Value: idValue(q.ID)}}, q.members()...)
		out = append(pyjson.Append(out, o, 0), '\n')
	}
	_, err := w.Write(out)
	return err
}

func (q *Question) members() pyjson.Object {
	o := pyjson.Object{{Key: "category", Value: q.Category}, {Key: "turns", Value: q.Turns}}
	if len(q.Reference) > 0 {
		o.Set("reference", q.Reference)
	}
	return o
}

// idValue is a FastChat id: a number where it is one.
func idValue(id string) any {
	if n, err := strconv.Atoi(id); err == nil && strconv.Itoa(n) == id {
		return n
	}
	return id
}

// temperatures are those that FastChat and FastEval answer a category with.
var temperatures = map[string]float64{
	"writing": 0.7, "roleplay": 0.7, "extraction": 0, "math": 0, "coding": 0, "reasoning": 0, "stem": 0.1, "humanities": 0.1,
}

// CategoryError says that a question's category has no known temperature: a translated or misspelt name would silently
// change how it is answered and judged.
type CategoryError struct{ Question, Category string }

func (e *CategoryError) Error() string {
	return fmt.Sprintf("question %s is in category %q, whose temperature is not known; known are %s", e.Question, e.Category, strings.Join(CategoryNames(), ", "))
}

// CategoryNames are the eight categories in MT-Bench's order.
func CategoryNames() []string {
	return []string{"writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"}
}
