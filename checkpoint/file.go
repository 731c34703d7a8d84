package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"leolm/internal/bounded"
	"leolm/tensor"
)

// FormatError says what is wrong in a file of weights and where. Tensor and
// Offset are left out of the text where they don't apply ("" and -1).
type FormatError struct {
	File   string
	Tensor string
	Offset int64 // byte in File
	Msg    string
	Err    error // cause, or nil
}

func (e *FormatError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Tensor != "" {
		fmt.Fprintf(&b, ": tensor %q", e.Tensor)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ": byte %d", e.Offset)
	}
	if e.Msg != "" {
		b.WriteString(": ")
		b.WriteString(e.Msg)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *FormatError) Unwrap() error { return e.Err }

// ErrPointer is the cause of a FormatError about a file of a Git clone whose large files were not downloaded: a few
// lines of Git LFS (git-lfs.com) stand in its place.
var ErrPointer = errors.New("a Git LFS pointer, not the file itself: its content has not been downloaded")

// pointer is an error if the file at path begins as a Git LFS pointer does.
func pointer(path string, data []byte) error {
	if !bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/")) {
		return nil
	}
	return &FormatError{File: path, Offset: -1, Err: ErrPointer}
}

// Stored is one tensor as its file describes it: the file's name for it and
// the file's row order.
type Stored struct {
	Name  string
	DType tensor.DType
	// Foreign names a data type that Leo doesn't read (F8_E4M3); DType is Invalid then.
	Foreign string
	Shape   tensor.Shape // outermost first
	File    string
	Offset  int64  // byte in File where Data starts
	Data    []byte // into the memory map
}

// mapping is the whole content of one file, in memory or memory-mapped.
type mapping struct {
	name  string
	data  []byte
	unmap func() error
}

func openMapping(path string) (*mapping, error) {
	// Checked before opening: opening a pipe blocks until somebody writes to it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &FormatError{File: path, Offset: -1, Msg: "is a folder"}
	}
	if !info.Mode().IsRegular() {
		return nil, &FormatError{File: path, Offset: -1, Msg: "not a regular file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	size := info.Size()
	if size == 0 {
		return nil, &FormatError{File: path, Offset: 0, Msg: "the file is empty"}
	}
	if size > math.MaxInt {
		return nil, &FormatError{File: path, Offset: -1, Msg: fmt.Sprintf("%d bytes don't fit this machine's address space", size)}
	}
	data, unmap, err := mapFile(f, size)
	if err != nil {
		return nil, err
	}
	m := &mapping{name: path, data: data, unmap: unmap}
	if err := pointer(path, data); err != nil {
		_ = m.close()
		return nil, err
	}
	return m, nil
}

func (m *mapping) close() error {
	if m.unmap == nil {
		return nil
	}
	unmap := m.unmap
	m.unmap, m.data = nil, nil
	return unmap()
}

// readSmall reads a text file (config, index) that must not be larger than
// limit bytes, so that a hostile or mistaken file can't fill memory.
func readSmall(path string, limit int64) ([]byte, error) {
	data, err := bounded.Regular(path, limit)
	var large *bounded.SizeError
	var kind *bounded.KindError
	switch {
	case errors.As(err, &large):
		return nil, &FormatError{File: path, Offset: -1, Msg: fmt.Sprintf("%d bytes, more than the %d that such a file may have", large.Size, limit)}
	case errors.As(err, &kind):
		return nil, &FormatError{File: path, Offset: -1, Msg: "not a regular file"}
	case err != nil:
		return nil, err
	}
	if err := pointer(path, data); err != nil {
		return nil, err
	}
	return data, nil
}
