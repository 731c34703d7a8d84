package card

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/train"
)

// Result is an artifact that the card may quote.
type Result struct {
	*eval.Artifact
	Path string // as the card names it
	Of   string // the other model that it is of; "" for the card's own
	Hash string // SHA-256 of the file
	src  *ResultSource
}

// IncompleteError says that an artifact is of a part of its task only: no number of it belongs into a card.
type IncompleteError struct{ Path, Task string }

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("%s: the result of %s is incomplete (a limit, or requests that failed): a card cannot quote it", e.Path, e.Task)
}

// OtherModelError says that an artifact is not of the card's model.
type OtherModelError struct{ Path, Why string }

func (e *OtherModelError) Error() string {
	return fmt.Sprintf("%s is the result of another model: %s", e.Path, e.Why)
}

// DamagedError says that the files which an artifact stands for are not what they were.
type DamagedError struct {
	Path string // of the artifact
	Err  error  // a *eval.RawError
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns what is wrong with which file.
func (e *DamagedError) Unwrap() error { return e.Err }

// DoubledError says that two artifacts give the same numbers.
type DoubledError struct{ Task, First, Second string }

func (e *DoubledError) Error() string {
	return fmt.Sprintf("%s and %s are both results of %s on one model: name one of them", e.First, e.Second, e.Task)
}

// answersTask is the artifact of answers that nobody has rated: what a card shows of it is only how many there are.
const answersTask = "mtbench-answers"

// results reads and checks the artifacts.
func (f *Facts) results(ctx context.Context) error {
	for i := range f.cfg.Results {
		src := &f.cfg.Results[i]
		paths, err := artifactFiles(ctx, f.cfg.path(src.Path))
		if err != nil {
			return err
		}
		for _, path := range paths {
			r, err := f.result(ctx, path, src)
			if err != nil {
				return err
			}
			for _, other := range f.Results {
				if other.Task == r.Task && other.Of == r.Of && judgesOf(other.Artifact) == judgesOf(r.Artifact) {
					return &DoubledError{r.Task, other.Path, r.Path}
				}
			}
			f.Results = append(f.Results, r)
		}
	}
	return nil
}

// judgesOf names who rated: as the run calls the judge, else by its own name.
func judgesOf(a *eval.Artifact) string {
	if c, ok := a.Config["judge"].(map[string]any); ok && len(a.Judges) == 1 {
		if name, ok := c["name"].(string); ok && name != "" {
			return name
		}
	}
	var names []string
	for _, j := range a.Judges {
		names = append(names, j.Name)
	}
	return strings.Join(names, ", ")
}

// result reads and checks an artifact.
func (f *Facts) result(ctx context.Context, path string, src *ResultSource) (*Result, error) {
	a, err := eval.ReadArtifact(ctx, path)
	if err != nil {
		return nil, err
	}
	shown := f.shown(path)
	if !a.Complete {
		return nil, &IncompleteError{shown, a.Task}
	}
	if src.Of == "" {
		if why := f.model.same(&a.Model, f.cfg.Name, f.cfg.ID); why != "" {
			return nil, &OtherModelError{shown, why}
		}
	} else if a.Model.Weights != "" && f.model.same(&a.Model) == "" {
		return nil, &OtherModelError{shown, fmt.Sprintf("the configuration says %q, but it is of the card's own model", src.Of)}
	}
	if err := a.CheckRaw(filepath.Dir(path)); err != nil {
		return nil, &DamagedError{shown, err}
	}
	hash, err := hashOf(path)
	if err != nil {
		return nil, err
	}
	return &Result{Artifact: a, Path: shown, Of: src.Of, Hash: hash, src: src}, nil
}

// hashOf is the SHA-256 of a small file.
func hashOf(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// artifactFiles finds the artifacts that a path names: the file itself, those of the judges of a run of MT-Bench, or the
// artifacts in a folder.
func artifactFiles(ctx context.Context, path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	if _, err := os.Stat(filepath.Join(path, mtbench.AnswersResult)); err == nil {
		judged, err := filepath.Glob(filepath.Join(escapeGlob(path), "*", mtbench.JudgedResult))
		if err != nil || len(judged) > 0 {
			return judged, err
		}
		return []string{filepath.Join(path, mtbench.AnswersResult)}, nil
	}
	var found []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(p, ".json") && isArtifact(ctx, p) {
			found = append(found, p)
		}
		return err
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: %w", path, errNoArtifact)
	}
	slices.Sort(found)
	return found, err
}

var errNoArtifact = errors.New("no result of an evaluation is in this folder")

// escapeGlob makes a path its own pattern.
func escapeGlob(p string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`).Replace(p)
}

// isArtifact reports whether a file says that it is one.
func isArtifact(ctx context.Context, path string) bool {
	_, err := eval.ReadArtifact(ctx, path)
	var not *eval.NotArtifactError
	return err == nil || errors.As(err, &not) && not.Version > 0
}

// find returns the result of a task on a model.
func (f *Facts) find(task, of string) (*Result, error) {
	for _, r := range f.Results {
		if r.Task == task && r.Of == of {
			return r, nil
		}
	}
	return nil, &MissingError{Task: task, Of: of}
}

// MissingError says that a template asks for something that no file has.
type MissingError struct {
	What              string // what is missing, where it is no number of a result
	Task, Name, Group string // the number; Name is "" where there is no result of the task at all
	Of                string // the model, if another than the card's
	Have              []string
}

func (e *MissingError) Error() string {
	of := ""
	if e.Of != "" {
		of = fmt.Sprintf(" on %q", e.Of)
	}
	switch {
	case e.What != "":
		return "the card asks for " + e.What + ", and there is none"
	case e.Name == "":
		return fmt.Sprintf("the card asks for %s%s, and there is no result of it", e.Task, of)
	}
	name := e.Name
	if e.Group != "" {
		name += " of " + e.Group
	}
	have := ""
	if len(e.Have) > 0 {
		have = "; it has " + strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("the card asks for %s of %s%s, and the result has no such number%s", name, e.Task, of, have)
}

// Kind says what a path has for a card: "run", the folder of a training; "data", statistics; "result", artifacts; "" for
// anything else, such as a model.
func Kind(ctx context.Context, path string) string {
	if strings.HasSuffix(path, statsSuffix) {
		return "data"
	}
	if _, err := os.Stat(path + statsSuffix); err == nil {
		return "data"
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(path, train.RecordFile)); err == nil {
		return "run"
	}
	if _, err := os.Stat(filepath.Join(path, "config.json")); info.IsDir() && err == nil { // a model
		return ""
	}
	if info.IsDir() || strings.HasSuffix(path, ".json") {
		if _, err := artifactFiles(ctx, path); info.IsDir() && err == nil || !info.IsDir() {
			return "result"
		}
	}
	return ""
}
