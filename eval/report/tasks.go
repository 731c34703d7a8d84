package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"leolm/eval"
)

// task is a row of results, one of each model at most.
type task struct {
	name    string
	results []*result // by column; nil where a model has none
	// parts are the tasks that this one is the mean of; part says that it is one of another's.
	parts []*task
	part  bool
	// unlike says why its numbers cannot be compared; class numbers the columns so that those with one number can.
	unlike []string
	class  []int
	// differing counts the documents or turns on which models disagree.
	differing int
}

// tasksOf are the tasks of all columns: those of the first one in its order, then what others have beside them.
func tasksOf(cs []*column) []*task {
	var out []*task
	at := map[string]*task{}
	for i, c := range cs {
		for _, name := range slices.Sorted(maps.Keys(c.results)) {
			if at[name] == nil {
				at[name] = &task{name: name, results: make([]*result, len(cs)), class: make([]int, len(cs))}
				out = append(out, at[name])
			}
			at[name].results[i] = c.results[name]
		}
	}
	slices.SortStableFunc(out, func(a, b *task) int { return a.rank() - b.rank() })
	for _, t := range out {
		for _, r := range t.results {
			if r == nil {
				continue
			}
			for _, part := range r.details.Parts {
				if p := at[part]; p != nil && p != t && !slices.Contains(t.parts, p) {
					t.parts = append(t.parts, p)
					p.part = true
				}
			}
		}
	}
	return out
}

// rank puts tasks with a judge first: they have sections of their own.
func (t *task) rank() int {
	if strings.HasPrefix(t.name, "mtbench") {
		return 0
	}
	return 1
}

// aspect is something on which a number depends.
type aspect struct {
	name, value string
	soft        bool // numbers can be compared all the same, with a word about it
}

// asked is the aspect that sums the others up: it is named where none of them says more.
const asked = "what was asked (documents, prompts, examples)"

// aspects of a result.
func (r *result) aspects() []aspect {
	out := []aspect{{name: "the version of the task", value: r.TaskVersion}}
	judged := len(r.Judges) > 0 || strings.HasPrefix(r.Task, "mtbench")
	if r.details.Digest != "" {
		// Everything that was asked is in the digest; the rest says where a difference comes from, or is a setting of the model.
		out = append(out, aspect{name: "num_fewshot", value: fmt.Sprint(r.details.Shots)})
	}
	hard := r.details.Digest == ""
	roles := map[string][]string{}
	for _, in := range r.Inputs {
		roles[in.Role] = append(roles[in.Role], in.Hash)
	}
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		out = append(out, aspect{name: role, value: short(eval.HashOf(roles[role])), soft: !hard && role != "data"})
	}
	for _, j := range r.Judges {
		j.URL = ""
		value := j.Name + " " + short(eval.HashOf(j))
		if j.Kind == "replay" { // what it said is in its hash; who it was, its given name says
			value = judgeOf(r.Artifact)
		}
		out = append(out, aspect{name: "the judge", value: value})
	}
	settings := map[string]string{}
	flatten("", r.Config, settings)
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		out = append(out, aspect{name: "the setting " + key, value: settings[key], soft: !hard && !judged})
	}
	if r.details.Digest != "" {
		out = append(out, aspect{name: asked, value: short(r.details.Digest)})
	}
	return append(out, aspect{name: "the token before texts", value: r.Model.BOS, soft: true})
}

// short is the beginning of a hash.
func short(hash string) string { return fmt.Sprintf("%.12s", hash) }

// flatten writes nested settings as "a.b": value.
func flatten(prefix string, v any, into map[string]string) {
	if m, ok := v.(map[string]any); ok {
		for k, x := range m {
			flatten(strings.TrimPrefix(prefix+"."+k, "."), x, into)
		}
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(fmt.Sprint(v))
	}
	into[prefix] = string(b)
}

// compareSettings finds out which results can be compared, and warns about the others.
func (b *builder) compareSettings() {
	for _, t := range b.tasks {
		differing := map[string]map[string][]string{} // aspect, value, labels
		soft := map[string]bool{}
		var order []string
		classes := map[string]int{}
		for i, r := range t.results {
			if r == nil {
				continue
			}
			var key []string
			for _, a := range r.aspects() {
				if differing[a.name] == nil {
					differing[a.name] = map[string][]string{}
					order = append(order, a.name)
					soft[a.name] = a.soft
				}
				soft[a.name] = soft[a.name] && a.soft
				differing[a.name][a.value] = append(differing[a.name][a.value], b.columns[i].label)
				if !a.soft {
					key = append(key, a.name, a.value)
				}
			}
			k := strings.Join(key, "\x00")
			if _, ok := classes[k]; !ok {
				classes[k] = len(classes)
			}
			t.class[i] = classes[k]
			b.incomplete(t, r, b.columns[i].label)
		}
		if t.name == perplexityTask && t.tokenizers() > 1 {
			b.warn(t, "the models have different tokenizers, and perplexity is of each one's own tokens: compare bits_per_byte.")
		}
		for _, name := range order {
			if name == asked && len(t.unlike) > 0 {
				continue
			}
			b.differs(t, name, differing[name], soft[name], len(classes) > 1)
		}
	}
}

// differs warns of an aspect with several values.
func (b *builder) differs(t *task, name string, values map[string][]string, soft, incomparable bool) {
	with := 0
	for _, labels := range values {
		with += len(labels)
	}
	if n := t.count(); len(values) < 2 && with == n {
		return
	} else if with < n && (soft || !incomparable) {
		return
	}
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(values)) {
		parts = append(parts, fmt.Sprintf("%s: %s", strings.Join(values[v], ", "), orNone(v)))
	}
	if !soft {
		text := fmt.Sprintf("%s differs (%s)", name, strings.Join(parts, "; "))
		t.unlike = append(t.unlike, text)
	}
	if t.part {
		return // the whole says it
	}
	if soft {
		b.warn(t, "%s differs (%s); the numbers can be compared, but not to the last digit.", name, strings.Join(parts, "; "))
		return
	}
	b.warn(t, "%s differs (%s): the numbers cannot be compared.", name, strings.Join(parts, "; "))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// perplexityTask is the task whose perplexity is of tokens.
const perplexityTask = "perplexity"

// tokenizers counts the vocabularies of the models that have a result.
func (t *task) tokenizers() int {
	seen := map[string]bool{}
	for _, r := range t.results {
		if r != nil {
			seen[r.Model.Tokenizer] = true
		}
	}
	return len(seen)
}

// count is how many models have a result.
func (t *task) count() int {
	n := 0
	for _, r := range t.results {
		if r != nil {
			n++
		}
	}
	return n
}

// incomplete warns of a result that is not whole.
func (b *builder) incomplete(t *task, r *result, label string) {
	if r.Complete || t.part {
		return
	}
	why := "a limit, or requests that failed"
	if n := r.Counts["failed"]; n > 0 {
		why = fmt.Sprintf("%d failed", n)
	}
	b.warn(t, "%s is not complete (%s): its numbers are of a part of the task.", label, why)
}

// comparable reports whether the results of two columns are of the same questions.
func (t *task) comparable(i, j int) bool {
	return t.results[i] != nil && t.results[j] != nil && t.class[i] == t.class[j]
}
