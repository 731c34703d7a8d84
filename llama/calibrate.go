package llama

import (
	"leolm/device"
)

// Calibrate runs ids through the model as one sequence and passes every input row of every matrix to add, with the
// matrix's canonical name: the data of an importance matrix.
func (m *Model) Calibrate(dev device.Runner, ids []int32, add func(name string, row []float32) error) error {
	o := &observer{Runner: dev, names: map[device.Weight]string{}, add: add}
	for _, p := range m.Params() {
		o.names[p.Weight] = p.Name
	}
	b := Batch{IDs: ids, Seqs: []device.Sequence{{Len: len(ids)}}}
	for i := range ids {
		b.Positions = append(b.Positions, int32(i))
	}
	h := m.Forward(o, &b)
	if m.Head != m.Embed {
		o.see(h, m.Head)
	}
	dev.Release(h)
	return o.err
}

// observer is a device that records the inputs of matrix products before it computes them.
type observer struct {
	device.Runner
	names map[device.Weight]string
	add   func(name string, row []float32) error
	buf   []float32
	err   error
}

func (o *observer) see(x *device.Tensor, ws ...device.Weight) {
	if n := x.Rows * x.Cols; cap(o.buf) < n {
		o.buf = make([]float32, n)
	}
	o.buf = o.buf[:x.Rows*x.Cols]
	o.Read(x, o.buf)
	for _, w := range ws {
		for i := 0; i < len(o.buf) && o.err == nil; i += x.Cols {
			o.err = o.add(o.names[w], o.buf[i:i+x.Cols])
		}
	}
}

// LinearGroup implements device.Ops.
func (o *observer) LinearGroup(ys []*device.Tensor, x *device.Tensor, ws ...device.Weight) {
	o.see(x, ws...)
	o.Runner.LinearGroup(ys, x, ws...)
}

// Segment implements device.Ops: f must get the observer, not the device below it.
func (o *observer) Segment(x *device.Tensor, f func(ops device.Ops, x *device.Tensor) *device.Tensor) *device.Tensor {
	return f(o, x)
}
