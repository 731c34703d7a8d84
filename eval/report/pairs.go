package report

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"leolm/eval"
	"leolm/eval/compare"
	"leolm/eval/harness"
	"leolm/eval/mtbench"
	page "leolm/internal/report"
)

// pair is two models on the same documents; i is the first column.
type pair struct {
	task *task
	i, j int
	compare.Paired
}

// maxAll is up to how many models every one is compared with every other; of more, each is with the first.
const maxAll = 4

// maxDocuments bounds the documents of a task: no benchmark has nearly as many.
const maxDocuments = 1 << 20

// partOffset parts the numbers of documents of different parts of a task.
const partOffset = 1 << 24

// brief is a single result without its texts.
type brief struct {
	harness.Record
	pick  string  // what the model chose, as far as it is compared
	right float64 // probability of the right choices among all; NaN for answers
}

// pair compares the models of each task document by document, and notes on which they disagree.
func (b *builder) pair() error {
	for _, t := range b.tasks {
		if t.part {
			continue
		}
		leaves := t.parts
		if len(leaves) == 0 {
			leaves = []*task{t}
		}
		pooled := make([][]harness.Record, len(b.columns))
		for k, leaf := range leaves {
			briefs, err := b.briefs(leaf, t)
			if err != nil {
				return err
			}
			if err := b.pairRecords(leaf, briefs); err != nil {
				return err
			}
			b.choose(t, leaf, briefs)
			for i, list := range briefs {
				for n := range list {
					r := list[n].Record
					r.Doc += k * partOffset
					pooled[i] = append(pooled[i], r)
				}
			}
		}
		if len(t.parts) > 0 {
			if err := b.pairAll(t, pooled); err != nil {
				return err
			}
		}
		if strings.HasPrefix(t.name, mtbenchTask) {
			if err := b.pairRatings(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// records is the file of a result's single results; "" if it has none.
func (r *result) records() string {
	name := strings.TrimSuffix(filepath.Base(r.path), ".json") + ".jsonl"
	for _, f := range r.Raw {
		if f.Name == name {
			return filepath.Join(filepath.Dir(r.path), name)
		}
	}
	return ""
}

// untouched reports whether the file of single results is the one that the artifact was written with.
func (r *result) untouched(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	return slices.ContainsFunc(r.Raw, func(f eval.File) bool { return f.Name == filepath.Base(path) && f.Hash == sum }), nil
}

// briefs reads the single results of a task, by column. root is the task that it is a part of, or itself.
func (b *builder) briefs(t, root *task) ([][]brief, error) {
	out := make([][]brief, len(b.columns))
	metric := binaryMetric(root)
	for i, r := range t.results {
		if r == nil || r.records() == "" || t.count() < 2 {
			continue
		}
		path := r.records()
		same, err := r.untouched(path)
		if errors.Is(err, fs.ErrNotExist) {
			b.warn(t, "the single results of %s are not beside the artifact, so its documents are not compared.", b.columns[i].label)
			continue
		}
		if err != nil {
			return nil, err
		}
		if !same {
			b.warn(t, "the single results of %s are not those that the artifact was written with, and are not compared.", b.columns[i].label)
			continue
		}
		err = harness.EachRecord(path, func(rec *harness.Record) error {
			if len(out[i]) >= maxDocuments {
				return &TooManyError{path, maxDocuments}
			}
			x := brief{Record: *rec, pick: pickOf(rec, metric), right: rightOf(rec)}
			x.Question, x.Choices, x.Answer, x.LogProbs, x.Tokens, x.Greedy, x.Picked, x.Gold = "", nil, nil, nil, nil, nil, nil, nil
			out[i] = append(out[i], x)
			return b.ctx.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// pairRecords compares the single results of a task.
func (b *builder) pairRecords(t *task, briefs [][]brief) error {
	lists := make([][]harness.Record, len(briefs))
	for i, list := range briefs {
		for k := range list {
			lists[i] = append(lists[i], list[k].Record)
		}
	}
	return b.pairAll(t, lists)
}

// pairAll compares the models that were asked the same.
func (b *builder) pairAll(t *task, lists [][]harness.Record) error {
	have := func(i int) bool { return len(lists[i]) > 0 }
	return b.eachPair(t, have, func(i, j int) error {
		list, err := compare.Results(t.name, lists[i], lists[j])
		var other *compare.OtherRequestsError
		if errors.As(err, &other) {
			b.warn(t, "%s and %s were not asked the same (%s): they are not compared.", b.columns[i].label, b.columns[j].label, other.Row)
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range list {
			b.pairs = append(b.pairs, pair{t, i, j, p})
		}
		return nil
	})
}

// eachPair calls f for the pairs of columns that can be compared: all of them, or of many those with the first.
func (b *builder) eachPair(t *task, have func(i int) bool, f func(i, j int) error) error {
	var with []int
	for i := range b.columns {
		if t.results[i] != nil && have(i) {
			with = append(with, i)
		}
	}
	for x, i := range with {
		if x > 0 && len(with) > maxAll {
			b.firstOnly = true
			return nil
		}
		for _, j := range with[x+1:] {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			if !t.comparable(i, j) {
				continue
			}
			if err := f(i, j); err != nil {
				return err
			}
		}
	}
	return nil
}

// pairRatings compares the ratings of the same questions: the mean of each one's turns.
func (b *builder) pairRatings(t *task) error {
	means := make([]map[string]float64, len(b.columns))
	for i, r := range t.results {
		if r == nil || r.Task != mtbenchTask {
			continue
		}
		d, err := mtbench.ReadDetails(r.Artifact)
		if err != nil {
			return err
		}
		means[i] = questionMeans(d.Ratings)
	}
	return b.eachPair(t, func(i int) bool { return len(means[i]) > 0 }, func(i, j int) error {
		var values [][2]float64
		missing := [2]int{}
		for _, q := range sorted(means[i]) {
			if y, ok := means[j][q]; ok {
				values = append(values, [2]float64{means[i][q], y})
			} else {
				missing[1]++
			}
		}
		missing[0] = len(means[j]) - len(values)
		if len(values) == 0 {
			return nil
		}
		p := compare.Values(t.name, "average", values)
		p.OnlyA, p.OnlyB, p.P = nil, nil, nil // ratings are not right or wrong
		p.MissingA, p.MissingB = missing[0], missing[1]
		b.pairs = append(b.pairs, pair{t, i, j, p})
		return nil
	})
}

// questionMeans are the means of questions whose two turns are rated.
func questionMeans(ratings []mtbench.PlacedRating) map[string]float64 {
	sum, n := map[string][2]float64{}, map[string][2]float64{}
	for _, r := range ratings {
		if r.Turn != 1 && r.Turn != 2 {
			continue // of a file that this program has not written
		}
		s, k := sum[r.Question], n[r.Question]
		s[r.Turn-1] += r.Rating
		k[r.Turn-1]++
		sum[r.Question], n[r.Question] = s, k
	}
	out := map[string]float64{}
	for q, s := range sum {
		if k := n[q]; k[0] > 0 && k[1] > 0 {
			out[q] = (s[0]/k[0] + s[1]/k[1]) / 2
		}
	}
	return out
}

// paired is the comparison of two columns in a number, as far as there is one.
func (b *builder) paired(r *row, i, j int) (compare.Paired, bool) {
	if r.group != "" {
		return compare.Paired{}, false
	}
	if len(r.task.parts) == 0 {
		return b.pairOf(r.task, r.name, i, j)
	}
	// The mean of the parts: its difference is the mean of theirs, and so is the square of its error, over their number.
	var out compare.Paired
	sum, square := 0.0, 0.0
	for _, part := range r.task.parts {
		p, ok := b.pairOf(part, r.name, i, j)
		if !ok {
			return out, false
		}
		sum += p.Diff
		square += math.Pow((p.CI95[1]-p.CI95[0])/2, 2)
	}
	n := float64(len(r.task.parts))
	out.Diff = sum / n
	half := math.Sqrt(square) / n
	out.CI95 = [2]float64{out.Diff - half, out.Diff + half}
	if all, ok := b.pairOf(r.task, r.name, i, j); ok {
		out.P = all.P
	}
	return out, true
}

func (b *builder) pairOf(t *task, metric string, i, j int) (compare.Paired, bool) {
	for _, p := range b.pairs {
		if p.task == t && p.Metric == metric && (p.i == i && p.j == j || p.i == j && p.j == i) {
			return p.Paired, true
		}
	}
	return compare.Paired{}, false
}

// pairSection says what lies between two models on the same documents.
func (b *builder) pairSection() page.Section {
	t := page.Table{
		Caption: "B − A over the documents that both have; the interval is that of a paired bootstrap, p that of McNemar's exact test", RowHeads: true,
		Head:    []string{"Task", "Metric", "Pair", "Documents", "A", "B", "B − A", "95 % interval", "only A right", "only B right", "p"},
		Numeric: []bool{false, false, false, true, true, true, true, true, true, true, true},
	}
	tests := 0
	for _, p := range b.pairs {
		if p.task.part {
			continue
		}
		row := []string{
			p.task.name, p.Metric, fmt.Sprintf("A: %s\nB: %s", b.columns[p.i].label, b.columns[p.j].label), fmt.Sprint(p.N), fmt.Sprintf("%.4f", p.A), fmt.Sprintf("%.4f", p.B),
			fmt.Sprintf("%+.4f", p.Diff), fmt.Sprintf("%+.4f … %+.4f", p.CI95[0], p.CI95[1]), "–", "–", "–",
		}
		if n := p.MissingA + p.MissingB; n > 0 {
			row[3] += fmt.Sprintf("\n%d without a pair", n)
		}
		if p.P != nil {
			tests++
			row[8], row[9], row[10] = fmt.Sprint(*p.OnlyA), fmt.Sprint(*p.OnlyB), printP(*p.P)
		}
		t.Rows = append(t.Rows, row)
	}
	s := page.Section{Heading: "Pairs of models"}
	if len(t.Rows) == 0 {
		return s
	}
	s.Text = "Two means may look alike where the documents do not. Only results of the same questions, prompts and examples are compared."
	if tests > 1 {
		s.Text += fmt.Sprintf(" Of %d tests, one in twenty falls below 0.05 by chance alone.", tests)
	}
	if b.firstOnly {
		s.Text += fmt.Sprintf(" Where a task has more than %d models, each is compared with the first.", maxAll)
	}
	s.Blocks = append(s.Blocks, t)
	return s
}

// printP prints a probability.
func printP(p float64) string {
	if p < 0.0001 {
		return fmt.Sprintf("%.1e", p)
	}
	return fmt.Sprintf("%.4f", p)
}
