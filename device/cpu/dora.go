package cpu

import (
	"fmt"
	"math"
	"sync"

	"leolm/device"
	"leolm/internal/kernel/vec"
)

// dora is the CPU's part of a device.DoRA.
type dora struct {
	mu      sync.Mutex
	squares []float64 // ‖W row j‖², once measured, if W is frozen
	// lengths and gains, once measured, if nothing of them is trainable.
	lengths, gains []float32
}

// NewDoRA implements device.Device.
func (d *Device) NewDoRA(w, a, b, magnitude device.Weight, scale float32) *device.DoRA {
	return device.NewDoRA(w, a, b, magnitude, scale, &dora{})
}

// DoRA implements device.Ops.
func (d *Device) DoRA(base, low *device.Tensor, c *device.DoRA) *device.Tensor {
	_, gains := d.measure(c)
	return &d.rescaled(mat(base), mat(low), c, gains).Tensor
}

// DoRATrain implements device.Derivatives.
func (d *Device) DoRATrain(base, low *device.Tensor, c *device.DoRA) (y, lengths *device.Tensor) {
	l, gains := d.measure(c)
	return &d.rescaled(mat(base), mat(low), c, gains).Tensor, d.FromSlice(1, len(l), l)
}

// rescaled returns gains ∘ (base + Scale·low).
func (d *Device) rescaled(base, low *matrix, c *device.DoRA, gains []float32) *matrix {
	if base.Cols != c.W.Rows() || low.Cols != base.Cols || low.Rows != base.Rows {
		panic(fmt.Sprintf("device: DoRA of %v and %v for a weight [%d, %d]", &base.Tensor, &low.Tensor, c.W.Rows(), c.W.Cols()))
	}
	y, a, b, n := d.alloc(base.Rows, base.Cols), d.values(base), d.values(low), base.Cols
	d.rows(y.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := y.f32[i*n : (i+1)*n]
			copy(row, a[i*n:])
			vec.Axpy(row, c.Scale, b[i*n:(i+1)*n])
			vec.Mul(row, row, gains)
		}
	})
	return y
}

// DoRAGrad implements device.Derivatives.
func (d *Device) DoRAGrad(base, low, lengths *device.Tensor, c *device.DoRA, dy *device.Tensor) (dbase, dlow *device.Tensor) {
	a, b, norms, g, n := d.values(mat(base)), d.values(mat(low)), d.values(mat(lengths)), d.values(mat(dy)), base.Cols
	gains := d.gains(c, norms)
	db, dl := d.alloc(base.Rows, n), d.alloc(base.Rows, n)
	d.rows(base.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := db.f32[i*n : (i+1)*n]
			vec.Mul(row, g[i*n:(i+1)*n], gains)
			vec.Scale(dl.f32[i*n:(i+1)*n], row, c.Scale)
		}
	})
	if m := of(c.Magnitude); m.trains {
		gain := d.gradient(m)
		// Columns are split, so that every element sums over the rows in order.
		d.columns(n, base.Rows, func(lo, hi int) {
			for j := lo; j < hi; j++ {
				var sum float64
				for at := j; at < len(g); at += n {
					sum += float64(g[at]) * (float64(a[at]) + float64(c.Scale)*float64(b[at]))
				}
				gain[j] += float32(sum / float64(norms[j]))
			}
		})
	}
	return &db.Tensor, &dl.Tensor
}

// gains returns Magnitude[j]/lengths[j].
func (d *Device) gains(c *device.DoRA, lengths []float32) []float32 {
	gains := make([]float32, len(lengths))
	d.ReadWeight(c.Magnitude, gains)
	for j, n := range lengths {
		gains[j] /= n
	}
	return gains
}

// measure returns the lengths of the rows of W + s·B·A and the gains. What cannot change any more is measured once.
func (d *Device) measure(c *device.DoRA) (lengths, gains []float32) {
	own, ok := c.Impl.(*dora)
	if !ok {
		panic(fmt.Sprintf("device: a DoRA of another device (%T)", c.Impl))
	}
	own.mu.Lock()
	defer own.mu.Unlock()
	fixed := !c.W.Trainable() && !c.A.Trainable() && !c.B.Trainable()
	if lengths = own.lengths; lengths == nil {
		lengths = d.rowLengths(c, own)
		if fixed {
			own.lengths = lengths
		}
	}
	if gains = own.gains; gains == nil {
		gains = d.gains(c, lengths)
		if fixed && !c.Magnitude.Trainable() {
			own.gains = gains
		}
	}
	return lengths, gains
}

// rowLengths computes ‖(W + s·B·A) row j‖. Its square is ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b: the one large product is
// A·Wᵀ, rank rows like any batch.
func (d *Device) rowLengths(c *device.DoRA, own *dora) []float32 {
	out, in, rank := c.W.Rows(), c.W.Cols(), c.A.Rows()
	if own.squares == nil || c.W.Trainable() {
		own.squares = make([]float64, out)
		w := d.dense32(of(c.W))
		d.rows(out, in, func(lo, hi int) {
			for j := lo; j < hi; j++ {
				own.squares[j] = float64(vec.SumSquares(w[j*in : (j+1)*in]))
			}
		})
	}
	a, b := d.alloc(rank, in), make([]float32, out*rank)
	d.ReadWeight(c.A, a.f32)
	d.ReadWeight(c.B, b)
	gram := make([]float64, rank*rank)
	for k := range rank {
		for l := range rank {
			gram[k*rank+l] = float64(vec.Dot(a.f32[k*in:(k+1)*in], a.f32[l*in:(l+1)*in]))
		}
	}
	u := mat(d.Linear(&a.Tensor, c.W))
	d.free(a)
	lengths := make([]float32, out)
	s := float64(c.Scale)
	d.rows(out, rank*rank, func(lo, hi int) {
		for j := lo; j < hi; j++ {
			row := b[j*rank : (j+1)*rank]
			sum := own.squares[j]
			for k, x := range row {
				var inner float64
				for l, y := range row {
					inner += gram[k*rank+l] * float64(y)
				}
				sum += s * float64(x) * (2*float64(u.f32[k*out+j]) + s*inner)
			}
			lengths[j] = float32(math.Sqrt(max(sum, math.SmallestNonzeroFloat32)))
		}
	})
	d.free(u)
	return lengths
}
