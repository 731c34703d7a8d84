// Package amx is a model of Intel's matrix units in plain Go: what the tile instructions do, and a machine that runs the
// committed assembly of kernels that use them, instruction by instruction. It shows on any machine that such a kernel
// computes what it should, touches no memory beside its operands, and breaks none of the rules whose breach the processor
// answers with a fault. It is for tests: it is thousands of times slower than the processor, and no product runs in it.
//
// The semantics are those of Intel's manual (volume 2, "Instruction Set Reference"), from which this is written.
package amx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Tiles is the number of tile registers, each of at most MaxRows rows of RowBytes bytes.
const (
	Tiles    = 8
	MaxRows  = 16
	RowBytes = 64
)

// ConfigBytes is the size of a configuration in memory:
//
//	0 palette: 1, or 0 for none; 1 first row; 2–15 zeros
//	16 uint16 bytes of a row of each tile; 32–47 zeros
//	48 uint8 rows of each tile; 56–63 zeros
const ConfigBytes = 64

// Fault is what the processor answers a broken rule with: #GP (a bad configuration, bad memory) or #UD (an instruction
// that the configuration does not allow).
type Fault struct {
	Kind string // "#GP", "#UD" or "#PF"
	What string
}

func (f *Fault) Error() string { return f.Kind + ": " + f.What }

func general(format string, args ...any) error {
	return &Fault{"#GP", fmt.Sprintf(format, args...)}
}

func undefined(format string, args ...any) error {
	return &Fault{"#UD", fmt.Sprintf(format, args...)}
}

// Unit is the state of one matrix unit. The zero value is not configured.
type Unit struct {
	configured bool
	rows, cols [Tiles]int // of each tile: rows, and bytes of a row
	data       [Tiles][MaxRows][RowBytes]byte
}

// Configured reports whether a configuration is loaded.
func (u *Unit) Configured() bool { return u.configured }

// Tile returns rows and bytes of a row of tile t.
func (u *Unit) Tile(t int) (rows, bytes int) { return u.rows[t], u.cols[t] }

// Release is TILERELEASE: no configuration, all tiles zero.
func (u *Unit) Release() { *u = Unit{} }

// LoadConfig is LDTILECFG of ConfigBytes bytes. All tiles become zero.
func (u *Unit) LoadConfig(c []byte) error {
	if len(c) != ConfigBytes {
		return general("a configuration of %d bytes", len(c))
	}
	switch c[0] {
	case 0:
		u.Release()
		return nil
	case 1:
	default:
		return general("palette %d", c[0])
	}
	if c[1] != 0 {
		return general("a configuration that begins in row %d", c[1])
	}
	for _, zero := range [][2]int{{2, 16}, {32, 48}, {56, 64}} {
		for i := zero[0]; i < zero[1]; i++ {
			if c[i] != 0 {
				return general("byte %d of the configuration is %d, not 0", i, c[i])
			}
		}
	}
	var next Unit
	for t := range Tiles {
		next.rows[t], next.cols[t] = int(c[48+t]), int(binary.LittleEndian.Uint16(c[16+2*t:]))
		if next.rows[t] > MaxRows || next.cols[t] > RowBytes || (next.rows[t] == 0) != (next.cols[t] == 0) {
			return general("tile %d of %d rows of %d bytes", t, next.rows[t], next.cols[t])
		}
	}
	next.configured = true
	*u = next
	return nil
}

// use fails where an instruction names a tile that the configuration does not have.
func (u *Unit) use(tiles ...int) error {
	if !u.configured {
		return undefined("a tile instruction without a configuration")
	}
	for _, t := range tiles {
		if u.rows[t] == 0 {
			return undefined("tile %d, which the configuration gives no rows", t)
		}
	}
	return nil
}

// Zero is TILEZERO.
func (u *Unit) Zero(t int) error {
	if err := u.use(t); err != nil {
		return err
	}
	u.data[t] = [MaxRows][RowBytes]byte{}
	return nil
}

// words is use, for a tile whose rows must be whole words of four bytes.
func (u *Unit) words(t int) error {
	if err := u.use(t); err != nil {
		return err
	}
	if u.cols[t]%4 != 0 {
		return undefined("tile %d with rows of %d bytes", t, u.cols[t])
	}
	return nil
}

// Load is TILELOADD: row(i) is the memory of row i, from which n bytes are read.
func (u *Unit) Load(t int, row func(i, n int) ([]byte, error)) error {
	if err := u.words(t); err != nil {
		return err
	}
	var next [MaxRows][RowBytes]byte
	for i := range u.rows[t] {
		b, err := row(i, u.cols[t])
		if err != nil {
			return err
		}
		copy(next[i][:u.cols[t]], b)
	}
	u.data[t] = next
	return nil
}

// Store is TILESTORED: row(i) is the memory of row i, to which n bytes are written.
func (u *Unit) Store(t int, row func(i, n int) ([]byte, error)) error {
	if err := u.words(t); err != nil {
		return err
	}
	for i := range u.rows[t] {
		b, err := row(i, u.cols[t])
		if err != nil {
			return err
		}
		copy(b[:u.cols[t]], u.data[t][i][:])
	}
	return nil
}

// product checks the shapes of C += A·B: A has C's rows, B has C's columns, and a row of A is as many words of four
// bytes as B has rows.
func (u *Unit) product(c, a, b int) error {
	if err := u.use(c, a, b); err != nil {
		return err
	}
	if c == a || c == b || a == b {
		return undefined("a product of tiles %d, %d and %d, which are not three", c, a, b)
	}
	if u.cols[c]%4 != 0 || u.cols[a]%4 != 0 || u.cols[b]%4 != 0 || u.rows[c] != u.rows[a] || u.cols[c] != u.cols[b] || u.cols[a]/4 != u.rows[b] {
		return undefined("a product of tiles of %d×%d and %d×%d bytes into one of %d×%d", u.rows[a], u.cols[a], u.rows[b], u.cols[b], u.rows[c], u.cols[c])
	}
	return nil
}

// DotInt8 is TDPBSSD, TDPBSUD, TDPBUSD or TDPBUUD: each int32 of C gets the products of the bytes of a row of A with those
// of a column of words of B. The sum wraps around.
func (u *Unit) DotInt8(c, a, b int, signedA, signedB bool) error {
	if err := u.product(c, a, b); err != nil {
		return err
	}
	widen := func(x byte, signed bool) int32 {
		if signed {
			return int32(int8(x))
		}
		return int32(x)
	}
	for m := range u.rows[c] {
		for n := range u.cols[c] / 4 {
			at := u.data[c][m][4*n:]
			sum := int32(binary.LittleEndian.Uint32(at))
			for k := range u.rows[b] {
				for i := range 4 {
					sum += widen(u.data[a][m][4*k+i], signedA) * widen(u.data[b][k][4*n+i], signedB)
				}
			}
			binary.LittleEndian.PutUint32(at, uint32(sum))
		}
	}
	return nil
}

// DotBF16 is TDPBF16PS: for each f32 of C the products of the even elements of a row of A with those of a column of pairs
// of B are summed from 0 in one chain of fused multiply-adds, those of the odd elements in another; the two are added,
// and their sum is added to C. Every step rounds to nearest even, takes subnormal inputs for zero, and makes a subnormal
// result zero.
func (u *Unit) DotBF16(c, a, b int) error {
	if err := u.product(c, a, b); err != nil {
		return err
	}
	pairs := u.rows[b]
	var x [MaxRows * 2]float64
	var y [MaxRows * MaxRows * 2]float64 // B column by column
	for k := range pairs {
		for n := range u.cols[c] / 4 {
			y[(n*pairs+k)*2], y[(n*pairs+k)*2+1] = widenPair(u.data[b][k][4*n:])
		}
	}
	for m := range u.rows[c] {
		for k := range pairs {
			x[2*k], x[2*k+1] = widenPair(u.data[a][m][4*k:])
		}
		for n := range u.cols[c] / 4 {
			var even, odd float32
			column := y[n*pairs*2:][:2*pairs]
			for k := 0; k < len(column); k += 2 {
				even = flush(x[k]*column[k] + float64(even))
				odd = flush(x[k+1]*column[k+1] + float64(odd))
			}
			at := u.data[c][m][4*n:]
			old := quiet(math.Float32frombits(binary.LittleEndian.Uint32(at)))
			sum := flush(float64(old) + float64(flush(float64(even)+float64(odd))))
			binary.LittleEndian.PutUint32(at, math.Float32bits(sum))
		}
	}
	return nil
}

// widenPair returns two neighboring bf16, of which subnormal ones are zero.
func widenPair(p []byte) (even, odd float64) {
	w := binary.LittleEndian.Uint32(p)
	return float64(quiet(math.Float32frombits(w << 16))), float64(quiet(math.Float32frombits(w &^ 0xffff)))
}

// smallest is the smallest normal f32.
const smallest = 0x1p-126

// quiet takes a subnormal for zero.
func quiet(x float32) float32 {
	if x < smallest && x > -smallest {
		return float32(math.Copysign(0, float64(x)))
	}
	return x
}

// flush rounds the exact or once rounded sum of an f32 and a product of two bf16, or of two f32, to f32: float64 has more
// than twice the digits, so that rounding twice is rounding once. What is still subnormal when rounded to 24 digits
// becomes zero.
func flush(x float64) float32 {
	if x < smallest && x > -smallest && x != 0 {
		return flushSmall(x)
	}
	return float32(x)
}

func flushSmall(x float64) float32 {
	const up = 0x1p64
	if r := float32(x * up); r < smallest*up && r > -smallest*up {
		return float32(math.Copysign(0, x))
	}
	return float32(math.Copysign(smallest, x))
}
