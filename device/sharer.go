package device

// Sharer is a Device whose weights can be without values for a while: processes that share the memory of a model each keep
// some of its weights, and lend them to each other. Values travel as bytes in the device's own layout, which is the same
// for the same specification on the same kind of device.
//
// An operation must not read a weight without values. Its gradient is there all the same.
type Sharer interface {
	Device
	// StoredBytes is the size of the values of w.
	StoredBytes(w Weight) int
	// TakeStored takes the memory with the values from w; nil if it has none.
	TakeStored(w Weight) []byte
	// GiveStored gives w memory for its values, which is then w's: what TakeStored has taken from a weight of as many bytes,
	// or for nil new memory. It returns the memory, whose contents are the values of w.
	GiveStored(w Weight, memory []byte) []byte
}
