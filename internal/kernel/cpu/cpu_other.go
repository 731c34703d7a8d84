//go:build !amd64 && !arm64

package cpu

func detect() (has, unused Features, withheld string) { return Generic, Generic, "" }

func isIntel() bool { return false }
