// Package suite owns suites: prompts with properties that their answers must
// have (language, refusal, regular expression, JSON schema, length, exact or
// numeric answer), as a release pipeline asks them. It makes a task of a file; how
// a task is run and kept is package harness' business.
package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"leolm/chat"
	"leolm/dataset/rows"
	"leolm/eval"
	"leolm/eval/harness"
	"leolm/internal/jinja"
)

// Options say how a file is read and how its prompts are asked.
type Options struct {
	// Prompt and Expect are templates over the columns of a row, for files that have neither a prompt nor expectations of
	// their own: Expect makes the JSON object of the expectations.
	Prompt, Expect string
	Columns        []string // of CSV and TSV files without a header
	Limit          int
	MaxNewTokens   int     // of prompts that say nothing; 0: 512
	Temperature    float64 // likewise
	System         string  // a system message before every prompt; "" for none
	Plain          bool    // prompts are continued as they stand, without a chat template
}

// prompt is a row of a suite.
type prompt struct {
	ID           string
	Category     string
	Prompt       string
	Messages     []chat.Message
	MaxNewTokens int
	Temperature  *float64
	Expect       *Expect
}

// Load reads a suite.
func Load(ctx context.Context, path string, opt Options) (*harness.Task, error) {
	rs, err := readRows(ctx, path, opt.Columns)
	if err != nil {
		return nil, err
	}
	r := &reader{opt: &opt}
	if r.prompt, err = template("the template of prompts", opt.Prompt); err != nil {
		return nil, err
	}
	if r.expect, err = template("the template of expectations", opt.Expect); err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	t := &harness.Task{Name: name, Version: "suite-1", Rows: len(rs), Inputs: []eval.Input{harness.Input("suite", filepath.Base(path), rs)}}
	metrics := []string{Passed}
	ids := map[string]string{}
	for i := range rs {
		if opt.Limit > 0 && i >= opt.Limit {
			t.Limited = true
			break
		}
		p, err := r.read(&rs[i])
		if err == nil && p.ID != "" && ids[p.ID] != "" {
			err = fmt.Errorf("the id %q is that of %s too", p.ID, ids[p.ID])
		}
		if err != nil {
			t.Faults = append(t.Faults, harness.Fault{Row: rs[i].String(), Why: err.Error()})
			continue
		}
		ids[p.ID] = rs[i].String()
		it := p.item(&rs[i], i, &opt)
		t.Items = append(t.Items, it)
		for _, m := range p.metrics() {
			if !slices.Contains(metrics, m) {
				metrics = append(metrics, m)
			}
		}
	}
	if len(t.Items) == 0 {
		if len(t.Faults) > 0 {
			return nil, fmt.Errorf("%s: no row can be asked; %s: %s", path, t.Faults[0].Row, t.Faults[0].Why)
		}
		return nil, fmt.Errorf("%s: no prompts", path)
	}
	slices.Sort(metrics[1:])
	for _, m := range metrics {
		t.Metrics = append(t.Metrics, harness.Metric{Name: m})
	}
	return t, nil
}

// readRows reads the rows of a file.
func readRows(ctx context.Context, path string, columns []string) ([]harness.Row, error) {
	r, err := rows.Open(path, rows.Options{Columns: columns})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []harness.Row
	err = rows.Each(r, func(row *rows.Row) error {
		if len(out) >= maxPrompts {
			return row.Errorf("", "more than %d prompts: too many for a suite", maxPrompts)
		}
		v, err := row.Value()
		if err == nil {
			err = row.Object(&v)
		}
		out = append(out, harness.Row{File: filepath.Base(path), Number: row.Number, Value: v, Err: err})
		return ctx.Err()
	})
	return out, err
}

// maxPrompts bounds a suite.
const maxPrompts = 1 << 20

func template(what, source string) (*jinja.Template, error) {
	if source == "" {
		return nil, nil
	}
	t, err := jinja.ParseText(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return t, nil
}

// reader reads rows.
type reader struct {
	opt            *Options
	prompt, expect *jinja.Template
}

// columnsOf are those of a suite's own rows.
var columnsOf = []string{"id", "category", "prompt", "messages", "expect", "max_new_tokens", "temperature"}

// read reads a row.
func (r *reader) read(row *harness.Row) (*prompt, error) {
	if row.Err != nil {
		return nil, row.Err
	}
	p := &prompt{MaxNewTokens: r.opt.MaxNewTokens}
	expect, err := r.columns(row, p)
	if err != nil {
		return nil, err
	}
	if r.prompt != nil {
		if p.Prompt, err = render(r.prompt, row); err != nil {
			return nil, err
		}
		p.Messages = nil
	}
	if r.expect != nil {
		s, err := render(r.expect, row)
		if err != nil {
			return nil, err
		}
		expect = []byte(s)
	}
	if p.Prompt == "" && len(p.Messages) == 0 {
		return nil, errors.New("no prompt and no messages")
	}
	if len(expect) == 0 {
		return nil, errors.New("column expect is missing: nothing is expected of the answer")
	}
	if p.MaxNewTokens < 0 || p.Temperature != nil && !(*p.Temperature >= 0) {
		return nil, errors.New("max_new_tokens and temperature must not be negative")
	}
	p.Expect, err = ParseExpect(expect)
	return p, err
}

// columns fills a prompt from the columns of its row, and returns what is expected.
func (r *reader) columns(row *harness.Row, p *prompt) (expect []byte, err error) {
	for i, name := range row.Value.Names {
		v := &row.Value.Items[i]
		var err error
		switch name {
		case "id":
			p.ID = v.Text
		case "category":
			p.Category = v.Text
		case "prompt":
			p.Prompt = v.Text
		case "messages":
			p.Messages, err = messages(v)
		case "max_new_tokens":
			err = json.Unmarshal([]byte(v.Text), &p.MaxNewTokens)
		case "temperature":
			err = json.Unmarshal([]byte(v.Text), &p.Temperature)
		case "expect":
			expect = v.AppendJSON(nil)
			if v.Kind == rows.String { // CSV has no objects
				expect = []byte(v.Text)
			}
		default:
			if r.prompt == nil {
				err = fmt.Errorf("unknown; a suite's rows have %s", strings.Join(columnsOf, ", "))
			}
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", name, err)
		}
	}
	return expect, nil
}

func render(t *jinja.Template, row *harness.Row) (string, error) {
	vars := map[string]jinja.Value{}
	for i, name := range row.Value.Names {
		v, err := jinja.FromJSON(row.Value.Items[i].AppendJSON(nil), 0)
		if err != nil {
			return "", fmt.Errorf("column %s: %w", name, err)
		}
		vars[name] = v
	}
	out, err := t.Render(vars, jinja.DefaultLimits, noTime)
	if err != nil {
		return "", err
	}
	return out.Text.S, nil
}

// messages reads a conversation.
func messages(v *rows.Value) ([]chat.Message, error) {
	var list []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	if err := json.Unmarshal(v.AppendJSON(nil), &list); err != nil {
		return nil, errors.New("want a list of objects with role and content")
	}
	var out []chat.Message
	for _, m := range list {
		role, err := chat.ParseRole(m.Role)
		if err != nil {
			return nil, err
		}
		out = append(out, chat.Message{Role: role, Content: m.Content})
	}
	return out, nil
}

// item makes the request of a prompt.
func (p *prompt) item(row *harness.Row, i int, opt *Options) harness.Item {
	req := &eval.Request{ID: p.ID, MaxNewTokens: p.MaxNewTokens, Temperature: opt.Temperature}
	if req.ID == "" {
		req.ID = fmt.Sprint(i + 1)
	}
	if req.MaxNewTokens == 0 {
		req.MaxNewTokens = 512
	}
	if p.Temperature != nil {
		req.Temperature = *p.Temperature
	}
	switch {
	case opt.Plain && len(p.Messages) == 0:
		req.Prompt = p.Prompt
	default:
		if opt.System != "" {
			req.Messages = append(req.Messages, chat.Message{Role: chat.System, Content: opt.System})
		}
		if req.Messages = append(req.Messages, p.Messages...); len(p.Messages) == 0 {
			req.Messages = append(req.Messages, chat.Message{Role: chat.User, Content: p.Prompt})
		}
	}
	question := p.Prompt
	if n := len(p.Messages); n > 0 {
		question = p.Messages[n-1].Content
	}
	return harness.Item{Doc: i, Row: row.String(), Hash: row.Hash(), Ask: req, Gold: p.Expect.raw, Question: question, Grade: p.grade}
}

// Passed is the metric of the prompts whose answers have all properties.
const Passed = "passed"

// metrics are those that the prompt counts for.
func (p *prompt) metrics() []string {
	out := []string{}
	for _, c := range p.Expect.checks {
		out = append(out, "expect/"+c.name)
	}
	if p.Category != "" {
		out = append(out, "category/"+p.Category)
	}
	return out
}

// grade checks an answer.
func (p *prompt) grade(o *harness.Outcome) (harness.Grade, error) {
	all, missed := true, []string{}
	g := harness.Grade{Values: map[string]harness.Value{}}
	value := func(ok bool) harness.Value {
		if ok {
			return harness.Value{Num: 1, Den: 1}
		}
		return harness.Value{Den: 1}
	}
	for _, c := range p.Expect.checks {
		why := c.check(&o.Answer)
		g.Values["expect/"+c.name] = value(why == "")
		if why != "" {
			all = false
			missed = append(missed, c.name+": "+why)
		}
	}
	g.Values[Passed] = value(all)
	if p.Category != "" {
		g.Values["category/"+p.Category] = value(all)
	}
	if !all {
		g.Picked = strings.Join(missed, "; ")
	}
	return g, nil
}
