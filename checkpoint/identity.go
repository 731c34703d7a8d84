package checkpoint

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
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
		b := t.data
		if len(b) <= identityBlock*identityBlocks {
			h.Write(b)
			continue
		}
		step := (len(b) - identityBlock) / (identityBlocks - 1)
		for i := range identityBlocks {
			h.Write(b[i*step : i*step+identityBlock])
		}
	}
	sum := h.Sum128()
	var out [16]byte
	binary.BigEndian.PutUint64(out[:8], sum.Hi)
	binary.BigEndian.PutUint64(out[8:], sum.Lo)
	return fmt.Sprintf("w1-%x", out)
}
