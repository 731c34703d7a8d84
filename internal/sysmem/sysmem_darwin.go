package sysmem

import "golang.org/x/sys/unix"

// systemAvailable is all memory: macOS compresses and swaps, and says of no part that it is to be had.
func systemAvailable() (int64, bool) {
	n, err := unix.SysctlUint64("hw.memsize")
	return int64(n), err == nil && n > 0
}
