package checkpoint

import (
	"fmt"

	"github.com/zeebo/xxh3"

	"leolm/internal/excerpt"
)

// Bounds of what Identity reads of a tensor.
const (
	identityBlock  = 4 << 10
	identityBlocks = 16
)

// Identity tells these weights from others of the same names and shapes: a hash over names, types, shapes and 64 KiB of
// every tensor in evenly spread blocks. What is trained beside frozen weights compares it.
func (c *Checkpoint) Identity() string {
	h := xxh3.New()
	for _, t := range c.tensors {
		fmt.Fprintf(h, "%s %v %v ", t.Name, t.DType, t.Shape)
		excerpt.Write(h, t.data, identityBlock, identityBlocks)
	}
	return fmt.Sprintf("w1-%x", h.Sum128().Bytes())
}
