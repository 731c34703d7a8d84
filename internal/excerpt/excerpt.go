// Package excerpt owns which bytes stand for large data in a hash that must be quick: evenly spread blocks. What is hashed
// beside them, and with what, is the caller's. The choice is part of identities in files, and never changes.
package excerpt

import "hash"

// Write writes b to h, or, where it is longer than that, `blocks` blocks of it in equal steps from its begin, the last
// of which ends less than `blocks` bytes before the end. blocks is at least 2.
func Write(h hash.Hash, b []byte, size, blocks int) {
	if len(b) <= size*blocks {
		h.Write(b)
		return
	}
	step := (len(b) - size) / (blocks - 1)
	for i := range blocks {
		h.Write(b[i*step : i*step+size])
	}
}
