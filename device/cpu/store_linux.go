package cpu

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes sure that the disk has room, so that writing to the mapping cannot fail (a full disk would
// be a SIGBUS then).
func reserve(f *os.File, offset, n int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, offset, n)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return f.Truncate(offset + n)
	}
	return err
}
