package vulkan

import "testing"

// The shape is chosen by what it computes, not by who made the device.
func TestBestMatrix(t *testing.T) {
	shape := func(m, n, k, operands, sums, scope uint32) cooperativeMatrixProperties {
		return cooperativeMatrixProperties{mSize: m, nSize: n, kSize: k, aType: operands, bType: operands, cType: sums, resultType: sums, scope: scope}
	}
	const bfloat16 = 1000141000
	for _, c := range []struct {
		shapes []cooperativeMatrixProperties
		want   Matrix
	}{
		{nil, Matrix{}},
		{[]cooperativeMatrixProperties{shape(16, 8, 8, 0, 1, 3), shape(16, 16, 16, 0, 1, 3), shape(16, 8, 16, 0, 1, 3)}, Matrix{16, 16, 16}},
		{[]cooperativeMatrixProperties{shape(16, 16, 16, 0, 0, 3), shape(8, 8, 8, 0, 1, 3)}, Matrix{8, 8, 8}},    // sums in float16
		{[]cooperativeMatrixProperties{shape(16, 16, 16, bfloat16, 1, 3), shape(16, 16, 16, 0, 1, 2)}, Matrix{}}, // bfloat16; of a work group
		{[]cooperativeMatrixProperties{shape(32, 32, 16, 0, 1, 3), shape(8, 16, 16, 0, 1, 3), shape(0, 0, 0, 0, 1, 3)}, Matrix{8, 16, 16}},
	} {
		if got := bestMatrix(c.shapes); got != c.want {
			t.Errorf("of %v: %v, want %v", c.shapes, got, c.want)
		}
	}
}
