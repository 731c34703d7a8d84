package cpu

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"leolm/internal/durable"
	"leolm/internal/mapped"
	"leolm/tensor"
)

// A Store keeps the repacked weights of one model in a file that is mapped
// into memory, so that they are packed once and a second start is instant, and so that
// the memory they take is the page cache's, which the system can take back.
//
// The file: the packed weights one after another, each at a multiple of storeAlign; an index
// in JSON; the index's checksum and length (uint64 each, little endian) and the magic. It is written
// under a temporary name, so a file under its own name is whole. The index has a checksum (XXH3) of each
// block of storeBlock bytes of the weights before it; all are checked when the file is opened.
type Store struct {
	path        string
	fingerprint string
	data        []byte // the whole file, when it is read
	entries     map[string]storeEntry

	file   *durable.File // while it is written
	size   int64
	order  []storeEntry
	mapped [][]byte
	gone   []func() // tell package mapped that the memory is no longer there

	damage error // why an existing file is rewritten; nil if it isn't
}

// storeEntry is one packed weight.
type storeEntry struct {
	Name   string `json:"name"`
	DType  string `json:"dtype"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
}

type storeIndex struct {
	Fingerprint string       `json:"fingerprint"`
	Entries     []storeEntry `json:"entries"`
	Sums        []uint64     `json:"sums"` // of the blocks, up to the index
}

const (
	storeAlign = 4096
	// storeMagic changes with the layout of any kernel.
	storeMagic = "LEOPACK2"
	// storeBlock is what one checksum is of: small enough that all processors share the work.
	storeBlock = 8 << 20
)

// errNoStore says that this system cannot map files.
var errNoStore = errors.New("mapped weights are not supported on this system")

// OpenStore opens the packed weights of the model with this fingerprint, or
// starts to write them if there are none (or those of another model or of another version). need is about how
// many bytes a new file will take; they must be free on its disk.
func OpenStore(path, fingerprint string, need int64) (*Store, error) {
	s := &Store{path: path, fingerprint: fingerprint, entries: map[string]storeEntry{}}
	if data, err := mapFile(path); err == nil {
		unregister := mapped.Register(path, 0, data)
		if err = s.index(data); err == nil {
			s.data = data
			s.gone = append(s.gone, unregister)
			return s, nil
		}
		unregister()
		unmap(data)
		s.entries = map[string]storeEntry{}
		if !errors.Is(err, errOtherModel) {
			s.damage = err
		}
	}
	if err := durable.Need(path, need+need/20); err != nil {
		return nil, err
	}
	if _, err := durable.RemoveStale(filepath.Dir(path), 0); err != nil {
		return nil, err
	}
	f, err := durable.Create(path)
	if err != nil {
		return nil, err
	}
	s.file = f
	return s, nil
}

// Damage says why an existing file of this model is rewritten; nil if it was intact or there was none.
func (s *Store) Damage() error { return s.damage }

var errOtherModel = errors.New("the packed weights are of another model, or of another version")

// index reads the index at the end of data and checks all of data against its checksums.
func (s *Store) index(data []byte) error {
	bad := fmt.Errorf("%s: the packed weights are damaged", s.path)
	tail := len(storeMagic) + 16
	if len(data) < tail || string(data[len(data)-len(storeMagic):]) != storeMagic {
		return errOtherModel
	}
	sum := binary.LittleEndian.Uint64(data[len(data)-tail:])
	n := binary.LittleEndian.Uint64(data[len(data)-tail+8:])
	if n > uint64(len(data)-tail) {
		return bad
	}
	end := int64(len(data)-tail) - int64(n)
	index := data[end : end+int64(n)]
	if xxh3.Hash(index) != sum {
		return bad
	}
	var x storeIndex
	if err := json.Unmarshal(index, &x); err != nil {
		return bad
	}
	if x.Fingerprint != s.fingerprint {
		return errOtherModel
	}
	sums, err := blockSums(data[:end])
	if err != nil {
		return err
	}
	if len(sums) != len(x.Sums) {
		return bad
	}
	for i := range sums {
		if sums[i] == x.Sums[i] {
			continue
		}
		for _, e := range x.Entries {
			if e.Offset < int64(i+1)*storeBlock && e.Offset+e.Size > int64(i)*storeBlock {
				return fmt.Errorf("%w near weight %s", bad, e.Name)
			}
		}
		return bad
	}
	for _, e := range x.Entries {
		if e.Offset < 0 || e.Size < 0 || e.Offset%storeAlign != 0 || e.Size > end || e.Offset > end-e.Size {
			return bad
		}
		s.entries[e.Name] = e
	}
	return nil
}

// blockSums returns the checksums of the blocks of data, which is mapped. Reading it all is what the first token would do.
func blockSums(data []byte) ([]uint64, error) {
	sums := make([]uint64, (len(data)+storeBlock-1)/storeBlock)
	errs := make([]error, min(runtime.GOMAXPROCS(0), len(sums)))
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			errs[w] = mapped.Guard(func() error {
				for i := int(next.Add(1)) - 1; i < len(sums); i = int(next.Add(1)) - 1 {
					sums[i] = xxh3.Hash(data[i*storeBlock : min((i+1)*storeBlock, len(data))])
				}
				return nil
			})
		})
	}
	wg.Wait()
	return sums, errors.Join(errs...)
}

// place returns the memory for a packed weight of size bytes: filled already, if
// the file is read; else to be filled by the caller.
func (s *Store) place(name string, dt tensor.DType, rows, cols, size int) (b []byte, filled bool, err error) {
	if s.data != nil {
		e, ok := s.entries[name]
		if !ok || e.DType != dt.String() || e.Rows != rows || e.Cols != cols || e.Size != int64(size) {
			return nil, false, fmt.Errorf("%s: weight %s is missing or has another shape; remove the file", s.path, name)
		}
		return s.data[e.Offset : e.Offset+e.Size], true, nil
	}
	if s.file == nil {
		return nil, false, fmt.Errorf("%s is finished; weight %s came too late", s.path, name)
	}
	e := storeEntry{Name: name, DType: dt.String(), Rows: rows, Cols: cols, Offset: s.size, Size: int64(size)}
	if s.size > math.MaxInt64-int64(size)-storeAlign {
		return nil, false, fmt.Errorf("%s: too large", s.path)
	}
	s.size += (int64(size) + storeAlign - 1) / storeAlign * storeAlign
	if err := reserve(s.file.OS(), e.Offset, s.size-e.Offset); err != nil {
		return nil, false, fmt.Errorf("%s: %w", s.path, err)
	}
	if b, err = mapRange(s.file.OS(), e.Offset, size); err != nil {
		return nil, false, fmt.Errorf("%s: %w", s.path, err)
	}
	s.order = append(s.order, e)
	s.mapped = append(s.mapped, b)
	s.gone = append(s.gone, mapped.Register(s.path, e.Offset, b))
	return b, false, nil
}

// Finish makes a written file visible under its name. The weights stay mapped.
func (s *Store) Finish() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	defer f.Abort()
	err := func() error {
		sums, err := s.writtenSums(f)
		if err != nil {
			return err
		}
		index, err := json.Marshal(storeIndex{Fingerprint: s.fingerprint, Entries: s.order, Sums: sums})
		if err != nil {
			return err
		}
		sum, n := xxh3.Hash(index), uint64(len(index))
		index = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(index, sum), n)
		if _, err := f.WriteAt(append(index, storeMagic...), s.size); err != nil {
			return err
		}
		return f.Commit()
	}()
	if err != nil {
		return fmt.Errorf("packed weights: %w", err)
	}
	return nil
}

// writtenSums are the checksums of what was written.
func (s *Store) writtenSums(f *durable.File) ([]uint64, error) {
	if s.size == 0 {
		return nil, nil
	}
	data, err := mapRange(f.OS(), 0, int(s.size))
	if err != nil {
		return nil, err
	}
	defer unmap(data)
	defer mapped.Register(s.path, 0, data)()
	return blockSums(data)
}

// Abort drops a file that was not finished.
func (s *Store) Abort() {
	if s.file != nil {
		s.file.Abort()
		s.file = nil
	}
}

// Close unmaps the weights; none of them may be used afterwards.
func (s *Store) Close() {
	s.Abort()
	for _, gone := range s.gone {
		gone()
	}
	s.gone = nil
	if s.data != nil {
		unmap(s.data)
	}
	for _, b := range s.mapped {
		unmap(b)
	}
	s.data, s.mapped = nil, nil
}
