package dataset

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"leolm/internal/durable"
)

// Report is what Prepare did.
type Report struct {
	Prefix  string   `json:"prefix"` // path of the output files up to -train, -val
	Preset  string   `json:"preset"`
	Vocab   int      `json:"vocab"`
	Train   []*Stats `json:"train"`
	Val     []*Stats `json:"val,omitempty"`
	Notes   []string `json:"notes,omitempty"` // what the user should know
	Sources []Intake `json:"sources"`
}

// Intake is what was read of a source, before splits.
type Intake struct {
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`               // rows of the files
	Unwanted int64  `json:"unwanted,omitempty"` // left out by where: or by the reader
	Repaired int64  `json:"repaired,omitempty"` // mojibake repaired
	Samples  int    `json:"samples"`
}

// PrepareOptions are what is not part of the mix.
type PrepareOptions struct {
	// Progress is told, now and then, how many rows of a source were read.
	Progress func(source string, rows int64)
	// Workers that tokenize; 0: one per processor.
	Workers int
}

// Prepare reads a mix and writes its shards and statistics into a folder,
// which is made if needed:
//
//	PREFIX-train-text.bin/.idx, PREFIX-train-role.bin/.idx, PREFIX-train_stats.txt,
//	PREFIX-train_stats.json, the same for -val if there is a validation set,
//	PREFIX-train.jsonl and -val.jsonl on request, PREFIX_skipped.jsonl,
//	special_tokens.json, PREFIX-tokenizer/ with the tokenizer of the ids,
//	PREFIX-train.leo.json and -val.leo.json with its fingerprint (Record)
//
// Every file appears whole or not at all, the indices last.
func Prepare(ctx context.Context, m *Mix, dir string, opt PrepareOptions) (*Report, error) {
	p := &preparation{mix: m, dir: dir, opt: opt, report: &Report{Prefix: filepath.Join(dir, m.Prefix), Preset: m.Preset}}
	defer p.close()
	if err := p.read(ctx); err != nil {
		return nil, err
	}
	if err := p.someLeft(); err != nil {
		return nil, err
	}
	if err := p.write(ctx); err != nil {
		return nil, err
	}
	return p.report, nil
}

// Measure is Prepare with the output thrown away: the statistics only.
func Measure(ctx context.Context, m *Mix, opt PrepareOptions) (*Report, error) {
	tmp, err := os.MkdirTemp("", "leo-measure-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	report, err := Prepare(ctx, m, tmp, opt)
	if report != nil {
		report.Prefix = m.Prefix
	}
	return report, err
}

// part is a source after reading: its samples on disk, in reading order.
type part struct {
	src     *Source
	spill   *spill
	samples []sampleInfo
	// indices of the samples of each split, in output order
	train, val []int
	fraction   float64
	split      bool // the name says "Subset of"
}

// sampleInfo is what is remembered of a sample.
type sampleInfo struct {
	at     int64 // in the spill file
	tokens int32
	turns  int32
	skip   Reason
}

type preparation struct {
	mix    *Mix
	dir    string
	opt    PrepareOptions
	enc    *encoder
	check  *checker
	dups   *duplicates
	parts  []*part
	report *Report
	skips  *durable.File
	list   *bufio.Writer
	// firstSkip describes the first skipped sample.
	firstSkip string
	trainS    []*Stats
	valS      []*valSet
}

// valSet is one validation set: several sources may share one (see split).
type valSet struct {
	part  *part
	stats *Stats
}

// EmptyError reports a mix of which every sample was skipped.
type EmptyError struct {
	Reasons map[Reason]int
	First   string // the first skipped sample and why
}

func (e *EmptyError) Error() string {
	var counts []string
	for _, why := range Reasons() {
		if n := e.Reasons[why]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d for %q", n, why))
		}
	}
	return "every sample was skipped, nothing is left to write: " + strings.Join(counts, ", ") + "; the first is " + e.First
}

// someLeft fails if every sample was skipped.
func (p *preparation) someLeft() error {
	e := &EmptyError{Reasons: map[Reason]int{}}
	for _, part := range p.parts {
		for _, s := range part.samples {
			if s.skip == "" {
				return nil
			}
			e.Reasons[s.skip]++
		}
	}
	e.First = p.firstSkip
	return e
}

func (p *preparation) close() {
	for _, part := range p.parts {
		if part.spill != nil {
			part.spill.close()
		}
	}
	if p.skips != nil {
		p.skips.Abort()
	}
}

func (p *preparation) note(format string, args ...any) {
	p.report.Notes = append(p.report.Notes, fmt.Sprintf(format, args...))
}
