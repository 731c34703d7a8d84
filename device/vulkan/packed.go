package vulkan

import (
	"math"

	"leolm/device"
	"leolm/internal/vulkan"
	"leolm/tensor"
)

// packed is an operand as matrix units take it: rows of float16, each multiplied by a power of two, and the inverses of
// those powers. Its rows go along the elements of a result, its columns along K.
type packed struct {
	values, powers *device.Tensor
	pad            int // columns
}

// newPacked makes what an operand of that many rows and columns is packed into.
func (d *Device) newPacked(rows, cols int) packed {
	rows, pad := ceil(rows, 2*d.matrix.M)*2*d.matrix.M, ceil(cols, step)*step
	return packed{d.New(rows, pad/2), d.New(1, rows), pad}
}

// PackedBytes is what an operand of a product on matrix units takes while it is computed, at least.
func PackedBytes(rows, cols int) int64 {
	return 2*int64(rows)*int64(ceil(cols, step)*step) + 4*int64(rows)
}

// A K of leastSplit and more is long; mostSplit are few elements.
const (
	leastSplit = 4 * strands * step
	mostSplit  = 2 * busy * 64 * 64
)

// SplitBytes is what the strands of a product of that many rows and columns take, at most: nothing where they have no work
// groups of their own.
func SplitBytes(rows, cols, k int) int64 {
	if k < leastSplit || rows*cols > mostSplit {
		return 0
	}
	return 4 * strands * int64(rows) * int64(cols)
}

// packRows packs the rows of a matrix of float32.
func (d *Device) packRows(addr uint64, rows, cols int) packed {
	return d.packElements(addr, 0, rows, cols)
}

// packGated packs the rows of SwiGLU(gate, up).
func (d *Device) packGated(gate, up *device.Tensor) packed {
	sameShape("SwiGLU", gate, up)
	return d.packElements(d.at(gate), d.at(up), gate.Rows, gate.Cols)
}

// packElements packs the rows of a matrix of float32, or of SwiGLU with those of another at up, if that is not 0.
func (d *Device) packElements(addr, up uint64, rows, cols int) packed {
	p := d.newPacked(rows, cols)
	values, powers, gated := d.at(p.values), d.at(p.powers), uint32(0)
	for lo := 0; lo < p.values.Rows; lo += mostGroups {
		at := uint64(4*lo) * uint64(cols)
		second := uint64(0)
		if up != 0 {
			second, gated = up+at, 1
		}
		var args push
		args.addrs(addr+at, values+uint64(2*lo)*uint64(p.pad), powers+uint64(4*lo), second)
		args.words(max(0, rows-lo), cols, p.pad)
		d.run(kernelKey{"pack", [2]uint32{gated}}, &args, min(p.values.Rows-lo, mostGroups), 1, lo > 0)
	}
	return p
}

// packNorm packs the rows of RMSNorm(x, gain, eps).
func (d *Device) packNorm(x *device.Tensor, gain device.Weight, eps float32) packed {
	g := of(gain)
	checkNorm(x, g)
	p := d.newPacked(x.Rows, x.Cols)
	var args push
	args.addrs(d.at(x), g.buf.Addr, d.at(p.values), d.at(p.powers))
	args.words(x.Rows, x.Cols, p.pad)
	args.float(eps)
	d.run(kernelKey{shader: "normpack"}, &args, p.values.Rows, 1, false)
	return p
}

// packColumns packs the columns of a stored matrix, whose rows are stride 16-bit words apart.
func (d *Device) packColumns(addr uint64, rows, cols, stride int, kind uint32) packed {
	p, most := d.newPacked(cols, rows), d.New(1, cols)
	d.zero(d.at(most), cols)
	var args push
	args.addrs(addr, d.at(most))
	args.words(rows, cols, stride)
	across := cols
	if kind != types[tensor.F32] {
		across = ceil(cols, 16)
	}
	d.run(kernelKey{"columnpower", [2]uint32{kind}}, &args, ceil(across, 64), ceil(rows, 64), false)
	args = push{}
	args.addrs(addr, d.at(most), d.at(p.values), d.at(p.powers))
	args.words(rows, cols, stride, p.pad, p.values.Rows)
	d.run(kernelKey{"packcolumns", [2]uint32{kind}}, &args, ceil(p.values.Rows, 64), p.pad/64, false)
	d.Release(most)
	return p
}

// packs reports whether p is computed on matrix units, from packed operands.
func (d *Device) packs(p *product) bool {
	const most = math.MaxUint32 // of what shaders count with
	least := oneTile
	return p.units && d.matrix != (vulkan.Matrix{}) && p.m > 0 &&
		ceil(p.m, least.rows(d.matrix)) <= mostGroups && ceil(p.n, least.cols(d.matrix)) <= mostGroups && p.k <= 64*mostGroups &&
		max(p.m, p.n)+64 <= most/(p.k+64) && p.n <= most/p.m
}

// packA and packB pack the operands of p.
func (d *Device) packA(p *product) packed {
	if p.form&formTurned != 0 {
		return d.packColumns(p.a, p.k, p.m, 2*p.lda, types[tensor.F32])
	}
	return d.packRows(p.a, p.m, p.k)
}

func (d *Device) packB(p *product) packed {
	if p.form&formRows != 0 {
		return d.packColumns(p.b, p.k, p.n, p.stride, p.kind)
	}
	return d.packRows(p.b, p.n, p.k)
}

// Forms of products on matrix units, as in matrix/tiles.glsl.
const (
	formScaled = 1 << iota
	formAdded
	formSplit
)

// multiplyPacked computes p, whose first operand is packed, on matrix units. Sums have the order of inference's.
func (d *Device) multiplyPacked(p *product, a packed) {
	b, own := d.heldB(p)
	if t := tilesFor(d.matrix, p.m, p.n); t.splits(d.matrix, p) {
		d.multiplySplit(p, a, b, t)
	} else {
		d.packedTiles(p, a, b, p.c, t, formScaled)
	}
	if own {
		d.Release(b.values, b.powers)
	}
}

// packedTiles records p, or its strands if form says so, to y.
func (d *Device) packedTiles(p *product, a, b packed, y uint64, t tiles, form uint32) {
	if p.add {
		form |= formAdded
	}
	var args push
	args.addrs(d.at(a.values), d.at(a.powers), d.at(b.values), d.at(b.powers), y, p.c)
	args.words(p.n, b.pad, b.pad, p.m, a.pad)
	d.runTiles(t, types[tensor.F16], form, &args, p.m, p.n, false)
}

// splits reports whether the strands of p have work groups of their own: as in gradients of small weights, where there are
// few elements for a GPU to share out and a long K of tokens.
func (t tiles) splits(m vulkan.Matrix, p *product) bool {
	return t == someRows && ceil(p.m, t.rows(m))*ceil(p.n, t.cols(m)) < 2*busy && p.k >= leastSplit
}

// multiplySplit records the strands of p, and their sum.
func (d *Device) multiplySplit(p *product, a, b packed, t tiles) {
	sums, added := d.New(strands, p.m*p.n), uint32(0)
	d.packedTiles(p, a, b, d.at(sums), t, formScaled|formSplit)
	if p.add {
		added = 1
	}
	var args push
	args.addrs(d.at(sums), d.at(a.powers), d.at(b.powers), p.c)
	args.words(p.m, p.n)
	d.run(kernelKey{"strands", [2]uint32{added}}, &args, groups(p.m*p.n, 128), 1, false)
	d.Release(sums)
}

// heldKey names a packed operand that several products in a row have in common.
type heldKey struct {
	addr uint64
	rows bool // a stored row is a row of the operand: k
}

// holding lets products with the weights of a head, which one chunk of rows after another has, pack them once while f runs.
func (d *Device) holding(f func(), heads ...device.Weight) {
	d.held = map[heldKey]*packed{}
	for _, w := range heads {
		c := of(w)
		d.held[heldKey{c.buf.Addr, false}], d.held[heldKey{c.buf.Addr, true}] = &packed{}, &packed{}
	}
	f()
	for _, p := range d.held {
		d.Release(p.values, p.powers)
	}
	d.held = nil
}

// heldB packs the second operand of p, or finds it; the caller gives back what is its own.
func (d *Device) heldB(p *product) (b packed, own bool) {
	held := d.held[heldKey{p.b, p.form&formRows != 0}]
	if held == nil {
		return d.packB(p), true
	}
	if held.values == nil {
		*held = d.packB(p)
	}
	return *held, false
}
