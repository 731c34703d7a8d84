package card

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"leolm/dataset"
	"leolm/eval"
	"leolm/eval/mtbench"
	"leolm/internal/bounded"
	"leolm/internal/report"
	"leolm/train"
)

// Facts is all that a card can say. Its methods are what templates call; those that return an error end the rendering when
// there is nothing to return.
type Facts struct {
	Results []*Result // in the order of the configuration
	Runs    []*Run
	Data    []*dataset.Stats // one for each dataset

	cfg     *Config
	model   *Model
	files   map[string]File
	stats   []File             // of statistics
	ratings []*mtbench.Details // by the number of the result; nil for other tasks
}

// Run is a training.
type Run struct {
	*train.Record
	Path string       // of its folder, as the card names it
	Hash string       // SHA-256 of the record
	rows []report.Row // of its metrics, for the picture
}

// File is one that the template reads.
type File struct {
	Path, Hash string
	data       []byte
}

// maxFile bounds such a file, in bytes.
const maxFile = 16 << 20

// Gather reads everything that the configuration names, and checks it. Errors about artifacts are *IncompleteError,
// *OtherModelError, *DamagedError and *DoubledError.
func Gather(ctx context.Context, c *Config) (*Facts, error) {
	f := &Facts{cfg: c, files: map[string]File{}}
	var err error
	if f.model, err = c.openModel(); err != nil {
		return nil, err
	}
	if c.License == "" {
		return nil, ErrNoLicense
	}
	for _, dir := range c.Runs {
		if err := f.run(ctx, dir); err != nil {
			return nil, err
		}
	}
	if err := f.data(); err != nil {
		return nil, err
	}
	if err := f.results(ctx); err != nil {
		return nil, err
	}
	for _, r := range f.Results {
		var d *mtbench.Details
		if r.Task == mtbenchTask {
			if d, err = mtbench.ReadDetails(r.Artifact); err != nil {
				return nil, &eval.NotArtifactError{Path: r.Path, Err: err}
			}
		}
		f.ratings = append(f.ratings, d)
	}
	for name, path := range c.Files {
		data, err := bounded.File(ctx, c.path(path), maxFile)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		f.files[name] = File{Path: f.shown(c.path(path)), Hash: hex.EncodeToString(sum[:]), data: data}
	}
	return f, nil
}

// shown is a path as the card names it: from the configuration's folder on.
func (f *Facts) shown(path string) string {
	if rel, err := filepath.Rel(f.cfg.path("."), path); err == nil && f.cfg.dir != "" {
		return filepath.ToSlash(rel)
	}
	return filepath.ToSlash(path)
}

// run reads a training, and draws its loss where the configuration wants that.
func (f *Facts) run(ctx context.Context, dir string) error {
	path := f.cfg.path(dir)
	rec, err := train.ReadRecord(ctx, path)
	if err != nil {
		return err
	}
	r := &Run{Record: rec, Path: f.shown(path)}
	if r.Hash, err = hashOf(filepath.Join(path, train.RecordFile)); err != nil {
		return err
	}
	if f.cfg.LossCurve != "" {
		if r.rows, err = report.ReadMetrics(filepath.Join(path, "metrics.jsonl")); err != nil {
			return err
		}
	}
	f.Runs = append(f.Runs, r)
	return nil
}

// ErrNoLicense says that the configuration does not name the model's license.
var ErrNoLicense = errors.New("nothing says under which license the model is")

// NoLicenseError says that there are statistics of a dataset whose license the configuration does not name.
type NoLicenseError struct{ Dataset string }

func (e *NoLicenseError) Error() string {
	return fmt.Sprintf("the model was trained on %q, and nothing says under which license it is", e.Dataset)
}

// data reads the statistics of the prepared data.
func (f *Facts) data() error {
	for _, p := range f.cfg.Data {
		path := f.cfg.path(p)
		if !strings.HasSuffix(path, statsSuffix) {
			path += statsSuffix
		}
		parts, err := dataset.ReadStatsFile(path)
		if err != nil {
			return err
		}
		hash, err := hashOf(path)
		if err != nil {
			return err
		}
		f.stats = append(f.stats, File{Path: f.shown(path), Hash: hash})
		f.Data = append(f.Data, parts...)
	}
	for _, s := range f.Data {
		name := strings.TrimPrefix(s.Name, "Subset of ")
		if !slices.ContainsFunc(f.cfg.Datasets, func(d Dataset) bool { return d.Name == name || d.Name == s.Name || d.ID == name }) {
			return &NoLicenseError{name}
		}
	}
	return nil
}

// statsSuffix ends the file of statistics beside prepared data.
const statsSuffix = "_stats.json"

// mtbenchTask is the task whose block of scores cards show.
const mtbenchTask = "mtbench"

// Config is what people say about the model.
func (f *Facts) Config() *Config { return f.cfg }

// Model is what the model's files say.
func (f *Facts) Model() *Model { return f.model }

// Title is the name of the card.
func (f *Facts) Title() string {
	if f.cfg.Name != "" {
		return f.cfg.Name
	}
	return f.model.Name
}

// Repository is the model's id on the hub, or its name where that is not known.
func (f *Facts) Repository() string {
	if f.cfg.ID != "" {
		return f.cfg.ID
	}
	return f.model.Name
}

// Metric looks a number up: of a task, by name and group ("" for the whole), on the card's model or on another. It has an
// artifact, or there is an error.
func (f *Facts) Metric(of, task, name, group string) (*Number, error) {
	r, err := f.find(task, of)
	if err != nil {
		return nil, err
	}
	return r.number(name, group)
}

// MTBench is the block of scores, to the character, by the judge of that name; "" takes the first.
func (f *Facts) MTBench(judge string) (string, error) {
	r, d, err := f.rated(judge)
	if err != nil {
		return "", err
	}
	if d.Block == "" {
		return "", &MissingError{What: "the scores of MT-Bench in " + r.Path}
	}
	return d.Block, nil
}

// MTBenchTitle is what was asked: MT-Bench-DE, or Leo's own questions.
func (f *Facts) MTBenchTitle() (string, error) {
	r, _, err := f.rated("")
	if err == nil && r.ownQuestions() {
		return ownQuestionsTitle, nil
	}
	return knownTasks[mtbenchTask].name, err
}

// MTBenchNote says in a sentence who rated, and how many answers have a rating.
func (f *Facts) MTBenchNote(judge string) (string, error) {
	r, d, err := f.rated(judge)
	if err != nil {
		return "", err
	}
	average, err := r.number("average", "")
	if err != nil {
		return "", err
	}
	s := fmt.Sprintf("Ratings from 1 to 10 by %s, of %s answers", inline(judgesOf(r.Artifact)), average.Count())
	if average.Of > average.N {
		s += "; those without a rating are in no mean"
	}
	if r.ownQuestions() {
		s += ". The questions are Leo's own: the scores are not comparable with those on other sets"
	}
	for _, w := range d.Warning {
		s += ". " + inline(w)
	}
	return strings.TrimSuffix(s, ".") + ".", nil
}

// rated finds a result of MT-Bench on the card's model.
func (f *Facts) rated(judge string) (*Result, *mtbench.Details, error) {
	for i, r := range f.Results {
		if d := f.ratings[i]; d != nil && r.Of == "" && (judge == "" || judgesOf(r.Artifact) == judge) {
			return r, d, nil
		}
	}
	return nil, nil, &MissingError{Task: mtbenchTask}
}

// Stats is the block of statistics of all data, to the character.
func (f *Facts) Stats() (string, error) {
	if len(f.Data) == 0 {
		return "", &MissingError{What: "the statistics of prepared data"}
	}
	return string(dataset.AppendBlock(nil, f.Data)), nil
}

// Has reports whether there is something of that kind: "runs", "data", "results", "mtbench", a file's name, or a task.
func (f *Facts) Has(what string) bool {
	switch what {
	case "runs":
		return len(f.Runs) > 0
	case "data":
		return len(f.Data) > 0
	case "results":
		return len(f.Results) > 0
	case "mtbench":
		_, err := f.MTBench("")
		return err == nil
	}
	_, ok := f.files[what]
	return ok || slices.ContainsFunc(f.Results, func(r *Result) bool { return r.Task == what && r.Of == "" })
}

// Text is a file that the configuration names.
func (f *Facts) Text(name string) (string, error) {
	file, ok := f.files[name]
	if !ok {
		return "", &MissingError{What: fmt.Sprintf("the file %q", name)}
	}
	return strings.ToValidUTF8(string(file.data), "\ufffd"), nil
}

// JSON is such a file's value.
func (f *Facts) JSON(name string) (any, error) {
	text, err := f.Text(name)
	if err != nil {
		return nil, err
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("%s: %w", f.files[name].Path, err)
	}
	return v, nil
}

// Files are those that the template has, by their paths.
func (f *Facts) Files() []File {
	var out []File
	for _, file := range f.files {
		out = append(out, file)
	}
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// LossCurve draws the losses of the runs one after the other over the tokens that they read.
func (f *Facts) LossCurve() ([]byte, error) {
	if f.cfg.LossCurve == "" {
		return nil, &MissingError{What: "a picture of the loss"}
	}
	plot := report.Lines{Title: "Loss, nats per token", XLabel: "million tokens read"}
	offset := 0.0
	for i, run := range f.Runs {
		var x, y, vx, vy []float64
		seen := 0.0
		for _, r := range run.rows {
			if v, ok := r.Values["tokens_seen"]; ok {
				seen = v / 1e6
			}
			if v, ok := r.Values[report.Loss]; ok {
				x, y = append(x, offset+seen), append(y, v)
			}
			if v, ok := r.Values[report.ValidLoss]; ok {
				vx, vy = append(vx, offset+seen), append(vy, v)
			}
		}
		if len(x) == 0 {
			return nil, &MissingError{What: "a loss in " + run.Path}
		}
		plot.Lines = append(plot.Lines, report.Line{Name: f.display(run.Name), X: x, Y: report.Smooth(y, 20), Color: 2 * i})
		if len(vx) > 0 {
			plot.Lines = append(plot.Lines, report.Line{Name: f.display(run.Name) + ", held out", X: vx, Y: vy, Color: 2*i + 1})
		}
		offset += seen
	}
	return plot.SVG(), nil
}

// display is how a name is shown.
func (f *Facts) display(name string) string {
	if s := f.cfg.Display[name]; s != "" {
		return s
	}
	return name
}
