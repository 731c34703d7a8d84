package corpus

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math"

	"leolm/internal/durable"
)

// A shard is three files:
//
//	NAME.bin   the ids of all samples, one after the other
//	NAME.idx   Megatron-LM's MMIDIDX version 1: "MMIDIDX\0\0", u64 version, u8 type
//	           of an id (8 = uint16, 4 = int32), u64 samples, u64 documents + 1,
//	           i32 ids of each sample, i64 byte offset of each sample, i64 first
//	           sample of each document; a sample counts as a document there
//	NAME.docs  where documents begin: "LEODOCS1", u64 samples, u64 n, u64 first
//	           entry of each sample [samples+1], u32 position in the sample [n]
//
// A sample whose first entry in .docs isn't 0 begins in the middle of a
// document. Everything is little endian. shard.Open reads all three.
const (
	idxMagic  = "MMIDIDX\x00\x00"
	docsTable = "LEODOCS1"
)

// A ShardWriter writes a shard; its files appear together on Commit.
type ShardWriter struct {
	path    string
	width   int
	bin     *durable.File
	bw      *bufio.Writer
	sum     hash.Hash
	sizes   []int32
	first   []uint64
	at      []uint32
	samples int64
	ids     int64
	starts  int64
	last    int
}

// CreateShard begins a shard of ids of width bytes (2 or 4) under path.bin,
// path.idx and path.docs.
func CreateShard(path string, width int) (*ShardWriter, error) {
	if width != 2 && width != 4 {
		return nil, fmt.Errorf("%s: ids of %d bytes, want 2 or 4", path, width)
	}
	f, err := durable.Create(path + ".bin")
	if err != nil {
		return nil, err
	}
	w := &ShardWriter{path: path, width: width, bin: f, sum: sha256.New()}
	w.bw = bufio.NewWriterSize(f, 1<<20)
	return w, nil
}

// Add appends one sample, its ids little endian, and the positions in it at
// which documents begin, ascending.
func (w *ShardWriter) Add(ids []byte, starts []uint32) error {
	n := len(ids) / w.width
	if n > math.MaxInt32 {
		return fmt.Errorf("%s: a sample of %d ids", w.path, n)
	}
	w.sum.Write(ids)
	if _, err := w.bw.Write(ids); err != nil {
		return err
	}
	w.sizes = append(w.sizes, int32(n))
	w.first = append(w.first, uint64(len(w.at)))
	w.at = append(w.at, starts...)
	w.samples++
	w.ids += int64(n)
	w.starts += int64(len(starts))
	w.last = n
	return nil
}

// Commit writes the tables and makes the three files durable; it returns the
// SHA-256 of the ids.
func (w *ShardWriter) Commit() (string, error) {
	if err := w.bw.Flush(); err != nil {
		return "", err
	}
	if err := w.bin.Commit(); err != nil {
		return "", err
	}
	le := binary.LittleEndian
	err := durable.WriteTo(w.path+".idx", func(out io.Writer) error {
		bw := bufio.NewWriterSize(out, 1<<20)
		b := append([]byte(idxMagic), 1, 0, 0, 0, 0, 0, 0, 0)
		if w.width == 2 {
			b = append(b, 8)
		} else {
			b = append(b, 4)
		}
		b = le.AppendUint64(b, uint64(len(w.sizes)))
		b = le.AppendUint64(b, uint64(len(w.sizes)+1))
		bw.Write(b)
		for _, n := range w.sizes {
			bw.Write(le.AppendUint32(b[:0], uint32(n)))
		}
		off := uint64(0)
		for _, n := range w.sizes {
			bw.Write(le.AppendUint64(b[:0], off))
			off += uint64(n) * uint64(w.width)
		}
		for i := range len(w.sizes) + 1 {
			bw.Write(le.AppendUint64(b[:0], uint64(i)))
		}
		return bw.Flush()
	})
	if err != nil {
		return "", err
	}
	err = durable.WriteTo(w.path+".docs", func(out io.Writer) error {
		bw := bufio.NewWriterSize(out, 1<<20)
		b := []byte(docsTable)
		b = le.AppendUint64(b, uint64(len(w.sizes)))
		b = le.AppendUint64(b, uint64(len(w.at)))
		bw.Write(b)
		for _, x := range append(w.first, uint64(len(w.at))) {
			bw.Write(le.AppendUint64(b[:0], x))
		}
		for _, x := range w.at {
			bw.Write(le.AppendUint32(b[:0], x))
		}
		return bw.Flush()
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(w.sum.Sum(nil)), nil
}

// Abort drops the shard; nothing happens after Commit.
func (w *ShardWriter) Abort() { w.bin.Abort() }
