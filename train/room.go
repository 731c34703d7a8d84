package train

import "unsafe"

// room is memory for a tensor on its way: between ranks, into a checkpoint, into the exported model. A run has one, and
// one tensor is in it at a time, since it is as large as the largest.
type room struct{ values []float32 }

// floats returns n values, undefined at first, which are the caller's until the next call of floats or bytes.
func (r *room) floats(n int) []float32 {
	r.values = sized(r.values, n)
	return r.values
}

// bytes is floats for n bytes.
func (r *room) bytes(n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(r.floats((n+3)/4)))), n)
}
