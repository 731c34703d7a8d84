// Package report stores and shows the measurements of a run: JSONL metrics, TensorBoard event files and HTML pages
// with plots.
//
// It owns these three formats and the plots (lines, histograms, bars, radar charts) that pages are made of. Pages are
// self-contained: no scripts, no fonts, no outside links. It doesn't own what is measured or when.
package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"

	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// Row is one line of metrics: numbers and texts of a step. In the file it is one flat JSON object,
// {"step":12,"time":1763900000.25,"loss":3.21,"sample/0":"…"}, keys sorted after step and time. NaN and
// infinities, which JSON lacks, are the strings "NaN", "Infinity" and "-Infinity".
type Row struct {
	Step   int64
	Time   float64 // Unix seconds; 0 is left out
	Values map[string]float64
	Texts  map[string]string
}

const (
	stepKey = "step"
	timeKey = "time"
)

func jsonNumber(v float64) string {
	switch {
	case math.IsNaN(v):
		return `"NaN"`
	case math.IsInf(v, 1):
		return `"Infinity"`
	case math.IsInf(v, -1):
		return `"-Infinity"`
	}
	b, _ := json.Marshal(v) // finite numbers can't fail
	return string(b)
}

// AppendJSON appends the row as one line without its line feed.
func (r Row) AppendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `{"step":`...)
	dst = strconv.AppendInt(dst, r.Step, 10)
	if r.Time != 0 {
		dst = append(dst, `,"time":`...)
		dst = append(dst, jsonNumber(r.Time)...)
	}
	keys := make([]string, 0, len(r.Values)+len(r.Texts))
	for k := range r.Values {
		keys = append(keys, k)
	}
	for k, v := range r.Texts {
		if _, twice := r.Values[k]; twice {
			return dst, fmt.Errorf("report: %q is a number and a text in one row", k)
		}
		if _, isNumber := special(v); isNumber {
			return dst, fmt.Errorf("report: the text %q of %q would be read as a number", v, k)
		}
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if k == stepKey || k == timeKey {
			return dst, fmt.Errorf("report: the name %q is taken", k)
		}
		name, _ := json.Marshal(k)
		dst = append(append(append(dst, ','), name...), ':')
		if v, ok := r.Values[k]; ok {
			dst = append(dst, jsonNumber(v)...)
			continue
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(r.Texts[k]); err != nil {
			return dst, err
		}
		dst = append(dst, bytes.TrimRight(b.Bytes(), "\n")...)
	}
	return append(dst, '}'), nil
}

func special(s string) (float64, bool) {
	switch s {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// ParseRow reads one line.
func ParseRow(line []byte) (Row, error) {
	r := Row{Values: map[string]float64{}, Texts: map[string]string{}}
	var flat map[string]any
	if err := json.Unmarshal(line, &flat); err != nil {
		return r, err
	}
	step, ok := flat[stepKey].(float64)
	if !ok || step != math.Trunc(step) || math.Abs(step) > 1<<53 {
		return r, errors.New(`want an object with a whole number "step"`)
	}
	r.Step = int64(step)
	for k, v := range flat {
		switch v := v.(type) {
		case float64:
			switch k {
			case stepKey:
			case timeKey:
				r.Time = v
			default:
				r.Values[k] = v
			}
		case string:
			if x, ok := special(v); ok {
				r.Values[k] = x
			} else {
				r.Texts[k] = v
			}
		default:
			return r, fmt.Errorf("%q is neither a number nor a text", k)
		}
	}
	return r, nil
}

// Metrics appends rows to a JSONL file. It is not safe for concurrent use.
type Metrics struct {
	f    *os.File
	path string
	buf  []byte
}

// OpenMetrics opens or creates path for appending. A last line torn by a crash is cut off, and rows after
// step resume are dropped, so that a run that resumes at an earlier checkpoint writes no step twice; a negative
// resume means a new run: whatever was there is replaced. A damaged line elsewhere is an error.
func OpenMetrics(path string, resume int64) (*Metrics, error) {
	if resume < 0 {
		if err := durable.WriteFile(path, nil); err != nil {
			return nil, err
		}
	} else if err := rewind(path, resume); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &Metrics{f: f, path: path}, nil
}

// maxMetrics bounds a file of metrics: some ten million rows.
const maxMetrics = 4 << 30

// rewind rewrites path without a torn last line and without rows after step.
func rewind(path string, step int64) error {
	data, err := bounded.Regular(path, maxMetrics)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var keep []byte
	for n := 1; len(data) > 0; n++ {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			break // torn
		}
		row, err := ParseRow(line)
		if err != nil {
			return fmt.Errorf("%s, line %d: %w; move the file away to start again", path, n, err)
		}
		if row.Step <= step {
			keep = append(append(keep, line...), '\n')
		}
		data = rest
	}
	return durable.WriteFile(path, keep)
}

// Write appends one row. It is on disk after the next Sync at the latest.
func (m *Metrics) Write(r Row) error {
	line, err := r.AppendJSON(m.buf[:0])
	if err != nil {
		return err
	}
	m.buf = append(line, '\n')
	// One call for the whole line: only a crash of the machine can tear it.
	if _, err := m.f.Write(m.buf); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Sync forces the rows to disk.
func (m *Metrics) Sync() error { return m.f.Sync() }

// Close syncs and closes the file.
func (m *Metrics) Close() error {
	return errors.Join(m.f.Sync(), m.f.Close())
}

// ReadMetrics returns the rows of a file, without a torn last line.
func ReadMetrics(path string) ([]Row, error) {
	f, err := bounded.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []Row
	b := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := b.ReadBytes('\n')
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r, err := ParseRow(line)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, n, err)
		}
		rows = append(rows, r)
	}
}
