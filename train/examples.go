package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"leolm/chat"
	"leolm/dataset"
	"leolm/dataset/loader"
	"leolm/dataset/rows"
	"leolm/dataset/shard"
	"leolm/llama"
)

// examples are the rows of a file, held in memory, as an endless row of shuffled epochs. Which belong to a step follows
// from its number.
type examples[T any] struct {
	key  string // of the recipe
	rows []T
	seed uint64
	// hash identifies the rows as ids with their weights.
	hash string
}

// readExamples reads the file that the recipe names at key.
func readExamples[T any](t *Trainer, key, path string, read func(row *rows.Row) (T, error)) (examples[T], error) {
	e := examples[T]{key: key, seed: t.cfg.Seed}
	r, err := rows.Open(path, rows.Options{})
	if err != nil {
		return e, fmt.Errorf("%s: %w", key, err)
	}
	defer r.Close()
	if err := eachRow(r, func(row *rows.Row) error {
		one, err := read(row)
		e.rows = append(e.rows, one)
		return err
	}); err != nil {
		return e, fmt.Errorf("%s: %w", key, err)
	}
	if len(e.rows) < t.cfg.Batch.Global {
		return e, fmt.Errorf("%s: %s holds %d examples, batch.global asks for %d", key, path, len(e.rows), t.cfg.Batch.Global)
	}
	return e, nil
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

// windows implements objective.
func (e *examples[T]) windows(int) int { return len(e.rows) }

// position implements objective.
func (e *examples[T]) position() (p loader.Position) { return p }

// seek implements objective.
func (e *examples[T]) seek(loader.Position) error { return nil }

// identities implements objective.
func (e *examples[T]) identities(into map[string]string) { into[e.key] = e.hash }

// Close implements objective: the file was read.
func (e *examples[T]) Close() error { return nil }

// next returns the examples of a step and says in st how far they are.
func (e *examples[T]) next(t *Trainer, st *Step) []*T {
	n := len(e.rows)
	first, batch := (st.Step-1)*t.cfg.Batch.Global, t.batchOf(st.Step)
	st.Epoch, st.Epochs = first/n, float64(first+batch)/float64(n)
	out := make([]*T, batch)
	for i := range out {
		at := first + i
		out[i] = &e.rows[loader.NewOrder(e.seed, at/n, n).At(at%n)]
	}
	return out
}

// encodeAnswer encodes a prompt with its answer. Only the answer carries loss, not what the assistant said in the prompt.
func (t *Trainer) encodeAnswer(row *rows.Row, v *rows.Value, prompt, answer []chat.Message) (shard.Sample, error) {
	tools, err := dataset.ReadTools(row, v)
	if err != nil {
		return shard.Sample{}, err
	}
	msgs := append(slices.Clone(prompt), answer...)
	muted := make([]bool, len(msgs))
	for k := range prompt {
		muted[k] = true
	}
	s, err := dataset.Encode(t.sub.vocab.template, t.sub.vocab.tok, msgs, muted, tools)
	if err != nil {
		return s, row.Errorf("", "%v", err)
	}
	return s, nil
}

// answerWindow cuts an encoded answer to the recipe's length; column is where the row has it.
func (t *Trainer) answerWindow(row *rows.Row, column string, s shard.Sample) (w loader.Window, err error) {
	loss, length := loader.AssistantLoss(), t.cfg.Data.SequenceLength
	w.Append(loader.Ref{}, s, &loss, length)
	if w.Loss() == 0 {
		return w, row.Errorf(column, "no token of the answer fits into data.sequence_length %d", length)
	}
	return w, nil
}

// readMessages reads a column that holds a text, which role says, or a list of messages; neither gives none.
func readMessages(row *rows.Row, v *rows.Value, name string, role chat.Role) (msgs []chat.Message, list bool, err error) {
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

// checkTurns refuses a prompt that nothing answers and an answer that isn't the assistant's.
func checkTurns(row *rows.Row, prompt []chat.Message, column string, answer []chat.Message) error {
	if n := len(prompt); n == 0 || prompt[n-1].Role == chat.Assistant || prompt[n-1].Role == chat.System {
		return row.Errorf("prompt", "the prompt must end with a turn that the assistant answers")
	}
	if n := len(answer); n == 0 || answer[n-1].Role != chat.Assistant {
		return row.Errorf(column, "must end with the assistant's answer")
	}
	return nil
}

// reference is the model before it was trained, that the trained one is held against.
type reference struct {
	// model is the base, loaded once more; nil with adapters, where it is the trained model without them.
	model *llama.Model
}

// beside implements objective.
func (r *reference) beside() []*llama.Model {
	if r.model == nil {
		return nil
	}
	return []*llama.Model{r.model}
}

// run runs the micro-batch through the reference and returns the log-probabilities of its targets, 0 where the weight is 0.
func (r *reference) run(t *Trainer) []float32 {
	if r.model != nil {
		return t.logProbs(r.model)
	}
	var values []float32
	withoutAdapters(t.sub.model, func() { values = t.logProbs(t.sub.model) })
	return values
}

// logProbs runs the micro-batch through m, without derivatives and without dropout.
func (t *Trainer) logProbs(m *llama.Model) []float32 {
	t.micro.batch.DropoutSeed, t.micro.batch.Noise = 0, 0
	h := m.Forward(t.dev, &t.micro.batch)
	ce := t.dev.LinearCrossEntropy(h, m.Head, t.micro.targets, t.micro.weights, m.Vocab)
	t.dev.Release(h)
	return ce.LogProbs
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

// openReference loads the base once more, frozen, for full fine-tuning.
func openReference(t *Trainer) (r reference, err error) {
	s := t.sub
	if t.cfg.LoRA != nil {
		return r, nil
	}
	if s.base == nil {
		return r, errors.New("preference training needs model.base")
	}
	grown := s.base.Checkpoint.Config
	grown.VocabSize = max(grown.VocabSize, s.vocab.rows)
	if err := announce(t.dev, t.cfg, &grown, grown.VocabSize, true); err != nil {
		return r, err
	}
	r.model, err = llama.Load(context.Background(), t.dev, s.base.Checkpoint, llama.LoadOptions{VocabSize: s.vocab.rows})
	return r, err
}

// fillPairs makes a micro-batch of pairs: window 2k is the chosen answer of pair k, 2k+1 the rejected one.
func (t *Trainer) fillPairs(pairs []*pair) {
	ws := make([]loader.Window, 0, 2*len(pairs))
	for _, p := range pairs {
		ws = append(ws, p[0], p[1])
	}
	t.micro.fill(ws, false)
}

// count adds a window to what a step has.
func (st *Step) count(w *loader.Window) {
	st.Tokens += w.Len()
	st.LossTokens += w.Loss()
}

// countPairs counts both answers of all pairs.
func countPairs(st *Step, pairs []*pair) {
	for _, p := range pairs {
		st.count(&p[0])
		st.count(&p[1])
	}
}

// differentiate runs the micro-batch through the trained model, once: f gets the log-probabilities of the targets whose weight
// is not 0 and fills in the derivatives of the loss with respect to them.
func (t *Trainer) differentiate(dropout uint64, f func(values, grad []float32)) {
	t.micro.batch.DropoutSeed, t.micro.batch.Noise = dropout, float32(t.cfg.Compute.NEFTune)
	m := t.sub.model
	tape := t.newTape()
	h := m.Forward(tape, &t.micro.batch)
	lp := tape.LogProbs(h, m.Head, t.micro.targets, t.micro.weights, m.Vocab)
	tape.Release(h)
	f(lp.Values, lp.Grad)
	tape.Backward(nil)
}

// rows are the rows of window w of the micro-batch.
func (r *microBatch) rows(w int) (lo, hi int) {
	if w > 0 {
		lo = r.ends[w-1]
	}
	return lo, r.ends[w]
}

// sums returns Σ weight·value for each window of the micro-batch.
func (r *microBatch) sums(values []float32) []float64 {
	out := make([]float64, len(r.ends))
	for w := range out {
		lo, hi := r.rows(w)
		for i := lo; i < hi; i++ {
			out[w] += float64(r.weights[i]) * float64(values[i])
		}
	}
	return out
}

// spread gives the rows of window w the derivative d of their weighted sum.
func (r *microBatch) spread(grad []float32, w int, d float64) {
	lo, hi := r.rows(w)
	for i := lo; i < hi; i++ {
		grad[i] = float32(float64(r.weights[i]) * d)
	}
}
