package amx

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// configOf makes a configuration of tiles of rows × bytes.
func configOf(tiles ...[2]int) []byte {
	c := make([]byte, ConfigBytes)
	c[0] = 1
	for t, x := range tiles {
		c[48+t] = byte(x[0])
		binary.LittleEndian.PutUint16(c[16+2*t:], uint16(x[1]))
	}
	return c
}

// fill loads a tile from words, row by row.
func fill(t *testing.T, u *Unit, tile int, words []uint32) {
	t.Helper()
	_, n := u.Tile(tile)
	b := make([]byte, 4*len(words))
	for i, w := range words {
		binary.LittleEndian.PutUint32(b[4*i:], w)
	}
	must(t, u.Load(tile, func(i, _ int) ([]byte, error) { return b[i*n : (i+1)*n], nil }))
}

// words stores a tile.
func words(t *testing.T, u *Unit, tile int) []uint32 {
	t.Helper()
	rows, n := u.Tile(tile)
	b := make([]byte, rows*n)
	must(t, u.Store(tile, func(i, _ int) ([]byte, error) { return b[i*n : (i+1)*n], nil }))
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// exact rounds a sum to 24 digits, nearest even, whatever its exponent, and makes it zero below the smallest normal f32.
func exact(terms ...*big.Float) *big.Float {
	sum := new(big.Float).SetPrec(4000)
	for _, x := range terms {
		sum.Add(sum, x)
	}
	sum.SetMode(big.ToNearestEven).SetPrec(24)
	if sum.Cmp(big.NewFloat(0x1p-126)) < 0 && sum.Cmp(big.NewFloat(-0x1p-126)) > 0 {
		return new(big.Float)
	}
	return sum
}

func TestDotBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	// Values of every size, whose products and sums are also subnormal, and subnormal ones.
	bf16 := func() uint32 {
		switch r.IntN(8) {
		case 0:
			return uint32(r.IntN(128)) | uint32(r.IntN(2))<<15
		case 1:
			return uint32(60+r.IntN(10))<<7 | uint32(r.IntN(128)) | uint32(r.IntN(2))<<15 // ≈ 2^-63, whose squares are ≈ 2^-126
		default:
			return uint32(110+r.IntN(30))<<7 | uint32(r.IntN(128)) | uint32(r.IntN(2))<<15
		}
	}
	value := func(w uint32) *big.Float {
		f := math.Float32frombits(w)
		if f < 0x1p-126 && f > -0x1p-126 {
			f = 0
		}
		return new(big.Float).SetPrec(4000).SetFloat64(float64(f))
	}
	times := func(x, y uint32) *big.Float {
		return new(big.Float).SetPrec(4000).Mul(value(x<<16), value(y<<16))
	}
	for range 60 {
		rows, cols, pairs := 1+r.IntN(16), 1+r.IntN(16), 1+r.IntN(16)
		var u Unit
		must(t, u.LoadConfig(configOf([2]int{rows, 4 * cols}, [2]int{rows, 4 * pairs}, [2]int{pairs, 4 * cols})))
		a, b, c := make([]uint32, rows*pairs), make([]uint32, pairs*cols), make([]uint32, rows*cols)
		for _, x := range [][]uint32{a, b} {
			for i := range x {
				x[i] = bf16() | bf16()<<16
			}
		}
		for i := range c {
			c[i] = bf16()<<16 | uint32(r.IntN(1<<16))
		}
		fill(t, &u, 0, c)
		fill(t, &u, 1, a)
		fill(t, &u, 2, b)
		must(t, u.DotBF16(0, 1, 2))
		got := words(t, &u, 0)
		for m := range rows {
			for n := range cols {
				even, odd := new(big.Float), new(big.Float)
				for k := range pairs {
					x, y := a[m*pairs+k], b[k*cols+n]
					even, odd = exact(even, times(x&0xffff, y&0xffff)), exact(odd, times(x>>16, y>>16))
				}
				want, _ := exact(value(c[m*cols+n]), exact(even, odd)).Float32()
				if g := math.Float32frombits(got[m*cols+n]); g != want {
					t.Fatalf("%d×%d×%d: C(%d,%d) = %g, want %g", rows, cols, 2*pairs, m, n, g, want)
				}
			}
		}
	}
}

// TestDotBF16Special: what is not a number, infinite, or the smallest of its kind.
func TestDotBF16Special(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct{ a0, a1, b0, b1, c, want float32 }{
		{1, 2, 3, 4, 5, 16},
		{0x1p-130, 1, 1, 0, 0, 0},               // a subnormal factor is zero
		{0x1p-126, 0, 0.5, 0, 0, 0},             // a subnormal product is zero
		{0x1p-126, 0, 1, 0, 0, 0x1p-126},        // the smallest normal one is not
		{0x1p-126, 0, 1, 0, 0x1p-127, 0x1p-126}, // a subnormal sum is zero before it is added to
		{inf, 0, 1, 1, 0, inf},
		{inf, -inf, 1, 1, 0, nan},
		{inf, 1, 0, 1, 0, nan},
		{1, 1, 1, 1, -inf, -inf},
		{0x1.fep127, 0, 2, 0, 0, inf},
	} {
		var u Unit
		must(t, u.LoadConfig(configOf([2]int{1, 4}, [2]int{1, 4}, [2]int{1, 4})))
		pair := func(x, y float32) []uint32 { return []uint32{math.Float32bits(x)>>16 | math.Float32bits(y)&0xffff0000} }
		fill(t, &u, 0, []uint32{math.Float32bits(c.c)})
		fill(t, &u, 1, pair(c.a0, c.a1))
		fill(t, &u, 2, pair(c.b0, c.b1))
		must(t, u.DotBF16(0, 1, 2))
		got := math.Float32frombits(words(t, &u, 0)[0])
		if got != c.want && (got == got || c.want == c.want) {
			t.Errorf("%+v: %g", c, got)
		}
	}
}

func TestDotInt8(t *testing.T) {
	var u Unit
	must(t, u.LoadConfig(configOf([2]int{1, 8}, [2]int{1, 4}, [2]int{1, 8})))
	// A is (1, −1, 127, −128) or (1, 255, 127, 128); both columns of B are (−1, 2, −3, −4) or (255, 2, 253, 252).
	a, b := uint32(0x807fff01), uint32(0xfcfd02ff)
	for _, c := range []struct {
		signedA, signedB bool
		want             int32
	}{
		{true, true, -1 - 2 - 381 + 512},
		{true, false, 255 - 2 + 127*253 - 128*252},
		{false, true, -1 + 510 - 381 - 512},
		{false, false, 255 + 510 + 127*253 + 128*252},
	} {
		fill(t, &u, 0, []uint32{100, math.MaxUint32})
		fill(t, &u, 1, []uint32{a})
		fill(t, &u, 2, []uint32{b, b})
		must(t, u.DotInt8(0, 1, 2, c.signedA, c.signedB))
		if got := words(t, &u, 0); int32(got[0]) != c.want+100 || int32(got[1]) != c.want-1 {
			t.Errorf("%+v: %d, %d", c, int32(got[0]), int32(got[1]))
		}
	}
}

// TestFaults: what the processor refuses, the model refuses.
func TestFaults(t *testing.T) {
	good := [][2]int{{16, 64}, {16, 32}, {8, 64}, {8, 64}}
	for _, c := range []struct {
		name string
		do   func(u *Unit) error
		want string // the fault's kind; "" for none
	}{
		{"as it should be", func(u *Unit) error { return u.DotInt8(0, 1, 2, true, true) }, ""},
		{"without a configuration", func(u *Unit) error { u.Release(); return u.Zero(0) }, "#UD"},
		{"a tile without rows", func(u *Unit) error { return u.Zero(7) }, "#UD"},
		{"the same tile twice", func(u *Unit) error { return u.DotInt8(0, 1, 1, true, true) }, "#UD"},
		{"the sum as a factor", func(u *Unit) error { return u.DotBF16(0, 0, 2) }, "#UD"},
		{"rows that differ", func(u *Unit) error { return u.DotBF16(0, 2, 3) }, "#UD"},
		{"words and rows that differ", func(u *Unit) error { return u.DotBF16(2, 3, 1) }, "#UD"},
		{"rows that are no words", func(u *Unit) error {
			if err := u.LoadConfig(configOf([2]int{1, 6})); err != nil {
				return err
			}
			return u.Load(0, func(_, n int) ([]byte, error) { return make([]byte, n), nil })
		}, "#UD"},
		{"palette 2", func(u *Unit) error { c := configOf(good...); c[0] = 2; return u.LoadConfig(c) }, "#GP"},
		{"17 rows", func(u *Unit) error { return u.LoadConfig(configOf([2]int{17, 64})) }, "#GP"},
		{"65 bytes", func(u *Unit) error { return u.LoadConfig(configOf([2]int{16, 65})) }, "#GP"},
		{"rows without bytes", func(u *Unit) error { return u.LoadConfig(configOf([2]int{16, 0})) }, "#GP"},
		{"a reserved byte", func(u *Unit) error { c := configOf(good...); c[33] = 1; return u.LoadConfig(c) }, "#GP"},
		{"palette 0 releases", func(u *Unit) error {
			if err := u.LoadConfig(make([]byte, ConfigBytes)); err != nil {
				return err
			}
			return u.Zero(0)
		}, "#UD"},
	} {
		var u Unit
		must(t, u.LoadConfig(configOf(good...)))
		err := c.do(&u)
		var f *Fault
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (!errors.As(err, &f) || f.Kind != c.want || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestConfigClears: a configuration makes all tiles zero, and rows and bytes beyond a load are zero.
func TestConfigClears(t *testing.T) {
	var u Unit
	must(t, u.LoadConfig(configOf([2]int{2, 8})))
	fill(t, &u, 0, []uint32{1, 2, 3, 4})
	must(t, u.LoadConfig(configOf([2]int{2, 8})))
	for _, w := range words(t, &u, 0) {
		if w != 0 {
			t.Error("a tile outlived its configuration")
		}
	}
}
