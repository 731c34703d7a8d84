package cpu

import (
	"fmt"
	"unsafe"

	"leolm/device"
	"leolm/internal/kernel/gemm"
	"leolm/internal/kernel/qmat"
	"leolm/internal/kernel/vec"
	"leolm/internal/largepage"
	"leolm/tensor"
)

// productJob is one range of one product with plain weights, run by one worker.
type productJob struct {
	w                *weight
	dst              []float32
	rowLo, rowHi     int
	panelLo, panelHi int
}

// linearGroup is one call of LinearGroup as a task of the pool: the jobs of plain weights, then
// the chunks of quantized ones. It stays with the device, so that a call allocates nothing
// for it.
type linearGroup struct {
	x        *matrix
	wide     bool      // plain weights that multiply f32
	half     bool      // plain weights that multiply bf16
	v        []float32 // the values of x, if they are needed
	jobs     []productJob
	streams  int // parts of the jobs that chunks take in turns, as in qmat.Product
	dense    int // chunks of the jobs
	products [maxLinears]qmat.Product
	quant    qmat.Products
	list     [maxLinears]*qmat.Product
}

// maxLinears is how many quantized products share a task: a layer has at most three on one input.
const maxLinears = 4

// Do implements pool.Task.
func (l *linearGroup) Do(worker, chunk int) {
	if chunk >= l.dense {
		l.quant.Do(worker, chunk-l.dense)
		return
	}
	at := chunk%l.streams*(l.dense/l.streams) + chunk/l.streams
	if at >= len(l.jobs) {
		return // the streams are not equally long
	}
	j := &l.jobs[at]
	w := j.w
	switch {
	case w.f32 != nil:
		gemm.MulF32(j.dst, w.rows, l.v, w.cols, 1, w.f32, w.rows, w.cols, j.rowLo, j.rowHi, j.panelLo, j.panelHi, false)
	case w.f16 != nil:
		gemm.MulF16(j.dst, w.rows, l.v, w.cols, 1, w.f16, w.rows, w.cols, j.rowLo, j.rowHi, j.panelLo, j.panelHi, false)
	default:
		gemm.MulBF16(j.dst, w.rows, l.x.h, w.cols, 1, w.bf16, w.rows, w.cols, j.rowLo, j.rowHi, j.panelLo, j.panelHi, false)
	}
}

// run computes what was collected.
func (l *linearGroup) run(d *Device) {
	l.streams = 1
	if l.x.Rows <= streamedRows {
		l.streams = max(1, min(d.pool.Workers(), len(l.jobs)))
	}
	l.dense = (len(l.jobs) + l.streams - 1) / l.streams * l.streams
	n := l.dense
	if l.half {
		d.half(l.x)
	}
	if l.wide || len(l.quant.List) > 0 {
		l.v = d.values(l.x)
	}
	if len(l.quant.List) > 0 {
		d.quantize(l.v, l.x.Rows, l.x.Cols)
		n += l.quant.Chunks(d.pool.Workers())
	}
	if n > 0 {
		d.pool.Do(n, l)
	}
	l.jobs, l.quant.List = l.jobs[:0], l.list[:0]
}

// Linear implements device.Ops.
func (d *Device) Linear(x *device.Tensor, w device.Weight) *device.Tensor {
	var y [1]*device.Tensor
	d.multiplyAll(y[:], mat(x), w)
	return y[0]
}

// LinearGroup implements device.Ops. All products on one input are one parallel section.
func (d *Device) LinearGroup(ys []*device.Tensor, x *device.Tensor, ws ...device.Weight) {
	d.multiplyAll(ys, mat(x), ws...)
}

// multiplyAll sets ys to the products of x with ws.
func (d *Device) multiplyAll(ys []*device.Tensor, x *matrix, ws ...device.Weight) {
	l := &d.group
	l.x, l.v, l.wide, l.half = x, nil, false, false
	for i, w := range ws {
		c := of(w)
		if c.cols != x.Cols {
			panic(fmt.Sprintf("device: input [%d, %d] times %s [%d, %d]", x.Rows, x.Cols, c.name, c.rows, c.cols))
		}
		y := d.alloc(x.Rows, c.rows)
		ys[i] = &y.Tensor
		switch {
		case c.vec != nil:
			// Trainable: packed again, since the values change between steps.
			d.packForward(&d.packed, c)
			d.multiply(y.f32, x.Rows, x, x.Cols, 1, &d.packed, false)
		case c.q != nil:
			n := len(l.quant.List)
			if n == maxLinears {
				l.run(d)
				n = 0
			}
			l.products[n] = qmat.Product{Dst: y.f32, LDD: c.rows, W: c.q, A: &d.acts}
			l.list[n] = &l.products[n]
			l.quant.List = l.list[:n+1]
		default:
			l.half = l.half || c.bf16 != nil
			l.wide = l.wide || c.bf16 == nil
			l.addJobs(c, y.f32, x.Rows, d.pool.Workers())
		}
	}
	l.run(d)
}

// quantize fills d.acts from x [m, k].
func (d *Device) quantize(x []float32, m, k int) {
	d.acts.Reset(m, k)
	tiles := d.acts.Tiles()
	if tiles <= 1 { // as in decoding
		d.acts.Rows(x, k, 0, m)
		return
	}
	d.quantizeTiles(x, m, k, tiles)
}

func (d *Device) quantizeTiles(x []float32, m, k, tiles int) {
	d.rows(tiles, qmat.TileRows*k, func(lo, hi int) {
		d.acts.Rows(x, k, lo*qmat.TileRows, min(hi*qmat.TileRows, m))
	})
}

// Work per job: enough to make claiming a chunk cheap, little enough that
// the workers finish together.
const (
	streamedRows = 32 // up to here a product is memory-bound

	jobBytes   = 1 << 17 // of weights, when it is
	jobTile    = 14      // when many rows make it compute-bound: rows of a tile of gemm,
	jobRows    = 14 * 16 // rows of a job at most,
	jobPanels  = 8       // and panels;
	packPanels = 16      // panels of a job in training

	fewRows, fewPanels = 4 * jobTile, 6 // the same where a product has few jobs
)

// addJobs cuts the product with w into ranges.
func (l *linearGroup) addJobs(w *weight, dst []float32, rows, workers int) {
	panels, panelBytes := gemm.Panels(w.rows), 2*gemm.PanelWidth*w.cols
	if w.f32 != nil {
		panelBytes *= 2
	}
	// Rows in equal shares, and at least four jobs per worker, if there are panels enough.
	blocks := max(1, (rows+jobRows-1)/jobRows)
	perBlock := ((rows+blocks-1)/blocks + jobTile - 1) / jobTile * jobTile
	perJob := jobPanels
	if rows <= streamedRows {
		perJob = jobBytes / panelBytes
	}
	perJob = max(1, min(perJob, panels*blocks/(4*workers)))
	for r := 0; r < rows; r += perBlock {
		hi := min(r+perBlock, rows)
		for p := 0; p < panels; p += perJob {
			l.jobs = append(l.jobs, productJob{w: w, dst: dst, rowLo: r, rowHi: hi, panelLo: p, panelHi: min(p+perJob, panels)})
		}
	}
}

// panels is a right-hand side packed in the compute type.
type panels struct {
	n, k int
	f32  []float32
	bf16 []uint16
}

// pack fills p with B(k,j) = b[k·ks+j·js] of k rows and n columns; bh, if not nil, holds b rounded to bf16 already.
func (d *Device) pack(p *panels, n, k int, b []float32, bh []uint16, ks, js int) {
	p.n, p.k = n, k
	half := d.compute == tensor.BF16
	if half {
		p.bf16 = grow(p.bf16, gemm.PackedLenBF16(n, k))
	} else {
		p.f32 = grow(p.f32, gemm.PackedLenF32(n, k))
	}
	d.rows(gemm.Panels(n), gemm.PanelWidth*k, func(lo, hi int) {
		switch {
		case !half:
			gemm.PackF32(p.f32, b, ks, js, n, k, lo, hi)
		case bh != nil:
			gemm.PackBF16(p.bf16, bh, ks, js, n, k, lo, hi)
		default:
			gemm.PackBF16FromF32(p.bf16, b, ks, js, n, k, lo, hi)
		}
	})
}

// multiply computes c [m, b.n] = A·B, or adds it, where A(i,k) = a[i·am+k·ak].
func (d *Device) multiply(c []float32, m int, a *matrix, am, ak int, b *panels, add bool) {
	d.multiplyFrom(0, c, m, a, am, ak, b, add)
}

// multiplyFrom is multiply with A(i,k) = a[from+i·am+k·ak].
func (d *Device) multiplyFrom(from int, c []float32, m int, a *matrix, am, ak int, b *panels, add bool) {
	half := d.compute == tensor.BF16
	var ah []uint16
	var af []float32
	if half {
		ah = d.half(a)[from:]
	} else {
		af = d.values(a)[from:]
	}
	n, k, panels := b.n, b.k, gemm.Panels(b.n)
	rowChunks, panelChunks, perChunk := grid(m, panels, d.pool.Workers())
	d.pool.Run(rowChunks*panelChunks, func(_, i int) {
		// Consecutive chunks share panels, which stay in cache.
		r, g := i%rowChunks, i/rowChunks
		rowLo, rowHi := r*perChunk, min((r+1)*perChunk, m)
		panelLo, panelHi := g*panels/panelChunks, (g+1)*panels/panelChunks
		if half {
			gemm.MulBF16(c, n, ah, am, ak, b.bf16, n, k, rowLo, rowHi, panelLo, panelHi, add)
		} else {
			gemm.MulF32(c, n, af, am, ak, b.f32, n, k, rowLo, rowHi, panelLo, panelHi, add)
		}
	})
}

// grid is how a product of m rows by that many panels is cut. A product with few chunks of the usual size, such as the
// gradient of a small weight, is cut finer: otherwise one worker computes the last chunk while the others wait.
func grid(m, panels, workers int) (rowChunks, panelChunks, rowsPerChunk int) {
	most := 4 * workers
	rowsPerChunk = jobRows
	rowChunks, panelChunks = (m+jobRows-1)/jobRows, (panels+packPanels-1)/packPanels
	if workers > 1 && m > 0 && rowChunks*panelChunks < most {
		rowChunks = (m + fewRows - 1) / fewRows
		rowsPerChunk = (m + rowChunks - 1) / rowChunks
		rowChunks = (m + rowsPerChunk - 1) / rowsPerChunk
		for rowChunks*panelChunks < most && panels >= fewPanels*(panelChunks+1) {
			panelChunks++
		}
	}
	return rowChunks, panelChunks, rowsPerChunk
}

// packForward packs w for x·wᵀ, packBackward for dy·w.
func (d *Device) packForward(p *panels, w *weight) {
	d.pack(p, w.rows, w.cols, w.vec, nil, 1, w.cols)
}

func (d *Device) packBackward(p *panels, w *weight) {
	if w.bf16 != nil && d.compute == tensor.BF16 {
		rows, stride := d.denseHalf(w)
		d.pack(p, w.cols, w.rows, nil, rows, stride, 1)
		return
	}
	d.pack(p, w.cols, w.rows, d.dense32(w), nil, w.cols, 1)
}

// dense32 returns the row-major float32 values of w; those of a frozen weight are unpacked into scratch memory.
func (d *Device) dense32(w *weight) []float32 {
	if w.vec != nil {
		return w.vec
	}
	d.dense = grow(d.dense, w.rows*w.cols)
	d.ReadWeight(w, d.dense)
	return d.dense
}

// denseHalf returns the rows of a frozen bf16 weight, and their distance, in scratch memory. A panel holds pairs of
// neighboring columns, so it is transposed as words.
func (d *Device) denseHalf(w *weight) (rows []uint16, stride int) {
	const pw = gemm.PanelWidth
	stride = w.cols + w.cols&1
	d.dense = grow(d.dense, (w.rows*stride+1)/2)
	rows = halves(d.dense)[:w.rows*stride]
	d.rows(gemm.Panels(w.rows), pw*w.cols, func(lo, hi int) {
		for p := lo; p < hi; p++ {
			n := min(pw, w.rows-p*pw)
			vec.TransposeWords(unsafe.Pointer(&rows[p*pw*stride]), stride*2, unsafe.Pointer(&w.bf16[p*pw*stride]), pw*4, stride/2, n)
		}
	})
	return rows, stride
}

// LinearGradInput implements device.Derivatives.
func (d *Device) LinearGradInput(dy *device.Tensor, w device.Weight, acc *device.Tensor) *device.Tensor {
	d.packBackward(&d.packed, of(w))
	var sum *matrix
	if acc != nil {
		sum = mat(acc)
	}
	return &d.gradInput(mat(dy), &d.packed, sum).Tensor
}

func (d *Device) gradInput(dy *matrix, w *panels, acc *matrix) *matrix {
	acc = d.own(acc)
	add := acc != nil
	if !add {
		acc = d.alloc(dy.Rows, w.n)
	}
	d.multiply(d.values(acc), dy.Rows, dy, dy.Cols, 1, w, add)
	return acc
}

// LinearGradWeight implements device.Derivatives.
func (d *Device) LinearGradWeight(x, dy *device.Tensor, w device.Weight) {
	d.gradWeight(mat(x), mat(dy), of(w))
}

func (d *Device) gradWeight(x, dy *matrix, c *weight) {
	var xf []float32
	if d.compute == tensor.BF16 {
		d.half(x)
	} else {
		xf = d.values(x)
	}
	d.pack(&d.packed, c.cols, x.Rows, xf, x.h, x.Cols, 1)
	d.multiplyFrom(c.frozen, d.gradient(c), c.rows-c.frozen, dy, 1, dy.Cols, &d.packed, true)
}

// own returns t for changing in place: t itself if the caller is its only holder, else a copy. It takes ownership of t.
func (d *Device) own(t *matrix) *matrix {
	if t == nil || t.refs == 1 {
		if t != nil && t.h != nil {
			d.values(t)
			d.give16(t.h)
			t.h = nil
		}
		return t
	}
	c := d.alloc(t.Rows, t.Cols)
	copy(c.f32, d.values(t))
	d.free(t)
	return c
}

func grow[T any](b []T, n int) []T {
	if cap(b) < n {
		return largepage.Make[T](n)
	}
	return b[:n]
}
