package amx

import (
	"encoding/binary"
	"fmt"
	"math"

	"leolm/tensor"
)

// vectorOps are the instructions on vector registers. Operands are in the assembler's order: the destination is last.
var vectorOps = map[string]operation{
	"VMOVDQU32": moveLanes, "VMOVDQA32": moveLanes, "VMOVUPS": moveLanes, "VMOVAPS": moveLanes, "VMOVDQU8": moveLanes,
	"VPBROADCASTD": broadcast, "VBROADCASTSS": broadcast,
	"VPXORD": words2(func(x, y uint32) uint32 { return x ^ y }),
	"VXORPS": words2(func(x, y uint32) uint32 { return x ^ y }),
	"VPANDD": words2(func(x, y uint32) uint32 { return x & y }),
	"VPORD":  words2(func(x, y uint32) uint32 { return x | y }),
	"VPADDD": words2(func(x, y uint32) uint32 { return x + y }),
	"VMULPS": floats2(func(x, y float32) float32 { return x * y }),
	"VADDPS": floats2(func(x, y float32) float32 { return x + y }),
	"VSCALEFPS": floats2(func(x, y float32) float32 { // y·2^x
		return float32(math.Ldexp(float64(y), int(math.Floor(float64(x)))))
	}),
	"VFMADD231PS":  fused(1),
	"VFNMADD231PS": fused(-1),
	"VCVTDQ2PS":    words1(func(x uint32) uint32 { return math.Float32bits(float32(int32(x))) }),
	"VPSLLD":       shifted(func(x uint32, by uint) uint32 { return x << by }),
	"VPSRLD":       shifted(func(x uint32, by uint) uint32 { return x >> by }),
	"VPSLLW":       shifted(func(x uint32, by uint) uint32 { return halves(x, func(h uint32) uint32 { return h << by }) }),
	"VPSRLW":       shifted(func(x uint32, by uint) uint32 { return halves(x, func(h uint32) uint32 { return h >> by }) }),
	"VPADDB":       bytes2(func(x, y byte) byte { return x + y }),
	"VPSHUFB":      shuffle,
	"VPMOVZXBD":    widen(1, func(b []byte) uint32 { return uint32(b[0]) }),
	"VPMOVSXBD":    widen(1, func(b []byte) uint32 { return uint32(int32(int8(b[0]))) }),
	"VPMOVZXWD":    widen(2, func(b []byte) uint32 { return uint32(binary.LittleEndian.Uint16(b)) }),
	"VCVTPH2PS":    widen(2, func(b []byte) uint32 { return math.Float32bits(tensor.F16ToF32(binary.LittleEndian.Uint16(b))) }),
	"VPTERNLOGD":   ternary,
	"VPDPBUSD":     dotBytes,
}

// halves applies f to both 16-bit halves of a word.
func halves(x uint32, f func(uint32) uint32) uint32 { return f(x&0xffff)&0xffff | f(x>>16)<<16 }

// split takes a mask register off the operands: at returns those that remain.
func (m *Machine) split(in *instruction) (args []operand, lanes uint64) {
	lanes = math.MaxUint64
	for _, o := range in.args {
		if o.kind == mask {
			lanes = m.k[o.reg]
			continue
		}
		args = append(args, o)
	}
	return args, lanes
}

// source reads n bytes of an operand; a broadcast repeats one word. Memory lanes that the mask leaves out are not read.
func (m *Machine) source(in *instruction, o operand, n int, lanes uint64) ([]byte, error) {
	out := make([]byte, n)
	switch {
	case o.kind == vector:
		copy(out, m.vec[o.reg][:])
	case in.bcst:
		w, err := m.bytesOf(o, 4)
		if err != nil {
			return nil, err
		}
		for i := 0; i < n; i += 4 {
			copy(out[i:], w)
		}
	case lanes == math.MaxUint64:
		b, err := m.bytesOf(o, n)
		if err != nil {
			return nil, err
		}
		copy(out, b)
	default:
		at, err := m.address(o)
		if err != nil {
			return nil, err
		}
		for i := 0; i < n; i += 4 {
			if lanes>>(i/4)&1 == 0 {
				continue
			}
			b, err := m.reach(at+uint64(i), 4)
			if err != nil {
				return nil, err
			}
			copy(out[i:], b)
		}
	}
	return out, nil
}

// write stores a result in lanes of `lane` bytes; those beyond it in a register become zero.
func (m *Machine) write(in *instruction, o operand, out []byte, lane int, lanes uint64) error {
	if o.kind != vector {
		if lanes != math.MaxUint64 {
			return fmt.Errorf("a masked store")
		}
		b, err := m.bytesOf(o, len(out))
		copy(b, out)
		return err
	}
	old := m.vec[o.reg]
	m.vec[o.reg] = [64]byte{}
	for i := 0; i < len(out); i += lane {
		switch to := m.vec[o.reg][i : i+lane]; {
		case lanes>>(i/lane)&1 == 1:
			copy(to, out[i:])
		case !in.zero:
			copy(to, old[i:])
		}
	}
	return nil
}

// vectorWidth is the width of the widest register among the operands.
func vectorWidth(args []operand) int {
	n := 0
	for _, o := range args {
		if o.kind == vector {
			n = max(n, o.vectorBytes)
		}
	}
	return n
}

func moveLanes(m *Machine, in *instruction) error {
	args, lanes := m.split(in)
	n := vectorWidth(args)
	b, err := m.source(in, args[0], n, lanes)
	if err != nil {
		return err
	}
	return m.write(in, args[1], b, 4, lanes)
}

// moveVector is MOVQ or MOVL between a general and a vector register.
func (m *Machine) moveVector(in *instruction, n int) error {
	from, to := in.args[0], in.args[1]
	if from.kind == vector {
		var word [8]byte
		copy(word[:n], m.vec[from.reg][:])
		return m.put(to, n, binary.LittleEndian.Uint64(word[:]))
	}
	v, err := m.get(from, n)
	m.vec[to.reg] = [64]byte{}
	binary.LittleEndian.PutUint64(m.vec[to.reg][:], v)
	return err
}

func broadcast(m *Machine, in *instruction) error {
	args, lanes := m.split(in)
	w := make([]byte, 4)
	switch args[0].kind {
	case general64:
		binary.LittleEndian.PutUint32(w, uint32(m.gp[args[0].reg]))
	case vector:
		copy(w, m.vec[args[0].reg][:])
	default:
		b, err := m.bytesOf(args[0], 4)
		if err != nil {
			return err
		}
		copy(w, b)
	}
	var out []byte
	for range args[1].vectorBytes / 4 {
		out = append(out, w...)
	}
	return m.write(in, args[1], out, 4, lanes)
}

// lanesOf computes out from sources of one width, word by word. f gets the words of the sources in the assembler's order
// and that of the destination before.
func lanesOf(f func(src []uint32, old uint32) uint32) operation {
	return func(m *Machine, in *instruction) error {
		args, lanes := m.split(in)
		to := args[len(args)-1]
		n := to.vectorBytes
		var from [][]byte
		for _, o := range args[:len(args)-1] {
			if o.kind == immediate {
				continue
			}
			b, err := m.source(in, o, n, lanes)
			if err != nil {
				return err
			}
			from = append(from, b)
		}
		out, words := make([]byte, n), make([]uint32, len(from))
		for i := 0; i < n; i += 4 {
			for j := range from {
				words[j] = binary.LittleEndian.Uint32(from[j][i:])
			}
			binary.LittleEndian.PutUint32(out[i:], f(words, binary.LittleEndian.Uint32(m.vec[to.reg][i:])))
		}
		return m.write(in, to, out, 4, lanes)
	}
}

func words1(f func(x uint32) uint32) operation {
	return lanesOf(func(s []uint32, _ uint32) uint32 { return f(s[0]) })
}

func words2(f func(x, y uint32) uint32) operation {
	return lanesOf(func(s []uint32, _ uint32) uint32 { return f(s[0], s[1]) })
}

func floats2(f func(x, y float32) float32) operation {
	return words2(func(x, y uint32) uint32 {
		return math.Float32bits(f(math.Float32frombits(x), math.Float32frombits(y)))
	})
}

// fused is dst + sign·x·y, rounded once. A product of two f32 is exact in float64; the sum of it and an f32 is rounded
// to odd there, so that the rounding to f32 that follows is that of the exact sum.
func fused(sign float64) operation {
	return lanesOf(func(s []uint32, old uint32) uint32 {
		x, y, z := float64(math.Float32frombits(s[0])), float64(math.Float32frombits(s[1])), float64(math.Float32frombits(old))
		p := sign * x * y
		sum := p + z
		if rest := (p - (sum - z)) + (z - (sum - (sum - z))); rest != 0 && !math.IsNaN(rest) && !math.IsInf(sum, 0) && math.Float64bits(sum)&1 == 0 {
			sum = math.Nextafter(sum, math.Inf(int(math.Copysign(1, rest))))
		}
		return math.Float32bits(float32(sum))
	})
}

func shifted(f func(x uint32, by uint) uint32) operation {
	return func(m *Machine, in *instruction) error {
		by := uint(in.args[0].value)
		return words1(func(x uint32) uint32 { return f(x, by) })(m, in)
	}
}

func bytes2(f func(x, y byte) byte) operation {
	return func(m *Machine, in *instruction) error {
		args, lanes := m.split(in)
		n := args[2].vectorBytes
		x, err := m.source(in, args[0], n, math.MaxUint64)
		if err != nil {
			return err
		}
		y, err := m.source(in, args[1], n, math.MaxUint64)
		if err != nil {
			return err
		}
		for i := range x {
			x[i] = f(x[i], y[i])
		}
		return m.write(in, args[2], x, 1, lanes)
	}
}

// shuffle is VPSHUFB index, table, dst: within each sixteen bytes.
func shuffle(m *Machine, in *instruction) error {
	args, lanes := m.split(in)
	n := args[2].vectorBytes
	index, err := m.source(in, args[0], n, math.MaxUint64)
	if err != nil {
		return err
	}
	table, err := m.source(in, args[1], n, math.MaxUint64)
	if err != nil {
		return err
	}
	out := make([]byte, n)
	for i, x := range index {
		if x < 0x80 {
			out[i] = table[i&^15|int(x&15)]
		}
	}
	return m.write(in, args[2], out, 1, lanes)
}

// widen makes words of neighboring elements of `size` bytes.
func widen(size int, f func(b []byte) uint32) operation {
	return func(m *Machine, in *instruction) error {
		args, lanes := m.split(in)
		n := args[1].vectorBytes
		src, err := m.source(in, args[0], n/4*size, math.MaxUint64)
		if err != nil {
			return err
		}
		out := make([]byte, n)
		for i := range n / 4 {
			binary.LittleEndian.PutUint32(out[4*i:], f(src[i*size:]))
		}
		return m.write(in, args[1], out, 4, lanes)
	}
}

// ternary is VPTERNLOGD table, z, y, dst: bit 4·dst + 2·y + z of the table.
func ternary(m *Machine, in *instruction) error {
	table := uint32(in.args[0].value)
	return lanesOf(func(s []uint32, old uint32) uint32 {
		var out uint32
		for i := range 32 {
			out |= table >> (old>>i&1<<2 | s[1]>>i&1<<1 | s[0]>>i&1) & 1 << i
		}
		return out
	})(m, in)
}

// dotBytes is VPDPBUSD x, u, dst: dst plus the products of four unsigned and four signed bytes.
func dotBytes(m *Machine, in *instruction) error {
	return lanesOf(func(s []uint32, old uint32) uint32 {
		for i := range 4 {
			old += uint32(int32(int8(s[0]>>(8*i))) * int32(uint8(s[1]>>(8*i))))
		}
		return old
	})(m, in)
}
