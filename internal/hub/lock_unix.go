//go:build unix

package hub

import (
	"context"
	"os"
	"syscall"
	"time"
)

// lock takes the lock that huggingface_hub takes for the same blob, so that
// two programs don't write one file. It waits until ctx ends.
func (c *Client) lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			// A disk that has no locks (some network disks): go on without.
			return func() { _ = f.Close() }, nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
}

// tryLock takes the lock if nobody has it; where there are no locks it is taken.
func tryLock(path string) (unlock func(), ok bool) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return func() {}, true
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == syscall.EWOULDBLOCK {
		_ = f.Close()
		return nil, false
	}
	return func() { _ = f.Close() }, true
}
