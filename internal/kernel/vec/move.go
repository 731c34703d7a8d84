package vec

import (
	"fmt"
	"unsafe"
)

// Transpose writes dst[j*ldd+i] = src[i*lds+j] for rows × cols elements.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	if ldd < rows || lds < 0 || (cols-1)*ldd+rows > len(dst) || (rows-1)*lds+cols > len(src) {
		panic(fmt.Sprintf("vec: Transpose: %d × %d with distances %d, %d does not fit %d and %d elements", rows, cols, lds, ldd, len(src), len(dst)))
	}
	TransposeWords(unsafe.Pointer(unsafe.SliceData(dst)), ldd*4, unsafe.Pointer(unsafe.SliceData(src)), lds*4, rows, cols)
}

// TransposeWords is Transpose of any 32-bit words; distances are in bytes. The
// caller checks the bounds.
func TransposeWords(dst unsafe.Pointer, ldd int, src unsafe.Pointer, lds, rows, cols int) {
	side := transposeSide()
	r, c := 0, 0
	if side > 0 {
		r, c = rows/side*side, cols/side*side
	}
	if r > 0 && c > 0 {
		for i := 0; i < r; i += side {
			transposeBlocks((*uint32)(unsafe.Add(dst, i*4)), ldd, (*uint32)(unsafe.Add(src, i*lds)), lds, c/side)
		}
		if c < cols {
			genericTranspose(unsafe.Add(dst, c*ldd), ldd, unsafe.Add(src, c*4), lds, r, cols-c)
		}
	} else {
		r = 0
	}
	if r < rows {
		genericTranspose(unsafe.Add(dst, r*4), ldd, unsafe.Add(src, r*lds), lds, rows-r, cols)
	}
}

// Zip16 interleaves: dst = a₀ b₀ a₁ b₁ ….
func Zip16(dst, a, b []uint16) {
	mustLen("Zip16", len(a), len(b), len(dst)/2)
	zip16(dst, a, b)
}

// ZipBF16 rounds a and b to bf16 (nearest even) and interleaves them.
func ZipBF16(dst []uint16, a, b []float32) {
	mustLen("ZipBF16", len(a), len(b), len(dst)/2)
	zipBF16(dst, a, b)
}
