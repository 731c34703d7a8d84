package cpu

import (
	"fmt"
	"unsafe"

	"leolm/device"
	"leolm/internal/largepage"
)

// layout says which slice of a weight holds its values.
type layout uint8

const (
	rowMajor layout = iota // vec
	panelsF32
	panelsF16
	panelsBF16
	quantized
)

// layout of the values that w has; of those that were taken, what they had.
func (w *weight) layout() layout {
	switch {
	case w.f32 != nil:
		return panelsF32
	case w.f16 != nil:
		return panelsF16
	case w.bf16 != nil:
		return panelsBF16
	case w.q != nil:
		return quantized
	case w.vec != nil:
		return rowMajor
	}
	return w.taken
}

// stored is the memory with the values of w.
func (w *weight) stored() []byte {
	switch w.layout() {
	case panelsF32:
		return bytesOf(w.f32)
	case panelsF16:
		return bytesOf(w.f16)
	case panelsBF16:
		return bytesOf(w.bf16)
	case quantized:
		return w.q.Data
	}
	return bytesOf(w.vec)
}

func bytesOf[T any](s []T) []byte {
	var t T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(t)))
}

// StoredBytes implements device.Sharer.
func (d *Device) StoredBytes(w device.Weight) int {
	c := of(w)
	if n := len(c.stored()); n > 0 {
		return n
	}
	return c.size
}

// TakeStored implements device.Sharer.
func (d *Device) TakeStored(w device.Weight) []byte {
	c := of(w)
	b := c.stored()
	if len(b) == 0 {
		return nil
	}
	c.taken, c.size = c.layout(), len(b)
	c.vec, c.f32, c.f16, c.bf16 = nil, nil, nil, nil
	if c.q != nil {
		c.q.Data = nil
	}
	return b
}

// GiveStored implements device.Sharer.
func (d *Device) GiveStored(w device.Weight, memory []byte) []byte {
	c := of(w)
	if memory == nil {
		// float32 memory, so that every element type is aligned.
		memory = bytesOf(largepage.Make[float32]((c.size + 3) / 4))[:c.size]
	}
	if len(c.stored()) > 0 || len(memory) != c.size {
		panic(fmt.Sprintf("device: %d bytes for the values of %s, which has %d of %d", len(memory), c.name, len(c.stored()), c.size))
	}
	switch c.taken {
	case panelsF32:
		c.f32 = view[float32](memory)
	case panelsF16:
		c.f16 = view[uint16](memory)
	case panelsBF16:
		c.bf16 = view[uint16](memory)
	case quantized:
		c.q.Data = memory
	default:
		c.vec = view[float32](memory)
	}
	return memory
}
