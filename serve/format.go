package serve

import (
	"bytes"
	"cmp"
	"encoding/json"
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
	GuidedChoice   texts           `json:"guided_choice"`
	GuidedJSON     json.RawMessage `json:"guided_json"`

	formatName string // of ResponseFormat, in APIs that call it otherwise
}

// kindOf is a kind of grammar and its text.
type kindOf struct{ kind, text, param string }

// grammar returns the one grammar that the request asks for; its kind is "" if the answer is free.
func (c *constrained) grammar() (kindOf, error) {
	var all []kindOf
	name := cmp.Or(c.formatName, "response_format")
	if f := c.ResponseFormat; f != nil {
		switch f.Type {
		case "text":
		case "json_object":
			schema := []byte(f.Schema)
			if len(schema) == 0 || string(schema) == "null" {
				schema = []byte(`{"type":"object"}`)
			}
			all = append(all, kindOf{"schema", string(schema), name})
		case "json_schema":
			switch {
			case f.JSONSchema == nil && len(f.Schema) == 0:
				return kindOf{}, bad(name, "%s of type json_schema needs a schema", name)
			case f.JSONSchema != nil && len(f.JSONSchema.Schema) > 0:
				all = append(all, kindOf{"schema", string(f.JSONSchema.Schema), name})
			case len(f.Schema) > 0:
				all = append(all, kindOf{"schema", string(f.Schema), name})
			default:
				all = append(all, kindOf{"schema", `{"type":"object"}`, name})
			}
		default:
			return kindOf{}, bad(name, "%s of type %q; use text, json_object or json_schema", name, f.Type)
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
