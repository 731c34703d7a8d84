package compare

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/eval/harness"
)

// Paired compares two models on the documents of a task that both have a result for.
type Paired struct {
	Task   string  `json:"task"`
	Metric string  `json:"metric"`
	N      int     `json:"n"` // documents that both have
	A      float64 `json:"a"`
	B      float64 `json:"b"`
	Diff   float64 `json:"difference"` // of the means, B − A
	// CI95 of the difference is the percentile interval of a paired bootstrap.
	CI95 [2]float64 `json:"ci95"`
	// OnlyA and OnlyB count the documents that one alone has right, P is McNemar's exact two-sided p; all are absent from
	// metrics that are not right or wrong.
	OnlyA *int     `json:"only_a,omitempty"`
	OnlyB *int     `json:"only_b,omitempty"`
	P     *float64 `json:"mcnemar_p,omitempty"`
	// MissingA and MissingB are documents that one alone has a result for, or that have no result.
	MissingA int `json:"missing_a,omitempty"`
	MissingB int `json:"missing_b,omitempty"`
}

// OtherRequestsError says that two results are not of the same task: prompts, examples or choices differ.
type OtherRequestsError struct {
	Task string
	Row  string // the first document that was asked otherwise
}

func (e *OtherRequestsError) Error() string {
	return fmt.Sprintf("%s: %s was asked in other words, or after other examples, in the two results: they cannot be compared", e.Task, e.Row)
}

// NothingSharedError says that two results have no document in common.
type NothingSharedError struct{ A, B string }

func (e *NothingSharedError) Error() string {
	return fmt.Sprintf("%s and %s have no document in common", e.A, e.B)
}

// resamples is how often documents are drawn anew for an interval.
const resamples = 10000

// Results compares records of two models, of one task.
func Results(task string, a, b []harness.Record) ([]Paired, error) {
	type both struct{ a, b *harness.Record }
	docs := map[string]*both{}
	var order []string
	key := func(r *harness.Record) string { return fmt.Sprintf("%s/%d", r.Hash, r.Doc) }
	for i := range a {
		if k := key(&a[i]); docs[k] == nil {
			docs[k] = &both{a: &a[i]}
			order = append(order, k)
		}
	}
	missingA := 0
	for i := range b {
		if d := docs[key(&b[i])]; d != nil {
			d.b = &b[i]
			continue
		}
		missingA++
	}
	metrics, missingB := map[string][][2]float64{}, 0
	for _, k := range order {
		d := docs[k]
		switch {
		case d.b == nil:
			missingB++
			continue
		case d.a.Asked != d.b.Asked:
			return nil, &OtherRequestsError{task, d.a.Row}
		case d.a.Error != "" || d.b.Error != "":
			if d.a.Error != "" {
				missingA++
			}
			if d.b.Error != "" {
				missingB++
			}
			continue
		}
		for name, x := range d.a.Metrics {
			if y, ok := d.b.Metrics[name]; ok {
				metrics[name] = append(metrics[name], [2]float64{x, y})
			}
		}
	}
	var out []Paired
	for name, values := range metrics {
		p := Values(task, name, values)
		p.MissingA, p.MissingB = missingA, missingB
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y Paired) int { return cmp.Compare(x.Metric, y.Metric) })
	return out, nil
}

// Values compares two models by pairs of values, of the first and the second one, that belong together. There must be one.
func Values(task, name string, values [][2]float64) Paired {
	p := Paired{Task: task, Metric: name, N: len(values)}
	onlyA, onlyB, binary := 0, 0, true
	diffs := make([]float64, len(values))
	for i, v := range values {
		p.A += v[0]
		p.B += v[1]
		diffs[i] = v[1] - v[0]
		binary = binary && (v[0] == 0 || v[0] == 1) && (v[1] == 0 || v[1] == 1)
		switch {
		case v[0] > v[1]:
			onlyA++
		case v[1] > v[0]:
			onlyB++
		}
	}
	n := float64(len(values))
	p.A, p.B = p.A/n, p.B/n
	p.Diff = p.B - p.A
	p.CI95 = bootstrap(diffs)
	if binary {
		x := McNemar(onlyA, onlyB)
		p.OnlyA, p.OnlyB, p.P = &onlyA, &onlyB, &x
	}
	return p
}

// bootstrap is the interval that holds 95 of 100 means of documents drawn anew. It is the same for the same values.
func bootstrap(diffs []float64) [2]float64 {
	r := rand.New(rand.NewPCG(42, 0))
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range diffs {
			sum += diffs[r.IntN(len(diffs))]
		}
		means[i] = sum / float64(len(diffs))
	}
	slices.Sort(means)
	return [2]float64{means[resamples*25/1000], means[resamples*975/1000-1]}
}

// McNemar is the exact two-sided p of b documents that one model alone has right and c that the other has, if both were
// equally good.
func McNemar(b, c int) float64 {
	n, k := b+c, min(b, c)
	if n == 0 {
		return 1
	}
	sum := 0.0
	for i := 0; i <= k; i++ {
		lg, _ := math.Lgamma(float64(n + 1))
		li, _ := math.Lgamma(float64(i + 1))
		lj, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(lg - li - lj - float64(n)*math.Ln2)
	}
	return min(1, 2*sum)
}

// journalFile is a run's file that has no records.
const journalFile = "progress.jsonl"

// Folders compares the records of two folders, or of two files, task by task. alone are the tasks of one side only.
func Folders(a, b string) (out []Paired, alone []string, err error) {
	fa, err := recordFiles(a)
	if err != nil {
		return nil, nil, err
	}
	fb, err := recordFiles(b)
	if err != nil {
		return nil, nil, err
	}
	for name := range fb {
		if _, ok := fa[name]; !ok && len(fa)+len(fb) > 2 {
			alone = append(alone, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fa)) {
		other, ok := fb[name]
		if !ok && len(fa) == 1 && len(fb) == 1 {
			for _, other = range fb {
				ok = true
			}
		}
		if !ok {
			alone = append(alone, name)
			continue
		}
		ra, err := harness.ReadRecords(fa[name])
		if err != nil {
			return nil, nil, err
		}
		rb, err := harness.ReadRecords(other)
		if err != nil {
			return nil, nil, err
		}
		rows, err := Results(name, ra, rb)
		if err != nil {
			return nil, nil, err
		}
		out = append(out, rows...)
	}
	if len(out) == 0 {
		return nil, nil, &NothingSharedError{a, b}
	}
	slices.Sort(alone)
	return out, alone, nil
}

// recordFiles finds files of records by task: a folder's, an artifact's, or the file itself.
func recordFiles(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	task := func(p string) string { return strings.TrimSuffix(filepath.Base(p), filepath.Ext(p)) }
	if !info.IsDir() {
		if filepath.Ext(path) == ".json" { // an artifact: its records lie beside it
			path = strings.TrimSuffix(path, ".json") + ".jsonl"
		}
		return map[string]string{task(path): path}, nil
	}
	names, err := filepath.Glob(filepath.Join(path, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, p := range names {
		if filepath.Base(p) != journalFile {
			out[task(p)] = p
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no files of single results", path)
	}
	return out, nil
}

// HasRecords reports whether a path is a result, not a model.
func HasRecords(path string) bool {
	if ext := filepath.Ext(path); ext == ".jsonl" || ext == ".json" {
		return true
	}
	if _, err := os.Stat(filepath.Join(path, "config.json")); err == nil {
		return false
	}
	files, err := recordFiles(path)
	return err == nil && len(files) > 0 && filepath.Ext(path) != ".gguf"
}
