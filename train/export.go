package train

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"leolm/checkpoint"
	"leolm/device"
	"leolm/internal/durable"
	"leolm/llama"
	"leolm/tensor"
)

// deviceRows reads a weight for the writers: copied as a whole when the first row is asked for.
type deviceRows struct {
	dev  device.Device
	w    device.Weight
	turn *turn
}

// turn lets one of several weights have a copy at a time: writers read one after another.
type turn struct {
	mu   *sync.Mutex // a device is used by one goroutine at a time
	room *room
	last *deviceRows // whose values are in the room
}

func newTurn(r *room) *turn { return &turn{mu: new(sync.Mutex), room: r} }

// beside is the turn of a weight that is read beside others of the same device.
func (t *turn) beside() *turn { return &turn{mu: t.mu, room: new(room)} }

func (r *deviceRows) ReadRow(dst []float32, row int) error {
	r.turn.mu.Lock()
	defer r.turn.mu.Unlock()
	if r.turn.last != r {
		r.dev.ReadWeight(r.w, r.turn.room.floats(r.w.Rows()*r.w.Cols()))
		r.turn.last = r
	}
	copy(dst, r.turn.room.values[row*r.w.Cols():(row+1)*r.w.Cols()])
	return nil
}

// mergedRows are the rows of a projection with its adapters folded in: W + Σ scale·B·A, with DoRA scaled to the
// magnitudes.
type mergedRows struct {
	deviceRows
	adapters []*llama.Adapter
	low      []*deviceRows // A, B and DoRA's magnitudes of each adapter, read beside it
}

func newMergedRows(dev device.Device, l *llama.Linear, base *turn) *mergedRows {
	r := &mergedRows{deviceRows: deviceRows{dev: dev, w: l.W, turn: base}, adapters: l.Adapters}
	for _, a := range l.Adapters {
		ws := []device.Weight{a.A, a.B, nil}
		if a.DoRA != nil {
			ws[2] = a.DoRA.Magnitude
		}
		for _, w := range ws {
			r.low = append(r.low, &deviceRows{dev: dev, w: w, turn: base.beside()})
		}
	}
	return r
}

func (r *mergedRows) ReadRow(dst []float32, row int) error {
	if err := r.deviceRows.ReadRow(dst, row); err != nil {
		return err
	}
	in := make([]float32, len(dst))
	for i, a := range r.adapters {
		b := make([]float32, a.B.Cols())
		if err := r.low[3*i+1].ReadRow(b, row); err != nil {
			return err
		}
		for k, s := range b {
			if err := r.low[3*i].ReadRow(in, k); err != nil {
				return err
			}
			for j, v := range in {
				dst[j] += a.Scale * s * v
			}
		}
		if a.DoRA != nil {
			if err := r.rescale(dst, r.low[3*i+2], row); err != nil {
				return err
			}
		}
	}
	return nil
}

// rescale gives dst the length that DoRA learnt for the row.
func (r *mergedRows) rescale(dst []float32, magnitudes *deviceRows, row int) error {
	lengths := make([]float32, magnitudes.w.Cols())
	if err := magnitudes.ReadRow(lengths, 0); err != nil {
		return err
	}
	var sum float64
	for _, v := range dst {
		sum += float64(v) * float64(v)
	}
	f := lengths[row] / float32(math.Sqrt(max(sum, math.SmallestNonzeroFloat32)))
	for j := range dst {
		dst[j] *= f
	}
	return nil
}

// average replaces the weights by the mean of those in the last n finished checkpoints.
func (t *Trainer) average(n int, done []string) error {
	dirs := []string{}
	for _, name := range done[max(0, len(done)-n):] {
		dirs = append(dirs, filepath.Join(t.checkpoints(), name))
	}
	if len(dirs) == 0 {
		return nil
	}
	if err := t.readWeights(dirs...); err != nil {
		return err
	}
	t.obs.note("the exported weights are the mean of the last %d checkpoints", len(dirs))
	return nil
}

// exportTogether writes the model of the run that has finished, on rank 0. Where each rank has its share of the weights, they
// average them and help it to the others'.
func (t *Trainer) exportTogether(ctx context.Context) error {
	if n := t.cfg.Checkpoint.Average; t.hasPart() && n > 1 {
		done, err := t.finished(ctx) // one rank may see more of them than another
		if err != nil {
			return err
		}
		for _, name := range done[max(0, len(done)-n):] {
			if err := t.visible(ctx, filepath.Join(t.checkpoints(), name)); err != nil {
				return err
			}
		}
		err = t.average(n, done)
		if t.pool != nil {
			t.pool.changed()
		}
		if err = t.ranks.failed(ctx, err); err != nil {
			return err
		}
	}
	return t.ranks.failed(ctx, t.settle(t.onFirstTeam(t.Export)))
}

// Export writes the finished run's model into the output folder: see export.
func (t *Trainer) Export() error {
	return t.export(filepath.Join(t.cfg.Output, "model"), filepath.Join(t.cfg.Output, "adapter"))
}

// ExportCheckpoint writes the model of a checkpoint of the run, "best" or a name such as "step-00000200", into dir;
// with "" that of the newest, from which a run goes on. Adapters go into the folder adapter in dir.
func (t *Trainer) ExportCheckpoint(name, dir string) error {
	if name == "" {
		if t.opt.Step == 0 {
			return fmt.Errorf("%s holds no finished checkpoint yet", t.checkpoints())
		}
		return t.export(dir, filepath.Join(dir, "adapter"))
	}
	from := filepath.Join(t.checkpoints(), name)
	if !durable.Marked(from, commitMarker) {
		return fmt.Errorf("%s is no finished checkpoint", from)
	}
	if err := t.readWeights(from); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return t.export(dir, filepath.Join(dir, "adapter"))
}

// exportDType is the type that the model is written in: export.dtype, else what the run computed with.
func (c *Config) exportDType() (tensor.DType, error) {
	return tensor.ParseDType(cmp.Or(c.Export.DType, c.Compute.DType))
}

// generation is what the exported model recommends for drawing tokens: the base's, changed by the recipe's.
func (t *Trainer) generation() checkpoint.Generation {
	var g checkpoint.Generation
	if t.sub.base != nil {
		g = t.sub.base.Checkpoint.Generation
	}
	r := t.cfg.Model.Generation
	if r == nil {
		return g.Drawing()
	}
	for _, f := range []struct{ dst, v **float64 }{
		{&g.Temperature, &r.Temperature}, {&g.TopP, &r.TopP}, {&g.MinP, &r.MinP}, {&g.RepetitionPenalty, &r.RepetitionPenalty},
	} {
		if *f.v != nil {
			*f.dst = *f.v
		}
	}
	if r.TopK != nil {
		g.TopK = r.TopK
	}
	g.DoSample = nil // a base's "greedy" would make the recipe's numbers count for nothing
	return g.Drawing()
}

// vocabularyFiles are the tokenizer's files of an export, with the fingerprint that opening compares.
func (t *Trainer) vocabularyFiles() (checkpoint.TokenizerFiles, error) {
	return t.sub.vocab.files.WithFingerprint(t.sub.vocab.fingerprint)
}

// ggufMetadata are the entries of the GGUF file beside the folder, for a base that was one.
func (t *Trainer) ggufMetadata(files checkpoint.TokenizerFiles) ([]checkpoint.KV, error) {
	kv, notes, err := files.WithVocabulary(t.sub.base.Checkpoint.GGUF.KeptMetadata(), &t.sub.cfg)
	if err != nil {
		return nil, err
	}
	g := t.generation()
	for _, n := range slices.Concat(notes, g.GGUFNotes(), t.sub.cfg.GGUFNotes()) {
		t.sub.vocab.note("%s", n)
	}
	return g.Replace(kv), nil
}

// checkExport finds, before the first step, what would fail after the last.
func (t *Trainer) checkExport() error {
	if _, err := t.cfg.exportDType(); err != nil {
		return fmt.Errorf("export.dtype: %w", err)
	}
	fail := func(err error) error { return fmt.Errorf("the trained model could not be written: %w", err) }
	if _, err := t.sub.cfg.ConfigJSON(); err != nil {
		return fail(err)
	}
	files, err := t.vocabularyFiles()
	if err != nil {
		return fail(err)
	}
	if t.sub.fromGGUF() {
		if _, err := t.ggufMetadata(files); err != nil {
			return fail(err)
		}
	}
	probe, err := os.CreateTemp(t.cfg.Output, ".leo-probe-*")
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	defer os.Remove(probe.Name())
	return probe.Close()
}

func (s *subject) fromGGUF() bool { return s.base != nil && s.base.Checkpoint.GGUF != nil }

// export writes the model as a Hugging Face folder, with the tokenizer's
// files. Adapters are written as a PEFT folder, and with lora.merge the merged
// model too; a base that was a GGUF file gets a GGUF file beside the folder.
func (t *Trainer) export(dir, adapter string) error {
	if n := t.cfg.Checkpoint.Average; n > 1 && !t.hasPart() {
		done, err := committed(t.checkpoints())
		if err != nil {
			return err
		}
		if err := t.average(n, namesOf(done)); err != nil {
			return err
		}
	}
	if l := t.cfg.LoRA; l != nil {
		if err := t.exportAdapter(adapter); err != nil || !l.Merge {
			return err
		}
	}
	dtype, err := t.cfg.exportDType()
	if err != nil {
		return err
	}
	files, err := t.vocabularyFiles()
	if err != nil {
		return err
	}
	sources, g := t.sources(), t.generation()
	if err := checkpoint.WriteHF(dir, t.sub.cfg, sources, checkpoint.HFOptions{DType: dtype, Files: files, Generation: &g}); err != nil {
		return err
	}
	if !t.sub.fromGGUF() {
		return nil
	}
	metadata, err := t.ggufMetadata(files)
	if err != nil {
		return err
	}
	typ, err := checkpoint.ParseFileType(dtype.String())
	if err != nil {
		return err
	}
	return checkpoint.WriteGGUF(dir+".gguf", t.sub.cfg, sources, checkpoint.GGUFOptions{Type: typ, Metadata: metadata})
}

// sources are the weights with the adapters folded in.
func (t *Trainer) sources() []checkpoint.Source {
	linears := map[string]*llama.Linear{}
	for _, l := range t.sub.model.Linears() {
		linears[l.Name+".weight"] = l
	}
	var sources []checkpoint.Source
	one := newTurn(t.room)
	for _, p := range t.sub.model.Params() {
		src := t.source(p, one)
		if l := linears[p.Name]; l != nil && len(l.Adapters) > 0 {
			src.From = newMergedRows(t.dev, l, one)
		}
		sources = append(sources, src)
	}
	return sources
}

func (t *Trainer) source(p llama.Param, one *turn) checkpoint.Source {
	s := checkpoint.Source{Name: p.Name, Shape: tensor.Shape{p.Weight.Rows(), p.Weight.Cols()}, From: &deviceRows{dev: t.dev, w: p.Weight, turn: one}}
	if p.Vector {
		s.Shape = tensor.Shape{p.Weight.Cols()}
	}
	return s
}

// exportAdapter writes the adapters as PEFT has them.
func (t *Trainer) exportAdapter(dir string) error {
	var targets []checkpoint.LoRAWeights
	one := newTurn(t.room)
	for _, l := range t.sub.model.Linears() {
		for _, a := range l.Adapters {
			w := checkpoint.LoRAWeights{
				Name: l.Name + ".weight", A: &deviceRows{dev: t.dev, w: a.A, turn: one}, B: &deviceRows{dev: t.dev, w: a.B, turn: one}, Rank: a.A.Rows(), In: l.W.Cols(), Out: l.W.Rows(),
			}
			if a.DoRA != nil {
				w.Magnitude = &deviceRows{dev: t.dev, w: a.DoRA.Magnitude, turn: one}
			}
			targets = append(targets, w)
		}
	}
	l := t.cfg.LoRA
	opt := checkpoint.PEFTOptions{
		BaseModel: t.cfg.Model.Base, Rank: l.Rank, Alpha: l.Alpha, RSLoRA: l.RSLoRA, Dropout: l.Dropout, RankPattern: l.RankPattern, AlphaPattern: l.AlphaPattern,
	}
	grown := t.sub.base != nil && t.sub.cfg.VocabSize > t.sub.base.Checkpoint.Config.VocabSize
	for _, p := range t.sub.model.Params() {
		// Rows that the base lacks travel with the adapter, trained or not.
		rows := grown && (p.Weight == t.sub.model.Embed || p.Weight == t.sub.model.Head)
		if !p.Weight.Trainable() && !rows {
			continue
		}
		opt.Saved = append(opt.Saved, t.source(p, one))
		if t.sub.cfg.TieEmbeddings && p.Weight == t.sub.model.Embed {
			// PEFT gives a saved embedding a copy of its own, and the LM head stays what it was: say both.
			head := t.source(p, one)
			head.Name = "lm_head.weight"
			opt.Saved = append(opt.Saved, head)
		}
	}
	files, err := t.vocabularyFiles()
	if err != nil {
		return err
	}
	if opt.Files, err = files.WithBase(t.sub.base.Checkpoint.Identity()); err != nil {
		return err
	}
	return checkpoint.WritePEFT(dir, targets, opt)
}
