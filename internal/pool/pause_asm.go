//go:build amd64 || arm64

package pool

// pause tells the core n times (at least once) that this is a busy wait: it
// gives way to the other hardware thread and saves power.
//
//go:noescape
func pause(n uint32)
