// Package harness owns tasks as lm-evaluation-harness knows them: documents
// whose prompts are texts to be scored, read or continued, few-shot examples,
// metrics with their aggregations and standard errors, task files in YAML, and a
// run that keeps every single result and goes on where it was killed. It does not
// own what models are (package eval) or which prompts make GermanBench (package
// germanbench).
package harness

import (
	"fmt"
	"slices"

	"leolm/eval"
)

// Task is a set of documents with their prompts written out.
type Task struct {
	Name    string // "arc_de", "mmlu_de_anatomy"
	Group   string // the task that this one is a part of, "mmlu_de"; "" if none
	Version string // changes with prompts or scoring
	Shots   int
	Metrics []Metric
	Items   []Item
	// Rows is the number of rows that the data has for the task, Faults are those that cannot be scored, with the reason.
	Rows   int
	Faults []Fault
	// Limited says that not all rows were asked for.
	Limited bool
	Inputs  []eval.Input
	Notes   []string
}

// Item is one document of a task. One of Scores, Rolling and Ask is set.
type Item struct {
	Doc     int    // number in the order of evaluation, from 0
	Row     string // where it came from
	Hash    string // of the document's row
	Scores  []eval.ScoreRequest
	Rolling []string
	Ask     *eval.Request
	// Gold is what would be right, for people who read the records. So are Question, the document without what stands before
	// it, and the texts of the Choices among which Gold and Grade.Picked count.
	Gold     any
	Question string
	Choices  []string
	// Grade turns what the model said into metrics. It is called once, with a result for each request.
	Grade func(o *Outcome) (Grade, error)
}

// Outcome is what the model said to an item.
type Outcome struct {
	Scores  []eval.Score
	Rolling []eval.Score
	Answer  eval.Answer
}

// LogProbs are the log-likelihoods of o.Scores.
func (o *Outcome) LogProbs() []float64 {
	out := make([]float64, len(o.Scores))
	for i := range o.Scores {
		out[i] = o.Scores[i].LogProb
	}
	return out
}

// Grade is how an item was answered.
type Grade struct {
	Values map[string]Value // by metric
	// Picked is the answer that counts: the index of a choice, or a text after the filters.
	Picked any
	// Unmatched says that no filter found an answer in the text; it counts as wrong, and is counted.
	Unmatched bool
	// Tie says that another choice was as likely as the picked one, which is the first of them.
	Tie bool
	// Notes are remarks, counted by their text.
	Notes []string
}

// Value is what an item adds to a metric: Num, and for quotients over all documents what it is divided by.
type Value struct{ Num, Den float64 }

// Fault is a row that is not scored.
type Fault struct {
	Row string `json:"row"`
	Why string `json:"why"`
}

// Metric is one number of a task.
type Metric struct {
	Name        string
	Aggregation Aggregation
	Lower       bool // is better
}

// Direction is an arrow that shows which way is better.
func (m Metric) Direction() string {
	if m.Lower {
		return "↓"
	}
	return "↑"
}

// DuplicateTaskError says that two tasks of a run have one name.
type DuplicateTaskError struct{ Name string }

func (e *DuplicateTaskError) Error() string {
	return fmt.Sprintf("two tasks are called %s", e.Name)
}

// checkNames refuses tasks whose files would be the same.
func checkNames(tasks []*Task) error {
	seen := map[string]bool{}
	for _, t := range tasks {
		if seen[t.Name] {
			return &DuplicateTaskError{t.Name}
		}
		seen[t.Name] = true
	}
	return nil
}

// Digest is the hash of everything that a task asks: prompts, choices, answers that are right, metrics. Two results are of
// the same task only if it is equal.
func (t *Task) Digest() string {
	type metric struct {
		Name, Aggregation string
		Lower             bool
	}
	parts := []any{t.Name, t.Version, t.Shots}
	for _, m := range t.Metrics {
		parts = append(parts, metric{m.Name, m.Aggregation.String(), m.Lower})
	}
	for i := range t.Items {
		it := &t.Items[i]
		parts = append(parts, it.Doc, it.Hash, it.Scores, it.Rolling, it.Ask, it.Gold)
	}
	return eval.HashOf(parts...)
}

// Choice grades a choice between texts by their log-likelihoods: acc takes the likeliest, acc_norm the likeliest for each
// code point, acc_bytes for each byte of UTF-8. Of equal ones the first counts.
type Choice struct {
	Texts []string // without the delimiter before them
	Gold  []int    // those that are right
}

// ArgMax is the index of the first largest value.
func ArgMax(xs []float64) int {
	best := 0
	for i, x := range xs {
		if x > xs[best] {
			best = i
		}
	}
	return best
}

// Grade grades the choice; the three metrics are always there.
func (c *Choice) Grade(lls []float64) Grade {
	perRune, perByte := make([]float64, len(lls)), make([]float64, len(lls))
	for i, ll := range lls {
		perRune[i] = ll / float64(len([]rune(c.Texts[i])))
		perByte[i] = ll / float64(len(c.Texts[i]))
	}
	picked := ArgMax(lls)
	tie := false
	for i, ll := range lls {
		tie = tie || i != picked && ll == lls[picked]
	}
	right := func(i int) Value {
		if slices.Contains(c.Gold, i) {
			return Value{1, 1}
		}
		return Value{0, 1}
	}
	return Grade{Picked: picked, Tie: tie, Values: map[string]Value{
		"acc": right(picked), "acc_norm": right(ArgMax(perRune)), "acc_bytes": right(ArgMax(perByte)),
	}}
}
