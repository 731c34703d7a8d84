package report

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/eval"
	"leolm/eval/harness"
)

// NoResultsError says that a path has no result of an evaluation.
type NoResultsError struct{ Path string }

func (e *NoResultsError) Error() string {
	return fmt.Sprintf("%s: there is no result of an evaluation", e.Path)
}

// TooManyError says that a folder has more results than a page can show.
type TooManyError struct {
	Path  string
	Limit int
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%s: more than %d results", e.Path, e.Limit)
}

const (
	// maxResults bounds the results of a page: 57 subjects of MMLU in a hundred runs are fewer.
	maxResults = 8192
	// maxDepth is how deep below a path results are looked for: a run of MT-Bench keeps those of judges in folders of its
	// own, a training those of tasks below its steps.
	maxDepth = 4
	// probe is how much of a file shows whether it is an artifact: the schema is its first key.
	probe = 512
)

// result is an artifact and where it was found.
type result struct {
	*eval.Artifact
	path    string // of the file
	details harness.Details
}

// task is what the result is of, and who judged: results are compared within one.
func (r *result) task() string {
	if j := judgeOf(r.Artifact); j != "" {
		return r.Task + ", judged by " + j
	}
	return r.Task
}

// load reads all results below paths, in their order.
func load(ctx context.Context, paths []string) ([]*result, error) {
	var out []*result
	seen := map[string]bool{}
	for _, given := range paths {
		files, err := find(given)
		if err != nil {
			return nil, err
		}
		n := 0
		for _, path := range files {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			a, err := eval.ReadArtifact(ctx, path)
			if err != nil {
				return nil, err
			}
			n++
			if seen[path] {
				continue
			}
			seen[path] = true
			r := &result{Artifact: a, path: path}
			if !strings.HasPrefix(a.Task, "mtbench") && len(a.Details) > 0 {
				// What other tasks keep there is their own business: only what reads as a harness' details is used.
				if json.Unmarshal(a.Details, &r.details) != nil {
					r.details = harness.Details{}
				}
			}
			if out = append(out, r); len(out) > maxResults {
				return nil, &TooManyError{given, maxResults}
			}
		}
		if n == 0 {
			return nil, &NoResultsError{given}
		}
	}
	return out, nil
}

// find lists the artifacts of a path: the file itself, or those below a folder.
func find(given string) ([]string, error) {
	info, err := os.Stat(given)
	if err != nil {
		return nil, err
	}
	path, err := filepath.EvalSymlinks(given) // a walk does not follow the first one either
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if filepath.Ext(path) == ".jsonl" { // single results: their artifact lies beside them
			path = strings.TrimSuffix(path, ".jsonl") + ".json"
		}
		return []string{path}, nil
	}
	var out []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			rel, err := filepath.Rel(path, p)
			if err == nil && (strings.Count(rel, string(filepath.Separator)) >= maxDepth || rel != "." && strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			return err
		case filepath.Ext(p) != ".json" || !d.Type().IsRegular():
			return nil
		}
		is, err := isArtifact(p)
		if is {
			out = append(out, p)
		}
		if len(out) > maxResults {
			return &TooManyError{given, maxResults}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return judgedOnly(out), nil
}

// isArtifact reports whether a file begins as an artifact does.
func isArtifact(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, probe)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.Contains(head[:n], []byte(`"leo-eval-result"`)), nil
}

// judgedOnly leaves out the answers of a run of MT-Bench where a judge's result has them too.
func judgedOnly(paths []string) []string {
	judged := map[string]bool{}
	for _, p := range paths {
		if filepath.Base(p) == "result.json" {
			judged[filepath.Dir(filepath.Dir(p))] = true
		}
	}
	return slices.DeleteFunc(paths, func(p string) bool { return filepath.Base(p) == "answers-result.json" && judged[filepath.Dir(p)] })
}

// column is what a page knows of one model.
type column struct {
	label   string
	id      eval.Identity
	results map[string]*result // by task
	dirs    []string           // of the runs
}

// columns puts results of the same model under one head, as long as they are of different tasks: folders that both have
// a result of one task stand beside each other.
func columns(results []*result) []*column {
	type group struct{ dir, id string }
	var order []group
	members := map[group][]*result{}
	for _, r := range results {
		g := group{r.dir(), identity(r)}
		if members[g] == nil {
			order = append(order, g)
		}
		members[g] = append(members[g], r)
	}
	var out []*column
	for _, g := range order {
		i := slices.IndexFunc(out, func(c *column) bool {
			return identityOf(c.id) == g.id && !slices.ContainsFunc(members[g], func(r *result) bool { return c.results[r.task()] != nil })
		})
		if i < 0 {
			i = len(out)
			out = append(out, &column{id: members[g][0].Model, results: map[string]*result{}})
		}
		out[i].dirs = append(out[i].dirs, g.dir)
		for _, r := range members[g] {
			out[i].results[r.task()] = r
		}
	}
	label(out)
	return out
}

// dir is the folder of the run: judges have folders of their own in it.
func (r *result) dir() string {
	dir := filepath.Dir(r.path)
	if filepath.Base(r.path) == "result.json" && r.Task == "mtbench" {
		return filepath.Dir(dir)
	}
	return dir
}

// identity tells models apart: an address may change, the model behind it stays.
func identity(r *result) string { return identityOf(r.Model) }

func identityOf(id eval.Identity) string {
	id.URL = ""
	id.BOS = "" // a setting of the run; it is compared with the others
	return eval.HashOf(id)
}

// maxDirs is how many folders a label names.
const maxDirs = 3

// label names columns by their models, and where two have one name by their folders too.
func label(cs []*column) {
	count := map[string]int{}
	for _, c := range cs {
		c.label = cmp.Or(c.id.Name, c.id.URL, "model without a name")
		count[c.label]++
	}
	used := map[string]int{}
	for _, c := range cs {
		if count[c.label] > 1 {
			var dirs []string
			for _, d := range c.dirs[:min(len(c.dirs), maxDirs)] {
				dirs = append(dirs, filepath.Base(d))
			}
			c.label += " (" + strings.Join(dirs, ", ") + ")"
		}
		if used[c.label]++; used[c.label] > 1 {
			c.label += fmt.Sprintf(" #%d", used[c.label])
		}
	}
}
