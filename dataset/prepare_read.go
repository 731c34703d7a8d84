package dataset

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"leolm/dataset/rows"
	"leolm/internal/durable"
	"leolm/internal/textcheck"
)

// read reads, filters and tokenises all sources into spill files.
func (p *preparation) read(ctx context.Context) error {
	m := p.mix
	if m.Preset == presetLeoLM && (m.Template != "" || m.System != "") {
		return errors.New("preset leolm has its own template and no system message: leave template and system out, or use preset default")
	}
	var err error
	if p.enc, err = newEncoder(m); err != nil {
		return err
	}
	p.report.Vocab = p.enc.tok.Vocab()
	if p.check, err = newChecker(m); err != nil {
		return err
	}
	if m.Filters.Duplicates || m.Filters.NearDuplicates {
		p.dups = newDuplicates(m.Filters.NearDuplicates)
	}
	// All names first: a missing file should not cost an hour.
	files := make([][]string, len(m.Sources))
	for i := range m.Sources {
		if files[i], err = m.files(&m.Sources[i]); err != nil {
			return err
		}
	}
	if err := durable.MkdirAll(p.dir); err != nil {
		return err
	}
	if p.skips, err = durable.Create(filepath.Join(p.dir, m.Prefix+"_skipped.jsonl")); err != nil {
		return err
	}
	p.list = bufio.NewWriter(p.skips)
	for i := range m.Sources {
		if err := p.readSource(ctx, i, files[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *preparation) readSource(ctx context.Context, index int, files []string) error {
	m := p.mix
	src := &m.Sources[index]
	reader, err := m.open(src)
	if err != nil {
		return err
	}
	pt := &part{src: src}
	p.parts = append(p.parts, pt)
	if pt.spill, err = newSpill(p.dir, p.enc.tok.Vocab()); err != nil {
		return err
	}
	intake := Intake{Name: src.Name}

	workers := p.opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	work, ordered := make(chan *job, 2*workers), make(chan *job, 4*workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var hasher *textcheck.Hasher
			for j := range work {
				if p.dups != nil && hasher == nil {
					hasher, j.fail = textcheck.NewHasher(textcheck.DefaultMinHash)
				}
				if j.fail == nil {
					p.run(j, reader, hasher)
				}
				close(j.done)
			}
		}()
	}
	var produceErr error
	go func() {
		produceErr = p.produce(ctx, reader, files, func(j *job) bool {
			j.done = make(chan struct{})
			select {
			case ordered <- j:
			case <-ctx.Done():
				return false
			}
			work <- j
			return true
		})
		close(work)
		close(ordered)
	}()
	var failed error
	for j := range ordered {
		<-j.done
		if failed != nil {
			continue
		}
		if failed = j.fail; failed == nil {
			failed = p.collect(index, pt, j, &intake)
		}
		if failed != nil {
			cancel()
			continue
		}
		if p.opt.Progress != nil {
			p.opt.Progress(src.Name, intake.Rows)
		}
	}
	wg.Wait()
	cause := context.Cause(ctx)
	cancel()
	// A row that came earlier in the file is the error to tell.
	if failed == nil {
		failed = produceErr
	}
	if failed == nil && cause != nil {
		failed = cause
	}
	if failed != nil {
		return fmt.Errorf("source %s: %w", src.Name, failed)
	}
	if err := reader.named.missing(); err != nil {
		return fmt.Errorf("source %s: %w", src.Name, err)
	}
	intake.Samples = len(pt.samples)
	if len(pt.samples) == 0 {
		return fmt.Errorf("source %s: no samples in %s", src.Name, strings.Join(files, ", "))
	}
	p.report.Sources = append(p.report.Sources, intake)
	return pt.spill.flush()
}

// eachRow calls f for every row, until an error of the reader or of f.
func eachRow(r *rows.Reader, f func(*rows.Row) error) error {
	for {
		var row rows.Row
		err := r.Next(&row)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f(&row)
		}
		if err != nil {
			return err
		}
	}
}

// produce cuts files into jobs. Rows that cannot be cut are put into the job
// as outcomes, in their place.
func (p *preparation) produce(ctx context.Context, reader *sourceReader, files []string, send func(*job) bool) error {
	var all []readRow
	for _, file := range files {
		r, err := rows.Open(file, rows.Options{Format: reader.src.Format, Columns: reader.src.Header, Path: reader.src.Path, UsualPath: reader.path, MaxRow: p.mix.MaxRow})
		if err != nil {
			return err
		}
		j := &job{}
		for {
			var row rows.Row
			err := r.Next(&row)
			if err == io.EOF {
				break
			}
			var bad *rows.Error
			if err != nil && (!errors.As(err, &bad) || bad.Fatal) {
				r.Close()
				// What was read before is judged first: its errors come earlier.
				if len(j.rows)+len(j.out) > 0 && !send(j) {
					return context.Cause(ctx)
				}
				return err
			}
			if reader.whole != nil {
				if err == nil {
					var v rows.Value
					if v, err = row.Value(); err == nil {
						copied := row
						all = append(all, readRow{&copied, v})
						continue
					}
				}
				j.out = append(j.out, outcome{row: &row, err: err})
				continue
			}
			if err != nil {
				// Close the job, so that the order of rows is kept.
				if len(j.rows) > 0 && !send(j) {
					r.Close()
					return context.Cause(ctx)
				}
				if j = (&job{out: []outcome{{row: &row, err: err}}}); !send(j) {
					r.Close()
					return context.Cause(ctx)
				}
				j = &job{}
				continue
			}
			j.rows = append(j.rows, row)
			if len(j.rows) == jobRows {
				if !send(j) {
					r.Close()
					return context.Cause(ctx)
				}
				j = &job{}
			}
		}
		r.Close()
		if len(j.rows)+len(j.out) > 0 && !send(j) {
			return context.Cause(ctx)
		}
	}
	if reader.whole == nil {
		return nil
	}
	ready, err := reader.whole(reader, all)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(ready, jobRows) {
		if !send(&job{ready: chunk}) {
			return context.Cause(ctx)
		}
	}
	return nil
}
