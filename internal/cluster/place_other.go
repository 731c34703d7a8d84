//go:build !linux

package cluster

import (
	"fmt"
	"runtime"
)

// allowedCPUs is all of them: other systems do not bind processes.
func allowedCPUs() string { return fmt.Sprintf("0-%d", runtime.NumCPU()-1) }
