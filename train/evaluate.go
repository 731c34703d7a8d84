package train

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"leolm/chat"
	"leolm/dataset/loader"
	"leolm/infer"
	"leolm/sample"
	"leolm/tensor"
)

// evaluate measures the validation loss, writes samples, and reports whether
// early stopping asks for the end. The ranks share the work; the numbers are those of one.
func (t *Trainer) evaluate(ctx context.Context) (*Eval, bool, error) {
	together := context.WithoutCancel(ctx)
	ev := &Eval{Step: t.opt.Step, Sets: map[string]float64{}}
	weight, err := t.validate(ctx, together, ev)
	if err != nil {
		return nil, false, err
	}
	if ev.Samples, err = t.allSamples(ctx, together); err != nil {
		return nil, false, err
	}
	stop := false
	if weight > 0 {
		if ev.Loss < t.best {
			t.best, t.bad, ev.Best = ev.Loss, 0, true
		} else {
			t.bad++
			stop = t.cfg.Eval.Patience > 0 && t.bad >= t.cfg.Eval.Patience
		}
	}
	if ev.Best && t.opt.Step < t.length.steps && t.cfg.Checkpoint.Every > 0 {
		if err := t.saveBest(together); err != nil {
			return nil, false, err
		}
	}
	if t.obs.Eval != nil && t.ranks.first() {
		t.obs.Eval(*ev)
	}
	if stop {
		t.obs.note("early stop at step %d: no improvement in %d evaluations", t.opt.Step, t.bad)
	}
	return ev, stop, nil
}

// validate fills in the losses of the sets, and returns how many tokens they are the means of. The micro-batches of a set
// go to the ranks in turn, and their losses are added in the order of the micro-batches.
func (t *Trainer) validate(ctx, together context.Context, ev *Eval) (weight float64, err error) {
	loss, err := t.cfg.Data.lossWeights()
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, v := range t.data.valid {
		batches := (v.set.Len() + t.cfg.Batch.Micro - 1) / t.cfg.Batch.Micro
		if t.cfg.Eval.Batches > 0 {
			batches = min(batches, t.cfg.Eval.Batches)
		}
		found, err := t.losses(ctx, v, &loss, batches)
		if err = t.ranks.failed(together, t.settle(err)); err != nil {
			return 0, err
		}
		all, err := t.ranks.numbers(together, found)
		if err != nil {
			return 0, err
		}
		var s, w float64
		for b := range batches {
			of := all[b%t.ranks.Size()]
			s += of[2*b]
			w += of[2*b+1]
		}
		if w > 0 {
			ev.Sets[v.name] = s / w
			sum += s
			weight += w
		}
	}
	if weight > 0 {
		ev.Loss = sum / weight
	}
	return weight, nil
}

// losses returns the loss and the loss tokens of each micro-batch of a set, 0 for those of other ranks.
func (t *Trainer) losses(ctx context.Context, v validSet, loss *loader.LossWeights, batches int) ([]float64, error) {
	out := make([]float64, 2*batches)
	for b := t.ranks.Rank(); b < batches; b += t.ranks.Size() {
		if err := t.stopped(ctx); err != nil {
			return nil, err
		}
		var ws []loader.Window
		for i := b * t.cfg.Batch.Micro; i < min((b+1)*t.cfg.Batch.Micro, v.set.Len()); i++ {
			ws = append(ws, windowsOf(v.set, t.cfg.Data.SequenceLength, i, loss)...)
		}
		t.micro.fill(ws, t.cfg.Data.CrossDocument)
		if t.micro.loss == 0 {
			continue
		}
		if err := t.micro.check(t.sub.model.Config.VocabSize); err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		t.micro.batch.DropoutSeed, t.micro.batch.Noise = 0, 0
		m := t.sub.model
		h := m.Forward(t.dev, &t.micro.batch)
		ce := t.dev.LinearCrossEntropy(h, m.Head, t.micro.targets, t.micro.weights, m.Vocab)
		t.dev.Release(h)
		out[2*b], out[2*b+1] = ce.Loss, t.micro.loss
	}
	return out, nil
}

// allSamples lets each rank continue its share of the prompts, and gives all of them to all ranks.
func (t *Trainer) allSamples(ctx, together context.Context) ([]Sample, error) {
	var mine []Sample
	err := t.led(func() (err error) {
		mine, err = t.samples(ctx)
		return err
	})
	if err = t.ranks.failed(together, t.settle(err)); err != nil {
		return nil, err
	}
	if t.ranks.Size() == 1 || len(mine) == 0 {
		return mine, nil
	}
	b, err := json.Marshal(mine)
	if err != nil {
		return nil, err
	}
	all, err := t.ranks.Gather(together, b)
	if err != nil {
		return nil, err
	}
	out := make([]Sample, len(mine))
	for rank, b := range all {
		var theirs []Sample
		if err := json.Unmarshal(b, &theirs); err != nil || len(theirs) != len(out) {
			return nil, fmt.Errorf("rank %d sent %d samples instead of %d (%v)", rank, len(theirs), len(out), err)
		}
		for i := rank; i < len(out); i += len(all) {
			out[i] = theirs[i]
		}
	}
	return out, nil
}

// samples continues the recipe's prompts greedily; those of other ranks are left empty.
func (t *Trainer) samples(ctx context.Context) ([]Sample, error) {
	e := &t.cfg.Eval
	if len(e.Prompts)+len(e.ChatPrompts) == 0 {
		return nil, nil
	}
	eng, err := t.newEngine(t.sub.model, infer.Options{
		Context: min(t.sub.cfg.MaxPositions, 2048), CacheType: tensor.F32,
	})
	if err != nil {
		return nil, err
	}
	defer eng.Free()
	var out []Sample
	one := func(prompt string, ids []int32) error {
		if len(out)%t.ranks.Size() != t.ranks.Rank() {
			out = append(out, Sample{})
			return nil
		}
		if len(ids) == 0 {
			return fmt.Errorf("eval.prompts: %q has no tokens", prompt)
		}
		s := eng.NewSession()
		defer s.Close()
		res, err := eng.Generate(ctx, s, t.sub.vocab.tok.NewDecoder(true), &infer.Request{
			Prompt: ids, Params: sample.Params{}, MaxNewTokens: e.MaxTokens, StopIDs: t.sub.stops, TopLogProbs: -1,
		}, nil)
		if err != nil {
			return err
		}
		out = append(out, Sample{Prompt: prompt, Text: strings.TrimSpace(res.Text)})
		return nil
	}
	for _, p := range e.Prompts {
		var ids []int32
		if t.sub.vocab.tok.AddBOS() && t.sub.vocab.tok.BOS() >= 0 {
			ids = append(ids, t.sub.vocab.tok.BOS())
		}
		if err := one(p, t.sub.vocab.tok.AppendTokens(ids, p)); err != nil {
			return nil, err
		}
	}
	for _, p := range e.ChatPrompts {
		ids, _, err := t.sub.vocab.template.Encode(t.sub.vocab.tok, []chat.Message{{Role: chat.User, Content: p}}, chat.Options{AddGenerationPrompt: true})
		if err != nil {
			return nil, err
		}
		if err := one(p, ids); err != nil {
			return nil, err
		}
	}
	return out, nil
}
