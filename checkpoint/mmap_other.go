//go:build !unix

package checkpoint

import (
	"io"
	"os"
)

// mapFile reads the whole file where there is no memory map.
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, &os.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	return data, func() error { return nil }, nil
}
