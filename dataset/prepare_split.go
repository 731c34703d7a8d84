package dataset

import (
	"fmt"

	"leolm/internal/pynum"
)

// split decides which samples go where, in which order.
func (p *preparation) split() error {
	m := p.mix
	leolm := m.Preset == presetLeoLM
	// One generator over all sources in order, as in the original: for the
	// training subsets RandomState(seed), for max_val_set NumPy's global one.
	draw, drawVal := pynum.NewRandomState(m.Seed), pynum.NewRandomState(m.Seed)
	evals := map[string]int{}
	for _, pt := range p.parts {
		if err := p.holdOut(pt, drawVal); err != nil {
			return err
		}
		if len(pt.val) == 0 {
			continue
		}
		// The original keeps validation sets in a dictionary by the reader's
		// name: of sources with the same reader only the last one survives,
		// at the place of the first.
		key := pt.src.Reader
		if o := readers[pt.src.Reader].original; o != "" {
			key = o
		}
		if at, again := evals[key]; leolm && again {
			p.note("validation set of %s: left out, because %s has the same reader (%s) and the original keeps one set per reader", p.valS[at].part.src.Name, pt.src.Name, key)
			p.valS[at] = &valSet{part: pt}
			continue
		}
		evals[key] = len(p.valS)
		p.valS = append(p.valS, &valSet{part: pt})
	}
	for _, pt := range p.parts {
		if err := p.subset(pt, draw); err != nil {
			return err
		}
	}
	return nil
}

// holdOut splits the validation set of a source off.
func (p *preparation) holdOut(pt *part, draw *pynum.RandomState) error {
	n := len(pt.samples)
	pt.train = make([]int, n)
	for i := range pt.train {
		pt.train[i] = i
	}
	if share := p.mix.valSplit(pt.src); share > 0 {
		train, val, err := pynum.TrainTestSplit(n, share, p.mix.SplitSeed)
		if err != nil {
			return fmt.Errorf("source %s: val_split %v of %d samples: %w", pt.src.Name, share, n, err)
		}
		pt.train, pt.val, pt.split = train, val, true
	}
	if k := pt.src.MaxVal; k > 0 {
		if from := p.drawable(pt, pt.val); len(from) > k {
			pt.val = pick(from, draw.Choice(len(from), k))
		}
	}
	if k := p.mix.EvalSize; k > 0 {
		if from := p.drawable(pt, pt.val); len(from) > k {
			pt.val = from[:k]
		}
	}
	return nil
}

// drawable are the samples that a subset is drawn from: those that passed the
// filters, because a size counts what is trained on. The original drew first.
func (p *preparation) drawable(pt *part, from []int) []int {
	if p.mix.Preset == presetLeoLM {
		return from
	}
	out := make([]int, 0, len(from))
	for _, i := range from {
		if pt.samples[i].skip == "" {
			out = append(out, i)
		}
	}
	return out
}

// subset takes the part of the training split that fraction or size asks for.
// Of a part, the samples that did not pass the filters are in no statistics.
func (p *preparation) subset(pt *part, draw *pynum.RandomState) error {
	pt.fraction = 1
	if pt.src.Fraction == nil && pt.src.Size == nil {
		return nil
	}
	from := p.drawable(pt, pt.train)
	n := len(from)
	var target int
	if pt.src.Fraction != nil {
		pt.fraction = *pt.src.Fraction
		target = int(float64(n) * pt.fraction)
	} else {
		if target = *pt.src.Size; target > n {
			if skipped := len(pt.train) - n; skipped > 0 {
				return fmt.Errorf("source %s: size %d, but only %d of %d training samples passed the filters", pt.src.Name, target, n, len(pt.train))
			}
			return fmt.Errorf("source %s: size %d, but there are %d training samples", pt.src.Name, target, n)
		}
		pt.fraction = float64(target) / float64(n)
		if p.mix.Preset == presetLeoLM { // through floating point, which may lose one sample
			target = int(float64(n) * pt.fraction)
		}
	}
	if target < n {
		pt.train = pick(from, draw.Choice(n, target))
		pt.split = true
	}
	return nil
}

func pick(from, indices []int) []int {
	out := make([]int, len(indices))
	for i, k := range indices {
		out[i] = from[k]
	}
	return out
}

// count starts the statistics of both splits and fills in all but roles.
func (p *preparation) count() {
	name := func(pt *part) string {
		if pt.split && p.mix.Preset == presetLeoLM {
			return "Subset of " + pt.src.Name
		}
		return pt.src.Name
	}
	fill := func(pt *part, indices []int, fraction float64) *Stats {
		s := NewStats(name(pt), len(indices), fraction)
		for _, i := range indices {
			info := &pt.samples[i]
			if info.skip != "" {
				s.Skip(info.skip)
				continue
			}
			s.Add(int(info.tokens))
			s.Turns[int(info.turns)]++
		}
		return s
	}
	for _, pt := range p.parts {
		p.trainS = append(p.trainS, fill(pt, pt.train, pt.fraction))
	}
	p.report.Train = p.trainS
	for _, v := range p.valS {
		v.stats = fill(v.part, v.part.val, 1)
		p.report.Val = append(p.report.Val, v.stats)
	}
}
