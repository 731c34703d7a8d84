package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/zeebo/xxh3"

	"leolm/chat"
	"leolm/dataset"
	"leolm/dataset/rows"
	"leolm/device"
	"leolm/grad"
	"leolm/llama"
)

// preferences are the pairs of a DPO run.
type preferences struct {
	pairs []pair
	seed  uint64
	// identity is a hash of the pairs as ids with their weights.
	identity string
	// reference is the model that the policy is held against. With adapters it is the
	// policy itself without them, and nil here.
	reference *llama.Model
}

// pair is a prompt with a better and a worse answer: [0] chosen, [1] rejected.
type pair [2]dataset.Window

// openPairs reads the pairs of a recipe: JSONL rows with prompt, chosen and rejected.
func openPairs(c *Config, t *Trainer) (*preferences, error) {
	tmpl := t.sub.vocab.template
	r, err := rows.Open(c.DPO.Pairs, rows.Options{})
	if err != nil {
		return nil, fmt.Errorf("dpo.pairs: %w", err)
	}
	defer r.Close()
	loss := dataset.AssistantLoss()
	p := &preferences{seed: c.Seed}
	var row rows.Row
	for {
		err := r.Next(&row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("dpo.pairs: %w", err)
		}
		v, err := row.Value()
		if err != nil {
			return nil, fmt.Errorf("dpo.pairs: %w", err)
		}
		var text [3]string
		for i, name := range []string{"prompt", "chosen", "rejected"} {
			f, ok := v.Get(name)
			if !ok || f.Kind != rows.String {
				return nil, row.Errorf(name, "expected a text here, as in {\"prompt\": …, \"chosen\": …, \"rejected\": …}")
			}
			text[i] = f.Text
		}
		var one pair
		for i := range one {
			ids, roles, err := tmpl.Encode(t.sub.vocab.tok, []chat.Message{{Role: chat.User, Content: text[0]}, {Role: chat.Assistant, Content: text[1+i]}}, chat.Options{})
			if err != nil {
				return nil, row.Errorf("", "%v", err)
			}
			s := dataset.Sample{IDs: ids}
			for _, role := range roles {
				s.Roles = append(s.Roles, uint8(role))
			}
			one[i].Append(dataset.Ref{}, s, &loss, c.Data.SequenceLength)
			if one[i].Loss() == 0 {
				return nil, row.Errorf("", "no token of the answer fits into data.sequence_length %d", c.Data.SequenceLength)
			}
		}
		p.pairs = append(p.pairs, one)
	}
	if len(p.pairs) < c.Batch.Global {
		return nil, fmt.Errorf("dpo.pairs: %s holds %d pairs, batch.global asks for %d", c.DPO.Pairs, len(p.pairs), c.Batch.Global)
	}
	p.identity = identityOf(p.pairs)
	return p, nil
}

func identityOf(pairs []pair) string {
	h := xxh3.New()
	for i := range pairs {
		for j := range pairs[i] {
			w := &pairs[i][j]
			binary.Write(h, binary.LittleEndian, []int64{int64(len(w.IDs))})
			binary.Write(h, binary.LittleEndian, w.IDs)
			binary.Write(h, binary.LittleEndian, w.Targets)
			binary.Write(h, binary.LittleEndian, w.Weights)
		}
	}
	return fmt.Sprintf("x1-%x", h.Sum128().Bytes())
}

// at returns the i-th pair of the endless row of epochs.
func (p *preferences) at(i int) *pair {
	n := len(p.pairs)
	return &p.pairs[dataset.NewOrder(p.seed, i/n, n).At(i%n)]
}

// sums returns, for each window of the micro-batch, the log-probability of its weighted tokens under m.
func (t *Trainer) sums(m *llama.Model, n int, ends []int) []float64 {
	h := m.Forward(t.dev, &t.micro.batch)
	ce := t.dev.LinearCrossEntropy(h, m.Head, t.micro.targets, t.micro.weights, m.Vocab)
	t.dev.Release(h)
	out := make([]float64, n)
	w := 0
	for i, lp := range ce.LogProbs {
		for i >= ends[w] {
			w++
		}
		out[w] += float64(t.micro.weights[i]) * float64(lp)
	}
	return out
}

// withoutAdapters runs f on the model as it was before the adapters.
func withoutAdapters(m *llama.Model, f func()) {
	ls := m.Linears()
	kept := make([][]*llama.Adapter, len(ls))
	for i, l := range ls {
		kept[i], l.Adapters = l.Adapters, nil
	}
	f()
	for i, l := range ls {
		l.Adapters = kept[i]
	}
}

// preferenceStep takes one DPO step (Rafailov et al. 2023): the loss of a pair is -log σ(β·z) with
// z = (log π(chosen) − log ref(chosen)) − (log π(rejected) − log ref(rejected)). Its
// derivative by log π is ∓β·σ(−β·z), so a second pass is a weighted cross-entropy.
func (t *Trainer) preferenceStep() (*Step, error) {
	start := time.Now()
	c := t.cfg
	n := t.opt.Step + 1
	st := &Step{Step: n, Total: t.total, Epoch: t.opt.Step * c.Batch.Global / len(t.prefs.pairs), LR: c.Schedule.LR(c.Optimizer.LR, n, t.total)}
	m := t.sub.model
	for at := 0; at < c.Batch.Global; at += c.Batch.Micro {
		var ws []dataset.Window
		var ends []int
		total := 0
		for i := range c.Batch.Micro {
			p := t.prefs.at(t.opt.Step*c.Batch.Global + at + i)
			for j := range p {
				ws = append(ws, p[j])
				total += p[j].Len()
				ends = append(ends, total)
			}
		}
		t.micro.fill(ws, false)
		t.micro.batch.DropoutSeed = c.Seed ^ uint64(n)<<20 ^ uint64(at+1)
		st.Tokens += total
		st.LossTokens += t.micro.loss
		var ref []float64
		seed := t.micro.batch.DropoutSeed
		t.micro.batch.DropoutSeed = 0
		if t.prefs.reference != nil {
			ref = t.sums(t.prefs.reference, len(ws), ends)
		} else {
			withoutAdapters(m, func() { ref = t.sums(m, len(ws), ends) })
		}
		t.micro.batch.DropoutSeed = seed
		own := t.sums(m, len(ws), ends)
		// The weights of the second pass: the derivative of the loss, per token.
		row := 0
		for k := 0; k < len(ws); k += 2 {
			z := (own[k] - ref[k]) - (own[k+1] - ref[k+1])
			st.Loss += softplus(-c.DPO.Beta*z) / float64(c.Batch.Global)
			g := c.DPO.Beta / (1 + math.Exp(c.DPO.Beta*z)) / float64(c.Batch.Global)
			for ; row < ends[k+1]; row++ {
				s := g
				if row >= ends[k] {
					s = -g
				}
				t.micro.weights[row] = float32(float64(t.micro.weights[row]) * s)
			}
		}
		tape := grad.New(t.dev, c.Compute.Recompute)
		h := m.Forward(tape, &t.micro.batch)
		tape.LinearCrossEntropy(h, m.Head, t.micro.targets, t.micro.weights, m.Vocab)
		tape.Release(h)
		tape.Backward(nil)
	}
	if err := t.finishStep(st, start); err != nil {
		return nil, err
	}
	return st, nil
}

// softplus is log(1 + eˣ) without overflow.
func softplus(x float64) float64 {
	if x > 30 {
		return x
	}
	return math.Log1p(math.Exp(x))
}

// openReference loads the base once more, frozen, for full fine-tuning by preference.
func openReference(c *Config, dev device.Device, s *subject) (*llama.Model, error) {
	if c.LoRA != nil {
		return nil, nil
	}
	if s.base == nil {
		return nil, errors.New("dpo: preference training needs model.base")
	}
	return llama.Load(context.Background(), dev, s.base.Checkpoint, llama.LoadOptions{VocabSize: s.vocab.rows})
}
