package vulkan

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"leolm/device"
)

// The operations of derive.comp.
const (
	opSwiGLUGrad = iota
	opDoRAGrad
	opPlace
	opCombine
	opScale
	opDropout
	opNoise
)

// derivation is a run of derive.comp over n elements: each operation uses some of the rest.
type derivation struct {
	a, b, c, y, z uint64
	n, cols       int
	s, t          float32
	seed          uint64
	limit         uint32
}

func (d *Device) derive(op uint32, r derivation) {
	var p push
	p.addrs(r.a, r.b, r.c, r.y, r.z)
	p.words(r.n, max(r.cols, 1))
	p.float(r.s)
	p.float(r.t)
	p.words(int(uint32(r.seed)), int(r.seed>>32), int(r.limit))
	d.run(kernelKey{"derive", [2]uint32{op}}, &p, groups(r.n, 128), 1, false)
}

// EmbedGrad implements device.Derivatives. Rows are added in the order of ids.
func (d *Device) EmbedGrad(table device.Weight, ids []int32, dy *device.Tensor) {
	w := of(table)
	lists := map[int32][]int32{}
	var found []int32
	for i, id := range ids {
		if int(id) < w.frozen {
			continue
		}
		if lists[id] == nil {
			found = append(found, id)
		}
		lists[id] = append(lists[id], int32(i))
	}
	slices.Sort(found)
	var where, rows []int32
	for _, id := range found {
		where = append(where, id-int32(w.frozen), int32(len(rows)), int32(len(lists[id])))
		rows = append(rows, lists[id]...)
	}
	grad := d.gradient(w)
	d.scatter(dy, where, rows, grad.Addr, true)
}

// GatherGrad implements device.Derivatives.
func (d *Device) GatherGrad(dy *device.Tensor, rows []int32, total int) *device.Tensor {
	lists := make([][]int32, total)
	for i, r := range rows {
		lists[r] = append(lists[r], int32(i))
	}
	var where, from []int32
	for r, l := range lists {
		where = append(where, int32(r), int32(len(from)), int32(len(l)))
		from = append(from, l...)
	}
	dx := d.New(total, dy.Cols)
	d.scatter(dy, where, from, d.at(dx), false)
	return dx
}

// scatter adds rows of dy up: where has, for each sum, the row of y, where its list begins in rows, and its length.
func (d *Device) scatter(dy *device.Tensor, where, rows []int32, y uint64, add bool) {
	if len(where) == 0 {
		return
	}
	from, adding := d.at(dy), 0
	if add {
		adding = 1
	}
	var p push
	p.addrs(from, d.ints(where), d.ints(rows), y)
	p.words(len(where)/3, dy.Cols, adding)
	d.run(kernelKey{shader: "scatter"}, &p, groups(len(where)/3*dy.Cols, 64), 1, false)
}

// RMSNormGrad implements device.Derivatives.
func (d *Device) RMSNormGrad(x *device.Tensor, gain device.Weight, eps float32, dy *device.Tensor, needX bool) *device.Tensor {
	sameShape("the derivative of RMSNorm", x, dy)
	g := of(gain)
	dx, inverse := d.New(x.Rows, x.Cols), d.New(1, x.Rows)
	for lo := 0; lo < x.Rows; lo += mostGroups {
		at := uint64(4 * lo * x.Cols)
		var p push
		p.addrs(d.at(x)+at, g.buf.Addr, d.at(dy)+at, d.at(dx)+at, d.at(inverse)+uint64(4*lo))
		p.words(x.Cols)
		p.float(eps)
		d.run(kernelKey{shader: "rmsnormgrad"}, &p, min(x.Rows-lo, mostGroups), 1, lo > 0)
	}
	if g.trains {
		d.columns(columnsNorm, columnSums{dy: d.at(dy), a: d.at(x), b: d.at(inverse), y: d.gradient(g).Addr, rows: x.Rows, cols: x.Cols})
	}
	d.Release(inverse)
	if !needX {
		d.Release(dx)
		return nil
	}
	return dx
}

// The sums of columns.comp.
const (
	columnsPlain = iota
	columnsNorm
	columnsDoRA
	columnsTotal
	columnsByLength
)

// columnLines is how many rows columns.comp sums at a time.
const columnLines = 64

// columnSums are sums over the rows of dy, which are added to y.
type columnSums struct {
	dy, a, b, y uint64
	lengths     uint64 // that the sums are divided by, if not 0
	rows, cols  int
	s           float32
}

func (d *Device) columns(op uint32, c columnSums) {
	parts := (c.rows + columnLines - 1) / columnLines
	sums := d.New(parts, c.cols)
	var p push
	p.addrs(c.dy, c.a, c.b, d.at(sums))
	p.words(c.rows, c.cols)
	p.float(c.s)
	d.run(kernelKey{"columns", [2]uint32{op}}, &p, groups(parts*c.cols, 64), 1, false)
	total := uint32(columnsTotal)
	if c.lengths != 0 {
		total = columnsByLength
	}
	p = push{}
	p.addrs(d.at(sums), c.lengths, 0, c.y)
	p.words(parts, c.cols)
	p.float(0)
	d.run(kernelKey{"columns", [2]uint32{total}}, &p, groups(c.cols, 64), 1, false)
	d.Release(sums)
}

// AddBiasGrad implements device.Derivatives.
func (d *Device) AddBiasGrad(b device.Weight, dy *device.Tensor) {
	d.columns(columnsPlain, columnSums{dy: d.at(dy), y: d.gradient(of(b)).Addr, rows: dy.Rows, cols: dy.Cols})
}

// RopeGrad implements device.Derivatives.
func (d *Device) RopeGrad(dy *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	dy = d.own(dy)
	d.rotate(dy, nil, r, positions, true)
	return dy
}

// SwiGLUGrad implements device.Derivatives.
func (d *Device) SwiGLUGrad(gate, up, dy *device.Tensor) (dgate, dup *device.Tensor) {
	sameShape("the derivative of SwiGLU", gate, dy)
	dgate, dup = d.New(dy.Rows, dy.Cols), d.New(dy.Rows, dy.Cols)
	d.derive(opSwiGLUGrad, derivation{a: d.at(gate), b: d.at(up), c: d.at(dy), y: d.at(dgate), z: d.at(dup), n: dy.Rows * dy.Cols})
	return dgate, dup
}

// Accumulate implements device.Derivatives.
func (d *Device) Accumulate(x, y *device.Tensor) *device.Tensor {
	sameShape("the sum", x, y)
	x = d.own(x)
	d.elements(opAdd, d.at(x), d.at(y), d.at(x), 0, x.Rows*x.Cols, x.Cols, 1)
	return x
}

// DowncastSaved implements device.Derivatives: activations stay in float32.
func (d *Device) DowncastSaved(*device.Tensor) {}

// Dropout implements device.Ops, with the mask of package cpu.
func (d *Device) Dropout(x *device.Tensor, p float32, seed uint64) *device.Tensor {
	limit := min(uint64(float64(p)*(1<<32)), math.MaxUint32)
	y := d.New(x.Rows, x.Cols)
	d.derive(opDropout, derivation{a: d.at(x), y: d.at(y), n: x.Rows * x.Cols, s: 1 / (1 - p), seed: seed, limit: uint32(limit)})
	return y
}

// Noise implements device.Ops, with the numbers of package cpu.
func (d *Device) Noise(x *device.Tensor, scales []float32, seed uint64) *device.Tensor {
	if len(scales) != x.Rows {
		panic(fmt.Sprintf("device: %d amplitudes for %v", len(scales), x))
	}
	y := d.New(x.Rows, x.Cols)
	from := d.at(x)
	d.derive(opNoise, derivation{a: from, b: d.floats(scales), y: d.at(y), n: x.Rows * x.Cols, cols: x.Cols, seed: seed})
	return y
}

// pairs copies numbers to where the next kernel reads them: for each, an integer and a float32.
func (d *Device) pairs(n int, at func(i int) (int32, float32)) uint64 {
	b, addr := d.gpu.Args(8 * n)
	for i := range n {
		x, f := at(i)
		binary.LittleEndian.PutUint32(b[8*i:], uint32(x))
		binary.LittleEndian.PutUint32(b[8*i+4:], math.Float32bits(f))
	}
	return addr
}
