package loader

import "fmt"

// BatchOptions say how samples become batches.
type BatchOptions struct {
	Length int // positions of a window at most; longer samples are cut there
	Batch  int // windows of a global batch, over all ranks
	// Pack fills windows with several samples (best fit among neighbors in
	// the order); otherwise every sample is a window of its own.
	Pack bool
	// GroupByLength puts samples of similar length into the same batch
	// (unpacked only): sorts stretches of 50 batches, then shuffles batches.
	GroupByLength bool
	Loss          LossWeights
	// Rank of Ranks takes windows Rank, Rank+Ranks, … of each batch. Ranks 0
	// means 1. The order does not depend on the number of ranks.
	Rank, Ranks int
}

// Position is where a Batcher stands: everything needed to go on exactly
// there after a restart, given the same sets, seed and options.
type Position struct {
	Epoch  int `json:"epoch"`
	Sample int `json:"sample"` // in the epoch's order: start of the stretch being served
	Window int `json:"window"` // windows of that stretch already served
}

// Batcher serves the batches of a blend, epoch after epoch without end. It is
// not safe for concurrent use.
type Batcher struct {
	blend *Blend
	opt   BatchOptions

	pos     Position
	order   *epochOrder
	total   int // samples of the epoch
	stretch int // samples per stretch
	groups  [][]Ref
	loaded  bool
}

// NewBatcher starts at the beginning of epoch 0.
func NewBatcher(blend *Blend, opt BatchOptions) (*Batcher, error) {
	if opt.Ranks == 0 {
		opt.Ranks = 1
	}
	switch {
	case opt.Length < 1:
		return nil, fmt.Errorf("sequence length %d: want at least 1", opt.Length)
	case opt.Batch < 1:
		return nil, fmt.Errorf("batch of %d windows: want at least 1", opt.Batch)
	case opt.Rank < 0 || opt.Rank >= opt.Ranks:
		return nil, fmt.Errorf("rank %d of %d", opt.Rank, opt.Ranks)
	case opt.Batch%opt.Ranks != 0:
		return nil, fmt.Errorf("a batch of %d windows cannot be shared evenly by %d ranks", opt.Batch, opt.Ranks)
	}
	b := &Batcher{blend: blend, opt: opt}
	// A stretch is what packing and grouping choose from. It is a multiple of
	// the batch, so that unpacked batches are whole stretches' parts.
	b.stretch = 50 * opt.Batch
	if opt.Pack {
		b.stretch = max(4096, 16*opt.Batch)
	}
	return b, nil
}

// Position tells where the next batch begins.
func (b *Batcher) Position() Position { return b.pos }

// Epochs tells how many epochs lie behind the position, the current one in part:
// by its samples, and within a stretch by its windows.
func (b *Batcher) Epochs() float64 {
	b.load()
	if b.total == 0 {
		return float64(b.pos.Epoch)
	}
	done := float64(b.pos.Sample)
	if n := len(b.groups); n > 0 {
		done += float64(min(b.stretch, b.total-b.pos.Sample)) * float64(b.pos.Window) / float64(n)
	}
	return float64(b.pos.Epoch) + done/float64(b.total)
}

// Seek goes to a position that Position returned.
func (b *Batcher) Seek(p Position) error {
	if p.Epoch < 0 || p.Sample < 0 || p.Window < 0 || p.Sample%b.stretch != 0 || p.Sample > b.blend.EpochLen(p.Epoch) {
		return fmt.Errorf("position %+v does not belong to these sets and options", p)
	}
	old := *b
	b.pos, b.loaded = p, false
	b.load()
	if p.Window > len(b.groups) {
		n := len(b.groups)
		*b = old
		return fmt.Errorf("position %+v does not belong to these sets and options: the stretch has %d windows", p, n)
	}
	return nil
}

// load computes the windows of the stretch at the current position.
func (b *Batcher) load() {
	if b.loaded {
		return
	}
	if b.order == nil || b.order.order != NewOrder(b.blend.seed, b.pos.Epoch, b.blend.EpochLen(b.pos.Epoch)) {
		b.order = b.blend.epoch(b.pos.Epoch)
	}
	b.total = b.order.order.Len()
	b.groups = b.windows(b.order, b.pos.Epoch, b.pos.Sample)
	b.loaded = true
}

func (b *Batcher) windows(order *epochOrder, epoch, from int) [][]Ref {
	to := min(from+b.stretch, order.order.Len())
	refs := make([]Ref, 0, max(to-from, 0))
	for i := from; i < to; i++ {
		if r := order.at(i); b.blend.Length(r) > 1 {
			refs = append(refs, r)
		}
	}
	if b.opt.Pack {
		return pack(refs, b.blend.Length, b.opt.Length)
	}
	groups := make([][]Ref, len(refs))
	for i, r := range refs {
		groups[i] = []Ref{r}
	}
	if b.opt.GroupByLength {
		sortByLength(groups, b.blend.Length, b.opt.Length)
		whole := len(groups) / b.opt.Batch
		shuffled := make([][]Ref, 0, len(groups))
		mixed := NewOrder(b.blend.seed+0x6c656e, epoch*1_000_003+from/b.stretch, whole)
		for i := range whole {
			at := mixed.At(i) * b.opt.Batch
			shuffled = append(shuffled, groups[at:at+b.opt.Batch]...)
		}
		groups = append(shuffled, groups[whole*b.opt.Batch:]...)
	}
	return groups
}

// next returns the samples of the next window.
func (b *Batcher) next() []Ref {
	for {
		b.load()
		if b.pos.Window < len(b.groups) {
			b.pos.Window++
			return b.groups[b.pos.Window-1]
		}
		b.loaded = false
		b.pos.Window = 0
		b.pos.Sample += b.stretch
		if b.pos.Sample >= b.total {
			b.pos.Epoch++
			b.pos.Sample = 0
		}
	}
}

// Next returns this rank's windows of the next global batch. Epochs follow
// each other inside a batch where they end.
func (b *Batcher) Next() []Window {
	out := make([]Window, 0, b.opt.Batch/b.opt.Ranks)
	for i := range b.opt.Batch {
		refs := b.next()
		if i%b.opt.Ranks != b.opt.Rank {
			continue
		}
		var w Window
		for _, r := range refs {
			w.Append(r, b.blend.Sample(r), &b.opt.Loss, b.opt.Length)
		}
		out = append(out, w)
	}
	return out
}

// WindowCount counts the windows of an epoch: what a schedule needs to turn
// epochs into steps. It reads lengths only.
func (b *Batcher) WindowCount(epoch int) int {
	order, n := b.blend.epoch(epoch), 0
	for from := 0; from < order.order.Len(); from += b.stretch {
		n += len(b.windows(order, epoch, from))
	}
	return n
}
