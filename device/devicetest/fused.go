package devicetest

import (
	"fmt"

	"leolm/device"
	"leolm/tensor"
)

// fused: what a device.Fuser does in one go has the bits of the operations that it stands for, whatever types meet and
// however many rows there are. Other devices do these operations.
func fused(s *suite) {
	for _, types := range [][4]tensor.DType{
		{tensor.F32, tensor.F32, tensor.F32, tensor.F32}, {tensor.BF16, tensor.BF16, tensor.BF16, tensor.BF16},
		{tensor.Q4_0, tensor.Q4_0, tensor.Q8_0, tensor.Q8_0}, {tensor.Q4_K, tensor.Q4_K, tensor.Q6_K, tensor.F16}, {tensor.Q8_0, tensor.F32, tensor.BF16, tensor.F32},
	} {
		for _, rows := range []int{1, 3, 40} {
			fusedLayer(s, types, rows)
		}
	}
}

// fusedLayer holds the parts of a layer whose gate, up, down and queries have types against single operations.
func fusedLayer(s *suite, types [4]tensor.DType, rows int) {
	const hidden, inner, eps = 256, 512, 1e-5
	d := s.dev
	weight := func(dt tensor.DType, out, in int) device.Weight {
		w, _ := s.weight(dt, out, in, device.WeightUseMatmul, s.values(out*in))
		return w
	}
	gate, up, down, query := weight(types[0], inner, hidden), weight(types[1], inner, hidden), weight(types[2], hidden, inner), weight(types[3], 64, hidden)
	gain, _ := s.weight(tensor.F32, 1, hidden, device.WeightUseVector, s.values(hidden))
	x, wide := s.tensor(rows, hidden, s.values(rows*hidden)), s.tensor(rows, inner, s.values(rows*inner))
	name := func(what string) string { return fmt.Sprintf("%s of %d rows with %v", what, rows, types) }
	single := struct{ device.Ops }{d} // without what makes it a Fuser
	var got, want [2]*device.Tensor
	device.NormLinear(d, got[:], x, gain, eps, gate, query)
	device.NormLinear(single, want[:], x, gain, eps, gate, query)
	for i := range got {
		s.same(name("NormLinear"), s.take(got[i]), s.take(want[i]))
	}
	s.same(name("LinearAdd"), s.take(device.LinearAdd(d, x, wide, down)), s.take(device.LinearAdd(single, x, wide, down)))
	s.same(name("MLP"), s.take(device.MLP(d, x, gain, eps, gate, up, down)), s.take(device.MLP(single, x, gain, eps, gate, up, down)))
	rope, positions := d.NewRope(32, s.smooth(16)), make([]int32, rows)
	for i := range positions {
		positions[i] = int32(7 * i)
	}
	q, k := s.values(rows*hidden), s.values(rows*64)
	got, want = [2]*device.Tensor{s.tensor(rows, hidden, q), s.tensor(rows, 64, k)}, [2]*device.Tensor{s.tensor(rows, hidden, q), s.tensor(rows, 64, k)}
	device.RopePair(d, got[0], got[1], rope, positions)
	device.RopePair(single, want[0], want[1], rope, positions)
	for i := range got {
		s.same(name("RopePair"), s.take(got[i]), s.take(want[i]))
	}
	d.Release(x, wide)
}
