package main

import (
	"github.com/spf13/cobra"

	"leolm/infer"
	"leolm/tokenizer"
)

// constraintFlags limit what an answer may look like.
type constraintFlags struct{}

func (f *constraintFlags) register(*cobra.Command) {}

func (f *constraintFlags) build(*tokenizer.Tokenizer, []int32) (infer.Constraint, error) {
	return nil, nil
}

// trustAll marks a whole text as the caller's own.
func trustAll(text string) []tokenizer.Span { return []tokenizer.Span{{Start: 0, End: len(text)}} }
