package train

import (
	"fmt"
	"math"

	"leolm/dataset/rows"
)

// runLength is how long a run is.
type runLength struct {
	steps  int
	last   int     // sequences of the last step where it is a partial one, else 0
	epochs float64 // passes over the data; 0 if it is not known
}

// length turns the schedule into optimizer steps. windows counts the sequences of
// an epoch; 0 if they are not known. Epochs are concatenated permutations: only
// the very end of the run may hold a partial batch, which is dropped or kept. (The
// card's 131214 examples, 3 epochs and batches of 256 make 1537.66: 1537 steps
// when it is dropped, 1538 when kept.) Of an epoch in part, whole sequences count.
func (c *Config) length(windows func(epoch int) int) runLength {
	s, global := &c.Schedule, c.Batch.Global
	if s.Epochs > 0 {
		whole := int(s.Epochs)
		n := 0
		for e := range whole {
			n += windows(e)
		}
		if part := s.Epochs - float64(whole); part > 0 {
			n += int(part*float64(windows(whole)) + 1e-9)
		}
		l := runLength{steps: n / global, epochs: s.Epochs}
		if rest := n % global; rest > 0 && c.Batch.LastPartial == "keep" {
			l.steps, l.last = l.steps+1, rest
		}
		return l
	}
	l := runLength{steps: s.Steps}
	if l.steps == 0 {
		l.steps = int(math.Ceil(s.Tokens/float64(c.Data.SequenceLength*global) - 1e-9))
	}
	if n := windows(0); n > 0 {
		l.epochs = float64(l.steps) * float64(global) / float64(n)
	}
	return l
}

// batchOf is the number of sequences of a step.
func (t *Trainer) batchOf(step int) int {
	if t.length.last > 0 && step == t.length.steps {
		return t.length.last
	}
	return t.cfg.Batch.Global
}

// planLength is length for a plan, whose data may not be on this machine.
func planLength(c *Config, data *feed, dataErr error, assumed *[]string) (runLength, error) {
	examples := c.Data.Examples
	switch d := c.demand(); {
	case d.file != "":
		n, err := countRows(d.file)
		if err == nil {
			return c.length(func(int) int { return n }), nil
		}
		dataErr = fmt.Errorf("%s: %w", d.key, err)
	case dataErr == nil:
		return c.length(data.batcher.WindowCount), nil
	}
	if examples == 0 {
		if c.Schedule.Epochs > 0 {
			return runLength{}, fmt.Errorf("%w (a plan without the data needs data.examples)", dataErr)
		}
		return c.length(func(int) int { return 0 }), nil
	}
	*assumed = append(*assumed, fmt.Sprintf("the data are not here; data.examples %d is taken for their samples", examples))
	if c.Data.HoldOut > 0 {
		examples -= int(math.Ceil(float64(examples) * c.Data.HoldOut))
	}
	return c.length(func(int) int { return examples }), nil
}

// countRows counts the rows of a file.
func countRows(path string) (n int, err error) {
	r, err := rows.Open(path, rows.Options{})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	err = eachRow(r, func(*rows.Row) error {
		n++
		return nil
	})
	return n, err
}
