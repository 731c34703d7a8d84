package cpu

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"leolm/internal/durable"
	"leolm/tensor"
)

// A Store keeps the repacked weights of one model in a file that is mapped
// into memory, so that they are packed once and a second start is instant, and so that
// the memory they take is the page cache's, which the system can take back.
//
// The file: the packed weights one behind the other, each at a multiple of storeAlign; an index
// in JSON; the index's length (uint64, little endian) and the magic. It is written
// under a temporary name, so a file under its own name is whole.
type Store struct {
	path        string
	fingerprint string
	data        []byte // the whole file, when it is read
	entries     map[string]storeEntry

	file   *os.File // while it is written
	size   int64
	order  []storeEntry
	mapped [][]byte
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
}

const (
	storeAlign = 4096
	// storeMagic changes with the layout of any kernel.
	storeMagic = "LEOPACK1"
)

// errNoStore says that this system cannot map files.
var errNoStore = errors.New("mapped weights are not supported on this system")

// OpenStore opens the packed weights of the model with this fingerprint, or
// starts to write them if there are none (or those of another model or of another version). need is about how
// many bytes a new file will take; they must be free on its disk.
func OpenStore(path, fingerprint string, need int64) (*Store, error) {
	s := &Store{path: path, fingerprint: fingerprint, entries: map[string]storeEntry{}}
	if data, err := mapFile(path); err == nil {
		if s.index(data) == nil {
			s.data = data
			return s, nil
		}
		unmap(data)
	}
	if err := durable.Need(path, need+need/20); err != nil {
		return nil, err
	}
	if _, err := durable.RemoveStale(filepath.Dir(path), 0); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	s.file = f
	return s, nil
}

// index reads the index at the end of data.
func (s *Store) index(data []byte) error {
	bad := fmt.Errorf("%s holds no packed weights of this model", s.path)
	tail := len(storeMagic) + 8
	if len(data) < tail || string(data[len(data)-len(storeMagic):]) != storeMagic {
		return bad
	}
	n := binary.LittleEndian.Uint64(data[len(data)-tail:])
	if n > uint64(len(data)-tail) {
		return bad
	}
	end := int64(len(data)-tail) - int64(n)
	var x storeIndex
	if err := json.Unmarshal(data[end:end+int64(n)], &x); err != nil || x.Fingerprint != s.fingerprint {
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
	if err := reserve(s.file, e.Offset, s.size-e.Offset); err != nil {
		return nil, false, fmt.Errorf("%s: %w", s.path, err)
	}
	if b, err = mapRange(s.file, e.Offset, size); err != nil {
		return nil, false, fmt.Errorf("%s: %w", s.path, err)
	}
	s.order = append(s.order, e)
	s.mapped = append(s.mapped, b)
	return b, false, nil
}

// Finish makes a written file visible under its name. The weights stay mapped.
func (s *Store) Finish() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	err := func() error {
		index, err := json.Marshal(storeIndex{Fingerprint: s.fingerprint, Entries: s.order})
		if err != nil {
			return err
		}
		index = binary.LittleEndian.AppendUint64(index, uint64(len(index)))
		if _, err := f.WriteAt(append(index, storeMagic...), s.size); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := f.Chmod(0o644); err != nil {
			return err
		}
		return os.Rename(f.Name(), s.path)
	}()
	f.Close()
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("packed weights: %w", err)
	}
	return nil
}

// Abort drops a file that was not finished.
func (s *Store) Abort() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
		s.file = nil
	}
}

// Close unmaps the weights; none of them may be used afterwards.
func (s *Store) Close() {
	s.Abort()
	if s.data != nil {
		unmap(s.data)
	}
	for _, b := range s.mapped {
		unmap(b)
	}
	s.data, s.mapped = nil, nil
}
