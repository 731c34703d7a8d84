//go:build unix

package checkpoint

import (
	"os"
	"syscall"
)

// mapFile maps a whole file read-only. The pages belong to the file: another
// process that truncates it while Leo reads makes the system kill Leo, as with
// every program that maps files.
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	data, err = syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return data, func() error { return syscall.Munmap(data) }, nil
}
