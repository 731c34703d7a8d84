package serve

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"regexp"
	"strings"

	"leolm/infer"
	"leolm/internal/constrain"
)

// responseFormat is what the text of an answer must be.
type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"schema"`
		Strict *bool           `json:"strict"`
	} `json:"json_schema"`
	Schema json.RawMessage `json:"schema"` // llama.cpp's place for it
}

// constrained are the fields that constrain an answer.
type constrained struct {
	ResponseFormat *responseFormat `json:"response_format"`
	Grammar        string          `json:"grammar"`      // llama.cpp: GBNF
	GuidedRegex    string          `json:"guided_regex"` // vLLM
	GuidedChoice   []string        `json:"guided_choice"`
	GuidedJSON     json.RawMessage `json:"guided_json"`
}

// kindOf is a kind of grammar and its text.
type kindOf struct{ kind, text, param string }

// grammar returns the one grammar that the request asks for; its kind is "" if the answer is free.
func (c *constrained) grammar() (kindOf, error) {
	var all []kindOf
	if f := c.ResponseFormat; f != nil {
		switch f.Type {
		case "text", "":
		case "json_object":
			schema := []byte(f.Schema)
			if len(schema) == 0 || string(schema) == "null" {
				schema = []byte(`{"type":"object"}`)
			}
			all = append(all, kindOf{"schema", string(schema), "response_format"})
		case "json_schema":
			switch {
			case f.JSONSchema == nil && len(f.Schema) == 0:
				return kindOf{}, bad("response_format", "response_format of type json_schema needs json_schema.schema")
			case f.JSONSchema != nil && len(f.JSONSchema.Schema) > 0:
				all = append(all, kindOf{"schema", string(f.JSONSchema.Schema), "response_format"})
			case len(f.Schema) > 0:
				all = append(all, kindOf{"schema", string(f.Schema), "response_format"})
			default:
				all = append(all, kindOf{"schema", `{"type":"object"}`, "response_format"})
			}
		default:
			return kindOf{}, bad("response_format", "response_format of type %q; use text, json_object or json_schema", f.Type)
		}
	}
	if c.Grammar != "" {
		all = append(all, kindOf{"gbnf", c.Grammar, "grammar"})
	}
	if c.GuidedRegex != "" {
		all = append(all, kindOf{"regex", c.GuidedRegex, "guided_regex"})
	}
	if len(c.GuidedChoice) > 0 {
		list, _ := json.Marshal(c.GuidedChoice) // strings
		all = append(all, kindOf{"choice", string(list), "guided_choice"})
	}
	if j := bytes.TrimSpace(c.GuidedJSON); len(j) > 0 && string(j) != "null" {
		var text string
		if json.Unmarshal(j, &text) == nil {
			j = []byte(text)
		}
		all = append(all, kindOf{"schema", string(j), "guided_json"})
	}
	switch len(all) {
	case 0:
		return kindOf{}, nil
	case 1:
		return all[0], nil
	}
	return kindOf{}, bad(all[1].param, "%s and %s cannot be combined", all[0].param, all[1].param)
}

// compiled is a grammar bound to the vocabulary of a model.
type compiled struct {
	key     [sha256.Size]byte
	matcher *constrain.Matcher
}

// keptMatchers is how many compiled grammars a model keeps: the masks that they have computed are worth more than they
// take.
const keptMatchers = 16

// constraint compiles g for m and returns a function that makes a constraint for each answer; nil if g is none.
func (m *model) constraint(g kindOf) (func() infer.Constraint, error) {
	if g.kind == "" {
		return nil, nil
	}
	key := sha256.Sum256([]byte(g.kind + "\x00" + g.text))
	m.mu.Lock()
	for i, c := range m.matchers {
		if c.key == key {
			m.matchers = append(append(m.matchers[:i:i], m.matchers[i+1:]...), c)
			m.mu.Unlock()
			return func() infer.Constraint { return c.matcher.Start() }, nil
		}
	}
	m.mu.Unlock()
	matcher, err := m.compile(g)
	if err != nil {
		return nil, bad(g.param, "%s: %v", g.param, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.matchers = append(m.matchers, compiled{key, matcher})
	if n := len(m.matchers) - keptMatchers; n > 0 {
		m.matchers = m.matchers[n:]
	}
	return func() infer.Constraint { return matcher.Start() }, nil
}

func (m *model) compile(g kindOf) (*constrain.Matcher, error) {
	var grammar *constrain.Grammar
	var err error
	switch g.kind {
	case "gbnf":
		grammar, err = constrain.GBNF(g.text)
	case "regex":
		grammar, err = constrain.Regexp(g.text)
	case "choice":
		var choices []string
		if err = json.Unmarshal([]byte(g.text), &choices); err == nil {
			grammar, err = constrain.Regexp(anyOf(choices))
		}
	default:
		grammar, err = constrain.Schema([]byte(g.text))
	}
	if err != nil {
		return nil, err
	}
	return grammar.Bind(m.vocab())
}

// anyOf is the regular expression of a choice among texts.
func anyOf(choices []string) string {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = regexp.QuoteMeta(c)
	}
	return "(?:" + strings.Join(quoted, "|") + ")"
}
