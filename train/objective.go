package train

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"leolm/dataset/loader"
	"leolm/llama"
)

// objective is what a run learns from and how: the examples, and the loss whose gradients a step adds up. Everything else
// of a run (schedule, clipping, update, checkpoints, validation, export) is the same for all.
type objective interface {
	// windows counts the examples of an epoch.
	windows(epoch int) int
	// accumulate adds the gradients of step st.Step, of all ranks, to what the weights hold and fills in the step's loss,
	// epoch and counts. A step whose LossTokens stay 0 has no gradients.
	accumulate(ctx context.Context, t *Trainer, st *Step) error
	// position is where the examples of the next step begin, and seek goes there. Objectives whose examples follow from
	// the number of the step have none.
	position() loader.Position
	seek(p loader.Position) error
	// identities adds what the examples and the models beside the trained one are, by the recipe's keys.
	identities(into map[string]string)
	// beside are the models that are run but not trained.
	beside() []*llama.Model
	Close() error
}

// openObjective opens what the recipe asks for. The trained model is open already.
func openObjective(t *Trainer) (objective, error) {
	switch c := t.cfg; {
	case c.DPO != nil:
		return openDPO(t)
	case c.ORPO != nil:
		return openORPO(t)
	case c.KTO != nil:
		return openKTO(t)
	case c.Distill != nil:
		return openDistill(t)
	}
	return openNextToken(t)
}

// demand is what an objective takes, as far as the recipe alone says it.
type demand struct {
	key, file string // the recipe's key and file of its own examples; "" for shards
	sequences int    // sequences of an example that a micro-batch holds
	// reference says that the base is run beside the trained model; without adapters it is held a second time.
	reference bool
	// forwards counts the passes without gradients over the tokens of a step, by the trained model or its reference.
	forwards int
	teacher  string
}

func (c *Config) demand() demand {
	switch {
	case c.DPO != nil:
		return demand{key: "dpo.pairs", file: c.DPO.Pairs, sequences: 2, reference: true, forwards: 1}
	case c.ORPO != nil:
		return demand{key: "orpo.pairs", file: c.ORPO.Pairs, sequences: 2}
	case c.KTO != nil:
		// The mismatched answers run through both models.
		return demand{key: "kto.examples", file: c.KTO.Examples, sequences: 1, reference: true, forwards: 3}
	case c.Distill != nil:
		return demand{sequences: 1, teacher: c.Distill.Teacher}
	}
	return demand{sequences: 1}
}

// validateObjective reports contradictions between objectives and in their keys.
func (c *Config) validateObjective(no refusal) {
	chosen := 0
	for _, set := range []bool{c.DPO != nil, c.ORPO != nil, c.KTO != nil, c.Distill != nil} {
		if set {
			chosen++
		}
	}
	no(chosen > 1, "", "give at most one of dpo, orpo, kto and distill")
	no(len(c.Data.Train) == 0 && c.demand().key == "", "data.train", "name at least one set of shards")
	positive := func(key string, v float64) { no(!(v > 0 && v <= maxFactor), key, "%v must be a positive number", v) }
	if d := c.DPO; d != nil {
		no(d.Pairs == "", "dpo.pairs", "name a file with prompt, chosen and rejected")
		positive("dpo.beta", d.Beta)
	}
	if o := c.ORPO; o != nil {
		no(o.Pairs == "", "orpo.pairs", "name a file with prompt, chosen and rejected")
		no(c.Data.Loss == "roles", "data.loss", `orpo counts "all" of the chosen dialogue or the "assistant" alone`)
		positive("orpo.beta", o.Beta)
	}
	if k := c.KTO; k != nil {
		no(k.Examples == "", "kto.examples", "name a file with prompt, completion and label")
		no(c.Batch.Global < 2, "batch.global", "%d: kto estimates a divergence from the answers of other prompts in the batch, which takes two at least", c.Batch.Global)
		positive("kto.beta", k.Beta)
		for key, w := range map[string]*float64{"kto.desirable_weight": k.Desirable, "kto.undesirable_weight": k.Undesirable} {
			no(!(*w >= 0 && *w <= maxFactor), key, "%v must be a number from 0", *w)
		}
	}
	if d := c.Distill; d != nil {
		no(d.Teacher == "", "distill.teacher", "name the model to learn from")
		no(!(*d.Alpha >= 0 && *d.Alpha <= 1), "distill.alpha", "%v must be in [0, 1]", *d.Alpha)
		positive("distill.temperature", d.Temperature)
	}
}

// maxFactor bounds factors of a loss, far above any that makes sense.
const maxFactor = 1e6

// deriveObjective fills in the defaults of TRL.
func (c *Config) deriveObjective() {
	if d := c.DPO; d != nil {
		d.Beta = cmp.Or(d.Beta, 0.1)
	}
	if o := c.ORPO; o != nil {
		o.Beta = cmp.Or(o.Beta, 0.1)
	}
	if k := c.KTO; k != nil {
		k.Beta = cmp.Or(k.Beta, 0.1)
		one := 1.0
		k.Desirable, k.Undesirable = cmp.Or(k.Desirable, &one), cmp.Or(k.Undesirable, &one)
	}
	if d := c.Distill; d != nil {
		half := 0.5
		d.Alpha, d.Temperature = cmp.Or(d.Alpha, &half), cmp.Or(d.Temperature, 1)
	}
}

// step takes one optimizer step.
func (t *Trainer) step(ctx context.Context) (*Step, error) {
	start := time.Now()
	n := t.opt.Step + 1
	st := &Step{Step: n, Total: t.length.steps, LR: t.cfg.Schedule.LR(t.cfg.Optimizer.LR, n, t.length.steps)}
	if err := t.objective.accumulate(ctx, t, st); err != nil {
		return nil, err
	}
	if st.LossTokens == 0 {
		return st, t.skipEmpty(st, start)
	}
	t.empty = 0
	if err := t.finishStep(ctx, st, start); err != nil {
		return nil, err
	}
	return st, nil
}

// skipEmpty passes over a batch in which every answer was cut off; where none of several carries loss, the roles do not fit
// the recipe, and no step will do.
func (t *Trainer) skipEmpty(st *Step, start time.Time) error {
	if t.empty++; t.empty > maxEmpty {
		return fmt.Errorf("step %d: no token carries loss, in %d batches running; check data.loss and data.sequence_length against the shards", st.Step, t.empty)
	}
	t.obs.note("step %d: no token of the batch carries loss: skipped", st.Step)
	t.opt.Step++
	st.Skipped, st.Loss, st.Seconds = true, t.mean, time.Since(start).Seconds()
	return nil
}

// share is the factor of a micro-batch's tokens in the loss of a step: each is one of total, or the mean of the micro-batch
// one of micros means.
func (c *Config) share(micro, total float64, micros int) float64 {
	if c.Batch.Average == "microbatch" {
		return 1 / (micro * float64(micros))
	}
	return 1 / total
}

// dropout is the seed of a micro-batch, counted from 1, of a step.
func (t *Trainer) dropout(step, micro int) uint64 {
	return t.cfg.Seed ^ uint64(step)<<20 ^ uint64(micro)
}
