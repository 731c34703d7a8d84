package cluster

import (
	"math"

	"leolm/internal/kernel/vec"
	"leolm/tensor"
)

// combine writes the combination of the ranks' values, in their order, to dst, which may be one of them.
func combine[T Number](op Op, dst []T, values [][]T) {
	switch dst := any(dst).(type) {
	case []float32:
		combineFloat32(op, dst, any(values).([][]float32))
	case []uint16:
		combineWide(op, dst, any(values).([][]uint16), func(h uint16) float64 { return float64(tensor.BF16ToF32(h)) }, roundBF16)
	case []float64:
		same := func(x float64) float64 { return x }
		combineWide(op, dst, any(values).([][]float64), same, same)
	}
}

// combineFloat32 is combineWide, faster. Two float32 added as such give the same bits as their sum in float64, rounded:
// float64 has more than twice as many digits and two more.
func combineFloat32(op Op, dst []float32, values [][]float32) {
	if op != Sum {
		combineWide(op, dst, values, func(x float32) float64 { return float64(x) }, func(x float64) float32 { return float32(x) })
		return
	}
	if len(values) == 2 {
		vec.Add(dst, values[0], values[1])
		return
	}
	var block [512]float64
	for from := 0; from < len(dst); from += len(block) {
		to := min(from+len(block), len(dst))
		acc := block[:to-from]
		for i, x := range values[0][from:to] {
			acc[i] = float64(x)
		}
		for _, v := range values[1:] {
			for i, x := range v[from:to][:len(acc)] {
				acc[i] += float64(x)
			}
		}
		for i, x := range acc {
			dst[from+i] = float32(x)
		}
	}
}

// combineWide computes in float64, in blocks whose sums stay close to the processor.
func combineWide[T Number](op Op, dst []T, values [][]T, widen func(T) float64, round func(float64) T) {
	var block [512]float64
	for from := 0; from < len(dst); from += len(block) {
		to := min(from+len(block), len(dst))
		acc := block[:to-from]
		for i, x := range values[0][from:to] {
			acc[i] = widen(x)
		}
		for _, v := range values[1:] {
			v := v[from:to]
			if op == Sum {
				for i, x := range v {
					acc[i] += widen(x)
				}
				continue
			}
			for i, x := range v {
				acc[i] = max(acc[i], widen(x)) // a NaN stays
			}
		}
		for i, x := range acc {
			dst[from+i] = round(x)
		}
	}
}

// roundBF16 rounds to nearest even, once.
func roundBF16(x float64) uint16 {
	// Rounded to float32 first, x could end up in the middle of two bf16 and be rounded the wrong way. A last digit of
	// one for everything that was not exact keeps it on its side.
	f := float32(x)
	if y := float64(f); y != x && !math.IsNaN(x) && !math.IsInf(y, 0) {
		b := math.Float32bits(f)
		if math.Abs(y) > math.Abs(x) {
			b--
		}
		f = math.Float32frombits(b | 1)
	}
	return tensor.F32ToBF16(f)
}
