package train

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"leolm/checkpoint"
	"leolm/dataset"
	"leolm/device"
	"leolm/internal/bounded"
	"leolm/internal/durable"
	"leolm/tensor"
)

// A checkpoint is a folder step-NNNNNNNN with weights.safetensors (float32
// values of what is trained; of new rows only those), optimizer.safetensors (AdamW's moments),
// state.json and, written last, the marker COMMIT. A folder without the
// marker is unfinished and never read.
const (
	weightsFile   = "weights.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
	commitMarker  = "COMMIT"
	stepPrefix    = "step-"
	bestFolder    = "best"
)

// state is what state.json holds.
type state struct {
	Recipe string `json:"recipe_sha256"`
	// Tokenizer is the fingerprint of the model's, Data identifies the shards by the recipe's keys. Checkpoints of 2026's
	// first versions have neither.
	Tokenizer string            `json:"tokenizer_fingerprint,omitempty"`
	Data      map[string]string `json:"data,omitempty"`
	Step      int               `json:"step"`
	Total     int               `json:"total"`
	Seen      int64             `json:"tokens_seen"`
	Position  dataset.Position  `json:"data_position"`
	Mean      float64           `json:"loss_mean"`
	Best      *float64          `json:"best_valid_loss"`
	Bad       int               `json:"evaluations_since_best"`
}

// identity is the hash of the parts of the recipe that must not change between a checkpoint and its resumption: all
// that the sequence of updates depends on. How the model is talked to and written is none of it.
func (c *Config) identity() string {
	k := *c
	k.Output, k.Name = "", ""
	k.Eval, k.Checkpoint, k.Export = EvalConfig{}, CheckpointConfig{}, ExportConfig{}
	k.Model.Generation, k.Model.ChatTemplate = nil, ""
	// Keys that came later are left out while they say what older binaries did.
	if k.Optimizer.Type == "adamw" {
		k.Optimizer.Type, k.Optimizer.Momentum = "", 0
	}
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (t *Trainer) checkpoints() string { return filepath.Join(t.cfg.Output, "checkpoints") }

// Save writes a checkpoint of the current step and removes the ones that are no longer kept.
func (t *Trainer) Save() error {
	t.lastSaved = time.Now()
	dir := filepath.Join(t.checkpoints(), fmt.Sprintf("%s%08d", stepPrefix, t.opt.Step))
	if durable.Marked(dir, commitMarker) {
		return nil
	}
	if err := t.write(dir); err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", t.opt.Step, err)
	}
	done, err := committed(t.checkpoints())
	if err != nil {
		return err
	}
	keep := max(t.cfg.Checkpoint.Keep, t.cfg.Checkpoint.Average, 1)
	for _, old := range done[:max(0, len(done)-keep)] {
		if err := remove(filepath.Join(t.checkpoints(), old.name)); err != nil {
			return err
		}
	}
	return nil
}

// saveBest writes the weights of the lowest validation loss so far.
func (t *Trainer) saveBest() error {
	dir := filepath.Join(t.checkpoints(), bestFolder)
	if err := remove(dir); err != nil {
		return err
	}
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	if err := t.writeWeights(filepath.Join(dir, weightsFile)); err != nil {
		return err
	}
	return durable.Mark(dir, commitMarker, nil)
}

// remove takes the marker away first, so that a half-removed folder is never read.
func remove(dir string) error {
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return nil
	}
	if err := durable.Unmark(dir, commitMarker); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func (t *Trainer) write(dir string) error {
	if err := remove(dir); err != nil {
		return err
	}
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	if err := t.writeWeights(filepath.Join(dir, weightsFile)); err != nil {
		return err
	}
	var moments []checkpoint.Output
	err := t.opt.state(func(name string, m device.OptimizerState) error {
		moments = append(moments, checkpoint.Output{
			Name: name, DType: tensor.U8, Shape: tensor.Shape{m.Bytes()},
			Write: func(w io.Writer) error {
				b := make([]byte, m.Bytes())
				m.Save(b)
				_, err := w.Write(b)
				return err
			},
		})
		return nil
	})
	if err != nil {
		return err
	}
	if err := checkpoint.WriteSafetensors(filepath.Join(dir, optimizerFile), nil, moments); err != nil {
		return err
	}
	s := state{Recipe: t.cfg.identity(), Tokenizer: t.sub.vocab.fingerprint, Data: t.dataIdentity(), Step: t.opt.Step, Total: t.total, Seen: t.seen, Mean: t.mean, Bad: t.bad}
	if t.data.batcher != nil {
		s.Position = t.data.batcher.Position()
	}
	if !math.IsInf(t.best, 0) {
		s.Best = &t.best
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, stateFile), append(b, '\n')); err != nil {
		return err
	}
	return durable.Mark(dir, commitMarker, nil)
}

func (t *Trainer) writeWeights(path string) error {
	var ts []checkpoint.Output
	for _, p := range t.sub.params {
		rows, cols, frozen := p.Weight.Rows(), p.Weight.Cols(), p.Weight.FrozenRows()
		shape := tensor.Shape{rows - frozen, cols}
		if p.Vector {
			shape = tensor.Shape{cols}
		}
		ts = append(ts, checkpoint.Output{Name: p.Name, DType: tensor.F32, Shape: shape, Write: func(w io.Writer) error {
			values := make([]float32, rows*cols)
			t.dev.ReadWeight(p.Weight, values)
			values = values[frozen*cols:]
			b := make([]byte, 0, 4*len(values))
			for _, v := range values {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
			_, err := w.Write(b)
			return err
		}})
	}
	return checkpoint.WriteSafetensors(path, nil, ts)
}

type savedStep struct {
	name string
	step int
}

// committed lists the finished checkpoints in dir, oldest first.
func committed(dir string) ([]savedStep, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []savedStep
	for _, e := range entries {
		n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), stepPrefix))
		if err != nil || !strings.HasPrefix(e.Name(), stepPrefix) || !durable.Marked(filepath.Join(dir, e.Name()), commitMarker) {
			continue
		}
		out = append(out, savedStep{e.Name(), n})
	}
	slices.SortFunc(out, func(a, b savedStep) int { return a.step - b.step })
	return out, nil
}

// resume goes on from the newest finished checkpoint.
func (t *Trainer) resume() error {
	done, err := committed(t.checkpoints())
	if err != nil || len(done) == 0 {
		return err
	}
	dir := filepath.Join(t.checkpoints(), done[len(done)-1].name)
	if err := t.read(dir); err != nil {
		if len(done) > 1 && !errors.Is(err, errOtherRecipe) {
			return fmt.Errorf("resume from %s: %w; if its files cannot be had again, remove the folder to go on from %s", dir, err, done[len(done)-2].name)
		}
		return fmt.Errorf("resume from %s: %w", dir, err)
	}
	t.obs.note("resumed at step %d of %d", t.opt.Step, t.total)
	return nil
}

// sweep removes what a killed process left of checkpoints that it didn't finish.
func (t *Trainer) sweep() error {
	entries, err := os.ReadDir(t.checkpoints())
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(t.checkpoints(), e.Name())
		if strings.HasPrefix(e.Name(), stepPrefix) && !durable.Marked(dir, commitMarker) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

var errOtherRecipe = errors.New("the checkpoint is of another recipe")

func (t *Trainer) read(dir string) error {
	b, err := bounded.Regular(filepath.Join(dir, stateFile), 16<<20)
	if err != nil {
		return err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s: %w", stateFile, err)
	}
	if s.Recipe != t.cfg.identity() || s.Total != t.total {
		return fmt.Errorf("%w (step %d of %d); choose another output folder, or remove the checkpoints to start anew", errOtherRecipe, s.Step, s.Total)
	}
	if err := t.sameData(&s); err != nil {
		return err
	}
	if err := t.readWeights(filepath.Join(dir, weightsFile)); err != nil {
		return err
	}
	f, err := checkpoint.OpenSafetensors(filepath.Join(dir, optimizerFile))
	if err != nil {
		return err
	}
	defer f.Close()
	err = t.opt.state(func(name string, m device.OptimizerState) error {
		v, ok := f.Tensor(name)
		if !ok {
			return fmt.Errorf("%s: tensor %q is missing", optimizerFile, name)
		}
		return m.Load(v.Data)
	})
	if err != nil {
		return err
	}
	if t.data.batcher != nil {
		if err := t.data.batcher.Seek(s.Position); err != nil {
			return err
		}
	}
	t.opt.Step, t.seen, t.mean, t.bad = s.Step, s.Seen, s.Mean, s.Bad
	if s.Best != nil {
		t.best = *s.Best
	}
	return nil
}

// dataIdentity identifies what the run is trained on, by the recipe's keys. It is found once: shards don't change under a
// run.
func (t *Trainer) dataIdentity() map[string]string {
	if t.identities == nil {
		t.identities = map[string]string{}
		for _, o := range t.data.opened {
			t.identities[o.key] = o.Identity()
		}
		if t.prefs != nil {
			t.identities["dpo.pairs"] = t.prefs.identity
		}
	}
	return t.identities
}

// sameData refuses a checkpoint of other data or of another vocabulary: what follows would be no continuation.
func (t *Trainer) sameData(s *state) error {
	if s.Tokenizer != "" && s.Tokenizer != t.sub.vocab.fingerprint {
		return &MismatchError{"model.tokenizer", fmt.Sprintf("the checkpoint was trained with the tokenizer %s, the recipe now gives %s", s.Tokenizer, t.sub.vocab.fingerprint),
			"bring the old files back, or choose another output folder to start anew"}
	}
	now := t.dataIdentity()
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		if now[key] != s.Data[key] {
			return &MismatchError{key, fmt.Sprintf("the data are not those that the first %d steps were trained on (%s then, %s now)", s.Step, s.Data[key], cmp.Or(now[key], "none")),
				"bring the old files back, or choose another output folder to start anew"}
		}
	}
	return nil
}

func (t *Trainer) readWeights(path string) error {
	f, err := checkpoint.OpenSafetensors(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range t.sub.params {
		v, ok := f.Tensor(p.Name)
		n, frozen := p.Weight.Rows()*p.Weight.Cols(), p.Weight.FrozenRows()*p.Weight.Cols()
		if !ok || v.DType != tensor.F32 || len(v.Data) != 4*(n-frozen) {
			return fmt.Errorf("%s: tensor %q is missing or has another shape", filepath.Base(path), p.Name)
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
