package cpu

import "golang.org/x/sys/cpu"

func detect() (has, unused Features, withheld string) {
	if cpu.ARM64.HasASIMDDP {
		return NEON, Generic, ""
	}
	return Generic, Generic, ""
}

func isIntel() bool { return false }
