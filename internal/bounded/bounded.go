// Package bounded reads whole files and streams that come from outside, never
// more of them than a limit, and never waits for one without an end.
//
// It has three rules. A file that is larger than its limit is an error before
// a byte of it is read. A pipe, a terminal or another stream is read up to the
// limit and no longer than the context lives, the wait for a pipe's writer
// included. What is none of these (a folder, a disk, a socket) is an error. It
// knows nothing of what the bytes mean.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A SizeError says that something is larger than it may be.
type SizeError struct {
	Name  string
	Limit int64 // bytes
	Size  int64 // bytes; -1 for a stream, whose size nobody knows
}

func (e *SizeError) Error() string {
	if e.Size < 0 {
		return fmt.Sprintf("%s: more than the %s that it may have", e.Name, size(e.Limit))
	}
	return fmt.Sprintf("%s: %s, more than the %s that it may have", e.Name, size(e.Size), size(e.Limit))
}

// A KindError says that a path can't be read as a file.
type KindError struct {
	Name string
	Kind string // "a folder"
	Want string // "a file"
}

func (e *KindError) Error() string { return fmt.Sprintf("%s is %s, not %s", e.Name, e.Kind, e.Want) }

func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Regular reads a file of at most limit bytes. A pipe or a device is a
// *KindError, found out before it is opened.
func Regular(name string, limit int64) ([]byte, error) {
	f, err := OpenRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readFile(context.Background(), f, name, limit)
}

// OpenRegular opens a file and nothing but a file.
func OpenRegular(name string) (*os.File, error) {
	info, err := os.Stat(name) // before opening it: opening a pipe waits for its writer
	if err != nil {
		return nil, err
	}
	if kind := kindOf(info.Mode()); kind != "" {
		return nil, &KindError{name, kind, "a file"}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	// The name may refer to another file by now; check what was opened.
	if info, err = f.Stat(); err == nil {
		if kind := kindOf(info.Mode()); kind != "" {
			err = &KindError{name, kind, "a file"}
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// File reads a file or a pipe of at most limit bytes. It returns ctx's error
// when ctx ends first.
func File(ctx context.Context, name string, limit int64) ([]byte, error) {
	f, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readFile(ctx, f, name, limit)
}

// Open opens a file, or a pipe or character device to be read as a stream. It
// waits for a pipe's writer no longer than ctx lives.
func Open(ctx context.Context, name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	switch kind := kindOf(info.Mode()); kind {
	case "":
		return OpenRegular(name)
	case pipe:
		return openPipe(ctx, name)
	case device:
		return os.Open(name)
	default:
		return nil, &KindError{name, kind, "a file or a pipe"}
	}
}

const (
	pipe   = "a pipe"
	device = "a device"
)

// kindOf names what is not a regular file.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return ""
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return pipe
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeCharDevice != 0:
		return device
	case m&fs.ModeDevice != 0:
		return "a disk"
	}
	return "no regular file"
}

// openPipe opens a named pipe, which waits until somebody writes to it.
func openPipe(ctx context.Context, name string) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	c := make(chan opened, 1)
	go func() {
		f, err := os.Open(name)
		c <- opened{f, err}
	}()
	select {
	case o := <-c:
		return o.f, o.err
	case <-ctx.Done():
		// A writer for a moment ends the wait, and with it the goroutine.
		if w, err := os.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
			w.Close()
		}
		go func() {
			if o := <-c; o.err == nil {
				o.f.Close()
			}
		}()
		return nil, fmt.Errorf("%s: nobody writes to this pipe: %w", name, context.Cause(ctx))
	}
}

func readFile(ctx context.Context, f *os.File, name string, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return Read(ctx, f, name, limit)
	}
	if info.Size() > limit {
		return nil, &SizeError{name, limit, info.Size()}
	}
	// The system's own files say size 0, and a file may grow meanwhile.
	return read(f, name, limit, info.Size())
}

// Read reads a stream to its end, at most limit bytes; name is for errors. When
// ctx ends first its error is returned at once.
func Read(ctx context.Context, r io.Reader, name string, limit int64) ([]byte, error) {
	return read(Stream(ctx, r), name, limit, 0)
}

// Stream makes the reads of r end with ctx, even one that waits for a byte: one
// pending call of r.Read may then outlive it. A regular file is r itself.
func Stream(ctx context.Context, r io.Reader) io.Reader {
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return r
		}
	}
	return &stream{ctx: ctx, r: r, buf: make([]byte, 64<<10), done: make(chan chunk, 1)}
}

type chunk struct {
	n   int
	err error
}

type stream struct {
	ctx  context.Context
	r    io.Reader
	buf  []byte // of the goroutine while a read is under way
	rest []byte // read and not yet given
	err  error
	done chan chunk
}

func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.rest) == 0 {
		if s.err == nil {
			if s.err = s.fill(); s.err != nil && len(s.rest) == 0 {
				return 0, s.err
			}
		} else {
			return 0, s.err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) fill() error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	go func() {
		n, err := s.r.Read(s.buf)
		s.done <- chunk{n, err}
	}()
	select {
	case c := <-s.done:
		s.rest = s.buf[:c.n]
		return c.err
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// read reads to the end; about is how much will come, 0 if that is unknown.
func read(r io.Reader, name string, limit, about int64) ([]byte, error) {
	data := make([]byte, 0, min(about, limit)+512)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if int64(len(data)) > limit {
			return nil, &SizeError{name, limit, -1}
		}
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			var at *fs.PathError
			if errors.As(err, &at) {
				return nil, err // names the file already
			}
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}
