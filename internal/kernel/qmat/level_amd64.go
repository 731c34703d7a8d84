package qmat

import (
	"maps"
	"unsafe"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

//go:generate sh -c "cd _asm && go run . -level acts -pkg qmat -out ../acts_amd64.s"
//go:generate sh -c "cd _asm && go run . -level pack -pkg qmat -out ../pack_amd64.s"
//go:generate sh -c "cd _asm && go run . -level vnni -pkg qmat -out ../vnni_amd64.s -calls ../vnni_amd64.go"
//go:generate sh -c "cd _asm && go run . -level pair -pkg qmat -out ../pair_amd64.s -calls ../pair_amd64.go"
//go:generate sh -c "cd _asm && go run . -level cove -pkg qmat -out ../cove_amd64.s -calls ../cove_amd64.go"
//go:generate sh -c "cd _asm && go run . -level matrix -pkg qmat -out ../matrix_amd64.s -calls ../matrix_amd64.go"
//go:generate sh -c "cd _asm && go run . -level avx512 -pkg qmat -out ../avx512_amd64.s -calls ../avx512_amd64.go"
//go:generate sh -c "cd _asm && go run . -level avxvnni -pkg qmat -out ../avxvnni_amd64.s -calls ../avxvnni_amd64.go"
//go:generate sh -c "cd _asm && go run . -level avx2 -pkg qmat -out ../avx2_amd64.s -calls ../avx2_amd64.go"
//go:generate sh -c "cd _asm && go run . -level dequant -pkg qmat -out ../dequant_amd64.s -calls ../dequant_amd64.go"

var (
	matrix = withMatrix(newLevel(cpu.VNNI, vnniSizes, nil))
	cove   = newCove()
	wide   = newLevel(cpu.VNNI, vnniSizes, pairSizes)
	vnni   = newLevel(cpu.VNNI, vnniSizes, nil)
	avx512 = newLevel(cpu.AVX512, avx512Sizes, nil)
	lanes  = newLanes()
	avx2   = newLevel(cpu.AVX2, avx2Sizes, nil)
)

func newLevel(isa cpu.Features, sizes, pairs map[tensor.DType][]int) *level {
	return &level{isa: isa, sizes: sets(sizes), pairs: sets(pairs)}
}

// newCove is vnni with the kernels for Intel's cores: for two panels and several tiles from covePair rows on, for one of
// each below.
func newCove() *level {
	ones, pairs := map[tensor.DType][]int{}, map[tensor.DType][]int{}
	for d, sizes := range coveSizes {
		for _, n := range sizes {
			if n < covePair {
				ones[d] = append(ones[d], n)
			} else {
				pairs[d] = append(pairs[d], n)
			}
		}
	}
	l := newLevel(cpu.VNNI, vnniSizes, pairs)
	l.ones, l.tiles = sets(ones), coveTiles
	return l
}

// newLanes is avx2 with the kernels of AVX-VNNI where there are some.
func newLanes() *level {
	sizes := maps.Clone(avx2Sizes)
	maps.Copy(sizes, avxvnniSizes)
	l := newLevel(cpu.AVX2, sizes, nil)
	l.ones = sets(avxvnniSizes)
	return l
}

// withMatrix gives a level the kernels of the matrix units.
func withMatrix(l *level) *level {
	l.matrix = new(sets(matrixSizes))
	return l
}

// sets makes of each type's numbers a set.
func sets(from map[tensor.DType][]int) (to [len(formats)]*[TileRows + 1]bool) {
	for d, ns := range from {
		to[d] = new([TileRows + 1]bool)
		for _, n := range ns {
			to[d][n] = true
		}
	}
	return to
}

func choose(f cpu.Features) *level {
	switch {
	case f.Has(cpu.VNNI | cpu.AMX):
		return matrix
	case f.Has(cpu.VNNI) && cpu.Intel:
		return cove
	case f.Has(cpu.VNNI | cpu.Wide):
		return wide
	case f.Has(cpu.VNNI):
		return vnni
	case f.Has(cpu.AVX512):
		return avx512
	case f.Has(cpu.AVX2 | cpu.AVXVNNI):
		return lanes
	case f.Has(cpu.AVX2):
		return avx2
	}
	return &generic
}

// call runs the level's kernel of a type for n rows. It names them directly: through a function
// value the arguments would have to live on the heap.
func call(l *level, d tensor.DType, n int, a *args) {
	k := kernel(d, n)
	if ones := l.ones[d]; ones != nil && ones[n] {
		if l == lanes {
			avxvnniCall(k, a)
		} else {
			coveCall(k, a)
		}
		return
	}
	switch l.isa {
	case cpu.VNNI:
		vnniCall(k, a)
	case cpu.AVX512:
		avx512Call(k, a)
	case cpu.AVX2:
		avx2Call(k, a)
	}
}

// callPair runs a kernel for two panels at once.
func callPair(l *level, k kernelID, a *args) {
	if l == cove {
		coveCall(k, a)
	} else {
		pairCall(k, a)
	}
}

// runMatrix runs a kernel of the matrix units.
func runMatrix(k kernelID, a *args) {
	if matrixModel == nil {
		matrixCall(k, a)
		return
	}
	// Without the compiler's knowledge: else every caller's arguments would live on the heap.
	hidden := uintptr(unsafe.Pointer(a))
	matrixModel(k, *(**args)(unsafe.Pointer(&hidden)))
}

// expand runs DequantizePanel's kernel, if the level has one.
func expand(l *level, d tensor.DType, a *args) bool {
	if l.isa != cpu.AVX512 && l.isa != cpu.VNNI {
		return false
	}
	dequantCall(kernel(d, 0), a)
	return true
}

// packPanel packs whole panels of the types that have a kernel: blocks of 16 rows.
func packPanel(dst []byte, d tensor.DType, rows *[PanelRows][]byte, blocks int) bool {
	if active.isa == cpu.Generic || blocks == 0 {
		return false
	}
	var p [PanelRows]*byte
	for i, r := range rows {
		p[i] = &r[0]
	}
	switch d {
	case tensor.Q4_0, tensor.IQ4_NL:
		packQ4_0AVX2(&dst[0], &p, blocks)
	case tensor.Q4_1:
		packQ4_1AVX2(&dst[0], &p, blocks)
	case tensor.Q8_0:
		packQ8_0AVX2(&dst[0], &p, blocks)
	case tensor.Q4_K:
		packQ4KAVX2(&dst[0], &p, blocks)
		f := &formats[d]
		for i := range blocks {
			for lane, r := range rows {
				packScales4K(dst[i*f.size:], r[i*144:], lane)
			}
		}
	default:
		return false
	}
	return true
}

//go:noescape
func packQ4_0AVX2(dst *byte, rows *[PanelRows]*byte, blocks int)

//go:noescape
func packQ4_1AVX2(dst *byte, rows *[PanelRows]*byte, blocks int)

//go:noescape
func packQ8_0AVX2(dst *byte, rows *[PanelRows]*byte, blocks int)

//go:noescape
func packQ4KAVX2(dst *byte, rows *[PanelRows]*byte, blocks int)

// quantize rounds rows as quantizeGeneric does; every level above generic has AVX2.
func quantize(dst []byte, skip int, x []float32, stride, rows, blocks int) {
	switch active.isa {
	case cpu.Generic:
		quantizeGeneric(dst, skip, x, stride, rows, blocks)
	case cpu.AVX2:
		quantizeAVX2(&dst[0], skip, &x[0], stride*4, rows, blocks)
	default:
		quantizeAVX512(&dst[0], skip, &x[0], stride*4, rows, blocks)
	}
}

//go:noescape
func quantizeAVX2(dst *byte, skip int, x *float32, stride, rows, blocks int)

//go:noescape
func quantizeAVX512(dst *byte, skip int, x *float32, stride, rows, blocks int)

func dots(u *[512]uint8, rec *[recordSize]byte) [2][PanelRows]int32 { return dotsGeneric(u, rec) }
