package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"leolm/dataset/rows"
	"leolm/internal/bounded"
)

// Config is a task file in lm-evaluation-harness' vocabulary.
type Config struct {
	Path string // of the file

	Task                                        string
	DatasetPath, DatasetName                    string
	DataFiles                                   map[string][]string // by split
	DataDir                                     string
	TrainingSplit, ValidationSplit, TestSplit   string
	FewshotSplit                                string
	OutputType                                  string // multiple_choice, loglikelihood, loglikelihood_rolling, generate_until
	Text, Target, Choice                        *Field
	FewshotText, FewshotTarget, FewshotChoice   *Field // nil: as the documents
	Description, GenPrefix                      string
	TargetDelimiter, FewshotDelimiter           string
	NumFewshot                                  *int
	Sampler                                     string       // default, first_n
	Samples                                     []rows.Value // examples in the file itself
	Metrics                                     []MetricConfig
	Generation                                  Generation
	Filters                                     []FilterConfig
	Version                                     string
	Notes                                       []string
	fewshotTargetDelimiter, fewshotFewshotDelim *string
	untilGiven                                  bool
}

// Field is how a part of a document is made: the name of a column or a template, or a value for all of them.
type Field struct {
	Source string
	Number *int     // doc_to_target: 0
	List   []string // doc_to_choice: [ja, nein]
	Line   int
}

// MetricConfig is an entry of metric_list.
type MetricConfig struct {
	Name                                         string
	Aggregation                                  string // "": the metric's own
	Lower                                        *bool
	IgnoreCase, IgnorePunctuation, IgnoreNumbers bool
	RegexesToIgnore                              []string
	Line                                         int
}

// Generation are generation_kwargs.
type Generation struct {
	Until       []string
	MaxTokens   int
	Temperature float64
}

// FilterConfig is an entry of filter_list.
type FilterConfig struct {
	Name  string
	Steps []FilterStep
}

// FilterStep is one function of a filter.
type FilterStep struct {
	Function    string
	Pattern     string
	GroupSelect int
	Fallback    string
	Mapping     map[string]string
	Default     *string
	Line        int
}

// ConfigError is one thing that is wrong in a task file.
type ConfigError struct {
	File string
	Line int
	Key  string
	Why  string
}

func (e *ConfigError) Error() string {
	where := e.File
	if e.Line > 0 {
		where += ":" + strconv.Itoa(e.Line)
	}
	if e.Key == "" {
		return where + ": " + e.Why
	}
	return fmt.Sprintf("%s: %s: %s", where, e.Key, e.Why)
}

// maxTaskFile bounds a task file, in bytes; maxIncludes the files that include each other.
const (
	maxTaskFile = 4 << 20
	maxIncludes = 8
)

// ReadConfig reads a task file and those that it includes.
func ReadConfig(ctx context.Context, path string) (*Config, error) {
	c := &Config{Path: path, OutputType: "generate_until", TargetDelimiter: " ", FewshotDelimiter: "\n\n", Sampler: "default", DataFiles: map[string][]string{}}
	c.Generation.MaxTokens = 256
	if err := c.read(ctx, path, 0); err != nil {
		return nil, err
	}
	return c, c.check()
}

func (c *Config) read(ctx context.Context, path string, depth int) error {
	if depth > maxIncludes {
		return &ConfigError{File: path, Why: "task files include each other without end"}
	}
	data, err := bounded.File(ctx, path, maxTaskFile)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return &ConfigError{File: path, Why: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return &ConfigError{File: path, Why: "a task file has keys and values, such as task and doc_to_text"}
	}
	r := &configReader{c: c, file: path}
	root := doc.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		if k, v := root.Content[i], root.Content[i+1]; k.Value == "include" {
			for _, name := range r.texts("include", v) {
				if !filepath.IsAbs(name) {
					name = filepath.Join(filepath.Dir(path), name)
				}
				if err := c.read(ctx, name, depth+1); err != nil {
					return err
				}
			}
		}
	}
	r.pairs("", root, func(k string, v *yaml.Node) {
		if k != "include" {
			r.key(k, v)
		}
	})
	return r.err
}

// configReader fills a Config; the first error stays.
type configReader struct {
	c    *Config
	file string
	err  error
}

func (r *configReader) fail(n *yaml.Node, key, format string, args ...any) {
	if r.err == nil {
		r.err = &ConfigError{File: r.file, Line: n.Line, Key: key, Why: fmt.Sprintf(format, args...)}
	}
}

// pairs calls f for each key of a mapping.
func (r *configReader) pairs(key string, n *yaml.Node, f func(k string, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, key, "want keys and values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		if strings.HasPrefix(v.Tag, "!function") {
			r.fail(v, k.Value, "a function in Python cannot be run here; write a template")
			return
		}
		if seen[k.Value] {
			r.fail(k, k.Value, "is given twice")
		}
		seen[k.Value] = true
		f(k.Value, v)
	}
}

// text is a scalar as it was written, whatever YAML takes it for.
func (r *configReader) text(key string, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		r.fail(n, key, "want text")
		return ""
	}
	if n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// texts is a text or a list of them.
func (r *configReader) texts(key string, n *yaml.Node) []string {
	if n.Kind == yaml.ScalarNode {
		if n.Tag == "!!null" {
			return nil
		}
		return []string{n.Value}
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, key, "want text or a list of texts")
		return nil
	}
	var out []string
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		out = append(out, r.text(key, item))
	}
	return out
}

func (r *configReader) number(key string, n *yaml.Node) int {
	i, err := strconv.Atoi(r.text(key, n))
	if err != nil {
		r.fail(n, key, "%q is no whole number", n.Value)
	}
	return i
}

func (r *configReader) float(key string, n *yaml.Node) float64 {
	f, err := strconv.ParseFloat(r.text(key, n), 64)
	if err != nil {
		r.fail(n, key, "%q is no number", n.Value)
	}
	return f
}

func (r *configReader) truth(key string, n *yaml.Node) bool {
	switch strings.ToLower(r.text(key, n)) {
	case "true", "yes", "on":
		return true
	case "false", "no", "off":
		return false
	}
	r.fail(n, key, "%q is neither true nor false", n.Value)
	return false
}

// field reads doc_to_text, doc_to_target or doc_to_choice.
func (r *configReader) field(key string, n *yaml.Node) *Field {
	f := &Field{Line: n.Line}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return nil
		}
		f.Source = n.Value
		if i, err := strconv.Atoi(n.Value); err == nil && n.Tag == "!!int" {
			f.Number = &i
		}
	case yaml.SequenceNode:
		f.List = r.texts(key, n)
	case yaml.MappingNode: // the values count, in their order
		r.pairs(key, n, func(_ string, v *yaml.Node) { f.List = append(f.List, r.text(key, v)) })
	}
	return f
}

// ignoredKeys are those that change nothing here, with what is said about it; "" if there is nothing to say.
var ignoredKeys = map[string]string{
	"should_decontaminate": "should_decontaminate is ignored: overlap of training and test data is not looked for here",
	"task_alias":           "", "tag": "", "group": "", "group_alias": "",
	"doc_to_decontamination_query": "",
}

// foreignKeys are those of the vocabulary that ask for what there is not.
var foreignKeys = []string{"process_docs", "process_results", "custom_dataset", "doc_to_image", "doc_to_audio", "use_prompt", "unsafe_code", "class"}

// key reads one key of a task file.
func (r *configReader) key(k string, n *yaml.Node) {
	c := r.c
	texts := map[string]*string{
		"task": &c.Task, "dataset_path": &c.DatasetPath, "dataset_name": &c.DatasetName, "training_split": &c.TrainingSplit,
		"validation_split": &c.ValidationSplit, "test_split": &c.TestSplit, "fewshot_split": &c.FewshotSplit, "output_type": &c.OutputType,
		"description": &c.Description, "target_delimiter": &c.TargetDelimiter, "fewshot_delimiter": &c.FewshotDelimiter, "gen_prefix": &c.GenPrefix,
	}
	fields := map[string]**Field{"doc_to_text": &c.Text, "doc_to_target": &c.Target, "doc_to_choice": &c.Choice}
	note, ignored := ignoredKeys[k]
	switch {
	case texts[k] != nil:
		*texts[k] = r.text(k, n)
	case fields[k] != nil:
		*fields[k] = r.field(k, n)
	case ignored:
		if note != "" && n.Value != "false" {
			c.Notes = append(c.Notes, note)
		}
	case slices.Contains(foreignKeys, k):
		if n.Tag != "!!null" && n.Value != "false" {
			r.fail(n, k, "is not supported: it needs Python or another kind of model")
		}
	case k == "num_fewshot":
		i := r.number(k, n)
		c.NumFewshot = &i
	case k == "dataset_kwargs":
		r.pairs(k, n, r.datasetKey)
	case k == "fewshot_config":
		r.pairs(k, n, r.fewshotKey)
	case k == "metric_list":
		r.list(k, n, func(item *yaml.Node) { c.Metrics = append(c.Metrics, r.metric(item)) }, func() { c.Metrics = nil })
	case k == "filter_list":
		r.list(k, n, func(item *yaml.Node) { c.Filters = append(c.Filters, r.filter(item)) }, func() { c.Filters = nil })
	case k == "generation_kwargs":
		r.pairs(k, n, r.generationKey)
	case k == "repeats":
		if r.number(k, n) != 1 {
			r.fail(n, k, "only 1 is supported")
		}
	case k == "metadata":
		r.pairs(k, n, func(name string, v *yaml.Node) {
			if name == "version" {
				c.Version = r.text("metadata.version", v)
			}
		})
	default:
		r.fail(n, k, "unknown key%s", nearest(k))
	}
}

// knownKeys are those that key reads.
var knownKeys = []string{
	"task", "dataset_path", "dataset_name", "dataset_kwargs", "training_split", "validation_split", "test_split", "fewshot_split", "output_type",
	"doc_to_text", "doc_to_target", "doc_to_choice", "description", "target_delimiter", "fewshot_delimiter", "gen_prefix", "num_fewshot",
	"fewshot_config", "metric_list", "filter_list", "generation_kwargs", "repeats", "metadata", "include",
}

// nearest suggests the key that differs least.
func nearest(key string) string {
	best, least := "", 3
	for _, k := range knownKeys {
		if d := distance(key, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; is " + best + " meant?"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
