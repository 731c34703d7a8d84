package qmat

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"leolm/internal/kernel/cpu"
)

// guarded returns n bytes that end where unreadable memory begins.
func guarded(t *testing.T, n int) []byte {
	t.Helper()
	const page = 4096
	size := (n + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skip("no anonymous memory map: ", err)
	}
	t.Cleanup(func() { syscall.Munmap(m) })
	if err := syscall.Mprotect(m[size:], syscall.PROT_NONE); err != nil {
		t.Skip("no page protection: ", err)
	}
	return m[size-n : size : size]
}

// No kernel reads past the weights or the activations, or writes past the result:
// a packed file may end at the end of its last page.
func TestStayInside(t *testing.T) {
	forLevels(t, func(t *testing.T, _ cpu.Features) {
		for _, d := range allTypes {
			rng := rand.New(rand.NewPCG(9, uint64(d)))
			n, k := 32, 256
			w := pack(t, d, randomWeights(rng, d, n, k, false), k)
			data := guarded(t, len(w.Data))
			copy(data, w.Data)
			w.Data = data
			for _, m := range []int{1, 2, 3, 16, 17} {
				b := guarded(t, 4*m*k)
				x := unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), m*k)
				copy(x, activations(rng, m, k))
				var a Acts
				a.Quantize(x, m, k)
				inside := guarded(t, len(a.data))
				copy(inside, a.data)
				a.data = inside
				b = guarded(t, 4*m*n)
				out := unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), m*n)
				Mul(out, n, w, &a, 0, w.Panels(), 0, a.Tiles(), true)
			}
			b := guarded(t, 4*PanelRows*k)
			w.DequantizePanel(unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), PanelRows*k), 1)
		}
	})
}
