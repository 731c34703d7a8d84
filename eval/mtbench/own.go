package mtbench

import (
	_ "embed"
)

// Leo's own set, in German, in the layout of MT-Bench: eight categories of ten questions with two turns each, and
// references in mathematics, reasoning and coding. Questions and prompts are written for Leo; none is MT-Bench's.
var (
	//go:embed questions/de.json
	ownQuestions []byte
	//go:embed prompts/de.json
	ownPrompts []byte
)

// Names of the sets and prompts that are part of the program.
const (
	OwnQuestionsName = "leo-mtbench-de"
	OwnPromptsName   = "leo-judge-de"
)

// OwnQuestions is Leo's own question set.
func OwnQuestions() (*Set, error) { return ParseQuestions(OwnQuestionsName, ownQuestions) }

// OwnPrompts are Leo's own prompts for judges.
func OwnPrompts() (*Prompts, error) { return ParsePrompts(OwnPromptsName, ownPrompts) }
