package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"leolm/chat"
	"leolm/eval"
	"leolm/eval/germanbench"
	"leolm/eval/harness"
	"leolm/eval/suite"
	"leolm/infer"
	"leolm/internal/bounded"
	"leolm/internal/durable"
	"leolm/internal/report"
	"leolm/internal/sysmem"
	"leolm/open"
	"leolm/tensor"
	"leolm/train"
)

// evaluation is what a recipe measures during its run: all tasks, read and written out before the first step.
type evaluation struct {
	entries []evaluationEntry
	notes   []string
}

// evaluationEntry is one entry of evaluate.tasks.
type evaluationEntry struct {
	tasks []*harness.Task
	bos   chat.BOSPolicy
	opt   harness.Options
}

// loadEvaluation reads the tasks of a recipe; nil is none. A plan leaves out data that would have to be fetched.
func loadEvaluation(ctx context.Context, c *train.EvaluateConfig, planned bool) (*evaluation, error) {
	e := &evaluation{}
	if c == nil {
		return e, nil
	}
	names := map[string]int{}
	for i, t := range c.Tasks {
		if planned && t.GermanBench != "" && t.Data == "" {
			e.notes = append(e.notes, fmt.Sprintf("the data of %s come from the Hugging Face hub; they were not checked", t.GermanBench))
			continue
		}
		entry, err := loadTasks(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("evaluate.tasks[%d]: %w", i, err)
		}
		groups := map[string]bool{}
		for _, x := range entry.tasks {
			groups[x.Name] = true
			if x.Group != "" {
				groups[x.Group] = true
			}
			if n := len(x.Faults); n > 0 {
				e.notes = append(e.notes, fmt.Sprintf("%s: %d of %d rows cannot be scored, the first of them %s: %s", x.Name, n, x.Rows, x.Faults[0].Row, x.Faults[0].Why))
			}
			for _, n := range x.Notes {
				e.notes = append(e.notes, x.Name+": "+n)
			}
		}
		for name := range groups {
			if k, twice := names[name]; twice {
				return nil, fmt.Errorf("evaluate.tasks[%d]: a task %s is in evaluate.tasks[%d] too, and their results would have one name", i, name, k)
			}
			names[name] = i
		}
		e.entries = append(e.entries, *entry)
	}
	return e, nil
}

// loadTasks reads the tasks of one entry, with the settings that leo eval has for them.
func loadTasks(ctx context.Context, t train.EvaluateTask) (*evaluationEntry, error) {
	e := &evaluationEntry{bos: chat.BOSAuto}
	var err error
	switch {
	case t.GermanBench != "":
		v := germanbench.Variant(t.Variant)
		if v == "" {
			v = germanbench.LeoLM
		}
		if v == germanbench.LeoLM {
			e.bos = chat.BOSNever
		}
		e.tasks, err = germanbench.Load(ctx, germanbench.Options{Tasks: []string{t.GermanBench}, Variant: v, Shots: t.NumFewshot, Limit: t.Limit, Dir: t.Data})
		e.opt.MeanOfErrors, e.opt.Config = v == germanbench.LeoLM, map[string]any{"variant": string(v), "limit": t.Limit}
	case t.File != "":
		var c *harness.Config
		if c, err = harness.ReadConfig(ctx, t.File); err != nil {
			return nil, err
		}
		var task *harness.Task
		task, err = c.Build(ctx, harness.BuildOptions{Shots: t.NumFewshot, Limit: t.Limit, Seed: harness.DefaultSeed})
		e.tasks, e.opt.Config = []*harness.Task{task}, map[string]any{"seed": harness.DefaultSeed, "limit": t.Limit}
	default:
		var task *harness.Task
		task, err = suite.Load(ctx, t.Suite, suite.Options{Limit: t.Limit, MaxNewTokens: t.MaxNewTokens})
		e.tasks, e.opt.Config = []*harness.Task{task}, map[string]any{"limit": t.Limit}
	}
	return e, err
}

// printNotes says what is wrong with rows of the tasks.
func (e *evaluation) printNotes(w io.Writer) {
	for _, n := range e.notes {
		fmt.Fprintln(w, "evaluate:", n)
	}
}

// digest is the hash of everything that is asked.
func (e *evaluation) digest() string {
	var parts []string
	for _, x := range e.entries {
		for _, t := range x.tasks {
			parts = append(parts, t.Digest())
		}
	}
	return eval.HashOf(parts)
}

// doneFile says that a step is measured, and with which numbers.
const doneFile = "done.json"

// stepDone is what it holds.
type stepDone struct {
	Weights string             `json:"weights"`
	Tasks   string             `json:"tasks"`
	Values  map[string]float64 `json:"values"`
}

// readDone returns the numbers that a step has for these weights and tasks; nil if it has none.
func readDone(dir, weights, tasks string) (map[string]float64, error) {
	data, err := bounded.Regular(filepath.Join(dir, doneFile), 16<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var d stepDone
	if err := json.Unmarshal(data, &d); err != nil || d.Weights != weights || d.Tasks != tasks {
		return nil, os.RemoveAll(dir) // of another run in this folder
	}
	return d.Values, nil
}

// evaluationsFolder is the folder of the evaluations in that of a run.
const evaluationsFolder = "evaluations"

// evaluate measures the model of a step, keeps artifacts and single results, and records the numbers. A step that was
// measured before, with the same weights, is not measured again; one that was stopped goes on.
func (l *trainLog) evaluate(ctx context.Context, e *evaluation, m *train.Snapshot) error {
	dir := filepath.Join(l.cfg.Output, evaluationsFolder, fmt.Sprintf("step-%08d", m.Step))
	tasks := e.digest()
	values, err := readDone(dir, m.Weights, tasks)
	if err != nil {
		return err
	}
	var lost error
	if values == nil {
		start := time.Now()
		if values, lost, err = e.run(ctx, m, dir, l.cfg.Compute.DType); err != nil {
			return err
		}
		fmt.Fprintf(l.w, "step %d  evaluated in %.1f s", m.Step, time.Since(start).Seconds())
		for _, k := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(l.w, "  %s %.4f", strings.TrimPrefix(k, report.EvalPrefix), values[k])
		}
		fmt.Fprintln(l.w)
		if lost == nil { // else the same run again tries those that failed
			if err := writeDone(dir, stepDone{m.Weights, tasks, values}); err != nil {
				return err
			}
		}
	}
	recorded, err := l.recorded(m.Step)
	if err != nil {
		return err
	}
	if !recorded {
		l.keep(report.Row{Step: int64(m.Step), Values: values})
		l.page()
	}
	return lost
}

func writeDone(dir string, d stepDone) error {
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, doneFile), append(data, '\n'))
}

// recorded reports whether the metrics have an evaluation of a step: a run that was stopped right behind one may measure
// it once more.
func (l *trainLog) recorded(step int) (bool, error) {
	if err := l.run.Sync(); err != nil {
		return false, err
	}
	rows, err := report.ReadMetrics(filepath.Join(l.cfg.Output, "metrics.jsonl"))
	for _, r := range rows {
		if r.Step != int64(step) {
			continue
		}
		for k := range r.Values {
			if strings.HasPrefix(k, report.EvalPrefix) {
				return true, err
			}
		}
	}
	return false, err
}

// run measures a model and writes what came of it into a folder. Documents that have no result are lost; err means that
// there are no numbers.
func (e *evaluation) run(ctx context.Context, m *train.Snapshot, dir, compute string) (values map[string]float64, lost, err error) {
	engine, err := evaluationEngine(m)
	if err != nil {
		return nil, nil, err
	}
	defer engine.Free()
	r := eval.Running{
		Engine: engine, Tokenizer: m.Tokenizer, Template: m.Template, StopIDs: m.StopIDs, StopStrings: m.Template.StopStrings(m.Tokenizer),
		Identity: eval.Identity{Name: fmt.Sprintf("%s, step %d", m.Run, m.Step), Kind: "training", Weights: m.Weights},
	}
	precision := "exact"
	if compute != "f32" {
		precision = compute
	}
	values = map[string]float64{}
	failed := 0
	for _, x := range e.entries {
		n, err := x.run(ctx, r, dir, precision, values)
		if err != nil {
			return nil, nil, err
		}
		failed += n
	}
	if failed > 0 {
		lost = fmt.Errorf("%d documents have no result; the numbers are of the others", failed)
	}
	return values, lost, nil
}

// evaluationEngine makes an engine that runs the model as leo eval does. Keys and values take at most a quarter of the
// free memory, and none when it is done.
func evaluationEngine(m *train.Snapshot) (*infer.Engine, error) {
	c := &m.Model.Config
	opt := infer.Options{Context: min(c.MaxPositions, open.DefaultContext), CacheType: tensor.F32, PageLen: scoringPages, Sessions: 1}
	if free, ok := sysmem.Available(); ok {
		one := max(int64(opt.Context)*train.CacheToken(c), 1)
		opt.Sessions = int(min(max(free/4/one, 1), scoringTogether))
	}
	return m.NewEngine(opt)
}

// run measures the tasks of an entry and adds their numbers to values. It returns how many documents have no result.
func (x *evaluationEntry) run(ctx context.Context, r eval.Running, dir, precision string, values map[string]float64) (failed int, err error) {
	l := eval.NewRunning(r, eval.LocalOptions{BOS: x.bos})
	defer l.Close()
	opt := x.opt
	opt.Dir, opt.Leo, opt.Config = dir, software(), maps.Clone(x.opt.Config)
	opt.Config["precision"] = precision
	results, err := harness.Run(ctx, l, x.tasks, opt)
	if err != nil {
		return 0, err
	}
	if err := harness.Write(results, l.Identity(), &opt); err != nil {
		return 0, err
	}
	add := func(task string, ns []harness.Number) {
		for _, n := range ns {
			if n.Value != nil && !strings.Contains(n.Name, "/") {
				values[report.EvalPrefix+task+"/"+n.Name] = *n.Value
			}
		}
	}
	for _, p := range results {
		failed += p.Counts.Failed
		if p.Task.Group == "" {
			add(p.Task.Name, p.Numbers)
		}
	}
	for _, g := range harness.Groups(results, opt.MeanOfErrors) {
		add(g.Name, g.Numbers)
	}
	return failed, nil
}

// evaluationPlan is what the evaluations of a run take.
type evaluationPlan struct {
	Tasks    []string `json:"tasks"`
	Times    int      `json:"times"`
	Requests int      `json:"requests"` // of one evaluation
	Tokens   int64    `json:"tokens"`   // of one evaluation, assumed
	FLOPs    float64  `json:"flops"`    // of one evaluation
	// Cache is the memory of the keys and values of one whole context; 0 if the context is not known.
	Cache int64    `json:"cache_bytes,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

// bytesPerToken is how many bytes of German text are assumed to be one token.
const bytesPerToken = 3.5

// plan predicts the evaluations of a run.
func (e *evaluation) plan(p *train.Plan, cfg *train.Config) evaluationPlan {
	out := evaluationPlan{Times: 1, Notes: e.notes}
	if every := cfg.Evaluate.Every; every > 0 {
		out.Times += (p.Steps - 1) / every
		if cfg.Model.Base != "" {
			out.Times++
		}
	}
	size := 0
	for _, x := range e.entries {
		for _, t := range x.tasks {
			out.Tasks = append(out.Tasks, fmt.Sprintf("%s (%d documents)", t.Name, len(t.Items)))
			for i := range t.Items {
				n, requests := itemSize(&t.Items[i])
				size += n
				out.Requests += requests
			}
		}
	}
	out.Cache = int64(min(p.Context, open.DefaultContext)) * p.CacheToken
	out.Tokens = int64(float64(size) / bytesPerToken)
	out.FLOPs = 2 * float64(p.Params) * float64(out.Tokens)
	return out
}

// itemSize is how many bytes a model reads and writes for a document, a common context once, and with how many requests.
func itemSize(it *harness.Item) (bytes, requests int) {
	if len(it.Scores) > 0 {
		bytes = len(it.Scores[0].Context)
	}
	for _, s := range it.Scores {
		bytes += len(s.Continuation)
	}
	for _, text := range it.Rolling {
		bytes += len(text)
	}
	requests = len(it.Scores) + len(it.Rolling)
	if it.Ask != nil {
		requests++
		bytes += len(it.Ask.Prompt) + int(bytesPerToken*float64(it.Ask.MaxNewTokens))
		for _, m := range it.Ask.Messages {
			bytes += len(m.Content)
		}
	}
	return bytes, requests
}

// maxPlanned is how many tasks a plan names.
const maxPlanned = 8

// printEvaluationPlan prints what the evaluations take, on this machine if its peak is known.
func printEvaluationPlan(w io.Writer, p evaluationPlan, peak float64) {
	tasks := p.Tasks
	if n := len(tasks); n > maxPlanned {
		tasks = append(slices.Clone(tasks[:maxPlanned-1]), fmt.Sprintf("%d more", n-maxPlanned+1))
	}
	fmt.Fprintf(w, "evaluation     %d times: %s\n", p.Times, strings.Join(tasks, ", "))
	fmt.Fprintf(w, "               %d requests, about %d tokens each time", p.Requests, p.Tokens)
	if p.Cache > 0 {
		fmt.Fprintf(w, ", keys and values %s of the longest text", bytesText(p.Cache))
	}
	if peak > 0 {
		one := p.FLOPs / (assumedShare * peak * 1e9)
		fmt.Fprintf(w, ": %s here, %s in all", durationText(one), durationText(one*float64(p.Times)))
	}
	fmt.Fprintln(w)
	for _, n := range p.Notes {
		fmt.Fprintln(w, "evaluate:", n)
	}
}
