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
	"io/fs"
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
	"leolm/internal/bounded"
	"leolm/internal/durable"
	"leolm/internal/recipe"
	"leolm/tensor"
)

// A checkpoint is a folder step-NNNNNNNN with weights.safetensors (float32
// values of what is trained; of new rows only those), optimizer.safetensors (AdamW's moments),
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
}

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

// essence is the parts of the recipe that must not change between a checkpoint and its resumption: all that the sequence
// of updates depends on. How the model is talked to and written is none of it.
func (c *Config) essence() Config {
	k := *c
	k.Output, k.Name = "", ""
	k.Eval, k.Checkpoint, k.Export = EvalConfig{}, CheckpointConfig{}, ExportConfig{}
	k.Model.Generation, k.Model.ChatTemplate = nil, ""
	return k
}

// identity is the hash of the recipe's essence.
func (c *Config) identity() string {
	k := c.essence()
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
	written := sums{Tensors: map[string]map[string]string{}}
	if err := t.writeWeights(filepath.Join(dir, weightsFile), written); err != nil {
		return err
	}
	return mark(dir, written)
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

func (t *Trainer) write(dir string) error {
	if err := remove(dir); err != nil {
		return err
	}
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	written := sums{Tensors: map[string]map[string]string{}}
	if err := t.writeWeights(filepath.Join(dir, weightsFile), written); err != nil {
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
	written.Tensors[optimizerFile] = map[string]string{}
	if err := checkpoint.WriteSafetensors(filepath.Join(dir, optimizerFile), nil, sealed(moments, written.Tensors[optimizerFile])); err != nil {
		return err
	}
	keys, err := recipe.Values(t.cfg.essence())
	if err != nil {
		return err
	}
	s := state{Recipe: t.cfg.identity(), Keys: keys, Tokenizer: t.sub.vocab.fingerprint, Data: t.dataIdentity(), Step: t.opt.Step, Total: t.length.steps, Position: t.objective.position(), Seen: t.seen, Mean: t.mean, Bad: t.bad}
	if !math.IsInf(t.best, 0) {
		s.Best = &t.best
	}
	if !math.IsNaN(t.loss) && !math.IsInf(t.loss, 0) {
		s.Loss = &t.loss
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if err := durable.WriteFile(filepath.Join(dir, stateFile), b); err != nil {
		return err
	}
	written.State = hexSum(xxh3.Hash(b))
	return mark(dir, written)
}

// writeWeights writes the trained values and adds their checksums.
func (t *Trainer) writeWeights(path string, s sums) error {
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
	into := map[string]string{}
	s.Tensors[filepath.Base(path)] = into
	return checkpoint.WriteSafetensors(path, nil, sealed(ts, into))
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

// OtherRecipeError reports a checkpoint that a recipe can't go on from.
type OtherRecipeError struct {
	Step, Total int      // of the checkpoint
	Changed     []string // what differs, "KEY: NEW instead of OLD"; empty where the checkpoint does not say
}

func (e *OtherRecipeError) Error() string {
	what := ""
	if len(e.Changed) > 0 {
		what = ": " + strings.Join(e.Changed, ", ")
	}
	return fmt.Sprintf("the checkpoint (step %d of %d) is of another recipe%s; choose another output folder, or remove the checkpoints to start anew", e.Step, e.Total, what)
}

// changed lists the keys with other values, in order.
func changed(old, now map[string]string) []string {
	var list []string
	if old == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(now)) {
		if was, ok := old[key]; !ok {
			list = append(list, fmt.Sprintf("%s: %s is new", key, now[key]))
		} else if was != now[key] {
			list = append(list, fmt.Sprintf("%s: %s instead of %s", key, now[key], was))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(old)) {
		if _, ok := now[key]; !ok {
			list = append(list, key+" is gone")
		}
	}
	return list
}

func (t *Trainer) read(dir string) error {
	want, err := readSums(dir)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	b, err := bounded.Regular(path, 16<<20)
	if err != nil {
		return err
	}
	if want.State != "" && want.State != hexSum(xxh3.Hash(b)) {
		return &DamagedError{File: path}
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return &DamagedError{File: path, Err: err}
	}
	if s.Recipe != t.cfg.identity() {
		now, err := recipe.Values(t.cfg.essence())
		if err != nil {
			return err
		}
		return &OtherRecipeError{Step: s.Step, Total: s.Total, Changed: changed(s.Keys, now)}
	}
	if err := t.sameData(&s); err != nil {
		return err // before the number of steps, which follows from the data
	}
	if s.Total != t.length.steps {
		return &OtherRecipeError{Step: s.Step, Total: s.Total, Changed: []string{fmt.Sprintf("%d steps instead of %d", t.length.steps, s.Total)}}
	}
	if err := t.readWeights(filepath.Join(dir, weightsFile)); err != nil {
		return err
	}
	path = filepath.Join(dir, optimizerFile)
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

// dataIdentity identifies what the run is trained on, by the recipe's keys. It is found once: shards don't change under a
// run.
func (t *Trainer) dataIdentity() map[string]string {
	if t.identities == nil {
		t.identities = map[string]string{}
		for _, o := range t.data.opened {
			t.identities[o.key] = o.Identity()
		}
		if t.sub.base != nil && t.cfg.frozenBase() {
			t.identities["model.base"] = t.sub.base.Checkpoint.Identity()
		}
		t.objective.identities(t.identities)
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
