package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"leolm/eval"
	page "leolm/internal/report"
)

// header is the section of what was measured: warnings first, then the models with their runs.
func (b *builder) header() page.Section {
	s := page.Section{Heading: "Models and runs"}
	if list := b.warnings(); len(list) > 0 {
		s.Blocks = append(s.Blocks, page.Notice{Title: "Before you compare", Items: list})
	}
	t := page.Table{
		Caption: "What was measured", RowHeads: true,
		Head:    []string{"Model", "Kind", "Weights", "Tokenizer", "Template", "Adapters", "Context"},
		Numeric: []bool{false, false, false, false, false, false, true},
	}
	for _, c := range b.columns {
		id := &c.id
		size := ""
		if id.Context > 0 {
			size = fmt.Sprint(id.Context)
		}
		t.Rows = append(t.Rows, []string{
			c.label, strings.TrimSpace(id.Kind + " " + id.URL), dash(short(cmp.Or(id.Weights, id.Hash))), dash(short(id.Tokenizer)),
			dash(id.Template), dash(strings.Join(id.Adapters, "\n")), dash(size),
		})
	}
	runs := page.Table{
		Caption: "Runs", RowHeads: true,
		Head: []string{"Model", "Tasks", "Judge", "Settings", "Complete", "Date", "Took", "Machine", "Leo"},
	}
	for _, c := range b.columns {
		runs.Rows = append(runs.Rows, runsOf(c)...)
	}
	s.Blocks = append(s.Blocks, t, page.Folded{Summary: "Runs: dates, machines, versions, settings", Blocks: []page.Block{runs}})
	return s
}

// runsOf lists the runs of a model: results of one beginning with one setting are one row.
func runsOf(c *column) [][]string {
	type run struct {
		tasks    []string
		r        *result
		complete bool
		last     float64
	}
	var list []*run
	for _, name := range slices.Sorted(maps.Keys(c.results)) {
		r := c.results[name]
		i := slices.IndexFunc(list, func(x *run) bool {
			return x.r.dir() == r.dir() && eval.HashOf(x.r.Config, x.r.Judges, x.r.Leo, x.r.Machine, x.r.TaskVersion) == eval.HashOf(r.Config, r.Judges, r.Leo, r.Machine, r.TaskVersion)
		})
		if i < 0 {
			i = len(list)
			list = append(list, &run{r: r, complete: true})
		}
		x := list[i]
		x.tasks = append(x.tasks, r.Task)
		x.complete = x.complete && r.Complete
		x.last = max(x.last, r.Seconds)
	}
	var out [][]string
	for _, x := range list {
		complete := "yes"
		if !x.complete {
			complete = "no"
		}
		tasks := x.tasks
		if n := len(tasks); n > 6 {
			tasks = append(slices.Clone(tasks[:4]), fmt.Sprintf("and %d more", n-4))
		}
		out = append(out, []string{
			c.label, strings.Join(tasks, "\n"), dash(judgeOf(x.r.Artifact)), dash(settings(x.r)), complete, x.r.Started.Format("2006-01-02 15:04 UTC"),
			(time.Duration(x.last) * time.Second).String(), strings.TrimSpace(fmt.Sprintf("%s %s, %d threads", x.r.Machine.Platform, x.r.Machine.CPU, x.r.Machine.Processors)),
			software(x.r.Leo),
		})
	}
	return out
}

// settings prints what the user chose, with the task's version.
func settings(r *result) string {
	all := map[string]string{}
	flatten("", r.Config, all)
	var parts []string
	if r.TaskVersion != "" {
		parts = append(parts, "version "+r.TaskVersion)
	}
	if r.details.Digest != "" {
		parts = append(parts, fmt.Sprintf("num_fewshot %d", r.details.Shots))
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if v := all[k]; v != `""` && v != "0" && v != "null" && len(v) < 200 {
			parts = append(parts, k+" "+strings.Trim(v, `"`))
		}
	}
	return strings.Join(parts, "\n")
}

// software prints a program's version.
func software(s eval.Software) string {
	v := cmp.Or(s.Version, "an unnamed version")
	if s.Commit != "" {
		v += fmt.Sprintf(" (%.10s)", s.Commit)
	}
	return strings.TrimSpace("Leo " + v + ", " + s.Go)
}

func dash(s string) string { return cmp.Or(s, "–") }
