package devicetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"leolm/device"
	"leolm/tensor"
)

// slope compares a derivative with the difference of what it is the derivative of. f is the value at some inputs;
// inputs move along a random direction; grads are the derivatives with respect to them.
func (s *suite) slope(what string, f func(inputs [][]float32) float64, inputs, grads [][]float32) {
	s.Helper()
	const step = 1.0 / 64
	var want, scale float64
	moved := [2][][]float32{}
	for i, in := range inputs {
		up, down := slices.Clone(in), slices.Clone(in)
		for j := range in {
			d := float32(s.rng.NormFloat64())
			up[j], down[j] = in[j]+step*d, in[j]-step*d
			// The step as float32 rounds it, not the one asked for.
			d = (up[j] - down[j]) / (2 * step)
			want += float64(grads[i][j]) * float64(d)
			scale += float64(grads[i][j]) * float64(grads[i][j])
		}
		moved[0], moved[1] = append(moved[0], up), append(moved[1], down)
	}
	got := (f(moved[0]) - f(moved[1])) / (2 * step)
	if diff := math.Abs(got - want); !(diff <= 0.01*math.Sqrt(scale)+1e-4) {
		s.Errorf("%s: the derivative along a direction is %.5g, the difference of values %.5g", what, want, got)
	}
}

// dot is Σ y·dy, after which y is given back.
func (s *suite) dot(y *device.Tensor, dy []float32) float64 {
	var sum float64
	for i, v := range s.take(y) {
		sum += float64(v) * float64(dy[i])
	}
	return sum
}

// smooth draws n numbers without outliers: differences need a smooth neighborhood.
func (s *suite) smooth(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(s.rng.NormFloat64()) / 2
	}
	return v
}

// grad reads the gradient of w and clears it.
func (s *suite) grad(w device.Weight) []float32 {
	g := make([]float32, w.Rows()*w.Cols())
	s.trainer.ReadGrad(w, g)
	s.trainer.ZeroGrad(w)
	return g
}

func derivatives(s *suite) {
	d := s.trainer
	const r, in, out = 5, 12, 9
	xv, dyIn, dyOut := s.smooth(r*in), s.smooth(r*in), s.smooth(r*out)
	wv, gv := s.smooth(out*in), s.smooth(in)

	w := s.param(out, in, wv)
	x, dy := s.tensor(r, in, xv), s.tensor(r, out, dyOut)
	dx := s.take(d.LinearGradInput(dy, w, nil))
	d.LinearGradWeight(x, dy, w)
	s.slope("Linear", func(v [][]float32) float64 {
		x := s.tensor(r, in, v[0])
		defer d.Release(x)
		return s.dot(d.Linear(x, s.param(out, in, v[1])), dyOut)
	}, [][]float32{xv, wv}, [][]float32{dx, s.grad(w)})
	sum := s.take(d.LinearGradInput(dy, w, s.tensor(r, in, dx)))
	for i := range sum {
		if math.Abs(float64(sum[i]-2*dx[i])) > 1e-4*(1+math.Abs(float64(dx[i]))) {
			s.Errorf("LinearGradInput added to itself: element %d is %v, want %v", i, sum[i], 2*dx[i])
			break
		}
	}
	d.Release(dy)

	gain := s.param(1, in, gv)
	dyt := s.tensor(r, in, dyIn)
	dx = s.take(d.RMSNormGrad(x, gain, 1e-5, dyt, true))
	s.slope("RMSNorm", func(v [][]float32) float64 {
		x := s.tensor(r, in, v[0])
		defer d.Release(x)
		return s.dot(d.RMSNorm(x, s.param(1, in, v[1]), 1e-5), dyIn)
	}, [][]float32{xv, gv}, [][]float32{dx, s.grad(gain)})

	up := s.tensor(r, in, dyIn)
	dg, du := d.SwiGLUGrad(x, up, dyt)
	s.slope("SwiGLU", func(v [][]float32) float64 {
		g, u := s.tensor(r, in, v[0]), s.tensor(r, in, v[1])
		defer d.Release(g, u)
		return s.dot(d.SwiGLU(g, u), dyIn)
	}, [][]float32{xv, dyIn}, [][]float32{s.take(dg), s.take(du)})

	ids := []int32{3, 1, 3, 0, 4}
	table := s.param(r, in, xv)
	d.EmbedGrad(table, ids, dyt)
	embedded := s.grad(table)
	s.slope("Embed", func(v [][]float32) float64 { return s.dot(d.Embed(s.param(r, in, v[0]), ids), dyIn) }, [][]float32{xv}, [][]float32{embedded})
	s.same("GatherGrad beside EmbedGrad", s.take(d.GatherGrad(dyt, ids, r)), embedded)

	bias := s.param(1, in, gv)
	d.AddBiasGrad(bias, dyt)
	s.slope("AddBias", func(v [][]float32) float64 {
		return s.dot(d.AddBias(s.tensor(r, in, xv), s.param(1, in, v[0])), dyIn)
	}, [][]float32{gv}, [][]float32{s.grad(bias)})
	s.same("Accumulate", s.take(d.Accumulate(s.tensor(r, in, xv), x)), s.take(d.Add(x, x, 1)))
	d.Release(x, up, dyt)

	attentionGrad(s)
	crossEntropyGrad(s)
	distillGrad(s)
	doraGrad(s)
}

func attentionGrad(s *suite) {
	d := s.trainer
	const heads, kvHeads, dim, n = 4, 2, 8, 20
	spec := &device.AttentionSpec{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.35, Window: 9, Seqs: []device.Sequence{{Len: 13}, {Row: 13, Len: 7}}}
	qv, kv, vv, dy := s.smooth(n*heads*dim), s.smooth(n*kvHeads*dim), s.smooth(n*kvHeads*dim), s.smooth(n*heads*dim)
	q, k, v, dout := s.tensor(n, heads*dim, qv), s.tensor(n, kvHeads*dim, kv), s.tensor(n, kvHeads*dim, vv), s.tensor(n, heads*dim, dy)
	out, lse := d.AttentionTrain(q, k, v, spec)
	dq, dk, dv := d.AttentionGrad(q, k, v, out, lse, dout, spec)
	d.Release(q, k, v, out, lse, dout)
	s.slope("Attention", func(in [][]float32) float64 {
		q, k, v := s.tensor(n, heads*dim, in[0]), s.tensor(n, kvHeads*dim, in[1]), s.tensor(n, kvHeads*dim, in[2])
		defer d.Release(q, k, v)
		return s.dot(d.Attention(q, k, v, spec), dy)
	}, [][]float32{qv, kv, vv}, [][]float32{s.take(dq), s.take(dk), s.take(dv)})
}

func crossEntropyGrad(s *suite) {
	d := s.trainer
	const r, hidden, vocab, padded = 11, 16, 30, 32
	hv, wv := s.smooth(r*hidden), s.smooth(padded*hidden)
	targets, weights := make([]int32, r), make([]float32, r)
	for i := range targets {
		targets[i], weights[i] = int32(i*7%vocab), float32(i%3-1) // negative where an answer is to become less likely
	}
	w, h := s.param(padded, hidden, wv), s.tensor(r, hidden, hv)
	later, dh := d.LinearCrossEntropyGrad(h, w, targets, weights, vocab, true)
	want := d.LinearCrossEntropy(h, w, targets, weights, vocab)
	d.Release(h)
	// The values are asked for when the operands are gone, twice.
	for range 2 {
		loss := later()
		s.same("log-probabilities that were asked for later", loss.LogProbs, want.LogProbs)
		if math.Abs(loss.Loss-want.Loss) > 1e-5*math.Abs(want.Loss) {
			s.Errorf("the loss is %v with derivatives, %v without", loss.Loss, want.Loss)
		}
	}
	s.slope("LinearCrossEntropy", func(v [][]float32) float64 {
		h := s.tensor(r, hidden, v[0])
		defer d.Release(h)
		return d.LinearCrossEntropy(h, s.param(padded, hidden, v[1]), targets, weights, vocab).Loss
	}, [][]float32{hv, wv}, [][]float32{s.take(dh), s.grad(w)})
}

// distillGrad: values against the formula, derivatives against values; the teacher has another width, and fewer or more
// columns than the student.
func distillGrad(s *suite) {
	d := s.trainer
	const r, hidden, wide, vocab, padded = 9, 12, 20, 30, 32
	for _, c := range []struct {
		known, rows        int
		alpha, temperature float32
	}{{vocab, 32, 0.3, 2}, {vocab, 40, 0, 1}, {26, 26, 0.7, 0.5}, {vocab, 30, 1, 3}} {
		hv, wv, tv, twv := s.smooth(r*hidden), s.smooth(padded*hidden), s.smooth(r*wide), s.smooth(c.rows*wide)
		targets, weights := make([]int32, r), make([]float32, r)
		for i := range targets {
			targets[i], weights[i] = int32(i*7%vocab), float32(i%3)
		}
		head := s.param(c.rows, wide, twv)
		run := func(hv, wv []float32) (loss device.Distillation, total float64, dh, dw []float32) {
			h, th, w := s.tensor(r, hidden, hv), s.tensor(r, wide, tv), s.param(padded, hidden, wv)
			later, x := d.LinearDistillGrad(h, w, targets, weights, vocab,
				&device.Teacher{Hidden: th, Head: head, Vocab: c.known, Alpha: c.alpha, Temperature: c.temperature}, true)
			d.Release(h, th)
			loss = later()
			t := float64(c.temperature)
			return loss, float64(c.alpha)*loss.Loss + float64(1-c.alpha)*t*t*loss.Divergence, s.take(x), s.grad(w)
		}
		loss, _, dh, dw := run(hv, wv)
		var divergence float64
		for i := range r {
			p := logSoftmax(hv[i*hidden:(i+1)*hidden], wv[:vocab*hidden], float64(c.temperature))
			q := logSoftmax(tv[i*wide:(i+1)*wide], twv[:c.known*wide], float64(c.temperature))
			for j := range q {
				divergence += float64(weights[i]) * math.Exp(q[j]) * (q[j] - p[j])
			}
		}
		if math.Abs(loss.Divergence-divergence) > 1e-4*divergence {
			s.Errorf("the divergence is %v, want %v", loss.Divergence, divergence)
		}
		h, w := s.tensor(r, hidden, hv), s.param(padded, hidden, wv)
		s.same("log-probabilities", loss.LogProbs, d.LinearCrossEntropy(h, w, targets, weights, vocab).LogProbs)
		d.Release(h)
		s.slope("LinearDistill", func(v [][]float32) float64 {
			_, total, _, _ := run(v[0], v[1])
			return total
		}, [][]float32{hv, wv}, [][]float32{dh, dw})
	}
}

// logSoftmax is log softmax(x·wᵀ/t), in float64.
func logSoftmax(x, w []float32, t float64) []float64 {
	out := make([]float64, len(w)/len(x))
	var sum float64
	for i := range out {
		for j, v := range x {
			out[i] += float64(v) * float64(w[i*len(x)+j]) / t
		}
		sum += math.Exp(out[i])
	}
	for i := range out {
		out[i] -= math.Log(sum)
	}
	return out
}

func doraGrad(s *suite) {
	d := s.trainer
	const r, out, in, rank = 4, 6, 5, 2
	basev, lowv, mv, dyv := s.smooth(r*out), s.smooth(r*out), s.smooth(out), s.smooth(r*out)
	w, a, b := s.param(out, in, s.smooth(out*in)), s.param(rank, in, s.smooth(rank*in)), s.param(out, rank, s.smooth(out*rank))
	m := s.param(1, out, mv)
	base, low, dy := s.tensor(r, out, basev), s.tensor(r, out, lowv), s.tensor(r, out, dyv)
	c := d.NewDoRA(w, a, b, m, 0.5)
	y, lengths := d.DoRATrain(base, low, c)
	db, dl := d.DoRAGrad(base, low, lengths, c, dy)
	d.Release(base, low, dy, y, lengths)
	s.slope("DoRA", func(v [][]float32) float64 {
		base, low := s.tensor(r, out, v[0]), s.tensor(r, out, v[1])
		defer d.Release(base, low)
		return s.dot(d.DoRA(base, low, d.NewDoRA(w, a, b, s.param(1, out, v[2]), 0.5)), dyv)
	}, [][]float32{basev, lowv, mv}, [][]float32{s.take(db), s.take(dl), s.grad(m)})
}

func weights(s *suite) {
	d := s.dev
	for dt := range tolerances {
		w, values := s.weight(dt, 5, 256, device.WeightUseMatmul, s.values(5*256))
		got, want := make([]float32, len(values)), make([]float64, len(values))
		for i, v := range values {
			want[i] = float64(v)
		}
		d.ReadWeight(w, got)
		if s.near(fmt.Sprintf("a weight of %v, read", dt), got, want, stored(dt)); dt != tensor.NF4 {
			s.same(fmt.Sprintf("a weight of %v, read", dt), got, values)
		}
		if w.Rows() != 5 || w.Cols() != 256 || w.DType() != dt || w.Trainable() || w.Bytes() == 0 {
			s.Errorf("a frozen %v says %d×%d, %v, trainable %v, %d bytes", dt, w.Rows(), w.Cols(), w.DType(), w.Trainable(), w.Bytes())
		}
		if s.trainer != nil && s.trainer.WriteWeight(w, got) == nil {
			s.Errorf("a frozen weight of %v was written", dt)
		}
	}
	short := device.WeightSpec{Name: "w", DType: tensor.Q8_0, Rows: 2, Cols: 32, Use: device.WeightUseMatmul, Row: func(int) []byte { return make([]byte, 33) }}
	if _, err := d.NewWeight(short); err == nil {
		s.Error("rows of the wrong length were taken")
	}
}

// gradients: what trainable weights hold.
func gradients(s *suite) {
	d := s.trainer
	w := s.param(4, 3, s.values(12))
	if d.WriteWeight(w, make([]float32, 11)) == nil {
		s.Error("eleven values were taken for twelve")
	}
	d.FreezeRows(w, 3)
	d.WriteGrad(w, []float32{3, 0, 4})
	if n := squares(d, w); n != 25 || w.FrozenRows() != 3 {
		s.Errorf("Σg² is %v with %d frozen rows, want 25 with 3", n, w.FrozenRows())
	}
	d.WriteGrad(w, []float32{1, float32(math.NaN()), 0})
	if n := squares(d, w); !math.IsNaN(n) {
		s.Errorf("Σg² of a NaN is %v", n)
	}
	d.ZeroGrad(w)
	if n := squares(d, w); n != 0 {
		s.Errorf("Σg² is %v after ZeroGrad", n)
	}
	d.WriteGrad(w, []float32{1, 2, 3})
	d.DropGrad(w)
	g := []float32{7, 7, 7}
	d.ReadGrad(w, g)
	if n := squares(d, w); n != 0 || g[0] != 0 || g[2] != 0 || !w.Trainable() {
		s.Errorf("after DropGrad the gradient is %v, its Σg² %v", g, n)
	}
	d.WriteGrad(w, []float32{1, 2, 2})
	if n := squares(d, w); n != 9 {
		s.Errorf("Σg² is %v, want 9, after a gradient was dropped and made again", n)
	}
	large := s.param(300, 299, make([]float32, 300*299))
	d.WriteGrad(large, s.values(300*299))
	alone := squares(d, large)
	if all := d.GradSquares(w, large, s.param(1, 1, []float32{1}), large); len(all) != 4 || all[0] != 9 || all[1] != alone || all[2] != 0 || all[3] != alone {
		s.Errorf("Σg² of four weights together is %v, want 9, %v, 0 and %[2]v", all, alone)
	}
	if all := d.GradSquares(); len(all) != 0 {
		s.Errorf("Σg² of no weights is %v", all)
	}
}

// squares is Σg² of one weight.
func squares(d device.Device, w device.Weight) float64 { return d.GradSquares(w)[0] }

// lending is what ranks ask for that share the memory of a model; devices may do without.
func lending(s *suite) {
	d, ok := s.trainer.(device.Sharer)
	if !ok {
		s.Skip("this device keeps its weights")
	}
	v := s.values(12)
	from, to := s.param(4, 3, v), s.param(4, 3, make([]float32, 12))
	d.WriteGrad(to, s.values(12))
	lent, own := d.TakeStored(from), d.TakeStored(to)
	if len(lent) != d.StoredBytes(from) || len(own) != len(lent) || d.TakeStored(to) != nil {
		s.Errorf("%d and %d bytes of values were taken, want %d", len(lent), len(own), d.StoredBytes(from))
	}
	if squares(d, to) == 0 {
		s.Error("the gradient went with the values")
	}
	for _, memory := range [][]byte{own, nil} {
		copy(d.GiveStored(to, memory), lent)
		got := make([]float32, 12)
		d.ReadWeight(to, got)
		if !slices.Equal(got, v) {
			s.Errorf("lent values are %v, want %v", got, v)
		}
		d.TakeStored(to)
	}
}

func cache(s *suite) {
	c, err := s.dev.NewCache(device.CacheSpec{Layers: 1, KVHeads: 1, HeadDim: 32, DType: tensor.F16, Pages: 2})
	if err != nil {
		s.Fatal(err)
	}
	if c.PageLen() != device.DefaultPageLen || c.DType() != tensor.F16 || c.Bytes() != 0 {
		s.Errorf("an empty cache has pages of %d, %v, %d bytes", c.PageLen(), c.DType(), c.Bytes())
	}
	var pages []int32
	for range 2 {
		p, err := c.Alloc()
		if err != nil {
			s.Fatal(err)
		}
		pages = append(pages, p)
	}
	var full *device.CacheFullError
	if _, err := c.Alloc(); !errors.As(err, &full) || full.Pages != 2 || full.PageLen != c.PageLen() {
		s.Errorf("a third page of two: %v", err)
	}
	c.Retain(pages[0])
	c.Free(pages[0])
	if _, err := c.Alloc(); err == nil {
		s.Error("a page that somebody holds was given away")
	}
	c.Free(pages[0])
	if p, err := c.Alloc(); err != nil || p != pages[0] {
		s.Errorf("after Free: page %d, %v", p, err)
	}
	for _, spec := range []device.CacheSpec{
		{Layers: 1, KVHeads: 1, HeadDim: 32, DType: tensor.Q4_K, Pages: 1},
		{Layers: 1, KVHeads: 1, HeadDim: 33, DType: tensor.Q8_0, Pages: 1},
		{Layers: 1, KVHeads: 1, HeadDim: 32, DType: tensor.F16, Pages: 1, PageLen: 7},
	} {
		if _, err := s.dev.NewCache(spec); err == nil {
			s.Errorf("%+v was taken", spec)
		}
	}
}

func optimizers(s *suite) {
	d := s.trainer
	const rows, cols = 3, 50
	v, g := s.values(rows*cols), s.values(rows*cols)
	h := device.AdamW{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 0.5}
	w := s.param(rows, cols, v)
	state := func(bits int, signed bool) device.OptimizerState {
		m, err := d.NewOptimizerState(w, bits, signed)
		if err != nil {
			s.Fatal(err)
		}
		return m
	}
	m, u := state(32, true), state(32, false)
	want, mean, square := make([]float64, len(v)), make([]float64, len(v)), make([]float64, len(v))
	for i := range want {
		want[i] = float64(v[i])
	}
	for h.Step = 1; h.Step <= 3; h.Step++ {
		d.WriteGrad(w, g)
		d.AdamW(w, m, u, h)
		for i := range want {
			g := float64(g[i]) * h.GradScale
			mean[i] = h.Beta1*mean[i] + (1-h.Beta1)*g
			square[i] = h.Beta2*square[i] + (1-h.Beta2)*g*g
			mHat, vHat := mean[i]/(1-math.Pow(h.Beta1, float64(h.Step))), square[i]/(1-math.Pow(h.Beta2, float64(h.Step)))
			want[i] -= h.LR * (h.WeightDecay*want[i] + mHat/(math.Sqrt(vHat)+h.Eps))
		}
	}
	got := make([]float32, len(v))
	d.ReadWeight(w, got)
	s.near("three steps of AdamW", got, want, 1e-5)

	for _, bits := range []int{32, 8} {
		m, other := state(bits, true), state(bits, true)
		d.AdamW(w, m, state(bits, false), h)
		saved, back := make([]byte, m.Bytes()), make([]byte, m.Bytes())
		m.Save(saved)
		if err := other.Load(saved); err != nil {
			s.Fatal(err)
		}
		if other.Save(back); !bytes.Equal(saved, back) {
			s.Errorf("state of %d bits, saved, loaded and saved again differs", bits)
		}
		if other.Load(saved[1:]) == nil {
			s.Errorf("state of %d bits without its first byte was loaded", bits)
		}
	}
	if _, err := d.NewOptimizerState(w, 7, true); err == nil {
		s.Error("state of 7 bits was made")
	}
	// Muon moves a matrix by about 0.2·√max(rows, cols)·LR per element in the mean, whatever the gradient's size.
	p := s.param(rows, cols, make([]float32, rows*cols))
	momentum, err := d.NewOptimizerState(p, 32, true)
	if err != nil {
		s.Fatal(err)
	}
	d.WriteGrad(p, g)
	d.Muon(p, momentum, device.Muon{LR: 1, Momentum: 0.9, GradScale: 1000})
	d.ReadWeight(p, got)
	var sum float64
	for _, x := range got {
		sum += float64(x) * float64(x)
	}
	if rms := math.Sqrt(sum / (rows * cols)); rms < 0.1 || rms > 0.3 {
		s.Errorf("a step of Muon has a size of %.3f, want about 0.2", rms)
	}
}
