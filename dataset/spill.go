package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unicode/utf8"

	"leolm/dataset/shard"
	"leolm/internal/durable"
)

// spill keeps tokenized samples on disk between reading and writing, because
// the split is known only when all rows are.
type spill struct {
	f    *os.File
	w    *bufio.Writer
	wide bool // ids of four bytes
	at   int64
	tmp  []byte
}

func newSpill(dir string, vocab int) (*spill, error) {
	f, err := os.CreateTemp(dir, ".leo-spill-*")
	if err != nil {
		return nil, explainFull(dir, err)
	}
	// The name goes at once where the system allows it, so that nothing stays
	// behind after a crash.
	os.Remove(f.Name())
	return &spill{f: f, w: bufio.NewWriterSize(f, 1<<20), wide: vocab > 1<<16}, nil
}

func (s *spill) close() {
	s.f.Close()
	os.Remove(s.f.Name())
}

func (s *spill) flush() error { return explainFull(filepath.Dir(s.f.Name()), s.w.Flush()) }

// explainFull says of a full disk what can be done.
func explainFull(dir string, err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	free, ferr := durable.FreeSpace(dir)
	if ferr != nil {
		free = -1
	}
	return &durable.SpaceError{Path: dir, Free: free, Err: err}
}

func (s *spill) add(ids []int32, roles []uint8, text string) (at int64, err error) {
	b := s.tmp[:0]
	for _, id := range ids {
		b = append(b, byte(id), byte(id>>8))
		if s.wide {
			b = append(b, byte(id>>16), byte(id>>24))
		}
	}
	b = append(b, roles...)
	if text != "" {
		b = append(b, byte(len(text)), byte(len(text)>>8), byte(len(text)>>16), byte(len(text)>>24))
		b = append(b, text...)
	}
	s.tmp = b
	at = s.at
	s.at += int64(len(b))
	_, err = s.w.Write(b)
	return at, explainFull(filepath.Dir(s.f.Name()), err)
}

// read brings a sample back; buf is scratch memory that is handed around.
func (s *spill) read(info *sampleInfo, out *shard.Sample, buf []byte, withText bool) (text string, _ []byte, err error) {
	n, width := int(info.tokens), 2
	if s.wide {
		width = 4
	}
	size := n * (width + 1)
	buf = slices.Grow(buf[:0], size+4)[:size]
	if withText {
		buf = buf[:size+4]
	}
	if _, err := s.f.ReadAt(buf, info.at); err != nil {
		return "", buf, fmt.Errorf("reading back temporary data: %w", err)
	}
	out.IDs, out.Roles = out.IDs[:0], append(out.Roles[:0], buf[n*width:size]...)
	for i := range n {
		id := int32(buf[i*width]) | int32(buf[i*width+1])<<8
		if s.wide {
			id |= int32(buf[i*width+2])<<16 | int32(buf[i*width+3])<<24
		}
		out.IDs = append(out.IDs, id)
	}
	if withText {
		l := int(buf[size]) | int(buf[size+1])<<8 | int(buf[size+2])<<16 | int(buf[size+3])<<24
		raw := make([]byte, l)
		if _, err := s.f.ReadAt(raw, info.at+int64(size)+4); err != nil {
			return "", buf, fmt.Errorf("reading back temporary data: %w", err)
		}
		if text = string(raw); !utf8.ValidString(text) {
			return "", buf, errors.New("reading back temporary data: text is broken")
		}
	}
	return text, buf, nil
}
