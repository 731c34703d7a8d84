package open

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"leolm/catalog"
	"leolm/device"
	"leolm/device/split"
	"leolm/internal/mapped"
	"leolm/tensor"
)

// Group is the processes that models are shared among: ranks that are numbered from 0.
type Group interface {
	split.Group
	// Share gives the root's value to all ranks, Gather the values of all ranks to all.
	Share(ctx context.Context, root int, value []byte) ([]byte, error)
	Gather(ctx context.Context, value []byte) ([][]byte, error)
	// Do runs f where GatherParts is fastest, and returns its error. f does nothing else with the group, and not for long.
	Do(f func() error) error
	// Abort ends all ranks.
	Abort(err error)
}

// Ranks are processes that share models: each has a part of their weights, and of their keys and values. Rank 0 opens and
// uses models as if it were alone, with Options.Ranks, and ends with End. The others Follow: they need the same files at the
// same paths, and nothing else. Results are the same bits for any number of ranks.
type Ranks struct {
	group   Group
	threads int

	mu     sync.Mutex // held while the ranks do something together
	err    error      // the first failure of the group
	models map[int]*Model
	opened int
}

// NewRanks makes this process one of group. Where Options do not say how many threads compute, it is that many here.
func NewRanks(group Group, threads int) *Ranks {
	return &Ranks{group: group, threads: threads, models: map[int]*Model{}}
}

// What rank 0 leads in. A message is the kind, the number of a model, and the rest.
const (
	leadOpen  = iota + 1 // an order
	leadAdapt            // an order
	leadStep             // a message of its engine
	leadQuick            // one that takes no longer than a few tokens
	leadClose
	leadEnd
)

// order says which model the ranks open.
type order struct {
	Arg       string
	Base      int // of an adapted model: the number of the one that it shares weights with
	Template  string
	Tokenizer string
	Adapters  []catalog.AdapterSpec
	Threads   int
	Converts  bool
	Context   int
	CacheType tensor.DType
	Sessions  int
	Together  int
	CacheSize int64
	PageLen   int
	Packed    string
}

func orderOf(arg string, base int, o *Options) *order {
	return &order{
		Arg: arg, Base: base, Template: o.Template, Tokenizer: o.Tokenizer, Adapters: o.Adapters, Threads: o.Threads,
		Converts: o.Convert != nil, Context: o.Context, CacheType: o.CacheType, Sessions: o.Sessions, Together: o.Together,
		CacheSize: o.CacheBytes, PageLen: o.PageLen, Packed: o.Packed,
	}
}

func (o *order) options() Options {
	return Options{
		Template: o.Template, Tokenizer: o.Tokenizer, Adapters: o.Adapters, Threads: o.Threads, Context: o.Context,
		CacheType: o.CacheType, Sessions: o.Sessions, Together: o.Together, CacheBytes: o.CacheSize, PageLen: o.PageLen, Packed: o.Packed,
	}
}

// RankError is what another rank could not do.
type RankError struct {
	Rank   int
	Reason string
}

func (e *RankError) Error() string { return fmt.Sprintf("rank %d: %s", e.Rank, e.Reason) }

// DifferError says that ranks found different models where they were told to look.
type DifferError struct {
	Rank   int // that differs from rank 0
	Model  string
	Prints [2]string
}

func (e *DifferError) Error() string {
	return fmt.Sprintf("rank 0 has another %s than rank %d: their fingerprints are %s and %s", e.Model, e.Rank, e.Prints[0], e.Prints[1])
}

// lead tells the other ranks what to do, and does this rank's part with f.
func (r *Ranks) lead(kind byte, model int, rest []byte, f func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	message := append(binary.AppendUvarint([]byte{kind}, uint64(model)), rest...)
	if _, r.err = r.group.Share(context.Background(), 0, message); r.err != nil {
		return r.err
	}
	if kind != leadQuick && kind != leadStep {
		f()
		return r.err
	}
	r.err = r.compute(kind, r.models[model], func() error { f(); return nil })
	return r.err
}

// compute runs f, a step of a model that gathers what the ranks compute. If this rank cannot go on, the others would wait
// for its part: it ends all.
func (r *Ranks) compute(kind byte, m *Model, f func() error) error {
	whole := func() error {
		if err := mapped.Guard(f); err != nil {
			return err
		}
		return m.split.Err()
	}
	var err error
	if kind == leadQuick {
		err = r.group.Do(whole)
	} else {
		err = whole()
	}
	if err != nil {
		r.group.Abort(err)
	}
	return err
}

// End ends the other ranks' Follow.
func (r *Ranks) End() error { return r.lead(leadEnd, 0, nil, func() {}) }

// Follow does this rank's part of what rank 0 does, until that ends. It returns an error where the ranks cannot go on;
// models that could not be opened are rank 0's.
func (r *Ranks) Follow(ctx context.Context) error {
	for {
		message, err := r.group.Share(ctx, 0, nil)
		if err != nil {
			return err
		}
		if len(message) < 2 {
			return errors.New("a message of rank 0 that makes no sense")
		}
		model, n := binary.Uvarint(message[1:])
		if n <= 0 {
			return errors.New("a message of rank 0 that is cut off")
		}
		kind, rest := message[0], message[1+n:]
		if kind == leadEnd {
			return nil
		}
		if err := r.follow(ctx, kind, int(model), rest); err != nil {
			return err
		}
	}
}

func (r *Ranks) follow(ctx context.Context, kind byte, number int, rest []byte) error {
	if kind == leadOpen || kind == leadAdapt {
		var o order
		if err := json.Unmarshal(rest, &o); err != nil {
			return fmt.Errorf("what rank 0 opens: %w", err)
		}
		// Canceling ctx is rank 0's: it asks for the end.
		_, _ = r.load(context.WithoutCancel(ctx), number, &o, o.options()) // rank 0 has the same outcome, and reports it
		return r.err
	}
	m := r.models[number]
	if m == nil {
		return fmt.Errorf("rank 0 uses model %d, which is not open here", number)
	}
	switch kind {
	case leadStep, leadQuick:
		return r.compute(kind, m, func() error { return m.Engine.Follow(rest) })
	case leadClose:
		delete(r.models, number)
		return m.closeHere()
	}
	return fmt.Errorf("rank 0 leads in something unknown (%d)", kind)
}

// open is Open for all ranks. It runs on rank 0.
func (r *Ranks) open(ctx context.Context, kind byte, arg string, base int, opt Options) (m *Model, err error) {
	if opt.Device != nil {
		return nil, errors.New("ranks share a model on devices of their own, not on a given one")
	}
	o := orderOf(arg, base, &opt)
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.opened++
	number := r.opened
	r.mu.Unlock()
	if failed := r.lead(kind, number, text, func() { m, err = r.load(ctx, number, o, opt) }); failed != nil {
		return nil, failed
	}
	return m, err
}

// load opens this rank's part of a model. All ranks call it, and come to the same outcome.
func (r *Ranks) load(ctx context.Context, number int, o *order, opt Options) (*Model, error) {
	files, err := catalog.Open(o.Arg, catalog.Options{Template: opt.Template, Tokenizer: opt.Tokenizer, Adapters: opt.Adapters})
	if err = r.agree(err); err != nil {
		if files != nil {
			err = errors.Join(err, files.Close())
		}
		return nil, err
	}
	m := &Model{Model: files, ranks: r, number: number}
	if err = r.agreeOnFiles(files); err == nil {
		err = m.loadPart(ctx, o, opt)
	}
	if err != nil {
		return nil, errors.Join(err, m.closeHere())
	}
	r.models[number] = m
	return m, nil
}

// loadPart loads this rank's weights, or takes those of the base, and makes the engine.
func (m *Model) loadPart(ctx context.Context, o *order, opt Options) (err error) {
	if o.Converts {
		if opt.Convert, err = m.ranks.conversions(m.Model, opt.Convert); err != nil {
			return err
		}
	}
	if o.Base == 0 {
		return m.start(ctx, opt)
	}
	base := m.ranks.models[o.Base]
	m.Device, m.split = base.Device, base.split
	return m.adapt(base, opt)
}

// agree makes the first rank's error that of all.
func (r *Ranks) agree(err error) error {
	if r == nil {
		return err
	}
	type outcome struct {
		Text   string
		Memory *device.MemoryError
	}
	var mine outcome
	if err != nil {
		mine.Text = err.Error()
		errors.As(err, &mine.Memory)
	}
	text, e := json.Marshal(mine)
	if e != nil {
		return e
	}
	all, e := r.gather(text)
	if e != nil {
		return e
	}
	for rank, text := range all {
		var o outcome
		if e := json.Unmarshal(text, &o); e != nil {
			return e
		}
		switch {
		case o.Text == "":
		case rank == r.group.Rank():
			return err
		case o.Memory != nil:
			o.Memory.What = fmt.Sprintf("rank %d: %s", rank, o.Memory.What)
			return o.Memory
		default:
			return &RankError{rank, o.Text}
		}
	}
	return nil
}

// gather is the group's, and remembers that it failed.
func (r *Ranks) gather(value []byte) ([][]byte, error) {
	all, err := r.group.Gather(context.Background(), value)
	if err != nil {
		r.err = err
	}
	return all, err
}

// agreeOnFiles makes sure that all ranks have opened the same model.
func (r *Ranks) agreeOnFiles(m *catalog.Model) error {
	all, err := r.gather([]byte(m.Fingerprint()))
	if err != nil {
		return err
	}
	for rank, print := range all {
		if string(print) != string(all[0]) {
			return &DifferError{rank, m.Name, [2]string{string(all[0]), string(print)}}
		}
	}
	return nil
}

// least is the smallest n of all ranks.
func (r *Ranks) least(n int) (int, error) {
	if r == nil {
		return n, nil
	}
	all, err := r.gather(binary.AppendVarint(nil, int64(n)))
	if err != nil {
		return 0, err
	}
	for _, b := range all {
		other, _ := binary.Varint(b)
		n = min(n, int(other))
	}
	return n, nil
}

// conversions gives rank 0's choice of types for matrices to all ranks.
func (r *Ranks) conversions(m *catalog.Model, choose func(name string, stored tensor.DType) tensor.DType) (func(string, tensor.DType) tensor.DType, error) {
	types := map[string]tensor.DType{}
	note := func(name string, stored tensor.DType) {
		if to := choose(name, stored); to != tensor.Invalid {
			types[name] = to
		}
	}
	if choose != nil {
		for _, t := range m.Checkpoint.Tensors() {
			note(t.Name, t.DType)
		}
		for _, a := range m.Adapters {
			for _, t := range a.Saved {
				note(t.Name, t.DType)
			}
		}
	}
	text, err := json.Marshal(types)
	if err != nil {
		return nil, err
	}
	if text, err = r.group.Share(context.Background(), 0, text); err != nil {
		r.err = err
		return nil, err
	}
	types = nil
	if err := json.Unmarshal(text, &types); err != nil {
		return nil, err
	}
	return func(name string, _ tensor.DType) tensor.DType { return types[name] }, nil
}

// peers are the engines of a model on the other ranks.
type peers struct{ m *Model }

// quickTokens is how many tokens a model computes at most as fast as it reads its weights. A pass of more may take longer
// than a rank may be silent.
const quickTokens = 16

// Lead implements infer.Peers.
func (p peers) Lead(message []byte, tokens int, f func()) error {
	kind := byte(leadStep)
	if tokens <= quickTokens {
		kind = leadQuick
	}
	return p.m.ranks.lead(kind, p.m.number, message, f)
}
