package corpus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"github.com/klauspost/compress/s2"
	"github.com/zeebo/xxh3"

	"leolm/internal/durable"
)

// A docs file holds the kept documents of one input file, in order:
//
//	"LEODOC1\n", then blocks: u32 bytes, u32 compressed bytes, u64 xxh3 of the
//	bytes, S2 block; a block of 0, 0 and a u64 number of documents end the file.
//
// A block is a sequence of: uvarint row, uvarint part, uvarint length of the
// key, key, uvarint length of the text, text. Little endian.
const (
	docsMagic = "LEODOC1\n"
	blockSize = 1 << 20 // a block is closed when it has this many bytes
)

// A doc is one kept document.
type doc struct {
	row  int64 // of the input file
	part int64 // of that row, when it was split
	key  string
	text string
	// valid: the text is known to be UTF-8. Not kept in the file.
	valid bool
}

type docsWriter struct {
	f    *durable.File
	bw   *bufio.Writer
	buf  []byte
	comp []byte
	docs uint64
}

func createDocs(path string) (*docsWriter, error) {
	f, err := durable.Create(path)
	if err != nil {
		return nil, err
	}
	w := &docsWriter{f: f, bw: bufio.NewWriterSize(f, 256<<10)}
	_, err = w.bw.WriteString(docsMagic)
	return w, err
}

func (w *docsWriter) add(d *doc) error {
	w.buf = binary.AppendUvarint(w.buf, uint64(d.row))
	w.buf = binary.AppendUvarint(w.buf, uint64(d.part))
	w.buf = binary.AppendUvarint(w.buf, uint64(len(d.key)))
	w.buf = append(w.buf, d.key...)
	w.buf = binary.AppendUvarint(w.buf, uint64(len(d.text)))
	w.buf = append(w.buf, d.text...)
	w.docs++
	if len(w.buf) >= blockSize {
		return w.flush()
	}
	return nil
}

func (w *docsWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	// S2 halves German text at a gigabyte a second.
	w.comp = s2.Encode(w.comp[:cap(w.comp)], w.buf)
	var head [16]byte
	binary.LittleEndian.PutUint32(head[:4], uint32(len(w.buf)))
	binary.LittleEndian.PutUint32(head[4:8], uint32(len(w.comp)))
	binary.LittleEndian.PutUint64(head[8:], xxh3.Hash(w.buf))
	w.buf = w.buf[:0]
	if _, err := w.bw.Write(head[:]); err != nil {
		return err
	}
	_, err := w.bw.Write(w.comp)
	return err
}

func (w *docsWriter) commit() error {
	if err := w.flush(); err != nil {
		return err
	}
	var tail [16]byte // the number of documents stands where a block has its hash
	binary.LittleEndian.PutUint64(tail[8:], w.docs)
	if _, err := w.bw.Write(tail[:]); err != nil {
		return err
	}
	if err := w.bw.Flush(); err != nil {
		return err
	}
	return w.f.Commit()
}

func (w *docsWriter) abort() { w.f.Abort() }

// readBlocks calls each with every block of a docs file, decompressed into
// fresh memory, and the number of documents before it.
func readBlocks(path string, each func(block []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	br := bufio.NewReaderSize(f, 256<<10)
	bad := func(what string, err error) error {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%s: damaged work file (%s: %w); remove it and run the task again", path, what, err)
	}
	magic := make([]byte, len(docsMagic))
	if _, err := io.ReadFull(br, magic); err != nil {
		return bad("header", err)
	}
	if string(magic) != docsMagic {
		return fmt.Errorf("%s: not a docs file (begins %q, want %q)", path, magic, docsMagic)
	}
	var head [16]byte
	var comp []byte
	for {
		if _, err := io.ReadFull(br, head[:]); err != nil {
			return bad("block header", err)
		}
		size, n := binary.LittleEndian.Uint32(head[:4]), binary.LittleEndian.Uint32(head[4:8])
		if n == 0 {
			return nil
		}
		if size > 2*maxDocument || n > 2*maxDocument {
			return fmt.Errorf("%s: damaged work file (a block of %d bytes); remove it and run the task again", path, size)
		}
		if cap(comp) < int(n) {
			comp = make([]byte, n)
		}
		if _, err := io.ReadFull(br, comp[:n]); err != nil {
			return bad("block", err)
		}
		if got, err := s2.DecodedLen(comp[:n]); err != nil || got != int(size) {
			return bad("block", fmt.Errorf("%d bytes where %d are expected", got, size))
		}
		block, err := s2.Decode(nil, comp[:n])
		if err != nil {
			return bad("block", err)
		}
		if xxh3.Hash(block) != binary.LittleEndian.Uint64(head[8:]) {
			return bad("block", errors.New("its hash differs"))
		}
		if err := each(block); err != nil {
			return err
		}
	}
}

// blockDocs calls each with the documents of a block. Their strings share the
// block's memory, which must not change.
func blockDocs(block []byte, each func(d doc) error) error {
	s := unsafe.String(unsafe.SliceData(block), len(block))
	i := 0
	num := func() (uint64, bool) {
		x, n := binary.Uvarint(block[i:])
		i += max(n, 0)
		return x, n > 0
	}
	str := func() (string, bool) {
		n, ok := num()
		if !ok || n > uint64(len(s)-i) {
			return "", false
		}
		i += int(n)
		return s[i-int(n) : i], true
	}
	for i < len(s) {
		var d doc
		row, ok1 := num()
		part, ok2 := num()
		key, ok3 := str()
		text, ok4 := str()
		if !ok1 || !ok2 || !ok3 || !ok4 {
			return fmt.Errorf("damaged document at byte %d of a block", i)
		}
		d.row, d.part, d.key, d.text = int64(row), int64(part), key, text
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}
