package train

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/internal/bounded"
	"leolm/llama"
	"leolm/tensor"
)

// resume goes on from the newest finished checkpoint that is whole on all ranks, and returns the number of parts that the
// gradients of the run before had: 0 if there was none.
func (t *Trainer) resume(ctx context.Context) (parts int, err error) {
	names, err := t.finished(ctx)
	if err != nil || len(names) == 0 {
		return 0, err
	}
	var failed []error
	for _, name := range slices.Backward(names) {
		dir := filepath.Join(t.checkpoints(), name)
		if err := t.visible(ctx, dir); err != nil {
			return 0, err
		}
		parts, err := t.read(dir)
		// One that is damaged for one rank is damaged for all; one that is refused ends them all.
		broken, other := t.ranks.any(ctx, damaged(err))
		if other != nil {
			return 0, errors.Join(err, other)
		}
		if !broken {
			if err = t.ranks.failed(ctx, err); err == nil {
				t.obs.note("resumed at step %d of %d", t.opt.Step, t.length.steps)
				return max(parts, 1), nil
			}
			return 0, fmt.Errorf("resume from %s: %w", dir, err)
		}
		if err == nil {
			err = errors.New("another rank cannot read it")
		}
		err = fmt.Errorf("resume from %s: %w", dir, err)
		failed = append(failed, err)
		t.damaged = append(t.damaged, dir)
		if len(failed) < len(names) {
			t.obs.note("%v; the checkpoint before it is tried", err)
		}
	}
	return 0, errors.Join(failed...)
}

// finished lists the finished checkpoints as rank 0 sees them, oldest first.
func (t *Trainer) finished(ctx context.Context) (names []string, err error) {
	err = t.onFirst(func() error {
		done, err := committed(t.checkpoints())
		names = namesOf(done)
		return err
	})
	if err := t.ranks.failed(ctx, err); err != nil {
		return nil, err
	}
	mine, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	all, err := t.ranks.world.Gather(ctx, mine)
	if err != nil {
		return nil, err
	}
	return names, json.Unmarshal(all[0], &names)
}

// damaged tells an error of a checkpoint's files from one of what they are asked for.
func damaged(err error) bool {
	var sum *DamagedError
	var form *checkpoint.FormatError
	return errors.As(err, &sum) || errors.As(err, &form) || errors.Is(err, fs.ErrNotExist)
}

// aside puts checkpoints that cannot be read out of the way of new ones of the same steps.
func (t *Trainer) aside() error {
	for _, dir := range t.damaged {
		to := filepath.Join(filepath.Dir(dir), damagedPrefix+filepath.Base(dir))
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.Rename(dir, to); err != nil {
			return err
		}
		t.obs.note("the damaged checkpoint is now %s", to)
	}
	t.damaged = nil
	return nil
}

// readState reads state.json of a checkpoint and the checksums of all its files.
func readState(dir string) (s state, want sums, err error) {
	if want, err = readSums(dir); err != nil {
		return s, want, err
	}
	path := filepath.Join(dir, stateFile)
	b, err := bounded.Regular(path, 16<<20)
	if err != nil {
		return s, want, err
	}
	if want.State != "" && want.State != hexSum(xxh3.Hash(b)) {
		return s, want, &DamagedError{File: path}
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, want, &DamagedError{File: path, Err: err}
	}
	return s, want, nil
}

// read reads a checkpoint, and returns the number of parts that the gradients had.
func (t *Trainer) read(dir string) (parts int, err error) {
	s, want, err := readState(dir)
	if err != nil {
		return 0, err
	}
	if err := t.cfg.sameRecipe(&s); err != nil {
		return 0, err
	}
	if err := t.sameData(&s); err != nil {
		return 0, err // before the number of steps, which follows from the data
	}
	if err := sameSteps(&s, t.length.steps); err != nil {
		return 0, err
	}
	if err := t.readWeights(dir); err != nil {
		return 0, err
	}
	if err := t.readMoments(dir, want); err != nil {
		return 0, err
	}
	if err := t.objective.seek(s.Position); err != nil {
		return 0, err
	}
	t.opt.Step, t.seen, t.mean, t.bad, t.teamBefore = s.Step, s.Seen, s.Mean, s.Bad, s.Tensor
	if s.Best != nil {
		t.best = *s.Best
	}
	if s.Loss != nil {
		t.loss = *s.Loss
	}
	return s.Parts, nil
}

// readMoments reads the moments that this rank has, whichever ranks wrote them.
func (t *Trainer) readMoments(dir string, want sums) error {
	files, err := openParts(dir, optimizerFile)
	if err != nil {
		return err
	}
	defer files.Close()
	return t.opt.state(func(name string, m device.OptimizerState) error {
		v, path := files.tensor(name)
		if v == nil {
			return &DamagedError{File: path, Tensor: name, Err: errors.New("it is missing")}
		}
		if err := want.check(path, v); err != nil {
			return err
		}
		if err := m.Load(v.Data); err != nil {
			return &DamagedError{File: path, Tensor: name, Err: err}
		}
		return nil
	})
}

// parts are the files of one kind in a checkpoint: one, or one of each rank that wrote it.
type parts struct {
	paths []string
	files []*checkpoint.Safetensors
}

// openParts opens the file called name, or those of the ranks.
func openParts(dir, name string) (p *parts, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	p = &parts{}
	pattern := strings.Replace(name, ".", "*.", 1)
	for _, e := range entries {
		if ok, _ := path.Match(pattern, e.Name()); ok {
			p.paths = append(p.paths, filepath.Join(dir, e.Name()))
		}
	}
	if len(p.paths) == 0 {
		p.paths = []string{filepath.Join(dir, name)} // for the error
	}
	for _, path := range p.paths {
		f, err := checkpoint.OpenSafetensors(path)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.files = append(p.files, f)
	}
	return p, nil
}

// Close gives the files back.
func (p *parts) Close() {
	for _, f := range p.files {
		f.Close() // it was only read
	}
}

// tensor finds a tensor, and the file that has it; nil, and the first file, if none has.
func (p *parts) tensor(name string) (*checkpoint.Stored, string) {
	for i, f := range p.files {
		if v, ok := f.Tensor(name); ok {
			return v, p.paths[i]
		}
	}
	return nil, p.paths[0]
}

// savedWeights are those of a checkpoint.
type savedWeights struct {
	files *parts
	sums  sums
}

// openWeights opens the weights of a checkpoint, whichever ranks wrote them.
func openWeights(dir string) (*savedWeights, error) {
	want, err := readSums(dir)
	if err != nil {
		return nil, err
	}
	files, err := openParts(dir, weightsFile)
	return &savedWeights{files, want}, err
}

// of returns what was saved of a weight: its trained values as they are in the file.
func (s *savedWeights) of(p llama.Param) ([]byte, error) {
	v, path := s.files.tensor(p.Name)
	if v == nil || v.DType != tensor.F32 || len(v.Data) != 4*trainedOf(p.Weight) {
		return nil, &DamagedError{File: path, Tensor: p.Name, Err: errors.New("it is missing or has another shape")}
	}
	return v.Data, s.sums.check(path, v)
}

// readWeights makes the weights that this rank has those of a checkpoint, or the mean of those of several.
func (t *Trainer) readWeights(dirs ...string) error {
	saved := make([]*savedWeights, 0, len(dirs))
	for _, dir := range dirs {
		s, err := openWeights(dir)
		if err != nil {
			return err
		}
		defer s.files.Close()
		saved = append(saved, s)
	}
	data := make([][]byte, len(saved))
	for _, p := range t.ownParams() {
		dev, part, from := t.part(p.Weight)
		values, frozen := t.room.floats(part.Rows()*part.Cols()), part.FrozenRows()*part.Cols()
		if frozen > 0 {
			dev.ReadWeight(part, values)
		}
		for i, s := range saved {
			b, err := s.of(p)
			if err != nil {
				return err
			}
			data[i] = b[4*max(0, from-p.Weight.FrozenRows()*p.Weight.Cols()):]
		}
		meanOf(values[frozen:], data)
		if err := dev.WriteWeight(part, values); err != nil {
			return err
		}
	}
	return nil
}

// meanOf writes the means of stored values to dst: their sums in float64, divided and rounded once. Of one, it is that one.
func meanOf(dst []float32, saved [][]byte) {
	value := func(b []byte, i int) float64 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	}
	for i := range dst {
		sum := value(saved[0], i)
		for _, b := range saved[1:] {
			sum += value(b, i)
		}
		dst[i] = float32(sum / float64(len(saved)))
	}
}
