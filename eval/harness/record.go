package harness

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"leolm/eval"
	"leolm/internal/durable"
)

// Record is one document in a file of results: a line of NAME.jsonl.
type Record struct {
	Doc  int    `json:"doc"`
	Row  string `json:"row"`
	Hash string `json:"hash"` // of the row's contents
	// Asked is the hash of the rendered requests.
	Asked    string             `json:"asked"`
	LogProbs []float64          `json:"log_likelihoods,omitempty"`
	Tokens   []int              `json:"tokens,omitempty"`
	Greedy   []bool             `json:"greedy,omitempty"`
	Dropped  int                `json:"dropped_tokens,omitempty"` // of the context
	Answer   *string            `json:"answer,omitempty"`
	Finish   string             `json:"finish,omitempty"`
	Picked   any                `json:"picked,omitempty"`
	Gold     any                `json:"gold"`
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Error    string             `json:"error,omitempty"`
	// Question and Choices are the document's texts, for people; results of older programs have none.
	Question string   `json:"question,omitempty"`
	Choices  []string `json:"choices,omitempty"`
}

// grade makes records and numbers of a task's outcomes.
func grade(t *Task, outcomes []Outcome) *Result {
	r := &Result{Task: t, Counts: Counts{Faults: len(t.Faults), Notes: map[string]int{}}}
	values := map[string][]Value{}
	for i := range t.Items {
		it, o := &t.Items[i], &outcomes[i]
		rec := Record{Doc: it.Doc, Row: it.Row, Hash: it.Hash, Asked: eval.HashOf(it.Scores, it.Rolling, it.Ask)[:32], Gold: it.Gold, Question: it.Question, Choices: it.Choices}
		g, err := it.grade(o, &rec, &r.Counts)
		if err != nil {
			rec.Error = err.Error()
			r.Counts.Failed++
		} else {
			r.Counts.Documents++
			rec.Picked, rec.Metrics = g.Picked, map[string]float64{}
			for _, m := range t.Metrics {
				if v, ok := g.Values[m.Name]; ok {
					values[m.Name] = append(values[m.Name], v)
					rec.Metrics[m.Name] = v.Num
				}
			}
			r.Counts.add(&g)
		}
		r.Records = append(r.Records, rec)
	}
	for _, m := range t.Metrics {
		r.Numbers = append(r.Numbers, m.Aggregate(values[m.Name]))
	}
	return r
}

// add counts what a grade remarks.
func (c *Counts) add(g *Grade) {
	if g.Unmatched {
		c.Unmatched++
	}
	if g.Tie {
		c.Ties++
	}
	for _, n := range g.Notes {
		c.Notes[n]++
	}
}

// grade grades an item, and puts what the model said into its record.
func (it *Item) grade(o *Outcome, rec *Record, c *Counts) (Grade, error) {
	var failed error
	for _, s := range append(o.Scores, o.Rolling...) {
		if s.Err != nil && failed == nil {
			failed = s.Err
		}
		rec.Dropped = max(rec.Dropped, s.Dropped)
		if s.Err == nil {
			rec.LogProbs, rec.Tokens, rec.Greedy = append(rec.LogProbs, s.LogProb), append(rec.Tokens, s.Tokens), append(rec.Greedy, s.Greedy)
		}
		if s.Uneven {
			c.Uneven++
		}
		if s.Alone {
			c.Alone++
		}
	}
	if failed != nil {
		rec.LogProbs, rec.Tokens, rec.Greedy = nil, nil, nil
		return Grade{}, failed
	}
	if rec.Dropped > 0 {
		c.Truncated++
	}
	if it.Ask != nil {
		if o.Answer.Err != nil {
			return Grade{}, o.Answer.Err
		}
		rec.Answer, rec.Finish = &o.Answer.Text, o.Answer.Finish
		if o.Answer.CutOff() {
			c.CutOff++
		}
		if strings.TrimSpace(o.Answer.Text) == "" {
			c.Empty++
		}
	}
	return it.Grade(o)
}

// map_ is the counts as an artifact has them.
func (c *Counts) asMap() map[string]int {
	out := map[string]int{"documents": c.Documents}
	for name, n := range map[string]int{
		"failed": c.Failed, "faulty_rows": c.Faults, "unmatched": c.Unmatched, "ties": c.Ties, "truncated": c.Truncated,
		"uneven_tokens": c.Uneven, "encoded_alone": c.Alone, "cut_off": c.CutOff, "empty": c.Empty,
	} {
		if n > 0 {
			out[name] = n
		}
	}
	for note, n := range c.Notes {
		out[note] = n
	}
	return out
}

// Details are what an artifact of a task has beyond its metrics.
type Details struct {
	Shots  int     `json:"num_fewshot"`
	Rows   int     `json:"rows"`
	Digest string  `json:"task_digest"` // of everything that is asked
	Faults []Fault `json:"faulty_rows,omitempty"`
	// First is what the model reads of the first document, with the texts whose likelihood counts behind it.
	First *Example `json:"first,omitempty"`
	Parts []string `json:"parts,omitempty"` // the tasks of a group
	Notes []string `json:"notes,omitempty"`
}

// Example shows a request.
type Example struct {
	Context       string   `json:"context"`
	Continuations []string `json:"continuations,omitempty"`
}

// Example is the first document's request; nil of a task without documents.
func (t *Task) Example() *Example {
	if len(t.Items) == 0 {
		return nil
	}
	it := &t.Items[0]
	switch {
	case it.Ask != nil && len(it.Ask.Messages) == 0:
		return &Example{Context: it.Ask.Prompt}
	case len(it.Rolling) > 0:
		return &Example{Continuations: it.Rolling}
	case len(it.Scores) == 0:
		return nil
	}
	e := &Example{Context: it.Scores[0].Context}
	for _, s := range it.Scores {
		e.Continuations = append(e.Continuations, s.Continuation)
	}
	return e
}

// Artifact makes the artifact of a result.
func (r *Result) Artifact(id eval.Identity, opt *Options) (*eval.Artifact, error) {
	t := r.Task
	a := eval.NewArtifact(t.Name, id, opt.Leo)
	a.TaskVersion, a.Config, a.Inputs, a.Complete, a.Counts, a.Seconds = t.Version, opt.Config, t.Inputs, r.Complete(), r.Counts.asMap(), r.Seconds
	for _, n := range r.Numbers {
		a.Add(n.metric("", t.Rows-len(t.Faults)))
	}
	return a, setDetails(a, Details{Shots: t.Shots, Rows: t.Rows, Digest: t.Digest(), Faults: t.Faults, First: t.Example(), Notes: t.Notes})
}

func setDetails(a *eval.Artifact, d Details) error {
	data, err := json.Marshal(d)
	a.Details = data
	return err
}

// metric is the number in an artifact.
func (n *Number) metric(group string, of int) eval.Metric {
	m := eval.Metric{Name: n.Name, Group: group, Value: n.Value, StdErr: n.StdErr, N: n.N, Lower: n.Lower, Text: n.Note}
	if of != n.N {
		m.Of = of
	}
	switch n.Aggregation {
	case Mean:
		m.Unit = "mean"
	case BitsPerByte:
		m.Unit = "bits"
	default:
		m.Unit = n.Aggregation.String()
	}
	return m
}

// Write writes records and artifact of each result into a folder: NAME.jsonl and NAME.json, and for each group one more
// artifact with the means of its parts. Records of equal runs have the same bytes.
func Write(results []*Result, id eval.Identity, opt *Options) error {
	for _, r := range results {
		name := r.Task.Name + ".jsonl"
		if err := durable.WriteTo(filepath.Join(opt.Dir, name), func(w io.Writer) error { return WriteRecords(w, r.Records) }); err != nil {
			return err
		}
		a, err := r.Artifact(id, opt)
		if err != nil {
			return err
		}
		if err := a.AddRaw(opt.Dir, name); err != nil {
			return err
		}
		if err := a.WriteFile(filepath.Join(opt.Dir, r.Task.Name+".json")); err != nil {
			return err
		}
	}
	for _, g := range Groups(results, opt.MeanOfErrors) {
		a, err := g.artifact(id, opt)
		if err != nil {
			return err
		}
		if err := a.WriteFile(filepath.Join(opt.Dir, g.Name+".json")); err != nil {
			return err
		}
	}
	return nil
}

// WriteRecords writes records, a line each.
func WriteRecords(w io.Writer, rs []Record) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range rs {
		if err := enc.Encode(&rs[i]); err != nil {
			return err
		}
	}
	return nil
}

// ReadRecords reads what WriteRecords wrote.
func ReadRecords(path string) ([]Record, error) {
	var out []Record
	err := EachRecord(path, func(r *Record) error {
		out = append(out, *r)
		return nil
	})
	return out, err
}

// EachRecord reads what WriteRecords wrote, one record after the other, until each returns an error.
func EachRecord(path string, each func(r *Record) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for dec, row := json.NewDecoder(f), 1; ; row++ {
		var r Record
		switch err := dec.Decode(&r); {
		case err == io.EOF:
			return nil
		case err != nil:
			return &RecordsError{Path: path, Row: row, Err: err}
		}
		if err := each(&r); err != nil {
			return err
		}
	}
}

// RecordsError says that a file is none of records.
type RecordsError struct {
	Path string
	Row  int
	Err  error
}

func (e *RecordsError) Error() string {
	return fmt.Sprintf("%s: no file of single results: entry %d: %v", e.Path, e.Row, e.Err)
}

// Unwrap returns what is wrong.
func (e *RecordsError) Unwrap() error { return e.Err }
