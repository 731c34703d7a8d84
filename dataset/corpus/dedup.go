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
	"leolm/internal/textcheck"
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
	counts, _, err := r.docCounts()
	if err != nil {
		return result{}, err
	}
	bands := 0
	if m := r.plan.Recipe.Dedup.MinHash; m != nil {
		bands = m.Bands
	}
	column := task
	if r.plan.Recipe.Dedup.Exact {
		column--
	}
	st := BucketStats{Column: "exact"}
	if column >= 0 {
		st.Column = fmt.Sprintf("band %d", column)
	}
	out := fmt.Sprintf("work/pairs/%05d", task)
	limit := max(r.plan.Recipe.Dedup.MemoryMB<<20/keyBytes, 1024)
	s := &sorter{limit: limit, path: r.path(out)}
	defer s.close()
	id := uint32(0)
	for i, n := range counts {
		if err := ctx.Err(); err != nil {
			return result{}, err
		}
		err := func() error {
			f, err := os.Open(r.path("work/keys", fmt.Sprintf("%05d", i)))
			if err != nil {
				return err
			}
			defer f.Close()
			return keysColumn(f, n, bands, column, func(group []byte) error {
				width := 8
				if column < 0 {
					width = 16
				}
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
			})
		}()
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", r.path("work/keys", fmt.Sprintf("%05d", i)), err)
		}
	}
	f, err := durable.Create(r.path(out))
	if err != nil {
		return result{}, err
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
		return result{}, err
	}
	if err := bw.Flush(); err != nil {
		return result{}, err
	}
	if err := f.Commit(); err != nil {
		return result{}, err
	}
	return result{files: []string{out}, stats: st, note: fmt.Sprintf("%s: %d pairs", st.Column, st.Pairs)}, nil
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

// DedupStats is what duplicate removal dropped.
type DedupStats struct {
	Docs   int64 `json:"docs"`
	Exact  Count `json:"exact"`
	Near   Count `json:"near"`
	Groups int64 `json:"groups"` // of two documents or more
	// Between counts dropped documents by "input of the copy = input of the
	// document kept".
	Between map[string]Count `json:"between,omitempty"`
}

// A drop file has 5 bytes for each document of a docs file: u8 kind, u32 number
// of the document kept instead.
const (
	dropKeep = iota
	dropExact
	dropNear
	dropBytes = 5
)

// cluster joins all pairs and decides which documents go.
func (r *runner) cluster(ctx context.Context, _ int) (result, error) {
	counts, total, err := r.docCounts()
	if err != nil {
		return result{}, err
	}
	groups := textcheck.NewClusters(int(total))
	union := func(task int) error {
		path := r.path("work/pairs", fmt.Sprintf("%05d", task))
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		br := bufio.NewReaderSize(f, 256<<10)
		var b [8]byte
		for {
			if _, err := io.ReadFull(br, b[:]); err == io.EOF {
				return ctx.Err()
			} else if err != nil {
				return fmt.Errorf("%s: damaged work file: %w", path, err)
			}
			x, y := binary.LittleEndian.Uint32(b[:4]), binary.LittleEndian.Uint32(b[4:])
			if int64(x) >= total || int64(y) >= total {
				return fmt.Errorf("%s: damaged work file: document %d of %d", path, max(x, y), total)
			}
			groups.Union(int(x), int(y))
		}
	}
	tasks := r.plan.Recipe.bands()
	exact := make([]byte, (total+7)/8)
	next := 0
	if r.plan.Recipe.Dedup.Exact {
		if err := union(0); err != nil {
			return result{}, err
		}
		for i := range int(total) {
			if groups.Find(i) != i {
				exact[i/8] |= 1 << (i % 8)
			}
		}
		next = 1
	}
	for ; next < tasks; next++ {
		if err := union(next); err != nil {
			return result{}, err
		}
	}

	inputOf := func(id int) string {
		for t, n := range counts {
			if int64(id) < n {
				return r.plan.Recipe.Inputs[r.plan.Inputs[t].Input].Name
			}
			id -= int(n)
		}
		return ""
	}
	bands := 0
	if m := r.plan.Recipe.Dedup.MinHash; m != nil {
		bands = m.Bands
	}
	st := DedupStats{Docs: total, Between: map[string]Count{}}
	var res result
	has := make([]byte, (total+7)/8) // the kept document of a group of two or more
	id := 0
	for t, n := range counts {
		name := r.plan.Recipe.Inputs[r.plan.Inputs[t].Input].Name
		path := fmt.Sprintf("work/drop/%05d", t)
		out := make([]byte, n*dropBytes)
		f, err := os.Open(r.path("work/keys", fmt.Sprintf("%05d", t)))
		if err != nil {
			return result{}, err
		}
		at := 0
		err = keysColumn(f, n, bands, -2, func(group []byte) error {
			for ; len(group) > 0; group = group[4:] {
				if root := groups.Find(id); root != id {
					bytes := int(binary.LittleEndian.Uint32(group))
					o := out[at*dropBytes:]
					if exact[id/8]>>(id%8)&1 != 0 {
						o[0] = dropExact
						st.Exact.add(bytes)
					} else {
						o[0] = dropNear
						st.Near.add(bytes)
					}
					binary.LittleEndian.PutUint32(o[1:], uint32(root))
					pair := name + " = " + inputOf(root)
					c := st.Between[pair]
					c.add(bytes)
					st.Between[pair] = c
					if has[root/8]>>(root%8)&1 == 0 {
						has[root/8] |= 1 << (root % 8)
						st.Groups++
					}
				}
				id++
				at++
			}
			return nil
		})
		f.Close()
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", f.Name(), err)
		}
		if err := durable.WriteFile(r.path(path), out); err != nil {
			return result{}, err
		}
		res.files = append(res.files, path)
	}
	res.stats = &st
	res.note = fmt.Sprintf("%d exact and %d near duplicates of %d documents", st.Exact.Docs, st.Near.Docs, total)
	return res, nil
}
