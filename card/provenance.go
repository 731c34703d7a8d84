package card

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"leolm/eval"
)

// Provenance is the table of the files that numbers come from.
func (f *Facts) Provenance() string {
	var b strings.Builder
	b.WriteString("| file | SHA-256 | what | from | settings | made with |\n|---|---|---|---|---|---|\n")
	parts := f.parts()
	for _, r := range f.Results {
		if parts[r.Task+"\x00"+r.Of] { // the result of the whole says it, too
			continue
		}
		var from []string
		for _, in := range r.Inputs {
			s := inline(in.Role+" "+withoutFolder(in.Name)) + " " + codeCell(short(in.Hash))
			if in.Rows > 0 {
				s += fmt.Sprintf(" (%d)", in.Rows)
			}
			from = append(from, s)
		}
		if len(from) > 8 {
			from = append(from[:8], fmt.Sprintf("and %d more", len(from)-8))
		}
		who := ""
		if j := judgesOf(r.Artifact); j != "" {
			who = "; judge: " + inline(j)
		}
		what := fmt.Sprintf("%s, version %s, of %s", command(r.Task), r.TaskVersion, modelOf(&r.Model))
		if r.Model.Kind == "program" {
			what = r.Model.Name
		}
		fmt.Fprintf(&b, "| %s | %s | %s%s | %s | %s | %s |\n", codeCell(r.Path), codeCell(short(r.Hash)), inline(what), who, strings.Join(from, "<br>"), codeCell(settings(r.Config)), inline(made(r.Artifact)))
	}
	for _, r := range f.Runs {
		note := r.Note
		if note == "" {
			note = "leo train"
		}
		fmt.Fprintf(&b, "| %s | %s | training %s | | | %s |\n", codeCell(r.Path), codeCell(short(r.Hash)), inline(r.Name), inline(note))
	}
	for _, file := range f.stats {
		fmt.Fprintf(&b, "| %s | %s | statistics of prepared data | | | leo data prepare |\n", codeCell(file.Path), codeCell(short(file.Hash)))
	}
	for _, file := range f.Files() {
		fmt.Fprintf(&b, "| %s | %s | data of the template | | | |\n", codeCell(file.Path), codeCell(short(file.Hash)))
	}
	return b.String()
}

// withoutFolder leaves out the folders of a path on the machine that measured.
func withoutFolder(name string) string {
	path, rest, more := strings.Cut(name, " ")
	if !filepath.IsAbs(path) && !strings.HasPrefix(path, "/") {
		return name
	}
	if path = filepath.Base(path); more {
		path += " " + rest
	}
	return path
}

// short is the beginning of a hash, enough to compare it.
func short(hash string) string { return hash[:min(len(hash), 16)] }

// command is the command that a task's results come from.
func command(task string) string {
	if _, ok := knownTasks[task]; !ok {
		if task == "compare" {
			return "leo eval compare"
		}
		return "leo eval: " + task
	}
	switch {
	case strings.HasPrefix(task, mtbenchTask):
		return "leo eval mtbench"
	case task == "perplexity":
		return "leo eval perplexity"
	}
	return "leo eval germanbench --tasks " + task
}

// modelOf names a model with its fingerprint.
func modelOf(id *eval.Identity) string {
	s := id.String()
	if id.Weights != "" {
		s += " (weights " + id.Weights + ")"
	}
	return s
}

// settings are the values of a configuration, in order.
func settings(config map[string]any) string {
	keys := make([]string, 0, len(config))
	for k := range config {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var parts []string
	for _, k := range keys {
		v, err := json.Marshal(config[k])
		if err != nil {
			continue // it came from JSON
		}
		parts = append(parts, k+"="+string(v))
	}
	return strings.Join(parts, " ")
}

// made says with what, where and when.
func made(a *eval.Artifact) string {
	if a.Leo.Version == "" { // the artifact was not written by an evaluation, and its inputs say what it is
		return ""
	}
	s := "Leo " + a.Leo.Version
	if a.Leo.Commit != "" {
		s += " (" + a.Leo.Commit[:min(len(a.Leo.Commit), 12)] + ")"
	}
	if a.Machine.Platform != "" {
		s += fmt.Sprintf(", %s, %s, %d processors", a.Machine.Platform, a.Machine.CPU, a.Machine.Processors)
	}
	return s + ", " + a.Started.Format("2006-01-02")
}
