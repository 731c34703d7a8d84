package report

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names of metrics that a training run writes and Training plots. Values of validation sets are named
// ValidPrefix + set.
const (
	Loss            = "loss"
	LearningRate    = "lr"
	GradNorm        = "grad_norm"
	TokensPerSecond = "tokens_per_second"
	ValidLoss       = "valid_loss"
	ValidPrefix     = "valid/"
	samplePrefix    = "sample/"
	// EvalPrefix stands before a task and its metric: "eval/arc_de/acc_norm".
	EvalPrefix = "eval/"
)

// Run writes the metrics of one run as JSONL and TensorBoard events.
type Run struct {
	metrics *Metrics
	events  *Events
}

// OpenRun opens dir/metrics.jsonl and a TensorBoard file in dir/tensorboard. resume is the step the run
// continues after, negative for a new run; see OpenMetrics and OpenEvents.
func OpenRun(dir string, resume int64) (*Run, error) {
	m, err := OpenMetrics(filepath.Join(dir, "metrics.jsonl"), resume)
	if err != nil {
		return nil, err
	}
	e, err := OpenEvents(filepath.Join(dir, "tensorboard"), resume)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &Run{m, e}, nil
}

// Write adds a row to both.
func (r *Run) Write(row Row) error { return errors.Join(r.metrics.Write(row), r.events.Write(row)) }

// Sync forces both to disk.
func (r *Run) Sync() error { return errors.Join(r.metrics.Sync(), r.events.Sync()) }

// Close syncs and closes both.
func (r *Run) Close() error { return errors.Join(r.metrics.Close(), r.events.Close()) }

// AddSample stores the i-th generated sample of a step in a row.
func (r *Row) AddSample(i int, prompt, text string) {
	if r.Texts == nil {
		r.Texts = map[string]string{}
	}
	key := samplePrefix + strconv.Itoa(i)
	r.Texts[key+"/prompt"], r.Texts[key+"/text"] = prompt, text
}

// Training makes the page of a training run from its metrics. facts are shown under the title.
func Training(title, lead string, facts [][2]string, rows []Row) *Page {
	column := func(name string) (x, y []float64) {
		for _, r := range rows {
			if v, ok := r.Values[name]; ok {
				x, y = append(x, float64(r.Step)), append(y, v)
			}
		}
		return x, y
	}
	lx, ly := column(Loss)
	loss := Lines{Title: "Loss", XLabel: "step", LogY: wide(ly), Lines: []Line{
		{Name: "training", X: lx, Y: ly, Faint: true},
		{Name: "training (smoothed)", X: lx, Y: Smooth(ly, 20)},
	}}
	if vx, vy := column(ValidLoss); len(vx) > 0 {
		loss.Lines = append(loss.Lines, Line{Name: "validation", X: vx, Y: vy, Color: 1})
	}
	plots := []Block{loss}
	one := func(name, title string, noisy, log bool) {
		if x, y := column(name); len(x) > 0 {
			plots = append(plots, Lines{Title: title, XLabel: "step", LogY: log && wide(y), Lines: lines(x, y, noisy)})
		}
	}
	sets := map[string]bool{}
	known := map[string]bool{Loss: true, LearningRate: true, GradNorm: true, TokensPerSecond: true, ValidLoss: true}
	for _, r := range rows {
		for k := range r.Values {
			if strings.HasPrefix(k, ValidPrefix) {
				sets[k] = true
			}
		}
	}
	if len(sets) > 0 {
		p := Lines{Title: "Validation loss by set", XLabel: "step"}
		for i, k := range slices.Sorted(maps.Keys(sets)) {
			x, y := column(k)
			p.Lines = append(p.Lines, Line{Name: strings.TrimPrefix(k, ValidPrefix), X: x, Y: y, Color: i, Dashed: i >= 6})
		}
		plots = append(plots, p)
	}
	one(LearningRate, "Learning rate", false, false)
	one(GradNorm, "Gradient norm", true, true)
	one(TokensPerSecond, "Tokens per second", true, false)
	p := &Page{Title: title, Lead: lead, Facts: facts, Sections: []Section{{Blocks: plots}}}
	p.Facts = append(slices.Clone(facts), summary(rows)...)
	if s := benchmarks(rows, column); len(s.Blocks) > 0 {
		p.Sections = append(p.Sections, s)
	}
	if other := others(rows, known); len(other) > 0 {
		s := Section{Heading: "More measurements"}
		for _, k := range other {
			// A value that never changes needs no plot.
			if x, y := column(k); slices.Min(y) != slices.Max(y) {
				s.Blocks = append(s.Blocks, Lines{Title: strings.ReplaceAll(k, "_", " "), XLabel: "step", Lines: lines(x, y, len(y) > 100 && !slices.IsSorted(y))})
			}
		}
		if len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	if t := samples(rows); len(t.Rows) > 0 {
		p.Sections = append(p.Sections, Section{Heading: "Samples", Text: "Generated during training, not selected; the last evaluation first.", Blocks: []Block{t}})
	}
	return p
}

// benchmarks has a plot for each task that was measured during the run, and its last numbers.
func benchmarks(rows []Row, column func(name string) (x, y []float64)) Section {
	found := map[string]bool{}
	for _, r := range rows {
		for k := range r.Values {
			if strings.HasPrefix(k, EvalPrefix) {
				found[k] = true
			}
		}
	}
	s := Section{Heading: "Benchmarks", Text: "Measured during the run; the artifacts with standard errors and single results are in the folder evaluations."}
	last := Table{
		Caption: "First, highest, lowest and last numbers", RowHeads: true, Head: []string{"Task", "Metric", "First", "Highest", "Lowest", "Last", "Step"},
		Numeric: []bool{false, false, true, true, true, true, true},
	}
	tasks := map[string]*Lines{}
	for _, k := range slices.Sorted(maps.Keys(found)) {
		name := strings.TrimPrefix(k, EvalPrefix)
		at := max(strings.LastIndexByte(name, '/'), 0)
		task, metric := name[:at], strings.TrimPrefix(name[at:], "/")
		if tasks[task] == nil {
			tasks[task] = &Lines{Title: task, XLabel: "step"}
		}
		x, y := column(k)
		p := tasks[task]
		p.Lines = append(p.Lines, Line{Name: metric, X: x, Y: y, Color: len(p.Lines)})
		number := func(v float64) string { return fmt.Sprintf("%.4f", v) }
		last.Rows = append(last.Rows, []string{
			task, metric, number(y[0]), number(slices.Max(y)), number(slices.Min(y)), number(y[len(y)-1]), strconv.Itoa(int(x[len(x)-1])),
		})
	}
	for _, task := range slices.Sorted(maps.Keys(tasks)) {
		s.Blocks = append(s.Blocks, *tasks[task])
	}
	if len(last.Rows) > 0 {
		s.Blocks = append(s.Blocks, last)
	}
	return s
}

// lines is one series; a noisy one is drawn faintly behind its running mean.
func lines(x, y []float64, noisy bool) []Line {
	if noisy {
		return []Line{{X: x, Y: y, Faint: true}, {X: x, Y: Smooth(y, 20)}}
	}
	return []Line{{X: x, Y: y}}
}

func others(rows []Row, known map[string]bool) []string {
	found := map[string]bool{}
	for _, r := range rows {
		for k := range r.Values {
			if !known[k] && !strings.HasPrefix(k, ValidPrefix) && !strings.HasPrefix(k, EvalPrefix) {
				found[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// wide reports whether values span so much that a logarithmic axis shows more; one value in a hundred is ignored.
func wide(y []float64) bool {
	var known []float64
	for _, v := range y {
		if v <= 0 {
			return false
		}
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return false
	}
	slices.Sort(known)
	out := len(known) / 100
	return known[len(known)-1-out] > 4*known[out]
}

// Smooth is the running mean with weight 2/(n+1) on the newest value, corrected for its start; NaN
// stays a gap.
func Smooth(y []float64, n int) []float64 {
	alpha := 2 / float64(n+1)
	out := make([]float64, len(y))
	sum, weight := 0.0, 0.0
	for i, v := range y {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			out[i] = math.NaN()
			continue
		}
		sum, weight = sum*(1-alpha)+v*alpha, weight*(1-alpha)+alpha
		out[i] = sum / weight
	}
	return out
}

func summary(rows []Row) [][2]string {
	var out [][2]string
	var last int64
	best, bestStep := math.Inf(1), int64(0)
	loss := math.NaN()
	for _, r := range rows {
		last = max(last, r.Step)
		if v, ok := r.Values[Loss]; ok {
			loss = v
		}
		if v, ok := r.Values[ValidLoss]; ok && v < best {
			best, bestStep = v, r.Step
		}
	}
	if len(rows) == 0 {
		return [][2]string{{"Steps so far", "none"}}
	}
	out = append(out, [2]string{"Steps so far", strconv.FormatInt(last, 10)})
	if !math.IsNaN(loss) {
		out = append(out, [2]string{"Last training loss", fmt.Sprintf("%.4f", loss)})
	}
	if !math.IsInf(best, 0) {
		out = append(out, [2]string{"Best validation loss", fmt.Sprintf("%.4f (step %d)", best, bestStep)})
	}
	return out
}

// maxSamples keeps the page small on long runs.
const maxSamples = 60

func samples(rows []Row) Table {
	t := Table{Head: []string{"Step", "Prompt", "Continuation"}, Numeric: []bool{true}}
	for _, r := range slices.Backward(rows) {
		for i := 0; ; i++ {
			key := samplePrefix + strconv.Itoa(i)
			text, ok := r.Texts[key+"/text"]
			if !ok || len(t.Rows) == maxSamples {
				break
			}
			t.Rows = append(t.Rows, []string{strconv.FormatInt(r.Step, 10), r.Texts[key+"/prompt"], text})
		}
	}
	return t
}
