// Package tensor owns what a stored number looks like: data types, the block
// layouts of quantized types, and shapes. It knows sizes, names and
// bit patterns; it does no arithmetic on whole tensors (that is package device)
// and reads no files (that is package checkpoint).
package tensor

import (
	"fmt"
	"math"
	"strings"
)

// DType names how the elements of a tensor are stored. The quantized types
// are the block formats of GGUF ("ggml" types) and bitsandbytes' NF4: a row is
// a whole number of blocks, each of BlockLen elements in BlockSize bytes.
type DType uint8

// The data types that Leo reads, writes and computes with.
const (
	Invalid DType = iota
	F32
	F16
	BF16
	F64
	I8
	I16
	I32
	I64
	U8
	Bool
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q2_K
	Q3_K
	Q4_K
	Q5_K
	Q6_K
	IQ4_NL
	NF4
	numDTypes
)

type layout struct {
	name string
	len  int // elements per block
	size int // bytes per block
}

// NF4 stores blocks of 64 four-bit codes after one float32 absolute maximum
// (QLoRA, Dettmers et al. 2023, without double quantization). The other block
// sizes are those of ggml's block_* structures.
var layouts = [numDTypes]layout{
	Invalid: {"invalid", 1, 0},
	F32:     {"f32", 1, 4},
	F16:     {"f16", 1, 2},
	BF16:    {"bf16", 1, 2},
	F64:     {"f64", 1, 8},
	I8:      {"i8", 1, 1},
	I16:     {"i16", 1, 2},
	I32:     {"i32", 1, 4},
	I64:     {"i64", 1, 8},
	U8:      {"u8", 1, 1},
	Bool:    {"bool", 1, 1},
	Q4_0:    {"q4_0", 32, 18},
	Q4_1:    {"q4_1", 32, 20},
	Q5_0:    {"q5_0", 32, 22},
	Q5_1:    {"q5_1", 32, 24},
	Q8_0:    {"q8_0", 32, 34},
	Q2_K:    {"q2_K", 256, 84},
	Q3_K:    {"q3_K", 256, 110},
	Q4_K:    {"q4_K", 256, 144},
	Q5_K:    {"q5_K", 256, 176},
	Q6_K:    {"q6_K", 256, 210},
	IQ4_NL:  {"iq4_nl", 32, 18},
	NF4:     {"nf4", 64, 36},
}

// String returns the name used in flags, reports and errors, such as "bf16" or "q4_K".
func (d DType) String() string {
	if d >= numDTypes {
		return fmt.Sprintf("dtype(%d)", uint8(d))
	}
	return layouts[d].name
}

// ParseDType is the inverse of String; case doesn't matter.
func ParseDType(s string) (DType, error) {
	for d := F32; d < numDTypes; d++ {
		if strings.EqualFold(layouts[d].name, s) {
			return d, nil
		}
	}
	return Invalid, fmt.Errorf("unknown data type %q", s)
}

// BlockLen is the number of elements in one block: 1 for plain types.
func (d DType) BlockLen() int { return layouts[d].len }

// BlockSize is the number of bytes of one block.
func (d DType) BlockSize() int { return layouts[d].size }

// Quantized reports whether d packs several elements into a block with a scale.
func (d DType) Quantized() bool { return d >= Q4_0 && d < numDTypes }

// RowSize returns the bytes of n consecutive elements. n must be a multiple
// of BlockLen and the product must fit an int.
func (d DType) RowSize(n int) (int, error) {
	if d == Invalid || d >= numDTypes {
		return 0, fmt.Errorf("%v has no size", d)
	}
	l := layouts[d]
	if n < 0 || n%l.len != 0 {
		return 0, fmt.Errorf("%d elements are not a whole number of %v blocks of %d", n, d, l.len)
	}
	if n/l.len > math.MaxInt/l.size {
		return 0, fmt.Errorf("%d elements of %v overflow", n, d)
	}
	return n / l.len * l.size, nil
}

// Shape holds the extents of a tensor, outermost first (row-major, the order
// of PyTorch; GGUF stores the reverse).
type Shape []int

// Elements returns the product of the extents, or an error if one is negative
// or the product overflows.
func (s Shape) Elements() (int, error) {
	n := 1
	for _, e := range s {
		if e < 0 {
			return 0, fmt.Errorf("shape %v has a negative extent", s)
		}
		if e != 0 && n > math.MaxInt/e {
			return 0, fmt.Errorf("shape %v overflows", s)
		}
		n *= e
	}
	return n, nil
}

// Rows and Cols view the shape as a matrix: Cols is the innermost extent,
// Rows the product of the others. A vector is one row.
func (s Shape) Rows() int {
	n := 1
	for i := 0; i+1 < len(s); i++ {
		n *= s[i]
	}
	return n
}

// Cols is the innermost extent; a scalar has one column.
func (s Shape) Cols() int {
	if len(s) == 0 {
		return 1
	}
	return s[len(s)-1]
}

// Size returns the bytes of a tensor of this shape stored as d, whose
// innermost extent must be whole blocks.
func (s Shape) Size(d DType) (int, error) {
	if _, err := s.Elements(); err != nil {
		return 0, err
	}
	row, err := d.RowSize(s.Cols())
	if err != nil {
		return 0, fmt.Errorf("shape %v: %w", s, err)
	}
	if r := s.Rows(); row != 0 && r > math.MaxInt/row {
		return 0, fmt.Errorf("shape %v of %v overflows", s, d)
	}
	return s.Rows() * row, nil
}

// Equal reports whether both shapes have the same extents.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// F32ToBF16 rounds to nearest even; a NaN stays a (quiet) NaN.
func F32ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// BF16ToF32 is exact.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F16ToF32 is exact, subnormals included.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	man := uint32(h & 0x3ff)
	switch exp {
	case 0:
		// Subnormal: man × 2⁻²⁴, exact in float32.
		f := float32(man) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// F32ToF16 rounds to nearest even; what is too large becomes infinity.
func F32ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // 65520 and more round to infinity
		return sign | 0x7c00
	case b < 0x38800000: // below 2⁻¹⁴: subnormal half
		if b < 0x33000000 {
			return sign
		}
		// Adding 0.5 aligns the mantissa so that the hardware's own rounding
		// (nearest even) happens at 2⁻²⁴.
		r := math.Float32bits(math.Float32frombits(b)+0.5) - 0x3f000000
		return sign | uint16(r)
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-0x38000000)>>13)
}
