// Package cpu is the device that computes on the processor of this process:
// operations on the kernels of internal/kernel, spread over resident workers.
// It owns the layouts of weights and caches, the arena of tensors and the files
// of packed weights; the contract is package device's.
package cpu

import (
	"fmt"
	"maps"
	"math/bits"
	"runtime"
	"slices"

	"leolm/device"
	"leolm/internal/kernel/cpu"
	"leolm/internal/kernel/qmat"
	"leolm/internal/largepage"
	"leolm/internal/pool"
	"leolm/internal/sysmem"
	"leolm/tensor"
)

// Device runs operations on the resident workers of this process. It is used by
// one goroutine at a time.
type Device struct {
	pool    *pool.Pool
	owned   bool         // nobody else uses the pool
	compute tensor.DType // of products with trainable weights: F32 or BF16
	store   *Store       // where packed weights live, if not in plain memory

	free32 map[int][][]float32 // by capacity
	free16 map[int][][]uint16
	spare  map[int][][]float32 // cleared gradients that were dropped, by length
	live   int                 // bytes of tensors now
	held   int                 // bytes of buffers in tensors and in the free lists
	// garbage is what was dropped from the free lists since the collector was last asked to take it.
	garbage int
	// Buffers that operations use inside: they grow and never shrink.
	packed, head, headBack panels
	dense                  []float32
	scratch                [][]float32 // one per worker

	group   linearGroup
	byRows  rowTask
	attn    attnTask
	headers headers
	acts    qmat.Acts

	attnJobs    []attnJob
	attnWorkers []attnWorker
	partials    []float32
}

var _ device.Device = (*Device)(nil)

// Options of a device.
type Options struct {
	// Threads is the number of workers, the caller included. 0 shares one set of workers, as many as this process may
	// use processors, with all devices that ask for it.
	Threads int
}

// New returns a device. It fails if the environment variable LEO_CPU names an instruction set that this
// machine lacks (*LevelError).
func New(opt Options) (*Device, error) {
	if err := cpu.Check(); err != nil {
		return nil, &LevelError{err}
	}
	if opt.Threads < 0 {
		return nil, fmt.Errorf("%d threads: must not be negative", opt.Threads)
	}
	p := pool.Default()
	if opt.Threads > 0 {
		p = pool.New(opt.Threads)
	}
	return &Device{
		pool: p, owned: opt.Threads > 0, compute: tensor.F32,
		free32: map[int][][]float32{}, free16: map[int][][]uint16{},
		acts:    qmat.Acts{Make: largepage.Make[byte]},
		scratch: make([][]float32, p.Workers()), attnWorkers: make([]attnWorker, p.Workers()),
	}, nil
}

// LevelError says that LEO_CPU names no known CPU level, or one that this machine lacks.
type LevelError struct{ Err error }

func (e *LevelError) Error() string { return e.Err.Error() }

func (e *LevelError) Unwrap() error { return e.Err }

// Close ends the device's own workers. Operations after it run on the caller alone.
func (d *Device) Close() {
	if d.owned {
		d.pool.Close()
	}
}

// Workers is the number of workers, the caller included.
func (d *Device) Workers() int { return d.pool.Workers() }

// Name implements device.Device.
func (d *Device) Name() string {
	return fmt.Sprintf("cpu (%s, %s, %d workers)", runtime.GOARCH, cpu.Active, d.pool.Workers())
}

// SetCompute implements device.Device.
func (d *Device) SetCompute(dt tensor.DType) error {
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

// BufferLen is the number of elements that the device allocates for a tensor of n elements, for predictions of memory.
func BufferLen(n int) int { return class(n) }

func (d *Device) take32(n int) []float32 { return take(d, d.free32, 4, n) }
func (d *Device) take16(n int) []uint16  { return take(d, d.free16, 2, n) }

// take returns a free buffer of n's class, or one up to eight times larger (batches of
// changing length must not collect buffers of every length), or a new one, which replaces smaller free ones.
func take[T any](d *Device, free map[int][][]T, size, n int) []T {
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
		// Left alone, the collector waits until garbage equals live memory.
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
	tradedSize  = 4 << 20 // bytes from which a new buffer replaces others
	mostGarbage = 128 << 20
)

// trade drops free buffers of less than c elements until they have given want bytes, the largest first: batches
// have grown, and shorter ones left these behind.
func trade[T any](d *Device, free map[int][][]T, size, c, want int) (got int) {
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

func (d *Device) give32(b []float32) {
	if b == nil {
		return
	}
	c := cap(b)
	d.free32[c] = append(d.free32[c], b)
	d.live -= 4 * c
}

func (d *Device) give16(b []uint16) {
	if b == nil {
		return
	}
	c := cap(b)
	d.free16[c] = append(d.free16[c], b)
	d.live -= 2 * c
}

// Memory implements device.Device.
func (d *Device) Memory() device.Memory {
	n := d.held + 4*(cap(d.dense)+cap(d.partials))
	for _, p := range []*panels{&d.packed, &d.head, &d.headBack} {
		n += 4*cap(p.f32) + 2*cap(p.bf16)
	}
	for _, s := range d.scratch {
		n += 4 * cap(s)
	}
	for length, list := range d.spare {
		n += 4 * length * len(list)
	}
	return device.Memory{Tensors: d.live, Arena: n}
}

// Available implements device.Runner.
func (d *Device) Available() (int64, bool) { return sysmem.Available() }

// Sync implements device.Runner: operations have run when they return, and none can fail.
func (d *Device) Sync() error { return nil }

// ResetPeak implements device.Device.
func (d *Device) ResetPeak() {
	clear(d.free32)
	clear(d.free16)
	d.held = d.live
}

// matrix is a device.Tensor of the CPU.
type matrix struct {
	device.Tensor // what others hold; its Impl is this matrix

	refs int
	f32  []float32 // the values, unless they are kept in bf16 only
	h    []uint16  // the values rounded to bf16, when something asked for them
}

// mat returns the CPU's own view of t.
func mat(t *device.Tensor) *matrix {
	m, ok := t.Impl.(*matrix)
	if !ok {
		panic(fmt.Sprintf("device: a tensor %v of another device (%T)", t, t.Impl))
	}
	return m
}

// New implements device.Device.
func (d *Device) New(rows, cols int) *device.Tensor { return &d.alloc(rows, cols).Tensor }

func (d *Device) alloc(rows, cols int) *matrix {
	m := d.matrix(rows, cols)
	m.f32 = d.take32(rows * cols)
	return m
}

// matrix makes a tensor without values.
func (d *Device) matrix(rows, cols int) *matrix {
	m := d.headers.take()
	d.headers.made++
	*m = matrix{Tensor: device.Tensor{Rows: rows, Cols: cols, ID: d.headers.made, Impl: m}, refs: 1}
	return m
}

// headers are released matrices for reuse, so that decoding allocates none. They queue before they are
// reused, so that most uses after a release are still detected.
type headers struct {
	made        uint64 // IDs given so far
	ring        [256]*matrix
	first, held int
}

// headersRest is how many later releases a header waits for before it is reused.
const headersRest = 64

func (h *headers) take() *matrix {
	if h.held <= headersRest {
		return new(matrix)
	}
	t := h.ring[h.first]
	h.first, h.held = (h.first+1)%len(h.ring), h.held-1
	return t
}

func (h *headers) give(t *matrix) {
	if h.held < len(h.ring) {
		h.ring[(h.first+h.held)%len(h.ring)] = t
		h.held++
	}
}

// newHalf makes a tensor that holds bf16 only, for results that only products read.
func (d *Device) newHalf(rows, cols int) *matrix {
	m := d.matrix(rows, cols)
	m.h = d.take16(rows * cols)
	return m
}

// operand makes the result of an operation that products read: f computes its rows. In bf16
// training each block is rounded while it is in cache; the whole never exists in f32.
func (d *Device) operand(rows, cols int, o operands, f rowFunc) *device.Tensor {
	if d.compute == tensor.BF16 {
		return &d.halfOperand(rows, cols, o, f).Tensor
	}
	t := d.alloc(rows, cols)
	d.computeRows(t, o, f)
	return &t.Tensor
}

func (d *Device) halfOperand(rows, cols int, o operands, f rowFunc) *matrix {
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
	half   int // angles of a head
	tables *ropeTables
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
func (d *Device) computeRows(t *matrix, o operands, f rowFunc) {
	d.byRows = rowTask{operands: o, f: f, y: t.f32, rows: t.Rows, chunks: d.chunks(t.Rows, t.Cols)}
	d.pool.Do(d.byRows.chunks, &d.byRows)
	d.byRows = rowTask{}
}

// nearBlock is the number of elements that are computed before they are rounded; they fit the first-level cache.
const nearBlock = 2048

// FromSlice implements device.Device.
func (d *Device) FromSlice(rows, cols int, values []float32) *device.Tensor {
	if len(values) != rows*cols {
		panic(fmt.Sprintf("device: %d values for a tensor [%d, %d]", len(values), rows, cols))
	}
	t := d.alloc(rows, cols)
	copy(t.f32, values)
	return &t.Tensor
}

// Read implements device.Device.
func (d *Device) Read(t *device.Tensor, dst []float32) { copy(dst[:t.Rows*t.Cols], d.values(mat(t))) }

// Retain implements device.Device.
func (d *Device) Retain(t *device.Tensor) *device.Tensor {
	mat(t).refs++
	return t
}

// Release implements device.Ops.
func (d *Device) Release(ts ...*device.Tensor) {
	for _, t := range ts {
		if t != nil {
			d.free(mat(t))
		}
	}
}

// free gives one reference to t back.
func (d *Device) free(t *matrix) {
	if t.refs--; t.refs > 0 {
		return
	}
	if t.refs < 0 {
		panic("device: tensor released twice")
	}
	d.give32(t.f32)
	d.give16(t.h)
	t.f32, t.h = nil, nil
	d.headers.give(t)
}

// DowncastSaved implements device.Derivatives: in bf16 training what is saved for the backward pass is saved in bf16.
func (d *Device) DowncastSaved(x *device.Tensor) {
	t := mat(x)
	if d.compute != tensor.BF16 || t.f32 == nil {
		return
	}
	d.half(t)
	d.give32(t.f32)
	t.f32 = nil
}

// values returns the float32 values of t, widening a downcast tensor for good.
func (d *Device) values(t *matrix) []float32 {
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
func (d *Device) half(t *matrix) []uint16 {
	if t.refs <= 0 {
		panic("device: use of a released tensor")
	}
	if t.h == nil {
		t.h = d.take16(t.Rows * t.Cols)
		d.narrow(t)
	}
	return t.h
}

func (d *Device) narrow(t *matrix) {
	if d.chunks(t.Rows, t.Cols) <= 1 { // as in decoding
		narrowBF16(t.h, t.f32)
		return
	}
	d.narrowRows(t)
}

func (d *Device) narrowRows(t *matrix) {
	d.rows(t.Rows, t.Cols, func(lo, hi int) { narrowBF16(t.h[lo*t.Cols:hi*t.Cols], t.f32[lo*t.Cols:hi*t.Cols]) })
}

// elementsPerChunk is the work below which splitting an elementwise operation over workers costs more than
// it brings.
const elementsPerChunk = 1 << 14

// chunks is how many parts n rows of width cols are cut into.
func (d *Device) chunks(n, cols int) int {
	per := max(1, elementsPerChunk/max(cols, 1))
	return min((n+per-1)/per, 16*d.pool.Workers())
}

// rows splits n rows of width cols over the workers.
func (d *Device) rows(n, cols int, f func(lo, hi int)) {
	d.rowsOn(n, cols, func(_, lo, hi int) { f(lo, hi) })
}

// rowsOn is rows for those who need memory of the worker.
func (d *Device) rowsOn(n, cols int, f func(worker, lo, hi int)) {
	chunks := d.chunks(n, cols)
	if chunks <= 1 {
		f(0, 0, n)
		return
	}
	d.pool.Run(chunks, func(w, c int) { f(w, c*n/chunks, (c+1)*n/chunks) })
}

// columns splits n columns of height rows over the workers, in whole vectors of 16.
func (d *Device) columns(n, height int, f func(lo, hi int)) {
	d.rows((n+15)/16, 16*height, func(lo, hi int) { f(16*lo, min(16*hi, n)) })
}

// worker returns scratch memory of n elements for a worker; its contents are undefined.
func (d *Device) worker(w, n int) []float32 {
	if cap(d.scratch[w]) < n {
		d.scratch[w] = make([]float32, class(n))
	}
	return d.scratch[w][:n]
}
