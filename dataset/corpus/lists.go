package corpus

import (
	"bufio"
	"encoding/json"

	"leolm/internal/durable"
)

// A listFile holds one JSON object a line. It begins to exist with the first.
type listFile struct {
	path string
	f    *durable.File
	bw   *bufio.Writer
}

// A skippedRow could not be read.
type skippedRow struct {
	File  string `json:"file"`
	Row   int64  `json:"row"`
	Error string `json:"error"`
}

func (s *listFile) add(item any) error {
	if s.f == nil {
		f, err := durable.Create(s.path)
		if err != nil {
			return err
		}
		s.f, s.bw = f, bufio.NewWriter(f)
	}
	b, err := json.Marshal(item)
	if err != nil {
		return err
	}
	s.bw.Write(b)
	return s.bw.WriteByte('\n')
}

// commit makes a list that exists visible.
func (s *listFile) commit() error {
	if err := s.bw.Flush(); err != nil {
		return err
	}
	return s.f.Commit()
}

func (s *listFile) abort() {
	if s.f != nil {
		s.f.Abort()
	}
}
