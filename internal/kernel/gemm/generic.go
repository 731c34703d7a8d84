package gemm

import (
	"unsafe"

	"leolm/tensor"
)

// genericTile is the reference of the micro-kernels: one chain of sums per
// element of C, k ascending.
func genericTile(kd kind, t *tile, width int) {
	var acc [PanelWidth]float32
	for p := range t.panels {
		for i := range t.m {
			c := unsafe.Slice((*float32)(unsafe.Add(t.c, i*t.ldc+p*t.cPanel)), width)
			acc := acc[:width]
			if t.add != 0 {
				copy(acc, c)
			} else {
				clear(acc)
			}
			for s := range t.steps {
				a := unsafe.Add(t.a, i*t.am+s*t.ak)
				b := unsafe.Add(t.b, p*t.bPanel+s*t.bk)
				switch kd {
				case kindF32:
					x := *(*float32)(a)
					for j, y := range unsafe.Slice((*float32)(b), width) {
						acc[j] += x * y
					}
				case kindF16:
					x := *(*float32)(a)
					for j, y := range unsafe.Slice((*uint16)(b), width) {
						acc[j] += x * tensor.F16ToF32(y)
					}
				case kindBF16:
					w := *(*uint32)(a)
					x0, x1 := bf16Low(w), bf16High(w)
					for j, y := range unsafe.Slice((*uint32)(b), width) {
						acc[j] += x0 * bf16Low(y)
						acc[j] += x1 * bf16High(y)
					}
				}
			}
			copy(c, acc)
		}
	}
}

// A pair of bf16 in a word: the even k is the low half.
func bf16Low(w uint32) float32  { return tensor.BF16ToF32(uint16(w)) }
func bf16High(w uint32) float32 { return tensor.BF16ToF32(uint16(w >> 16)) }
