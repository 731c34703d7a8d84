package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"leolm/internal/excerpt"
)

// identityBlock and identityBlocks bound what Identity reads of a large file.
const (
	identityBlock  = 64 << 10
	identityBlocks = 512
)

// Identity tells these shards from others: a hash over the lengths of all samples and over ids and roles, of which large
// sets are read in part (32 MiB in evenly spread blocks). A run that goes on compares it.
func (s *Shards) Identity() string {
	h := xxh3.New()
	streams := []*pair{s.text}
	if s.role != nil {
		streams = append(streams, s.role)
	}
	for _, st := range streams {
		for _, b := range [][]byte{st.idx, st.bin} {
			var size [8]byte
			binary.LittleEndian.PutUint64(size[:], uint64(len(b)))
			h.Write(size[:])
			excerpt.Write(h, b, identityBlock, identityBlocks)
		}
	}
	return fmt.Sprintf("x1-%x", h.Sum128().Bytes())
}
