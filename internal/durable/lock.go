package durable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// BusyError says that another process works in a folder.
type BusyError struct {
	Dir     string
	Process string // its number, "" if unknown
}

func (e *BusyError) Error() string {
	by := "another process"
	if e.Process != "" {
		by = "process " + e.Process
	}
	return fmt.Sprintf("%s is in use by %s", e.Dir, by)
}

// lockFile is the name of the file whose lock says that a folder is in use. The file stays; the lock goes with the process.
const lockFile = ".leo-lock"

// LockDir takes a folder, which exists, for this process, kill -9 included: unlock or the end of the process gives it back.
// It returns a *BusyError if another process has it. Disks without locks have none.
func LockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if !lockTemp(f) {
		by, _ := os.ReadFile(path)
		f.Close()
		return nil, &BusyError{Dir: dir, Process: strings.TrimSpace(string(by))}
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid()) // for whoever is refused to read
	}
	return func() { f.Close() }, nil
}
