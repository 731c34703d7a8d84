// Package largepage allocates memory that asks the system for large pages. It owns no memory: what Make returns is an
// ordinary slice, and where there are no large pages everything works as before, slower.
package largepage

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// size of a large page on the systems that Leo knows.
const size = 2 << 20

// Make is make for memory that is read in streams, like weights and caches: large pages raise its bandwidth by 13 to 22 %
// (docs/lab/log.md).
func Make[T any](n int) []T {
	b := make([]T, n)
	var t T
	bytes := uintptr(n) * unsafe.Sizeof(t)
	if bytes < size/4 {
		return b
	}
	// Rounded outward to whole large pages: the neighbors there are allocations of the same kind, and a page that one of
	// them has already touched in part stays small.
	from := uintptr(unsafe.Pointer(unsafe.SliceData(b))) &^ (size - 1)
	to := (uintptr(unsafe.Pointer(unsafe.SliceData(b))) + bytes + size - 1) &^ (size - 1)
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_HUGEPAGE)
	runtime.KeepAlive(b)
	return b
}
