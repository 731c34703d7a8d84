//go:build amd64 && !linux

package cpu

import (
	"fmt"
	"runtime"
)

// permitMatrix refuses: only on Linux is it known how to ask.
func permitMatrix() error { return fmt.Errorf("Leo does not ask %s for them", runtime.GOOS) }
