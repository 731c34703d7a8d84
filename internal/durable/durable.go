// Package durable writes files that are either absent or whole.
//
// It owns: atomic replacement (temporary name in the same folder, fsync, rename,
// fsync of the folder), completion markers for folders, removal of temporary
// files that a killed process left behind, and errors of a full disk that name
// the path, what was needed and what is free. It does not own formats, locking
// between processes, or retries.
//
// A single file:
//
//	f, err := durable.Create("out/model.safetensors")
//	if err != nil { … }
//	defer f.Abort()             // does nothing after Commit
//	… f.Write(…) …
//	return f.Commit()
//
// A folder of files that count only together: write each with Create, then
// Mark(dir, "done", info). Readers ask Marked(dir, "done") first.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tempInfix marks our temporary files: ".<name>.leo-tmp-<number>". The names are the
// same from run to run, so that the next writer of a file takes over what a
// killed one left.
const tempInfix = ".leo-tmp-"

// ErrClosed is returned by operations on a File after Commit or Abort.
var ErrClosed = errors.New("durable: file already committed or aborted")

// A SpaceError says that a disk cannot take what was to be written.
type SpaceError struct {
	Path   string // the file or folder being written
	Needed int64  // bytes that were to be written (at least; 0 = unknown)
	Free   int64  // bytes free for this user on that disk (-1 = unknown)
	Err    error  // the system's error, nil for a check made in advance
}

func (e *SpaceError) Error() string {
	free := "an unknown number of bytes"
	if e.Free >= 0 {
		free = size(e.Free)
	}
	need := "more space than that"
	if e.Needed > 0 {
		need = "at least " + size(e.Needed)
	}
	return fmt.Sprintf("%s: disk full: needs %s, free is %s; free some space or choose another folder", e.Path, need, free)
}

func (e *SpaceError) Unwrap() error { return e.Err }

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%d bytes (%.1f GiB)", n, float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%d bytes (%.1f MiB)", n, float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}

// A File is a file being written under a temporary name. It becomes visible
// under its own name only when Commit returns nil. Not safe for concurrent use,
// except that WriteAt on disjoint ranges may run concurrently.
type File struct {
	f       *os.File
	path    string
	written int64
	failed  error
}

// Create starts a new file that will replace path on Commit. The folder must
// exist. The final file has mode 0644 less the umask.
func Create(path string) (*File, error) {
	dir, base := filepath.Split(path)
	if base == "" {
		return nil, fmt.Errorf("%s: a file name is needed, not a folder", path)
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil, fmt.Errorf("%s: is a folder, cannot be replaced by a file", path)
	}
	for i := range 1000 {
		name := fmt.Sprintf("%s.%s%s%02d", dir, base, tempInfix, i)
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			if f = takeOver(name); f == nil {
				continue // of a running writer
			}
		} else if err != nil {
			return nil, explain(path, 0, err)
		}
		if !lockTemp(f) { // another writer has taken it over already
			f.Close()
			continue
		}
		return &File{f: f, path: path}, nil
	}
	return nil, fmt.Errorf("%s: no free temporary name found", path)
}

// OS is the temporary file itself, for those who map it. It must not be closed.
func (f *File) OS() *os.File { return f.f }

// Path is the name the file will have after Commit.
func (f *File) Path() string { return f.path }

// Write appends. An error is remembered: Commit will refuse.
func (f *File) Write(p []byte) (int, error) {
	if f.f == nil {
		return 0, ErrClosed
	}
	n, err := f.f.Write(p)
	f.written += int64(n)
	if err != nil {
		err = explain(f.path, int64(len(p)-n), err)
		f.failed = err
	}
	return n, err
}

// WriteAt writes at an offset, for headers that are known last.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.f == nil {
		return 0, ErrClosed
	}
	n, err := f.f.WriteAt(p, off)
	if err != nil {
		err = explain(f.path, int64(len(p)-n), err)
		f.failed = err
	}
	return n, err
}

// ReadAt reads back what was written.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.f == nil {
		return 0, ErrClosed
	}
	return f.f.ReadAt(p, off)
}

// Seek moves the position of the next Write.
func (f *File) Seek(off int64, whence int) (int64, error) {
	if f.f == nil {
		return 0, ErrClosed
	}
	return f.f.Seek(off, whence)
}

// Reserve asks the disk for n more bytes in advance: a *SpaceError if they are
// not free now. It does not allocate them.
func (f *File) Reserve(n int64) error { return Need(f.path, n) }

// Commit makes the file durable under its name: fsync, rename, fsync of the
// folder. After an error the temporary file is gone and the old file, if there
// was one, is untouched. A File with a failed write cannot be committed.
func (f *File) Commit() error {
	if f.f == nil {
		return ErrClosed
	}
	if f.failed != nil {
		err := f.failed
		f.Abort()
		return err
	}
	if err := f.f.Sync(); err != nil {
		f.Abort()
		return explain(f.path, 0, err)
	}
	tmp := f.f
	f.f = nil
	if err := rename(tmp, f.path); err != nil {
		os.Remove(tmp.Name())
		return explain(f.path, 0, err)
	}
	return syncDir(filepath.Dir(f.path))
}

// Abort drops the file. It does nothing after Commit, so it can be deferred.
func (f *File) Abort() {
	if f.f == nil {
		return
	}
	name := f.f.Name()
	f.f.Close()
	f.f = nil
	os.Remove(name)
}

// WriteFile writes data under path atomically and durably.
func WriteFile(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// WritePrivate is WriteFile for what only the user may read: the file has mode 0600 from its beginning.
func WritePrivate(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := f.f.Chmod(0o600); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// WriteTo lets write produce a file atomically: whatever error it returns, no
// half-written file remains.
func WriteTo(path string, write func(w io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

// MkdirAll makes a folder and its parents durable.
func MkdirAll(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return explain(dir, 0, err)
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// Mark writes the completion marker name into dir: call it after every other
// file of the folder was committed. info (may be empty) is its content.
func Mark(dir, name string, info []byte) error {
	return WriteFile(filepath.Join(dir, name), info)
}

// Marked reports whether dir carries the completion marker name.
func Marked(dir, name string) bool {
	st, err := os.Stat(filepath.Join(dir, name))
	return err == nil && st.Mode().IsRegular()
}

// Unmark removes a completion marker, durably: call it before changing files
// of a finished folder. A missing marker is no error.
func Unmark(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(dir)
}

// IsTemp reports whether a file name is one of our temporary names.
func IsTemp(name string) bool {
	name = filepath.Base(name)
	return strings.HasPrefix(name, ".") && strings.Contains(name, tempInfix)
}

// RemoveStale removes temporary files in dir that no living writer holds and
// that were not modified for minAge, and returns how many. Where the system
// cannot tell whether a writer lives, age alone decides.
func RemoveStale(dir string, minAge time.Duration) (int, error) {
	es, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range es {
		if !e.Type().IsRegular() || !IsTemp(e.Name()) {
			continue
		}
		st, err := e.Info()
		if err != nil || time.Since(st.ModTime()) < minAge {
			continue
		}
		if removeTemp(filepath.Join(dir, e.Name())) {
			n++
		}
	}
	return n, nil
}

// Need checks that n bytes can be written to the disk of path (which need not
// exist yet): nil if they are free or if the system does not say.
func Need(path string, n int64) error {
	free, err := FreeSpace(path)
	if err != nil || free >= n {
		return nil
	}
	return &SpaceError{Path: path, Needed: n, Free: free}
}

// FreeSpace is the number of bytes this user may still write to the disk that
// holds path, or holds its nearest existing parent folder.
func FreeSpace(path string) (int64, error) {
	p, err := filepath.Abs(path)
	if err != nil {
		return 0, err
	}
	for {
		if _, err := os.Stat(p); err == nil {
			return freeSpace(p)
		}
		up := filepath.Dir(p)
		if up == p {
			return 0, fmt.Errorf("%s: no existing parent folder", path)
		}
		p = up
	}
}

// explain turns "no space left" into a SpaceError and names the path in others.
func explain(path string, needed int64, err error) error {
	if isNoSpace(err) {
		free, ferr := FreeSpace(path)
		if ferr != nil {
			free = -1
		}
		return &SpaceError{Path: path, Needed: needed, Free: free, Err: err}
	}
	var pe *fs.PathError
	if errors.As(err, &pe) && filepath.Clean(pe.Path) != filepath.Clean(path) {
		return fmt.Errorf("%s: %s: %w", path, pe.Op, pe.Err)
	}
	return err
}
