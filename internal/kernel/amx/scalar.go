package amx

import "fmt"

// jumps are the conditions of the jumps.
var jumps = map[string]func(m *Machine) bool{
	"JMP": func(*Machine) bool { return true },
	"JEQ": func(m *Machine) bool { return m.zf },
	"JZ":  func(m *Machine) bool { return m.zf },
	"JNE": func(m *Machine) bool { return !m.zf },
	"JNZ": func(m *Machine) bool { return !m.zf },
	"JLT": func(m *Machine) bool { return m.sf != m.of },
	"JL":  func(m *Machine) bool { return m.sf != m.of },
	"JGE": func(m *Machine) bool { return m.sf == m.of },
	"JGT": func(m *Machine) bool { return !m.zf && m.sf == m.of },
	"JG":  func(m *Machine) bool { return !m.zf && m.sf == m.of },
	"JLE": func(m *Machine) bool { return m.zf || m.sf != m.of },
	"JHI": func(m *Machine) bool { return !m.cf && !m.zf },
	"JCS": func(m *Machine) bool { return m.cf },
	"JCC": func(m *Machine) bool { return !m.cf },
}

type operation func(m *Machine, in *instruction) error

// scalarOps are the instructions on general and mask registers.
var scalarOps = map[string]operation{
	"MOVQ":    move(8, 8),
	"MOVL":    move(4, 4),
	"MOVBLZX": move(1, 4),
	"KMOVW":   move(2, 8),
	"KMOVQ":   move(8, 8),
	"LEAQ": func(m *Machine, in *instruction) error {
		at, err := m.address(in.args[0])
		if err != nil {
			return err
		}
		return m.put(in.args[1], 8, at)
	},
	"ADDQ":  arithmetic(add),
	"SUBQ":  arithmetic(subtract),
	"ANDQ":  arithmetic(and),
	"SHLQ":  arithmetic(func(m *Machine, x, y uint64) uint64 { return m.logic(y << (x & 63)) }),
	"IMULQ": arithmetic(func(_ *Machine, x, y uint64) uint64 { return x * y }),
	"XORQ":  arithmetic(func(m *Machine, x, y uint64) uint64 { return m.logic(x ^ y) }),
	"INCQ":  count(1),
	"DECQ":  count(-1),
	"CMPQ":  compare,
	"TESTQ": func(m *Machine, in *instruction) error {
		x, y, err := m.pair(in)
		m.logic(x & y)
		return err
	},
	"PREFETCHT0": nothing,
	"PREFETCHT1": nothing,
	"PREFETCHT2": nothing,
	"VZEROUPPER": nothing,
}

func nothing(*Machine, *instruction) error { return nil }

// pair reads two operands of eight bytes.
func (m *Machine) pair(in *instruction) (x, y uint64, err error) {
	if len(in.args) != 2 {
		return 0, 0, fmt.Errorf("%d operands", len(in.args))
	}
	if x, err = m.get(in.args[0], 8); err != nil {
		return 0, 0, err
	}
	y, err = m.get(in.args[1], 8)
	return x, y, err
}

func move(from, to int) operation {
	return func(m *Machine, in *instruction) error {
		for _, o := range in.args {
			if o.kind == vector {
				return m.moveVector(in, from)
			}
		}
		v, err := m.get(in.args[0], from)
		if err != nil {
			return err
		}
		return m.put(in.args[1], to, v&(1<<(8*from-1)<<1-1))
	}
}

func arithmetic(f func(m *Machine, x, y uint64) uint64) operation {
	return func(m *Machine, in *instruction) error {
		x, y, err := m.pair(in)
		if err != nil {
			return err
		}
		return m.put(in.args[1], 8, f(m, x, y))
	}
}

func add(m *Machine, x, y uint64) uint64 {
	z := x + y
	m.zf, m.sf, m.cf = z == 0, int64(z) < 0, z < x
	m.of = int64((x^z)&(y^z)) < 0
	return z
}

// subtract is y − x: the assembler's order of SUBQ x, y.
func subtract(m *Machine, x, y uint64) uint64 {
	z := y - x
	m.zf, m.sf, m.cf = z == 0, int64(z) < 0, y < x
	m.of = int64((y^x)&(y^z)) < 0
	return z
}

func and(m *Machine, x, y uint64) uint64 { return m.logic(x & y) }

// logic sets the flags of an operation on bits.
func (m *Machine) logic(z uint64) uint64 {
	m.zf, m.sf, m.cf, m.of = z == 0, int64(z) < 0, false, false
	return z
}

// compare is CMPQ x, y: the flags of x − y.
func compare(m *Machine, in *instruction) error {
	x, y, err := m.pair(in)
	subtract(m, y, x)
	return err
}

func count(by int64) operation {
	return func(m *Machine, in *instruction) error {
		v, err := m.get(in.args[0], 8)
		if err != nil {
			return err
		}
		carry := m.cf
		z := add(m, uint64(by), v)
		m.cf = carry
		return m.put(in.args[0], 8, z)
	}
}
