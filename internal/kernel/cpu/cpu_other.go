//go:build !amd64 && !arm64

package cpu

func detect() (has, unused Features) { return Generic, Generic }
