package train

import (
	"context"
	"errors"
	"fmt"

	"leolm/catalog"
	"leolm/device"
	"leolm/grad"
	"leolm/llama"
	"leolm/open"
	"leolm/tokenizer"
)

// distill is next-token training that also learns from another model's distributions (Hinton et al. 2015): every token with
// a loss weight counts α·CE + (1−α)·T²·KL(teacher ‖ student), both distributions at temperature T. The teacher runs beside
// the trained model on the same micro-batches.
type distill struct {
	*nextToken
	files   *catalog.Model
	teacher *llama.Model
	vocab   int // ids that both models know
}

func openDistill(t *Trainer) (objective, error) {
	name := t.cfg.Distill.Teacher
	files, err := openTeacher(name, t.sub.vocab.tok)
	if err != nil {
		return nil, err
	}
	next, err := openNextToken(t)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	o := &distill{nextToken: next, files: files}
	taught := files.Checkpoint.Config
	announce(t.dev, t.cfg, &taught, taught.VocabSize, true)
	if o.teacher, err = open.Weights(context.Background(), files, t.dev, llama.LoadOptions{}); err != nil {
		return nil, errors.Join(fmt.Errorf("distill.teacher: %w", err), files.Close())
	}
	o.vocab = min(o.teacher.Vocab, t.sub.vocab.tok.Used())
	if made := o.teacher.Config.MaxPositions; t.cfg.Data.SequenceLength > made {
		t.obs.note("distill.teacher: %s was made for %d positions; what lies beyond them it has never seen", files.Name, made)
	}
	o.head = o.both
	return o, nil
}

// openTeacher opens the files of a teacher whose ids mean what the student's do: it may have more of them, not fewer.
func openTeacher(name string, student *tokenizer.Tokenizer) (*catalog.Model, error) {
	files, err := catalog.Open(name, catalog.Options{})
	if err != nil {
		return nil, fmt.Errorf("distill.teacher: %w", err)
	}
	if err := checkTeacher(files, student); err != nil {
		return nil, errors.Join(err, files.Close())
	}
	return files, nil
}

// checkTeacher refuses a teacher of other ids with a *MismatchError.
func checkTeacher(files *catalog.Model, student *tokenizer.Tokenizer) error {
	ok, why := fitsTeacher(files, student)
	if ok {
		return nil
	}
	return &MismatchError{"distill.teacher", fmt.Sprintf("%s has another tokenizer (%d ids, fingerprint %s) than the trained model (%d ids, %s): %s",
		files.Name, files.Tokenizer.Vocab(), files.Tokenizer.Fingerprint(), student.Vocab(), student.Fingerprint(), why),
		"its probabilities would be those of other tokens; choose a teacher with the same tokenizer"}
}

func fitsTeacher(files *catalog.Model, student *tokenizer.Tokenizer) (ok bool, why string) {
	if ok = files.Tokenizer.Fingerprint() == student.Fingerprint(); !ok {
		ok, why = files.Tokenizer.Extends(student)
	}
	if ok && files.Checkpoint.Config.VocabSize < student.Used() {
		return false, fmt.Sprintf("it has rows for %d ids only", files.Checkpoint.Config.VocabSize)
	}
	return ok, why
}

// both is the loss of cross-entropy and divergence. The teacher runs first, while nothing of the student is kept.
func (o *distill) both(t *Trainer) lossHead {
	c, b := t.cfg.Distill, &t.micro.batch
	teacher := &device.Teacher{
		Hidden: o.teacher.Forward(t.dev, &llama.Batch{IDs: b.IDs, Positions: b.Positions, Seqs: b.Seqs}),
		Head:   o.teacher.Head, Vocab: o.vocab, Alpha: float32(*c.Alpha), Temperature: float32(c.Temperature),
	}
	return func(tape *grad.Tape, hidden *device.Tensor) func() float64 {
		m := t.sub.model
		found := tape.LinearDistill(hidden, m.Head, t.micro.targets, t.micro.weights, m.Vocab, teacher)
		t.dev.Release(teacher.Hidden)
		return func() float64 {
			loss := found()
			return *c.Alpha*loss.Loss + (1-*c.Alpha)*c.Temperature*c.Temperature*loss.Divergence
		}
	}
}

// identities implements objective.
func (o *distill) identities(into map[string]string) {
	into["distill.teacher"] = o.files.Fingerprint()
}

// beside implements objective.
func (o *distill) beside() []*llama.Model { return []*llama.Model{o.teacher} }

// Close implements objective.
func (o *distill) Close() error { return o.files.Close() }
