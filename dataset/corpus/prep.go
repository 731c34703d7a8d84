package corpus

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync/atomic"

	"leolm/internal/durable"
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
	f := &r.plan.Inputs[task]
	if err := f.unchanged(); err != nil {
		return result{}, err
	}
	r.cleanOnce.Do(func() {
		for i := range r.plan.EvalFiles {
			if r.cleanErr = r.plan.EvalFiles[i].unchanged(); r.cleanErr != nil {
				return
			}
		}
		r.clean, r.cleanErr = newCleaner(&r.plan.Recipe)
	})
	if r.cleanErr != nil {
		return result{}, r.cleanErr
	}
	c := r.clean
	in := &r.plan.Recipe.Inputs[f.Input]
	var split *regexp.Regexp
	if in.Split != "" {
		var err error
		if split, err = regexp.Compile(in.Split); err != nil {
			return result{}, fmt.Errorf("input %s: split: %w", in.Name, err)
		}
	}
	skip := r.plan.Recipe.OnError == "skip"
	src, err := openInput(f.Path, f.Format, f.Part)
	if err != nil {
		return result{}, err
	}
	defer src.Close()

	docsPath := fmt.Sprintf("work/docs/%05d", task)
	keysPath := fmt.Sprintf("work/keys/%05d", task)
	skipPath := fmt.Sprintf("work/docs/%05d-skipped.jsonl", task)
	dropPath := fmt.Sprintf("work/docs/%05d-dropped.jsonl", task)
	dw, err := createDocs(r.path(docsPath))
	if err != nil {
		return result{}, err
	}
	defer dw.abort()
	kw, err := createKeys(r.path(keysPath), c.minhash.Bands, r.plan.Recipe.bands() > 0)
	if err != nil {
		return result{}, err
	}
	defer kw.abort()
	var skipped, dropped listFile
	defer skipped.abort()
	defer dropped.abort()

	// How many rows make a batch is learnt from the rows seen; it has no
	// influence on the output.
	var seenBytes, seenRows atomic.Int64
	produce := func(emit func([]raw) error) error {
		var batch []raw
		size := int64(0)
		for {
			d, err := src.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if e, ok := badRow(err); ok && skip {
					batch = append(batch, raw{row: e.Row, bad: err})
					continue
				}
				return err
			}
			batch = append(batch, d)
			if d.rows == nil {
				size += int64(len(d.text))
			} else {
				size += (seenBytes.Load() + 32<<10) / (seenRows.Load() + 1)
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
	work := func(batch []raw) (*cleaned, error) {
		w := c.scratch.Get().(*scratch)
		defer c.scratch.Put(w)
		out := &cleaned{}
		for i := range batch {
			b := &batch[i]
			err := b.bad
			if err == nil {
				err = b.decode(in)
			}
			if err != nil {
				if _, ok := badRow(err); ok && skip {
					out.stats.Errors++
					out.errors = append(out.errors, err)
					continue
				}
				return nil, err
			}
			seenRows.Add(1)
			seenBytes.Add(int64(len(b.text)))
			one := func(d doc) {
				out.stats.Read.add(len(d.text))
				if why, detail := c.apply(w, in, &d, &out.stats); why != "" {
					out.stats.drop(&d, f.Path, why, detail)
					if r.plan.Recipe.ListDropped {
						out.dropped = append(out.dropped, Dropped{why, f.Path, d.row, d.key, detail})
					}
					return
				}
				out.stats.Kept.add(len(d.text))
				out.docs = append(out.docs, d)
				if kw != nil {
					var key textcheck.Hash128
					if c.minhash.Bands > 0 {
						var ok bool
						if key, out.bands, ok = w.hasher.Keys(out.bands, d.text); !ok {
							out.bands = append(out.bands, make([]uint64, c.minhash.Bands)...)
						}
					} else {
						key, _ = w.hasher.Exact(d.text)
					}
					out.exact = append(out.exact, key)
				}
			}
			d := doc{row: b.row, key: b.key, text: b.text, valid: b.utf8}
			if split != nil {
				splitDoc(split, d, one)
			} else {
				one(d)
			}
			*b = raw{}
		}
		return out, nil
	}
	var total PrepStats
	consume := func(out *cleaned) error {
		total.plus(&out.stats)
		for _, err := range out.errors {
			bad, _ := badRow(err)
			if err := skipped.add(r.path(skipPath), skippedRow{bad.File, bad.Row, err.Error()}); err != nil {
				return err
			}
		}
		for _, d := range out.dropped {
			if err := dropped.add(r.path(dropPath), d); err != nil {
				return err
			}
		}
		for i := range out.docs {
			if err := dw.add(&out.docs[i]); err != nil {
				return err
			}
			if kw != nil {
				if err := kw.add(len(out.docs[i].text), out.exact[i], out.bands[i*c.minhash.Bands:(i+1)*c.minhash.Bands]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := ordered(ctx, r.gate, int(ahead(r.opt.Workers)), produce, work, consume); err != nil {
		return result{}, err
	}
	res := result{stats: &total, files: []string{docsPath}}
	if err := dw.commit(); err != nil {
		return result{}, err
	}
	if kw != nil {
		if err := kw.commit(); err != nil {
			return result{}, err
		}
		res.files = append(res.files, keysPath)
	}
	if skipped.f != nil {
		if err := skipped.commit(); err != nil {
			return result{}, err
		}
		res.files = append(res.files, skipPath)
	}
	if dropped.f != nil {
		if err := dropped.commit(); err != nil {
			return result{}, err
		}
		res.files = append(res.files, dropPath)
	}
	res.note = fmt.Sprintf("%s: kept %d of %d documents, %.1f of %.1f MB", in.Name, total.Kept.Docs, total.Read.Docs, float64(total.Kept.Bytes)/1e6, float64(total.Read.Bytes)/1e6)
	if total.Errors > 0 {
		res.note += fmt.Sprintf(", %d bad rows skipped (listed in %s)", total.Errors, r.path(skipPath))
	}
	return res, nil
}

// A listFile holds one JSON object a line. It begins to exist with the first.
type listFile struct {
	f  *durable.File
	bw *bufio.Writer
}

// A skippedRow could not be read.
type skippedRow struct {
	File  string `json:"file"`
	Row   int64  `json:"row"`
	Error string `json:"error"`
}

func (s *listFile) add(path string, item any) error {
	if s.f == nil {
		f, err := durable.Create(path)
		if err != nil {
			return err
		}
		s.f, s.bw = f, bufio.NewWriter(f)
	}
	b, err := json.Marshal(item)
	if err != nil {
		return err
	}
	s.bw.Write(b)
	return s.bw.WriteByte('\n')
}

func (s *listFile) commit() error {
	if err := s.bw.Flush(); err != nil {
		return err
	}
	return s.f.Commit()
}

func (s *listFile) abort() {
	if s.f != nil {
		s.f.Abort()
	}
}

// A keys file holds, for each document of a docs file, its length and its
// duplicate keys, column by column in groups of keysGroup documents:
//
//	u32 length [n], u64 exact hash, low and high [n][2], u64 key [n] for each band
//
// Columns let the task of one band read that band alone. A text without words
// has zero keys and duplicates nothing.
type keysWriter struct {
	f     *durable.File
	bw    *bufio.Writer
	bands int
	lens  []byte
	exact []byte
	cols  [][]byte
	n     int
}

const keysGroup = 1 << 16

// createKeys returns nil if keys are not wanted.
func createKeys(path string, bands int, wanted bool) (*keysWriter, error) {
	if !wanted {
		return nil, nil
	}
	f, err := durable.Create(path)
	if err != nil {
		return nil, err
	}
	return &keysWriter{f: f, bw: bufio.NewWriterSize(f, 256<<10), bands: bands, cols: make([][]byte, bands)}, nil
}

func (w *keysWriter) add(length int, exact textcheck.Hash128, bands []uint64) error {
	w.lens = binary.LittleEndian.AppendUint32(w.lens, uint32(length))
	w.exact = binary.LittleEndian.AppendUint64(w.exact, exact.Lo)
	w.exact = binary.LittleEndian.AppendUint64(w.exact, exact.Hi)
	for b, k := range bands {
		w.cols[b] = binary.LittleEndian.AppendUint64(w.cols[b], k)
	}
	if w.n++; w.n == keysGroup {
		return w.flush()
	}
	return nil
}

func (w *keysWriter) flush() error {
	w.bw.Write(w.lens)
	_, err := w.bw.Write(w.exact)
	w.lens, w.exact, w.n = w.lens[:0], w.exact[:0], 0
	for b := range w.cols {
		_, err = w.bw.Write(w.cols[b])
		w.cols[b] = w.cols[b][:0]
	}
	return err
}

func (w *keysWriter) commit() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.bw.Flush(); err != nil {
		return err
	}
	return w.f.Commit()
}

func (w *keysWriter) abort() {
	if w != nil {
		w.f.Abort()
	}
}

// keysColumn reads one column of a keys file of docs documents, a group at a
// time. column −2 is lengths, −1 exact hashes, 0… bands.
func keysColumn(f io.ReaderAt, docs int64, bands, column int, each func(group []byte) error) error {
	record := int64(4 + 16 + 8*bands)
	buf := make([]byte, 16*keysGroup)
	for first := int64(0); first < docs; first += keysGroup {
		n := min(docs-first, keysGroup)
		off, width := first*record, int64(4)
		switch {
		case column == -1:
			off, width = off+4*n, 16
		case column >= 0:
			off, width = off+20*n+8*n*int64(column), 8
		}
		if _, err := f.ReadAt(buf[:n*width], off); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("damaged work file (%w); remove it and run the task again", err)
		}
		if err := each(buf[:n*width]); err != nil {
			return err
		}
	}
	return nil
}
