package loader

import (
	"fmt"
	"math"
	"math/bits"

	"leolm/dataset/shard"
	"leolm/internal/splitmix"
)

// Order is the order of n samples in one epoch: a permutation of [0,n) that
// depends on (seed, epoch, n) only, takes no memory, and can be asked for any
// position, so that any number of ranks share it without talking.
//
// It is a Feistel network over the smallest even number of bits that holds n,
// walked until the value falls below n (Black and Rogaway, "Ciphers with
// Arbitrary Finite Domains", 2002).
type Order struct {
	n    uint64
	half uint
	keys [8]uint64
}

// NewOrder returns the order of an epoch. It panics if n is negative.
func NewOrder(seed uint64, epoch, n int) Order {
	if n < 0 {
		panic(fmt.Sprintf("loader: NewOrder of %d samples", n))
	}
	o := Order{n: uint64(n), half: uint(bits.Len64(uint64(max(n, 2)-1))+1) / 2}
	state := splitmix.Mix(seed) ^ splitmix.Mix(uint64(epoch)*splitmix.Gamma+1)
	for i := range o.keys {
		state += splitmix.Gamma
		o.keys[i] = splitmix.Mix(state)
	}
	return o
}

// Len is the number of samples.
func (o Order) Len() int { return int(o.n) }

// At returns the sample at position i in [0, Len()).
func (o Order) At(i int) int {
	if uint64(i) >= o.n {
		panic(fmt.Sprintf("loader: position %d of an order of %d", i, o.n))
	}
	mask := uint64(1)<<o.half - 1
	for v := uint64(i); ; {
		left, right := v>>o.half, v&mask
		for _, key := range o.keys {
			left, right = right, left^splitmix.Mix(right^key)&mask
		}
		if v = left<<o.half | right; v < o.n {
			return int(v)
		}
	}
}

// Part is one set of a blend. Weight says how often each of its samples
// appears per epoch, on average: 1 once, 0.5 every second epoch, 2 twice.
type Part struct {
	Set    shard.Set
	Weight float64
}

// Blend is several sets mixed by weight. Each set is an endless row of its
// own epochs, every one a new permutation; an epoch of the blend takes the
// next piece of each row and permutes all pieces together. So no sample
// appears a second time before all others of its set have appeared once.
type Blend struct {
	parts []Part
	seed  uint64
}

// NewBlend mixes sets. A weight must be positive and a set not empty.
func NewBlend(seed uint64, parts ...Part) (*Blend, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("a blend needs at least one set")
	}
	for i, p := range parts {
		if !(p.Weight > 0) || math.IsInf(p.Weight, 0) {
			return nil, fmt.Errorf("set %d of the blend: weight %v, want a positive number", i, p.Weight)
		}
		if p.Set.Len() == 0 {
			return nil, fmt.Errorf("set %d of the blend has no samples", i)
		}
	}
	return &Blend{parts: parts, seed: seed}, nil
}

// span is the piece of a set's endless row that an epoch takes.
func (b *Blend) span(part, epoch int) (from, to int) {
	perEpoch := b.parts[part].Weight * float64(b.parts[part].Set.Len())
	return int(math.Floor(float64(epoch)*perEpoch + 1e-9)), int(math.Floor(float64(epoch+1)*perEpoch + 1e-9))
}

// EpochLen is the number of samples of an epoch.
func (b *Blend) EpochLen(epoch int) int {
	n := 0
	for i := range b.parts {
		from, to := b.span(i, epoch)
		n += to - from
	}
	return n
}

// Ref names a sample of a blend.
type Ref struct{ Part, Index int }

// Sample reads the sample.
func (b *Blend) Sample(r Ref) shard.Sample { return b.parts[r.Part].Set.Sample(r.Index) }

// Length is the number of ids of the sample.
func (b *Blend) Length(r Ref) int { return b.parts[r.Part].Set.Length(r.Index) }

// epochOrder resolves positions of one epoch to samples.
type epochOrder struct {
	blend  *Blend
	order  Order
	starts []int // first position of each part before the common permutation
	from   []int
	row    [][]Order // per part, the orders of the set's own epochs it touches
	first  []int     // number of the first of them
}

func (b *Blend) epoch(epoch int) *epochOrder {
	e := &epochOrder{blend: b, order: NewOrder(b.seed, epoch, b.EpochLen(epoch))}
	at := 0
	for i, p := range b.parts {
		from, to := b.span(i, epoch)
		n := p.Set.Len()
		var orders []Order
		for own := from / n; own*n < to; own++ {
			orders = append(orders, NewOrder(splitmix.Mix(b.seed)+uint64(i)+1, own, n))
		}
		e.starts = append(e.starts, at)
		e.from = append(e.from, from)
		e.first = append(e.first, from/n)
		e.row = append(e.row, orders)
		at += to - from
	}
	return e
}

func (e *epochOrder) at(i int) Ref {
	v := e.order.At(i)
	part := len(e.starts) - 1
	for v < e.starts[part] {
		part--
	}
	n := e.blend.parts[part].Set.Len()
	k := e.from[part] + v - e.starts[part]
	return Ref{part, e.row[part][k/n-e.first[part]].At(k % n)}
}
