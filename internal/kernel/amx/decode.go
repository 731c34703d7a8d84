package amx

import (
	"encoding/binary"
	"fmt"
)

// Op is a tile instruction.
type Op uint8

// The tile instructions that Decode knows.
const (
	LDTILECFG Op = iota
	TILERELEASE
	TILEZERO
	TILELOADD
	TILELOADDT1
	TILESTORED
	TDPBSSD
	TDPBSUD
	TDPBUSD
	TDPBUUD
	TDPBF16PS
)

var opNames = [...]string{"ldtilecfg", "tilerelease", "tilezero", "tileloadd", "tileloaddt1", "tilestored", "tdpbssd", "tdpbsud", "tdpbusd", "tdpbuud", "tdpbf16ps"}

func (o Op) String() string { return opNames[o] }

// Tile is a decoded tile instruction. General registers are numbered as the processor does: 0 AX, 1 CX, 2 DX, 3 BX, 4 SP,
// 5 BP, 6 SI, 7 DI, 8–15.
type Tile struct {
	Op          Op
	C, A, B     int // tiles: the one that is written or stored, and the factors
	Base, Index int // registers of the memory operand; Index is −1 for none
	Disp        int
}

var gpNames = [16]string{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}

// String is the instruction as disassemblers print it in Intel's syntax.
func (t Tile) String() string {
	mem := gpNames[t.Base]
	if t.Index >= 0 {
		mem += "+" + gpNames[t.Index] + "*1"
	}
	if t.Disp != 0 {
		mem += fmt.Sprintf("%+#x", t.Disp)
	}
	switch t.Op {
	case TILERELEASE:
		return t.Op.String()
	case LDTILECFG:
		return fmt.Sprintf("%v [%s]", t.Op, mem)
	case TILEZERO:
		return fmt.Sprintf("%v tmm%d", t.Op, t.C)
	case TILELOADD, TILELOADDT1:
		return fmt.Sprintf("%v tmm%d,[%s]", t.Op, t.C, mem)
	case TILESTORED:
		return fmt.Sprintf("%v [%s],tmm%d", t.Op, mem, t.C)
	}
	return fmt.Sprintf("%v tmm%d,tmm%d,tmm%d", t.Op, t.C, t.A, t.B)
}

// Decode reads one tile instruction from the start of b, and how many bytes it takes.
func Decode(b []byte) (Tile, int, error) {
	bad := func(what string) (Tile, int, error) {
		return Tile{}, 0, fmt.Errorf("no tile instruction: % x: %s", b[:min(len(b), 10)], what)
	}
	// A three-byte VEX prefix of map 0F38, width 0, length 128.
	if len(b) < 5 || b[0] != 0xc4 || b[1]&0x1f != 2 || b[2]&0x84 != 0 {
		return bad("another prefix")
	}
	prefix, opcode, modrm := b[2]&3, b[3], b[4]
	if b[1]&0x80 == 0 {
		return bad("a tile beyond 7") // R, inverted
	}
	reg, rm, vvvv := int(modrm>>3&7), int(modrm&7), int(^b[2]>>3&15)
	if modrm>>6 == 3 {
		return decodeRegisters(b, prefix, opcode, reg, rm, vvvv)
	}
	if vvvv != 0 {
		return bad("a second source beside memory")
	}
	t := Tile{C: reg, Index: -1}
	switch {
	case opcode == 0x49 && prefix == 0 && reg == 0:
		t.Op, t.C = LDTILECFG, 0
	case opcode == 0x4b && prefix == 3:
		t.Op = TILELOADD
	case opcode == 0x4b && prefix == 1:
		t.Op = TILELOADDT1
	case opcode == 0x4b && prefix == 2:
		t.Op = TILESTORED
	default:
		return bad("an unknown operation on memory")
	}
	n, err := t.memory(b, modrm)
	if err != nil {
		return bad(err.Error())
	}
	if opcode == 0x4b && rm != 4 {
		return bad("tiles are addressed with an index")
	}
	return t, n, nil
}

// decodeRegisters reads an instruction without memory.
func decodeRegisters(b []byte, prefix, opcode byte, reg, rm, vvvv int) (Tile, int, error) {
	t := Tile{C: reg, A: rm, B: vvvv, Index: -1}
	switch {
	case b[1]&0x60 != 0x60 || vvvv > 7:
		return t, 0, fmt.Errorf("no tile instruction: % x: a tile beyond 7", b[:5])
	case opcode == 0x49 && prefix == 0 && reg == 0 && rm == 0 && vvvv == 0:
		return Tile{Op: TILERELEASE, Index: -1}, 5, nil
	case opcode == 0x49 && prefix == 3 && rm == 0 && vvvv == 0:
		return Tile{Op: TILEZERO, C: reg, Index: -1}, 5, nil
	case opcode == 0x5e:
		t.Op = [4]Op{TDPBUUD, TDPBUSD, TDPBSUD, TDPBSSD}[prefix]
		return t, 5, nil
	case opcode == 0x5c && prefix == 2:
		t.Op = TDPBF16PS
		return t, 5, nil
	}
	return t, 0, fmt.Errorf("no tile instruction: % x: an unknown operation on tiles", b[:5])
}

// memory reads the memory operand behind the ModRM byte, and returns the length of the instruction.
func (t *Tile) memory(b []byte, modrm byte) (int, error) {
	mod, rm, n := modrm>>6, int(modrm&7), 5
	baseHigh, indexHigh := int(^b[1]>>5&1)<<3, int(^b[1]>>6&1)<<3
	t.Base = rm | baseHigh
	if rm == 4 {
		if len(b) < 6 {
			return 0, fmt.Errorf("cut short")
		}
		sib := b[5]
		n++
		if sib>>6 != 0 {
			return 0, fmt.Errorf("a scaled index")
		}
		t.Base = int(sib&7) | baseHigh
		if i := int(sib>>3&7) | indexHigh; i != 4 {
			t.Index = i
		}
		rm = int(sib & 7)
	}
	switch {
	case mod == 0 && rm == 5:
		return 0, fmt.Errorf("memory without a base")
	case mod == 1 && len(b) > n:
		t.Disp = int(int8(b[n]))
		return n + 1, nil
	case mod == 2 && len(b) >= n+4:
		t.Disp = int(int32(binary.LittleEndian.Uint32(b[n:])))
		return n + 4, nil
	case mod != 0:
		return 0, fmt.Errorf("cut short")
	}
	return n, nil
}
