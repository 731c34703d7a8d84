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
	IDs     int64  `json:"ids"`    // stored, with the one that neighbors share
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
	p := &packTask{r: r, task: task}
	if err := p.open(); err != nil {
		return result{}, err
	}
	defer p.close()
	own, err := p.documents(ctx, task, true)
	if err != nil {
		return result{}, err
	}
	st := PackStats{Split: p.split, File: fmt.Sprintf("%s-%05d-of-%05d", p.split, task-p.first, p.last-p.first)}
	w, err := shard.NewTextWriter(r.path("out", st.File), p.width)
	if err != nil {
		return result{}, err
	}
	defer w.Abort()
	window := int64(r.plan.Recipe.Pack.Window)
	if window == 0 {
		err = p.whole(own, w)
	} else {
		err = p.windows(ctx, own, window, w)
	}
	if err != nil {
		return result{}, err
	}
	wrote := w.Stats()
	st.Samples, st.IDs, st.Starts = wrote.Samples, wrote.IDs, wrote.Starts
	if n := wrote.Last; window > 0 && n > 0 && n != window+1 {
		st.Short = n
	}
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

// packTask is the stage pack of one output shard.
type packTask struct {
	r           *runner
	task        int
	split       string // train or val
	first, last int    // shards of the split: [first, last)
	before      int64  // tokens of the split in shards before this one
	total       int64  // tokens of the split
	width       int    // bytes of an id
	files       []*tokensFile
}

// open counts the tokens of the split and opens the files that hold them. After an error nothing is open.
func (p *packTask) open() error {
	plan := p.r.plan
	toks, err := stats[TokenStats](p.r, StageTokenize)
	if err != nil {
		return err
	}
	p.first, p.last, p.split = 0, plan.Train, "train"
	if p.task >= plan.Train {
		p.first, p.last, p.split = plan.Train, plan.Train+plan.Val, "val"
	}
	for i := range toks {
		if toks[i].Width != toks[0].Width || toks[i].Vocab != toks[0].Vocab {
			return fmt.Errorf("tokenize tasks 0 and %d used different vocabularies (%d and %d ids)", i, toks[0].Vocab, toks[i].Vocab)
		}
		for s := p.first; s < p.last; s++ {
			p.total += toks[i].Shards[s]
			if s < p.task {
				p.before += toks[i].Shards[s]
			}
		}
	}
	p.width = toks[0].Width
	for i := range toks {
		f, err := openTokens(p.r.path("work/tokens", fmt.Sprintf("%05d", i)))
		if err != nil {
			p.close()
			return err
		}
		p.files = append(p.files, f)
	}
	return nil
}

func (p *packTask) close() {
	for _, f := range p.files {
		f.f.Close()
	}
}

// documents lists the documents of a shard in the order of the stream; with their ids if load.
func (p *packTask) documents(ctx context.Context, s int, load bool) (es []entry, err error) {
	for _, f := range p.files {
		if es, err = f.entries(es, s, p.width, load); err != nil {
			return nil, err
		}
	}
	sortEntries(es)
	return es, ctx.Err()
}

// whole writes each document as a sample of its own.
func (p *packTask) whole(own []entry, w *shard.TextWriter) error {
	for i := range own {
		ids, err := own[i].read(p.width)
		if err != nil {
			return err
		}
		if err := w.Add(ids, []uint32{0}); err != nil {
			return err
		}
	}
	return nil
}

// windows writes the windows that begin in the shard's own documents.
func (p *packTask) windows(ctx context.Context, own []entry, window int64, w *shard.TextWriter) error {
	c := cutter{write: w.Add, window: window, width: int64(p.width), total: p.total, pos: p.before, next: (p.before + window - 1) / window * window}
	for i := range own {
		ids, err := own[i].read(p.width)
		if err != nil {
			return err
		}
		if err := c.add(ids); err != nil {
			return err
		}
	}
	c.closing = true
	for s := p.task + 1; s < p.last && c.open(); s++ {
		es, err := p.documents(ctx, s, false)
		if err != nil {
			return err
		}
		for i := 0; i < len(es) && c.open(); i++ {
			ids, err := es[i].read(p.width)
			if err != nil {
				return err
			}
			if err := c.add(ids); err != nil {
				return err
			}
		}
	}
	return c.finish()
}
