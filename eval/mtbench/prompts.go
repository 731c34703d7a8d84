package mtbench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"leolm/chat"
	"leolm/eval"
	"leolm/internal/pyjson"
)

// Prompt is a judge's prompt: a system message as it stands, and a user message with fields in braces.
type Prompt struct {
	Name   string
	System string
	parts  []part
}

// part is a stretch of a template: text, or the name of a field.
type part struct {
	text  string
	field bool
}

// Prompts are a judge's prompts by name.
type Prompts struct {
	Name   string // where they came from
	byName map[string]*Prompt
	raw    map[string][2]string
}

// The names that FastChat and FastEval give the prompts.
const (
	singleName    = "single-v1"
	singleRefName = "single-math-v1"
	pairName      = "pair-v2"
	pairRefName   = "pair-math-v1"
	secondSuffix  = "-multi-turn"
)

// fields are those that a prompt may use.
var fields = map[string][]string{
	singleName:                   {"question", "answer"},
	singleRefName:                {"question", "answer", "ref_answer_1", "ref_answer_2"},
	singleName + secondSuffix:    {"question_1", "question_2", "answer_1", "answer_2"},
	singleRefName + secondSuffix: {"question_1", "question_2", "answer_1", "answer_2", "ref_answer_1", "ref_answer_2"},
	pairName:                     {"question", "answer_a", "answer_b"},
	pairRefName:                  {"question", "answer_a", "answer_b", "ref_answer_1", "ref_answer_2"},
	pairName + secondSuffix:      {"question_1", "question_2", "answer_a_1", "answer_b_1", "answer_a_2", "answer_b_2"},
	pairRefName + secondSuffix:   {"question_1", "question_2", "answer_a_1", "answer_b_1", "answer_a_2", "answer_b_2", "ref_answer_1", "ref_answer_2"},
}

// ParsePrompts reads judge prompts in FastEval's layout (an object by name) or FastChat's (a prompt a line). Prompts with
// names that nothing here asks for are left aside; a field that a prompt cannot have is an error.
func ParsePrompts(name string, data []byte) (*Prompts, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	p := &Prompts{Name: name, byName: map[string]*Prompt{}, raw: map[string][2]string{}}
	type layout struct {
		Name     string  `json:"name"`
		System   *string `json:"system_prompt"`
		Template *string `json:"prompt_template"`
	}
	add := func(key string, l layout) error {
		if fields[key] == nil {
			return nil
		}
		if l.System == nil || l.Template == nil {
			return fmt.Errorf("prompt %s: it needs system_prompt and prompt_template", key)
		}
		parts, err := parseTemplate(*l.Template, fields[key])
		if err != nil {
			return fmt.Errorf("prompt %s: %w", key, err)
		}
		p.byName[key] = &Prompt{key, *l.System, parts}
		p.raw[key] = [2]string{*l.System, *l.Template}
		return nil
	}
	var first layout
	err := json.NewDecoder(bytes.NewReader(data)).Decode(&first)
	if err == nil && first.Template != nil {
		err = eachLine(data, func(line []byte) error {
			var l layout
			if err := json.Unmarshal(line, &l); err != nil {
				return err
			}
			return add(l.Name, l)
		})
	} else {
		var members []pyjson.RawMember
		members, err = pyjson.Members(data)
		for _, m := range members {
			var l layout
			if err = json.Unmarshal(m.Value, &l); err == nil {
				err = add(m.Key, l)
			}
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// parseTemplate reads a template of Python's str.format, with nothing but names in its braces.
func parseTemplate(text string, allowed []string) ([]part, error) {
	var parts []part
	var literal strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '{' && c != '}' {
			literal.WriteByte(c)
			continue
		}
		if i+1 < len(text) && text[i+1] == c { // doubled: itself
			literal.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(text[i:], '}')
		if c == '}' || end < 0 {
			return nil, fmt.Errorf("byte %d: a brace that belongs to no field; as text it is written twice", i)
		}
		name := text[i+1 : i+end]
		if !slices.Contains(allowed, name) {
			return nil, fmt.Errorf("byte %d: {%s} is no field here; there are %s", i, name, strings.Join(allowed, ", "))
		}
		parts = append(parts, part{text: literal.String()}, part{name, true})
		literal.Reset()
		i += end
	}
	return append(parts, part{text: literal.String()}), nil
}

// messages fills a prompt, in one pass: braces in what is filled in are text.
func (p *Prompt) messages(values map[string]string) []chat.Message {
	var user strings.Builder
	for _, x := range p.parts {
		if x.field {
			user.WriteString(values[x.text])
		} else {
			user.WriteString(x.text)
		}
	}
	msgs := []chat.Message{{Role: chat.User, Content: user.String()}}
	if p.System != "" {
		msgs = slices.Insert(msgs, 0, chat.Message{Role: chat.System, Content: p.System})
	}
	return msgs
}

// Hash identifies the texts of the prompts, whatever file they came from.
func (p *Prompts) Hash() string { return eval.HashOf(p.raw) }

// MissingPromptError says that a file of prompts lacks one.
type MissingPromptError struct{ File, Prompt string }

func (e *MissingPromptError) Error() string {
	return fmt.Sprintf("%s has no prompt %s", e.File, e.Prompt)
}

// choose finds the prompt of a turn, with or without reference.
func (p *Prompts) choose(pair bool, q *Question, turn int) (*Prompt, error) {
	name := singleName
	switch {
	case pair && len(q.Reference) > 0:
		name = pairRefName
	case pair:
		name = pairName
	case len(q.Reference) > 0:
		name = singleRefName
	}
	if turn == 2 {
		name += secondSuffix
	}
	if found := p.byName[name]; found != nil {
		return found, nil
	}
	return nil, &MissingPromptError{p.Name, name}
}

// references are the fields of a question's reference answers.
func (q *Question) references(values map[string]string) {
	if len(q.Reference) == 2 {
		values["ref_answer_1"], values["ref_answer_2"] = q.Reference[0], q.Reference[1]
	}
}

// Single returns the conversation in which a judge rates turn 1 or 2 of an answer. answer has the texts of the turns up to
// that one: the second turn is judged with the first in sight.
func (p *Prompts) Single(q Question, answer []string, turn int) (name string, msgs []chat.Message, err error) {
	prompt, err := p.choose(false, &q, turn)
	if err != nil {
		return "", nil, err
	}
	values := map[string]string{}
	if turn == 1 {
		values["question"], values["answer"] = q.Turns[0], answer[0]
	} else {
		values["question_1"], values["answer_1"] = q.Turns[0], answer[0]
		values["question_2"], values["answer_2"] = q.Turns[1], answer[1]
	}
	q.references(values)
	return prompt.Name, prompt.messages(values), nil
}

// Pair returns the conversation in which a judge compares two answers: the first turns, or the whole of both.
func (p *Prompts) Pair(q Question, a, b []string, turn int) (name string, msgs []chat.Message, err error) {
	prompt, err := p.choose(true, &q, turn)
	if err != nil {
		return "", nil, err
	}
	values := map[string]string{}
	if turn == 1 {
		values["question"], values["answer_a"], values["answer_b"] = q.Turns[0], a[0], b[0]
	} else {
		values["question_1"], values["answer_a_1"], values["answer_b_1"] = q.Turns[0], a[0], b[0]
		values["question_2"], values["answer_a_2"], values["answer_b_2"] = q.Turns[1], a[1], b[1]
	}
	q.references(values)
	return prompt.Name, prompt.messages(values), nil
}
