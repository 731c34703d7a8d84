// Package qmat owns the matrix product y = x·Wᵀ with block-quantized weights:
// W [N, K] stays in its blocks, x [M, K] is rounded to int8 on the way, and the
// inner products run on integers.
//
// # Layout
//
// Pack reorders W into panels of 16 rows. A vector register then holds four
// consecutive elements of each of the 16 rows, so that every lane belongs to
// one output and no horizontal sum is ever needed. All levels (package cpu)
// share one packed layout, so that a packed file serves every machine; it has the
// size of the source (q4_K and q5_K +2.8 %, q3_K +3.6 %).
//
// # Arithmetic
//
// Each 32 activations share one scale d (three bits of mantissa) and become integers q of 8 bits, in each half the
// group of four with the largest magnitude of 12 bits: otherwise outliers, which every
// language model has, would cost all others precision. For one block of one row
// the codes u are unsigned and w = s·(u − o) + m with an integer o, so that
//
//	Σ w·x ≈ d·s·(Σ u·q − o·Σ q) + m·(d·Σ q)
//
// where the parenthesis is exact in int32. The block results are added in f32, in
// the order of K, with one fused multiply-add each: every output is the
// same sum in the same order whatever the batch, the tile, the chunk or the
// number of threads (as long as activations stay below 1e30: beyond, products of scales overflow in some of the
// ways). Levels agree bit for bit but for the generic one, which rounds the fused operation twice in rare cases.
//
// The package does not own the source formats (package quant decodes them, and is
// the oracle of the tests), threads, or products with plain weights (package gemm).
package qmat

import (
	"fmt"
	"math"

	"leolm/tensor"
)

// PanelRows is how many rows of W a panel interleaves, and TileRows how many
// rows of x one pass over a panel serves at most.
const (
	PanelRows = 16
	TileRows  = 16
)

// Packed is a matrix W [Rows, Cols] in the layout of this package. Data may be
// a read-only memory map; it is PackedSize bytes.
type Packed struct {
	DType      tensor.DType
	Rows, Cols int
	Data       []byte
}

// Supported reports whether Pack takes matrices of type d.
func Supported(d tensor.DType) bool {
	return int(d) < len(formats) && formats[d].size != 0
}

// PackedSize returns the bytes of a packed [rows, cols] matrix: whole panels,
// the last one padded with rows of zeros. cols must be whole blocks of d.
func PackedSize(d tensor.DType, rows, cols int) (int, error) {
	if !Supported(d) {
		return 0, fmt.Errorf("pack %v: not a block-quantized type with a kernel", d)
	}
	if rows < 0 || cols < 0 || cols%d.BlockLen() != 0 {
		return 0, fmt.Errorf("pack %v [%d, %d]: columns must be whole blocks of %d", d, rows, cols, d.BlockLen())
	}
	panels := rows/PanelRows + (rows%PanelRows+PanelRows-1)/PanelRows
	panel := cols / d.BlockLen() * formats[d].size
	if panel != 0 && panels > math.MaxInt/panel {
		return 0, fmt.Errorf("pack %v [%d, %d]: too large", d, rows, cols)
	}
	return panels * panel, nil
}

// NewPacked wraps packed bytes and checks their size.
func NewPacked(d tensor.DType, rows, cols int, data []byte) (*Packed, error) {
	size, err := PackedSize(d, rows, cols)
	if err != nil {
		return nil, err
	}
	if len(data) != size {
		return nil, fmt.Errorf("packed %v [%d, %d] takes %d bytes, have %d", d, rows, cols, size, len(data))
	}
	return &Packed{d, rows, cols, data}, nil
}

// Panels is the number of panels.
func (w *Packed) Panels() int { return (w.Rows + PanelRows - 1) / PanelRows }

// panelSize is the bytes of one panel.
func (w *Packed) panelSize() int { return w.Cols / w.DType.BlockLen() * formats[w.DType].size }

func (w *Packed) panel(i int) []byte {
	n := w.panelSize()
	return w.Data[i*n : (i+1)*n]
}

// Pack fills panels [lo, hi) of w.Data from source rows: row(i) returns the
// blocks of row i. Different panels may be packed at the same time.
func (w *Packed) Pack(row func(i int) []byte, lo, hi int) error {
	f := &formats[w.DType]
	blocks := w.Cols / w.DType.BlockLen()
	src := w.DType.BlockSize()
	for p := lo; p < hi; p++ {
		dst := w.panel(p)
		var rows [PanelRows][]byte
		n := min(PanelRows, w.Rows-p*PanelRows)
		for lane := range n {
			rows[lane] = row(p*PanelRows + lane)
			if len(rows[lane]) != blocks*src {
				return fmt.Errorf("pack %v [%d, %d]: row %d has %d bytes, want %d", w.DType, w.Rows, w.Cols, p*PanelRows+lane, len(rows[lane]), blocks*src)
			}
		}
		if n == PanelRows && packPanel(dst, w.DType, &rows, blocks) {
			continue
		}
		clear(dst)
		for i := range blocks {
			rec := dst[i*f.size : (i+1)*f.size]
			for lane, b := range rows[:n] {
				f.pack(rec, b[i*src:(i+1)*src], lane)
			}
		}
	}
	return nil
}

// DequantizeRow writes row i, Cols values, to dst: an embedding look-up.
func (w *Packed) DequantizeRow(dst []float32, i int) {
	w.dequantize(dst, i/PanelRows, i%PanelRows, 1)
}

// DequantizePanel writes the 16 rows of a panel to dst [16, Cols], row-major;
// rows past the end of W are zeros. Backward passes multiply with it as plain f32.
func (w *Packed) DequantizePanel(dst []float32, panel int) {
	w.dequantize(dst, panel, 0, PanelRows)
}

// dequantize writes rows lane … lane+n−1 of a panel.
func (w *Packed) dequantize(dst []float32, panel, lane, n int) {
	f := &formats[w.DType]
	data := w.panel(panel)
	_ = dst[:n*w.Cols] // the kernels check no bounds
	if len(data) == 0 {
		return
	}
	a := args{
		dst: &dst[0], ldd: uintptr(w.Cols) * 4, panels: n,
		w: &data[0], recs: w.Cols / (32 * f.blocks), step: uintptr(4 * lane),
		table: table(w.DType),
	}
	if expand(active, w.DType, &a) {
		return
	}
	b := blocks.Get().(*block)
	defer blocks.Put(b)
	for r := range a.recs {
		rec := data[r*f.size : (r+1)*f.size]
		for k := range f.blocks {
			f.decode(b, rec, k)
			for i := range n {
				b.row(dst[i*w.Cols+(r*f.blocks+k)*32:][:32], lane+i)
			}
		}
	}
}
