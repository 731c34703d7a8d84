// Package vulkan is the device that computes on a GPU, through Vulkan: weights stay in device memory as they are stored,
// quantized ones too, and a pass is recorded as a whole and runs when a result is read. Trained weights, their gradients and
// optimizer state are there as well. Memory, commands and drivers are package internal/vulkan's.
//
// Sums over the features of a row have one order that depends on their number only, so that a row has the same bits
// alone and among others; attention works in ranges of 256 positions and tiles of 64 wherever chunks and pages end. Results are those of
// float32 arithmetic on the stored weights: activations are not rounded to 8 bits as on the CPU.
package vulkan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// Device runs operations on a GPU. It is used by one goroutine at a time.
type Device struct {
	gpu     *vulkan.Device
	kernels map[kernelKey]*vulkan.Kernel
	// What products on matrix units need: their shape, kernels, and a word that is 0.
	matrix        vulkan.Matrix
	matrixKernels map[matrixKey]*vulkan.Kernel
	none          vulkan.Buffer
	held          map[heldKey]*packed        // what products pack once, while a head is computed
	owned         map[vulkan.Buffer]struct{} // weights, caches, tables: until they are freed, or Close
	made          uint64                     // IDs given so far
	live          int                        // bytes of tensors
	peak          int
	compute       tensor.DType  // of products with trainable weights: F32 or BF16
	books         vulkan.Buffer // of 8-bit optimizer state, once it was needed
}

var (
	_ device.Device = (*Device)(nil)
	_ device.Freer  = (*Device)(nil)
)

// Options choose a GPU.
type Options struct {
	// Index is the GPU, as GPUs counts them; Best is the first that is not the processor, else the first.
	Index int
	// Budget, if not nil, limits how many bytes of its memory may be taken.
	Budget *Budget
}

// Budget is a limit of GPU memory that several Devices share.
type Budget struct{ shared *vulkan.Budget }

// NewBudget returns a budget of that many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{vulkan.NewBudget(bytes)} }

// Taken is how many bytes the Devices have taken. It may be called from any goroutine.
func (b *Budget) Taken() int64 { return b.shared.Taken() }

// Best is the Index of the GPU that Leo chooses.
const Best = vulkan.Best

// New opens a GPU. It fails with errors of internal/vulkan where there is no loader, no driver or no fit device.
func New(opt Options) (*Device, error) {
	o := vulkan.Options{Index: opt.Index}
	if opt.Budget != nil {
		o.Budget = opt.Budget.shared
	}
	return open(o)
}

func open(o vulkan.Options) (*Device, error) {
	gpu, err := vulkan.Open(o)
	if err != nil {
		return nil, err
	}
	d := &Device{gpu: gpu, compute: tensor.F32, kernels: map[kernelKey]*vulkan.Kernel{}, owned: map[vulkan.Buffer]struct{}{}, matrix: gpu.Info().Matrix, matrixKernels: map[matrixKey]*vulkan.Kernel{}}
	if d.matrix != (vulkan.Matrix{}) {
		if d.none, err = d.take("a word", 4); err != nil {
			return nil, errors.Join(err, gpu.Close())
		}
		d.gpu.Upload(d.none, 0, 4, func(dst []byte) { clear(dst) })
	}
	return d, nil
}

// Close gives the GPU's memory back. Nothing that the device made may be used afterwards. It returns an error if tensors
// were not released.
func (d *Device) Close() error {
	for b := range d.owned {
		d.gpu.Free(b)
	}
	clear(d.owned)
	return d.gpu.Close()
}

// Name implements device.Runner.
func (d *Device) Name() string {
	i := d.gpu.Info()
	return fmt.Sprintf("vulkan (%s, %v, %s)", i.Name, i.Kind, i.Driver)
}

// Processor reports whether the driver computes on the CPU, as lavapipe does.
func (d *Device) Processor() bool { return d.gpu.Info().Kind == vulkan.Processor }

// MatrixUnits reports whether products run on matrix units, those of training in bf16, too.
func (d *Device) MatrixUnits() bool { return d.matrix != (vulkan.Matrix{}) }

// Available implements device.Runner.
func (d *Device) Available() (int64, bool) { return d.gpu.Available(), true }

// MemoryOf says in errors whose memory Available counts.
func (d *Device) MemoryOf() string { return onGPU }

// FreeWeights implements device.Freer.
func (d *Device) FreeWeights(ws ...device.Weight) {
	for _, w := range ws {
		if w != nil {
			d.drop(of(w).buf)
			d.drop(of(w).grad)
		}
	}
	d.trim()
}

// FreeDoRA implements device.Freer.
func (d *Device) FreeDoRA(c *device.DoRA) {
	if own, ok := c.Impl.(*dora); ok {
		for _, b := range []vulkan.Buffer{own.squares, own.lengths, own.gains} {
			d.drop(b)
		}
		*own = dora{}
	}
	d.trim()
}

// FreeCache implements device.Freer.
func (d *Device) FreeCache(kv device.KVCache) {
	c := d.cacheOf(kv)
	for _, b := range c.data[:c.used] {
		d.drop(b)
	}
	c.data, c.free, c.used = nil, nil, 0
	d.trim()
}

// trim gives memory that nobody uses back to the driver.
func (d *Device) trim() {
	if err := d.gpu.Trim(); err != nil {
		d.gpu.Fail(err)
	}
}

// Memory implements device.Runner.
func (d *Device) Memory() device.Memory { return device.Memory{Tensors: d.live, Arena: d.peak} }

// ResetPeak implements device.Runner.
func (d *Device) ResetPeak() {
	d.peak = d.live
	d.trim()
}

// Sync implements device.Runner.
func (d *Device) Sync() error { return d.gpu.Sync() }

// take returns memory that lives until drop or Close.
func (d *Device) take(what string, n int) (vulkan.Buffer, error) {
	b, err := d.gpu.Alloc(int64(n), vulkan.Local)
	if err != nil {
		return b, memoryError(what, err)
	}
	d.owned[b] = struct{}{}
	return b, nil
}

// drop gives memory of take back.
func (d *Device) drop(b vulkan.Buffer) {
	if _, ok := d.owned[b]; ok {
		delete(d.owned, b)
		d.gpu.Free(b)
	}
}

// onGPU is what errors call the place of this memory.
const onGPU = "the GPU"

// memoryError says what the memory was for.
func memoryError(what string, err error) error {
	var full *vulkan.MemoryError
	if errors.As(err, &full) {
		return &device.MemoryError{What: what, Needed: float64(full.Needed), Available: full.Available, On: onGPU}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// matrix is a device.Tensor of the GPU.
type matrix struct {
	device.Tensor // what others hold; its Impl is this matrix

	refs int
	buf  vulkan.Buffer // none if there was no memory
}

func mat(t *device.Tensor) *matrix {
	m, ok := t.Impl.(*matrix)
	if !ok {
		panic(fmt.Sprintf("device: a tensor %v of another device (%T)", t, t.Impl))
	}
	if m.refs <= 0 {
		panic("device: use of a released tensor")
	}
	return m
}

// errFailed is what computing with results of a failed operation gives.
var errFailed = errors.New("an operand was never computed: an operation before failed")

// at is where the values of t are.
func (d *Device) at(t *device.Tensor) uint64 {
	m := mat(t)
	if m.buf.Size == 0 {
		d.gpu.Fail(errFailed)
	}
	return m.buf.Addr
}

// New implements device.Runner.
func (d *Device) New(rows, cols int) *device.Tensor {
	d.made++
	m := &matrix{refs: 1}
	m.Tensor = device.Tensor{Rows: rows, Cols: cols, ID: d.made, Impl: m}
	var err error
	if m.buf, err = d.gpu.Alloc(4*int64(rows)*int64(cols), vulkan.Local); err != nil {
		d.gpu.Fail(memoryError(fmt.Sprintf("activations of %d tokens", rows), err))
	}
	d.live += int(m.buf.Size)
	d.peak = max(d.peak, d.live)
	return &m.Tensor
}

// FromSlice implements device.Runner.
func (d *Device) FromSlice(rows, cols int, values []float32) *device.Tensor {
	if len(values) != rows*cols {
		panic(fmt.Sprintf("device: %d values for a tensor [%d, %d]", len(values), rows, cols))
	}
	t := d.New(rows, cols)
	if m := mat(t); m.buf.Size > 0 {
		d.upload(m.buf, values)
	}
	return t
}

// uploadPart is how many elements are staged at a time.
const uploadPart = 1 << 20

// upload copies values to the beginning of b.
func (d *Device) upload(b vulkan.Buffer, values []float32) {
	for at := 0; at < len(values); at += uploadPart {
		part := values[at:min(at+uploadPart, len(values))]
		d.gpu.Upload(b, 4*int64(at), 4*len(part), func(dst []byte) { putFloats(dst, part) })
	}
}

func putFloats(dst []byte, values []float32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

// Read implements device.Runner.
func (d *Device) Read(t *device.Tensor, dst []float32) {
	d.download(dst[:t.Rows*t.Cols], mat(t).buf)
}

// download copies the beginning of b to dst. After an error, which Sync reports, dst is as it was.
func (d *Device) download(dst []float32, b vulkan.Buffer) {
	if b.Size == 0 {
		d.gpu.Fail(errFailed)
		return
	}
	bytes := make([]byte, 4*len(dst))
	if err := d.gpu.Download(bytes, b, 0); err != nil {
		d.gpu.Fail(err)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(bytes[4*i:]))
	}
}

// Retain implements device.Runner.
func (d *Device) Retain(t *device.Tensor) *device.Tensor {
	mat(t).refs++
	return t
}

// Release implements device.Ops. Commands that were recorded still find the values: what gets the memory next is recorded
// after them.
func (d *Device) Release(ts ...*device.Tensor) {
	for _, t := range ts {
		if t == nil {
			continue
		}
		m, ok := t.Impl.(*matrix)
		if !ok {
			panic(fmt.Sprintf("device: a tensor %v of another device (%T)", t, t.Impl))
		}
		if m.refs--; m.refs < 0 {
			panic("device: tensor released twice")
		}
		if m.refs == 0 {
			d.live -= int(m.buf.Size)
			d.gpu.Free(m.buf)
		}
	}
}

// Segment implements device.Ops: there is nothing to forget.
func (d *Device) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	return f(d, x)
}
