//go:build !darwin && !windows

package sysmem

func systemAvailable() (int64, bool) { return 0, false }
