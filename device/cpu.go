package device

import (
	"fmt"
	"maps"
	"math/bits"
	"runtime"
	"slices"

	"leolm/internal/kernel/cpu"
	"leolm/internal/kernel/qmat"
	"leolm/internal/largepage"
	"leolm/internal/pool"
	"leolm/tensor"
)

// CPU runs operations on the resident workers of this process. It is used by
// one goroutine at a time.
type CPU struct {
	pool    *pool.Pool
	compute tensor.DType // of products with trainable weights: F32 or BF16
	store   *Store       // where packed weights live, if not in plain memory

	free32 map[int][][]float32 // by capacity
	free16 map[int][][]uint16
	live   int // bytes of tensors now
	held   int // bytes of buffers in tensors and in the free lists
	// garbage is what was dropped from the free lists since the collector was last asked to take it.
	garbage int
	// tops are the buffers that operations use inside: they only grow.
	packed, head, headBack panels
	dense                  []float32
	scratch                [][]float32 // one per worker

	linears linears
	results []*Tensor // what Linears returned last
	byRows  rowTask
	attn    attnTask
	headers headers
	acts    qmat.Acts

	attnJobs    []attnJob
	attnWorkers []attnWorker
	partials    []float32
}

var _ Device = (*CPU)(nil)

// NewCPU returns a device on p.
func NewCPU(p *pool.Pool) *CPU {
	return &CPU{
		pool: p, compute: tensor.F32,
		free32: map[int][][]float32{}, free16: map[int][][]uint16{},
		acts:    qmat.Acts{Make: largepage.Make[byte]},
		scratch: make([][]float32, p.Workers()), attnWorkers: make([]attnWorker, p.Workers()),
	}
}

// Name implements Device.
func (d *CPU) Name() string {
	return fmt.Sprintf("cpu (%s, %s, %d workers)", runtime.GOARCH, cpu.Active, d.pool.Workers())
}

// SetCompute implements Device.
func (d *CPU) SetCompute(dt tensor.DType) error {
	if dt != tensor.F32 && dt != tensor.BF16 {
		return fmt.Errorf("compute type %v: the CPU trains in f32 or bf16", dt)
	}
	d.compute = dt
	return nil
}

// class rounds a length up so that buffers of similar sizes are shared: four steps per power of two.
func class(n int) int {
	if n <= 64 {
		return 64
	}
	step := 1 << max(bits.Len(uint(n-1))-3, 0)
	return (n + step - 1) &^ (step - 1)
}

// BufferLen is the number of elements that the CPU device holds for a tensor of n: for predictions of memory.
func BufferLen(n int) int { return class(n) }

func (d *CPU) take32(n int) []float32 { return take(d, d.free32, 4, n) }
func (d *CPU) take16(n int) []uint16  { return take(d, d.free16, 2, n) }

// take returns a free buffer of n's class, or one up to eight times larger (batches of
// changing length must not collect buffers of every length), or a new one, for which smaller ones that are free go.
func take[T any](d *CPU, free map[int][][]T, size, n int) []T {
	c := class(n)
	for at := c; at <= 8*c; at = class(at + 1) {
		if l := free[at]; len(l) > 0 {
			b := l[len(l)-1]
			free[at] = l[:len(l)-1]
			d.live += size * at
			return b[:n]
		}
	}
	if size*c >= tradedSize && d.held-d.live > d.live/8 {
		got := trade(d, d.free32, 4, c, size*c)
		got += trade(d, d.free16, 2, c, size*c-got)
		// The collector would wait until the garbage is as much as all that lives.
		if d.garbage += got; d.garbage >= mostGarbage {
			d.garbage = 0
			runtime.GC()
		}
	}
	d.live += size * c
	d.held += size * c
	return largepage.Make[T](c)[:n]
}

const (
	tradedSize  = 4 << 20 // bytes of a buffer for which others go
	mostGarbage = 128 << 20
)

// trade drops free buffers of less than c elements until they have given want bytes, the largest first: the batches
// have grown, and these are what shorter ones left.
func trade[T any](d *CPU, free map[int][][]T, size, c, want int) (got int) {
	if want <= 0 {
		return 0
	}
	sizes := slices.Sorted(maps.Keys(free))
	for _, s := range slices.Backward(sizes) {
		if s >= c {
			continue
		}
		for l := free[s]; len(l) > 0 && got < want; l = free[s] {
			l[len(l)-1] = nil
			free[s] = l[:len(l)-1]
			got += size * s
		}
		if got >= want {
			break
		}
	}
	d.held -= got
	return got
}

func (d *CPU) give32(b []float32) {
	if b == nil {
		return
	}
	c := cap(b)
	d.free32[c] = append(d.free32[c], b)
	d.live -= 4 * c
}

func (d *CPU) give16(b []uint16) {
	if b == nil {
		return
	}
	c := cap(b)
	d.free16[c] = append(d.free16[c], b)
	d.live -= 2 * c
}

// ArenaBytes implements Device.
func (d *CPU) ArenaBytes() int {
	n := d.held + 4*(cap(d.dense)+cap(d.partials))
	for _, p := range []*panels{&d.packed, &d.head, &d.headBack} {
		n += 4*cap(p.f32) + 2*cap(p.bf16)
	}
	for _, s := range d.scratch {
		n += 4 * cap(s)
	}
	return n
}

// ResetPeak implements Device.
func (d *CPU) ResetPeak() {
	clear(d.free32)
	clear(d.free16)
	d.held = d.live
}

// New implements Device.
func (d *CPU) New(rows, cols int) *Tensor {
	t := d.headers.take()
	*t = Tensor{Rows: rows, Cols: cols, refs: 1, f32: d.take32(rows * cols)}
	return t
}

// headers are Tensors that were released while recycling is on. They rest behind others
// before they are used again, so that a use after the release is still found out, mostly.
type headers struct {
	on          bool
	ring        [256]*Tensor
	first, held int
}

// headersRest is how many releases a header waits for.
const headersRest = 64

func (h *headers) take() *Tensor {
	if !h.on || h.held <= headersRest {
		return new(Tensor)
	}
	t := h.ring[h.first]
	h.first, h.held = (h.first+1)%len(h.ring), h.held-1
	return t
}

func (h *headers) give(t *Tensor) {
	if h.on && h.held < len(h.ring) {
		h.ring[(h.first+h.held)%len(h.ring)] = t
		h.held++
	}
}

// Recycle implements Device.
func (d *CPU) Recycle(on bool) { d.headers.on = on }

// newHalf makes a tensor that holds bf16 only: what products alone will read.
func (d *CPU) newHalf(rows, cols int) *Tensor {
	return &Tensor{Rows: rows, Cols: cols, refs: 1, h: d.take16(rows * cols)}
}

// operand makes the result of an operation that products read: f computes its rows. In bf16
// training it is rounded row by row while it is near, and never exists in f32.
func (d *CPU) operand(rows, cols int, o operands, f rowFunc) *Tensor {
	if d.compute == tensor.BF16 {
		return d.halfOperand(rows, cols, o, f)
	}
	t := d.New(rows, cols)
	d.computeRows(t, o, f)
	return t
}

func (d *CPU) halfOperand(rows, cols int, o operands, f rowFunc) *Tensor {
	t := d.newHalf(rows, cols)
	block := max(1, nearBlock/cols)
	d.rowsOn(rows, cols, func(worker, lo, hi int) {
		buf := d.worker(worker, block*cols)
		for ; lo < hi; lo += block {
			n := min(block, hi-lo) * cols
			f(&o, buf[:n], lo, lo+n/cols)
			narrowBF16(t.h[lo*cols:lo*cols+n], buf[:n])
		}
	})
	return t
}

// operands are what a rowFunc reads: each uses some of them.
type operands struct {
	a, b   []float32
	n      int // columns
	s      float32
	ids    []int32
	w      *weight
	rope   *Rope
	rotate func(x, cos, sin []float32)
}

// rowFunc computes rows [lo, hi) of a tensor into y. It captures nothing, so that passing it on
// allocates nothing.
type rowFunc func(o *operands, y []float32, lo, hi int)

// rowTask is a rowFunc as a task of the pool.
type rowTask struct {
	operands
	f            rowFunc
	y            []float32
	rows, chunks int
}

// Do implements pool.Task.
func (t *rowTask) Do(_, c int) {
	lo, hi := c*t.rows/t.chunks, (c+1)*t.rows/t.chunks
	n := len(t.y) / t.rows
	t.f(&t.operands, t.y[lo*n:hi*n], lo, hi)
}

// computeRows computes the float32 values of t.
func (d *CPU) computeRows(t *Tensor, o operands, f rowFunc) {
	d.byRows = rowTask{operands: o, f: f, y: t.f32, rows: t.Rows, chunks: d.chunks(t.Rows, t.Cols)}
	d.pool.Do(d.byRows.chunks, &d.byRows)
	d.byRows = rowTask{}
}

// nearBlock is the number of elements that are computed before they are rounded: a part of the first-level cache.
const nearBlock = 2048

// FromSlice implements Device.
func (d *CPU) FromSlice(rows, cols int, values []float32) *Tensor {
	if len(values) != rows*cols {
		panic(fmt.Sprintf("device: %d values for a tensor [%d, %d]", len(values), rows, cols))
	}
	t := d.New(rows, cols)
	copy(t.f32, values)
	return t
}

// Read implements Device.
func (d *CPU) Read(t *Tensor, dst []float32) { copy(dst[:t.Rows*t.Cols], d.values(t)) }

// Retain implements Device.
func (d *CPU) Retain(t *Tensor) *Tensor {
	t.refs++
	return t
}

// Release implements Ops.
func (d *CPU) Release(ts ...*Tensor) {
	for _, t := range ts {
		if t == nil {
			continue
		}
		if t.refs--; t.refs > 0 {
			continue
		}
		if t.refs < 0 {
			panic("device: tensor released twice")
		}
		d.give32(t.f32)
		d.give16(t.h)
		t.f32, t.h = nil, nil
		d.headers.give(t)
	}
}

// Demote implements Derivatives: in bf16 training what is saved for the backward pass is saved in bf16.
func (d *CPU) Demote(t *Tensor) {
	if d.compute != tensor.BF16 || t.f32 == nil {
		return
	}
	d.half(t)
	d.give32(t.f32)
	t.f32 = nil
}

// values returns the float32 values of t, widening a demoted tensor for good.
func (d *CPU) values(t *Tensor) []float32 {
	if t.refs <= 0 {
		panic("device: use of a released tensor")
	}
	if t.f32 == nil {
		t.f32 = d.take32(t.Rows * t.Cols)
		d.rows(t.Rows, t.Cols, func(lo, hi int) { widenBF16(t.f32[lo*t.Cols:hi*t.Cols], t.h[lo*t.Cols:hi*t.Cols]) })
	}
	return t.f32
}

// half returns the values of t rounded to bf16.
func (d *CPU) half(t *Tensor) []uint16 {
	if t.refs <= 0 {
		panic("device: use of a released tensor")
	}
	if t.h == nil {
		t.h = d.take16(t.Rows * t.Cols)
		d.narrow(t)
	}
	return t.h
}

func (d *CPU) narrow(t *Tensor) {
	if d.chunks(t.Rows, t.Cols) <= 1 { // as in decoding
		narrowBF16(t.h, t.f32)
		return
	}
	d.narrowRows(t)
}

func (d *CPU) narrowRows(t *Tensor) {
	d.rows(t.Rows, t.Cols, func(lo, hi int) { narrowBF16(t.h[lo*t.Cols:hi*t.Cols], t.f32[lo*t.Cols:hi*t.Cols]) })
}

// elementsPerChunk is the work below which splitting an elementwise operation over workers costs more than
// it brings.
const elementsPerChunk = 1 << 14

// chunks is how many parts n rows of width cols are cut into.
func (d *CPU) chunks(n, cols int) int {
	per := max(1, elementsPerChunk/max(cols, 1))
	return min((n+per-1)/per, 16*d.pool.Workers())
}

// rows splits n rows of width cols over the workers.
func (d *CPU) rows(n, cols int, f func(lo, hi int)) {
	d.rowsOn(n, cols, func(_, lo, hi int) { f(lo, hi) })
}

// rowsOn is rows for those who need memory of the worker.
func (d *CPU) rowsOn(n, cols int, f func(worker, lo, hi int)) {
	chunks := d.chunks(n, cols)
	if chunks <= 1 {
		f(0, 0, n)
		return
	}
	d.pool.Run(chunks, func(w, c int) { f(w, c*n/chunks, (c+1)*n/chunks) })
}

// columns splits n columns of height rows over the workers, in whole vectors of 16.
func (d *CPU) columns(n, height int, f func(lo, hi int)) {
	d.rows((n+15)/16, 16*height, func(lo, hi int) { f(16*lo, min(16*hi, n)) })
}

// worker returns scratch memory of n elements for a worker; its contents are undefined.
func (d *CPU) worker(w, n int) []float32 {
	if cap(d.scratch[w]) < n {
		d.scratch[w] = make([]float32, class(n))
	}
	return d.scratch[w][:n]
}

// LiveTensors returns the bytes of tensors that have not been released: for tests of leaks.
func (d *CPU) LiveTensors() int { return d.live }
