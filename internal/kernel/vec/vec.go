// Package vec owns row-wise operations on plain float32 slices: norms, rotary
// embedding, gated activation, softmax and its relatives, conversions to and
// from the 16-bit types and q8_0 blocks, and the AdamW step. It owns no threads: a
// caller splits rows (or, for element-wise operations, ranges) over workers.
//
// Sums run in one fixed order that depends on the length and the CPU level
// only, so a row gives the same bits in any batch. Element-wise operations give
// the same bits for an element wherever it lies in a slice, so any split of a
// range is exact.
//
// Lengths that do not match panic: they are the caller's fault.
package vec

import (
	"fmt"
	"math"

	"leolm/internal/kernel/cpu"
)

// level holds the CPU features of the kernels in use.
var level = cpu.Active

// use switches the level: for tests over all levels.
func use(l cpu.Features) { level = l }

func has(f cpu.Features) bool { return level.Has(f) }

// The vector kernels take counts in multiples of lane.
const lane = 16

func whole(n int) int { return n &^ (lane - 1) }

func mustLen(what string, n int, lens ...int) {
	for _, l := range lens {
		if l != n {
			panic(fmt.Sprintf("vec: %s: slices of %d and %d elements", what, n, l))
		}
	}
}

// RMSNorm writes y = x·inv·gain with inv = 1/√(mean(x²)+eps), and returns inv
// for the backward pass (Zhang and Sennrich 2019; the order of Llama: the
// normalized value times the gain). y may be x.
func RMSNorm(y, x, gain []float32, eps float32) (inv float32) {
	mustLen("RMSNorm", len(x), len(y), len(gain))
	inv = float32(1 / math.Sqrt(float64(SumSquares(x))/float64(len(x))+float64(eps)))
	mulScaled(y, x, gain, inv)
	return inv
}

// RMSNormBackward adds to dx the gradient of RMSNorm at x for the output
// gradient dy. inv is what RMSNorm returned.
//
//	dx_i += inv·(dy_i·gain_i − x_i·inv²/n·Σ_j dy_j·gain_j·x_j)
func RMSNormBackward(dx, dy, x, gain []float32, inv float32) {
	mustLen("RMSNormBackward", len(x), len(dx), len(dy), len(gain))
	s := dot3(dy, gain, x)
	c := float32(float64(s) * float64(inv) * float64(inv) * float64(inv) / float64(len(x)))
	rmsNormBackward(dx, dy, x, gain, inv, c)
}

// RMSNormGainBackward adds to dgain the gradient of the gain over len(inv)
// rows: dgain_j += Σ_i dy[i·stride+j]·x[i·stride+j]·inv_i, rows in order. Split
// the work by columns (slices of dgain with dy and x starting at the same
// column), not by rows, to keep the sum's order.
func RMSNormGainBackward(dgain, dy, x []float32, stride int, inv []float32) {
	n := whole(len(dgain))
	w := len(dgain) - n
	// The last columns are summed in a full vector, whose other lanes take in
	// whatever follows in the rows and are dropped.
	var tail [lane]float32
	copy(tail[:], dgain[n:])
	for i, s := range inv {
		at := i * stride
		if n > 0 {
			axpyMul(dgain[:n], s, dy[at:at+n], x[at:at+n])
		}
		at += n
		switch {
		case w == 0:
		case at+lane <= min(len(dy), len(x)):
			axpyMul(tail[:], s, dy[at:at+lane], x[at:at+lane])
		default:
			axpyMul(tail[:w], s, dy[at:at+w], x[at:at+w])
		}
	}
	copy(dgain[n:], tail[:])
}

// Rope rotates pairs (x[i], x[i+d/2]) of a head of d = 2·len(cos) elements by
// the angles whose cosines and sines are given (Su et al. 2021, the
// rotate-half pairing of Hugging Face's Llama), in place.
func Rope(x, cos, sin []float32) {
	mustLen("Rope", len(cos), len(sin), len(x)/2)
	rope(x[:len(cos)], x[len(cos):2*len(cos)], cos, sin)
}

// RopeBackward is the transpose of Rope: the rotation by the opposite angles, in place.
func RopeBackward(x, cos, sin []float32) {
	mustLen("RopeBackward", len(cos), len(sin), len(x)/2)
	// Exchanging the halves reverses the rotation.
	rope(x[len(cos):2*len(cos)], x[:len(cos)], cos, sin)
}

// SwiGLU writes y = silu(gate)·up with silu(z) = z/(1+e⁻ᶻ). y may be either input.
func SwiGLU(y, gate, up []float32) {
	mustLen("SwiGLU", len(y), len(gate), len(up))
	swiGLU(y, gate, up)
}

// SwiGLUBackward writes dgate and dup for the output gradient dy. The outputs
// may be the inputs.
func SwiGLUBackward(dgate, dup, dy, gate, up []float32) {
	mustLen("SwiGLUBackward", len(dy), len(dgate), len(dup), len(gate), len(up))
	swiGLUBackward(dgate, dup, dy, gate, up)
}

// Max returns the largest element; −Inf for an empty slice. NaNs are skipped.
func Max(x []float32) float32 { return maxOf(x) }

// ArgMax returns the index of the first largest element, or −1 if x is empty or all NaN.
func ArgMax(x []float32) int {
	m := maxOf(x)
	for i, v := range x {
		if v == m {
			return i
		}
	}
	return -1
}

// ExpSum writes y = e^(x−shift) and returns the sum of y. y may be x.
// Errors of results are at most 2 ulp per element; what would be subnormal is 0 (x−shift below −87.3365).
func ExpSum(y, x []float32, shift float32) float32 {
	mustLen("ExpSum", len(x), len(y))
	return expSum(y, x, shift)
}

// LogSumExp returns log Σ eˣ without overflow; −Inf for an empty slice.
func LogSumExp(x []float32) float32 {
	m := maxOf(x)
	if math.IsInf(float64(m), 0) {
		return m
	}
	return m + float32(math.Log(float64(sumExp(x, m))))
}

// Softmax writes eˣ/Σeˣ to y, which may be x.
func Softmax(y, x []float32) {
	m := maxOf(x)
	if math.IsInf(float64(m), -1) {
		m = 0
	}
	Scale(y, y, 1/ExpSum(y, x, m))
}

// LogSoftmax writes x − log Σ eˣ to y, which may be x.
func LogSoftmax(y, x []float32) {
	mustLen("LogSoftmax", len(x), len(y))
	AddConst(y, x, -LogSumExp(x))
}

// CrossEntropyBackward writes weight·(softmax(x) − onehot(target)) to y, which
// may be x; lse is LogSumExp(x). A negative target means no target: the
// one-hot row is zero.
func CrossEntropyBackward(y, x []float32, lse float32, target int, weight float32) {
	mustLen("CrossEntropyBackward", len(x), len(y))
	expSum(y, x, lse)
	scale(y, y, weight)
	if target >= 0 {
		y[target] -= weight
	}
}

// Add writes y = a + b. y may be either.
func Add(y, a, b []float32) {
	mustLen("Add", len(y), len(a), len(b))
	add(y, a, b)
}

// AddConst writes y = x + c. y may be x.
func AddConst(y, x []float32, c float32) {
	mustLen("AddConst", len(y), len(x))
	addConst(y, x, c)
}

// Mul writes y = a·b. y may be either.
func Mul(y, a, b []float32) {
	mustLen("Mul", len(y), len(a), len(b))
	mulScaled(y, a, b, 1) // ×1 is exact
}

// Scale writes y = s·x. y may be x.
func Scale(y, x []float32, s float32) {
	mustLen("Scale", len(y), len(x))
	scale(y, x, s)
}

// Axpy adds a·x to y.
func Axpy(y []float32, a float32, x []float32) {
	mustLen("Axpy", len(y), len(x))
	axpby(y, x, a, 1)
}

// Axpby writes y = a·x + b·y.
func Axpby(y, x []float32, a, b float32) {
	mustLen("Axpby", len(y), len(x))
	axpby(y, x, a, b)
}

// MulShifted writes d = (d − shift)·p·s: the gradient of softmax from that of
// its output.
func MulShifted(d, p []float32, shift, s float32) {
	mustLen("MulShifted", len(d), len(p))
	gradScores(d, p, shift, s)
}

// Dot returns Σ a·b.
func Dot(a, b []float32) float32 {
	mustLen("Dot", len(a), len(b))
	return dot(a, b)
}

// SumSquares returns Σ x².
func SumSquares(x []float32) float32 { return dot(x, x) }

// FirstNonFinite returns the index of the first NaN or infinity, or −1.
func FirstNonFinite(x []float32) int {
	const chunk = 4096 // long enough to scan fast, short enough to look twice
	for lo := 0; lo < len(x); lo += chunk {
		part := x[lo:min(len(x), lo+chunk)]
		if sum := zeroSum(part); sum == sum {
			continue
		}
		for i, v := range part {
			if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
				return lo + i
			}
		}
	}
	return -1
}

// BF16FromF32 rounds to nearest even; NaNs stay NaNs.
func BF16FromF32(dst []uint16, src []float32) {
	mustLen("BF16FromF32", len(dst), len(src))
	bf16FromF32(dst, src)
}

// F32FromBF16 is exact.
func F32FromBF16(dst []float32, src []uint16) {
	mustLen("F32FromBF16", len(dst), len(src))
	f32FromBF16(dst, src)
}

// F16FromF32 rounds to nearest even; what is too large becomes infinity.
func F16FromF32(dst []uint16, src []float32) {
	mustLen("F16FromF32", len(dst), len(src))
	f16FromF32(dst, src)
}

// F32FromF16 is exact.
func F32FromF16(dst []float32, src []uint16) {
	mustLen("F32FromF16", len(dst), len(src))
	f32FromF16(dst, src)
}

// Q8Block is the size in bytes of a q8_0 block of 32 elements: an f16 scale,
// then 32 signed bytes (ggml's block_q8_0).
const Q8Block = 34

// QuantizeQ8 writes len(src)/32 q8_0 blocks: scale = max|x|/127 rounded to
// f16, codes = x/(max|x|/127) rounded to nearest even; a block whose scale
// rounds to zero is all zeros. len(src) must be a multiple of 32.
func QuantizeQ8(dst []byte, src []float32) {
	if len(src)%32 != 0 {
		panic(fmt.Sprintf("vec: QuantizeQ8: %d elements are not whole blocks of 32", len(src)))
	}
	mustLen("QuantizeQ8", len(src)/32*Q8Block, len(dst))
	quantizeQ8(dst, src)
}

// DequantizeQ8 widens q8_0 blocks; scale × code is exact in f32.
func DequantizeQ8(dst []float32, src []byte) {
	if len(dst)%32 != 0 {
		panic(fmt.Sprintf("vec: DequantizeQ8: %d elements are not whole blocks of 32", len(dst)))
	}
	mustLen("DequantizeQ8", len(dst)/32*Q8Block, len(src))
	dequantizeQ8(dst, src)
}

// AdamParams are the parameters of one AdamW step.
type AdamParams struct {
	LR, Beta1, Beta2, Eps, WeightDecay float32
	// Step counts from 1: the bias corrections are 1−Betaⁿ.
	Step int
	// GradScale multiplies every gradient first (clipping, loss-token count); 1 for none.
	GradScale float32
}

// AdamW updates parameters p and moments m, v from gradients g (Loshchilov and
// Hutter 2019, in the order of PyTorch's AdamW):
//
//	p ← p − lr·wd·p;  m ← m + (1−β₁)(g−m);  v ← β₂v + (1−β₂)g²
//	p ← p − lr/(1−β₁ⁿ) · m / (√v/√(1−β₂ⁿ) + eps)
//
// If half is not nil, it receives the new parameters rounded to bf16.
func AdamW(p, g, m, v []float32, half []uint16, h AdamParams) {
	mustLen("AdamW", len(p), len(g), len(m), len(v))
	if half != nil {
		mustLen("AdamW", len(p), len(half))
	}
	n := float64(h.Step)
	k := adamConsts{
		gradScale: h.GradScale,
		decay:     float32(1 - float64(h.LR)*float64(h.WeightDecay)),
		mix1:      float32(1 - float64(h.Beta1)),
		beta2:     h.Beta2,
		mix2:      float32(1 - float64(h.Beta2)),
		step:      float32(float64(h.LR) / (1 - math.Pow(float64(h.Beta1), n))),
		root:      float32(1 / math.Sqrt(1-math.Pow(float64(h.Beta2), n))),
		eps:       h.Eps,
	}
	const chunk = 2048 // the new parameters are still in the first-level cache
	for lo := 0; lo < len(p); lo += chunk {
		hi := min(len(p), lo+chunk)
		adamW(p[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], &k)
		if half != nil {
			bf16FromF32(half[lo:hi], p[lo:hi])
		}
	}
}

// adamConsts are the per-step constants in the order the kernels read them.
type adamConsts struct {
	gradScale, decay, mix1, beta2, mix2, step, root, eps float32
}
