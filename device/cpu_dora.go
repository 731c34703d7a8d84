package device

import (
	"fmt"
	"math"

	"leolm/internal/kernel/vec"
)

// DoRA implements Ops.
func (d *CPU) DoRA(base, low *Tensor, c *DoRA) *Tensor {
	if base.Cols != c.W.Rows() || low.Cols != base.Cols || low.Rows != base.Rows {
		panic(fmt.Sprintf("device: DoRA of %v and %v for a weight [%d, %d]", base, low, c.W.Rows(), c.W.Cols()))
	}
	d.measure(c)
	y, a, b, n := d.New(base.Rows, base.Cols), d.values(base), d.values(low), base.Cols
	d.rows(y.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := y.f32[i*n : (i+1)*n]
			copy(row, a[i*n:])
			vec.Axpy(row, c.Scale, b[i*n:(i+1)*n])
			vec.Mul(row, row, c.gains)
		}
	})
	return y
}

// DoRAGrad implements Derivatives.
func (d *CPU) DoRAGrad(base, low *Tensor, c *DoRA, dy *Tensor) (dbase, dlow *Tensor) {
	a, b, g, n := d.values(base), d.values(low), d.values(dy), base.Cols
	dbase, dlow = d.New(base.Rows, n), d.New(base.Rows, n)
	d.rows(base.Rows, n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := dbase.f32[i*n : (i+1)*n]
			vec.Mul(row, g[i*n:(i+1)*n], c.gains)
			vec.Scale(dlow.f32[i*n:(i+1)*n], row, c.Scale)
		}
	})
	if m := of(c.Magnitude); m.grad != nil {
		// Columns are split, so that every element sums over the rows in order.
		d.columns(n, base.Rows, func(lo, hi int) {
			for j := lo; j < hi; j++ {
				var sum float64
				for at := j; at < len(g); at += n {
					sum += float64(g[at]) * (float64(a[at]) + float64(c.Scale)*float64(b[at]))
				}
				m.grad[j] += float32(sum / float64(c.norms[j]))
			}
		})
	}
	return dbase, dlow
}

// measure computes the lengths of the rows of W + s·B·A and the gains. A row's
// square is ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b: the one large product is A·Wᵀ, rank rows like any batch.
func (d *CPU) measure(c *DoRA) {
	fixed := !c.W.Trainable() && !c.A.Trainable() && !c.B.Trainable()
	if fixed && !c.Magnitude.Trainable() && c.gains != nil {
		return
	}
	out, in, rank := c.W.Rows(), c.W.Cols(), c.A.Rows()
	if !fixed || c.norms == nil {
		if c.squares == nil || c.W.Trainable() {
			c.squares = make([]float64, out)
			w := d.dense32(of(c.W))
			d.rows(out, in, func(lo, hi int) {
				for j := lo; j < hi; j++ {
					c.squares[j] = float64(vec.SumSquares(w[j*in : (j+1)*in]))
				}
			})
		}
		a, b := d.New(rank, in), make([]float32, out*rank)
		d.ReadWeight(c.A, a.f32)
		d.ReadWeight(c.B, b)
		gram := make([]float64, rank*rank)
		for k := range rank {
			for l := range rank {
				gram[k*rank+l] = float64(vec.Dot(a.f32[k*in:(k+1)*in], a.f32[l*in:(l+1)*in]))
			}
		}
		u := d.Linear(a, c.W)
		d.Release(a)
		c.norms = make([]float32, out)
		s := float64(c.Scale)
		d.rows(out, rank*rank, func(lo, hi int) {
			for j := lo; j < hi; j++ {
				row := b[j*rank : (j+1)*rank]
				sum := c.squares[j]
				for k, x := range row {
					var inner float64
					for l, y := range row {
						inner += gram[k*rank+l] * float64(y)
					}
					sum += s * float64(x) * (2*float64(u.f32[k*out+j]) + s*inner)
				}
				c.norms[j] = float32(math.Sqrt(max(sum, math.SmallestNonzeroFloat32)))
			}
		})
		d.Release(u)
	}
	c.gains = make([]float32, out)
	d.ReadWeight(c.Magnitude, c.gains)
	for j, n := range c.norms {
		c.gains[j] /= n
	}
}
