package serve

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

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
		case "text", "":
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

// compiled is a grammar bound to the vocabulary of a model.
type compiled struct {
	key     [sha256.Size]byte
	matcher *constrain.Matcher
}

// keptMatchers is how many compiled grammars a model keeps: the masks that they have computed are worth more than they
// take.
const keptMatchers = 16

// Bounds of compiling, which takes the time of processors that answers need.
const (
	maxGrammar     = 1 << 20 // bytes of a grammar
	maxChoice      = 1024    // texts of guided_choice
	compilesAtOnce = 2
	compileTime    = 5 * time.Second
	compileWait    = 10 * time.Second // for others to end
)

// constraint compiles g for m and returns a function that makes a constraint for each answer; nil if g is none.
func (m *model) constraint(ctx context.Context, g kindOf) (func() infer.Constraint, error) {
	if g.kind == "" {
		return nil, nil
	}
	if len(g.text) > maxGrammar {
		return nil, bad(g.param, "%s has %d bytes; there may be %d", g.param, len(g.text), maxGrammar)
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
	matcher, err := m.compileInTime(ctx, g)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.matchers = append(m.matchers, compiled{key, matcher})
	if n := len(m.matchers) - keptMatchers; n > 0 {
		m.matchers = m.matchers[n:]
	}
	return func() infer.Constraint { return matcher.Start() }, nil
}

// compileInTime compiles g when one of the few places for that is free. A grammar that takes too long is refused; its
// place is free again when it has ended nevertheless.
func (m *model) compileInTime(ctx context.Context, g kindOf) (*constrain.Matcher, error) {
	wait := time.NewTimer(compileWait)
	defer wait.Stop()
	select {
	case m.compiling <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		return nil, &Error{Status: http.StatusTooManyRequests, Message: "too many grammars are being compiled", Code: "queue_full", RetryAfter: compileTime}
	}
	vocab := m.vocab() // made once, which may take long
	type outcome struct {
		matcher *constrain.Matcher
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-m.compiling }()
		matcher, err := g.compile(vocab)
		done <- outcome{matcher, err}
	}()
	limit := time.NewTimer(compileTime)
	defer limit.Stop()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, bad(g.param, "%s: %v", g.param, o.err)
		}
		return o.matcher, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-limit.C:
		return nil, bad(g.param, "%s is too complex: it takes more than %v to compile", g.param, compileTime)
	}
}

func (g *kindOf) compile(vocab *constrain.Vocabulary) (*constrain.Matcher, error) {
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
			if len(choices) > maxChoice {
				return nil, fmt.Errorf("%d texts; there may be %d", len(choices), maxChoice)
			}
			grammar, err = constrain.Regexp(anyOf(choices))
		}
	default:
		grammar, err = constrain.Schema([]byte(g.text))
	}
	if err != nil {
		return nil, err
	}
	return grammar.Bind(vocab)
}

// anyOf is the regular expression of a choice among texts.
func anyOf(choices []string) string {
	quoted := make([]string, len(choices))
	for i, c := range choices {
		quoted[i] = regexp.QuoteMeta(c)
	}
	return "(?:" + strings.Join(quoted, "|") + ")"
}
