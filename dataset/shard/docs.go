package shard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"leolm/internal/durable"
)

// A table of document starts stands beside the pair of a corpus as PREFIX.docs, little endian:
//
//	"LEODOCS1", u64 samples, u64 n, u64 first entry of each sample [samples+1],
//	u32 position in its sample [n]
//
// A sample whose first entry isn't 0 begins in the middle of a document.
const docsMagic = "LEODOCS1"

// docTableWriter collects a table of document starts.
type docTableWriter struct {
	first []uint64
	at    []uint32
}

// add takes the document starts of the next sample, ascending.
func (t *docTableWriter) add(starts []uint32) {
	t.first = append(t.first, uint64(len(t.at)))
	t.at = append(t.at, starts...)
}

func (t *docTableWriter) commit(path string) error {
	le := binary.LittleEndian
	return durable.WriteTo(path, func(out io.Writer) error {
		bw := bufio.NewWriterSize(out, 1<<20) // keeps the first error for Flush
		b := append(make([]byte, 0, 24), docsMagic...)
		b = le.AppendUint64(b, uint64(len(t.first)))
		b = le.AppendUint64(b, uint64(len(t.at)))
		bw.Write(b)
		for _, x := range t.first {
			bw.Write(le.AppendUint64(b[:0], x))
		}
		bw.Write(le.AppendUint64(b[:0], uint64(len(t.at))))
		for _, x := range t.at {
			bw.Write(le.AppendUint32(b[:0], x))
		}
		return bw.Flush()
	})
}

// docTable is an open table of document starts.
type docTable struct {
	data    []byte
	samples int
	unmap   func() error
}

// openDocTable returns nil if there is no table.
func openDocTable(path string, text *pair) (*docTable, error) {
	data, unmap, err := mapFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &docTable{data: data, samples: text.n, unmap: unmap}
	if err := t.check(path, text); err != nil {
		unmap()
		return nil, err
	}
	return t, nil
}

func (t *docTable) check(path string, text *pair) error {
	if len(t.data) < 24 || string(t.data[:8]) != docsMagic {
		return fmt.Errorf("%s: not a table of document starts: it does not begin with %s", path, docsMagic)
	}
	samples, n := binary.LittleEndian.Uint64(t.data[8:]), binary.LittleEndian.Uint64(t.data[16:])
	if samples != uint64(t.samples) {
		return fmt.Errorf("%s: a table for %d samples, the index beside it has %d", path, samples, t.samples)
	}
	if n > uint64(len(t.data)) || uint64(len(t.data)) != 24+8*(samples+1)+4*n {
		return fmt.Errorf("%s: %d bytes do not hold the %d document starts it names: the file is cut off", path, len(t.data), n)
	}
	last := uint64(0)
	for i := range t.samples + 1 {
		if f := t.first(i); f < last || f > n {
			return fmt.Errorf("%s: sample %d: entry %d is out of order", path, i, f)
		} else {
			last = f
		}
	}
	for i := range t.samples {
		for k, at := t.first(i), int64(-1); k < t.first(i+1); k++ {
			next := int64(t.position(k))
			if next <= at || next >= int64(text.size(i)) {
				return fmt.Errorf("%s: sample %d of %d ids: document start %d is out of place", path, i, text.size(i), next)
			}
			at = next
		}
	}
	return nil
}

func (t *docTable) first(i int) uint64 { return binary.LittleEndian.Uint64(t.data[24+8*i:]) }

func (t *docTable) position(k uint64) uint32 {
	return binary.LittleEndian.Uint32(t.data[24+8*uint64(t.samples+1)+4*k:])
}

// starts lists the document starts of sample i, with 0 in front where the
// sample begins inside a document.
func (t *docTable) starts(i int) []int32 {
	from, to := t.first(i), t.first(i+1)
	out := make([]int32, 0, to-from+1)
	if from == to || t.position(from) != 0 {
		out = append(out, 0)
	}
	for k := from; k < to; k++ {
		out = append(out, int32(t.position(k)))
	}
	return out
}
