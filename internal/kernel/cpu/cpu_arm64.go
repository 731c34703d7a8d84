package cpu

import "golang.org/x/sys/cpu"

func detect() Features {
	if cpu.ARM64.HasASIMDDP {
		return NEON
	}
	return Generic
}
