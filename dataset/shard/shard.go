package shard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"leolm/internal/durable"
)

// Megatron's indexed dataset ("MMIDIDX", version 1), little endian:
//
//	.idx: magic (9 bytes), u64 version, u8 type code, u64 sequences,
//	      u64 document entries, i32 sizes[], i64 byte offsets[], i64 documents[]
//	.bin: the numbers of all sequences, one after the other
//
// Open-Assistant's pretokenizer writes two of them per set, -text with the
// ids and -role with a role per id, and one document entry: 0.
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

// streamWriter writes one .bin/.idx pair.
type streamWriter struct {
	prefix string
	code   byte
	bin    *durable.File
	buf    *bufio.Writer
	sizes  []int32
	tmp    []byte
}

func newStreamWriter(prefix string, code byte) (*streamWriter, error) {
	bin, err := durable.Create(prefix + ".bin")
	if err != nil {
		return nil, err
	}
	return &streamWriter{prefix: prefix, code: code, bin: bin, buf: bufio.NewWriterSize(bin, 1<<20)}, nil
}

func (w *streamWriter) addIDs(ids []int32) error {
	w.tmp = w.tmp[:0]
	if w.code == codeUint16 {
		for _, id := range ids {
			w.tmp = append(w.tmp, byte(id), byte(id>>8))
		}
	} else {
		for _, id := range ids {
			w.tmp = binary.LittleEndian.AppendUint32(w.tmp, uint32(id))
		}
	}
	w.sizes = append(w.sizes, int32(len(ids)))
	_, err := w.buf.Write(w.tmp)
	return err
}

func (w *streamWriter) addRoles(roles []uint8) error {
	w.tmp = w.tmp[:0]
	for _, r := range roles {
		w.tmp = append(w.tmp, r, 0)
	}
	w.sizes = append(w.sizes, int32(len(roles)))
	_, err := w.buf.Write(w.tmp)
	return err
}

// commit makes the pair visible. An old index goes first and the new one
// comes last, so that an .idx never stands beside another run's .bin.
func (w *streamWriter) commit() error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if err := os.Remove(w.prefix + ".idx"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.bin.Commit(); err != nil {
		return err
	}
	idx := make([]byte, 0, idxHeader+12*len(w.sizes)+8)
	idx = append(idx, idxMagic...)
	idx = binary.LittleEndian.AppendUint64(idx, 1)
	idx = append(idx, w.code)
	idx = binary.LittleEndian.AppendUint64(idx, uint64(len(w.sizes)))
	idx = binary.LittleEndian.AppendUint64(idx, 1)
	for _, n := range w.sizes {
		idx = binary.LittleEndian.AppendUint32(idx, uint32(n))
	}
	at := uint64(0)
	for _, n := range w.sizes {
		idx = binary.LittleEndian.AppendUint64(idx, at)
		at += uint64(n) * uint64(elementSize(w.code))
	}
	idx = binary.LittleEndian.AppendUint64(idx, 0)
	return durable.WriteFile(w.prefix+".idx", idx)
}

// Writer writes a set of samples as Megatron shards: PREFIX-text.bin and
// .idx with the ids, PREFIX-role.bin and .idx with their roles. Nothing is
// visible before Commit.
type Writer struct {
	prefix     string
	text, role *streamWriter
	vocab      int
	record     Record
}

// NewWriter starts shards at a prefix whose folder exists. Ids must be
// below from.Vocab; they take two bytes if that is below 65500, else four, as in
// Megatron. Roles take two bytes. from says where the ids come from, but for
// what the writer counts.
func NewWriter(prefix string, from Record) (*Writer, error) {
	vocab := from.Vocab
	code := byte(codeInt32)
	if vocab < 65500 {
		code = codeUint16
	}
	text, err := newStreamWriter(prefix+"-text", code)
	if err != nil {
		return nil, err
	}
	role, err := newStreamWriter(prefix+"-role", codeUint16)
	if err != nil {
		text.bin.Abort()
		return nil, err
	}
	from.MaxID, from.Samples, from.IDs = -1, 0, 0
	return &Writer{prefix: prefix, text: text, role: role, vocab: vocab, record: from}, nil
}

// Add appends a sample with as many roles as ids.
func (w *Writer) Add(s Sample) error {
	if len(s.Roles) != len(s.IDs) {
		return fmt.Errorf("%s: sample %d has %d ids but %d roles", w.text.prefix, len(w.text.sizes), len(s.IDs), len(s.Roles))
	}
	for _, id := range s.IDs {
		if uint32(id) >= uint32(w.vocab) {
			return fmt.Errorf("%s: sample %d has the id %d, outside of the vocabulary of %d", w.text.prefix, len(w.text.sizes), id, w.vocab)
		}
		w.record.MaxID = max(w.record.MaxID, id)
	}
	w.record.Samples++
	w.record.IDs += int64(len(s.IDs))
	if err := w.text.addIDs(s.IDs); err != nil {
		return err
	}
	return w.role.addRoles(s.Roles)
}

// Commit makes the shards visible.
func (w *Writer) Commit() error {
	if err := removeRecord(w.prefix); err != nil {
		return err
	}
	if err := w.text.commit(); err != nil {
		return err
	}
	if err := w.role.commit(); err != nil {
		return err
	}
	if w.record.Tokenizer == "" {
		return nil // ids of nobody's tokenizer, as tests make them
	}
	return WriteRecord(w.prefix, w.record)
}

// Abort drops what was written; after Commit it does nothing.
func (w *Writer) Abort() {
	w.text.bin.Abort()
	w.role.bin.Abort()
}

// stream is an open .bin/.idx pair, memory-mapped.
type stream struct {
	path  string
	code  byte
	idx   []byte // whole file
	bin   []byte
	n     int
	close []func() error
}

func openStream(prefix string) (s *stream, err error) {
	s = &stream{path: prefix}
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

func (s *stream) Close() error {
	var errs []error
	for _, c := range s.close {
		errs = append(errs, c())
	}
	s.close, s.idx, s.bin = nil, nil, nil
	return errors.Join(errs...)
}

func (s *stream) size(i int) int {
	return int(int32(binary.LittleEndian.Uint32(s.idx[idxHeader+4*i:])))
}

func (s *stream) offset(i int) uint64 {
	return binary.LittleEndian.Uint64(s.idx[idxHeader+4*s.n+8*i:])
}

func (s *stream) bytes(i int) []byte {
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

// Shards is a set of samples on disk, memory-mapped.
type Shards struct {
	prefix     string
	text, role *stream
	docs       *docTable
	record     *Record
}

// Open opens PREFIX-text.bin/.idx with PREFIX-role.bin/.idx beside them
// or, for plain text, PREFIX.bin/.idx with package corpus's table of document
// starts, PREFIX.docs, if there is one. It checks that the files are whole and
// of the same lengths, and reads the record beside them if there is one.
func Open(prefix string) (*Shards, error) {
	text, err := openStream(prefix + "-text")
	if errors.Is(err, fs.ErrNotExist) {
		if _, plain := os.Stat(prefix + ".idx"); plain == nil {
			if text, err = openStream(prefix); err != nil {
				return nil, err
			}
			s := &Shards{prefix: prefix, text: text}
			if s.docs, err = openDocTable(prefix+".docs", text); err == nil {
				s.record, err = readRecord(prefix, s)
			}
			if err != nil {
				s.Close()
				return nil, err
			}
			return s, nil
		}
		return nil, fmt.Errorf("no finished shards at %s: %w (leo data prepare writes them)", prefix, err)
	}
	if err != nil {
		return nil, err
	}
	role, err := openStream(prefix + "-role")
	if err != nil {
		text.Close()
		return nil, err
	}
	s := &Shards{prefix: prefix, text: text, role: role}
	if text.n != role.n {
		err = fmt.Errorf("%s: %d samples in -text but %d in -role", prefix, text.n, role.n)
	}
	for i := 0; i < text.n && err == nil; i++ {
		if text.size(i) != role.size(i) {
			err = fmt.Errorf("%s: sample %d has %d ids but %d roles", prefix, i, text.size(i), role.size(i))
		}
	}
	if err == nil {
		s.record, err = readRecord(prefix, s)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close unmaps the files; samples handed out before stay valid.
func (s *Shards) Close() error {
	err := s.text.Close()
	if s.role != nil {
		err = errors.Join(err, s.role.Close())
	}
	if s.docs != nil {
		err = errors.Join(err, s.docs.unmap())
	}
	return err
}

// HasRoles reports whether the samples have roles: dialogues do, plain text doesn't.
func (s *Shards) HasRoles() bool { return s.role != nil }

// Len is the number of samples.
func (s *Shards) Len() int { return s.text.n }

// Length is the number of ids of sample i.
func (s *Shards) Length(i int) int { return s.text.size(i) }

// Sample copies sample i out of the files. Roles is nil for plain text.
func (s *Shards) Sample(i int) Sample {
	n := s.text.size(i)
	out := Sample{IDs: appendElements(make([]int32, 0, n), s.text.code, s.text.bytes(i))}
	if s.role != nil {
		out.Roles = appendElements(make([]uint8, 0, n), s.role.code, s.role.bytes(i))
	}
	if s.docs != nil {
		out.Docs = s.docs.starts(i)
	}
	return out
}

// docTable is package corpus's table of document starts, little endian:
// "LEODOCS1", u64 samples, u64 n, u64 first entry of each sample [samples+1],
// u32 position in its sample [n].
type docTable struct {
	data    []byte
	samples int
	unmap   func() error
}

const docsMagic = "LEODOCS1"

// openDocTable returns nil if there is no table.
func openDocTable(path string, text *stream) (*docTable, error) {
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

func (t *docTable) check(path string, text *stream) error {
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
