package devicetest

import (
	"fmt"
	"math"
	"slices"

	"leolm/device"
	"leolm/tensor"
)

func elementwise(s *suite) {
	for _, shape := range [][2]int{{1, 1}, {3, 7}, {5, 64}, {2, 1000}, {70, 33}} {
		r, c := shape[0], shape[1]
		a, b := s.values(r*c), s.values(r*c)
		x, y := s.tensor(r, c, a), s.tensor(r, c, b)
		want := func(f func(a, b float64) float64) []float64 {
			v := make([]float64, r*c)
			for i := range v {
				v[i] = f(float64(a[i]), float64(b[i]))
			}
			return v
		}
		name := func(op string) string { return fmt.Sprintf("%s of [%d, %d]", op, r, c) }
		s.near(name("Add"), s.take(s.dev.Add(x, y, 1)), want(func(a, b float64) float64 { return a + b }), exact)
		s.near(name("Add times -0.3"), s.take(s.dev.Add(x, y, -0.3)), want(func(a, b float64) float64 { return a - 0.3*b }), exact)
		s.near(name("SwiGLU"), s.take(s.dev.SwiGLU(x, y)), want(func(a, b float64) float64 { return a / (1 + math.Exp(-a)) * b }), exact)

		g := s.values(c)
		gain, _ := s.weight(tensor.F32, 1, c, device.WeightUseVector, g)
		norm := make([]float64, r*c)
		for i := range r {
			var sum float64
			for _, v := range a[i*c : (i+1)*c] {
				sum += float64(v) * float64(v)
			}
			for j := range c {
				norm[i*c+j] = float64(a[i*c+j]) / math.Sqrt(sum/float64(c)+1e-5) * float64(g[j])
			}
		}
		s.near(name("RMSNorm"), s.take(s.dev.RMSNorm(x, gain, 1e-5)), norm, exact)

		picked := []int32{int32(r - 1), 0, int32(r - 1)}
		got, n := s.take(s.dev.Gather(x, picked)), c
		for i, p := range picked {
			s.same(name("Gather"), got[i*n:(i+1)*n], a[int(p)*n:(int(p)+1)*n])
		}
		s.dev.Release(x, y)
	}
	a, g := []float32{1, 2, 3, 4}, []float32{10, 20}
	bias, _ := s.weight(tensor.F32, 1, 2, device.WeightUseVector, g)
	s.same("AddBias", s.take(s.dev.AddBias(s.tensor(2, 2, a), bias)), []float32{11, 22, 13, 24})
}

func linear(s *suite) {
	for dt, tolerance := range tolerances {
		for _, shape := range [][3]int{{1, 5, 256}, {3, 33, 512}, {40, 17, 256}} {
			r, out, in := shape[0], shape[1], shape[2]
			w, stored := s.weight(dt, out, in, device.WeightUseMatmul, s.values(out*in))
			v := s.values(r * in)
			x := s.tensor(r, in, v)
			y := s.take(s.dev.Linear(x, w))
			name := fmt.Sprintf("Linear [%d, %d] times %v [%d, %d]", r, in, dt, out, in)
			s.near(name, y, product(v, stored, r, out, in), tolerance)
			other, _ := s.weight(tensor.F32, 7, in, device.WeightUseMatmul, s.values(7*in))
			var ys [3]*device.Tensor
			s.dev.LinearGroup(ys[:], x, w, other, w)
			s.same(name+" in a group", s.take(ys[0]), y)
			s.same(name+" in a group", s.take(ys[2]), y)
			s.same(name+" beside one", s.take(ys[1]), s.take(s.dev.Linear(x, other)))
			s.dev.Release(x)
		}
	}
	for _, shape := range [][3]int{{1, 1, 1}, {4, 3, 5}, {29, 50, 31}} {
		r, out, in := shape[0], shape[1], shape[2]
		v, wv := s.values(r*in), s.values(out*in)
		x := s.tensor(r, in, v)
		s.near(fmt.Sprintf("Linear %v with a trainable weight", shape), s.take(s.dev.Linear(x, s.param(out, in, wv))), product(v, wv, r, out, in), exact)
		s.dev.Release(x)
	}
}

func embed(s *suite) {
	for dt := range tolerances {
		w, values := s.weight(dt, 9, 256, device.WeightUseEmbedding|device.WeightUseMatmul, s.values(9*256))
		got := s.take(s.dev.Embed(w, []int32{8, 0, 3, 8}))
		var want []float64
		for _, id := range []int{8, 0, 3, 8} {
			for _, v := range values[id*256 : (id+1)*256] {
				want = append(want, float64(v))
			}
		}
		s.near(fmt.Sprintf("Embed from %v", dt), got, want, stored(dt))
	}
}

func rope(s *suite) {
	const dim, heads = 8, 3
	freq := []float32{1, 0.3, 0.05, 0.001}
	r := s.dev.NewRope(dim, freq)
	positions := []int32{0, 1, 700, 5000, 3}
	v := s.values(len(positions) * heads * dim)
	want := make([]float64, len(v))
	for i, p := range positions {
		for h := range heads {
			at := (i*heads + h) * dim
			for j, f := range freq {
				sin, cos := math.Sincos(float64(float32(p) * f))
				lo, hi := float64(v[at+j]), float64(v[at+j+dim/2])
				want[at+j], want[at+j+dim/2] = lo*cos-hi*sin, hi*cos+lo*sin
			}
		}
	}
	x := s.dev.Rope(s.tensor(len(positions), heads*dim, v), r, positions)
	s.near("Rope", read(s, x), want, exact)
	if s.trainer == nil {
		s.dev.Release(x)
		return
	}
	var back []float64
	for _, a := range v {
		back = append(back, float64(a))
	}
	s.near("RopeGrad of Rope", s.take(s.trainer.RopeGrad(x, r, positions)), back, exact)
}

func read(s *suite, x *device.Tensor) []float32 { return s.take(s.dev.Retain(x)) }

// attended is the definition of attention for one sequence that is all of q, k and v, whose rows are
// tokens past…past+n of n keys in all.
func attended(q, k, v []float32, spec *device.AttentionSpec, past, n int) []float64 {
	dim, group := spec.HeadDim, spec.Heads/spec.KVHeads
	out := make([]float64, (n-past)*spec.Heads*dim)
	for i := range n - past {
		for h := range spec.Heads {
			qAt, first := (i*spec.Heads+h)*dim, 0
			if spec.Window > 0 {
				first = max(0, past+i+1-spec.Window)
			}
			scores, top := make([]float64, past+i+1), math.Inf(-1)
			for j := first; j <= past+i; j++ {
				kAt := (j*spec.KVHeads + h/group) * dim
				for d := range dim {
					scores[j] += float64(q[qAt+d]) * float64(k[kAt+d]) * float64(spec.Scale)
				}
				top = max(top, scores[j])
			}
			var sum float64
			for j := first; j <= past+i; j++ {
				scores[j] = math.Exp(scores[j] - top)
				sum += scores[j]
			}
			for j := first; j <= past+i; j++ {
				vAt := (j*spec.KVHeads + h/group) * dim
				for d := range dim {
					out[qAt+d] += scores[j] / sum * float64(v[vAt+d])
				}
			}
		}
	}
	return out
}

func attention(s *suite) {
	for _, c := range []struct{ heads, kvHeads, dim, window int }{{1, 1, 4, 0}, {6, 2, 16, 0}, {4, 4, 32, 5}, {2, 1, 64, 0}} {
		spec := &device.AttentionSpec{Heads: c.heads, KVHeads: c.kvHeads, HeadDim: c.dim, Scale: 0.3, Window: c.window,
			Seqs: []device.Sequence{{Row: 1, Len: 300}, {Row: 301, Len: 1}, {Row: 303, Len: 17}}}
		const n = 321 // rows 0, 302 and 320 are in no sequence
		qn, kn := c.heads*c.dim, c.kvHeads*c.dim
		qv, kv, vv := s.values(n*qn), s.values(n*kn), s.values(n*kn)
		q, k, v := s.tensor(n, qn, qv), s.tensor(n, kn, kv), s.tensor(n, kn, vv)
		want := make([]float64, n*qn)
		for _, q := range spec.Seqs {
			copy(want[q.Row*qn:], attended(qv[q.Row*qn:], kv[q.Row*kn:], vv[q.Row*kn:], spec, 0, q.Len))
		}
		got := s.take(s.dev.Attention(q, k, v, spec))
		s.near(fmt.Sprintf("Attention %+v", c), got, want, exact)
		for _, row := range []int{0, 302, 320} {
			s.same("a row in no sequence", got[row*qn:(row+1)*qn], make([]float32, qn))
		}
		if s.trainer != nil {
			out, lse := s.trainer.AttentionTrain(q, k, v, spec)
			s.same("AttentionTrain", s.take(out), got)
			s.dev.Release(lse)
		}
		s.dev.Release(q, k, v)
	}
}

func cachedAttention(s *suite) {
	const heads, kvHeads, dim, layers, n = 4, 2, 32, 2, 300
	qn, kn := heads*dim, kvHeads*dim
	qv, kv, vv := s.smooth(n*qn), s.smooth(n*kn), s.smooth(n*kn) // 8 bits round by the largest of 32
	want := attended(qv, kv, vv, &device.AttentionSpec{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.2}, 0, n)
	for dt, tolerance := range map[tensor.DType]float64{tensor.F32: exact, tensor.F16: 2e-3, tensor.BF16: 2e-2, tensor.Q8_0: 2e-2} {
		c, err := s.dev.NewCache(device.CacheSpec{Layers: layers, KVHeads: kvHeads, HeadDim: dim, DType: dt, Pages: 8})
		if err != nil {
			s.Fatal(err)
		}
		// feed runs rows [lo, hi) of the sequence in layer 1 through the pages.
		feed := func(pages []int32, lo, hi int) []float32 {
			q, k, v := s.tensor(hi-lo, qn, qv[lo*qn:hi*qn]), s.tensor(hi-lo, kn, kv[lo*kn:hi*kn]), s.tensor(hi-lo, kn, vv[lo*kn:hi*kn])
			y := s.take(s.dev.Attention(q, k, v, &device.AttentionSpec{Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.2,
				Seqs: []device.Sequence{{Len: hi - lo, Past: lo, Pages: pages}}, Cache: c, Layer: 1}))
			s.dev.Release(q, k, v)
			return y
		}
		alloc := func() (pages []int32) {
			for len(pages)*c.PageLen() < n {
				p, err := c.Alloc()
				if err != nil {
					s.Fatal(err)
				}
				pages = append(pages, p)
			}
			return pages
		}
		first := alloc()
		whole := feed(first, 0, n)
		s.near(fmt.Sprintf("attention through a cache of %v", dt), whole, want, tolerance)
		// In chunks, with the pages in another order.
		second := alloc()
		slices.Reverse(second)
		var parts []float32
		for _, cut := range [][2]int{{0, 7}, {7, 255}, {255, 258}, {258, n}} {
			parts = append(parts, feed(second, cut[0], cut[1])...)
		}
		s.same(fmt.Sprintf("attention in chunks, %v", dt), parts, whole)
		// Copied, and moved through the host.
		third, page := alloc(), make([]byte, c.PageBytes())
		c.CopyPage(third[0], first[0], c.PageLen())
		for i := range first[1:] {
			c.ReadPage(first[i+1], page)
			c.WritePage(third[i+1], page)
		}
		s.same(fmt.Sprintf("attention over copied pages, %v", dt), feed(third, n-1, n), whole[(n-1)*qn:])
	}
}

func crossEntropy(s *suite) {
	const r, hidden, vocab, padded = 37, 24, 90, 96
	hv, wv := s.values(r*hidden), s.values(padded*hidden)
	h, w := s.tensor(r, hidden, hv), s.param(padded, hidden, wv)
	logits := product(hv, wv, r, padded, hidden)
	targets, weights := make([]int32, r), make([]float32, r)
	var loss float64
	want := make([]float64, r)
	for i := range targets {
		targets[i], weights[i] = int32(s.rng.IntN(vocab)), float32(i%3)/2
		row, top, sum := logits[i*padded:i*padded+vocab], math.Inf(-1), 0.0
		for _, x := range row {
			top = max(top, x)
		}
		for _, x := range row {
			sum += math.Exp(x - top)
		}
		if weights[i] != 0 {
			want[i] = row[targets[i]] - top - math.Log(sum)
		}
		loss -= float64(weights[i]) * want[i]
	}
	ce := s.dev.LinearCrossEntropy(h, w, targets, weights, vocab)
	s.near("log-probabilities", ce.LogProbs, want, exact)
	if math.Abs(ce.Loss-loss) > 1e-4*math.Abs(loss) {
		s.Errorf("the loss is %v, want %v", ce.Loss, loss)
	}
	if s.trainer != nil {
		same, dh := s.trainer.LinearCrossEntropyGrad(h, w, targets, weights, vocab, true)
		s.same("log-probabilities with derivatives", same().LogProbs, ce.LogProbs)
		s.dev.Release(dh)
	}
	s.dev.Release(h)
}

func random(s *suite) {
	const r, c = 50, 200
	ones := make([]float32, r*c)
	for i := range ones {
		ones[i] = 1
	}
	x := s.tensor(r, c, ones)
	y := s.take(s.dev.Dropout(x, 0.25, 7))
	kept := 0
	for _, v := range y {
		switch {
		case v == 0:
		case math.Abs(float64(v)-4.0/3) < 1e-6:
			kept++
		default:
			s.Fatalf("dropout makes %v of 1", v)
		}
	}
	if share := float64(kept) / (r * c); math.Abs(share-0.75) > 0.03 {
		s.Errorf("%.3f of the elements are kept, want 0.75", share)
	}
	s.same("dropout of one seed", s.take(s.dev.Dropout(x, 0.25, 7)), y)
	if slices.Equal(s.take(s.dev.Dropout(x, 0.25, 8)), y) {
		s.Error("two seeds drop the same elements")
	}
	scales := make([]float32, r)
	for i := range scales {
		scales[i] = float32(i) / 10
	}
	z := s.take(s.dev.Noise(x, scales, 3))
	var sum, most float64
	for i, v := range z {
		d := float64(v) - 1
		if scale := float64(scales[i/c]); math.Abs(d) > scale*1.0001+1e-6 {
			s.Fatalf("noise of %v where ±%v is asked for", d, scale)
		} else if scale > 0 {
			sum, most = sum+d/scale, max(most, math.Abs(d/scale))
		}
	}
	if math.Abs(sum/(r*c)) > 0.03 || most < 0.99 {
		s.Errorf("noise has a mean of %.3f and reaches %.3f of its amplitude", sum/(r*c), most)
	}
	s.dev.Release(x)
}

func dora(s *suite) {
	const r, out, in, rank = 5, 12, 10, 3
	wv, av, bv, mv := s.values(out*in), s.values(rank*in), s.values(out*rank), s.values(out)
	basev, lowv := s.values(r*out), s.values(r*out)
	d := s.dev.NewDoRA(s.param(out, in, wv), s.param(rank, in, av), s.param(out, rank, bv), s.param(1, out, mv), 0.5)
	lengths, want := make([]float64, out), make([]float64, r*out)
	for j := range out {
		var sum float64
		for k := range in {
			x := float64(wv[j*in+k])
			for l := range rank {
				x += 0.5 * float64(bv[j*rank+l]) * float64(av[l*in+k])
			}
			sum += x * x
		}
		lengths[j] = math.Sqrt(sum)
		for i := range r {
			want[i*out+j] = float64(mv[j]) / lengths[j] * (float64(basev[i*out+j]) + 0.5*float64(lowv[i*out+j]))
		}
	}
	base, low := s.tensor(r, out, basev), s.tensor(r, out, lowv)
	y := s.take(s.dev.DoRA(base, low, d))
	s.near("DoRA", y, want, 1e-4)
	if s.trainer != nil {
		again, l := s.trainer.DoRATrain(base, low, d)
		s.same("DoRATrain", s.take(again), y)
		s.near("row lengths", s.take(l), lengths, 1e-4)
	}
	s.dev.Release(base, low)
}
