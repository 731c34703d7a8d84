package vulkan

import (
	"fmt"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// strands is how many parts, added in turn, a sum over K has on matrix units; step is what strands are multiples of.
// shaders/matrix/tiles.glsl says the same.
const (
	strands = 8
	step    = 64
)

// tiles is a way to cut a product for matrix units: how many shapes of theirs a subgroup computes, and how many subgroups
// a work group has, down the rows and across the columns. Bits do not depend on it.
type tiles struct {
	shader               string
	tall, wide           int // shapes of a subgroup
	down, across, copies int // subgroups; copies of the same elements, for parts of K
}

// The ways: few rows, where reading the weights takes the time; more; and many, where the matrix units do.
var (
	oneTile  = tiles{"matrix/matvec", 1, 1, 1, 1, strands}
	twoTiles = tiles{"matrix/matvec", 2, 1, 1, 1, strands}
	someRows = tiles{"matrix/matmul", 2, 2, 2, 2, 1}
	manyRows = tiles{"matrix/matmul", 2, 4, 4, 2, 1}
)

func (t tiles) rows(m vulkan.Matrix) int { return t.tall * t.down * m.M }
func (t tiles) cols(m vulkan.Matrix) int { return t.wide * t.across * m.N }

// busy is how many work groups of manyRows are enough for a GPU; with fewer, smaller ones share the work better.
const busy = 96

// tilesFor chooses a way for a product of that many rows and columns.
func tilesFor(m vulkan.Matrix, rows, cols int) tiles {
	switch {
	case rows <= oneTile.rows(m):
		return oneTile
	case rows <= twoTiles.rows(m):
		return twoTiles
	case ceil(rows, manyRows.rows(m))*ceil(cols, manyRows.cols(m)) < busy:
		return someRows
	}
	return manyRows
}

// ceil is n/size, rounded up.
func ceil(n, size int) int { return (n + size - 1) / size }

// onMatrixUnits reports whether products with w run on matrix units. Those of float32 weights do not: both operands would
// lose half their digits.
func (d *Device) onMatrixUnits(w *weight, rows int) bool {
	return d.matrix != (vulkan.Matrix{}) && w.kind != types[tensor.F32] && ceil(w.rows, oneTile.cols(d.matrix)) <= mostGroups && rows <= mostGroups
}

// pack records the kernel that packs x. The caller gives the result's tensors back.
func (d *Device) pack(x *device.Tensor) packed { return d.packRows(d.at(x), x.Rows, x.Cols) }

// multiplyTiles records y = x·wᵀ on matrix units, or plus + x·wᵀ where plus is not nil.
func (d *Device) multiplyTiles(y *device.Tensor, x packed, w *weight, plus *device.Tensor, t tiles, independent bool) {
	var args push
	form, to := uint32(0), d.at(y)
	if plus != nil {
		form, to = formAdded, d.at(plus)
	}
	args.addrs(d.at(x.values), d.at(x.powers), w.buf.Addr, w.largest, d.at(y), to)
	args.words(w.rows, w.cols, w.stride, y.Rows, x.pad)
	d.runTiles(t, w.kind, form, &args, y.Rows, y.Cols, independent)
}

// runTiles records a product of that many rows and columns.
func (d *Device) runTiles(t tiles, kind, form uint32, args *push, rows, cols int, independent bool) {
	m := d.matrix
	key := matrixKey{t.shader, [10]uint32{kind, uint32(t.down * t.across * t.copies * d.gpu.Info().Lanes), uint32(m.M), uint32(m.N), uint32(m.K),
		uint32(t.rows(m)), uint32(t.cols(m)), uint32(t.down), uint32(t.across), form}}
	parts := 1
	if form&formSplit != 0 {
		parts = strands
	}
	if k := d.matrixKernel(key); k != nil {
		d.gpu.Dispatch(k, args.b[:args.n], ceil(rows, t.rows(m)), ceil(cols, t.cols(m)), parts, independent)
	}
}

// matrixKey names a kernel for matrix units.
type matrixKey struct {
	shader    string
	constants [10]uint32 // as tiles.glsl and the shader number them
}

func (d *Device) matrixKernel(key matrixKey) *vulkan.Kernel {
	if k := d.matrixKernels[key]; k != nil {
		return k
	}
	code, err := shaders.ReadFile("shaders/" + key.shader + ".spv")
	if err == nil {
		var k *vulkan.Kernel
		if k, err = d.gpu.MatrixKernel(code, key.constants[:]...); err == nil {
			d.matrixKernels[key] = k
			return k
		}
	}
	d.gpu.Fail(fmt.Errorf("shader %s: %w", key.shader, err))
	return nil
}

// measureWeight records the kernel that finds the largest magnitude of w, for the power of two that brings it to float16.
func (d *Device) measureWeight(w *weight) {
	var args push
	args.addrs(w.buf.Addr, w.largest)
	args.words(w.rows, w.cols, w.stride)
	across := min(ceil(w.cols, 16*64), 256)
	d.run(kernelKey{"largest", [2]uint32{w.kind}}, &args, across, min(w.rows, 4096), false)
}
