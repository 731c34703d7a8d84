package amx

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"
)

// Machine runs functions of a program: general registers, flags, the vector registers of AVX-512, its mask registers, a
// matrix unit, and the memory that was given to it. An access beside that memory is a fault.
type Machine struct {
	Unit Unit
	// Counts is how often each tile instruction ran.
	Counts map[Op]int

	program *Program
	gp      [16]uint64
	vec     [32][64]byte
	k       [8]uint64
	zf, sf  bool
	of, cf  bool
	args    []uint64
	regions []region
	symbols map[string]uint64
}

// region is memory that the program may reach.
type region struct {
	at    uint64
	bytes []byte
}

// stackBytes is room for the locals of a function.
const stackBytes = 64 << 10

// limit ends a program that does not end.
const limit = 1 << 31

// NewMachine returns a machine that can reach the program's constants only.
func NewMachine(p *Program) *Machine {
	m := &Machine{program: p, symbols: map[string]uint64{}, Counts: map[Op]int{}}
	for name, d := range p.data {
		m.symbols[name] = m.Map(d)
	}
	return m
}

// Map lets the program reach b, at the address where it is, which Map returns. b must not lie on a stack, which moves.
func (m *Machine) Map(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	at := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	m.regions = append(m.regions, region{at, b})
	return at
}

// Call runs a function of one argument, a pointer, on a new machine that can reach what it points to and the operands.
func (p *Program) Call(name string, argument []byte, operands [][]byte) error {
	m := NewMachine(p)
	for _, b := range operands {
		m.Map(b)
	}
	return m.Run(name, m.Map(argument))
}

// Run calls a function with arguments of eight bytes. It fails with a *Fault where the processor would, and with another
// error at an instruction that the model does not know.
func (m *Machine) Run(name string, args ...uint64) error {
	f := m.program.functions[name]
	if f == nil {
		return fmt.Errorf("no function %s", name)
	}
	if f.frame > stackBytes-128 {
		return fmt.Errorf("%s: locals of %d bytes", name, f.frame)
	}
	known := len(m.regions)
	stack := make([]byte, stackBytes)
	m.args = args
	m.gp[4] = (m.Map(stack) + 127) &^ 63
	defer func() { m.regions = m.regions[:known] }()
	for pc, steps := 0, 0; ; steps++ {
		if pc >= len(f.code) || steps > limit {
			return fmt.Errorf("%s: ran past its end, or does not end", name)
		}
		in := &f.code[pc]
		if in.op == "RET" {
			if m.Unit.Configured() {
				return fmt.Errorf("%s: returns without tilerelease", name)
			}
			return nil
		}
		pc++
		to, err := m.step(in)
		if err != nil {
			return fmt.Errorf("%s, line %d, %s: %w", name, in.line, in.op, err)
		}
		if to != "" {
			next, ok := f.labels[to]
			if !ok {
				return fmt.Errorf("%s, line %d: no label %s", name, in.line, to)
			}
			pc = next
		}
	}
}

// step runs one instruction and returns the label that it jumps to, if any.
func (m *Machine) step(in *instruction) (string, error) {
	if in.bytes != nil {
		return "", m.tile(in.tile)
	}
	if jump, ok := jumps[in.op]; ok {
		if jump(m) {
			return in.args[0].name, nil
		}
		return "", nil
	}
	if run, ok := scalarOps[in.op]; ok {
		return "", run(m, in)
	}
	if run, ok := vectorOps[in.op]; ok {
		return "", run(m, in)
	}
	return "", fmt.Errorf("not in the model")
}

// reach returns n bytes of memory.
func (m *Machine) reach(at uint64, n int) ([]byte, error) {
	for _, r := range m.regions {
		if off := at - r.at; off <= uint64(len(r.bytes)) && uint64(n) <= uint64(len(r.bytes))-off {
			return r.bytes[off : off+uint64(n)], nil
		}
	}
	return nil, &Fault{"#PF", fmt.Sprintf("%d bytes at %#x, which no operand holds", n, at)}
}

// address of a memory operand.
func (m *Machine) address(o operand) (uint64, error) {
	switch o.kind {
	case memory:
		at := m.gp[o.reg] + uint64(o.value)
		if o.index >= 0 {
			at += m.gp[o.index] * uint64(o.scale)
		}
		return at, nil
	case symbol:
		at, ok := m.symbols[o.name]
		if !ok {
			return 0, fmt.Errorf("no data %s", o.name)
		}
		return at + uint64(o.value), nil
	}
	return 0, fmt.Errorf("an operand that is no memory")
}

// bytesOf returns n bytes of a memory operand.
func (m *Machine) bytesOf(o operand, n int) ([]byte, error) {
	at, err := m.address(o)
	if err != nil {
		return nil, err
	}
	return m.reach(at, n)
}

// get reads a scalar operand of n bytes.
func (m *Machine) get(o operand, n int) (uint64, error) {
	switch o.kind {
	case immediate:
		return uint64(o.value), nil
	case general64:
		return m.gp[o.reg] & (1<<(8*n-1)<<1 - 1), nil
	case mask:
		return m.k[o.reg], nil
	case argument:
		if i := o.value / 8; o.value%8 == 0 && i < int64(len(m.args)) {
			return m.args[i], nil
		}
		return 0, fmt.Errorf("no argument at %d", o.value)
	}
	b, err := m.bytesOf(o, n)
	if err != nil {
		return 0, err
	}
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:]), nil
}

// put writes a scalar operand of n bytes; a register of four bytes is widened with zeros.
func (m *Machine) put(o operand, n int, v uint64) error {
	switch o.kind {
	case general64:
		m.gp[o.reg] = v & (1<<(8*n-1)<<1 - 1)
		return nil
	case mask:
		m.k[o.reg] = v
		return nil
	}
	b, err := m.bytesOf(o, n)
	if err != nil {
		return err
	}
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], v)
	copy(b, word[:n])
	return nil
}

// tile runs a tile instruction.
func (m *Machine) tile(t Tile) error {
	m.Counts[t.Op]++
	base := m.gp[t.Base] + uint64(t.Disp)
	stride := uint64(0)
	if t.Index >= 0 {
		stride = m.gp[t.Index]
	}
	row := func(i, n int) ([]byte, error) { return m.reach(base+uint64(i)*stride, n) }
	switch t.Op {
	case LDTILECFG:
		if t.Index >= 0 {
			base += stride
		}
		c, err := m.reach(base, ConfigBytes)
		if err != nil {
			return err
		}
		return m.Unit.LoadConfig(slices.Clone(c))
	case TILERELEASE:
		m.Unit.Release()
		return nil
	case TILEZERO:
		return m.Unit.Zero(t.C)
	case TILELOADD, TILELOADDT1:
		return m.Unit.Load(t.C, row)
	case TILESTORED:
		return m.Unit.Store(t.C, row)
	case TDPBF16PS:
		return m.Unit.DotBF16(t.C, t.A, t.B)
	}
	signedA, signedB := t.Op == TDPBSSD || t.Op == TDPBSUD, t.Op == TDPBSSD || t.Op == TDPBUSD
	return m.Unit.DotInt8(t.C, t.A, t.B, signedA, signedB)
}
