// Package journal keeps the results of a long run while it goes on: one JSON object a line, appended and never changed,
// so that a run that was killed goes on behind its last whole line.
//
// It owns: the line, the torn end that a crash leaves, and when lines are on disk. It does not own what a line means.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxLine bounds a line, in bytes: far more than any answer of a model.
const maxLine = 64 << 20

// LineError says that a whole line of a journal cannot be what a run wrote.
type LineError struct {
	Path string
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string {
	return fmt.Sprintf("%s: line %d is no result of an earlier run (%v); delete the file to start anew", e.Path, e.Line, e.Err)
}

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// Journal is open for appending. It is not safe for concurrent use.
type Journal struct{ f *os.File }

// Open reads the lines that are there, calls each with every one of them, and opens the file for appending. An unfinished
// last line is cut off. An error of each is a *LineError.
func Open(path string, each func(line []byte) error) (*Journal, error) {
	if err := Read(path, each); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	if err := cutTorn(f); err != nil {
		f.Close()
		return nil, err
	}
	return &Journal{f}, nil
}

// Read calls each with every whole line, without its line feed, and changes nothing. The slice is valid during the call.
func Read(path string, each func(line []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	var line []byte
	for n := 1; ; n++ {
		line = line[:0]
		for {
			part, err := r.ReadSlice('\n')
			if len(line)+len(part) > maxLine {
				return &LineError{path, n, fmt.Errorf("more than %d bytes", maxLine)}
			}
			line = append(line, part...)
			if err == nil {
				break
			}
			if err == io.EOF {
				return nil
			}
			if err != bufio.ErrBufferFull {
				return err
			}
		}
		if err := each(bytes.TrimRight(line, "\n")); err != nil {
			return &LineError{path, n, err}
		}
	}
}

// cutTorn truncates f behind its last line feed.
func cutTorn(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for end := info.Size(); end > 0; {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			if whole := end - n + int64(i) + 1; whole < info.Size() {
				return f.Truncate(whole)
			}
			return nil
		}
		end -= n
	}
	if info.Size() > 0 {
		return f.Truncate(0)
	}
	return nil
}

// Append writes v as one line, in one piece. It is on disk after the next Sync at the latest.
func (j *Journal) Append(v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := j.f.Write(line.Bytes())
	return err
}

// Sync forces the lines to disk.
func (j *Journal) Sync() error { return j.f.Sync() }

// Close syncs and closes the file.
func (j *Journal) Close() error {
	err := j.f.Sync()
	if cerr := j.f.Close(); err == nil {
		err = cerr
	}
	return err
}
