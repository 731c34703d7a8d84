package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"leolm/infer"
	"leolm/internal/bounded"
	"leolm/internal/constrain"
	"leolm/tokenizer"
)

// constraintFlags constrain the text of an answer.
type constraintFlags struct {
	schema, regex, grammar string
	json                   bool
}

func (f *constraintFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.schema, "json-schema", "", "answer with JSON that is valid under this schema (a file, or the schema itself)")
	fl.BoolVar(&f.json, "json-object", false, "answer with any JSON value")
	fl.StringVar(&f.regex, "regex", "", "answer with text that matches this regular expression from beginning to end")
	fl.StringVar(&f.grammar, "grammar", "", "answer with text of this GBNF grammar (a file)")
}

// given counts the constraints on the command line.
func (f *constraintFlags) given() int {
	n := 0
	for _, set := range []bool{f.schema != "", f.regex != "", f.grammar != "", f.json} {
		if set {
			n++
		}
	}
	return n
}

// maxGrammar bounds a file with a grammar or schema.
const maxGrammar = 16 << 20

// build compiles the constraint. The function that it returns makes a fresh one for each answer, or nil if there is none.
func (f *constraintFlags) build(ctx context.Context, tok *tokenizer.Tokenizer, stops []int32) (func() infer.Constraint, error) {
	n := f.given()
	if n == 0 {
		return func() infer.Constraint { return nil }, nil
	}
	if n > 1 {
		return nil, usageError{errors.New("choose one of --json-schema, --json-object, --regex and --grammar")}
	}
	var g *constrain.Grammar
	var err error
	switch {
	case f.json:
		g = constrain.JSON()
	case f.regex != "":
		g, err = constrain.Regexp(f.regex)
	case f.grammar != "":
		var text []byte
		if text, err = bounded.File(ctx, f.grammar, maxGrammar); err == nil {
			g, err = constrain.GBNF(string(text))
		}
	default:
		text := []byte(f.schema)
		if !strings.HasPrefix(strings.TrimSpace(f.schema), "{") {
			if text, err = bounded.File(ctx, f.schema, maxGrammar); err != nil {
				return nil, err
			}
		}
		g, err = constrain.Schema(text)
	}
	if err != nil {
		return nil, usageError{err}
	}
	m, err := g.Bind(constrain.FromTokenizer(tok, stops))
	if err != nil {
		return nil, err
	}
	return func() infer.Constraint { return m.Start() }, nil
}

// trustAll marks a whole text as the caller's own.
func trustAll(text string) []tokenizer.Span { return []tokenizer.Span{{Start: 0, End: len(text)}} }
