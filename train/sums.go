package train

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/zeebo/xxh3"

	"leolm/checkpoint"
	"leolm/internal/bounded"
)

// sums are the checksums of a checkpoint: XXH3 of state.json, and of each tensor
// of each file, in hexadecimal. Checkpoints of Leo's first versions have none.
type sums struct {
	State   string                       `json:"state,omitempty"`
	Tensors map[string]map[string]string `json:"tensors,omitempty"` // by file and name
}

func hexSum(sum uint64) string { return fmt.Sprintf("%016x", sum) }

// sealed adds checksums to tensors: into is filled as they are written.
func sealed(tensors []checkpoint.Output, into map[string]string) []checkpoint.Output {
	for i := range tensors {
		t := &tensors[i]
		write, name := t.Write, t.Name
		t.Write = func(w io.Writer) error {
			h := xxh3.New()
			if err := write(io.MultiWriter(w, h)); err != nil {
				return err
			}
			into[name] = hexSum(h.Sum64())
			return nil
		}
	}
	return tensors
}

// readSums reads the checksums in a checkpoint's marker.
func readSums(dir string) (sums, error) {
	var s sums
	path := filepath.Join(dir, commitMarker)
	b, err := bounded.Regular(path, 256<<20)
	if err != nil || len(b) == 0 {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, &DamagedError{File: path, Err: err}
	}
	return s, nil
}

// check holds a tensor of a file against its checksum.
func (s sums) check(path string, t *checkpoint.Stored) error {
	if len(s.Tensors) == 0 {
		return nil
	}
	if s.Tensors[filepath.Base(path)][t.Name] != hexSum(xxh3.Hash(t.Data)) {
		return &DamagedError{File: path, Tensor: t.Name}
	}
	return nil
}

// A DamagedError says that a file of a checkpoint is not what was written.
type DamagedError struct {
	File   string
	Tensor string // "" if the damage is not in one
	Err    error  // nil for a wrong checksum
}

func (e *DamagedError) Error() string {
	text := e.File
	if e.Tensor != "" {
		text += fmt.Sprintf(": tensor %q", e.Tensor)
	}
	if e.Err == nil {
		return text + " is damaged: its checksum is wrong"
	}
	return text + " is damaged: " + e.Err.Error()
}

func (e *DamagedError) Unwrap() error { return e.Err }
