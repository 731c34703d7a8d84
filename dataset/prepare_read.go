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

// read reads, filters and tokenizes all sources into spill files.
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
	if missing := p.enc.template.MissingMarkers(p.enc.tok); len(missing) > 0 {
		p.note("template %s: the vocabulary has no %s; they become ordinary text of several tokens. A template of this vocabulary has markers that it knows; without template: those of ChatML are added",
			p.enc.template.Name(), strings.Join(missing, ", "))
	}
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
		return fmt.Errorf("output: %w", err)
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
	src := &p.mix.Sources[index]
	reader, err := p.mix.open(src)
	if err != nil {
		return err
	}
	pt := &part{src: src}
	p.parts = append(p.parts, pt)
	if pt.spill, err = newSpill(p.dir, p.enc.tok.Vocab()); err != nil {
		return err
	}
	intake := Intake{Name: src.Name}
	err = p.pump(ctx, reader, files, func(j *job) error {
		if err := p.collect(index, pt, j, &intake); err != nil {
			return err
		}
		if p.opt.Progress != nil {
			p.opt.Progress(src.Name, intake.Rows)
		}
		return nil
	})
	if err == nil {
		err = reader.named.missing()
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", src.Name, err)
	}
	if intake.Samples = len(pt.samples); intake.Samples == 0 {
		return fmt.Errorf("source %s: no samples in %s", src.Name, strings.Join(files, ", "))
	}
	p.report.Sources = append(p.report.Sources, intake)
	return pt.spill.flush()
}

// pump cuts files into jobs, has workers do them, and hands them over in the
// order of the files. Of several errors it returns the one that comes first there.
func (p *preparation) pump(ctx context.Context, reader *sourceReader, files []string, take func(*job) error) error {
	workers := p.opt.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, ordered := make(chan *job, 2*workers), make(chan *job, 4*workers)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { p.work(work, reader) })
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
			failed = take(j)
		}
		if failed != nil {
			cancel()
		}
	}
	wg.Wait()
	// A row that came earlier in the file is the error to tell.
	if failed == nil {
		failed = produceErr
	}
	if failed == nil {
		failed = context.Cause(ctx)
	}
	return failed
}

// work does jobs until there are no more.
func (p *preparation) work(jobs <-chan *job, reader *sourceReader) {
	var hasher *textcheck.Hasher
	for j := range jobs {
		if p.dups != nil && hasher == nil {
			hasher, j.fail = textcheck.NewHasher(textcheck.DefaultMinHash)
		}
		if j.fail == nil {
			p.run(j, reader, hasher)
		}
		close(j.done)
	}
}

// produce cuts files into jobs, and makes the dialogues of readers that see all
// rows at once.
func (p *preparation) produce(ctx context.Context, reader *sourceReader, files []string, send func(*job) bool) error {
	c := &cutter{ctx: ctx, reader: reader, send: send, job: &job{}}
	for _, file := range files {
		if err := c.file(file, p.mix.MaxRow); err != nil {
			return err
		}
	}
	if reader.whole == nil {
		return nil
	}
	ready, err := reader.whole(reader, c.all)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(ready, jobRows) {
		c.job.ready = chunk
		if err := c.flush(); err != nil {
			return err
		}
	}
	return nil
}

// cutter cuts files into jobs.
type cutter struct {
	ctx    context.Context
	reader *sourceReader
	send   func(*job) bool
	job    *job
	all    []readRow // of a reader that sees all rows at once
}

func (c *cutter) file(path string, maxRow int) error {
	src := c.reader.src
	r, err := rows.Open(path, rows.Options{Format: src.Format, Columns: src.Header, Path: src.Path, UsualPath: c.reader.path, MaxRow: maxRow})
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		var row rows.Row
		err := r.Next(&row)
		if err == io.EOF {
			return c.flush()
		}
		var bad *rows.Error
		if err != nil && (!errors.As(err, &bad) || bad.Fatal) {
			// What was read before is judged first: its errors come earlier.
			if stopped := c.flush(); stopped != nil {
				return stopped
			}
			return err
		}
		if err := c.add(&row, err); err != nil {
			return err
		}
	}
}

// add puts a row into the job, or, as an outcome in its place, what kept it from
// being cut.
func (c *cutter) add(row *rows.Row, bad error) error {
	if c.reader.whole != nil {
		v, err := rows.Value{}, bad
		if err == nil {
			v, err = row.Value()
		}
		if err == nil {
			c.all = append(c.all, readRow{row, v})
		} else {
			c.job.out = append(c.job.out, outcome{row: row, err: err})
		}
		return nil
	}
	if bad != nil {
		// A job of its own, so that the order of rows is kept.
		if err := c.flush(); err != nil {
			return err
		}
		c.job.out = []outcome{{row: row, err: bad}}
		return c.flush()
	}
	if c.job.rows = append(c.job.rows, *row); len(c.job.rows) == jobRows {
		return c.flush()
	}
	return nil
}

// flush sends the job, if there is anything in it, and begins the next.
func (c *cutter) flush() error {
	if len(c.job.rows)+len(c.job.out)+len(c.job.ready) == 0 {
		return nil
	}
	if !c.send(c.job) {
		return context.Cause(c.ctx)
	}
	c.job = &job{}
	return nil
}
