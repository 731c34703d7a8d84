package amx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

const program = `
// func sum(p *byte, n int)
TEXT ·sum(SB), NOSPLIT, $64-16
	MOVQ p+0(FP), AX
	MOVQ n+8(FP), CX
	LEAQ (SP), DX
	VPXORD Z0, Z0, Z0

loop:
	VPADDD (AX), Z0, Z0
	ADDQ $0x40, AX
	DECQ CX
	JNZ loop
	VPADDD.BCST three<>+4(SB), Z0, Z0
	VMOVDQU32 Z0, (DX)
	MOVL 8(DX), BX
	MOVQ BX, -64(AX)
	RET

DATA three<>+0(SB)/8, $0x0000000300000001
GLOBL three<>(SB), RODATA|NOPTR, $8

TEXT ·tiles(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), CX
	BYTE $0xc4; BYTE $0xe2; BYTE $0x78; BYTE $0x49; BYTE $0x01 // LDTILECFG (CX)
	RET

TEXT ·strange(SB), NOSPLIT, $0-0
	VAESENC Z0, Z1, Z2
	RET
`

func TestMachine(t *testing.T) {
	p, err := Parse(program)
	must(t, err)
	m := NewMachine(p)
	b := make([]byte, 128)
	for i := range 32 {
		binary.LittleEndian.PutUint32(b[4*i:], uint32(i))
	}
	at := m.Map(b)
	must(t, m.Run("sum", at, 2))
	if got := binary.LittleEndian.Uint64(b[64:]); got != 2+18+3 {
		t.Errorf("sum is %d", got)
	}
	b[0] = 7 // no palette
	for _, c := range []struct {
		name string
		args []uint64
		want string
	}{
		{"sum", []uint64{at, 3}, "#PF"},     // beyond the operand
		{"sum", []uint64{at - 1, 1}, "#PF"}, // before it
		{"tiles", []uint64{at}, "#GP"},      // no configuration
		{"strange", nil, "line 29, VAESENC: not in the model"},
		{"missing", nil, "no function"},
	} {
		err := m.Run(c.name, c.args...)
		var f *Fault
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.HasPrefix(c.want, "#") != errors.As(err, &f) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	copy(b, configOf([2]int{1, 4}))
	clear(b[64:])
	if err := m.Run("tiles", at); err == nil || !strings.Contains(err.Error(), "tilerelease") {
		t.Errorf("a kernel that keeps its tiles: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, text := range []string{"MOVQ AX, BX", "TEXT ·f(SB), NOSPLIT, $x-8", "TEXT ·f(SB), NOSPLIT, $0-8\nBYTE $0xc4\nRET", "TEXT ·f(SB), NOSPLIT, $0-8\nVADDPS.RN_SAE Z0, Z1, Z2",
		"TEXT ·f(SB), NOSPLIT, $0-8\nMOVQ 8(XX), AX", "DATA x+0(SB)/8"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// TestFused: one rounding, where rounding to float64 first would make it two.
func TestFused(t *testing.T) {
	for _, c := range [][4]float32{
		{1 + 0x1p-23, 1 + 0x1p-23, 0x1p30, 0x1p30},
		{1, 1 + 0x1p-23, 0x1p-24 * (1 + 0x1p-23), 1 + 0x1p-22},
		{0x1p-12, 0x1p-12, 1, 1},
		{0x1p-12, 0x1.000002p-12, 1, 1 + 0x1p-23}, // just above the half
		{-0x1p-12, 0x1.000002p-12, -1, -1 - 0x1p-23},
		{3, 4, 5, 17},
	} {
		p, err := Parse("TEXT ·f(SB), NOSPLIT, $0-8\n\tMOVQ p+0(FP), AX\n\tVMOVUPS (AX), X0\n\tVPBROADCASTD 4(AX), X1\n\tVPBROADCASTD 8(AX), X2\n\tVFMADD231PS X0, X1, X2\n\tVMOVUPS X2, (AX)\n\tRET")
		must(t, err)
		m := NewMachine(p)
		b := make([]byte, 16)
		for i, f := range c[:3] {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(f))
		}
		must(t, m.Run("f", m.Map(b)))
		if got := math.Float32frombits(binary.LittleEndian.Uint32(b)); got != c[3] {
			t.Errorf("%g·%g + %g = %g, want %g", c[0], c[1], c[2], got, c[3])
		}
	}
}

func Example() {
	var u Unit
	config := make([]byte, ConfigBytes)
	config[0] = 1 // palette
	for tile := range 3 {
		config[48+tile], config[16+2*tile] = 1, 4 // one row of four bytes
	}
	fmt.Println(u.LoadConfig(config))
	load := func(tile int, b ...byte) {
		fmt.Println(u.Load(tile, func(_, _ int) ([]byte, error) { return b, nil }))
	}
	load(0, 100, 0, 0, 0)
	load(1, 1, 2, 3, 4)
	load(2, 5, 6, 7, 255)
	fmt.Println(u.DotInt8(0, 1, 2, true, false), u.DotInt8(0, 1, 1, true, true))
	sum := make([]byte, 4)
	fmt.Println(u.Store(0, func(_, _ int) ([]byte, error) { return sum, nil }), binary.LittleEndian.Uint32(sum))
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// <nil> #UD: a product of tiles 0, 1 and 1, which are not three
	// <nil> 1158
}
