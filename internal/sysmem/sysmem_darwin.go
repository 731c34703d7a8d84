package sysmem

import "golang.org/x/sys/unix"

// systemAvailable is all memory: macOS compresses and swaps, and doesn't report how much is available.
func systemAvailable() (int64, bool) {
	n, err := unix.SysctlUint64("hw.memsize")
	return int64(n), err == nil && n > 0
}
