package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"leolm/internal/bounded"
	"leolm/internal/durable"
	"leolm/internal/kernel/cpu"
)

// ArtifactVersion is the version of the layout of Artifact that this package writes. It reads this one and older ones.
const ArtifactVersion = 1

// artifactSchema marks a file as an artifact.
const artifactSchema = "leo-eval-result"

// maxArtifact bounds a file of an artifact, in bytes.
const maxArtifact = 64 << 20

// Artifact is the result of one task on one model, with all that is needed to trust it and to run it again. Numbers are
// read from artifacts and nowhere else: a model card without one for a number is an error.
type Artifact struct {
	Schema      string   `json:"schema"` // "leo-eval-result"
	Version     int      `json:"version"`
	Task        string   `json:"task"`                   // "mtbench", "germanbench/arc_de", …
	TaskVersion string   `json:"task_version,omitempty"` // changes when prompts or scoring do
	Model       Identity `json:"model"`
	// Judges rated the answers, where anybody did.
	Judges []Identity `json:"judges,omitempty"`
	// Config is what the user chose, under the task's own keys.
	Config map[string]any `json:"config,omitempty"`
	// Inputs are questions, prompts, references and data, by hash. The hash is of what they mean, not of a file's bytes,
	// where the task knows that.
	Inputs []Input `json:"inputs,omitempty"`
	// Complete is false for a run with a limit, or with requests that failed: no number of it belongs into a card.
	Complete bool     `json:"complete"`
	Metrics  []Metric `json:"metrics"`
	// Counts are what was met on the way: requests, failures, dropped replies.
	Counts map[string]int `json:"counts,omitempty"`
	// Details are the task's own results, which only the task reads.
	Details json.RawMessage `json:"details,omitempty"`
	// Raw are the files of single answers and scores, beside the artifact.
	Raw []File `json:"raw,omitempty"`

	Leo     Software  `json:"leo"`
	Machine Machine   `json:"machine"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // of work, over all parts of a run that was interrupted
}

// Metric is one number of a result.
type Metric struct {
	Name string `json:"name"` // "average", "acc_norm", …
	// Group is the part that it measures: a category, a subject; "" for the whole.
	Group string `json:"group,omitempty"`
	// Value is nil where there is nothing to measure: never 0, never NaN.
	Value *float64 `json:"value"`
	// Text is the value as the task prints it, where the digits matter.
	Text   string      `json:"text,omitempty"`
	StdErr *float64    `json:"stderr,omitempty"`
	CI95   *[2]float64 `json:"ci95,omitempty"`
	N      int         `json:"n"`              // items that it is made of
	Of     int         `json:"of,omitempty"`   // items that there are, if more
	Unit   string      `json:"unit,omitempty"` // "fraction", "rating 1–10", "nats", …
	Lower  bool        `json:"lower_is_better,omitempty"`
}

// Input is something that a result depends on.
type Input struct {
	Role string `json:"role"` // "questions", "judge prompts", "data", …
	Name string `json:"name"` // where it came from
	Hash string `json:"hash"` // SHA-256
	Rows int    `json:"rows,omitempty"`
}

// File is a file beside an artifact.
type File struct {
	Name string `json:"name"` // relative to the artifact
	Hash string `json:"hash"` // SHA-256
	Size int64  `json:"size"`
}

// Software is what computed a result.
type Software struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Machine is where it did.
type Machine struct {
	Platform   string `json:"platform"` // "linux/amd64"
	CPU        string `json:"cpu"`      // the set of instructions in use
	Processors int    `json:"processors"`
}

// NewArtifact begins an artifact of a task that starts now, on this machine.
func NewArtifact(task string, model Identity, leo Software) *Artifact {
	leo.Go = runtime.Version()
	return &Artifact{
		Schema: artifactSchema, Version: ArtifactVersion, Task: task, Model: model, Leo: leo, Started: time.Now().UTC().Truncate(time.Second),
		Machine: Machine{Platform: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpu.Active.String(), Processors: runtime.GOMAXPROCS(0)},
	}
}

// Add appends a metric; a value that is not finite becomes none.
func (a *Artifact) Add(m Metric) {
	if m.Value != nil && (math.IsNaN(*m.Value) || math.IsInf(*m.Value, 0)) {
		m.Value = nil
	}
	a.Metrics = append(a.Metrics, m)
}

// Metric finds a metric by name and group.
func (a *Artifact) Metric(name, group string) (Metric, bool) {
	for _, m := range a.Metrics {
		if m.Name == name && m.Group == group {
			return m, true
		}
	}
	return Metric{}, false
}

// AddRaw refers to a file below dir, where the artifact will be written.
func (a *Artifact) AddRaw(dir, name string) error {
	f, err := hashFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	f.Name = filepath.ToSlash(name)
	a.Raw = append(a.Raw, f)
	return nil
}

// AddInputFile adds a file with so many rows as an input, by the hash of its bytes.
func (a *Artifact) AddInputFile(role, path string, rows int) error {
	f, err := hashFile(path)
	if err != nil {
		return err
	}
	a.Inputs = append(a.Inputs, Input{Role: role, Name: filepath.Base(path), Hash: f.Hash, Rows: rows})
	return nil
}

// hashFile returns hash and size of a file.
func hashFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, err
	}
	return File{Hash: hex.EncodeToString(h.Sum(nil)), Size: n}, nil
}

// RawError says that a file which an artifact names is not what it was when the artifact was written.
type RawError struct {
	Path string // of the file
	Err  error  // why it cannot be read; nil if it has other contents
}

func (e *RawError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("a file of the result cannot be read: %v", e.Err)
	}
	return fmt.Sprintf("%s has other contents than when the result was written", e.Path)
}

// Unwrap returns why the file cannot be read.
func (e *RawError) Unwrap() error { return e.Err }

// CheckRaw compares the files that the artifact names, which lie below dir, with their hashes. The error is a *RawError.
func (a *Artifact) CheckRaw(dir string) error {
	for _, want := range a.Raw {
		path := filepath.Join(dir, filepath.FromSlash(want.Name))
		if !filepath.IsLocal(filepath.FromSlash(want.Name)) {
			return &RawError{Path: path, Err: fmt.Errorf("%q leads out of the result's folder", want.Name)}
		}
		got, err := hashFile(path)
		if err != nil {
			return &RawError{Path: path, Err: err}
		}
		if got.Hash != want.Hash || got.Size != want.Size {
			return &RawError{Path: path}
		}
	}
	return nil
}

// WriteFile writes the artifact, atomically, and makes the folder that it lies in.
func (a *Artifact) WriteFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return durable.WriteTo(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(a)
	})
}

// NotArtifactError says that a file is no result that this program can read.
type NotArtifactError struct {
	Path    string
	Version int // of the file, if it is a result at all
	Err     error
}

func (e *NotArtifactError) Error() string {
	if e.Version > ArtifactVersion {
		return fmt.Sprintf("%s: a result in version %d of the layout; this program reads up to %d", e.Path, e.Version, ArtifactVersion)
	}
	return fmt.Sprintf("%s: not the result of an evaluation: %v", e.Path, e.Err)
}

// Unwrap returns what is wrong with the file.
func (e *NotArtifactError) Unwrap() error { return e.Err }

// ReadArtifact reads what Artifact.WriteFile wrote; an error about the contents is a *NotArtifactError.
func ReadArtifact(ctx context.Context, path string) (*Artifact, error) {
	data, err := bounded.File(ctx, path, maxArtifact)
	if err != nil {
		return nil, err
	}
	a := new(Artifact)
	if err := json.Unmarshal(data, a); err != nil {
		return nil, &NotArtifactError{Path: path, Err: err}
	}
	if a.Schema != artifactSchema || a.Version < 1 || a.Task == "" {
		return nil, &NotArtifactError{Path: path, Err: errors.New("it has no schema, version and task of one")}
	}
	if a.Version > ArtifactVersion {
		return nil, &NotArtifactError{Path: path, Version: a.Version}
	}
	return a, nil
}

// HashOf is the SHA-256 of values as JSON: the same for equal values, whatever file they came from.
func HashOf(values ...any) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			panic("eval: HashOf of a value without JSON: " + err.Error()) // a mistake in the program
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// FileName makes a name for a file of a model's name, as FastEval does: "/" becomes "--".
func FileName(model string) string {
	return strings.NewReplacer("/", "--", "\\", "--", ":", "-", "\x00", "").Replace(model)
}
