//go:build unix

package checkpoint

import (
	"os"
	"syscall"

	"leolm/internal/mapped"
)

// mapFile maps a whole file read-only. The pages belong to the file: if
// another process truncates it, touching them faults (see package mapped).
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	data, err = syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	unregister := mapped.Register(f.Name(), 0, data)
	return data, func() error { unregister(); return syscall.Munmap(data) }, nil
}
