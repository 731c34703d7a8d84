// Package tile writes Intel's tile instructions into avo programs, and the product of AVX-VNNI. Neither Go's assembler
// nor avo knows them, so that they are bytes, each with a comment that says what they are. Package amx reads the tile
// instructions back.
package tile

import (
	"encoding/binary"
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Prefixes of the instructions, as the two lowest bits of a VEX prefix hold them.
const (
	none = 0
	p66  = 1
	pF3  = 2
	pF2  = 3
)

// LoadConfig configures the tiles from 64 bytes at base. All become zero.
func LoadConfig(base GPPhysical) {
	memory("LDTILECFG ("+name(base)+")", none, 0x49, 0, base, nil, 0)
}

// Release gives the tiles back.
func Release() { emit("TILERELEASE", vex(0, 0, 0, none), 0x49, 0xc0) }

// Zero clears a tile.
func Zero(t int) {
	emit(fmt.Sprintf("TILEZERO TMM%d", t), vex(0, 0, 0, pF2), 0x49, 0xc0|byte(t)<<3)
}

// Load reads a tile whose first row is at base+disp, and whose rows are stride bytes apart.
func Load(base, stride GPPhysical, disp int, t int) {
	memory(fmt.Sprintf("TILELOADD %d(%s)(%s*1), TMM%d", disp, name(base), name(stride), t), pF2, 0x4b, t, base, stride, disp)
}

// Store writes a tile as Load reads it.
func Store(t int, base, stride GPPhysical, disp int) {
	memory(fmt.Sprintf("TILESTORED TMM%d, %d(%s)(%s*1)", t, disp, name(base), name(stride)), pF3, 0x4b, t, base, stride, disp)
}

// DotBF16 is c += a·b over pairs of bf16, with f32 sums.
func DotBF16(b, a, c int) { product("TDPBF16PS", pF3, 0x5c, b, a, c) }

// DotSignedUnsigned is c += a·b over four bytes, of which those of a have signs, with int32 sums.
func DotSignedUnsigned(b, a, c int) { product("TDPBSUD", pF3, 0x5e, b, a, c) }

func product(op string, prefix, opcode byte, b, a, c int) {
	emit(fmt.Sprintf("%s TMM%d, TMM%d, TMM%d", op, b, a, c), vex(0, 0, byte(b), prefix), opcode, 0xc0|byte(c)<<3|byte(a))
}

// DotBytes is acc += Σ u·x over the four bytes of each lane of 256-bit registers, of which those of x have signs:
// VPDPBUSD of AVX-VNNI. The assembler's instruction of this name is the one of AVX-512.
func DotBytes(x, u, acc VecPhysical) {
	b, v, r := byte(x.PhysicalIndex()), byte(u.PhysicalIndex()), byte(acc.PhysicalIndex())
	prefix := vex(b, 0, v, p66)
	prefix[1] ^= r >> 3 << 7 // the highest bit of acc
	prefix[2] |= 1 << 2      // 256 bits
	build.Comment(fmt.Sprintf("VPDPBUSD %s, %s, %s (VEX)", x.Asm(), u.Asm(), acc.Asm()))
	// Four bytes in one: kernels have thousands of these.
	build.Instruction(&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(binary.LittleEndian.Uint32(append(prefix, 0x50)))}})
	build.Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(0xc0 | r&7<<3 | b&7)}})
}

// name is a register as the assembler calls it.
func name(r GPPhysical) string { return r.Asm() }

// vex is a prefix of three bytes: map 0F38, operands of 128 bits. base and index are numbers of registers, of which it
// holds the highest bits; v is the number of the third operand.
func vex(base, index, v, prefix byte) []byte {
	return []byte{0xc4, 0x80 | (index>>3^1)<<6 | (base>>3^1)<<5 | 2, (^v&15)<<3 | prefix}
}

// memory emits an instruction on memory, with an index always where stride is given.
func memory(comment string, prefix, opcode byte, t int, base, stride GPPhysical, disp int) {
	b, x := byte(base.PhysicalIndex()), byte(4) // 4: no index
	inputs := []Op{base}
	rm := b & 7
	if stride != nil {
		x, rm = byte(stride.PhysicalIndex()), 4
		inputs = append(inputs, stride)
		if x == 4 {
			panic("tile: the stack pointer is no stride")
		}
	}
	mod := byte(2)
	switch {
	case disp == 0 && b&7 != 5:
		mod = 0
	case disp == int(int8(disp)):
		mod = 1
	}
	rest := []byte{opcode, mod<<6 | byte(t)<<3 | rm}
	if stride != nil || b&7 == 4 {
		rest[1] = mod<<6 | byte(t)<<3 | 4
		rest = append(rest, x&7<<3|b&7)
	}
	for i := range [3]int{0, 1, 4}[mod] {
		rest = append(rest, byte(disp>>(8*i)))
	}
	if stride == nil {
		x = 0 // no highest bit
	}
	emitFrom(inputs, comment, append(vex(b, x, 0, prefix), rest...))
}

func emit(comment string, prefix []byte, rest ...byte) {
	emitFrom(nil, comment, append(prefix, rest...))
}

// emitFrom writes bytes; avo keeps the registers of inputs alive until then.
func emitFrom(inputs []Op, comment string, bytes []byte) {
	build.Comment(comment)
	for _, x := range bytes {
		build.Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(x)}, Inputs: inputs})
	}
}
