package qmat

import (
	"encoding/binary"
	"math"
	"sync"

	"leolm/tensor"
)

// args are the operands of a kernel, which multiplies panels of w with the first
// rows of a tile. The assembly reads them by offset. A dequantizing kernel takes
// panels as its number of rows and step as four times the first one.
type args struct {
	dst    *float32 // 0: row 0 of the tile, first row of the panel
	w      *byte    // 8: first panel
	x      *byte    // 16: first record of the tile
	ldd    uintptr  // 24: bytes between rows of dst
	step   uintptr  // 32: bytes between blocks of a row of x
	panels int      // 40
	recs   int      // 48: records per panel
	add    uint64   // 56: all ones to add to dst, 0 to overwrite it
	table  *byte    // 64: look-up table of the type, if it has one
	panel  uintptr  // 72: bytes of a panel, for kernels that take two at once

	// For the kernels of the matrix units:
	high     *byte   // 80: high parts of the first row of the tile
	highStep uintptr // 88: bytes between blocks of it
	config   *byte   // 96: configuration of the units

	// For kernels that take several tiles at once:
	tiles    int     // 104
	tileStep uintptr // 112: bytes between tiles of x
}

// Mul computes dst = x·Wᵀ for output columns of panels [panelLo, panelHi) and
// rows of tiles [tileLo, tileHi): dst[r·ldd + n] for row r of x and row n of W.
// With add the product is added to what dst holds. Different ranges may run at
// the same time, and the result does not depend on how they are cut.
func Mul(dst []float32, ldd int, w *Packed, a *Acts, panelLo, panelHi, tileLo, tileHi int, add bool) {
	if w.Cols != a.K {
		panic("qmat: columns of weights and activations differ")
	}
	if panelLo >= panelHi || tileLo >= tileHi {
		return
	}
	lastRow, lastCol := min(tileHi*TileRows, a.M)-1, min(panelHi*PanelRows, w.Rows)-1
	_ = dst[lastRow*ldd+lastCol] // the kernels check no bounds
	if panelHi > w.Panels() || tileHi > a.Tiles() || ldd < w.Rows && a.M > 1 {
		panic("qmat: range outside the product")
	}
	if w.Cols == 0 {
		for r := tileLo * TileRows; r <= lastRow && !add; r++ {
			clear(dst[r*ldd+panelLo*PanelRows : r*ldd+lastCol+1])
		}
		return
	}
	if tileHi-tileLo == 1 {
		mulTiles(dst, ldd, w, a, panelLo, panelHi, tileLo, 1, add)
		return
	}
	// A few tiles stay in the second-level cache while the panels pass by, and a
	// panel in the first-level one while it meets those tiles.
	step, panels := tilesInCache(w.DType, a.K), panelsAtOnce(w.DType, a.M)
	for lo := tileLo; lo < tileHi; lo += step {
		hi := min(lo+step, tileHi)
		for p := panelLo; p < panelHi; p += panels {
			end := min(p+panels, panelHi)
			together := 1
			if end-p == 2 && end*PanelRows <= w.Rows {
				together = tilesAtOnce(w.DType)
			}
			for t, n := lo, 0; t < hi; t += n {
				n = max(1, min(together, hi-t, a.M/TileRows-t)) // only whole ones go together
				mulTiles(dst, ldd, w, a, p, end, t, n, add)
			}
		}
	}
}

// tilesInCache is how many tiles of k columns may take their share of the second-level cache.
func tilesInCache(d tensor.DType, k int) int {
	n, at := chunkActs/(TileRows*k*recordSize/32), tilesAtOnce(d)
	if at == 1 {
		return max(1, n)
	}
	// Cores with such kernels have a larger one.
	if n *= 2; n > at {
		n -= n % at
	}
	return max(1, n)
}

// panelsAtOnce is how many panels the kernel takes that meets the first tile of rows.
func panelsAtOnce(d tensor.DType, rows int) int {
	if pairs := active.pairs[d]; pairs != nil && pairs[padTile(min(rows, TileRows))] {
		return 2
	}
	return 1
}

// tilesAtOnce is how many whole tiles the kernel takes that meets two panels.
func tilesAtOnce(d tensor.DType) int {
	if active.tiles > 1 && active.pairs[d] != nil && active.pairs[d][TileRows] {
		return active.tiles
	}
	return 1
}

// mulTiles multiplies panels with n tiles: one, or as many whole ones as the kernel for two panels takes.
func mulTiles(dst []float32, ldd int, w *Packed, a *Acts, panelLo, panelHi, tile, n int, add bool) {
	data, padded, rows := a.tile(tile)
	high := a.tileHigh(tile)
	row0 := tile * TileRows
	// A panel that reaches beyond W and rows that are padding go through a buffer;
	// all others are written in place.
	full := panelHi
	if panelHi*PanelRows > w.Rows {
		full--
	}
	if padded != rows {
		full = panelLo
	}
	if full > panelLo {
		run(dst[row0*ldd+panelLo*PanelRows:], ldd, w, data, high, padded, n, panelLo, full, add)
	}
	for p := full; p < panelHi; p += 2 {
		const stride = 2 * PanelRows
		var buf [TileRows * stride]float32
		run(buf[:], stride, w, data, high, padded, 1, p, min(p+2, panelHi), false)
		cols := min(stride, min(panelHi*PanelRows, w.Rows)-p*PanelRows)
		for r := range rows {
			out := dst[(row0+r)*ldd+p*PanelRows:][:cols]
			for i, v := range buf[r*stride:][:cols] {
				if add {
					v += out[i]
				}
				out[i] = v
			}
		}
	}
}

// run multiplies whole panels with all rows of a tile, in place, or two panels with several tiles. high is empty where the
// matrix units have no part in it.
func run(dst []float32, ldd int, w *Packed, data, high []byte, padded, tiles, panelLo, panelHi int, add bool) {
	f := &formats[w.DType]
	l := active
	sizes := l.sizes[w.DType]
	if sizes == nil {
		runGeneric(dst, ldd, w, data, padded, panelLo, panelHi, add)
		return
	}
	// Field by field: a copy of the whole would wait until the last panel's results have left the store buffer.
	var arg args
	size := w.panelSize()
	arg.panel = uintptr(size)
	arg.ldd = uintptr(ldd) * 4
	arg.step = uintptr(padded) * recordSize
	arg.recs = w.Cols / (32 * f.blocks)
	arg.table = table(w.DType)
	arg.tiles, arg.tileStep = tiles, uintptr(len(data))
	if add {
		arg.add = ^uint64(0)
	}
	if pairs := l.pairs[w.DType]; pairs != nil && pairs[padded] && panelHi-panelLo > 1 {
		arg.panels = (panelHi - panelLo) / 2
		arg.x, arg.dst, arg.w = &data[0], &dst[0], &w.Data[panelLo*size]
		callPair(l, kernel(w.DType, padded), &arg)
		if panelLo += 2 * arg.panels; panelLo == panelHi {
			return
		}
		dst = dst[2*arg.panels*PanelRows:]
	}
	if tiles > 1 {
		panic("qmat: several tiles of one panel")
	}
	arg.panels = panelHi - panelLo
	for c := 0; c < padded; {
		n := padded - c
		for !sizes[n] {
			n--
		}
		arg.x = &data[c*recordSize]
		arg.dst, arg.w = &dst[c*ldd], &w.Data[panelLo*size]
		if len(high) > 0 && l.matrix[w.DType] != nil && l.matrix[w.DType][n] {
			arg.high, arg.highStep = &high[c*highSize], uintptr(padded)*highSize
			arg.config = matrixConfig(w.DType, n)
			runMatrix(kernel(w.DType, n), &arg)
		} else {
			call(l, w.DType, n, &arg)
		}
		c += n
	}
}

// fma32 is x·y + z; the product of two f32 is exact in f64.
func fma32(x, y, z float32) float32 { return float32(float64(x)*float64(y) + float64(z)) }

// blocks recycles decoded blocks, which escape to the heap through unpack.
var blocks = sync.Pool{New: func() any { return new(block) }}

// runGeneric is the reference for all kernels.
func runGeneric(dst []float32, ldd int, w *Packed, data []byte, padded, panelLo, panelHi int, add bool) {
	f := &formats[w.DType]
	b := blocks.Get().(*block)
	defer blocks.Put(b)
	for p := panelLo; p < panelHi; p++ {
		var acc [TileRows][PanelRows]float32
		panel := w.panel(p)
		for i := range w.Cols / 32 {
			f.decode(b, panel[i/f.blocks*f.size:][:f.size], i%f.blocks)
			for c := range padded {
				b.accumulate(&acc[c], (*[recordSize]byte)(data[(i*padded+c)*recordSize:]))
			}
		}
		for c := range padded {
			out := dst[c*ldd+(p-panelLo)*PanelRows:][:PanelRows]
			for r, v := range acc[c] {
				if add {
					v += out[r]
				}
				out[r] = v
			}
		}
	}
}

// accumulate adds the products of one block of 16 rows with one record.
func (b *block) accumulate(acc *[PanelRows]float32, rec *[recordSize]byte) {
	at := func(i int) uint32 { return binary.LittleEndian.Uint32(rec[i:]) }
	d := math.Float32frombits(at(actScale))
	dot := dots(&b.u, rec)
	addLarge(&dot, &b.u, rec)
	if b.wide {
		high := dots(&b.high, rec)
		addLarge(&high, &b.high, rec)
		for h := range dot {
			for r := range PanelRows {
				dot[h][r] += high[h][r] << 8
			}
		}
	}
	if !b.halves {
		o := b.offset * int32(at(actSum))
		sd := math.Float32frombits(at(actSumD))
		for r := range PanelRows {
			acc[r] = fma32(float32(dot[0][r]+dot[1][r]-o), b.scale[0][r]*d, acc[r])
			if b.mins {
				acc[r] = fma32(b.min[0][r], sd, acc[r])
			}
		}
		return
	}
	// −2·Σq times offset/2 and −min/2: exact, because 2 is a power of two.
	h0, h1 := int32(at(actHalf0)), int32(at(actHalf1))
	o := b.offset / 2
	m0, m1 := float32(h0)*d, float32(h1)*d
	for r := range PanelRows {
		t := float32(dot[0][r]+o*h0) * b.scale[0][r]
		t = fma32(float32(dot[1][r]+o*h1), b.scale[1][r], t)
		acc[r] = fma32(t, d, acc[r])
		if b.mins {
			acc[r] = fma32(b.min[0][r]*(-1.0/2), m0, acc[r])
			acc[r] = fma32(b.min[1][r]*(-1.0/2), m1, acc[r])
		}
	}
}

// dotsGeneric returns Σ u·q per half block and row. A 64-bit word holds the codes of
// two rows, whose sums grow in its two halves: the lower one, when negative, borrows
// from the upper one, which is put right at the end.
func dotsGeneric(u *[512]uint8, rec *[recordSize]byte) (dot [2][PanelRows]int32) {
	const mask = 0xff<<32 | 0xff
	for h := range dot {
		var sum [PanelRows / 2]uint64
		for g := 4 * h; g < 4*h+4; g++ {
			x0, x1, x2, x3 := uint64(int8(rec[4*g])), uint64(int8(rec[4*g+1])), uint64(int8(rec[4*g+2])), uint64(int8(rec[4*g+3]))
			v := (*[64]uint8)(u[g*64:])
			for p := range sum {
				w := binary.LittleEndian.Uint64(v[8*p:])
				sum[p] += w&mask*x0 + w>>8&mask*x1 + w>>16&mask*x2 + w>>24&mask*x3
			}
		}
		for p, s := range sum {
			low := int32(s)
			dot[h][2*p], dot[h][2*p+1] = low, int32((s-uint64(low))>>32)
		}
	}
	return dot
}

// addLarge adds the high parts of the two groups with large activations.
func addLarge(dot *[2][PanelRows]int32, u *[512]uint8, rec *[recordSize]byte) {
	for i := range 2 {
		at := 8 * (int(rec[actGroup+i]) & 0x38)
		x := rec[actHigh+4*i:][:4]
		x0, x1, x2, x3 := int32(int8(x[0]))<<4, int32(int8(x[1]))<<4, int32(int8(x[2]))<<4, int32(int8(x[3]))<<4
		v := (*[64]uint8)(u[at:])
		sum := &dot[at/256]
		for r := range PanelRows {
			sum[r] += int32(v[4*r])*x0 + int32(v[4*r+1])*x1 + int32(v[4*r+2])*x2 + int32(v[4*r+3])*x3
		}
	}
}
