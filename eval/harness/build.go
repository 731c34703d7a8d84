package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"leolm/eval"
	"leolm/internal/pynum"
)

// BuildOptions choose how a task file is asked.
type BuildOptions struct {
	// Shots is the number of examples before each document; nil: the file's own. A file with 0 keeps it.
	Shots *int
	Limit int
	// Seed draws the examples; lm-evaluation-harness' is DefaultSeed.
	Seed int64
	// Progress is told about downloads: how many bytes of a file are there, of how many (-1: unknown). It may be nil.
	Progress func(file string, done, total int64)
}

// DefaultSeed is the seed of lm-evaluation-harness for examples.
const DefaultSeed = 1234

// builder makes a task of a file and its rows.
type builder struct {
	c                                 *Config
	opt                               *BuildOptions
	text, target, choice, description *part
	prefix                            *part
	shotText, shotTarget, shotChoice  *part
	shots                             int
	pool                              []Row
	leaveOut                          bool // the document itself from the examples
	rnd                               *pynum.Random
	filters                           []*filter
	metrics                           []metricFunc
	task                              *Task
}

// Build reads the data of a task file and writes its documents out.
func (c *Config) Build(ctx context.Context, opt BuildOptions) (*Task, error) {
	b := &builder{c: c, opt: &opt, rnd: pynum.NewRandom(opt.Seed), task: &Task{Name: c.Task, Version: c.Version, Notes: slices.Clone(c.Notes)}}
	if err := b.parts(); err != nil {
		return nil, err
	}
	if err := b.chooseShots(); err != nil {
		return nil, err
	}
	asked, err := b.load(ctx)
	if err != nil {
		return nil, err
	}
	t := b.task
	t.Rows = len(asked)
	for i := range asked {
		if opt.Limit > 0 && i >= opt.Limit {
			t.Limited = true
			break
		}
		it, err := b.item(&asked[i], i)
		if err != nil {
			var few *FewExamplesError
			if errors.As(err, &few) {
				return nil, err
			}
			t.Faults = append(t.Faults, Fault{asked[i].String(), err.Error()})
			continue
		}
		t.Items = append(t.Items, *it)
	}
	if len(t.Items) == 0 {
		why := "its data has no rows"
		if len(t.Faults) > 0 {
			why = fmt.Sprintf("none of its %d rows can be used; %s: %s", len(t.Faults), t.Faults[0].Row, t.Faults[0].Why)
		}
		return nil, &ConfigError{File: c.Path, Why: why}
	}
	return t, nil
}

// parts parses the templates.
func (b *builder) parts() (err error) {
	c := b.c
	for _, p := range []struct {
		to  **part
		key string
		f   *Field
	}{
		{&b.text, "doc_to_text", c.Text}, {&b.target, "doc_to_target", c.Target}, {&b.choice, "doc_to_choice", c.Choice},
		{&b.description, "description", &Field{Source: c.Description}}, {&b.prefix, "gen_prefix", &Field{Source: c.GenPrefix}},
		{&b.shotText, "fewshot_config.doc_to_text", c.FewshotText}, {&b.shotTarget, "fewshot_config.doc_to_target", c.FewshotTarget},
		{&b.shotChoice, "fewshot_config.doc_to_choice", c.FewshotChoice},
	} {
		if *p.to, err = c.newPart(p.key, p.f); err != nil {
			return err
		}
	}
	for _, d := range []struct{ to, from **part }{{&b.shotText, &b.text}, {&b.shotTarget, &b.target}, {&b.shotChoice, &b.choice}} {
		if *d.to == nil {
			*d.to = *d.from
		}
	}
	if b.filters, err = c.filters(); err != nil {
		return err
	}
	return b.chooseMetrics()
}

// chooseShots settles how many examples there are.
func (b *builder) chooseShots() error {
	if b.c.NumFewshot != nil {
		b.shots = *b.c.NumFewshot
	}
	if b.opt.Shots != nil {
		if b.c.NumFewshot != nil && b.shots == 0 && *b.opt.Shots > 0 {
			b.task.Notes = append(b.task.Notes, "num_fewshot is 0 in the task file and stays so")
		} else {
			b.shots = *b.opt.Shots
		}
	}
	if b.c.OutputType == "loglikelihood_rolling" && b.shots > 0 {
		return &ConfigError{File: b.c.Path, Key: "num_fewshot", Why: "whole texts are scored without examples"}
	}
	b.task.Shots = b.shots
	return nil
}

// load reads the documents and the examples.
func (b *builder) load(ctx context.Context) ([]Row, error) {
	c := b.c
	splits, err := c.splits(ctx, b.opt.Progress)
	if err != nil {
		return nil, err
	}
	read := func(split string) ([]Row, error) {
		if len(splits.Files[split]) == 0 {
			return nil, &NoDataError{Task: c.Task, Where: splits.Name, Wanted: "split " + split}
		}
		return splits.Read(ctx, split)
	}
	split := c.TestSplit
	if split == "" {
		split = c.ValidationSplit
	}
	asked, err := read(split)
	if err != nil {
		return nil, err
	}
	b.task.Inputs = append(b.task.Inputs, Input("data", splits.Name+" "+split, asked))
	if b.shots == 0 {
		return asked, nil
	}
	b.leaveOut = c.FewshotSplit == c.TestSplit
	from := c.FewshotSplit
	for _, s := range []string{c.TrainingSplit, c.ValidationSplit, c.TestSplit} {
		if from == "" && len(c.Samples) == 0 {
			from = s
		}
	}
	if from == "" {
		for i, s := range c.Samples {
			b.pool = append(b.pool, Row{File: filepath.Base(c.Path) + " samples", Number: int64(i + 1), Value: s})
		}
	} else if b.pool, err = read(from); err != nil {
		return nil, err
	}
	b.task.Inputs = append(b.task.Inputs, Input("examples", splits.Name+" "+from, b.pool))
	return asked, nil
}

// examples draws those before a document as lm-evaluation-harness does: from one stream of random numbers for all
// documents in their order.
func (b *builder) examples(row *Row) ([]Row, error) {
	hash := ""
	if b.leaveOut {
		hash = row.Hash()
	}
	others := func(rs []Row) []Row {
		return slices.DeleteFunc(rs, func(r Row) bool { return hash != "" && r.Hash() == hash })
	}
	few := func(need int) error { return &FewExamplesError{b.c.Task, b.shots, len(b.pool), need} }
	if b.c.Sampler == "first_n" {
		out := others(slices.Clone(b.pool[:min(len(b.pool), b.shots+1)]))
		if len(out) < b.shots {
			out = others(slices.Clone(b.pool))
		}
		if len(out) < b.shots {
			return nil, few(b.shots)
		}
		return out[:b.shots], nil
	}
	draw := func(pool []Row, n int) ([]Row, error) {
		if len(pool) < n {
			return nil, few(n)
		}
		var out []Row
		for _, i := range b.rnd.Sample(len(pool), n) {
			out = append(out, pool[i])
		}
		return out, nil
	}
	if hash == "" {
		return draw(b.pool, b.shots)
	}
	out, err := draw(b.pool, b.shots+1)
	if err != nil {
		return nil, err
	}
	if out = others(out); len(out) < b.shots {
		return draw(others(slices.Clone(b.pool)), b.shots)
	}
	return out[:b.shots], nil
}

// FewExamplesError says that there are not enough rows to take examples from.
type FewExamplesError struct {
	Task       string
	Shots      int
	Have, Need int // rows
}

func (e *FewExamplesError) Error() string {
	return fmt.Sprintf("%s: %d examples before each document need %d rows to take them from, and there are %d", e.Task, e.Shots, e.Need, e.Have)
}

// context writes what a model reads before the answer.
func (b *builder) context(d *document, examples []Row) (string, error) {
	var out strings.Builder
	if b.c.Description != "" {
		s, err := b.description.text(d)
		if err != nil {
			return "", err
		}
		out.WriteString(s)
	}
	for i := range examples {
		if err := b.example(&out, &examples[i]); err != nil {
			return "", fmt.Errorf("the example %s: %w", &examples[i], err)
		}
	}
	q, err := b.text.text(d)
	if err != nil {
		return "", err
	}
	if b.choice != nil && q != "" && strings.Trim(q, "0123456789") == "" {
		return "", errors.New("doc_to_text is the number of a choice: choices inside the context are not supported")
	}
	out.WriteString(q)
	prefix, err := b.genPrefix(d)
	if err != nil {
		return "", err
	}
	if prefix != "" && open(q, prefix) {
		out.WriteString(b.c.TargetDelimiter)
	}
	out.WriteString(prefix)
	return out.String(), nil
}

func (b *builder) genPrefix(d *document) (string, error) {
	if b.c.GenPrefix == "" {
		return "", nil
	}
	return b.prefix.text(d)
}

// open reports whether two texts have no white space between them.
func open(before, after string) bool {
	last, _ := utf8.DecodeLastRuneInString(before)
	first, _ := utf8.DecodeRuneInString(after)
	return before != "" && after != "" && !unicode.IsSpace(last) && !unicode.IsSpace(first)
}

// example writes a row with its answer.
func (b *builder) example(out *strings.Builder, row *Row) error {
	d, err := newDocument(row)
	if err != nil {
		return err
	}
	q, err := b.shotText.text(d)
	if err != nil {
		return err
	}
	var choices []string
	if b.shotChoice != nil {
		if choices, err = b.shotChoice.choices(d); err != nil {
			return err
		}
	}
	t, err := b.shotTarget.target(d)
	if err != nil {
		return err
	}
	answer, err := t.answer(choices)
	if err != nil {
		return err
	}
	prefix, err := b.genPrefix(d)
	if err != nil {
		return err
	}
	delimiter, end := b.c.TargetDelimiter, b.c.FewshotDelimiter
	if b.c.fewshotTargetDelimiter != nil {
		delimiter = *b.c.fewshotTargetDelimiter
	}
	if b.c.fewshotFewshotDelim != nil {
		end = *b.c.fewshotFewshotDelim
	}
	out.WriteString(q)
	if prefix == "" || open(q, prefix) {
		out.WriteString(delimiter)
	}
	out.WriteString(prefix)
	if open(prefix, answer) {
		out.WriteString(" ")
	}
	out.WriteString(answer + end)
	return nil
}

var spaces = regexp.MustCompile(`[ \t\n\v\f\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+`)

// countWords counts as lm-evaluation-harness does: what stands between white space, empty ends included.
func countWords(text string) int { return len(spaces.Split(text, -1)) }

// item writes one document out.
func (b *builder) item(row *Row, i int) (*Item, error) {
	examples := []Row(nil)
	var err error
	if b.shots > 0 { // also before a faulty row: the drawing of the others must not move
		if examples, err = b.examples(row); err != nil {
			return nil, err
		}
	}
	d, err := newDocument(row)
	if err != nil {
		return nil, err
	}
	it := &Item{Doc: i, Row: row.String(), Hash: row.Hash()}
	want, err := b.target.target(d)
	if err != nil {
		return nil, err
	}
	if b.c.OutputType == "loglikelihood_rolling" {
		return it, b.rolling(it, &want)
	}
	context, err := b.context(d, examples)
	if err != nil {
		return nil, err
	}
	if it.Question, err = b.text.text(d); err != nil {
		return nil, err
	}
	var choices []string
	if b.choice != nil {
		if choices, err = b.choice.choices(d); err != nil {
			return nil, err
		}
	}
	switch b.c.OutputType {
	case "multiple_choice":
		return it, b.multipleChoice(it, context, choices, &want)
	case "loglikelihood":
		return it, b.likelihood(it, context, &want)
	}
	return it, b.generate(it, context, choices, &want)
}

// splits finds the data.
func (c *Config) splits(ctx context.Context, progress func(file string, done, total int64)) (*Splits, error) {
	if len(c.DataFiles) > 0 {
		s := &Splits{Name: filepath.Base(c.Path), Files: map[string][]Candidate{}}
		for split, names := range c.DataFiles {
			for _, name := range names {
				s.Files[split] = append(s.Files[split], Candidate{name, c.find(name)})
			}
		}
		return s, nil
	}
	dir := c.DataDir
	if dir == "" {
		if info, err := os.Stat(c.find(c.DatasetPath)); err == nil && info.IsDir() {
			dir = c.DatasetPath
		}
	}
	var files []Candidate
	var err error
	name := dir
	if dir != "" {
		files, err = FolderFiles(c.find(dir))
	} else {
		var commit string
		files, commit, err = HubFiles(ctx, c.DatasetPath, progress)
		name = c.DatasetPath + "@" + commit
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Task, err)
	}
	if c.DatasetName != "" {
		files = slices.DeleteFunc(files, func(f Candidate) bool {
			return !strings.Contains("/"+strings.Join(words(f.Name), "/")+"/", "/"+strings.Join(words(c.DatasetName), "/")+"/")
		})
	}
	return SplitFiles(name, files)
}

// find is the path of a file that a task file names: from the working folder, else from the task file's.
func (c *Config) find(name string) string {
	if _, err := os.Stat(name); err == nil || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.Path), name)
}

// ask makes the request of a document whose answer is generated.
func (c *Config) ask(context string, i int) *eval.Request {
	return &eval.Request{
		ID: fmt.Sprintf("%s/%d", c.Task, i), Prompt: context, Standing: true, Temperature: c.Generation.Temperature, MaxNewTokens: c.Generation.MaxTokens, Stops: c.Generation.Until,
	}
}
