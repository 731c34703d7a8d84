// Package layered is the device of a model that is too large for one device: its first layers run on one, the others on a
// second. It owns where each weight, tensor and page of the cache is, and moves activations from one device to the other
// where an operation needs them there; the arithmetic is that of the two devices.
//
// A forward pass crosses the border once: the embedding and the first layers are on the first device, the last layers, the
// final norm and the LM head on the second. Keys and values are where their layer is. A weight that is embedding and LM head
// in one is on both.
package layered

import (
	"errors"
	"fmt"

	"leolm/device"
)

// Layout says how a model is divided.
type Layout struct {
	// Layers is how many layers the model has, First how many of them are on the first device.
	Layers, First int
	// Layer returns the layer of the weight of that name: Layers for what comes after all layers, -1 for what comes before.
	Layer func(name string) int
}

// The two devices.
const (
	first = iota
	second
)

// Device is a model's device made of two. It is used by one goroutine at a time.
type Device struct {
	sides  [2]device.Runner
	layout Layout
	made   uint64 // IDs of tensors given so far
	buf    []float32
	ws     []device.Weight
	gone   []*device.Tensor
}

var (
	_ device.TopFinder = (*Device)(nil)
	_ device.Freer     = (*Device)(nil)
)

// New returns the device whose first layers run on a and whose last layers on b.
func New(a, b device.Runner, layout Layout) *Device {
	return &Device{sides: [2]device.Runner{a, b}, layout: layout}
}

// Name implements device.Runner.
func (d *Device) Name() string {
	l := d.layout
	return fmt.Sprintf("%d of %d layers with %s, the rest with %s", l.Layers-l.First, l.Layers, d.sides[second].Name(), d.sides[first].Name())
}

// side is where a layer is.
func (d *Device) side(layer int) int {
	if layer < d.layout.First {
		return first
	}
	return second
}

// layersOn is how many layers a side has.
func (d *Device) layersOn(side int) int {
	if side == first {
		return d.layout.First
	}
	return d.layout.Layers - d.layout.First
}

// Sync implements device.Runner.
func (d *Device) Sync() error {
	return errors.Join(d.sides[first].Sync(), d.sides[second].Sync())
}

// Memory implements device.Runner.
func (d *Device) Memory() device.Memory {
	a, b := d.sides[first].Memory(), d.sides[second].Memory()
	return device.Memory{Tensors: a.Tensors + b.Tensors, Arena: a.Arena + b.Arena}
}

// ResetPeak implements device.Runner.
func (d *Device) ResetPeak() {
	d.sides[first].ResetPeak()
	d.sides[second].ResetPeak()
}

// Available implements device.Runner: what can be taken if each layer takes the same.
func (d *Device) Available() (int64, bool) {
	least, known := int64(0), false
	for side, dev := range d.sides {
		n := d.layersOn(side)
		free, ok := dev.Available()
		if n == 0 || !ok {
			continue
		}
		if all := int64(float64(free) / float64(n) * float64(d.layout.Layers)); !known || all < least {
			least, known = all, true
		}
	}
	return least, known
}

// weight is a device.Weight that is on one of the devices, or on both.
type weight struct {
	device.Weight // one of them
	at            [2]device.Weight
}

// Bytes implements device.Weight.
func (w *weight) Bytes() int {
	n := 0
	for _, a := range w.at {
		if a != nil {
			n += a.Bytes()
		}
	}
	return n
}

func of(w device.Weight) *weight {
	c, ok := w.(*weight)
	if !ok {
		panic(fmt.Sprintf("layered: a weight of another device (%T)", w))
	}
	return c
}

// operand returns the side that multiplies with w, and the weight there.
func operand(w device.Weight) (int, device.Weight) {
	c := of(w)
	if c.at[second] != nil {
		return second, c.at[second]
	}
	return first, c.at[first]
}

// NewWeight implements device.Runner.
func (d *Device) NewWeight(s device.WeightSpec) (device.Weight, error) {
	w := &weight{}
	both := s.Use&device.WeightUseEmbedding != 0 && s.Use&device.WeightUseMatmul != 0
	layer := d.layout.Layer(s.Name)
	for side, dev := range d.sides {
		part := s
		switch {
		case both && side == first:
			part.Use = device.WeightUseEmbedding
		case both:
			part.Use = device.WeightUseMatmul
		case side != d.side(layer):
			continue
		}
		own, err := dev.NewWeight(part)
		if err != nil {
			d.FreeWeights(w)
			return nil, err
		}
		w.at[side], w.Weight = own, own
	}
	return w, nil
}

// ReadWeight implements device.Runner.
func (d *Device) ReadWeight(w device.Weight, dst []float32) {
	side, own := operand(w)
	d.sides[side].ReadWeight(own, dst)
}

// FreeWeights implements device.Freer.
func (d *Device) FreeWeights(ws ...device.Weight) {
	for _, w := range ws {
		if w == nil {
			continue
		}
		for side, own := range of(w).at {
			if f, ok := d.sides[side].(device.Freer); ok && own != nil {
				f.FreeWeights(own)
			}
		}
	}
}

// value is a device.Tensor of either device, or of both once it was moved.
type value struct {
	device.Tensor // what others hold; its Impl is this value

	at   [2]*device.Tensor
	refs int
}

func valueOf(t *device.Tensor) *value {
	v, ok := t.Impl.(*value)
	if !ok {
		panic(fmt.Sprintf("layered: a tensor %v of another device (%T)", t, t.Impl))
	}
	if v.refs <= 0 {
		panic("layered: use of a released tensor")
	}
	return v
}

// wrap makes the tensor that is t on a side.
func (d *Device) wrap(side int, t *device.Tensor) *device.Tensor {
	d.made++
	v := &value{refs: 1}
	v.at[side] = t
	v.Tensor = device.Tensor{Rows: t.Rows, Cols: t.Cols, ID: d.made, Impl: v}
	return &v.Tensor
}

// where is the last side that has t: a pass moves from the first to the second.
func where(t *device.Tensor) int {
	if valueOf(t).at[second] != nil {
		return second
	}
	return first
}

// on returns t as a tensor of a side, where it stays.
func (d *Device) on(side int, t *device.Tensor) *device.Tensor {
	v := valueOf(t)
	if v.at[side] == nil {
		n := t.Rows * t.Cols
		if cap(d.buf) < n {
			d.buf = make([]float32, n)
		}
		d.sides[1-side].Read(v.at[1-side], d.buf[:n])
		v.at[side] = d.sides[side].FromSlice(t.Rows, t.Cols, d.buf[:n])
	}
	return v.at[side]
}

// change returns t as a tensor of the side that has it, to be changed in place: it is nowhere else afterwards.
func (d *Device) change(side int, t *device.Tensor) *device.Tensor {
	own := d.on(side, t)
	v := valueOf(t)
	if other := v.at[1-side]; other != nil {
		d.release(1-side, other)
		v.at[1-side] = nil
	}
	return own
}

// release gives a tensor of a side back.
func (d *Device) release(side int, t *device.Tensor) {
	d.gone = append(d.gone[:0], t)
	d.sides[side].Release(d.gone...)
}

// New implements device.Runner.
func (d *Device) New(rows, cols int) *device.Tensor {
	return d.wrap(first, d.sides[first].New(rows, cols))
}

// FromSlice implements device.Runner.
func (d *Device) FromSlice(rows, cols int, values []float32) *device.Tensor {
	return d.wrap(first, d.sides[first].FromSlice(rows, cols, values))
}

// Read implements device.Runner.
func (d *Device) Read(t *device.Tensor, dst []float32) {
	v := valueOf(t)
	side := first
	if v.at[first] == nil {
		side = second
	}
	d.sides[side].Read(v.at[side], dst)
}

// Retain implements device.Runner.
func (d *Device) Retain(t *device.Tensor) *device.Tensor {
	valueOf(t).refs++
	return t
}

// Release implements device.Ops.
func (d *Device) Release(ts ...*device.Tensor) {
	for _, t := range ts {
		if t == nil {
			continue
		}
		v := valueOf(t)
		if v.refs--; v.refs > 0 {
			continue
		}
		for side, own := range v.at {
			if own != nil {
				d.release(side, own)
				v.at[side] = nil
			}
		}
	}
}
