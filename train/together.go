package train

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/internal/sysmem"
)

// What ranks must have in common beside the recipe: the memory of a machine, the output folder, the weights.

// here is how many ranks take memory of this machine, this one included.
func (r *ranks) here() int {
	if c, ok := r.Comm.(interface{ Here() int }); ok {
		return c.Here()
	}
	return 1
}

// need refuses what the ranks of this machine would take together of its memory, or of that of dev, if that is a GPU.
func need(dev device.Device, what string, bytes float64, here int) error {
	if here > 1 {
		what = fmt.Sprintf("%s, in each of %d ranks on this machine,", what, here)
	}
	if dev != nil && onGPU(dev) {
		return device.Need(dev, what, bytes)
	}
	return sysmem.Need(what, bytes*float64(here))
}

// NotSharedError says that a rank does not see what rank 0 writes into the output folder.
type NotSharedError struct{ Dir string }

func (e *NotSharedError) Error() string {
	return fmt.Sprintf("output: what rank 0 writes into %s is not there: all ranks need the same folder, on a disk that their machines share", e.Dir)
}

// How long a rank waits for files that another one has written: network file systems show names late. Where there is no
// shared folder, all have to wait before they can say so.
const (
	lateProbe = 10 * time.Second
	lateFiles = time.Minute
)

// sameFolder makes sure that all ranks have the same folder: rank 0 writes a file with a new name, the others read it.
func (r *ranks) sameFolder(ctx context.Context, dir string, patience time.Duration) error {
	if r.Size() == 1 {
		return nil
	}
	err := os.MkdirAll(dir, 0o777)
	var path string
	if r.Rank() == 0 && err == nil {
		path = filepath.Join(dir, ".leo-ranks-"+rand.Text())
		err = os.WriteFile(path, nil, 0o666)
		defer os.Remove(path)
	}
	if err := r.failed(ctx, err); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	all, err := r.Gather(ctx, []byte(filepath.Base(path)))
	if err != nil {
		return err
	}
	err = eventually(ctx, patience, func() error {
		_, err := os.Stat(filepath.Join(dir, string(all[0])))
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = &NotSharedError{dir}
	}
	return r.failed(ctx, err)
}

// eventually calls f again and again as long as it misses a file, but not for longer than patience.
func eventually(ctx context.Context, patience time.Duration, f func() error) error {
	for end := time.Now().Add(patience); ; {
		err := f()
		if !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// complete fails if a file of a finished checkpoint is not there.
func complete(dir string) error {
	s, err := readSums(dir)
	if err != nil || len(s.Tensors) == 0 { // of the first versions
		return err
	}
	names := []string{}
	if s.State != "" {
		names = append(names, stateFile)
	}
	for name := range s.Tensors {
		names = append(names, name)
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// visible returns when all ranks see the files of a checkpoint that rank 0 sees.
func (t *Trainer) visible(ctx context.Context, dir string) error {
	if t.ranks.Size() == 1 {
		return nil // whoever reads it finds what is missing
	}
	missing, err := t.ranks.any(ctx, t.ranks.Rank() == 0 && complete(dir) != nil)
	if err != nil || missing {
		return err // no reason to wait
	}
	return t.ranks.failed(ctx, eventually(ctx, lateFiles, func() error { return complete(dir) }))
}

// DriftError says that ranks which have all weights have different ones.
type DriftError struct {
	Step   int
	Rank   int // that differs from rank 0
	Tensor string
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("step %d: rank %d has other values of %s than rank 0, though both computed the same: a fault of a processor or of memory? The checkpoints before were compared, too: start again to go on from the last one",
		e.Step, e.Rank, e.Tensor)
}

// drifted compares the checksums of another rank's weights with those that rank 0 has written.
func (t *Trainer) drifted(rank int, theirs, written map[string]string) error {
	for _, p := range t.sub.params {
		if sum, ok := theirs[p.Name]; ok && sum != written[p.Name] {
			return &DriftError{Step: t.opt.Step, Rank: rank, Tensor: p.Name}
		}
	}
	return nil
}

// sumUp fills in the checksums of tensors, which it writes nowhere.
func sumUp(tensors []checkpoint.Output, into map[string]string) error {
	for _, s := range sealed(tensors, into) {
		if err := s.Write(io.Discard); err != nil {
			return err
		}
	}
	return nil
}
