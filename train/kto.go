package train

import (
	"context"
	"encoding/binary"
	"math"
	"strings"

	"github.com/zeebo/xxh3"

	"leolm/chat"
	"leolm/dataset/loader"
	"leolm/dataset/rows"
)

// kto is Kahneman-Tversky optimization (Ethayarajh et al. 2024) on answers that are each called good or bad. With
// r = log π(answer) − log ref(answer), a good one has the loss λ⁺·(1 − σ(β·(r − kl))), a bad one λ⁻·(1 − σ(β·(kl − r)));
// that of a step is the mean. kl is max(0, mean of r over the same answers to each other's prompts), without derivative,
// over the whole step: how many sequences run at a time changes nothing.
type kto struct {
	examples[judged]
	reference
}

// judged is an answer that is good or bad.
type judged struct {
	window loader.Window
	good   bool
}

func openKTO(t *Trainer) (objective, error) {
	rows, err := readExamples(t, "kto.examples", t.cfg.KTO.Examples, t.readJudged)
	if err != nil {
		return nil, err
	}
	h := xxh3.New()
	for i := range rows.rows {
		hashWindow(h, &rows.rows[i].window)
		binary.Write(h, binary.LittleEndian, rows.rows[i].good)
	}
	rows.hash = hashText(h)
	ref, err := openReference(t)
	if err != nil {
		return nil, err
	}
	return &kto{rows, ref}, nil
}

// accumulate implements objective.
func (o *kto) accumulate(ctx context.Context, t *Trainer, st *Step) error {
	return o.learn(ctx, t, st, o.next(t, st))
}

// learn runs the answers of a step forward and backward.
func (o *kto) learn(ctx context.Context, t *Trainer, st *Step, answers []*judged) error {
	c, n := t.cfg.KTO, float64(len(answers))
	for _, a := range answers {
		st.count(&a.window)
	}
	kl, err := o.divergence(ctx, t, answers)
	if err != nil {
		return err
	}
	return t.learn(ctx, st, len(answers), func(m micro, loss *losses) error {
		part := answers[m.lo:m.hi]
		ws := make([]loader.Window, len(part))
		for i, a := range part {
			ws[i] = a.window
		}
		t.micro.fill(ws, false)
		ref := t.micro.sums(o.run(t))
		t.differentiate(t.dropout(st.Step, m.lo+1), func(values, grad []float32) {
			for k, own := range t.micro.sums(values) {
				weight, sign := *c.Desirable, 1.0
				if !part[k].good {
					weight, sign = *c.Undesirable, -1
				}
				p := 1 / (1 + math.Exp(-c.Beta*sign*(own-ref[k]-kl)))
				loss.sum += weight * (1 - p) / n
				t.micro.spread(grad, k, -weight*sign*c.Beta*p*(1-p)/n)
			}
		})
		return nil
	})
}

// divergence estimates how far the model is from its reference, by answers that were given to other prompts.
func (o *kto) divergence(ctx context.Context, t *Trainer, answers []*judged) (float64, error) {
	sum, err := t.eachMicro(ctx, len(answers), func(m micro, divergence *losses) error {
		var ws []loader.Window
		for i := m.lo; i < m.hi; i++ {
			other := answers[(i+len(answers)-1)%len(answers)]
			ws = append(ws, answers[i].answeredBy(other, t.cfg.Data.SequenceLength))
		}
		t.micro.fill(ws, false)
		own, ref := t.micro.sums(t.logProbs(t.sub.model)), t.micro.sums(o.run(t))
		for k := range own {
			divergence.sum += own[k] - ref[k]
		}
		return nil
	}, nil)
	return max(0, sum/float64(len(answers))), err
}

// answeredBy is the prompt of a with the answer of b, at most limit positions of it.
func (a *judged) answeredBy(b *judged, limit int) (w loader.Window) {
	from, other := a.start(), b.start()
	w.IDs = append(append(w.IDs, a.window.IDs[:from+1]...), b.window.Targets[other:b.window.Len()-1]...)
	w.Targets = append(append(w.Targets, a.window.Targets[:from]...), b.window.Targets[other:]...)
	w.Weights = append(append(w.Weights, a.window.Weights[:from]...), b.window.Weights[other:]...)
	n := min(limit, len(w.IDs))
	w.IDs, w.Targets, w.Weights = w.IDs[:n], w.Targets[:n], w.Weights[:n]
	return w
}

// start is the position that predicts the first token of the answer.
func (a *judged) start() int {
	i := 0
	for a.window.Weights[i] == 0 {
		i++
	}
	return i
}

// readJudged encodes a row with an answer and a label.
func (t *Trainer) readJudged(row *rows.Row) (one judged, err error) {
	v, err := row.Value()
	if err != nil {
		return one, err
	}
	if one.good, err = readLabel(row, &v); err != nil {
		return one, err
	}
	prompt, answer, column, err := readJudgedTurns(row, &v)
	if err != nil {
		return one, err
	}
	s, err := t.encodeAnswer(row, &v, prompt, answer)
	if err != nil {
		return one, err
	}
	one.window, err = t.answerWindow(row, column, s)
	return one, err
}

// readLabel reads TRL's column label or LLaMA-Factory's kto_tag.
func readLabel(row *rows.Row, v *rows.Value) (bool, error) {
	name := "label"
	f, ok := v.Get(name)
	if !ok {
		if f, ok = v.Get("kto_tag"); ok {
			name = "kto_tag"
		}
	}
	if !ok {
		return false, row.Errorf(name, "want true for a good answer or false for a bad one, as in {\"prompt\": …, \"completion\": …, \"label\": true}")
	}
	switch strings.ToLower(f.Text) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, row.Errorf(name, "want true or false, found %s", f.Kind)
}

// readJudgedTurns reads prompt and answer in TRL's form, prompt and completion as texts or lists of messages, or in one of
// LLaMA-Factory's: messages, of which the last turns of the assistant are the answer, or instruction, input and output.
func readJudgedTurns(row *rows.Row, v *rows.Value) (prompt, answer []chat.Message, column string, err error) {
	text := func(name string, role chat.Role) (msgs []chat.Message) {
		if err == nil {
			msgs, _, err = readMessages(row, v, name, role)
		}
		return msgs
	}
	column = "completion"
	if prompt, answer = text("prompt", chat.User), text(column, chat.Assistant); len(answer) > 0 || err != nil {
		if err == nil {
			err = checkTurns(row, prompt, column, answer)
		}
		return prompt, answer, column, err
	}
	column = "messages"
	if all := text(column, chat.User); len(all) > 0 || err != nil {
		n := len(all)
		for n > 0 && all[n-1].Role == chat.Assistant {
			n--
		}
		if err == nil {
			err = checkTurns(row, all[:n], column, all[n:])
		}
		return all[:n], all[n:], column, err
	}
	column = "output"
	if h, ok := v.Get("history"); ok && len(h.Items) > 0 {
		return nil, nil, column, row.Errorf("history", "earlier turns are not read from here; write the row as messages")
	}
	prompt, answer = text("system", chat.System), text(column, chat.Assistant)
	asked, input := text("instruction", chat.User), text("input", chat.User)
	switch {
	case err != nil:
		return nil, nil, column, err
	case len(answer) == 0 || len(asked)+len(input) == 0:
		return nil, nil, column, row.Errorf("", "want prompt and completion, messages, or instruction and output beside the label")
	}
	if len(prompt) > 0 && prompt[0].Content == "" {
		prompt = nil
	}
	if len(input) > 0 && input[0].Content != "" {
		if len(asked) > 0 && asked[0].Content != "" {
			input[0].Content = asked[0].Content + "\n" + input[0].Content
		}
		asked = input
	}
	prompt = append(prompt, asked...)
	return prompt, answer, column, checkTurns(row, prompt, column, answer)
}
