package cpu

import "syscall"

// permitMatrix asks Linux for the registers of the matrix units, for this process and those that it starts. Linux refuses
// where a thread's stack for signals is too small for them; Go's are large enough.
func permitMatrix() error {
	const (
		requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData          = 18
	)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0); errno != 0 {
		return errno
	}
	return nil
}
