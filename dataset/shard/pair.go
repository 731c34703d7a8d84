package shard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"

	"leolm/internal/durable"
)

// Megatron's indexed dataset ("MMIDIDX", version 1), little endian:
//
//	.idx: magic (9 bytes), u64 version, u8 type code, u64 sequences,
//	      u64 document entries, i32 sizes[], i64 byte offsets[], i64 documents[]
//	.bin: the numbers of all sequences, one after the other
//
// The documents are cuts between sequences. Open-Assistant's pretokenizer writes
// one entry, 0; a corpus has one for each sequence and one for the end, because
// there each sequence counts as a document.
const (
	idxMagic  = "MMIDIDX\x00\x00"
	idxHeader = len(idxMagic) + 8 + 1 + 8 + 8
)

// Codes of element types in an .idx file.
const (
	codeUint8  = 1
	codeInt32  = 4
	codeUint16 = 8
)

func elementSize(code byte) int {
	switch code {
	case codeUint8:
		return 1
	case codeInt32:
		return 4
	case codeUint16:
		return 2
	}
	return 0
}

// codeOf is the type of ids of so many bytes.
func codeOf(width int) byte {
	if width == 2 {
		return codeUint16
	}
	return codeInt32
}

// Width is the number of bytes that an id takes in shards: 2, or 4 if the vocabulary
// is too large, as Megatron chooses.
func Width(vocab int) int {
	if vocab < 65500 {
		return 2
	}
	return 4
}

// AppendIDs appends ids of width bytes each (2 or 4), little endian.
func AppendIDs(dst []byte, ids []int32, width int) []byte {
	from, size := len(dst), width*len(ids)
	dst = slices.Grow(dst, size)[:from+size]
	to := dst[from:]
	if width == 2 {
		for i, id := range ids {
			binary.LittleEndian.PutUint16(to[2*i:], uint16(id))
		}
		return dst
	}
	for i, id := range ids {
		binary.LittleEndian.PutUint32(to[4*i:], uint32(id))
	}
	return dst
}

// pairWriter writes one .bin/.idx pair.
type pairWriter struct {
	prefix string
	code   byte
	bin    *durable.File
	buf    *bufio.Writer
	sizes  []int32
}

func newPairWriter(prefix string, code byte) (*pairWriter, error) {
	bin, err := durable.Create(prefix + ".bin")
	if err != nil {
		return nil, err
	}
	return &pairWriter{prefix: prefix, code: code, bin: bin, buf: bufio.NewWriterSize(bin, 1<<20)}, nil
}

// add appends a sequence, given as its bytes.
func (w *pairWriter) add(raw []byte) error {
	n := len(raw) / elementSize(w.code)
	if n > math.MaxInt32 {
		return fmt.Errorf("%s: sequence %d has %d elements, an index holds at most %d", w.prefix, len(w.sizes), n, math.MaxInt32)
	}
	w.sizes = append(w.sizes, int32(n))
	_, err := w.buf.Write(raw)
	return err
}

// commitBin makes the numbers visible. An old index goes first, and the new one
// comes last (commitIndex), so that an .idx never stands beside another run's files.
func (w *pairWriter) commitBin() error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if err := os.Remove(w.prefix + ".idx"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return w.bin.Commit()
}

// commitIndex writes the index. Its document entries are 0, 1, 2 and so on.
func (w *pairWriter) commitIndex(documents int) error {
	le := binary.LittleEndian
	return durable.WriteTo(w.prefix+".idx", func(out io.Writer) error {
		bw := bufio.NewWriterSize(out, 1<<20) // keeps the first error for Flush
		b := append(make([]byte, 0, idxHeader), idxMagic...)
		b = le.AppendUint64(b, 1)
		b = append(b, w.code)
		b = le.AppendUint64(b, uint64(len(w.sizes)))
		b = le.AppendUint64(b, uint64(documents))
		bw.Write(b)
		for _, n := range w.sizes {
			bw.Write(le.AppendUint32(b[:0], uint32(n)))
		}
		at := uint64(0)
		for _, n := range w.sizes {
			bw.Write(le.AppendUint64(b[:0], at))
			at += uint64(n) * uint64(elementSize(w.code))
		}
		for i := range documents {
			bw.Write(le.AppendUint64(b[:0], uint64(i)))
		}
		return bw.Flush()
	})
}

// pair is an open .bin/.idx pair, memory-mapped.
type pair struct {
	path  string
	code  byte
	idx   []byte // whole file
	bin   []byte
	n     int
	close []func() error
}

func openPair(prefix string) (s *pair, err error) {
	s = &pair{path: prefix}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, part := range []struct {
		ext string
		dst *[]byte
	}{{".idx", &s.idx}, {".bin", &s.bin}} {
		data, unmap, err := mapFile(prefix + part.ext)
		if err != nil {
			return s, err
		}
		*part.dst = data
		s.close = append(s.close, unmap)
	}
	if len(s.idx) < idxHeader || string(s.idx[:len(idxMagic)]) != idxMagic {
		return s, fmt.Errorf("%s.idx: not a Megatron index: it does not begin with MMIDIDX", prefix)
	}
	h := s.idx[len(idxMagic):]
	if v := binary.LittleEndian.Uint64(h); v != 1 {
		return s, fmt.Errorf("%s.idx: index version %d, only 1 is known", prefix, v)
	}
	s.code = h[8]
	size := elementSize(s.code)
	if size == 0 {
		return s, fmt.Errorf("%s.idx: element type %d, want 1 (uint8), 4 (int32) or 8 (uint16)", prefix, s.code)
	}
	n, docs := binary.LittleEndian.Uint64(h[9:]), binary.LittleEndian.Uint64(h[17:])
	if n > math.MaxInt32 || docs > math.MaxInt32 || uint64(len(s.idx)) != uint64(idxHeader)+12*n+8*docs {
		return s, fmt.Errorf("%s.idx: %d bytes do not hold the %d sequences and %d documents it names: the file is cut off", prefix, len(s.idx), n, docs)
	}
	s.n = int(n)
	at := uint64(0)
	for i := range s.n {
		count := s.size(i)
		if count < 0 || s.offset(i) != at {
			return s, fmt.Errorf("%s.idx: sequence %d: %d elements at byte %d, expected at %d", prefix, i, count, s.offset(i), at)
		}
		at += uint64(count) * uint64(size)
	}
	if at != uint64(len(s.bin)) {
		return s, fmt.Errorf("%s.bin: %d bytes, its index names %d: the two do not belong together or one is cut off", prefix, len(s.bin), at)
	}
	return s, nil
}

func (s *pair) Close() error {
	var errs []error
	for _, c := range s.close {
		errs = append(errs, c())
	}
	s.close, s.idx, s.bin = nil, nil, nil
	return errors.Join(errs...)
}

func (s *pair) size(i int) int {
	return int(int32(binary.LittleEndian.Uint32(s.idx[idxHeader+4*i:])))
}

func (s *pair) offset(i int) uint64 {
	return binary.LittleEndian.Uint64(s.idx[idxHeader+4*s.n+8*i:])
}

func (s *pair) bytes(i int) []byte {
	from := s.offset(i)
	return s.bin[from : from+uint64(s.size(i))*uint64(elementSize(s.code))]
}

func appendElements[T int32 | uint8](dst []T, code byte, raw []byte) []T {
	switch code {
	case codeUint8:
		for _, b := range raw {
			dst = append(dst, T(b))
		}
	case codeUint16:
		for i := 0; i+1 < len(raw); i += 2 {
			dst = append(dst, T(uint16(raw[i])|uint16(raw[i+1])<<8))
		}
	case codeInt32:
		for i := 0; i+3 < len(raw); i += 4 {
			dst = append(dst, T(int32(binary.LittleEndian.Uint32(raw[i:]))))
		}
	}
	return dst
}
