package corpus

import (
	"bufio"
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"leolm/internal/durable"
)

// Documents are numbered over all input files in the order of the plan, without
// those that the stage prep dropped.

// A key of one document in one column.
type key struct {
	hi, lo uint64
	id     uint32
}

const keyBytes = 24 // of a key in memory and in a run

func (a key) compare(b key) int {
	if c := cmp.Compare(a.hi, b.hi); c != 0 {
		return c
	}
	if c := cmp.Compare(a.lo, b.lo); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// docCounts is the number of kept documents per input file, and the sum.
func (r *runner) docCounts() (counts []int64, total int64, err error) {
	prep, err := stats[PrepStats](r, StagePrep)
	if err != nil {
		return nil, 0, err
	}
	for i := range prep {
		counts = append(counts, prep[i].Kept.Docs)
		total += prep[i].Kept.Docs
	}
	if total > math.MaxUint32 {
		return nil, 0, fmt.Errorf("%d documents, duplicates can be found among %d at most; cut the corpus into several plans", total, uint32(math.MaxUint32))
	}
	return counts, total, nil
}

// BucketStats is what one column gave.
type BucketStats struct {
	Column string `json:"column"` // "exact" or "band N"
	Pairs  int64  `json:"pairs"`
	Runs   int    `json:"runs"` // sorted pieces; more than 1: merged from disk
}

// buckets sorts one column of keys and writes the pairs (first document of a
// group of equal keys, each other one) as two u32 each.
func (r *runner) buckets(ctx context.Context, task int) (result, error) {
	column := task
	if r.plan.Recipe.Dedup.Exact {
		column--
	}
	st := BucketStats{Column: "exact"}
	if column >= 0 {
		st.Column = fmt.Sprintf("band %d", column)
	}
	out := fmt.Sprintf("work/pairs/%05d", task)
	s := &sorter{limit: max(r.plan.Recipe.Dedup.MemoryMB<<20/keyBytes, 1024), path: r.path(out)}
	defer s.close()
	if err := r.readColumn(ctx, column, s); err != nil {
		return result{}, err
	}
	if err := st.writePairs(r.path(out), s); err != nil {
		return result{}, err
	}
	return result{files: []string{out}, stats: st, note: fmt.Sprintf("%s: %d pairs", st.Column, st.Pairs)}, nil
}

// readColumn gives the keys of one column, of all input files, to a sorter.
func (r *runner) readColumn(ctx context.Context, column int, s *sorter) error {
	counts, _, err := r.docCounts()
	if err != nil {
		return err
	}
	bands := 0
	if m := r.plan.Recipe.Dedup.MinHash; m != nil {
		bands = m.Bands
	}
	width := 8
	if column < 0 {
		width = 16
	}
	id := uint32(0)
	add := func(group []byte) error {
		for ; len(group) > 0; group = group[width:] {
			k := key{lo: binary.LittleEndian.Uint64(group), id: id}
			if width == 16 {
				k.hi = binary.LittleEndian.Uint64(group[8:])
			}
			id++
			if k.hi|k.lo == 0 { // a text without words
				continue
			}
			if err := s.add(k); err != nil {
				return err
			}
		}
		return nil
	}
	for i, n := range counts {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := r.path("work/keys", fmt.Sprintf("%05d", i))
		f, err := os.Open(path)
		if err == nil {
			err = keysColumn(f, n, bands, column, add)
			f.Close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// writePairs writes the pairs of equal keys.
func (st *BucketStats) writePairs(path string, s *sorter) error {
	f, err := durable.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	bw := bufio.NewWriterSize(f, 256<<10)
	var head key
	first := true
	st.Runs, err = s.each(func(k key) error {
		if first || k.hi != head.hi || k.lo != head.lo {
			head, first = k, false
			return nil
		}
		st.Pairs++
		var b [8]byte
		binary.LittleEndian.PutUint32(b[:4], head.id)
		binary.LittleEndian.PutUint32(b[4:], k.id)
		_, err := bw.Write(b[:])
		return err
	})
	if err != nil {
		return err
	}
	if err := bw.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

// sorter sorts any number of keys with limit of them in memory: full pieces go
// to disk as sorted runs, which are merged at the end.
type sorter struct {
	limit int
	path  string // runs lie beside it under temporary names
	keys  []key
	runs  []*durable.File
	sizes []int64
}

func (s *sorter) add(k key) error {
	s.keys = append(s.keys, k)
	if len(s.keys) < s.limit {
		return nil
	}
	return s.spill()
}

func (s *sorter) spill() error {
	slices.SortFunc(s.keys, key.compare)
	f, err := durable.Create(s.path)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, f)
	s.sizes = append(s.sizes, int64(len(s.keys))*keyBytes)
	bw := bufio.NewWriterSize(f, 256<<10)
	for _, k := range s.keys {
		var b [keyBytes]byte
		binary.LittleEndian.PutUint64(b[:], k.hi)
		binary.LittleEndian.PutUint64(b[8:], k.lo)
		binary.LittleEndian.PutUint32(b[16:], k.id)
		if _, err := bw.Write(b[:]); err != nil {
			return err
		}
	}
	s.keys = s.keys[:0]
	return bw.Flush()
}

// close removes the runs.
func (s *sorter) close() {
	for _, f := range s.runs {
		f.Abort()
	}
}

// each calls f with all keys in order and returns the number of sorted pieces.
func (s *sorter) each(f func(key) error) (int, error) {
	if len(s.runs) == 0 {
		slices.SortFunc(s.keys, key.compare)
		for _, k := range s.keys {
			if err := f(k); err != nil {
				return 1, err
			}
		}
		return 1, nil
	}
	if len(s.keys) > 0 {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	s.keys = nil
	var h runHeap
	for i, run := range s.runs {
		c := &runCursor{br: bufio.NewReaderSize(io.NewSectionReader(run, 0, s.sizes[i]), 64<<10)}
		if err := c.next(); err == nil {
			h = append(h, c)
		} else if err != io.EOF {
			return 0, err
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := f(h[0].key); err != nil {
			return 0, err
		}
		switch err := h[0].next(); err {
		case nil:
			heap.Fix(&h, 0)
		case io.EOF:
			heap.Pop(&h)
		default:
			return 0, err
		}
	}
	return len(s.runs), nil
}

type runCursor struct {
	br  *bufio.Reader
	key key
}

func (c *runCursor) next() error {
	var b [keyBytes]byte
	if _, err := io.ReadFull(c.br, b[:]); err != nil {
		return err
	}
	c.key = key{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:])}
	return nil
}

type runHeap []*runCursor

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return h[i].key.compare(h[j].key) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*runCursor)) }
func (h *runHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
