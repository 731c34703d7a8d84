//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package durable

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// syncDir makes a rename durable. Some network file systems refuse fsync on a
// folder; there the rename is as durable as that system makes it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// lockTemp takes a lock that the kernel drops with the process, kill -9 included.
// It returns false if another process has it, or has removed or renamed the file
// before. A disk without locks has none.
func lockTemp(f *os.File) bool {
	return !errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) && stillNamed(f)
}

// stillNamed reports whether f is the file that has its name.
func stillNamed(f *os.File) bool {
	mine, err1 := f.Stat()
	named, err2 := os.Lstat(f.Name())
	return err1 == nil && err2 == nil && os.SameFile(mine, named)
}

// rename gives a temporary file its own name and closes it. The lock is held until it has that name, so that nobody takes
// the file for one that was left behind.
func rename(f *os.File, path string) error {
	err := os.Rename(f.Name(), path)
	return errors.Join(err, f.Close())
}

// takeOver opens the temporary file of a writer that was killed, emptied and
// locked; nil if the writer may live. A link or another user's
// file is never taken over.
func takeOver(name string) *os.File {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	ok := func() bool {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return false
		}
		// The writer may have given it its own name meanwhile.
		mine, err := f.Stat()
		if err != nil || !mine.Mode().IsRegular() || !stillNamed(f) {
			return false
		}
		if s, ok := mine.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != os.Geteuid() || s.Nlink != 1 {
			return false
		}
		return f.Truncate(0) == nil
	}()
	if !ok {
		f.Close()
		return nil
	}
	return f
}

// removeTemp removes a temporary file unless a living process holds lockTemp on it, and reports whether it did. It holds
// the lock meanwhile: a writer that has just made the file looks for its name once it has the lock itself.
func removeTemp(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return lockTemp(f) && os.Remove(path) == nil
}
