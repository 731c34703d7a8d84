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
		n := len(pt.samples)
		pt.train = make([]int, n)
		for i := range pt.train {
			pt.train[i] = i
		}
		if share := m.valSplit(pt.src); share > 0 {
			train, val, err := pynum.TrainTestSplit(n, share, m.SplitSeed)
			if err != nil {
				return fmt.Errorf("source %s: val_split %v of %d samples: %w", pt.src.Name, share, n, err)
			}
			pt.train, pt.val, pt.split = train, val, true
		}
		if k := pt.src.MaxVal; k > 0 && len(pt.val) > k {
			pt.val = pick(pt.val, drawVal.Choice(len(pt.val), k))
		}
		if m.EvalSize > 0 && len(pt.val) > m.EvalSize {
			pt.val = pt.val[:m.EvalSize]
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
		n := len(pt.train)
		target := n
		pt.fraction = 1
		switch {
		case pt.src.Fraction != nil:
			pt.fraction = *pt.src.Fraction
			target = int(float64(n) * pt.fraction)
		case pt.src.Size != nil:
			if *pt.src.Size > n {
				return fmt.Errorf("source %s: size %d, but there are %d training samples", pt.src.Name, *pt.src.Size, n)
			}
			pt.fraction = float64(*pt.src.Size) / float64(n)
			target = *pt.src.Size
			if leolm { // through floating point, which may lose one sample
				target = int(float64(n) * pt.fraction)
			}
		}
		if target < n {
			pt.train = pick(pt.train, draw.Choice(n, target))
			pt.split = true
		}
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
