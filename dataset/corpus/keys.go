package corpus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"leolm/internal/durable"
	"leolm/internal/textcheck"
)

// A keys file holds, for each document of a docs file, its length and its
// duplicate keys, column by column in groups of keysGroup documents:
//
//	u32 length [n], u64 exact hash, low and high [n][2], u64 key [n] for each band
//
// Columns let the task of one band read that band alone. A text without words
// has zero keys and duplicates nothing.
type keysWriter struct {
	f     *durable.File
	bw    *bufio.Writer
	bands int
	lens  []byte
	exact []byte
	cols  [][]byte
	n     int
}

const keysGroup = 1 << 16

// createKeys returns nil if keys are not wanted.
func createKeys(path string, bands int, wanted bool) (*keysWriter, error) {
	if !wanted {
		return nil, nil
	}
	f, err := durable.Create(path)
	if err != nil {
		return nil, err
	}
	return &keysWriter{f: f, bw: bufio.NewWriterSize(f, 256<<10), bands: bands, cols: make([][]byte, bands)}, nil
}

func (w *keysWriter) add(length int, exact textcheck.Hash128, bands []uint64) error {
	w.lens = binary.LittleEndian.AppendUint32(w.lens, uint32(length))
	w.exact = binary.LittleEndian.AppendUint64(w.exact, exact.Lo)
	w.exact = binary.LittleEndian.AppendUint64(w.exact, exact.Hi)
	for b, k := range bands {
		w.cols[b] = binary.LittleEndian.AppendUint64(w.cols[b], k)
	}
	if w.n++; w.n == keysGroup {
		return w.flush()
	}
	return nil
}

func (w *keysWriter) flush() error {
	w.bw.Write(w.lens)
	_, err := w.bw.Write(w.exact)
	w.lens, w.exact, w.n = w.lens[:0], w.exact[:0], 0
	for b := range w.cols {
		_, err = w.bw.Write(w.cols[b])
		w.cols[b] = w.cols[b][:0]
	}
	return err
}

func (w *keysWriter) commit() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.bw.Flush(); err != nil {
		return err
	}
	return w.f.Commit()
}

func (w *keysWriter) abort() {
	if w != nil {
		w.f.Abort()
	}
}

// keysColumn reads one column of a keys file of docs documents, a group at a
// time. column −2 is lengths, −1 exact hashes, 0… bands.
func keysColumn(f io.ReaderAt, docs int64, bands, column int, each func(group []byte) error) error {
	record := int64(4 + 16 + 8*bands)
	buf := make([]byte, 16*keysGroup)
	for first := int64(0); first < docs; first += keysGroup {
		n := min(docs-first, keysGroup)
		off, width := first*record, int64(4)
		switch {
		case column == -1:
			off, width = off+4*n, 16
		case column >= 0:
			off, width = off+20*n+8*n*int64(column), 8
		}
		if _, err := f.ReadAt(buf[:n*width], off); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("damaged work file (%w); remove it and run the task again", err)
		}
		if err := each(buf[:n*width]); err != nil {
			return err
		}
	}
	return nil
}
