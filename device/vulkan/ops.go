package vulkan

import (
	"fmt"
	"math"
	"slices"

	"leolm/device"
	"leolm/internal/vulkan"
)

// The operations of elements.comp.
const (
	opAdd = iota
	opSwiGLU
	opMul
	opBias
	opGather
	opDoRA
	opZero
	opDivide
)

// elements runs an operation on n elements: b and index where it reads them.
func (d *Device) elements(op uint32, a, b, y, index uint64, n, cols int, s float32) {
	var p push
	p.addrs(a, b, y, index)
	p.words(n, cols)
	p.float(s)
	d.run(kernelKey{"elements", [2]uint32{op}}, &p, groups(n, 128), 1, false)
}

func sameShape(op string, x, y *device.Tensor) {
	if x.Rows != y.Rows || x.Cols != y.Cols {
		panic(fmt.Sprintf("device: %s of %v and %v", op, x, y))
	}
}

// RMSNorm implements device.Ops.
func (d *Device) RMSNorm(x *device.Tensor, gain device.Weight, eps float32) *device.Tensor {
	g := of(gain)
	checkNorm(x, g)
	y := d.New(x.Rows, x.Cols)
	for lo := 0; lo < x.Rows; lo += mostGroups {
		at := uint64(4 * lo * x.Cols)
		var p push
		p.addrs(d.at(x)+at, g.buf.Addr, d.at(y)+at)
		p.words(x.Cols)
		p.float(eps)
		d.run(kernelKey{shader: "rmsnorm"}, &p, min(x.Rows-lo, mostGroups), 1, lo > 0)
	}
	return y
}

func checkNorm(x *device.Tensor, gain *weight) {
	if gain.cols != x.Cols {
		panic(fmt.Sprintf("device: RMSNorm of %v with %d gains", x, gain.cols))
	}
}

// AddBias implements device.Ops.
func (d *Device) AddBias(x *device.Tensor, b device.Weight) *device.Tensor {
	w := of(b)
	if w.cols != x.Cols {
		panic(fmt.Sprintf("device: %d biases for %v", w.cols, x))
	}
	d.elements(opBias, d.at(x), w.buf.Addr, d.at(x), 0, x.Rows*x.Cols, x.Cols, 0)
	return x
}

// SwiGLU implements device.Ops.
func (d *Device) SwiGLU(gate, up *device.Tensor) *device.Tensor {
	sameShape("SwiGLU", gate, up)
	a, b := d.at(gate), d.at(up)
	y := d.New(gate.Rows, gate.Cols)
	d.elements(opSwiGLU, a, b, d.at(y), 0, y.Rows*y.Cols, y.Cols, 0)
	return y
}

// Add implements device.Ops.
func (d *Device) Add(x, y *device.Tensor, s float32) *device.Tensor {
	sameShape("the sum", x, y)
	z := d.New(x.Rows, x.Cols)
	d.elements(opAdd, d.at(x), d.at(y), d.at(z), 0, z.Rows*z.Cols, z.Cols, s)
	return z
}

// Gather implements device.Ops.
func (d *Device) Gather(x *device.Tensor, rows []int32) *device.Tensor {
	for _, r := range rows {
		if r < 0 || int(r) >= x.Rows {
			panic(fmt.Sprintf("device: row %d of %v", r, x))
		}
	}
	y := d.New(len(rows), x.Cols)
	d.elements(opGather, d.at(x), 0, d.at(y), d.ints(rows), y.Rows*y.Cols, y.Cols, 0)
	return y
}

// rope is the GPU's part of a device.Rope: a table of cosines and sines of the positions so far.
type rope struct {
	buf       vulkan.Buffer
	positions int
}

// ropeStart is how many positions the first table has.
const ropeStart = 512

// NewRope implements device.Runner.
func (d *Device) NewRope(headDim int, invFreq []float32) *device.Rope {
	if headDim < 2 || len(invFreq) != headDim/2 {
		panic(fmt.Sprintf("device: %d frequencies for heads of %d", len(invFreq), headDim))
	}
	return &device.Rope{HeadDim: headDim, InvFreq: slices.Clone(invFreq), Impl: &rope{}}
}

// turns appends the cosines and then the sines of a position.
func turns(table []float32, position int32, freqs []float32, scale float32) []float32 {
	if scale == 0 {
		scale = 1
	}
	n := len(table)
	table = append(table, make([]float32, 2*len(freqs))...)
	for i, f := range freqs {
		// The angle is rounded to float32 first, as Hugging Face's tables are.
		s, c := math.Sincos(float64(float32(position) * f))
		table[n+i], table[n+len(freqs)+i] = float32(c)*scale, float32(s)*scale
	}
	return table
}

// Rope implements device.Ops.
func (d *Device) Rope(x *device.Tensor, r *device.Rope, positions []int32) *device.Tensor {
	d.rotate(x, nil, r, positions, false)
	return x
}

// RopePair implements device.Fuser.
func (d *Device) RopePair(q, k *device.Tensor, r *device.Rope, positions []int32) {
	d.rotate(q, k, r, positions, false)
}

// rotate turns q in place, and k if it is not nil, or back.
func (d *Device) rotate(q, k *device.Tensor, r *device.Rope, positions []int32, back bool) {
	own, ok := r.Impl.(*rope)
	switch {
	case !ok:
		panic(fmt.Sprintf("device: a rotary embedding of another device (%T)", r.Impl))
	case len(positions) != q.Rows || r.Rows != nil && len(r.Rows) != q.Rows || k != nil && k.Rows != q.Rows:
		panic(fmt.Sprintf("device: %d positions for %d rows", len(positions), q.Rows))
	}
	index := positions
	var table uint64
	if r.Rows != nil {
		var values []float32
		index = make([]int32, len(positions))
		for i, p := range positions {
			index[i], values = int32(i), turns(values, p, r.Rows[i], r.Scale)
		}
		table = d.floats(values)
	} else {
		table = d.ropeTable(own, r, positions)
	}
	keys, colsK := uint64(0), 0
	if k != nil {
		keys, colsK = d.at(k), k.Cols
	}
	var p push
	p.addrs(d.at(q), keys, table, d.ints(index))
	p.words(q.Rows, q.Cols, colsK, r.HeadDim/2)
	turned := uint32(0)
	if back {
		turned = 1
	}
	d.run(kernelKey{"rope", [2]uint32{turned}}, &p, groups(q.Rows*(q.Cols+colsK)/2, 64), 1, false)
}

// ropeTable returns a table that covers the positions.
func (d *Device) ropeTable(own *rope, r *device.Rope, positions []int32) uint64 {
	need := 1
	for _, p := range positions {
		need = max(need, int(p)+1)
	}
	if need <= own.positions {
		return own.buf.Addr
	}
	total := max(need, 2*own.positions, ropeStart)
	b, err := d.take(fmt.Sprintf("rotations of %d positions", total), 4*total*r.HeadDim)
	if err != nil {
		d.gpu.Fail(err)
		return 0
	}
	table := make([]float32, 0, total*r.HeadDim)
	for p := range total {
		table = turns(table, int32(p), r.InvFreq, r.Scale)
	}
	d.upload(b, table)
	d.drop(own.buf)
	own.buf, own.positions = b, total
	return b.Addr
}

// lossRows is how many rows of logits exist at a time.
const lossRows = 256

// LinearCrossEntropy implements device.Ops.
func (d *Device) LinearCrossEntropy(hidden *device.Tensor, w device.Weight, targets []int32, weights []float32, vocab int) device.CrossEntropy {
	l := device.NewHead(hidden.Rows, w.Rows(), targets, weights, vocab)
	rows := l.Counted()
	if len(rows) == 0 {
		return l.Sum().CrossEntropy
	}
	found, at := d.New(1, len(rows)), 0
	score := func(part []int32, logits, _ *device.Tensor) {
		picked := make([]int32, len(part))
		for i, r := range part {
			picked[i] = targets[r]
		}
		var p push
		p.addrs(d.at(logits), d.ints(picked), d.at(found)+uint64(4*at))
		p.words(logits.Cols, l.Vocab)
		d.run(kernelKey{shader: "logprob"}, &p, len(part), 1, false)
		at += len(part)
	}
	d.holding(func() { device.ScoreHead(d, hidden, w, rows, lossRows, score) }, w)
	values := make([]float32, len(rows))
	d.Read(found, values)
	d.Release(found)
	for i, r := range rows {
		l.LogProbs[r] = values[i]
	}
	return l.Sum().CrossEntropy
}
