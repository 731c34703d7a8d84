package cpu

import (
	"encoding/binary"
	"fmt"
	"math"

	"leolm/device"
	"leolm/internal/codebook"
	"leolm/internal/largepage"
)

// momentBlock is the number of elements that share one scale in 8-bit optimizer state, and
// the unit of work of the optimizer.
const momentBlock = codebook.Block

// stateBlock is how the optimizer sees its state: runs of float32 values that
// it reads, changes and writes back.
type stateBlock interface {
	// open returns elements [lo, hi), in buf or in place.
	open(buf []float32, lo, hi int) []float32
	close(values []float32, lo, hi int)
}

// NewOptimizerState implements device.Device. With 8 bits, values are stored as in 8-bit Adam
// (Dettmers et al. 2022): blocks scaled by their largest magnitude and a code
// book that is dense near zero.
func (d *Device) NewOptimizerState(w device.Weight, bits int, signed bool) (device.OptimizerState, error) {
	n := of(w).gradients()
	switch bits {
	case 32:
		return &moment32{largepage.Make[float32](n)}, nil
	case 8:
		book := unsignedBook
		if signed {
			book = signedBook
		}
		return &moment8{book: book, codes: make([]uint8, n), scales: make([]float32, (n+momentBlock-1)/momentBlock)}, nil
	}
	return nil, fmt.Errorf("optimizer state of %d bits: choose 32 or 8", bits)
}

// moment32 is an optimizer moment in float32.
type moment32 struct{ v []float32 }

func (m *moment32) Bytes() int                             { return 4 * len(m.v) }
func (m *moment32) open(_ []float32, lo, hi int) []float32 { return m.v[lo:hi] }
func (m *moment32) close([]float32, int, int)              {}

func (m *moment32) Save(dst []byte) {
	for i, x := range m.v {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
	}
}

func (m *moment32) Load(src []byte) error {
	if len(src) != m.Bytes() {
		return fmt.Errorf("optimizer state of %d bytes, want %d", len(src), m.Bytes())
	}
	for i := range m.v {
		m.v[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
	return nil
}

// moment8 is an optimizer moment of one byte per element.
type moment8 struct {
	book   *codeBook
	codes  []uint8
	scales []float32 // largest magnitude per block
}

func (m *moment8) Bytes() int { return len(m.codes) + 4*len(m.scales) }

func (m *moment8) open(buf []float32, lo, hi int) []float32 {
	buf = buf[:hi-lo]
	s := m.scales[lo/momentBlock]
	for i, c := range m.codes[lo:hi] {
		buf[i] = s * m.book.values[c]
	}
	return buf
}

func (m *moment8) close(v []float32, lo, hi int) {
	var top float32
	for _, x := range v {
		top = max(top, float32(math.Abs(float64(x))))
	}
	m.scales[lo/momentBlock] = top
	inv := float32(0)
	if top > 0 {
		inv = 1 / top
	}
	for i, x := range v {
		m.codes[lo+i] = m.book.nearest(x * inv)
	}
}

func (m *moment8) Save(dst []byte) {
	n := copy(dst, m.codes)
	for i, s := range m.scales {
		binary.LittleEndian.PutUint32(dst[n+4*i:], math.Float32bits(s))
	}
}

func (m *moment8) Load(src []byte) error {
	if len(src) != m.Bytes() {
		return fmt.Errorf("optimizer state of %d bytes, want %d", len(src), m.Bytes())
	}
	n := copy(m.codes, src)
	for i := range m.scales {
		m.scales[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[n+4*i:]))
	}
	return nil
}

// codeBook is an ascending list of 256 values in [-1, 1] or [0, 1].
type codeBook struct {
	values [256]float32
	// first[i] is the first code that a value in cell i of [-1, 1] may round to.
	first [4097]uint8
}

var (
	signedBook   = newBook(true)
	unsignedBook = newBook(false)
)

func newBook(signed bool) *codeBook {
	b := &codeBook{values: codebook.Values(signed)}
	c := 0
	for i := range b.first {
		x := float32(i-1)/2048 - 1
		for c < 254 && b.values[c+1] <= x {
			c++
		}
		b.first[i] = uint8(c)
	}
	return b
}

// nearest returns the code whose value is closest to x in [-1, 1]; the lower one in the middle.
func (b *codeBook) nearest(x float32) uint8 {
	i := int((x + 1) * 2048)
	c := int(b.first[min(max(i, 0), 4096)])
	for c < 255 && b.values[c+1]-x < x-b.values[c] {
		c++
	}
	return uint8(c)
}
