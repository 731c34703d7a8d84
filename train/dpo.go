package train

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
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

// openPairs reads the pairs of a recipe: rows with prompt, chosen and rejected.
func openPairs(c *Config, t *Trainer) (*preferences, error) {
	r, err := rows.Open(c.DPO.Pairs, rows.Options{})
	if err != nil {
		return nil, fmt.Errorf("dpo.pairs: %w", err)
	}
	defer r.Close()
	p := &preferences{seed: c.Seed}
	if err := eachRow(r, func(row *rows.Row) error {
		one, err := t.readPair(row)
		p.pairs = append(p.pairs, one)
		return err
	}); err != nil {
		return nil, fmt.Errorf("dpo.pairs: %w", err)
	}
	if len(p.pairs) < c.Batch.Global {
		return nil, fmt.Errorf("dpo.pairs: %s holds %d pairs, batch.global asks for %d", c.DPO.Pairs, len(p.pairs), c.Batch.Global)
	}
	p.identity = identityOf(p.pairs)
	return p, nil
}

// eachRow calls f with every row of a file.
func eachRow(r *rows.Reader, f func(*rows.Row) error) error {
	for {
		var row rows.Row
		err := r.Next(&row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(&row)
		}
		if err != nil {
			return err
		}
	}
}

// readPair encodes a row. Only the answers carry loss, not what the assistant said in the prompt.
func (t *Trainer) readPair(row *rows.Row) (one pair, err error) {
	v, err := row.Value()
	if err != nil {
		return one, err
	}
	prompt, answers, err := messagesOf(row, &v)
	if err != nil {
		return one, err
	}
	tools, err := dataset.ReadTools(row, &v)
	if err != nil {
		return one, err
	}
	loss := dataset.AssistantLoss()
	for i := range one {
		msgs := append(slices.Clone(prompt), answers[i]...)
		muted := make([]bool, len(msgs))
		for k := range prompt {
			muted[k] = true
		}
		s, err := dataset.Encode(t.sub.vocab.template, t.sub.vocab.tok, msgs, muted, tools)
		if err != nil {
			return one, row.Errorf("", "%v", err)
		}
		length := t.cfg.Data.SequenceLength
		one[i].Append(dataset.Ref{}, s, &loss, length)
		if one[i].Loss() == 0 {
			return one, row.Errorf(answerColumns[i], "no token of the answer fits into data.sequence_length %d", length)
		}
	}
	return one, nil
}

var answerColumns = [2]string{"chosen", "rejected"}

// messagesOf reads a row in one of TRL's forms: prompt and answers as texts; as lists of messages; or two whole
// conversations, whose prompt (given beside them as text or not at all) is what they begin with in common.
func messagesOf(row *rows.Row, v *rows.Value) (prompt []chat.Message, answers [2][]chat.Message, err error) {
	read := func(name string, role chat.Role) (msgs []chat.Message, list bool, err error) {
		f, ok := v.Get(name)
		if !ok || f.Kind == rows.Null {
			return nil, false, nil
		}
		if f.Kind == rows.List {
			msgs, err = dataset.ReadMessages(row, name, f)
			return msgs, true, err
		}
		text, ok := f.AsText()
		if !ok {
			return nil, false, row.Errorf(name, "want a text or a list of messages, found %s", f.Kind)
		}
		return []chat.Message{{Role: role, Content: text}}, false, nil
	}
	prompt, promptList, err := read("prompt", chat.User)
	if err != nil {
		return nil, answers, err
	}
	var lists [2]bool
	for i, name := range answerColumns {
		if answers[i], lists[i], err = read(name, chat.Assistant); err != nil {
			return nil, answers, err
		}
		if len(answers[i]) == 0 {
			return nil, answers, row.Errorf(name, "want an answer here, as in {\"prompt\": …, \"chosen\": …, \"rejected\": …}; each may be a text or a list of messages")
		}
	}
	switch {
	case lists[0] != lists[1]:
		return nil, answers, row.Errorf("", "chosen and rejected must both be texts or both lists of messages")
	case lists[0] && !promptList:
		n := common(answers)
		prompt, answers[0], answers[1] = answers[0][:n], answers[0][n:], answers[1][n:]
	case !lists[0] && prompt == nil:
		return nil, answers, row.Errorf("prompt", "want a text or a list of messages here, as in {\"prompt\": …, \"chosen\": …, \"rejected\": …}")
	}
	if n := len(prompt); n == 0 || prompt[n-1].Role == chat.Assistant || prompt[n-1].Role == chat.System {
		return nil, answers, row.Errorf("prompt", "the prompt must end with a turn that the assistant answers")
	}
	for i, name := range answerColumns {
		if n := len(answers[i]); n == 0 || answers[i][n-1].Role != chat.Assistant {
			return nil, answers, row.Errorf(name, "must end with the assistant's answer")
		}
	}
	return prompt, answers, nil
}

// common is how many messages two conversations have in common at their beginning.
func common(answers [2][]chat.Message) int {
	n := 0
	for n < min(len(answers[0]), len(answers[1])) && reflect.DeepEqual(answers[0][n], answers[1][n]) {
		n++
	}
	return n
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
	first, batch := t.opt.Step*c.Batch.Global, t.batchOf(n)
	st := &Step{
		Step: n, Total: t.length.steps, Epoch: first / len(t.prefs.pairs), Epochs: float64(first+batch) / float64(len(t.prefs.pairs)),
		LR: c.Schedule.LR(c.Optimizer.LR, n, t.length.steps),
	}
	m := t.sub.model
	for at := 0; at < batch; at += c.Batch.Micro {
		var ws []dataset.Window
		var ends []int
		total := 0
		for i := range min(c.Batch.Micro, batch-at) {
			p := t.prefs.at(first + at + i)
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
			st.Loss += softplus(-c.DPO.Beta*z) / float64(batch)
			g := c.DPO.Beta / (1 + math.Exp(c.DPO.Beta*z)) / float64(batch)
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
