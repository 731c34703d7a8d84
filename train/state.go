package train

import (
	"context"
	"encoding/binary"
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

	"github.com/zeebo/xxh3"

	"leolm/checkpoint"
	"leolm/dataset/loader"
	"leolm/device"
	"leolm/internal/durable"
	"leolm/internal/recipe"
	"leolm/llama"
	"leolm/tensor"
)

// A checkpoint is a folder step-NNNNNNNN with weights.safetensors (float32
// values of what is trained; of new rows only those), optimizer.safetensors (AdamW's moments;
// of what is sharded weights-RANK.safetensors and optimizer-RANK.safetensors from each rank),
// state.json and, written last, the marker COMMIT, which holds the checksums of
// all these. A folder without the marker is unfinished and never read.
const (
	weightsFile   = "weights.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
	commitMarker  = "COMMIT"
	stepPrefix    = "step-"
	bestFolder    = "best"
	damagedPrefix = "damaged-"
)

// state is what state.json holds.
type state struct {
	Recipe string `json:"recipe_sha256"`
	// Tokenizer is the fingerprint of the model's, Data identifies the shards by the recipe's keys. Checkpoints of 2026's
	// first versions have neither.
	Tokenizer string            `json:"tokenizer_fingerprint,omitempty"`
	Data      map[string]string `json:"data,omitempty"`
	// Keys are the values that Recipe is the hash of, to say which one differs. Older checkpoints have none.
	Keys     map[string]string `json:"recipe,omitempty"`
	Step     int               `json:"step"`
	Total    int               `json:"total"`
	Seen     int64             `json:"tokens_seen"`
	Position loader.Position   `json:"data_position"`
	Loss     *float64          `json:"loss,omitempty"` // of the last step
	Mean     float64           `json:"loss_mean"`
	Best     *float64          `json:"best_valid_loss"`
	Bad      int               `json:"evaluations_since_best"`
	// Parts is how many sums the gradient of a step consisted of: none in checkpoints of runs in one process.
	Parts int `json:"parts,omitempty"`
}

func (t *Trainer) checkpoints() string { return filepath.Join(t.cfg.Output, "checkpoints") }

// Save writes a checkpoint of the current step and removes the ones that are no longer kept. All ranks call it.
func (t *Trainer) Save(ctx context.Context) error {
	begin := time.Now()
	t.lastSaved = begin
	dir := filepath.Join(t.checkpoints(), fmt.Sprintf("%s%08d", stepPrefix, t.opt.Step))
	done, err := t.ranks.any(ctx, t.ranks.Rank() == 0 && durable.Marked(dir, commitMarker))
	if err != nil || done {
		return err
	}
	if err := t.write(ctx, dir, t.writeParts); err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", t.opt.Step, err)
	}
	if err := t.ranks.failed(ctx, t.onFirst(t.removeOld)); err != nil {
		return err
	}
	if t.obs.Saved != nil && t.ranks.Rank() == 0 {
		t.obs.Saved(time.Since(begin))
	}
	return nil
}

// removeOld removes the checkpoints that are no longer kept.
func (t *Trainer) removeOld() error {
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
func (t *Trainer) saveBest(ctx context.Context) error {
	return t.write(ctx, filepath.Join(t.checkpoints(), bestFolder), t.writeWeights)
}

// mark finishes a checkpoint.
func mark(dir string, s sums) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.Mark(dir, commitMarker, append(b, '\n'))
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

// write writes a checkpoint: each rank with files what it alone has, rank 0 all that is the same on every rank, and the
// marker when the others are done.
func (t *Trainer) write(ctx context.Context, dir string, files func(dir string, written *sums) error) error {
	err := t.onFirst(func() error {
		if err := remove(dir); err != nil {
			return err
		}
		return durable.MkdirAll(dir)
	})
	if err := t.ranks.failed(ctx, err); err != nil {
		return err
	}
	written := sums{Tensors: map[string]map[string]string{}}
	if err := t.ranks.failed(ctx, errors.Join(files(dir, &written), t.dev.Sync())); err != nil {
		return err
	}
	mine, err := json.Marshal(written)
	if err != nil {
		return err
	}
	all, err := t.ranks.Gather(ctx, mine)
	if err != nil {
		return err
	}
	return t.ranks.failed(ctx, t.onFirst(func() error {
		for rank, b := range all {
			var theirs sums
			if err := json.Unmarshal(b, &theirs); err != nil {
				return fmt.Errorf("checksums of rank %d: %w", rank, err)
			}
			if err := t.drifted(rank, theirs.Tensors[weightsFile], written.Tensors[weightsFile]); err != nil {
				return err
			}
			maps.Copy(written.Tensors, theirs.Tensors)
		}
		return mark(dir, written)
	}))
}

// writeParts writes the files of this rank and adds their checksums.
func (t *Trainer) writeParts(dir string, written *sums) error {
	if err := t.writeWeights(dir, written); err != nil {
		return err
	}
	if t.opt.sharded() {
		if err := t.writeMoments(t.partOf(dir, optimizerFile), *written); err != nil {
			return err
		}
	}
	return t.onFirst(func() error {
		if !t.opt.sharded() {
			if err := t.writeMoments(filepath.Join(dir, optimizerFile), *written); err != nil {
				return err
			}
		}
		b, err := t.stateNow()
		if err != nil {
			return err
		}
		written.State = hexSum(xxh3.Hash(b))
		return durable.WriteFile(filepath.Join(dir, stateFile), b)
	})
}

// writeMoments writes the moments that this rank has and adds their checksums.
func (t *Trainer) writeMoments(path string, s sums) error {
	var moments []checkpoint.Output
	err := t.opt.state(func(name string, m device.OptimizerState) error {
		moments = append(moments, checkpoint.Output{
			Name: name, DType: tensor.U8, Shape: tensor.Shape{m.Bytes()},
			Write: func(w io.Writer) error {
				b := t.room.bytes(m.Bytes())
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
	into := map[string]string{}
	s.Tensors[filepath.Base(path)] = into
	return checkpoint.WriteSafetensors(path, nil, sealed(moments, into))
}

// stateNow is state.json of the run as it stands.
func (t *Trainer) stateNow() ([]byte, error) {
	keys, err := recipe.Values(t.cfg.essence())
	if err != nil {
		return nil, err
	}
	s := state{
		Recipe: t.cfg.identity(), Keys: keys, Tokenizer: t.sub.vocab.fingerprint, Data: t.dataIdentity(),
		Step: t.opt.Step, Total: t.length.steps, Position: t.objective.position(), Seen: t.seen, Mean: t.mean, Bad: t.bad,
	}
	if t.ranks.parts > 1 {
		s.Parts = t.ranks.parts
	}
	if !math.IsInf(t.best, 0) {
		s.Best = &t.best
	}
	if !math.IsNaN(t.loss) && !math.IsInf(t.loss, 0) {
		s.Loss = &t.loss
	}
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}

// partOf is the file of this rank for what otherwise is one file called name.
func (t *Trainer) partOf(dir, name string) string {
	base, ext, _ := strings.Cut(name, ".")
	return filepath.Join(dir, fmt.Sprintf("%s-%05d.%s", base, t.ranks.Rank(), ext))
}

// ownParams are the trained parameters whose values this rank has.
func (t *Trainer) ownParams() []llama.Param {
	if t.pool == nil {
		return t.sub.params
	}
	return slices.DeleteFunc(slices.Clone(t.sub.params), func(p llama.Param) bool { return !t.pool.mine(t.pool.of[p.Weight]) })
}

// writeWeights writes the trained values and adds their checksums: those that this rank has, where it has a share, else all
// of them on rank 0, while the other ranks look whether theirs are the same.
func (t *Trainer) writeWeights(dir string, s *sums) error {
	path := filepath.Join(dir, weightsFile)
	if t.pool != nil {
		path = t.partOf(dir, weightsFile)
	}
	var ts []checkpoint.Output
	for _, p := range t.ownParams() {
		rows, cols, frozen := p.Weight.Rows(), p.Weight.Cols(), p.Weight.FrozenRows()
		shape := tensor.Shape{rows - frozen, cols}
		if p.Vector {
			shape = tensor.Shape{cols}
		}
		ts = append(ts, checkpoint.Output{Name: p.Name, DType: tensor.F32, Shape: shape, Write: func(w io.Writer) error {
			values := t.room.floats(rows * cols)
			t.dev.ReadWeight(p.Weight, values)
			b := make([]byte, 0, 1<<16)
			for part := range slices.Chunk(values[frozen*cols:], cap(b)/4) {
				b = b[:0]
				for _, v := range part {
					b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
				}
				if _, err := w.Write(b); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	into := map[string]string{}
	s.Tensors[filepath.Base(path)] = into
	if t.pool == nil && t.ranks.Rank() > 0 {
		return sumUp(ts, into)
	}
	return checkpoint.WriteSafetensors(path, nil, sealed(ts, into))
}

type savedStep struct {
	name string
	step int
}

func namesOf(saved []savedStep) (names []string) {
	for _, s := range saved {
		names = append(names, s.name)
	}
	return names
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
