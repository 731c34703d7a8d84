package vec

func mulScaled(y, x, gain []float32, s float32)    { genericMulScaled(y, x, gain, s) }
func dot(a, b []float32) float32                   { return genericDot(a, b) }
func dot3(a, b, c []float32) float32               { return genericDot3(a, b, c) }
func rope(lo, hi, cos, sin []float32)              { genericRope(lo, hi, cos, sin) }
func swiGLU(y, gate, up []float32)                 { genericSwiGLU(y, gate, up) }
func maxOf(x []float32) float32                    { return genericMax(x) }
func expSum(y, x []float32, shift float32) float32 { return genericExpSum(y, x, shift) }
func sumExp(x []float32, shift float32) float32    { return genericSumExp(x, shift) }
func add(y, a, b []float32)                        { genericAdd(y, a, b) }
func addConst(y, x []float32, c float32)           { genericAddConst(y, x, c) }
func scale(y, x []float32, s float32)              { genericScale(y, x, s) }
func axpy(y []float32, a float32, x []float32)     { genericAxpy(y, a, x) }
func allFinite(x []float32) bool                   { return genericAllFinite(x) }
func bf16FromF32(dst []uint16, src []float32)      { genericBF16FromF32(dst, src) }
func f32FromBF16(dst []float32, src []uint16)      { genericF32FromBF16(dst, src) }
func f16FromF32(dst []uint16, src []float32)       { genericF16FromF32(dst, src) }
func f32FromF16(dst []float32, src []uint16)       { genericF32FromF16(dst, src) }
func quantizeQ8(dst []byte, src []float32)         { genericQuantizeQ8(dst, src) }
func dequantizeQ8(dst []float32, src []byte)       { genericDequantizeQ8(dst, src) }

func axpyMul(y []float32, s float32, a, b []float32) { genericAxpyMul(y, s, a, b) }

func rmsNormBackward(dx, dy, x, gain []float32, inv, c float32) {
	genericRMSNormBackward(dx, dy, x, gain, inv, c)
}

func swiGLUBackward(dgate, dup, dy, gate, up []float32) {
	genericSwiGLUBackward(dgate, dup, dy, gate, up)
}

func adamW(p, g, m, v []float32, half []uint16, k *adamConsts) { genericAdamW(p, g, m, v, half, k) }
