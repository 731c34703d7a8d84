package infer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"leolm/device"
	"leolm/llama"
)

// Peers are the engines of other processes that have other parts of the same model, on a device that computes with them
// (package device/split). One engine leads: it has the sessions, and tells the others what it does; they Follow.
type Peers interface {
	// Lead tells the peers what this engine does with so many tokens, and does it here, by calling f. It fails if they could
	// not be told, or if something went wrong between them since; what f computed is then worth nothing.
	Lead(message []byte, tokens int, f func()) error
}

// What an engine leads in. A message is the kind, and then numbers and lists of numbers.
const (
	leadForward = iota + 1 // tokens, positions, lengths, sequences, wanted rows: a forward pass
	leadHead               // rows: logits of the rows of its result
	leadScores             // targets, weights: log-probabilities of targets after its rows
	leadCopy               // pages to, from, and how many positions: a copy in the cache
)

// message is a message in the making.
type message []byte

func (m *message) number(n int) { *m = binary.AppendVarint(*m, int64(n)) }

func (m *message) list(l []int32) {
	m.number(len(l))
	for _, x := range l {
		m.number(int(x))
	}
}

// reader takes a message apart. After an error everything is 0.
type reader struct {
	rest []byte
	err  error
}

var errMessage = errors.New("infer: a message of a leading engine that makes no sense")

func (r *reader) number() int {
	n, used := binary.Varint(r.rest)
	if used <= 0 || r.err != nil {
		r.err, r.rest = errMessage, nil
		return 0
	}
	r.rest = r.rest[used:]
	return int(n)
}

func (r *reader) list(dst []int32) []int32 {
	n := r.number()
	if n < 0 || n > len(r.rest) {
		r.err = errMessage
		return dst
	}
	for range n {
		dst = append(dst, int32(r.number()))
	}
	return dst
}

// forward runs the model over the batch, here and on the peers.
func (e *Engine) forward() (*device.Tensor, error) {
	b := &e.batch
	if e.opt.Peers == nil {
		return e.model.Forward(e.dev, b), nil
	}
	m := message{leadForward}
	m.list(b.IDs)
	m.list(b.Positions)
	m.list(b.Lengths)
	m.number(len(b.Seqs))
	for _, s := range b.Seqs {
		m.number(s.Row)
		m.number(s.Len)
		m.number(s.Past)
		m.list(s.Pages)
	}
	if b.Wanted == nil {
		m.number(0)
	} else {
		m.number(1)
		m.list(b.Wanted)
	}
	var h *device.Tensor
	err := e.opt.Peers.Lead(m, len(b.IDs), func() { h = e.model.Forward(e.dev, b) })
	if err != nil {
		e.dev.Release(h)
		return nil, err
	}
	return h, nil
}

// head computes the logits of some rows of h, all if rows is nil, here and on the peers.
func (e *Engine) head(h *device.Tensor, rows []int32) ([]float32, error) {
	if e.opt.Peers == nil {
		return e.logitsOf(h, rows)
	}
	m, tokens := message{leadHead}, h.Rows
	if rows == nil {
		m.number(0)
	} else {
		tokens = len(rows)
		m.number(1)
		m.list(rows)
	}
	var logits []float32
	var own error
	err := e.opt.Peers.Lead(m, tokens, func() { logits, own = e.logitsOf(h, rows) })
	return logits, errors.Join(err, own)
}

// scores returns the log-probabilities of targets, of those with a weight, after the rows of h.
func (e *Engine) scores(h *device.Tensor, targets []int32, weights []float32) (ce device.CrossEntropy, err error) {
	score := func() { ce = e.dev.LinearCrossEntropy(h, e.model.Head, targets, weights, e.model.Vocab) }
	if e.opt.Peers == nil {
		score()
		return ce, e.dev.Sync()
	}
	m := message{leadScores}
	m.list(targets)
	counted := make([]int32, len(weights))
	for i, w := range weights {
		if w != 0 {
			counted[i] = 1
		}
	}
	m.list(counted)
	err = e.opt.Peers.Lead(m, len(targets), score)
	return ce, errors.Join(err, e.dev.Sync())
}

// copyPage copies the first n positions of a page, here and on the peers.
func (e *Engine) copyPage(dst, src int32, n int) error {
	if e.opt.Peers == nil {
		e.cache.CopyPage(dst, src, n)
		return nil
	}
	m := message{leadCopy}
	m.list([]int32{dst, src})
	m.number(n)
	return e.opt.Peers.Lead(m, 1, func() { e.cache.CopyPage(dst, src, n) })
}

// followed is what an engine that follows another keeps.
type followed struct {
	hidden *device.Tensor  // of the last forward pass
	pages  map[int32]int32 // the leader's pages → those of the cache here
}

// Follow does what the message of a leading engine says. It does not call Peers.
func (e *Engine) Follow(message []byte) error {
	if len(message) == 0 {
		return errMessage
	}
	r, f := &reader{rest: message[1:]}, &e.followed
	if f.pages == nil {
		f.pages = map[int32]int32{}
	}
	switch kind := message[0]; kind {
	case leadForward:
		if err := e.followForward(r); err != nil {
			return err
		}
	case leadHead:
		var rows []int32
		if r.number() == 1 {
			rows = r.list([]int32{})
		}
		if r.err == nil && (f.hidden == nil || slices.ContainsFunc(rows, func(row int32) bool { return row < 0 || int(row) >= f.hidden.Rows })) {
			r.err = errMessage
		}
		if r.err == nil {
			_, r.err = e.logitsOf(f.hidden, rows)
		}
	case leadScores:
		targets, counted := r.list(nil), r.list(nil)
		outside := func(id int32) bool { return id < 0 || int(id) >= e.model.Vocab }
		if r.err == nil && (f.hidden == nil || len(targets) != f.hidden.Rows || len(counted) != len(targets) || slices.ContainsFunc(targets, outside)) {
			r.err = errMessage
		}
		weights := make([]float32, len(counted))
		for i, c := range counted {
			weights[i] = float32(c)
		}
		if r.err == nil {
			e.dev.LinearCrossEntropy(f.hidden, e.model.Head, targets, weights, e.model.Vocab)
			r.err = e.dev.Sync()
		}
	case leadCopy:
		pages, n := r.list(nil), r.number()
		if r.err != nil || len(pages) != 2 || n < 0 || n > e.cache.PageLen() {
			return errMessage
		}
		if err := e.translate(pages); err != nil {
			return err
		}
		e.cache.CopyPage(pages[0], pages[1], n)
	default:
		return fmt.Errorf("%w (kind %d)", errMessage, kind)
	}
	return r.err
}

// followForward runs a forward pass whose batch is in r.
func (e *Engine) followForward(r *reader) error {
	b, f := &e.batch, &e.followed
	b.IDs, b.Positions, b.Lengths = r.list(b.IDs[:0]), r.list(b.Positions[:0]), r.list(b.Lengths[:0])
	b.Seqs = b.Seqs[:0]
	for range r.number() {
		s := device.Sequence{Row: r.number(), Len: r.number(), Past: r.number(), Pages: r.list(nil)}
		if r.err != nil {
			break
		}
		if err := e.translate(s.Pages); err != nil {
			return err
		}
		b.Seqs = append(b.Seqs, s)
	}
	b.Cache, b.Wanted = e.cache, nil
	if r.number() == 1 {
		b.Wanted = r.list([]int32{})
	}
	if r.err != nil || !e.sound(b) {
		return errMessage
	}
	if f.hidden != nil {
		e.release(f.hidden)
	}
	f.hidden = e.model.Forward(e.dev, b)
	return nil
}

// sound reports whether the model can run over a batch.
func (e *Engine) sound(b *llama.Batch) bool {
	n := len(b.IDs)
	if n == 0 || len(b.Positions) != n || len(b.Lengths) != n {
		return false
	}
	for i, id := range b.IDs {
		if id < 0 || int(id) >= e.model.Config.VocabSize || b.Positions[i] < 0 || int(b.Positions[i]) >= e.opt.Context {
			return false
		}
	}
	for _, s := range b.Seqs {
		if s.Row < 0 || s.Len < 0 || s.Len > n-s.Row || s.Past < 0 || s.Past > e.opt.Context || s.Past+s.Len > len(s.Pages)*e.cache.PageLen() {
			return false
		}
	}
	for _, row := range b.Wanted {
		if row < 0 || int(row) >= n {
			return false
		}
	}
	return true
}

// translate replaces pages of the leader by those that stand for them here. The leader counts references, so that a page
// here is kept once it was needed.
func (e *Engine) translate(pages []int32) error {
	for i, p := range pages {
		mine, ok := e.followed.pages[p]
		if !ok {
			var err error
			if mine, err = e.cache.Alloc(); err != nil {
				return err
			}
			e.followed.pages[p] = mine
		}
		pages[i] = mine
	}
	return nil
}
