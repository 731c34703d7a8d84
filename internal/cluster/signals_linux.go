//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct on amd64 and arm64: handler, flags, restorer, mask.
type sigaction [4]uint64

const (
	signals   = 64
	onStack   = 0x08000000 // SA_ONSTACK
	sigIgnore = 1
)

// signalTable is the handler of every signal, by number.
type signalTable [signals + 1]sigaction

// readSignals reads all handlers of the process.
func readSignals() (t signalTable) {
	for n := 1; n <= signals; n++ {
		// SIGKILL and SIGSTOP fail: they have none.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), 0, uintptr(unsafe.Pointer(&t[n])), 8, 0, 0)
	}
	return t
}

// restoreSignals gives signals back to Go that a library has taken since before, and returns their numbers. A handler
// that does not run on Go's signal stack kills the program when its signal comes.
func restoreSignals(before *signalTable) ([]int, error) {
	var taken []int
	var errs []error
	now := readSignals()
	for n := 1; n <= signals; n++ {
		if now[n] == before[n] {
			continue
		}
		taken = append(taken, n)
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&before[n])), 0, 8, 0, 0)
		if e != 0 {
			errs = append(errs, fmt.Errorf("signal %d: %w", n, e))
		}
	}
	now = readSignals()
	for n := 1; n <= signals; n++ {
		if now[n][0] > sigIgnore && now[n][1]&onStack == 0 {
			errs = append(errs, fmt.Errorf("signal %d has a handler that does not run on Go's signal stack", n))
		}
	}
	return slices.Clip(taken), errors.Join(errs...)
}
