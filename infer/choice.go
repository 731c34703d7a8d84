package infer

import (
	"math"

	"leolm/device"
	"leolm/sample"
)

// row is what a pass computed for a token: values, logits or a hidden state, or only the largest logits.
type row struct {
	values []float32
	top    *device.TopLogits
}

// rowsOf cuts values into rows of that width.
func rowsOf(values []float32, width int) []row {
	rows := make([]row, 0, len(values)/max(width, 1))
	for ; len(values) > 0; values = values[width:] {
		rows = append(rows, row{values: values[:width]})
	}
	return rows
}

// chooser is a work that may do with the largest logits of its rows.
type chooser interface {
	// enough is how many of them it needs; 0: all logits.
	enough() int
}

// enough implements chooser.
func (r *run) enough() int {
	if r.req.Constraint != nil {
		return 0
	}
	k := r.sampler.Enough()
	if k == 0 || max(k, r.req.TopLogProbs) >= device.MostTop {
		return 0
	}
	return max(k, r.req.TopLogProbs)
}

// choose draws the next token, and says how probable it was.
func (r *run) choose(row row, mask []uint64) (tok Token, err error) {
	if t := row.top; t != nil {
		if tok.ID, err = r.sampler.SampleTop(t.IDs, t.Logits); err == nil && r.req.TopLogProbs >= 0 {
			for i, id := range t.IDs {
				lp := sample.LogProb{ID: id, LogProb: float64(t.Logits[i]) - t.LogSumExp}
				if i < r.req.TopLogProbs && !math.IsInf(lp.LogProb, -1) {
					tok.Top = append(tok.Top, lp)
				}
				if id == tok.ID {
					tok.LogProb = lp.LogProb
				}
			}
		}
		return tok, err
	}
	// The sampler changes a copy: log-probabilities are the model's own, and the other rows must stay intact.
	r.scratch = append(r.scratch[:0], row.values...)
	if tok.ID, err = r.sampler.Sample(r.scratch, mask); err == nil && r.req.TopLogProbs >= 0 {
		tok.Top, tok.LogProb = sample.LogProbs(nil, row.values, tok.ID, r.req.TopLogProbs)
	}
	return tok, err
}

// outputs computes what works need of the logits of some rows of h, all if rows is nil: as many of the largest ones as need
// says for each, where the device finds them, and otherwise all.
func (e *Engine) outputs(h *device.Tensor, rows []int32, need []int) ([]row, error) {
	if len(need) == 0 {
		return nil, e.dev.Sync()
	}
	finder, ok := e.dev.(device.TopFinder)
	var whole, some []int // of need
	most := 0
	for i, k := range need {
		if k > 0 && k < e.model.Vocab && ok && e.opt.Peers == nil {
			some, most = append(some, i), max(most, k)
		} else {
			whole = append(whole, i)
		}
	}
	out := make([]row, len(need))
	pick := func(which []int) []int32 {
		if len(which) == len(need) {
			return rows
		}
		picked := make([]int32, len(which))
		for i, at := range which {
			if picked[i] = int32(at); rows != nil {
				picked[i] = rows[at]
			}
		}
		return picked
	}
	if len(some) > 0 {
		if err := e.tops(finder, h, pick(some), some, need, most, out); err != nil {
			return nil, err
		}
	}
	if len(whole) > 0 {
		logits, err := e.head(h, pick(whole))
		if err != nil {
			return nil, err
		}
		for i, r := range rowsOf(logits, e.model.Vocab) {
			out[whole[i]] = r
		}
	}
	return out, nil
}

// tops fills out, at the places of some, with the largest logits of rows of h. Where those do not decide, because a logit is
// no number or the last one that counts has equals, it reads the whole row.
func (e *Engine) tops(dev device.TopFinder, h *device.Tensor, rows []int32, some, need []int, most int, out []row) error {
	if rows != nil {
		h = dev.Gather(h, rows)
		defer dev.Release(h)
	}
	y := dev.Linear(h, e.model.Head)
	defer dev.Release(y)
	found := dev.TopLogits(y, e.model.Vocab, most+1)
	if err := dev.Sync(); err != nil {
		return err
	}
	var again []int32 // rows of y
	for i, at := range some {
		t, k := &found[i], need[at]
		if t.Odd || t.Logits[k-1] == t.Logits[k] {
			again = append(again, int32(i))
			continue
		}
		t.IDs, t.Logits = t.IDs[:k], t.Logits[:k]
		out[at].top = t
	}
	if len(again) == 0 {
		return nil
	}
	part := dev.Gather(y, again)
	values := make([]float32, part.Rows*part.Cols)
	dev.Read(part, values)
	dev.Release(part)
	for i, r := range again {
		out[some[r]].values = values[i*y.Cols : i*y.Cols+e.model.Vocab]
	}
	return dev.Sync()
}
