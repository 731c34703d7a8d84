//go:build !amd64 && !arm64

package vec

import "unsafe"

func mulScaled(y, x, gain []float32, s float32) { genericMulScaled(y, x, gain, s) }
func dot(a, b []float32) float32                { return genericDot(a, b) }
func dot3(a, b, c []float32) float32            { return genericDot3(a, b, c) }
func rmsNormBackward(dx, dy, x, gain []float32, inv, c float32) {
	genericRMSNormBackward(dx, dy, x, gain, inv, c)
}
func axpyMul(y []float32, s float32, a, b []float32) { genericAxpyMul(y, s, a, b) }
func rope(lo, hi, cos, sin []float32)                { genericRope(lo, hi, cos, sin) }
func swiGLU(y, gate, up []float32)                   { genericSwiGLU(y, gate, up) }
func swiGLUBackward(dgate, dup, dy, gate, up []float32) {
	genericSwiGLUBackward(dgate, dup, dy, gate, up)
}
func maxOf(x []float32) float32                    { return genericMax(x) }
func expSum(y, x []float32, shift float32) float32 { return genericExpSum(y, x, shift) }
func sumExp(x []float32, shift float32) float32    { return genericSumExp(x, shift) }
func add(y, a, b []float32)                        { genericAdd(y, a, b) }
func addConst(y, x []float32, c float32)           { genericAddConst(y, x, c) }
func scale(y, x []float32, s float32)              { genericScale(y, x, s) }
func axpby(y, x []float32, a, b float32)           { genericAxpby(y, x, a, b) }
func gradScores(d, p []float32, delta, s float32)  { genericGradScores(d, p, delta, s) }
func zeroSum(x []float32) float32                  { return genericZeroSum(x) }
func bf16FromF32(dst []uint16, src []float32)      { genericBF16FromF32(dst, src) }
func f32FromBF16(dst []float32, src []uint16)      { genericF32FromBF16(dst, src) }
func f16FromF32(dst []uint16, src []float32)       { genericF16FromF32(dst, src) }
func f32FromF16(dst []float32, src []uint16)       { genericF32FromF16(dst, src) }
func quantizeQ8(dst []byte, src []float32)         { genericQuantizeQ8(dst, src) }
func dequantizeQ8(dst []float32, src []byte)       { genericDequantizeQ8(dst, src) }
func adamW(p, g, m, v []float32, k *adamConsts)    { genericAdamW(p, g, m, v, k) }
func zip16(dst, a, b []uint16)                     { genericZip16(dst, a, b) }
func zipBF16(dst []uint16, a, b []float32)         { genericZipBF16(dst, a, b) }

func transposeSide() int { return 0 }

func transposeBlocks(dst *uint32, ldd int, src *uint32, lds, blocks int) {
	genericTranspose(unsafe.Pointer(dst), ldd, unsafe.Pointer(src), lds, 0, 0)
}
