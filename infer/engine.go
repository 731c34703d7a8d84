// Package infer owns running a model for text: sessions over a key/value
// cache, mixed batches of them, prefix reuse, scoring, and generation with
// sampling, constraints, beams and speculation. It does not know chat
// formats (package chat) or model files (package catalog).
package infer

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"leolm/device"
	"leolm/llama"
	"leolm/tensor"
)

// Engine runs one model. It is used by one goroutine at a time.
type Engine struct {
	dev   device.Runner
	model *llama.Model
	cache device.KVCache
	opt   Options

	batch  llama.Batch
	rows   []int32 // wanted in the current step; never nil, which would mean all
	logits []float32
	gone   []*device.Tensor

	followed followed // of an engine that follows another
}

// Options of an engine.
type Options struct {
	// Context is the largest number of tokens of a session; 0 means the model's own limit.
	Context int
	// CacheType is how keys and values are stored: F16, BF16, F32 or Q8_0.
	CacheType tensor.DType
	// Sessions is how many full-length sessions the cache has room for (default 1).
	Sessions int
	// CacheBytes, if not 0, is the size of the cache instead, in bytes: as many pages as fit into it, and at least one
	// session.
	CacheBytes int64
	// PageLen is the number of tokens in a page of the cache (default device.DefaultPageLen). Shorter pages waste less
	// memory when sessions are short. Results do not depend on it.
	PageLen int
	// Fingerprint identifies the model in saved sessions.
	Fingerprint string
	// PrefillChunk is the most tokens in one forward pass (default 512).
	PrefillChunk int
	// Peers follow this engine, if they have other parts of its model.
	Peers Peers
}

// NewEngine makes an engine for m on dev. A cache that would not fit into memory is a
// *device.MemoryError, although pages are allocated only when they are used.
func NewEngine(dev device.Runner, m *llama.Model, opt Options) (*Engine, error) {
	if opt.Context == 0 {
		opt.Context = m.Config.MaxPositions
	}
	if opt.Context < 1 {
		return nil, fmt.Errorf("context length %d: must be at least 1", opt.Context)
	}
	if opt.CacheType == tensor.Invalid {
		opt.CacheType = tensor.F16
	}
	if opt.PrefillChunk == 0 {
		opt.PrefillChunk = 512
	}
	opt.Sessions = max(opt.Sessions, 1)
	pageLen := cmp.Or(opt.PageLen, device.DefaultPageLen)
	c, kvHeads := &m.Config, heldKVHeads(dev, m)
	row, err := opt.CacheType.RowSize(c.HeadDim)
	if err != nil {
		return nil, fmt.Errorf("cache type %v with heads of %d elements: %w", opt.CacheType, c.HeadDim, err)
	}
	// In floats: absurd lengths overflow every integer type.
	perSession := math.Ceil(float64(opt.Context) / float64(pageLen))
	size := float64(opt.Sessions) * perSession * float64(pageLen) * float64(2*c.Layers*kvHeads*row)
	what := fmt.Sprintf("the keys and values of %d tokens", opt.Context)
	if opt.Sessions > 1 {
		what = fmt.Sprintf("the keys and values of %d sequences of %d tokens", opt.Sessions, opt.Context)
	}
	pages := float64(opt.Sessions) * perSession
	if page := float64(pageLen) * float64(2*c.Layers*kvHeads*row); opt.CacheBytes > 0 {
		pages = max(math.Floor(float64(opt.CacheBytes)/page), perSession)
		size = pages * page
		what = fmt.Sprintf("a cache of %.0f pages of %d tokens", pages, pageLen)
	}
	if err := device.Need(dev, what, size); err != nil {
		return nil, err
	}
	cache, err := dev.NewCache(device.CacheSpec{Layers: c.Layers, KVHeads: c.KVHeads, HeadDim: c.HeadDim, DType: opt.CacheType, Pages: int(pages), PageLen: pageLen})
	if err != nil {
		return nil, err
	}
	return &Engine{dev: dev, model: m, cache: cache, opt: opt, rows: make([]int32, 0, 1)}, nil
}

// Model returns the model that the engine runs.
func (e *Engine) Model() *llama.Model { return e.model }

// Free gives the memory of the cache back where the garbage collector does not. No session is used afterwards.
func (e *Engine) Free() {
	if dev, ok := e.dev.(device.Freer); ok {
		dev.FreeCache(e.cache)
	}
}

// Context is the largest number of tokens of a session.
func (e *Engine) Context() int { return e.opt.Context }

// CacheBytes is the memory that keys and values take now.
func (e *Engine) CacheBytes() int { return e.cache.Bytes() }

// TokenBytes is the memory of the keys and values of one token, of those heads that this process has.
func (e *Engine) TokenBytes() int {
	c := &e.model.Config
	row, _ := e.cache.DType().RowSize(c.HeadDim) // NewCache checked it
	return c.Layers * 2 * heldKVHeads(e.dev, e.model) * row
}

// heldKVHeads is how many heads of keys and values a device has in its caches.
func heldKVHeads(dev device.Runner, m *llama.Model) int {
	if d, ok := dev.(interface{ HeldKVHeads(heads int) int }); ok {
		return d.HeldKVHeads(m.Config.KVHeads)
	}
	return m.Config.KVHeads
}

// ContextError reports that a sequence does not fit into the context.
type ContextError struct{ Tokens, Limit int }

func (e *ContextError) Error() string {
	return fmt.Sprintf("%d tokens do not fit into the context of %d", e.Tokens, e.Limit)
}

// TokenError reports an id that has no row in the model.
type TokenError struct {
	ID       int32
	Position int
	Vocab    int // rows
}

func (e *TokenError) Error() string {
	return fmt.Sprintf("token id %d at position %d is outside the vocabulary of %d", e.ID, e.Position, e.Vocab)
}

// Want selects the rows of a feed that need logits.
type Want uint8

// No logits, those of the last token, or those of all tokens.
const (
	WantNone Want = iota
	WantLast
	WantAll

	// For works of a Scheduler: logits of all tokens, but a few rows at a time, and hidden states of all tokens.
	wantScores
	wantHidden
)

// rows is how many rows of its hidden states f needs.
func (f *Feed) rows() int {
	switch f.Want {
	case WantNone:
		return 0
	case WantLast:
		return 1
	}
	return len(f.IDs)
}

// Feed is a run of new tokens for one session.
type Feed struct {
	Session *Session
	IDs     []int32
	Want    Want
}

// hidden runs one forward pass over the feeds and returns the hidden states
// of the wanted rows; a nil wanted means all. Sessions advance.
func (e *Engine) hidden(feeds []Feed, wanted []int32) (*device.Tensor, error) {
	b := &e.batch
	b.IDs, b.Positions, b.Seqs, b.Lengths = b.IDs[:0], b.Positions[:0], b.Seqs[:0], b.Lengths[:0]
	b.Cache, b.Wanted = e.cache, wanted
	for _, f := range feeds {
		for i, id := range f.IDs {
			if id < 0 || int(id) >= e.model.Config.VocabSize {
				return nil, &TokenError{ID: id, Position: f.Session.Len() + i, Vocab: e.model.Config.VocabSize}
			}
		}
		if err := f.Session.grow(len(f.IDs)); err != nil {
			return nil, err
		}
	}
	for _, f := range feeds {
		s := f.Session
		b.Seqs = append(b.Seqs, device.Sequence{Row: len(b.IDs), Len: len(f.IDs), Past: len(s.ids), Pages: s.pages})
		for i := range f.IDs {
			b.Positions = append(b.Positions, int32(len(s.ids)+i))
			switch length := int32(len(s.ids)); s.length {
			case 0:
				b.Lengths = append(b.Lengths, length+int32(len(f.IDs)))
			case oneByOne:
				b.Lengths = append(b.Lengths, length+int32(i+1))
			default:
				b.Lengths = append(b.Lengths, int32(s.length))
			}
		}
		b.IDs = append(b.IDs, f.IDs...)
	}
	h, err := e.forward()
	if err != nil {
		return nil, err
	}
	for _, f := range feeds {
		f.Session.ids = append(f.Session.ids, f.IDs...)
	}
	return h, nil
}

// Step runs one forward pass over several sessions and returns the wanted
// logits, [rows][Vocab], in the order of the feeds. The slice is valid until
// the next call. Logits do not depend on the other sessions of the batch.
func (e *Engine) Step(feeds []Feed) ([]float32, error) {
	h, err := e.pass(feeds)
	if err != nil {
		return nil, err
	}
	logits, err := e.head(h, nil)
	e.release(h)
	if err != nil {
		undo(feeds)
	}
	return logits, err
}

// step is Step whose rows may be known by their largest logits only, of which there are enough.
func (e *Engine) step(feeds []Feed, enough int) ([]row, error) {
	h, err := e.pass(feeds)
	if err != nil {
		return nil, err
	}
	need := make([]int, h.Rows)
	for i := range need {
		need[i] = enough
	}
	rows, err := e.outputs(h, nil, need)
	e.release(h)
	if err != nil {
		undo(feeds)
	}
	return rows, err
}

// pass runs one forward pass over the feeds and returns the hidden states of the rows that they want, in their order.
func (e *Engine) pass(feeds []Feed) (*device.Tensor, error) {
	e.rows = e.rows[:0]
	at := int32(0)
	for i := range feeds {
		n := int32(len(feeds[i].IDs))
		for row := n - int32(feeds[i].rows()); row < n; row++ {
			e.rows = append(e.rows, at+row)
		}
		at += n
	}
	wanted := e.rows
	if len(wanted) == int(at) {
		wanted = nil
	}
	return e.hidden(feeds, wanted)
}

// release releases t without allocating a slice for the variadic call.
func (e *Engine) release(t *device.Tensor) {
	e.gone = append(e.gone[:0], t)
	e.dev.Release(e.gone...)
}

// logitsOf computes the logits of some rows of h, all if rows is nil. Its error is the device's, of any operation of the
// pass.
func (e *Engine) logitsOf(h *device.Tensor, rows []int32) ([]float32, error) {
	if rows != nil {
		h = e.dev.Gather(h, rows)
		defer e.release(h)
	}
	if h.Rows == 0 {
		return nil, e.dev.Sync()
	}
	y := e.dev.Linear(h, e.model.Head)
	n := y.Rows * y.Cols
	if cap(e.logits) < n {
		e.logits = make([]float32, n)
	}
	e.logits = e.logits[:n]
	e.dev.Read(y, e.logits)
	e.release(y)
	if err := e.dev.Sync(); err != nil {
		return nil, err
	}
	v := e.model.Vocab
	if v < y.Cols {
		// Columns from v on are padding: close the gaps.
		for i := 1; i < y.Rows; i++ {
			copy(e.logits[i*v:(i+1)*v], e.logits[i*y.Cols:])
		}
	}
	return e.logits[:y.Rows*v], nil
}

// Prefill feeds ids in chunks and returns the logits after the last one.
func (e *Engine) Prefill(ctx context.Context, s *Session, ids []int32, progress func(done, total int)) ([]float32, error) {
	if n := s.Len() + len(ids); n > e.opt.Context {
		return nil, &ContextError{Tokens: n, Limit: e.opt.Context}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("nothing to feed: the prompt has no tokens")
	}
	s.length = s.Len() + len(ids)
	defer func() { s.length = 0 }()
	for at := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(e.opt.PrefillChunk, len(ids)-at)
		want := WantNone
		if at+n == len(ids) {
			want = WantLast
		}
		logits, err := e.Step([]Feed{{s, ids[at : at+n], want}})
		if err != nil {
			return nil, err
		}
		at += n
		if progress != nil {
			progress(at, len(ids))
		}
		if at == len(ids) {
			return logits, nil
		}
	}
}

// Score feeds ids to s and returns log p(ids[i] | everything before it) for every
// i; the first is 0 if the session was empty. Keys and values go through the same
// cache as in generation, so the numbers are those that generation sees.
func (e *Engine) Score(ctx context.Context, s *Session, ids []int32) ([]float32, error) {
	out := make([]float32, len(ids))
	if s.Len() > 0 && len(ids) > 0 {
		last := s.ids[len(s.ids)-1]
		s.Truncate(len(s.ids) - 1)
		logits, err := e.Step([]Feed{{s, []int32{last}, WantLast}})
		if err != nil {
			return nil, err
		}
		out[0] = LogProb(logits, ids[0])
	}
	s.length = s.Len() + len(ids)
	defer func() { s.length = 0 }()
	for at := 0; at < len(ids); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(e.opt.PrefillChunk, len(ids)-at)
		feed := []Feed{{s, ids[at : at+n], WantNone}}
		h, err := e.hidden(feed, nil)
		if err != nil {
			return nil, err
		}
		targets := make([]int32, n)
		weights := make([]float32, n)
		for i := range n {
			if at+i+1 < len(ids) {
				targets[i], weights[i] = ids[at+i+1], 1
			}
		}
		ce, err := e.scores(h, targets, weights)
		e.dev.Release(h)
		if err != nil {
			undo(feed)
			return nil, err
		}
		for i, w := range weights {
			if w != 0 {
				out[at+i+1] = ce.LogProbs[i]
			}
		}
		at += n
	}
	return out, nil
}

// Embed returns a sentence embedding: the hidden states after the final norm, averaged over
// the tokens and scaled to length 1.
func (e *Engine) Embed(ctx context.Context, ids []int32) ([]float32, error) {
	s := e.NewSession()
	defer s.Close()
	if len(ids) == 0 {
		return nil, fmt.Errorf("nothing to embed: the text has no tokens")
	}
	if len(ids) > e.opt.Context {
		return nil, &ContextError{Tokens: len(ids), Limit: e.opt.Context}
	}
	s.length = len(ids)
	sum := make([]float64, e.model.Config.HiddenSize)
	for at := 0; at < len(ids); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(e.opt.PrefillChunk, len(ids)-at)
		h, err := e.hidden([]Feed{{s, ids[at : at+n], WantNone}}, nil)
		if err != nil {
			return nil, err
		}
		v := make([]float32, h.Rows*h.Cols)
		e.dev.Read(h, v)
		e.dev.Release(h)
		if err := e.dev.Sync(); err != nil {
			return nil, err
		}
		for i, x := range v {
			sum[i%len(sum)] += float64(x)
		}
		at += n
	}
	return unit(sum), nil
}
