// Package translate runs fields of a dataset through a chat endpoint and checks what comes back.
//
// It owns: what is asked, what a translation must keep, and the files of answers and doubts.
// It does not own: reading rows (package rows), or requests and their journal (internal/llmclient).
package translate

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"leolm/dataset/rows"
	"leolm/internal/durable"
	"leolm/internal/llmclient"
)

// Translation is a run of a dataset's fields through a chat endpoint, the way
// LeoLM's German datasets were made.
type Translation struct {
	Input   string   // a file of rows
	Output  string   // a JSONL file; OUTPUT.journal keeps the answers, OUTPUT.problems.jsonl lists doubts
	Fields  []string // paths of text fields: "output", "turns[].text"
	Suffix  string   // appended to a translated field's name; empty: translated in place
	System  string   // system message; may be empty
	Prompt  string   // user message with {text} where the text goes; {field} names the field
	Limit   int      // only so many rows; 0: all
	Options rows.Options

	Endpoint    Endpoint
	Temperature *float64 // of sampling; nil: the server's
	MaxTokens   int      // limit of an answer; 0: the server's

	Concurrency int // requests at a time; 0: 8
	Tries       int // times a text is asked for while its checks fail; 0: 1
	Price       Price
	Budget      float64 // ends the run when the cost exceeds it; 0: no limit

	// Done is told about every finished text, one at a time; may be nil.
	Done func(finished, total int)
	// Log is told about repeated attempts; may be nil.
	Log func(format string, args ...any)

	pause time.Duration // before the second attempt; 0: a second
}

// Endpoint is a chat endpoint as OpenAI's.
type Endpoint struct {
	URL   string // up to /chat/completions, as "http://127.0.0.1:8080/v1"
	Key   string // bearer token; "" for none
	Model string // to ask for; may be empty where a server has one only
}

// Price is the cost of a million tokens.
type Price struct{ Prompt, Completion float64 }

// Usage counts tokens as the server reports them.
type Usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
}

// Of is the price of a number of tokens.
func (p Price) Of(u Usage) float64 { return llmclient.Price(p).Cost(llmclient.Usage(u)) }

// Estimate is what a translation would send.
type Estimate struct {
	Rows     int     `json:"rows"`
	Requests int     `json:"requests"`
	Chars    int64   `json:"chars"`             // of the texts
	Prompt   int64   `json:"prompt_tokens"`     // at 3.5 characters a token
	Answer   int64   `json:"completion_tokens"` // as long as the texts plus a fifth: German runs longer
	Cost     float64 `json:"cost"`
}

// Result is what came of it.
type Result struct {
	Rows     int     `json:"rows"`
	Requests int     `json:"requests"`
	Problems int     `json:"problems"`
	Usage    Usage   `json:"usage"`
	Cost     float64 `json:"cost"`
}

// Validate checks the run before anything is sent.
func (t *Translation) Validate() error {
	if strings.Count(t.Prompt, "{text}") != 1 {
		return fmt.Errorf("the prompt must contain {text} exactly once: that is where the text goes")
	}
	if len(t.Fields) == 0 {
		return errors.New("no fields to translate are named")
	}
	return nil
}

// at calls f with every text a path leads to. Paths are names joined by dots;
// a name followed by [] means every item of the list.
func at(row *rows.Row, v *rows.Value, path, done string, f func(where string, text *rows.Value, parent *rows.Value) error) error {
	name, rest, more := strings.Cut(path, ".")
	name, list := strings.CutSuffix(name, "[]")
	field, ok := v.Get(name)
	where := strings.TrimPrefix(done+"."+name, ".")
	if !ok {
		return row.Errorf(where, "the field is missing; there are %s", strings.Join(v.Names, ", "))
	}
	if !list {
		if more {
			return at(row, field, rest, where, f)
		}
		if field.Kind == rows.Null {
			return nil
		}
		if field.Kind != rows.String {
			return row.Errorf(where, "want text, found %s", field.Kind)
		}
		return f(where, field, v)
	}
	if field.Kind != rows.List {
		return row.Errorf(where, "want a list, found %s", field.Kind)
	}
	for i := range field.Items {
		item := &field.Items[i]
		here := fmt.Sprintf("%s[%d]", where, i)
		if more {
			if err := at(row, item, rest, here, f); err != nil {
				return err
			}
			continue
		}
		if item.Kind != rows.String {
			return row.Errorf(here, "want text, found %s", item.Kind)
		}
		if err := f(here, item, nil); err != nil {
			return err
		}
	}
	return nil
}

// texts calls f with every text of every row that is to be translated.
func (t *Translation) texts(perRow func(row *rows.Row, v *rows.Value) error, perText func(row *rows.Row, id string, text *rows.Value, parent *rows.Value) error) error {
	r, err := rows.Open(t.Input, t.Options)
	if err != nil {
		return err
	}
	defer r.Close()
	n := 0
	err = rows.Each(r, func(row *rows.Row) error {
		if t.Limit > 0 && n >= t.Limit {
			return io.EOF
		}
		n++
		v, err := row.Value()
		if err != nil {
			return err
		}
		if err := row.Object(&v); err != nil {
			return err
		}
		for _, path := range t.Fields {
			if err := at(row, &v, path, "", func(where string, text, parent *rows.Value) error {
				if strings.TrimSpace(text.Text) == "" {
					return nil
				}
				return perText(row, fmt.Sprintf("%d:%s", row.Number, where), text, parent)
			}); err != nil {
				return err
			}
		}
		return perRow(row, &v)
	})
	if err == io.EOF {
		err = nil
	}
	return err
}

func (t *Translation) request(id, text string) llmclient.Request {
	_, field, _ := strings.Cut(id, ":")
	req := llmclient.Request{Temperature: t.Temperature, MaxTokens: t.MaxTokens}
	if t.System != "" {
		req.Messages = append(req.Messages, llmclient.Message{Role: "system", Content: t.System})
	}
	// The text goes in last, so that a "{field}" inside it stays.
	before, after, _ := strings.Cut(t.Prompt, "{text}")
	name := strings.NewReplacer("{field}", field)
	req.Messages = append(req.Messages, llmclient.Message{Role: "user", Content: name.Replace(before) + text + name.Replace(after)})
	return req
}

// batch sends the requests.
func (t *Translation) batch() *llmclient.Batch {
	b := &llmclient.Batch{
		Client:      &llmclient.Client{BaseURL: t.Endpoint.URL, Key: t.Endpoint.Key, Model: t.Endpoint.Model, Pause: t.pause, Log: t.Log},
		Journal:     t.Output + ".journal",
		Concurrency: t.Concurrency,
		Tries:       t.Tries,
		Price:       llmclient.Price(t.Price),
		Budget:      t.Budget,
	}
	if t.Done != nil {
		b.Done = func(_ llmclient.Result, finished, total int) { t.Done(finished, total) }
	}
	return b
}

// Estimate counts without sending anything.
func (t *Translation) Estimate() (*Estimate, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	e := &Estimate{}
	frame := int64(len([]rune(t.System)) + len([]rune(t.Prompt)))
	err := t.texts(func(*rows.Row, *rows.Value) error { e.Rows++; return nil }, func(_ *rows.Row, _ string, text, _ *rows.Value) error {
		e.Requests++
		n := int64(len([]rune(text.Text)))
		e.Chars += n
		e.Prompt += int64(float64(frame+n) / 3.5)
		e.Answer += int64(float64(n) * 1.2 / 3.5)
		return nil
	})
	e.Cost = t.Price.Of(Usage{Prompt: e.Prompt, Completion: e.Answer})
	return e, err
}

// Run translates, and writes the output when every text is done.
func (t *Translation) Run(ctx context.Context) (*Result, error) {
	if err := t.Validate(); err != nil {
		return nil, err
	}
	var jobs []llmclient.Job
	res := &Result{}
	err := t.texts(func(*rows.Row, *rows.Value) error { res.Rows++; return nil }, func(_ *rows.Row, id string, text, _ *rows.Value) error {
		source := text.Text
		jobs = append(jobs, llmclient.Job{ID: id, Request: t.request(id, source), Check: func(r llmclient.Response) error {
			return checkTranslation(source, strings.TrimSpace(r.Text), r.Finish)
		}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	res.Requests = len(jobs)
	batch := t.batch()
	results, err := batch.Run(ctx, jobs)
	if err != nil {
		return nil, fmt.Errorf("%w (the same translation, run again, goes on from %s)", err, batch.Journal)
	}
	if err := t.write(results, res); err != nil {
		return nil, err
	}
	usage, _ := batch.Usage()
	res.Usage = Usage(usage)
	res.Cost = t.Price.Of(res.Usage)
	return res, nil
}

// write writes the translated rows, and the list of answers that failed their checks.
func (t *Translation) write(results map[string]llmclient.Result, res *Result) error {
	problems, err := durable.Create(t.Output + ".problems.jsonl")
	if err != nil {
		return err
	}
	defer problems.Abort()
	list := bufio.NewWriter(problems)
	err = durable.WriteTo(t.Output, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<20)
		var line []byte
		type added struct {
			parent *rows.Value
			name   string
			text   string
		}
		var adds []added
		err := t.texts(func(row *rows.Row, v *rows.Value) error {
			for _, a := range adds {
				a.parent.Names = append(slices.Clip(a.parent.Names), a.name)
				a.parent.Items = append(a.parent.Items, rows.Value{Kind: rows.String, Text: a.text})
			}
			adds = adds[:0]
			line = append(v.AppendJSON(line[:0]), '\n')
			_, err := out.Write(line)
			return err
		}, func(row *rows.Row, id string, text, parent *rows.Value) error {
			r := results[id]
			got := strings.TrimSpace(r.Response.Text)
			if r.Problem != "" {
				res.Problems++
				if err := writeProblem(list, row, id, r.Problem, text.Text, got); err != nil {
					return err
				}
			}
			if t.Suffix == "" || parent == nil {
				text.Text = got
				return nil
			}
			name := id[strings.LastIndexAny(id, ".:")+1:]
			adds = append(adds, added{parent, name + t.Suffix, got})
			return nil
		})
		if err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		return err
	}
	if err := list.Flush(); err != nil {
		return err
	}
	return problems.Commit()
}

// writeProblem lists an answer that failed its checks.
func writeProblem(list io.Writer, row *rows.Row, id, problem, source, answer string) error {
	_, field, _ := strings.Cut(id, ":") // ids are row:field
	b, err := json.Marshal(struct {
		Row     int64  `json:"row"`
		Field   string `json:"field"`
		Problem string `json:"problem"`
		Source  string `json:"source"`
		Answer  string `json:"answer"`
	}{row.Number, field, problem, source, answer})
	if err != nil {
		return err
	}
	_, err = list.Write(append(b, '\n'))
	return err
}

var (
	fencedCode  = regexp.MustCompile("(?s)```[^\n]*\n(.*?)```")
	inlineCode  = regexp.MustCompile("`[^`\n]+`")
	placeholder = regexp.MustCompile(`\{\{?[A-Za-z_][A-Za-z0-9_]*\}?\}|%[sdf]\b|%\([A-Za-z_]+\)s|\$\{[A-Za-z_]+\}|<[A-Z_]{2,}>|https?://[^\s)>"']+`)
	number      = regexp.MustCompile(`\d+(?:[.,'\x{202f}\x{00a0} ]\d{3})*(?:[.,]\d+)?`)
	preamble    = regexp.MustCompile(`(?i)^(hier ist|hier die|sure[,!]|here is|certainly|gerne[,!]|übersetzung:|translation:)`)
)

// checkTranslation tells what of a source did not survive its translation.
func checkTranslation(source, got, finish string) error {
	if got == "" {
		return errors.New("the answer is empty")
	}
	if finish == "length" {
		return errors.New("the answer was cut off (finish_reason length): raise the limit of tokens")
	}
	if mark := preamble.FindString(got); mark != "" && !preamble.MatchString(source) {
		return fmt.Errorf("the answer begins with %q: talk around the translation", mark)
	}
	if ratio := float64(len(got)) / float64(len(source)); len(source) > 80 && (ratio < 0.5 || ratio > 2.5) {
		return fmt.Errorf("the answer has %.1f times the length of the source", ratio)
	}
	// Code is compared without comments: those may be translated.
	a, b := codeBlocks(source), codeBlocks(got)
	if len(a) != len(b) {
		return fmt.Errorf("%d code blocks became %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			return fmt.Errorf("code block %d was changed", i+1)
		}
	}
	source, got = fencedCode.ReplaceAllString(source, ""), fencedCode.ReplaceAllString(got, "")
	if missing := lost(inlineCode.FindAllString(source, -1), inlineCode.FindAllString(got, -1)); missing != "" {
		return fmt.Errorf("the code %s is missing", missing)
	}
	if missing := lost(placeholder.FindAllString(source, -1), placeholder.FindAllString(got, -1)); missing != "" {
		return fmt.Errorf("the placeholder or address %s is missing", missing)
	}
	if missing := lost(numbers(source), numbers(got)); missing != "" {
		return fmt.Errorf("the number %s is missing", missing)
	}
	return nil
}

// codeBlocks are the fenced blocks without comment lines and spaces at ends.
func codeBlocks(text string) []string {
	var out []string
	for _, m := range fencedCode.FindAllStringSubmatch(text, -1) {
		var keep []string
		for l := range strings.Lines(m[1]) {
			l = strings.TrimSpace(l)
			if i := strings.Index(l, "# "); i >= 0 {
				l = strings.TrimSpace(l[:i])
			}
			if i := strings.Index(l, "// "); i >= 0 {
				l = strings.TrimSpace(l[:i])
			}
			if l != "" {
				keep = append(keep, l)
			}
		}
		out = append(out, strings.Join(keep, "\n"))
	}
	return out
}

// numbers are the numbers of a text in a form that English and German share:
// digits only, so that 1,234.5 equals 1.234,5. Numbers of one digit are often
// written out and do not count.
func numbers(text string) []string {
	var out []string
	for _, n := range number.FindAllString(text, -1) {
		digits := strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, n)
		if len(digits) > 1 {
			out = append(out, digits)
		}
	}
	return out
}

// lost is the first entry of want that got has fewer of, or "".
func lost(want, got []string) string {
	count := map[string]int{}
	for _, x := range got {
		count[x]++
	}
	for _, x := range want {
		if count[x]--; count[x] < 0 {
			return x
		}
	}
	return ""
}
