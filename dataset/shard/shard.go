package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
)

// Shards is a set of samples on disk, memory-mapped.
type Shards struct {
	prefix     string
	text, role *pair
	docs       *docTable
	record     *Record
}

// NotFoundError reports that there are no finished shards of a prefix.
type NotFoundError struct {
	Prefix string
	Err    error // what is missing, an fs.ErrNotExist
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no finished shards at %s: %v", e.Prefix, e.Err)
}

func (e *NotFoundError) Unwrap() error { return e.Err }

// Open opens PREFIX-text.bin/.idx with PREFIX-role.bin/.idx beside them
// or, for plain text, PREFIX.bin/.idx with a corpus's table of document
// starts, PREFIX.docs, if there is one. It checks that the files are whole and
// of the same lengths, and reads the record beside them if there is one.
func Open(prefix string) (*Shards, error) {
	text, err := openPair(prefix + "-text")
	if errors.Is(err, fs.ErrNotExist) {
		if _, plain := os.Stat(prefix + ".idx"); plain != nil {
			return nil, &NotFoundError{Prefix: prefix, Err: err}
		}
		return openText(prefix)
	}
	if err != nil {
		return nil, err
	}
	s := &Shards{prefix: prefix, text: text}
	if s.role, err = openPair(prefix + "-role"); err == nil {
		err = s.checkRoles()
	}
	return s.finish(err)
}

// openText opens plain text.
func openText(prefix string) (*Shards, error) {
	text, err := openPair(prefix)
	if err != nil {
		return nil, err
	}
	s := &Shards{prefix: prefix, text: text}
	s.docs, err = openDocTable(prefix+".docs", text)
	return s.finish(err)
}

// finish reads the record of shards whose files are open, or closes them after an error.
func (s *Shards) finish(err error) (*Shards, error) {
	if err == nil {
		s.record, err = readRecord(s.prefix, s)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// checkRoles checks that there is a role for each id.
func (s *Shards) checkRoles() error {
	if s.text.n != s.role.n {
		return fmt.Errorf("%s: %d samples in -text but %d in -role", s.prefix, s.text.n, s.role.n)
	}
	for i := range s.text.n {
		if s.text.size(i) != s.role.size(i) {
			return fmt.Errorf("%s: sample %d has %d ids but %d roles", s.prefix, i, s.text.size(i), s.role.size(i))
		}
	}
	return nil
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

// Record says where the ids come from; nil for shards of other programs. TokenizerDir is a path, made of the shards' own.
func (s *Shards) Record() *Record { return s.record }

// Prefix is the path that the shards were opened with.
func (s *Shards) Prefix() string { return s.prefix }

// IDs is the number of ids of all samples.
func (s *Shards) IDs() int64 { return int64(len(s.text.bin) / elementSize(s.text.code)) }

// MaxID is the largest id: the record's, or found by reading all ids; -1 if there is none.
func (s *Shards) MaxID() int32 {
	if s.record != nil {
		return s.record.MaxID
	}
	return s.scanMaxID()
}

func (s *Shards) scanMaxID() int32 {
	if len(s.text.bin) == 0 {
		return -1
	}
	largest := uint32(0)
	switch b := s.text.bin; s.text.code {
	case codeUint8:
		for _, v := range b {
			largest = max(largest, uint32(v))
		}
	case codeUint16:
		for ; len(b) >= 2; b = b[2:] {
			largest = max(largest, uint32(binary.LittleEndian.Uint16(b)))
		}
	case codeInt32: // negative ids come out as the largest
		for ; len(b) >= 4; b = b[4:] {
			largest = max(largest, binary.LittleEndian.Uint32(b))
		}
	}
	return int32(min(largest, math.MaxInt32))
}
