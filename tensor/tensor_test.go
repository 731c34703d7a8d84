package tensor

import (
	"math"
	"testing"
)

func TestHalfRoundTripsEveryBitPattern(t *testing.T) {
	for i := 0; i < 1<<16; i++ {
		h := uint16(i)
		f := F16ToF32(h)
		if f != f {
			if g := F16ToF32(F32ToF16(f)); g == g {
				t.Fatalf("%#04x: NaN became %v", h, g)
			}
			continue
		}
		if back := F32ToF16(f); back != h {
			t.Fatalf("%#04x -> %v -> %#04x", h, f, back)
		}
	}
}

// The value halfway between two neighbors goes to the even one, and its
// float32 neighbors to either side.
func TestHalfRoundsToNearestEven(t *testing.T) {
	for i := 0; i < 0x7bff; i++ {
		lo, hi := F16ToF32(uint16(i)), F16ToF32(uint16(i+1))
		mid := float32((float64(lo) + float64(hi)) / 2)
		even := uint16(i + i&1)
		for _, c := range []struct {
			f    float32
			want uint16
		}{
			{mid, even},
			{math.Nextafter32(mid, 0), uint16(i)},
			{math.Nextafter32(mid, math.MaxFloat32), uint16(i + 1)},
		} {
			if got := F32ToF16(c.f); got != c.want {
				t.Fatalf("F32ToF16(%v) = %#04x, want %#04x", c.f, got, c.want)
			}
			if got := F32ToF16(-c.f); got != c.want|0x8000 {
				t.Fatalf("F32ToF16(%v) = %#04x, want %#04x", -c.f, got, c.want|0x8000)
			}
		}
	}
}

func TestBF16(t *testing.T) {
	for i := 0; i < 1<<16; i++ {
		f := BF16ToF32(uint16(i))
		if f == f && F32ToBF16(f) != uint16(i) {
			t.Fatalf("%#04x does not round-trip", i)
		}
	}
	for _, c := range []struct {
		bits uint32
		want uint16
	}{
		{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x7f7fffff, 0x7f80},
	} {
		if got := F32ToBF16(math.Float32frombits(c.bits)); got != c.want {
			t.Errorf("%#08x -> %#04x, want %#04x", c.bits, got, c.want)
		}
	}
	if f := BF16ToF32(F32ToBF16(math.Float32frombits(0x7f800001))); f == f {
		t.Error("a signaling NaN became a number")
	}
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		shape Shape
		d     DType
		want  int
	}{
		{Shape{3, 64}, Q4_0, 3 * 2 * 18},
		{Shape{2, 3, 256}, Q6_K, 6 * 210},
		{Shape{}, F32, 4},
		{Shape{0, 5}, F16, 0},
	} {
		got, err := c.shape.Size(c.d)
		if err != nil || got != c.want {
			t.Errorf("%v of %v: %d, %v; want %d", c.shape, c.d, got, err, c.want)
		}
	}
	for _, c := range []struct {
		shape Shape
		d     DType
	}{
		{Shape{3, 33}, Q4_0}, {Shape{1 << 40, 1 << 40}, F32}, {Shape{-1}, F32}, {Shape{1 << 61, 4}, F32}, {Shape{1}, Invalid},
	} {
		if n, err := c.shape.Size(c.d); err == nil {
			t.Errorf("%v of %v: no error, %d bytes", c.shape, c.d, n)
		}
	}
	for d := F32; d < numDTypes; d++ {
		if got, err := ParseDType(d.String()); err != nil || got != d {
			t.Errorf("ParseDType(%q) = %v, %v", d, got, err)
		}
	}
}
