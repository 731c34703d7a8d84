package corpus

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"leolm/dataset/shard"
)

// A tokens file holds the documents of one input file grouped by shard, in
// segments that were gathered in memory:
//
//	"LEOTOK1\n"; chunks; directory; u64 offset of the directory, u64 entries, "LEOTOK1\n"
//	directory entry: u32 shard, u32 documents, u64 offset of the chunk, u64 tokens
//	chunk: u64 shuffle key [documents], u32 tokens [documents], ids
const (
	tokMagic     = "LEOTOK1\n"
	segmentBytes = 32 << 20
	dirEntry     = 24
)

type chunk struct {
	shard  uint32
	docs   uint32
	offset int64
	tokens int64
}

type bucket struct {
	keys []uint64
	lens []uint32
	ids  []byte
}

// tokensWriter writes a tokens file.
type tokensWriter struct {
	bw     *bufio.Writer
	off    int64
	shards []bucket
	width  int
	held   int
	dir    []chunk
	err    error
}

func newTokensWriter(out io.Writer, shards, width int) *tokensWriter {
	w := &tokensWriter{bw: bufio.NewWriterSize(out, 1<<20), shards: make([]bucket, shards), width: width}
	w.write([]byte(tokMagic))
	return w
}

func (w *tokensWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.bw.Write(b)
	}
	w.off += int64(len(b))
}

func (w *tokensWriter) add(to int, key uint64, ids []int32) {
	b := &w.shards[to]
	b.keys = append(b.keys, key)
	b.lens = append(b.lens, uint32(len(ids)))
	b.ids = shard.AppendIDs(b.ids, ids, w.width)
	w.held += 12 + w.width*len(ids)
	if w.held >= segmentBytes {
		w.segment()
	}
}

// segment writes what is held in memory.
func (w *tokensWriter) segment() {
	var head []byte
	for i := range w.shards {
		b := &w.shards[i]
		if len(b.keys) == 0 {
			continue
		}
		w.dir = append(w.dir, chunk{uint32(i), uint32(len(b.keys)), w.off, int64(len(b.ids) / w.width)})
		head = head[:0]
		for _, k := range b.keys {
			head = binary.LittleEndian.AppendUint64(head, k)
		}
		for _, n := range b.lens {
			head = binary.LittleEndian.AppendUint32(head, n)
		}
		w.write(head)
		w.write(b.ids)
		b.keys, b.lens, b.ids = b.keys[:0], b.lens[:0], b.ids[:0]
	}
	w.held = 0
}

func (w *tokensWriter) finish() error {
	w.segment()
	at := w.off
	var b []byte
	for _, c := range w.dir {
		b = binary.LittleEndian.AppendUint32(b, c.shard)
		b = binary.LittleEndian.AppendUint32(b, c.docs)
		b = binary.LittleEndian.AppendUint64(b, uint64(c.offset))
		b = binary.LittleEndian.AppendUint64(b, uint64(c.tokens))
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.dir)))
	w.write(append(b, tokMagic...))
	if w.err != nil {
		return w.err
	}
	return w.bw.Flush()
}

// tokensFile reads a tokens file.
type tokensFile struct {
	f   *os.File
	dir []chunk
}

func openTokens(path string) (*tokensFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := readDir(f)
	if err != nil {
		f.Close()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%s: damaged work file (%w); remove it and run the task again", path, err)
	}
	return t, nil
}

func readDir(f *os.File) (*tokensFile, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var tail [24]byte
	if st.Size() < int64(len(tail)+len(tokMagic)) {
		return nil, io.ErrUnexpectedEOF
	}
	if _, err := f.ReadAt(tail[:], st.Size()-24); err != nil {
		return nil, err
	}
	at, n := int64(binary.LittleEndian.Uint64(tail[:])), int64(binary.LittleEndian.Uint64(tail[8:]))
	if string(tail[16:]) != tokMagic || n < 0 || n > st.Size()/dirEntry || at != st.Size()-24-n*dirEntry {
		return nil, errors.New("the end is not a directory")
	}
	b := make([]byte, n*dirEntry)
	if _, err := f.ReadAt(b, at); err != nil {
		return nil, err
	}
	t := &tokensFile{f: f}
	for ; len(b) > 0; b = b[dirEntry:] {
		t.dir = append(t.dir, chunk{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), int64(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))})
	}
	return t, nil
}

// entry is one document of a shard.
type entry struct {
	key  uint64
	n    uint32
	file *tokensFile
	off  int64  // of its ids in the file
	ids  []byte // nil: not loaded
}

// read returns the ids of a document, from memory or disk.
func (e *entry) read(width int) ([]byte, error) {
	if e.ids != nil {
		return e.ids, nil
	}
	b := make([]byte, int(e.n)*width)
	if _, err := e.file.f.ReadAt(b, e.off); err != nil {
		return nil, fmt.Errorf("%s: damaged work file: %w", e.file.f.Name(), err)
	}
	return b, nil
}

// entries appends the documents of a shard, unsorted; with their ids if load.
func (t *tokensFile) entries(dst []entry, shard, width int, load bool) ([]entry, error) {
	for _, c := range t.dir {
		if int(c.shard) != shard {
			continue
		}
		head := make([]byte, int64(c.docs)*12)
		if _, err := t.f.ReadAt(head, c.offset); err != nil {
			return nil, fmt.Errorf("%s: damaged work file: %w", t.f.Name(), err)
		}
		keys, lens := head[:8*c.docs], head[8*c.docs:]
		off, left := c.offset+int64(len(head)), c.tokens
		var ids []byte
		if load {
			ids = make([]byte, c.tokens*int64(width))
			if _, err := t.f.ReadAt(ids, off); err != nil {
				return nil, fmt.Errorf("%s: damaged work file: %w", t.f.Name(), err)
			}
		}
		for i := range int(c.docs) {
			n := binary.LittleEndian.Uint32(lens[4*i:])
			if left -= int64(n); left < 0 {
				return nil, fmt.Errorf("%s: damaged work file: a chunk at %d is too short", t.f.Name(), c.offset)
			}
			e := entry{key: binary.LittleEndian.Uint64(keys[8*i:]), n: n, file: t, off: off}
			if load {
				e.ids, ids = ids[:int(n)*width:int(n)*width], ids[int(n)*width:]
			}
			dst = append(dst, e)
			off += int64(n) * int64(width)
		}
	}
	return dst, nil
}

func sortEntries(es []entry) {
	slices.SortFunc(es, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
}
