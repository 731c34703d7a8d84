package train

import (
	"context"
	"fmt"
	"strings"

	"leolm/chat"
	"leolm/infer"
	"leolm/sample"
	"leolm/tensor"
)

// evaluate measures the validation loss, writes samples, and reports whether
// early stopping asks for the end.
func (t *Trainer) evaluate(ctx context.Context) (*Eval, bool, error) {
	ev := &Eval{Step: t.opt.Step, Sets: map[string]float64{}}
	loss, err := t.cfg.Data.lossWeights()
	if err != nil {
		return nil, false, err
	}
	var sum, weight float64
	for _, v := range t.data.valid {
		var s, w float64
		batches := 0
		for i := 0; i < v.set.Len(); i += t.cfg.Batch.Micro {
			if t.cfg.Eval.Batches > 0 && batches == t.cfg.Eval.Batches {
				break
			}
			if err := ctx.Err(); err != nil {
				return nil, false, err
			}
			batches++
			t.micro.fill(nil, false)
			var ws = windowsOf(v.set, t.cfg.Data.SequenceLength, i, &loss)
			for j := i + 1; j < min(i+t.cfg.Batch.Micro, v.set.Len()); j++ {
				ws = append(ws, windowsOf(v.set, t.cfg.Data.SequenceLength, j, &loss)...)
			}
			t.micro.fill(ws, t.cfg.Data.CrossDocument)
			if t.micro.loss == 0 {
				continue
			}
			if err := t.micro.check(t.sub.model.Config.VocabSize); err != nil {
				return nil, false, fmt.Errorf("%s: %w", v.name, err)
			}
			t.micro.batch.DropoutSeed, t.micro.batch.Noise = 0, 0
			m := t.sub.model
			h := m.Forward(t.dev, &t.micro.batch)
			ce := t.dev.LinearCrossEntropy(h, m.Head, t.micro.targets, t.micro.weights, m.Vocab)
			t.dev.Release(h)
			s += ce.Loss
			w += t.micro.loss
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
	if ev.Samples, err = t.samples(ctx); err != nil {
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
		if err := t.saveBest(); err != nil {
			return nil, false, err
		}
	}
	if t.obs.Eval != nil {
		t.obs.Eval(*ev)
	}
	if stop {
		t.obs.note("early stop at step %d: no improvement in %d evaluations", t.opt.Step, t.bad)
	}
	return ev, stop, nil
}

// samples continues the recipe's prompts greedily.
func (t *Trainer) samples(ctx context.Context) ([]Sample, error) {
	e := &t.cfg.Eval
	if len(e.Prompts)+len(e.ChatPrompts) == 0 {
		return nil, nil
	}
	eng, err := infer.NewEngine(t.dev, t.sub.model, infer.Options{
		Context: min(t.sub.cfg.MaxPositions, 2048), CacheType: tensor.F32,
	})
	if err != nil {
		return nil, err
	}
	var out []Sample
	one := func(prompt string, ids []int32) error {
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
