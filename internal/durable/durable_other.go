//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package durable

import (
	"errors"
	"os"
	"syscall"
)

func isNoSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) }

func syncDir(string) error { return nil }

func lockTemp(*os.File) bool { return true }

// rename closes a temporary file and gives it its own name: not every system renames what is open.
func rename(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func takeOver(string) *os.File { return nil } // whether its writer lives is not known here

func removeTemp(path string) bool { return os.Remove(path) == nil }
