package devicetest

import (
	"fmt"
	"math"

	"leolm/device"
	"leolm/tensor"
)

// tiles: derivatives of more than a device computes at a time, against their definitions.
func tiles(s *suite) {
	d := s.trainer
	for _, shape := range [][3]int{{130, 70, 100}, {1, 300, 33}, {67, 1, 5}} {
		r, out, in := shape[0], shape[1], shape[2]
		xv, dyv, wv := s.values(r*in), s.values(r*out), s.values(out*in)
		x, dy, w := s.tensor(r, in, xv), s.tensor(r, out, dyv), s.param(out, in, wv)
		byInput := transposed(wv, out, in)
		name := fmt.Sprintf("[%d, %d] to %d columns", r, in, out)
		s.near("LinearGradInput, "+name, s.take(d.LinearGradInput(dy, w, nil)), product(dyv, byInput, r, in, out), exact)
		frozen := out / 3
		d.FreezeRows(w, frozen)
		d.LinearGradWeight(x, dy, w)
		d.LinearGradWeight(x, dy, w)
		want := product(transposed(dyv, r, out), transposed(xv, r, in), out, in, r)[frozen*in:]
		for i := range want {
			want[i] *= 2
		}
		got := make([]float32, len(want))
		d.ReadGrad(w, got)
		s.near("LinearGradWeight, twice, "+name, got, want, exact)
		d.Release(x, dy)
	}
	halves(s)
	for dt := range tolerances {
		const r, out, in = 5, 33, 512
		w, stored := s.weight(dt, out, in, device.WeightUseMatmul, s.values(out*in))
		dyv := s.values(r * out)
		dy := s.tensor(r, out, dyv)
		tolerance := exact
		if dt == tensor.NF4 {
			tolerance = 1e-3
		}
		s.near(fmt.Sprintf("LinearGradInput through %v", dt), s.take(d.LinearGradInput(dy, w, nil)), product(dyv, transposed(stored, out, in), r, in, out), tolerance)
		d.Release(dy)
	}
	vectors(s)
	for _, c := range []struct{ heads, kvHeads, dim, window int }{{6, 2, 20, 0}, {2, 2, 64, 37}, {3, 1, 5, 16}} {
		longAttention(s, &device.AttentionSpec{Heads: c.heads, KVHeads: c.kvHeads, HeadDim: c.dim, Scale: 0.2, Window: c.window,
			Seqs: []device.Sequence{{Row: 1, Len: 100}, {Row: 101, Len: 1}, {Row: 105, Len: 33}}})
	}
}

func transposed(v []float32, rows, cols int) []float32 {
	t := make([]float32, len(v))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = v[i*cols+j]
		}
	}
	return t
}

// halves: products of trainable weights in bf16, and derivatives through frozen ones. A device may compute the latter in
// float32, and may keep more bits of operands than bf16 has.
func halves(s *suite) {
	d := s.trainer
	if err := d.SetCompute(tensor.Q8_0); err == nil {
		s.Error("products are computed in q8_0")
	}
	if err := d.SetCompute(tensor.BF16); err != nil {
		s.Fatal(err)
	}
	const tolerance = 1e-2
	for _, shape := range [][3]int{{40, 70, 100}, {300, 9, 33}, {1, 130, 260}} {
		r, out, in := shape[0], shape[1], shape[2]
		xv, dyv, wv := s.values(r*in), s.values(r*out), s.values(out*in)
		name := fmt.Sprintf("in bf16, [%d, %d] to %d columns", r, in, out)
		x, dy, w := s.tensor(r, in, xv), s.tensor(r, out, dyv), s.param(out, in, wv)
		s.near("Linear "+name, s.take(d.Linear(x, w)), product(xv, wv, r, out, in), tolerance)
		byInput := product(dyv, transposed(wv, out, in), r, in, out)
		s.near("LinearGradInput "+name, s.take(d.LinearGradInput(dy, w, nil)), byInput, tolerance)
		frozen := out / 3
		d.FreezeRows(w, frozen)
		d.LinearGradWeight(x, dy, w)
		got := make([]float32, (out-frozen)*in)
		d.ReadGrad(w, got)
		s.near("LinearGradWeight "+name, got, product(transposed(dyv, r, out), transposed(xv, r, in), out, in, r)[frozen*in:], tolerance)
		d.Release(x, dy)
	}
	for dt := range tolerances {
		const r, out, in = 5, 33, 512
		w, stored := s.weight(dt, out, in, device.WeightUseMatmul, s.values(out*in))
		dyv := s.values(r * out)
		dy := s.tensor(r, out, dyv)
		s.near(fmt.Sprintf("LinearGradInput in bf16 through %v", dt), s.take(d.LinearGradInput(dy, w, nil)), product(dyv, transposed(stored, out, in), r, in, out), tolerance)
		d.Release(dy)
	}
	headInBF16(s, tolerance)
	if err := d.SetCompute(tensor.F32); err != nil {
		s.Fatal(err)
	}
}

// headInBF16: the loss and its derivatives beside those in float32, and the same bits again.
func headInBF16(s *suite, tolerance float64) {
	d := s.trainer
	const r, hidden, vocab = 300, 48, 70
	hv, wv, targets := s.smooth(r*hidden), s.smooth(vocab*hidden), make([]int32, r)
	for i := range targets {
		targets[i] = int32(i * 7 % vocab)
	}
	run := func(dt tensor.DType) (loss float64, dh, dw []float32) {
		if err := d.SetCompute(dt); err != nil {
			s.Fatal(err)
		}
		w, h := s.param(vocab, hidden, wv), s.tensor(r, hidden, hv)
		later, x := d.LinearCrossEntropyGrad(h, w, targets, nil, 0, true)
		d.Release(h)
		return later().Loss, s.take(x), s.grad(w)
	}
	loss, dh, dw := run(tensor.F32)
	half, dhHalf, dwHalf := run(tensor.BF16)
	if math.Abs(half-loss) > tolerance*loss {
		s.Errorf("the loss in bf16 is %v, in float32 %v", half, loss)
	}
	s.near("the hidden states' derivative in bf16", dhHalf, doubles(dh), tolerance)
	s.near("the head's gradient in bf16", dwHalf, doubles(dw), tolerance)
	_, dh, dw = run(tensor.BF16)
	s.same("the hidden states' derivative in bf16, again", dh, dhHalf)
	s.same("the head's gradient in bf16, again", dw, dwHalf)
}

func doubles(v []float32) []float64 {
	w := make([]float64, len(v))
	for i, f := range v {
		w[i] = float64(f)
	}
	return w
}

// vectors: sums over many rows.
func vectors(s *suite) {
	d := s.trainer
	const r, c, eps = 200, 70, 1e-5
	xv, dyv, gv := s.values(r*c), s.values(r*c), s.values(c)
	x, dy, gain, bias := s.tensor(r, c, xv), s.tensor(r, c, dyv), s.param(1, c, gv), s.param(1, c, gv)
	dx, dgain, dbias := make([]float64, r*c), make([]float64, c), make([]float64, c)
	for i := range r {
		var squares, dot float64
		row, g := xv[i*c:(i+1)*c], dyv[i*c:(i+1)*c]
		for j := range c {
			squares += float64(row[j]) * float64(row[j])
			dot += float64(g[j]) * float64(gv[j]) * float64(row[j])
		}
		inv := 1 / math.Sqrt(squares/c+eps)
		for j := range c {
			dx[i*c+j] = float64(g[j])*float64(gv[j])*inv - dot*inv*inv*inv/c*float64(row[j])
			dgain[j] += float64(g[j]) * float64(row[j]) * inv
			dbias[j] += float64(g[j])
		}
	}
	s.near("RMSNormGrad of many rows", s.take(d.RMSNormGrad(x, gain, eps, dy, true)), dx, exact)
	s.near("the gain's gradient over many rows", s.grad(gain), dgain, exact)
	d.AddBiasGrad(bias, dy)
	s.near("the bias's gradient over many rows", s.grad(bias), dbias, exact)
	d.Release(x, dy)
}

// longAttention holds the derivatives of attention against their definition. Rows in no sequence have none.
func longAttention(s *suite, spec *device.AttentionSpec) {
	d := s.trainer
	const n = 140
	dim, group := spec.HeadDim, spec.Heads/spec.KVHeads
	qn, kn := spec.Heads*dim, spec.KVHeads*dim
	qv, kv, vv, dyv := s.smooth(n*qn), s.smooth(n*kn), s.smooth(n*kn), s.smooth(n*qn)
	q, k, v, dy := s.tensor(n, qn, qv), s.tensor(n, kn, kv), s.tensor(n, kn, vv), s.tensor(n, qn, dyv)
	out, lse := d.AttentionTrain(q, k, v, spec)
	dq, dk, dv := d.AttentionGrad(q, k, v, out, lse, dy, spec)
	d.Release(q, k, v, dy, out, lse)
	wantQ, wantK, wantV := make([]float64, n*qn), make([]float64, n*kn), make([]float64, n*kn)
	dot := func(a []float32, at int, b []float32, to int) (sum float64) {
		for e := range dim {
			sum += float64(a[at+e]) * float64(b[to+e])
		}
		return sum
	}
	for _, seq := range spec.Seqs {
		for i := range seq.Len {
			first := 0
			if spec.Window > 0 {
				first = max(0, i+1-spec.Window)
			}
			for h := range spec.Heads {
				atQ := ((seq.Row+i)*spec.Heads + h) * dim
				atK := func(j int) int { return ((seq.Row+j)*spec.KVHeads + h/group) * dim }
				p, sum, mean := make([]float64, i+1), 0.0, 0.0
				for j := first; j <= i; j++ {
					p[j] = math.Exp(float64(spec.Scale) * dot(qv, atQ, kv, atK(j)))
					sum += p[j]
				}
				for j := first; j <= i; j++ {
					p[j] /= sum
					mean += p[j] * dot(dyv, atQ, vv, atK(j))
				}
				for j := first; j <= i; j++ {
					ds := p[j] * (dot(dyv, atQ, vv, atK(j)) - mean) * float64(spec.Scale)
					for e := range dim {
						wantQ[atQ+e] += ds * float64(kv[atK(j)+e])
						wantK[atK(j)+e] += ds * float64(qv[atQ+e])
						wantV[atK(j)+e] += p[j] * float64(dyv[atQ+e])
					}
				}
			}
		}
	}
	name := fmt.Sprintf(" with %d/%d heads of %d, window %d", spec.Heads, spec.KVHeads, dim, spec.Window)
	s.near("dq"+name, s.take(dq), wantQ, exact)
	s.near("dk"+name, s.take(dk), wantK, exact)
	s.near("dv"+name, s.take(dv), wantV, exact)
}
