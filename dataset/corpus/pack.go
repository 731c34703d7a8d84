package corpus

import (
	"context"
	"fmt"

	"leolm/dataset/shard"
)

// PackStats is what one output shard holds.
type PackStats struct {
	Split   string `json:"split"` // train or val
	Samples int64  `json:"samples"`
	IDs     int64  `json:"ids"`    // stored, with the one that neighbours share
	Starts  int64  `json:"starts"` // documents that begin in it
	Short   int64  `json:"short"`  // ids of the last sample where it is shorter than the others, else 0
	File    string `json:"file"`   // below out/, without .bin, .idx, .docs
	SHA256  string `json:"sha256,omitempty"`
}

// pack cuts the stream of one split into windows and writes those that begin in
// its shard. The stream is all documents of the split sorted by shuffle key, so
// windows don't depend on how many shards there are; the last window of a shard
// takes its missing tokens from the shards after it.
func (r *runner) pack(ctx context.Context, task int) (result, error) {
	p := r.plan
	toks, err := stats[TokenStats](r, StageTokenise)
	if err != nil {
		return result{}, err
	}
	first, last, name := 0, p.Train, "train"
	if task >= p.Train {
		first, last, name = p.Train, p.Train+p.Val, "val"
	}
	var before, total int64
	for i := range toks {
		if toks[i].Width != toks[0].Width || toks[i].Vocab != toks[0].Vocab {
			return result{}, fmt.Errorf("tokenise tasks 0 and %d used different vocabularies (%d and %d ids)", i, toks[0].Vocab, toks[i].Vocab)
		}
		for s := first; s < last; s++ {
			total += toks[i].Shards[s]
			if s < task {
				before += toks[i].Shards[s]
			}
		}
	}
	width := toks[0].Width

	var files []*tokensFile
	defer func() {
		for _, f := range files {
			f.f.Close()
		}
	}()
	for i := range toks {
		f, err := openTokens(r.path("work/tokens", fmt.Sprintf("%05d", i)))
		if err != nil {
			return result{}, err
		}
		files = append(files, f)
	}
	documents := func(s int, load bool) ([]entry, error) {
		var es []entry
		var err error
		for _, f := range files {
			if es, err = f.entries(es, s, width, load); err != nil {
				return nil, err
			}
		}
		sortEntries(es)
		return es, ctx.Err()
	}

	st := PackStats{Split: name, File: fmt.Sprintf("%s-%05d-of-%05d", name, task-first, last-first)}
	own, err := documents(task, true)
	if err != nil {
		return result{}, err
	}
	w, err := shard.NewTextWriter(r.path("out", st.File), width)
	if err != nil {
		return result{}, err
	}
	defer w.Abort()

	window := int64(p.Recipe.Pack.Window)
	if window == 0 {
		for i := range own {
			ids, err := own[i].read(width)
			if err != nil {
				return result{}, err
			}
			if err := w.Add(ids, []uint32{0}); err != nil {
				return result{}, err
			}
		}
	} else {
		c := cutter{write: w.Add, window: window, width: int64(width), total: total, pos: before, next: (before + window - 1) / window * window}
		for i := range own {
			ids, err := own[i].read(width)
			if err != nil {
				return result{}, err
			}
			if err := c.add(ids); err != nil {
				return result{}, err
			}
		}
		c.closing = true
		for s := task + 1; s < last && c.open(); s++ {
			es, err := documents(s, false)
			if err != nil {
				return result{}, err
			}
			for i := 0; i < len(es) && c.open(); i++ {
				ids, err := es[i].read(width)
				if err != nil {
					return result{}, err
				}
				if err := c.add(ids); err != nil {
					return result{}, err
				}
			}
		}
		if err := c.finish(); err != nil {
			return result{}, err
		}
		if n := w.Stats().Last; n > 0 && n != window+1 {
			st.Short = n
		}
	}
	wrote := w.Stats()
	st.Samples, st.IDs, st.Starts = wrote.Samples, wrote.IDs, wrote.Starts
	res := result{stats: &st}
	if st.Samples > 0 {
		if st.SHA256, err = w.Commit(); err != nil {
			return result{}, err
		}
		for _, ext := range []string{".bin", ".idx", ".docs"} {
			res.files = append(res.files, "out/"+st.File+ext)
		}
	}
	res.note = fmt.Sprintf("%s: %d samples, %d ids", st.File, st.Samples, st.IDs)
	return res, nil
}

// cutter cuts a stream of documents, from a position in a larger stream, into
// windows of window+1 ids at multiples of window.
type cutter struct {
	write         func(ids []byte, starts []uint32) error
	window, width int64
	total         int64 // tokens of the whole stream
	pos           int64 // of the next token to come
	next          int64 // where the next window to write begins
	buf           []byte
	starts        []uint32
	closing       bool // own documents are over: write no window that begins later
}

// open tells whether a window was begun and not finished.
func (c *cutter) open() bool { return len(c.buf) > 0 }

// add takes one document.
func (c *cutter) add(ids []byte) error {
	start := true
	for len(ids) > 0 {
		n := int64(len(ids)) / c.width
		if c.pos < c.next { // belongs to a window of the shard before
			skip := min(n, c.next-c.pos)
			c.pos += skip
			ids = ids[skip*c.width:]
			start = false
			continue
		}
		if c.closing && !c.open() {
			return nil
		}
		if start {
			c.starts = append(c.starts, uint32(c.pos-c.next))
			start = false
		}
		take := min(n, c.next+c.window+1-c.pos)
		c.buf = append(c.buf, ids[:take*c.width]...)
		c.pos += take
		ids = ids[take*c.width:]
		if c.pos < c.next+c.window+1 {
			return nil
		}
		if err := c.write(c.buf, c.starts); err != nil {
			return err
		}
		// The last id opens the next window; so does a document that begins there.
		shared := len(c.starts) > 0 && int64(c.starts[len(c.starts)-1]) == c.window
		c.next += c.window
		c.starts = c.starts[:0]
		if c.closing {
			c.buf = c.buf[:0]
			return nil
		}
		c.buf = append(c.buf[:0], c.buf[c.window*c.width:]...)
		if shared {
			c.starts = append(c.starts, 0)
		}
	}
	return nil
}

// finish writes the shorter window at the end of the stream. One id alone has
// nothing to predict and was the target of the window before.
func (c *cutter) finish() error {
	if !c.open() || c.pos != c.total || int64(len(c.buf)) < 2*c.width {
		return nil
	}
	return c.write(c.buf, c.starts)
}
