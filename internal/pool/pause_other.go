//go:build !amd64 && !arm64

package pool

import "runtime"

func pause(n uint32) { runtime.Gosched() }
