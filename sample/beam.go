package sample

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// EarlyStopping is the rule by which a beam search with enough finished answers ends.
type EarlyStopping uint8

// The three rules of transformers' early_stopping.
const (
	// StopHeuristic (False) ends when the best running beam, scored at its
	// present length, is no better than the worst finished answer.
	StopHeuristic EarlyStopping = iota
	// StopFirst (True) ends as soon as there are as many answers as beams.
	StopFirst
	// StopNever ("never") scores the best running beam at the most
	// favorable length.
	StopNever
)

// BeamParams describe a beam search.
type BeamParams struct {
	Beams         int
	LengthPenalty float64 // exponent of the length that divides a score
	EarlyStopping EarlyStopping
	MaxNewTokens  int
	StopIDs       []int32
}

// Hypothesis is a sequence of new tokens and its score: the sum of
// log-probabilities while it runs; when finished, that sum divided by
// length^LengthPenalty, the stop token counted.
type Hypothesis struct {
	Tokens []int32
	Score  float32
	// Parent is the index, in the previous step, of the running beam that this
	// one continues: its cache is the one to fork.
	Parent int
}

// BeamSearch is the bookkeeping of a beam search over one prompt. The caller
// runs the model:
//
//	for b, _ := NewBeamSearch(p); !b.Done(); {
//		b.Step(logProbs of the token after each of b.Running())
//	}
//	b.Finished()
//
// Sequences and scores equal those of transformers' generate(num_beams=…) on
// equal log-probabilities, which are added in float32 as there.
type BeamSearch struct {
	p        BeamParams
	running  []Hypothesis
	finished []Hypothesis
	steps    int
	hopeless bool // the running beams cannot improve on the finished ones
	done     bool
	top      []beamCand
}

type beamCand struct {
	score float32
	beam  int32
	id    int32
}

// NewBeamSearch starts with one running beam, the empty answer.
func NewBeamSearch(p BeamParams) (*BeamSearch, error) {
	switch {
	case p.Beams < 1:
		return nil, fmt.Errorf("sample: a beam search with %d beams", p.Beams)
	case p.MaxNewTokens < 1:
		return nil, fmt.Errorf("sample: a beam search of %d new tokens", p.MaxNewTokens)
	case math.IsNaN(p.LengthPenalty) || math.IsInf(p.LengthPenalty, 0):
		return nil, errors.New("sample: the length penalty of a beam search must be finite")
	case p.EarlyStopping > StopNever:
		return nil, fmt.Errorf("sample: unknown early stopping rule %d", p.EarlyStopping)
	}
	p.StopIDs = slices.Clone(p.StopIDs)
	return &BeamSearch{p: p, running: []Hypothesis{{}}}, nil
}

// Running returns the beams that the next Step needs log-probabilities for, best first.
func (b *BeamSearch) Running() []Hypothesis { return b.running }

// Done reports whether the search is over.
func (b *BeamSearch) Done() bool { return b.done }

// Finished returns the answers found, best first, at most as many as beams.
func (b *BeamSearch) Finished() []Hypothesis { return b.finished }

// Step takes, for each running beam, the log-probability of every token.
// Minus infinity forbids a token.
func (b *BeamSearch) Step(logProbs [][]float32) error {
	if b.done {
		return errors.New("sample: the beam search is over")
	}
	if len(logProbs) != len(b.running) {
		return fmt.Errorf("sample: log-probabilities for %d beams, want %d", len(logProbs), len(b.running))
	}
	n := b.p.Beams
	b.best(logProbs, max(2, 1+len(b.p.StopIDs))*n)
	if len(b.top) == 0 && len(b.finished) == 0 {
		return ErrNoToken
	}
	b.steps++
	last := b.steps >= b.p.MaxNewTokens
	full := len(b.finished) == n && b.p.EarlyStopping == StopFirst
	norm := float32(math.Pow(float64(b.steps), b.p.LengthPenalty))
	var next []Hypothesis
	for rank, c := range b.top {
		h := Hypothesis{Score: c.score, Parent: int(c.beam)}
		ends := last || slices.Contains(b.p.StopIDs, c.id)
		if ends && (rank >= n || full || b.hopeless) || !ends && len(next) == n {
			continue
		}
		h.Tokens = append(slices.Clip(slices.Clone(b.running[c.beam].Tokens)), c.id)
		if ends {
			h.Score /= norm
			b.finished = append(b.finished, h)
		} else {
			next = append(next, h)
		}
	}
	slices.SortStableFunc(b.finished, func(x, y Hypothesis) int { return cmp.Compare(y.Score, x.Score) })
	b.finished = b.finished[:min(n, len(b.finished))]
	b.running = next
	if len(next) == 0 {
		b.done = true
		return nil
	}
	if len(b.finished) == n {
		length := float64(b.steps)
		if b.p.EarlyStopping == StopNever && b.p.LengthPenalty > 0 {
			length = float64(b.p.MaxNewTokens)
		}
		possible := next[0].Score / float32(math.Pow(length, b.p.LengthPenalty))
		if !(possible > b.finished[n-1].Score) {
			b.hopeless = true
		}
		b.done = b.hopeless || b.p.EarlyStopping == StopFirst
	}
	return nil
}

// best collects the k best continuations of all beams in b.top, descending;
// ties go to the earlier beam, then the smaller id.
func (b *BeamSearch) best(logProbs [][]float32, k int) {
	top := b.top[:0]
	better := func(x, y beamCand) int {
		if c := cmp.Compare(y.score, x.score); c != 0 {
			return c
		}
		if c := cmp.Compare(x.beam, y.beam); c != 0 {
			return c
		}
		return cmp.Compare(x.id, y.id)
	}
	low := negInf
	for i, row := range logProbs {
		base := b.running[i].Score
		for id, lp := range row {
			s := base + lp
			if !(s > low) {
				continue
			}
			top = append(top, beamCand{s, int32(i), int32(id)})
			if len(top) == 4*k {
				slices.SortFunc(top, better)
				top = top[:k]
				low = top[k-1].score
			}
		}
	}
	slices.SortFunc(top, better)
	b.top = top[:min(k, len(top))]
}
