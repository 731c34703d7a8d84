package corpus

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"sync/atomic"

	"leolm/internal/textcheck"
)

// batchBytes is about how much text travels between goroutines at once.
const batchBytes = 1 << 20

// ahead is the number of batches in flight per task.
func ahead(workers int) int64 { return int64(2*workers + 2) }

// A batch of documents after cleaning, with their keys.
type cleaned struct {
	docs    []doc
	exact   []textcheck.Hash128
	bands   []uint64
	stats   PrepStats
	errors  []error
	dropped []Dropped // all, if the recipe wants a list
}

// prep reads, cleans and filters one input file.
func (r *runner) prep(ctx context.Context, task int) (result, error) {
	p := &prepTask{r: r, file: &r.plan.Inputs[task], skip: r.plan.Recipe.OnError == "skip"}
	if err := p.open(task); err != nil {
		return result{}, err
	}
	defer p.close()
	if err := ordered(ctx, r.gate, int(ahead(r.opt.Workers)), p.read, p.clean, p.write); err != nil {
		return result{}, err
	}
	return p.commit()
}

// prepTask is the stage prep of one input file.
type prepTask struct {
	r       *runner
	file    *File
	in      *Input
	split   *regexp.Regexp // nil: a row is a document
	skip    bool           // rows that cannot be read are left out and listed
	cleaner *cleaner

	src              reader
	names            []string // of the files written, below the corpus's folder
	docs             *docsWriter
	keys             *keysWriter // nil: not wanted
	skipped, dropped listFile

	// How many rows make a batch is learnt from the rows seen; it has no
	// influence on the output.
	seenBytes, seenRows atomic.Int64

	total PrepStats
}

// sharedCleaner makes the cleaner of all tasks, once.
func (r *runner) sharedCleaner() (*cleaner, error) {
	r.cleanOnce.Do(func() {
		for i := range r.plan.EvalFiles {
			if r.cleanErr = r.plan.EvalFiles[i].unchanged(); r.cleanErr != nil {
				return
			}
		}
		r.clean, r.cleanErr = newCleaner(&r.plan.Recipe)
	})
	return r.clean, r.cleanErr
}

// open opens the input and the work files. After an error nothing is open.
func (p *prepTask) open(task int) (err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if err := p.file.unchanged(); err != nil {
		return err
	}
	if p.cleaner, err = p.r.sharedCleaner(); err != nil {
		return err
	}
	recipe := &p.r.plan.Recipe
	p.in = &recipe.Inputs[p.file.Input]
	if p.in.Split != "" {
		if p.split, err = regexp.Compile(p.in.Split); err != nil {
			return fmt.Errorf("input %s: split: %w", p.in.Name, err)
		}
	}
	if p.src, err = openInput(p.file.Path, p.file.Format, p.file.Part); err != nil {
		return err
	}
	p.names = []string{
		fmt.Sprintf("work/docs/%05d", task), fmt.Sprintf("work/keys/%05d", task),
		fmt.Sprintf("work/docs/%05d-skipped.jsonl", task), fmt.Sprintf("work/docs/%05d-dropped.jsonl", task),
	}
	p.skipped.path, p.dropped.path = p.r.path(p.names[2]), p.r.path(p.names[3])
	if p.docs, err = createDocs(p.r.path(p.names[0])); err != nil {
		return err
	}
	p.keys, err = createKeys(p.r.path(p.names[1]), p.cleaner.minhash.Bands, recipe.bands() > 0)
	return err
}

// close closes the input and drops what was not committed.
func (p *prepTask) close() {
	if p.src != nil {
		p.src.Close()
	}
	if p.docs != nil {
		p.docs.abort()
	}
	p.keys.abort()
	p.skipped.abort()
	p.dropped.abort()
}

// read emits the rows of the input in batches.
func (p *prepTask) read(emit func([]raw) error) error {
	var batch []raw
	size := int64(0)
	for {
		d, err := p.src.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if e, ok := badRow(err); ok && p.skip {
				batch = append(batch, raw{row: e.Row, bad: err})
				continue
			}
			return err
		}
		batch = append(batch, d)
		if d.rows == nil {
			size += int64(len(d.text))
		} else {
			size += (p.seenBytes.Load() + 32<<10) / (p.seenRows.Load() + 1)
		}
		if size >= batchBytes {
			if err := emit(batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
	}
	if len(batch) > 0 {
		return emit(batch)
	}
	return nil
}

// clean turns a batch of rows into the documents that stay. It is called from several goroutines.
func (p *prepTask) clean(batch []raw) (*cleaned, error) {
	w := p.cleaner.scratch.Get().(*scratch)
	defer p.cleaner.scratch.Put(w)
	out := &cleaned{}
	for i := range batch {
		b := &batch[i]
		err := b.bad
		if err == nil {
			err = b.decode(p.in)
		}
		if err != nil {
			if _, ok := badRow(err); ok && p.skip {
				out.stats.Errors++
				out.errors = append(out.errors, err)
				continue
			}
			return nil, err
		}
		p.seenRows.Add(1)
		p.seenBytes.Add(int64(len(b.text)))
		d := doc{row: b.row, key: b.key, text: b.text, valid: b.utf8}
		if p.split != nil {
			splitDoc(p.split, d, func(d doc) { p.document(out, w, d) })
		} else {
			p.document(out, w, d)
		}
		*b = raw{}
	}
	return out, nil
}

// document cleans and judges one document and computes its keys.
func (p *prepTask) document(out *cleaned, w *scratch, d doc) {
	out.stats.Read.add(len(d.text))
	if why, detail := p.cleaner.apply(w, p.in, &d, &out.stats); why != "" {
		out.stats.drop(&d, p.file.Path, why, detail)
		if p.r.plan.Recipe.ListDropped {
			out.dropped = append(out.dropped, Dropped{why, p.file.Path, d.row, d.key, detail})
		}
		return
	}
	out.stats.Kept.add(len(d.text))
	out.docs = append(out.docs, d)
	if p.keys == nil {
		return
	}
	bands := p.cleaner.minhash.Bands
	if bands == 0 {
		key, _ := w.hasher.Exact(d.text)
		out.exact = append(out.exact, key)
		return
	}
	key, all, ok := w.hasher.Keys(out.bands, d.text)
	if !ok { // a text without words
		all = append(all, make([]uint64, bands)...)
	}
	out.bands, out.exact = all, append(out.exact, key)
}

// write writes the documents, keys and lists of a batch.
func (p *prepTask) write(out *cleaned) error {
	p.total.plus(&out.stats)
	for _, err := range out.errors {
		bad, _ := badRow(err)
		if err := p.skipped.add(skippedRow{bad.File, bad.Row, err.Error()}); err != nil {
			return err
		}
	}
	for _, d := range out.dropped {
		if err := p.dropped.add(d); err != nil {
			return err
		}
	}
	bands := p.cleaner.minhash.Bands
	for i := range out.docs {
		if err := p.docs.add(&out.docs[i]); err != nil {
			return err
		}
		if p.keys == nil {
			continue
		}
		if err := p.keys.add(len(out.docs[i].text), out.exact[i], out.bands[i*bands:(i+1)*bands]); err != nil {
			return err
		}
	}
	return nil
}

// commit makes the files visible and tells what was done.
func (p *prepTask) commit() (result, error) {
	res := result{stats: &p.total}
	for i, f := range []struct {
		wanted bool
		commit func() error
	}{
		{true, p.docs.commit}, {p.keys != nil, p.keys.commit},
		{p.skipped.f != nil, p.skipped.commit}, {p.dropped.f != nil, p.dropped.commit},
	} {
		if !f.wanted {
			continue
		}
		if err := f.commit(); err != nil {
			return result{}, err
		}
		res.files = append(res.files, p.names[i])
	}
	t := &p.total
	res.note = fmt.Sprintf("%s: kept %d of %d documents, %.1f of %.1f MB", p.in.Name, t.Kept.Docs, t.Read.Docs, float64(t.Kept.Bytes)/1e6, float64(t.Read.Bytes)/1e6)
	if t.Errors > 0 {
		res.note += fmt.Sprintf(", %d bad rows skipped (listed in %s)", t.Errors, p.skipped.path)
	}
	return res, nil
}
