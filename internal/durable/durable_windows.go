package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func isNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// syncDir: Windows has no fsync of folders; the file's own flush must do.
func syncDir(string) error { return nil }

func lockTemp(*os.File) bool { return true }

// rename closes a temporary file and gives it its own name: not every system renames what is open.
func rename(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// takeOver recreates the temporary file of a killed writer: Windows does not remove a file that a running one has open.
func takeOver(name string) *os.File {
	if os.Remove(name) != nil {
		return nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil
	}
	return f
}

// removeTemp: os.Remove fails on a file that another process has open.
func removeTemp(path string) bool { return os.Remove(path) == nil }

func freeSpace(path string) (int64, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, &total, &all); err != nil {
		return 0, err
	}
	return int64(free), nil
}
