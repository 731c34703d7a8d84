package devicetest

import (
	"fmt"
	"slices"

	"leolm/device"
)

// arguments: what was passed may change as soon as the call returns.
func arguments(s *suite) {
	const n, dim = 6, 8
	v, ids, positions := s.values(n*dim), []int32{0, 1, 2, 3, 4, 5}, []int32{0, 1, 2, 3, 4, 5}
	table := s.param(n, dim, v)
	r := s.dev.NewRope(dim, []float32{1, 0.5, 0.25, 0.125})
	spec := &device.AttentionSpec{Heads: 1, KVHeads: 1, HeadDim: dim, Scale: 1, Seqs: []device.Sequence{{Len: n}}}
	run := func(spoil bool) []float32 {
		ids, positions, values := slices.Clone(ids), slices.Clone(positions), slices.Clone(v)
		spec := &device.AttentionSpec{Heads: spec.Heads, KVHeads: spec.KVHeads, HeadDim: spec.HeadDim, Scale: spec.Scale, Seqs: slices.Clone(spec.Seqs)}
		x, y := s.dev.Embed(table, ids), s.tensor(n, dim, values)
		if spoil {
			clear(ids)
			clear(values)
		}
		x = s.dev.Rope(x, r, positions)
		if spoil {
			clear(positions)
		}
		z := s.dev.Attention(x, y, y, spec)
		if spoil {
			spec.Seqs[0] = device.Sequence{Len: 1}
		}
		picked := []int32{5, 3, 1}
		g := s.dev.Gather(z, picked)
		if spoil {
			clear(picked)
		}
		s.dev.Release(x, y, z)
		return s.take(g)
	}
	s.same("results after arguments have changed", run(true), run(false))
}

// rows: a row has the same bits alone and beside others.
func rows(s *suite) {
	const r, in, out = 19, 256, 40
	v := s.values(r * in)
	for dt := range tolerances {
		w, _ := s.weight(dt, out, in, device.WeightUseMatmul, s.values(out*in))
		x := s.tensor(r, in, v)
		all := s.take(s.dev.Linear(x, w))
		for _, i := range []int{0, 7, r - 1} {
			one := s.tensor(1, in, v[i*in:(i+1)*in])
			s.same(fmt.Sprintf("row %d alone, times %v", i, dt), s.take(s.dev.Linear(one, w)), all[i*out:(i+1)*out])
			s.dev.Release(one)
		}
		s.dev.Release(x)
	}
}

func memory(s *suite) {
	x := s.dev.New(100, 100)
	if n := s.dev.Memory(); n.Tensors < 4*100*100 || n.Arena < n.Tensors {
		s.Errorf("a tensor of 40,000 bytes counts as %+v", n)
	}
	s.dev.Retain(x)
	s.dev.Release(x, nil)
	if s.dev.Memory().Tensors == 0 {
		s.Error("a tensor with a reference was given back")
	}
	s.dev.Release(x)
	s.dev.ResetPeak()
	before := s.dev.Memory().Arena
	seen := map[uint64]bool{}
	for range 100 {
		x := s.dev.New(64, 64)
		if seen[x.ID] {
			s.Errorf("two tensors have the ID %d", x.ID)
		}
		seen[x.ID] = true
		s.dev.Release(x)
	}
	if after := s.dev.Memory().Arena; after > before+4*4*64*64 {
		s.Errorf("a hundred tensors of 16 KiB, one after another, take %d bytes", after-before)
	}
}
