package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"leolm/tensor"
)

// Quantize stores the numbers in src as d: a whole number of blocks that fill
// dst exactly. importance, if not nil, has one weight ≥ 0 per element of src:
// the block types then minimise Σ importance·(src − stored)², without it the
// plain sum of squares.
//
// Numbers that d can't hold are errors: NaN and infinities in block types,
// finite numbers beyond the range of f16 in f16.
func Quantize(dst []byte, d tensor.DType, src, importance []float32) error {
	if err := sizes("quantise", d, len(src), len(dst)); err != nil {
		return err
	}
	if importance != nil && len(importance) != len(src) {
		return fmt.Errorf("quantise %v: %d importance weights for %d elements", d, len(importance), len(src))
	}
	switch d {
	case tensor.F32:
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
		return nil
	case tensor.F16:
		for i, x := range src {
			h := tensor.F32ToF16(x)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(x), 0) {
				return fmt.Errorf("quantise f16: element %d is %v, beyond ±65504; choose bf16 or f32", i, x)
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
		return nil
	case tensor.BF16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], tensor.F32ToBF16(x))
		}
		return nil
	}
	return fmt.Errorf("quantise: %v can't be written", d)
}
