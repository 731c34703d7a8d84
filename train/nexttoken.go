package train

import (
	"context"

	"leolm/dataset/loader"
	"leolm/device"
	"leolm/grad"
	"leolm/llama"
)

// nextToken is the cross-entropy of the next token over shards: pretraining and fine-tuning.
type nextToken struct {
	batcher *loader.Batcher
	// head gives the loss of the micro-batch. It is called before the model runs.
	head func(t *Trainer) lossHead
}

// lossHead runs the LM head on hidden states and returns the loss, whose derivative is on the tape; to ask for its value
// waits for the device.
type lossHead func(tape *grad.Tape, hidden *device.Tensor) func() float64

func openNextToken(t *Trainer) (*nextToken, error) {
	return &nextToken{batcher: t.data.batcher, head: crossEntropy}, nil
}

func crossEntropy(t *Trainer) lossHead {
	return func(tape *grad.Tape, hidden *device.Tensor) func() float64 {
		m := t.sub.model
		ce := tape.CrossEntropy(hidden, m.Head, t.micro.targets, t.micro.weights, m.Vocab)
		return func() float64 { return ce().Loss }
	}
}

// windows implements objective.
func (o *nextToken) windows(epoch int) int { return o.batcher.WindowCount(epoch) }

// position implements objective.
func (o *nextToken) position() loader.Position { return o.batcher.Position() }

// seek implements objective.
func (o *nextToken) seek(p loader.Position) error { return o.batcher.Seek(p) }

// identities implements objective: the shards are the trainer's.
func (o *nextToken) identities(map[string]string) {}

// beside implements objective.
func (o *nextToken) beside() []*llama.Model { return nil }

// Close implements objective.
func (o *nextToken) Close() error { return nil }

// accumulate implements objective.
func (o *nextToken) accumulate(ctx context.Context, t *Trainer, st *Step) error {
	windows := o.batcher.Next()
	windows = windows[:t.batchOf(st.Step)]
	if t.obs.Batch != nil {
		t.obs.Batch(st.Step, windows)
	}
	st.Epoch, st.Epochs = o.batcher.Position().Epoch, o.batcher.Epochs()
	return o.learn(ctx, t, st, windows)
}

// learn runs the windows of a step forward and backward.
func (o *nextToken) learn(ctx context.Context, t *Trainer, st *Step, windows []loader.Window) error {
	for i := range windows {
		st.count(&windows[i])
	}
	if st.LossTokens == 0 {
		return nil
	}
	micros := t.ranks.micros(len(windows), t.cfg.Batch.Micro)
	return t.learn(ctx, st, len(windows), func(m micro, loss *losses) error {
		t.micro.fill(windows[m.lo:m.hi], t.cfg.Data.CrossDocument)
		if t.micro.loss == 0 {
			return nil
		}
		if err := t.micro.check(t.sub.model.Config.VocabSize); err != nil {
			return err
		}
		t.micro.scale(t.cfg.share(t.micro.loss, st.LossTokens, micros))
		t.micro.batch.DropoutSeed, t.micro.batch.Noise = t.dropout(st.Step, m.index+1), float32(t.cfg.Compute.NEFTune)
		head := o.head(t)
		tape := t.newTape()
		h := t.sub.model.Forward(tape, &t.micro.batch)
		loss.later(head(tape, h))
		tape.Release(h)
		tape.Backward(nil)
		return nil
	})
}
