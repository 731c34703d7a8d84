package qmat

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// recordSize is what 32 activations of one row take.
//
// x ≈ d·q. In each half the group of four elements with the largest magnitude has q
// of 12 bits, so that an outlier takes no precision from the other 24 elements: q =
// low + 16·high, with low among the bytes of the block and high on its own. The factor
// is 16, because 4-bit codes can absorb it (_asm/zmm.go).
//
//	0  32 × int8 q, of the two groups the low parts
//	32 f32 d
//	36 int32 −8·Σq   (each an offset of some weight type times the sum)
//	40 int32 −128·Σq
//	44 f32 d·Σq
//	48 int32 −2·Σq of the first 16
//	52 int32 −2·Σq of the last 16
//	56 int32 −16·Σq
//	60 int32 Σq
//	64 byte 8·g of the large group g of each half
//	66 byte 8·j
//	68 f32 e, where d = 2^e·(1 + j/4)
//	72 4 × int8 high parts of each large group
//
// d is rounded up to three bits of mantissa, which makes the rounding of x 9 % coarser on average: kernels for many
// rows then keep the weights' scales times each 1 + j/4, and a cheaper operation replaces one multiplication per block and row.
const recordSize = 80

const (
	actScale = 32
	actSum8  = 36
	actSum12 = 40
	actSumD  = 44
	actHalf0 = 48
	actHalf1 = 52
	actSum16 = 56
	actSum   = 60
	actGroup = 64
	actStep  = 66
	actExp   = 68
	actHigh  = 72
)

// q of the large groups reaches 127·16, of the others 127.
const (
	small127 = 127
	large127 = 127 * 16
)

// Below tinyMax a block of activations counts as zeros: the smallest f16 times d would lose bits.
// The absolute error is below 1e-26.
const tinyMax = 1e-26

// d is a multiple of a quarter of a power of two: all mantissa bits but two are zero.
const finerBits = 1<<21 - 1

// Acts holds the activations x [M, K] as int8 blocks, in tiles of 16 rows: within a
// tile block b of all rows comes before block b+1 of any. Memory is reused by Reset.
type Acts struct {
	M, K int
	// Make returns memory of n bytes, such as of large pages; nil stands for make.
	Make func(n int) []byte
	data []byte
	high []byte // for the matrix units: see matrix.go
}

// tileSizes are the row counts a kernel may have; the last tile of x is padded
// with zero rows to the next of them.
var tileSizes = [...]int{1, 2, 3, 4, 6, 8, 12, 16}

func padTile(n int) int {
	for _, s := range tileSizes {
		if s >= n {
			return s
		}
	}
	return TileRows
}

// Reset prepares for m rows of k elements; k must be a multiple of 32.
// Rows must then be called for every row.
func (a *Acts) Reset(m, k int) {
	if m < 0 || k < 0 || k%32 != 0 {
		panic("qmat: activations must have whole blocks of 32 columns")
	}
	a.M, a.K = m, k
	rows := m / TileRows * TileRows
	if m%TileRows != 0 {
		rows += padTile(m % TileRows)
	}
	a.data = a.aligned(a.data, rows*(k/32)*recordSize)
	a.high = a.high[:0]
	if active.matrix != nil && m >= matrixRows {
		a.high = a.aligned(a.high, rows*(k/32)*highSize)
	}
}

// aligned returns size bytes from the start of a cache line on: those of old, if they suffice.
func (a *Acts) aligned(old []byte, size int) []byte {
	if cap(old) < size+63 {
		if a.Make != nil {
			old = a.Make(size + 63)
		} else {
			old = make([]byte, size+63)
		}
	}
	old = old[:cap(old)]
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(old))) & 63)
	if skip > len(old) {
		skip = 0
	}
	return old[skip:][:size]
}

// Tiles is the number of tiles of 16 rows, the last one maybe smaller.
func (a *Acts) Tiles() int { return (a.M + TileRows - 1) / TileRows }

// tile returns the records of tile t, the rows it holds with padding, and
// those that are real.
func (a *Acts) tile(t int) (data []byte, padded, rows int) {
	blocks := a.K / 32
	padded, rows = TileRows, min(TileRows, a.M-t*TileRows)
	if rows < TileRows {
		padded = padTile(rows)
	}
	return a.data[t*TileRows*blocks*recordSize:][:padded*blocks*recordSize], padded, rows
}

// Quantize is Reset and Rows for all of x, row-major [m, k].
func (a *Acts) Quantize(x []float32, m, k int) {
	a.Reset(m, k)
	a.Rows(x, k, 0, m)
}

// Rows rounds rows [lo, hi) of x, whose rows are stride apart. Rows of different
// tiles (16 rows each) may be rounded at the same time. A block that holds an infinity or a NaN
// makes every product with it NaN.
func (a *Acts) Rows(x []float32, stride, lo, hi int) {
	blocks := a.K / 32
	if blocks == 0 || lo >= hi {
		return
	}
	for t := lo / TileRows; t*TileRows < hi; t++ {
		data, padded, rows := a.tile(t)
		from, to := max(lo-t*TileRows, 0), min(hi-t*TileRows, rows)
		first := t*TileRows + from
		_ = x[(first+to-from-1)*stride+a.K-1] // the kernels check no bounds
		if padded == 1 {
			// The blocks lie side by side, as those of several rows do, and kernels take those together.
			quantize(data, 0, x[first*stride:], 32, blocks, 1)
			return
		}
		quantize(data[from*recordSize:], (padded-(to-from))*recordSize, x[first*stride:], stride, to-from, blocks)
		if to == rows {
			for j := rows; j < padded; j++ {
				for b := range blocks {
					clear(data[(b*padded+j)*recordSize:][:recordSize])
				}
			}
			to = padded
		}
		if high := a.tileHigh(t); high != nil {
			spreadHigh(high, data, padded, from, to, blocks)
		}
	}
}

// quantizeGeneric writes the records of some rows, whose starts in x are stride apart: block by block
// those of all rows, and skip bytes before the next block.
func quantizeGeneric(dst []byte, skip int, x []float32, stride, rows, blocks int) {
	for b := range blocks {
		for r := range rows {
			at := b*(rows*recordSize+skip) + r*recordSize
			quantizeBlock((*[recordSize]byte)(dst[at:]), (*[32]float32)(x[r*stride+b*32:]))
		}
	}
}

func quantizeBlock(dst *[recordSize]byte, x *[32]float32) {
	clear(dst[:])
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(dst[at:], v) }
	// The groups by their largest magnitude. Compared as bits, NaN and infinity are
	// largest; the lowest three bits are replaced by the group's number.
	var key [8]uint32
	var top [2]uint32
	for g := range key {
		for _, v := range x[4*g : 4*g+4] {
			key[g] = max(key[g], math.Float32bits(v)&0x7fffffff)
		}
		key[g] = key[g]&^7 | uint32(g)
		top[g/4] = max(top[g/4], key[g])
	}
	most, third := max(top[0], top[1]), uint32(0)
	for g, k := range key {
		if k != top[g/4] {
			third = max(third, k)
		}
	}
	amax, rest := math.Float32frombits(most), math.Float32frombits(third)
	if amax < tinyMax {
		return
	}
	if most >= 0x7f800000 {
		nan := math.Float32bits(float32(math.NaN()))
		put(actScale, nan)
		put(actExp, nan)
		put(actSumD, nan)
		return
	}
	bits := (math.Float32bits(max(rest/small127, amax/large127)) + finerBits) &^ finerBits
	d := math.Float32frombits(bits)
	inv := 1 / d
	var q [32]int32
	var half [2]int32
	for i, v := range x {
		q[i] = int32(math.RoundToEven(float64(v * inv)))
		half[i/16] += q[i]
	}
	for i := range top {
		g := top[i] & 7
		for t := 4 * g; t < 4*g+4; t++ {
			high := (q[t] + 8) >> 4
			q[t] -= high << 4
			dst[actHigh+4*i+int(t%4)] = byte(high)
		}
		dst[actGroup+i] = byte(8 * g)
	}
	for i, v := range q {
		dst[i] = byte(v)
	}
	sum := half[0] + half[1]
	dst[actStep] = byte(8 * (bits >> 21 & 3))
	put(actExp, math.Float32bits(float32(int(bits>>23)-127)))
	put(actScale, bits)
	put(actSum8, uint32(-8*sum))
	put(actSum12, uint32(-128*sum))
	put(actSumD, math.Float32bits(float32(sum)*d))
	put(actHalf0, uint32(-2*half[0]))
	put(actHalf1, uint32(-2*half[1]))
	put(actSum16, uint32(-16*sum))
	put(actSum, uint32(sum))
}
