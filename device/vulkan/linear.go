package vulkan

import (
	"fmt"

	"leolm/device"
)

var _ device.Fuser = (*Device)(nil)

// Linear implements device.Ops.
func (d *Device) Linear(x *device.Tensor, w device.Weight) *device.Tensor {
	ys := []*device.Tensor{nil}
	d.LinearGroup(ys, x, w)
	return ys[0]
}

// LinearGroup implements device.Ops: the products may run at one time.
func (d *Device) LinearGroup(ys []*device.Tensor, x *device.Tensor, ws ...device.Weight) {
	var p packed
	for i, w := range ws {
		c := of(w)
		checkLinear(x, c)
		ys[i] = d.New(x.Rows, c.rows)
		trained := d.forward(ys[i], x, c)
		if !d.onMatrixUnits(c, x.Rows) && !d.packs(&trained) {
			d.plain(ys[i], x, c, nil, i > 0)
			continue
		}
		first := p.values == nil
		if first {
			p = d.pack(x)
		}
		if c.trains {
			d.multiplyPacked(&trained, p)
		} else {
			d.multiplyTiles(ys[i], p, c, nil, tilesFor(d.matrix, x.Rows, c.rows), !first)
		}
	}
	d.Release(p.values, p.powers)
}

func checkLinear(x *device.Tensor, w *weight) {
	if x.Cols != w.cols {
		panic(fmt.Sprintf("device: %v times %s [%d, %d]ᵀ", x, w.name, w.rows, w.cols))
	}
}

// Forms of matvec.comp: the bits, and from formLanes on log2 of its lanes beyond 16.
const (
	formPlus = 1 << iota
	formGated
	formLanes = 16
	formTall  = 16 // of matmul.comp, beside its rows: formPlus
)

// plain records y = x·wᵀ in float32, or plus + x·wᵀ where plus is not nil. An independent product has the input of the
// command before it.
func (d *Device) plain(y, x *device.Tensor, w *weight, plus *device.Tensor, independent bool) {
	if d.half(w) != 0 {
		d.multiplyPlain(d.forward(y, x, w))
		return
	}
	to := uint64(0)
	if plus != nil {
		to = d.at(plus)
	}
	if x.Rows == 1 {
		d.matvec(d.at(y), d.at(x), w, nil, to, independent)
		return
	}
	form := uint32(4)
	if x.Rows <= 8 {
		form = 1
	}
	tall := int(form)
	if plus != nil {
		form |= formTall
	}
	var p push
	p.addrs(d.at(x), w.buf.Addr, d.at(y), to)
	p.words(w.rows, w.cols, w.stride, x.Rows)
	d.run(kernelKey{"matmul", [2]uint32{w.kind, form}}, &p, ceil(w.rows, 64), ceil(x.Rows, 8*tall), independent)
}

// matvec records y = x·wᵀ of one row; with up, SwiGLU(x·wᵀ, x·upᵀ); with plus, the sum with it.
func (d *Device) matvec(y, x uint64, w, up *weight, plus uint64, independent bool) {
	const rows = 4 // of a set of lanes
	lanes, form := 16, uint32(0)
	for lanes < 64 && 32*lanes < w.cols {
		lanes, form = 2*lanes, form+formLanes
	}
	outs, second := 64/lanes*rows, uint64(0)
	if plus != 0 {
		form |= formPlus
	}
	if up != nil {
		form, outs, second = form|formGated, outs/2, up.buf.Addr
	}
	var p push
	p.addrs(x, w.buf.Addr, second, y, plus)
	p.words(w.rows, w.cols, w.stride)
	n := ceil(w.rows, outs)
	lines := ceil(n, mostGroups)
	d.run(kernelKey{"matvec", [2]uint32{w.kind, form}}, &p, ceil(n, lines), lines, independent)
}

// NormLinear implements device.Fuser: on matrix units the norm's result goes to no memory but as their operand.
func (d *Device) NormLinear(ys []*device.Tensor, x *device.Tensor, gain device.Weight, eps float32, ws ...device.Weight) {
	if !d.allOnUnits(x.Rows, ws...) {
		h := d.RMSNorm(x, gain, eps)
		d.LinearGroup(ys, h, ws...)
		d.Release(h)
		return
	}
	p := d.packNorm(x, gain, eps)
	for i, w := range ws {
		c := of(w)
		checkLinear(x, c)
		ys[i] = d.New(x.Rows, c.rows)
		d.multiplyTiles(ys[i], p, c, nil, tilesFor(d.matrix, x.Rows, c.rows), i > 0)
	}
	d.Release(p.values, p.powers)
}

// allOnUnits reports whether all products of so many rows run on matrix units, with weights as they are stored.
func (d *Device) allOnUnits(rows int, ws ...device.Weight) bool {
	if rows > mostGroups-2*16 { // their operand has a few rows more
		return false
	}
	for _, w := range ws {
		if c := of(w); c.trains || !d.onMatrixUnits(c, rows) {
			return false
		}
	}
	return true
}

// LinearAdd implements device.Fuser.
func (d *Device) LinearAdd(x, y *device.Tensor, w device.Weight) *device.Tensor {
	c := of(w)
	checkLinear(y, c)
	if x.Rows != y.Rows || x.Cols != c.rows {
		panic(fmt.Sprintf("device: the sum of %v and %v times %s [%d, %d]ᵀ", x, y, c.name, c.rows, c.cols))
	}
	if c.trains {
		z := d.Linear(y, w)
		sum := d.Add(x, z, 1)
		d.Release(z)
		return sum
	}
	if d.onMatrixUnits(c, y.Rows) {
		p := d.pack(y)
		return d.addTiles(x, p, c)
	}
	sum := d.New(x.Rows, x.Cols)
	d.plain(sum, y, c, x, false)
	return sum
}

// addTiles returns x plus the product of packed rows, which it gives back, with w.
func (d *Device) addTiles(x *device.Tensor, p packed, w *weight) *device.Tensor {
	sum := d.New(x.Rows, x.Cols)
	d.multiplyTiles(sum, p, w, x, tilesFor(d.matrix, x.Rows, w.rows), false)
	d.Release(p.values, p.powers)
	return sum
}

// MLP implements device.Fuser.
func (d *Device) MLP(x *device.Tensor, gain device.Weight, eps float32, gate, up, down device.Weight) *device.Tensor {
	g, u := of(gate), of(up)
	if g.rows != u.rows {
		panic(fmt.Sprintf("device: SwiGLU of %s [%d, %d] and %s [%d, %d]", g.name, g.rows, g.cols, u.name, u.rows, u.cols))
	}
	units := d.allOnUnits(x.Rows, down)
	if x.Rows == 1 && !units && g.kind == u.kind && d.half(g)|d.half(u) == 0 && !d.onMatrixUnits(g, 1) {
		h, s := d.RMSNorm(x, gain, eps), d.New(1, g.rows)
		checkLinear(h, g)
		checkLinear(h, u)
		d.matvec(d.at(s), d.at(h), g, u, 0, false)
		sum := d.LinearAdd(x, s, down)
		d.Release(h, s)
		return sum
	}
	var gu [2]*device.Tensor
	d.NormLinear(gu[:], x, gain, eps, gate, up)
	defer d.Release(gu[:]...)
	if units {
		c := of(down)
		checkLinear(gu[0], c)
		return d.addTiles(x, d.packGated(gu[0], gu[1]), c)
	}
	s := d.SwiGLU(gu[0], gu[1])
	defer d.Release(s)
	return d.LinearAdd(x, s, down)
}
