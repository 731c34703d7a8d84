package card

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"leolm/eval"
	"leolm/eval/harness"
	"leolm/eval/mtbench"
)

// Number is a number of a result, as templates print it.
type Number struct {
	eval.Metric
	result *Result
}

// number looks a metric up.
func (r *Result) number(name, group string) (*Number, error) {
	m, ok := r.Artifact.Metric(name, group)
	if ok && m.Value != nil {
		return &Number{m, r}, nil
	}
	e := &MissingError{Task: r.Task, Name: name, Group: group, Of: r.Of}
	for _, m := range r.Metrics {
		if m.Value != nil && m.Group == group && len(e.Have) < 8 {
			e.Have = append(e.Have, m.Name)
		}
	}
	return nil, e
}

// String is the value as the task prints it, if that is short, else with three decimals, fewer for large values.
func (n *Number) String() string {
	if _, err := strconv.ParseFloat(n.Text, 64); err == nil && len(n.Text) <= 7 {
		return n.Text
	}
	v, digits := *n.Value, 3
	switch {
	case math.Abs(v) >= 1000:
		digits = 0
	case math.Abs(v) >= 100:
		digits = 1
	case math.Abs(v) >= 10:
		digits = 2
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// Fixed is the value with so many decimals.
func (n *Number) Fixed(digits int) string { return strconv.FormatFloat(*n.Value, 'f', digits, 64) }

// WithError is String with the standard error, or the interval, behind it.
func (n *Number) WithError() string {
	s := n.String()
	switch {
	case n.StdErr != nil:
		s += " ± " + strconv.FormatFloat(*n.StdErr, 'f', 3, 64)
	case n.CI95 != nil:
		s += fmt.Sprintf(" [%.2f, %.2f]", n.CI95[0], n.CI95[1])
	}
	return s
}

// Count says of how many items the number is made: "78 of 80".
func (n *Number) Count() string {
	if n.Of > 0 && n.Of != n.N {
		return fmt.Sprintf("%d of %d", n.N, n.Of)
	}
	if n.N == 0 {
		return ""
	}
	return strconv.Itoa(n.N)
}

// taskFacts are what is known of a task by its name.
type taskFacts struct {
	name    string
	dataset ResultDataset
	metrics []string // those that count; empty: all
}

// knownTasks are Leo's own tasks. Metrics are those of the leaderboards.
var knownTasks = map[string]taskFacts{
	mtbenchTask:     {"MT-Bench-DE", ResultDataset{Type: "mt_bench_de", Name: "MT-Bench-DE"}, []string{"first_turn", "second_turn", "average"}},
	"arc_de":        {"ARC-Challenge-DE", ResultDataset{Type: "LeoLM/ArcChallenge_de", Name: "ARC-Challenge-DE", Split: "test"}, []string{"acc_norm"}},
	"hellaswag_de":  {"HellaSwag-DE", ResultDataset{Type: "LeoLM/HellaSwag_de", Name: "HellaSwag-DE", Split: "validation"}, []string{"acc_norm"}},
	"mmlu_de":       {"MMLU-DE", ResultDataset{Type: "LeoLM/MMLU_de", Name: "MMLU-DE", Split: "test"}, []string{"acc"}},
	"truthfulqa_de": {"TruthfulQA-DE", ResultDataset{Type: "LeoLM/TruthfulQA_de", Name: "TruthfulQA-DE", Split: "validation"}, []string{"mc2"}},
	"perplexity":    {"held-out text", ResultDataset{}, []string{"bits_per_byte"}},
	answersTask:     {"MT-Bench-DE answers", ResultDataset{}, []string{}},
}

// metricNames are names of metrics for people.
var metricNames = map[string]string{
	"first_turn": "first turn", "second_turn": "second turn", "average": "average", "acc": "accuracy", "acc_norm": "accuracy, normalized by length",
	"bits_per_byte": "bits per byte", "bits_per_character": "bits per character", "kl_mean": "mean KL divergence", "top1_agreement": "same most probable token",
}

// row is a number that tables show.
type row struct {
	task, group, metric string
	name                string // of the task, for people
	judge, shots        string // "" where there are none
	lower               bool
	numbers             map[string]*Number // by model
}

// quoted are the numbers of a result that tables show: those of the whole, or of its parts where there is no whole or the
// task is about the parts.
func (r *Result) quoted() []eval.Metric {
	wanted := r.src.Metrics
	known, isKnown := knownTasks[r.Task]
	if len(wanted) == 0 {
		wanted = known.metrics
		if isKnown && len(wanted) == 0 {
			return nil
		}
	}
	pick := func(whole bool) []eval.Metric {
		var out []eval.Metric
		for _, m := range r.Metrics {
			if m.Value != nil && (m.Group == "") == whole && (len(wanted) == 0 || slices.Contains(wanted, m.Name)) {
				out = append(out, m)
			}
		}
		return out
	}
	first, second := pick(true), pick(false)
	if r.Task == "perplexity" || r.Task == "compare" { // texts of different kinds have no common number worth a row
		first, second = second, first
	}
	if len(first) > 0 {
		return first
	}
	return second
}

// parts are the tasks that other results sum up.
func (f *Facts) parts() map[string]bool {
	out := map[string]bool{}
	for _, r := range f.Results {
		var d harness.Details
		if json.Unmarshal(r.Details, &d) == nil {
			for _, p := range d.Parts {
				out[p+"\x00"+r.Of] = true
			}
		}
	}
	return out
}

// shots is how many examples the model saw, where the task says that.
func (r *Result) shots() string {
	var d struct {
		Shots *int `json:"num_fewshot"`
	}
	if json.Unmarshal(r.Details, &d) != nil || d.Shots == nil {
		return ""
	}
	return strconv.Itoa(*d.Shots)
}

// ownQuestionsTitle names the task on Leo's own questions, whose scores are not comparable with those on others.
const ownQuestionsTitle = "Leo's Own Questions"

// ownQuestions reports whether a result of MT-Bench is on Leo's own questions.
func (r *Result) ownQuestions() bool {
	return slices.ContainsFunc(r.Inputs, func(in eval.Input) bool { return in.Role == "questions" && in.Name == mtbench.OwnQuestionsName })
}

// onHub is an input's name where it is a dataset of the hub, with its revision.
var onHub = regexp.MustCompile(`([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)@([0-9a-f]+)`)

// hubData returns the revision of the hub's dataset that a result was measured on; ok is false if its data are others, from
// files.
func (r *Result) hubData(id string) (revision string, ok bool) {
	for _, in := range r.Inputs {
		if m := onHub.FindStringSubmatch(in.Name); m != nil && m[1] == id {
			return m[2], true
		}
	}
	return "", false
}

// resultName names what was measured. A known task on other data than its own says so.
func (f *Facts) resultName(r *Result) string {
	name := f.taskName(r.Task)
	d := knownTasks[r.Task].dataset
	if r.ownQuestions() {
		return ownQuestionsTitle
	}
	if _, ok := r.hubData(d.Type); !ok && strings.Contains(d.Type, "/") && f.cfg.Display[r.Task] == "" && r.src.Dataset == nil {
		name += ", data from files"
	}
	return name
}

// rows are the numbers of all results, and the models in the order in which they come.
func (f *Facts) rows() (rows []*row, models []string) {
	parts := f.parts()
	for _, r := range f.Results {
		if parts[r.Task+"\x00"+r.Of] {
			continue
		}
		for _, m := range r.quoted() {
			i := slices.IndexFunc(rows, func(x *row) bool {
				return x.task == r.Task && x.group == m.Group && x.metric == m.Name && x.judge == judgesOf(r.Artifact) && x.shots == r.shots() && x.name == f.resultName(r)
			})
			if i < 0 {
				i = len(rows)
				rows = append(rows, &row{
					task: r.Task, group: m.Group, metric: m.Name, judge: judgesOf(r.Artifact), shots: r.shots(), name: f.resultName(r), lower: m.Lower, numbers: map[string]*Number{},
				})
			}
			rows[i].numbers[r.Of] = &Number{m, r}
			if !slices.Contains(models, r.Of) {
				models = append(models, r.Of)
			}
		}
	}
	return rows, models
}

// Benchmarks are the tables of all results: a row for each number, a column for each model. Numbers that the same models
// have stand in one table, so that no cell is empty.
func (f *Facts) Benchmarks() string {
	rows, models := f.rows()
	var tables []string
	for len(rows) > 0 {
		have := func(r *row) []string {
			return slices.DeleteFunc(slices.Clone(models), func(m string) bool { return r.numbers[m] == nil })
		}
		columns := have(rows[0])
		var these, others []*row
		for _, r := range rows {
			if slices.Equal(have(r), columns) {
				these = append(these, r)
			} else {
				others = append(others, r)
			}
		}
		tables = append(tables, f.table(these, columns))
		rows = others
	}
	return strings.Join(tables, "\n")
}

// table writes rows that all models have.
func (f *Facts) table(rows []*row, models []string) string {
	shots := slices.ContainsFunc(rows, func(r *row) bool { return r.shots != "" })
	head := []string{"task", "metric"}
	if shots {
		head = append(head, "examples")
	}
	if len(models) == 1 && models[0] == "" {
		head = append(head, "value", "items")
	} else {
		for _, m := range models {
			head = append(head, cell(cmp.Or(m, f.Title())))
		}
	}
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		name := r.name
		if r.group != "" {
			name += ": " + f.display(r.group)
		}
		if r.judge != "" {
			name += ", judged by " + r.judge
		}
		arrow := " ↑"
		if r.lower {
			arrow = " ↓"
		}
		cells := []string{cell(name), cell(f.metricName(r.metric)) + arrow}
		if shots {
			cells = append(cells, r.shots)
		}
		for _, m := range models {
			cells = append(cells, cell(r.numbers[m].WithError()))
		}
		if len(models) == 1 && models[0] == "" {
			cells = append(cells, r.numbers[""].Count())
		}
		line(cells)
	}
	return b.String()
}

func (f *Facts) taskName(task string) string {
	if s := f.cfg.Display[task]; s != "" {
		return s
	}
	return cmp.Or(knownTasks[task].name, task)
}

func (f *Facts) metricName(metric string) string {
	if s := f.cfg.Display[metric]; s != "" {
		return s
	}
	return cmp.Or(metricNames[metric], metric)
}

// FrontMatter is the YAML at the head of the card, without the lines of dashes.
func (f *Facts) FrontMatter() string {
	front := f.cfg.front()
	front.name = f.Title()
	front.library = "transformers"
	if !f.model.Folder {
		front.library = "gguf"
	}
	rows, _ := f.rows()
	for _, r := range rows {
		n := r.numbers[""]
		if n == nil {
			continue
		}
		d := f.indexDataset(n.result, r)
		m := indexMetric{r.metric, f.metricName(r.metric), *n.Value}
		if i := slices.IndexFunc(front.results, func(x indexResult) bool { return x.dataset == d }); i >= 0 {
			front.results[i].metrics = append(front.results[i].metrics, m)
		} else {
			front.results = append(front.results, indexResult{d, []indexMetric{m}})
		}
	}
	return front.String()
}

// indexDataset says what a number was measured on.
func (f *Facts) indexDataset(r *Result, x *row) ResultDataset {
	d := knownTasks[r.Task].dataset
	revision, hub := r.hubData(d.Type)
	switch {
	case r.src.Dataset != nil:
		d = *r.src.Dataset
	case r.ownQuestions():
		d = ResultDataset{Type: mtbench.OwnQuestionsName, Name: ownQuestionsTitle}
	case hub:
		d.Revision = revision
	case strings.Contains(d.Type, "/"): // it was another file, whatever that held
		d = ResultDataset{Type: localName(r.Task), Name: f.resultName(r)}
	}
	if d.Type == "" {
		d.Name = f.display(cmp.Or(x.group, f.taskName(r.Task)))
		d.Type = localName(d.Name)
		return d
	}
	if x.group != "" {
		d.Name += ": " + f.display(x.group)
		d.Config = cmp.Or(d.Config, x.group)
	}
	return d
}
