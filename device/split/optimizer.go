package split

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"leolm/device"
	"leolm/device/cpu"
)

// state is one moment of a weight, of which the device below has this rank's part. It is saved and loaded as a whole: Save
// takes all ranks, Load does not.
type state struct {
	device.OptimizerState // of this rank's part

	d      *Device
	w      *weight
	bits   int
	signed bool
}

// BlocksError says that 8-bit moments of a weight cannot be cut, since elements with a common scale would be.
type BlocksError struct {
	Name  string
	At    int // where a part begins, among the trained elements
	Block int
}

func (e *BlocksError) Error() string {
	return fmt.Sprintf("%s: a part begins at element %d, and the scales of 8-bit moments belong to blocks of %d: choose moments of 32 bits or another number of parts", e.Name, e.At, e.Block)
}

// NewOptimizerState implements device.Device. With 8 bits, parts must consist of whole blocks, or it is a *BlocksError: they
// are the blocks of one process.
func (d *Device) NewOptimizerState(w device.Weight, bits int, signed bool) (device.OptimizerState, error) {
	c := of(w)
	if c.cut != nil && bits == 8 {
		d.spans(c)
		for _, at := range d.parts[:len(d.parts)-1] {
			if at%cpu.MomentBlock != 0 {
				return nil, &BlocksError{c.name, at, cpu.MomentBlock}
			}
		}
	}
	s, err := d.Device.NewOptimizerState(c.Weight, bits, signed)
	return &state{s, d, c, bits, signed}, err
}

// Held is the memory of this rank's part.
func (s *state) Held() int { return s.OptimizerState.Bytes() }

// sections are the bytes of all ranks in the parts that a saved moment consists of: values, or codes and scales.
func (s *state) sections() [][]int {
	s.d.spans(s.w)
	if s.bits == 32 {
		return [][]int{scaledBy(s.d.parts, func(n int) int { return 4 * n })}
	}
	return [][]int{slices.Clone(s.d.parts), scaledBy(s.d.parts, func(n int) int { return 4 * ((n + cpu.MomentBlock - 1) / cpu.MomentBlock) })}
}

func scaledBy(parts []int, f func(int) int) []int {
	out := make([]int, len(parts))
	for i, n := range parts {
		out[i] = f(n)
	}
	return out
}

// Bytes implements device.OptimizerState.
func (s *state) Bytes() int {
	if s.w.cut == nil {
		return s.OptimizerState.Bytes()
	}
	n := 0
	for _, parts := range s.sections() {
		n += parts[len(parts)-1]
	}
	return n
}

// Save implements device.OptimizerState.
func (s *state) Save(dst []byte) {
	if s.w.cut == nil {
		s.OptimizerState.Save(dst)
		return
	}
	own := make([]byte, s.OptimizerState.Bytes())
	s.OptimizerState.Save(own)
	for _, parts := range s.sections() {
		n := parts[s.d.rank+1] - parts[s.d.rank]
		s.d.gatherBytes(dst, own[:n], parts)
		own, dst = own[n:], dst[parts[len(parts)-1]:]
	}
}

// Load implements device.OptimizerState.
func (s *state) Load(src []byte) error {
	if s.w.cut == nil {
		return s.OptimizerState.Load(src)
	}
	if len(src) != s.Bytes() {
		return fmt.Errorf("optimizer state of %d bytes, want %d", len(src), s.Bytes())
	}
	own := make([]byte, 0, s.OptimizerState.Bytes())
	for _, parts := range s.sections() {
		own = append(own, src[parts[s.d.rank]:parts[s.d.rank+1]]...)
		src = src[parts[len(parts)-1]:]
	}
	return s.OptimizerState.Load(own)
}

// gatherBytes gives all ranks the bytes of all: rank r's go from parts[r] to before parts[r+1].
func (d *Device) gatherBytes(dst, own []byte, parts []int) {
	words := []int{0}
	for r := range len(parts) - 1 {
		words = append(words, words[r]+(parts[r+1]-parts[r]+3)/4)
	}
	values := make([]float32, words[len(words)-1])
	padded := append(slices.Clone(own), 0, 0, 0)
	for i := range words[d.rank+1] - words[d.rank] {
		values[words[d.rank]+i] = math.Float32frombits(binary.LittleEndian.Uint32(padded[4*i:]))
	}
	d.parts = append(d.parts[:0], words...)
	d.exchange(values)
	var word [4]byte
	for r := range len(parts) - 1 {
		to := dst[parts[r]:parts[r+1]]
		for _, v := range values[words[r]:words[r+1]] {
			binary.LittleEndian.PutUint32(word[:], math.Float32bits(v))
			to = to[copy(to, word[:]):]
		}
	}
}

func stateOf(m device.OptimizerState) *state {
	s, ok := m.(*state)
	if !ok {
		panic(fmt.Sprintf("split: optimizer state of another device (%T)", m))
	}
	return s
}

// AdamW implements device.Device.
func (d *Device) AdamW(w device.Weight, m, v device.OptimizerState, h device.AdamW) {
	if c := of(w); !c.idle(d.rank) {
		d.Device.AdamW(c.Weight, stateOf(m).OptimizerState, stateOf(v).OptimizerState, h)
	}
}

// Muon implements device.Device. The step of a matrix depends on all of it: each rank gathers gradient and momentum, takes
// the whole step, and keeps its rows.
func (d *Device) Muon(w device.Weight, m device.OptimizerState, h device.Muon) {
	c, s := of(w), stateOf(m)
	if c.cut == nil {
		d.Device.Muon(c.Weight, s.OptimizerState, h)
		return
	}
	whole := d.wholeMatrix(c.rows, c.cols)
	moment, err := d.Device.NewOptimizerState(whole, s.bits, s.signed)
	must(err)
	saved, values := make([]byte, s.Bytes()), make([]float32, c.rows*c.cols)
	d.ReadGrad(w, values)
	d.Device.WriteGrad(whole, values)
	s.Save(saved)
	must(moment.Load(saved))
	mine := values[c.cut[d.rank].From*c.cols : c.cut[d.rank].To*c.cols]
	d.Device.ReadWeight(c.Weight, mine) // the others' rows do not matter
	must(d.Device.WriteWeight(whole, values))
	d.Device.Muon(whole, moment, h)
	moment.Save(saved)
	must(s.Load(saved))
	d.Device.ReadWeight(whole, values)
	must(d.Device.WriteWeight(c.Weight, mine))
	d.Device.DropGrad(whole)
}

// must panics: what comes from a weight and its state fits another of the same shape.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// wholeMatrix is room for all rows of a matrix, kept for the next one of the shape.
func (d *Device) wholeMatrix(rows, cols int) device.Weight {
	shape := [2]int{rows, cols}
	if d.muon == nil {
		d.muon = map[[2]int]device.Weight{}
	}
	if d.muon[shape] == nil {
		d.muon[shape] = d.Device.NewParam("a matrix of all ranks", rows, cols)
	}
	return d.muon[shape]
}
