package device

// Fuser is for a device that computes several operations of a decoder layer in one go, where each costs a start and a trip of
// its values to memory. Results have the bits of the operations that they stand for, see NormLinear, LinearAdd, RopePair
// and MLP, which take devices that have none of this, too. Operands with derivatives do not come here: a tape records
// single operations.
type Fuser interface {
	// NormLinear is LinearGroup of RMSNorm(x, gain, eps).
	NormLinear(ys []*Tensor, x *Tensor, gain Weight, eps float32, ws ...Weight)
	// LinearAdd returns Add(x, Linear(y, w), 1).
	LinearAdd(x, y *Tensor, w Weight) *Tensor
	// RopePair is Rope of q and of k, in place.
	RopePair(q, k *Tensor, r *Rope, positions []int32)
	// MLP returns Add(x, Linear(SwiGLU(Linear(h, gate), Linear(h, up)), down), 1) with h = RMSNorm(x, gain, eps).
	MLP(x *Tensor, gain Weight, eps float32, gate, up, down Weight) *Tensor
}

// NormLinear is the operation of a Fuser, or what it stands for.
func NormLinear(ops Ops, ys []*Tensor, x *Tensor, gain Weight, eps float32, ws ...Weight) {
	if f, ok := ops.(Fuser); ok {
		f.NormLinear(ys, x, gain, eps, ws...)
		return
	}
	h := ops.RMSNorm(x, gain, eps)
	ops.LinearGroup(ys, h, ws...)
	ops.Release(h)
}

// LinearAdd is the operation of a Fuser, or what it stands for.
func LinearAdd(ops Ops, x, y *Tensor, w Weight) *Tensor {
	if f, ok := ops.(Fuser); ok {
		return f.LinearAdd(x, y, w)
	}
	z := ops.Linear(y, w)
	sum := ops.Add(x, z, 1)
	ops.Release(z)
	return sum
}

// RopePair is the operation of a Fuser, or what it stands for.
func RopePair(ops Ops, q, k *Tensor, r *Rope, positions []int32) {
	if f, ok := ops.(Fuser); ok {
		f.RopePair(q, k, r, positions)
		return
	}
	ops.Rope(q, r, positions)
	ops.Rope(k, r, positions)
}

// MLP is the operation of a Fuser, or what it stands for.
func MLP(ops Ops, x *Tensor, gain Weight, eps float32, gate, up, down Weight) *Tensor {
	if f, ok := ops.(Fuser); ok {
		return f.MLP(x, gain, eps, gate, up, down)
	}
	var gu [2]*Tensor
	NormLinear(ops, gu[:], x, gain, eps, gate, up)
	s := ops.SwiGLU(gu[0], gu[1])
	y := LinearAdd(ops, x, s, down)
	ops.Release(gu[0], gu[1], s)
	return y
}
