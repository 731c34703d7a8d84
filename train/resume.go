package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/internal/bounded"
	"leolm/tensor"
)

// resume goes on from the newest finished checkpoint that is whole.
func (t *Trainer) resume() error {
	done, err := committed(t.checkpoints())
	if err != nil || len(done) == 0 {
		return err
	}
	var failed []error
	for _, d := range slices.Backward(done) {
		dir := filepath.Join(t.checkpoints(), d.name)
		err := t.read(dir)
		if err == nil {
			t.obs.note("resumed at step %d of %d", t.opt.Step, t.length.steps)
			return nil
		}
		err = fmt.Errorf("resume from %s: %w", dir, err)
		if !damaged(err) {
			return err
		}
		failed = append(failed, err)
		t.damaged = append(t.damaged, dir)
		if len(failed) < len(done) {
			t.obs.note("%v; the checkpoint before it is tried", err)
		}
	}
	return errors.Join(failed...)
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

func (t *Trainer) read(dir string) error {
	s, want, err := readState(dir)
	if err != nil {
		return err
	}
	if err := t.cfg.sameRecipe(&s); err != nil {
		return err
	}
	if err := t.sameData(&s); err != nil {
		return err // before the number of steps, which follows from the data
	}
	if err := sameSteps(&s, t.length.steps); err != nil {
		return err
	}
	if err := t.readWeights(filepath.Join(dir, weightsFile)); err != nil {
		return err
	}
	path := filepath.Join(dir, optimizerFile)
	f, err := checkpoint.OpenSafetensors(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = t.opt.state(func(name string, m device.OptimizerState) error {
		v, ok := f.Tensor(name)
		if !ok {
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
	if err != nil {
		return err
	}
	if err := t.objective.seek(s.Position); err != nil {
		return err
	}
	t.opt.Step, t.seen, t.mean, t.bad = s.Step, s.Seen, s.Mean, s.Bad
	if s.Best != nil {
		t.best = *s.Best
	}
	if s.Loss != nil {
		t.loss = *s.Loss
	}
	return nil
}

func (t *Trainer) readWeights(path string) error {
	want, err := readSums(filepath.Dir(path))
	if err != nil {
		return err
	}
	f, err := checkpoint.OpenSafetensors(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range t.sub.params {
		v, ok := f.Tensor(p.Name)
		n, frozen := p.Weight.Rows()*p.Weight.Cols(), p.Weight.FrozenRows()*p.Weight.Cols()
		if !ok || v.DType != tensor.F32 || len(v.Data) != 4*(n-frozen) {
			return &DamagedError{File: path, Tensor: p.Name, Err: errors.New("it is missing or has another shape")}
		}
		if err := want.check(path, v); err != nil {
			return err
		}
		values := make([]float32, n)
		if frozen > 0 {
			t.dev.ReadWeight(p.Weight, values)
		}
		for i := range values[frozen:] {
			values[frozen+i] = math.Float32frombits(binary.LittleEndian.Uint32(v.Data[4*i:]))
		}
		if err := t.dev.WriteWeight(p.Weight, values); err != nil {
			return err
		}
	}
	return nil
}
