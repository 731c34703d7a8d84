//go:build !unix

package shard

import (
	"math"

	"leolm/internal/bounded"
)

// mapFile reads the file, where there is no mmap.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	data, err = bounded.Regular(path, math.MaxInt)
	return data, func() error { return nil }, err
}
