// Package split is the device of a rank: one of several processes that compute a model together, each with a part of its
// weights, its heads and its cache. It owns which part is whose (Cut, Layout) and when ranks exchange what they have
// computed; the arithmetic is that of the device below it, the exchange that of a Group.
//
// Every matrix is cut by its rows, the output features. A rank multiplies whole inputs by its rows, so that each element of
// a result is the sum that one process would take, in the same order: results are the same bits for any number of ranks.
// What follows from a cut result element by element stays cut: rotation, attention within heads, SwiGLU, sums of equally cut
// tensors. Before the next product the ranks gather its input.
//
// All ranks call the same operations in the same order, with the same arguments; a Device does not tell the others what to
// do. Products of a tensor that a rank has whole, such as a vector of norms, are computed by all.
//
// # Derivatives
//
// The derivative with respect to a weight needs the whole input and the rank's columns of the output's derivative: of the
// same derivatives it has the bits of one process. The derivative with respect to an input is a sum over all output
// features, of which each rank has some. Such sums stay in parts until an operation reads them; then they are added in the
// order of ranks, in float64, and rounded once. An element Σ aᵢ of K terms, of which a rank sums K/N in float32, so differs
// from the exact one by less than γ·Σ|aᵢ| with γ = (K/N+1)·2⁻²⁴, to first order: a bound that is N times smaller than that
// of one process. All ranks come to the same bits, so that what each has whole (norms, adapters' A) stays the same
// everywhere; they depend on N.
package split

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"

	"leolm/device"
	"leolm/tensor"
)

// Group is the ranks that compute together.
type Group interface {
	// Rank is this process's number, Size how many there are.
	Rank() int
	Size() int
	// GatherParts gives all ranks the elements of values from parts[r] to before parts[r+1] of every rank r.
	GatherParts(ctx context.Context, values []float32, parts []int) error
}

// Summer is a Group that trains, too.
type Summer interface {
	Group
	// SumParts writes the sum of src over all ranks, in their order and rounded once, to dst: of the elements from parts[r]
	// to before parts[r+1], r being this rank.
	SumParts(ctx context.Context, dst, src []float32, parts []int) error
}

// Span is a run of rows, heads or columns.
type Span struct{ From, To int }

// Len is the number of elements.
func (s Span) Len() int { return s.To - s.From }

// Cut says which part each rank has; nil: every rank has all. Parts of keys and values may overlap; others follow each other.
type Cut []Span

// Layout says how a model is cut.
type Layout struct {
	// Rows cuts the rows of the matrix with that name.
	Rows func(name string, rows int) Cut
	// KVHeads cuts the heads of keys and values.
	KVHeads func(heads int) Cut
	// Vector cuts the elements of the trainable vector with that name; nil: every rank has all vectors.
	Vector func(name string, n int) Cut
}

// Even cuts n elements into parts of nearly the same length, in whole units.
func Even(n, ranks, unit int) Cut {
	units, cut := (n+unit-1)/unit, make(Cut, ranks)
	for r := range cut {
		cut[r] = Span{min(n, units*r/ranks*unit), min(n, units*(r+1)/ranks*unit)}
	}
	return cut
}

// Device is a rank's device. It is used by one goroutine at a time.
type Device struct {
	device.Device // computes this rank's part

	group   Group
	layout  Layout
	rank    int
	err     error // the first failure of the group
	weights []*weight
	reads   func(number int) // told before weights that are cut are read, or nil
	reading sync.Mutex       // around reading, which exports do from several goroutines
	muon    map[[2]int]device.Weight

	inner            []device.Weight // of one LinearGroup
	gone             []*device.Tensor
	blocks, rowMajor []float32
	parts            []int
	spec             device.AttentionSpec
	free             []*part
}

var _ device.Device = (*Device)(nil)

// New returns the device of a rank that computes with dev.
func New(dev device.Device, group Group, layout Layout) *Device {
	return &Device{Device: dev, group: group, layout: layout, rank: group.Rank()}
}

// Name implements device.Device.
func (d *Device) Name() string {
	return fmt.Sprintf("rank %d of %d, each with %s", d.rank, d.group.Size(), d.Device.Name())
}

// Err is the error with which an exchange has failed. Results since then are worth nothing.
func (d *Device) Err() error { return d.err }

// HeldKVHeads is how many of that many heads of keys and values this rank has in its cache.
func (d *Device) HeldKVHeads(heads int) int { return d.layout.KVHeads(heads)[d.rank].Len() }

// NewCache implements device.Device: of the heads of this rank.
func (d *Device) NewCache(s device.CacheSpec) (device.KVCache, error) {
	s.KVHeads = d.HeldKVHeads(s.KVHeads)
	return d.Device.NewCache(s)
}

// Use makes layout that of the weights and caches that are made from now on: those of another model.
func (d *Device) Use(layout Layout) { d.layout = layout }

// weight is what a rank has of a weight.
type weight struct {
	device.Weight // of this rank: the rows of its part, or all
	name          string
	rows, cols    int
	cut           Cut           // of the rows, or of a vector's elements
	vector        bool          // one row, which is cut by its elements
	frozen        int           // leading rows that no gradient reaches
	number        int           // counted from 0, in the order in which weights were made
	piece         device.Weight // of a vector, once it was needed: this rank's elements, cut as pieceOf
	pieceOf       Span
}

func (w *weight) Rows() int       { return w.rows }
func (w *weight) Cols() int       { return w.cols }
func (w *weight) FrozenRows() int { return w.frozen }

// unit is how many values an element of the cut has.
func (w *weight) unit() int {
	if w.vector {
		return 1
	}
	return w.cols
}

// trained is the span of the values of a rank that its gradient belongs to, among all values of the weight.
func (w *weight) trained(rank int) Span {
	first := w.frozen * w.cols
	if w.cut == nil {
		return Span{first, w.rows * w.cols}
	}
	s := Span{w.cut[rank].From * w.unit(), w.cut[rank].To * w.unit()}
	return Span{min(max(s.From, first), s.To), s.To}
}

// made numbers a new weight.
func (d *Device) made(w *weight) *weight {
	w.number = len(d.weights)
	d.weights = append(d.weights, w)
	return w
}

func of(w device.Weight) *weight {
	c, ok := w.(*weight)
	if !ok {
		panic(fmt.Sprintf("split: a weight of another device (%T)", w))
	}
	return c
}

// NewWeight implements device.Device. Only the rows of this rank are read.
func (d *Device) NewWeight(s device.WeightSpec) (device.Weight, error) {
	w := &weight{name: s.Name, rows: s.Rows, cols: s.Cols}
	if s.Use&device.WeightUseVector == 0 {
		w.cut = d.layout.Rows(s.Name, s.Rows)
	}
	if w.cut != nil {
		mine, row := w.cut[d.rank], s.Row
		if mine.Len() < 1 {
			return nil, fmt.Errorf("weight %s: its %d rows are too few for %d ranks", s.Name, s.Rows, len(w.cut))
		}
		s.Rows, s.Row = mine.Len(), func(i int) []byte { return row(mine.From + i) }
	}
	var err error
	w.Weight, err = d.Device.NewWeight(s)
	return d.made(w), err
}

// vector returns this rank's elements of a vector that belongs to columns cut like that.
func (d *Device) vector(w *weight, cut Cut) device.Weight {
	mine := cut[d.rank]
	if w.cut != nil && slices.Equal(w.cut, cut) {
		return w.Weight
	}
	if w.cut != nil || w.Trainable() {
		panic(fmt.Sprintf("split: %s is not cut like the columns that it belongs to", w.name))
	}
	if w.piece != nil && w.pieceOf == mine {
		return w.piece
	}
	all := make([]float32, w.Cols())
	d.Device.ReadWeight(w.Weight, all)
	bits := make([]byte, 0, 4*mine.Len())
	for _, x := range all[mine.From:mine.To] {
		bits = binary.LittleEndian.AppendUint32(bits, math.Float32bits(x))
	}
	piece, err := d.Device.NewWeight(device.WeightSpec{
		Name: "part of a vector", DType: tensor.F32, Rows: 1, Cols: mine.Len(), Use: device.WeightUseVector, Row: func(int) []byte { return bits },
	})
	if err != nil {
		panic(err) // float32 values of the right number
	}
	w.piece, w.pieceOf = piece, mine
	return piece
}

// ReadWeight implements device.Device.
func (d *Device) ReadWeight(w device.Weight, dst []float32) {
	d.reading.Lock()
	defer d.reading.Unlock()
	c := of(w)
	if c.cut == nil {
		d.Device.ReadWeight(c.Weight, dst)
		return
	}
	if d.reads != nil {
		d.reads(c.number)
	}
	d.partsOf(c.cut, c.unit())
	d.Device.ReadWeight(c.Weight, dst[d.parts[d.rank]:d.parts[d.rank+1]])
	d.exchange(dst[:c.rows*c.Cols()])
}

// partsOf notes where the parts of a cut begin, each element being n values.
func (d *Device) partsOf(cut Cut, n int) {
	d.parts = append(d.parts[:0], 0)
	for r, s := range cut {
		if s.From*n != d.parts[r] {
			panic(fmt.Sprintf("split: parts %v cannot be gathered", cut))
		}
		d.parts = append(d.parts, s.To*n)
	}
}

// exchange fills values with the parts of all ranks, cut as d.parts. After a failure it does nothing.
func (d *Device) exchange(values []float32) {
	if d.err == nil && len(values) > 0 {
		d.err = d.group.GatherParts(context.Background(), values, d.parts)
	}
}

// part is a tensor of which a rank has some columns.
type part struct {
	device.Tensor // what others hold; its Impl is this part

	local *device.Tensor
	cut   Cut            // nil: local has all columns, and the values are the sums of all ranks' locals
	whole *device.Tensor // all columns, once they were gathered or added up
	refs  int
}

// partOf returns t as a part or a sum, nil if this rank has all of it.
func partOf(t *device.Tensor) *part {
	p, _ := t.Impl.(*part)
	return p
}

// cutTensor makes the tensor whose columns of this rank are local.
func (d *Device) cutTensor(local *device.Tensor, cols int, cut Cut) *device.Tensor {
	var p *part
	if n := len(d.free); n > 0 {
		p, d.free = d.free[n-1], d.free[:n-1]
	} else {
		p = new(part)
	}
	*p = part{Tensor: device.Tensor{Rows: local.Rows, Cols: cols, ID: local.ID, Impl: p}, local: local, cut: cut, refs: 1}
	return &p.Tensor
}

// whole returns all columns of t, as a tensor of the device below; it belongs to t.
func (d *Device) whole(t *device.Tensor) *device.Tensor {
	p := partOf(t)
	if p == nil {
		return t
	}
	if p.whole != nil {
		return p.whole
	}
	if p.cut == nil {
		p.whole = d.total(p)
		return p.whole
	}
	if d.gatherBlocks(p); t.Rows == 1 {
		p.whole = d.FromSlice(t.Rows, t.Cols, d.blocks)
		return p.whole
	}
	d.rowMajor = room(d.rowMajor, t.Rows*t.Cols)
	d.toRows(d.rowMajor, p)
	p.whole = d.FromSlice(t.Rows, t.Cols, d.rowMajor)
	return p.whole
}

// gatherBlocks fills d.blocks with the columns of a part, a block of each rank behind the other.
func (d *Device) gatherBlocks(p *part) {
	d.partsOf(p.cut, p.Rows)
	d.blocks = room(d.blocks, p.Rows*p.Cols)
	d.Device.Read(p.local, d.blocks[d.parts[d.rank]:d.parts[d.rank+1]])
	d.exchange(d.blocks)
}

// toRows makes rows of the blocks.
func (d *Device) toRows(dst []float32, p *part) {
	for _, s := range p.cut {
		block := d.blocks[s.From*p.Rows : s.To*p.Rows]
		for row := range p.Rows {
			copy(dst[row*p.Cols+s.From:], block[row*s.Len():(row+1)*s.Len()])
		}
	}
}

// changed notes that the columns of p were changed in place.
func (d *Device) changed(p *part) {
	if p.whole != nil {
		d.release(p.whole)
		p.whole = nil
	}
}

// room returns n elements, in the place of b where that is large enough.
func room(b []float32, n int) []float32 { return slices.Grow(b[:0], n)[:n] }

// release gives a tensor of the device below back, without allocating a slice for the variadic call.
func (d *Device) release(t *device.Tensor) {
	d.gone = append(d.gone[:0], t)
	d.Device.Release(d.gone...)
}

// Release implements device.Ops.
func (d *Device) Release(ts ...*device.Tensor) {
	for _, t := range ts {
		if t == nil {
			continue
		}
		p := partOf(t)
		if p == nil {
			d.release(t)
			continue
		}
		if p.refs--; p.refs > 0 {
			d.changed(p) // what is kept for a backward pass gathers again
			continue
		}
		if p.refs < 0 {
			panic("split: tensor released twice")
		}
		d.release(d.empty(p))
	}
}

// empty takes the local tensor out of a part that nobody holds.
func (d *Device) empty(p *part) *device.Tensor {
	d.changed(p)
	local := p.local
	p.local, p.refs = nil, 0
	d.free = append(d.free, p)
	return local
}

// Retain implements device.Device.
func (d *Device) Retain(t *device.Tensor) *device.Tensor {
	if p := partOf(t); p != nil {
		p.refs++
		return t
	}
	return d.Device.Retain(t)
}

// Read implements device.Device.
func (d *Device) Read(t *device.Tensor, dst []float32) { d.Device.Read(d.whole(t), dst) }
