//go:build unix

package shard

import (
	"fmt"

	"golang.org/x/sys/unix"

	"leolm/internal/bounded"
	"leolm/internal/mapped"
)

// mapFile maps a file for reading; an empty file gives an empty slice.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := bounded.OpenRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Size() == 0 {
		return nil, func() error { return nil }, nil
	}
	if int64(int(info.Size())) != info.Size() {
		return nil, nil, fmt.Errorf("%s: %d bytes are more than this machine can address", path, info.Size())
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: cannot map the file: %w", path, err)
	}
	unregister := mapped.Register(path, 0, data)
	return data, func() error { unregister(); return unix.Munmap(data) }, nil
}
