package train

import (
	"context"
	"math"
	"slices"
)

// orpo is odds ratio preference optimization (Hong et al. 2024), which has no reference: the cross-entropy of the chosen
// dialogues, a mean over tokens, plus β times the mean over pairs of -log σ(log odds(chosen) − log odds(rejected)), where
// odds(p) = p/(1−p) and p is the geometric mean of the probabilities of an answer's tokens.
type orpo struct {
	examples[pair]
	reference // none
}

func openORPO(t *Trainer) (objective, error) {
	pairs, err := readPairs(t, "orpo.pairs", t.cfg.ORPO.Pairs)
	if err != nil {
		return nil, err
	}
	return &orpo{examples: pairs}, nil
}

// accumulate implements objective.
func (o *orpo) accumulate(ctx context.Context, t *Trainer, st *Step) error {
	return o.learn(ctx, t, st, o.next(t, st))
}

// tokens is how many tokens of the chosen dialogue the cross-entropy counts: with data.loss "all" those of the prompt too,
// as TRL has it.
func (o *orpo) tokens(t *Trainer, p *pair) float64 {
	if t.cfg.Data.Loss == "all" {
		return float64(p[0].Len())
	}
	return p[0].Loss()
}

// learn runs the pairs of a step forward and backward.
func (o *orpo) learn(ctx context.Context, t *Trainer, st *Step, pairs []*pair) error {
	var total float64
	for _, p := range pairs {
		total += o.tokens(t, p)
	}
	micros := t.ranks.micros(len(pairs), t.cfg.Batch.Micro)
	countPairs(st, pairs)
	return t.learn(ctx, st, len(pairs), func(m micro, loss *losses) error {
		part := pairs[m.lo:m.hi]
		t.fillPairs(part)
		var tokens float64
		for _, p := range part {
			tokens += o.tokens(t, p)
		}
		share := t.cfg.share(tokens, total, micros)
		beta := t.cfg.ORPO.Beta / float64(len(pairs))
		if t.cfg.Batch.Average == "microbatch" {
			beta = t.cfg.ORPO.Beta / float64(micros*len(part))
		}
		answers := slices.Clone(t.micro.weights)
		if t.cfg.Data.Loss == "all" {
			for k := range part {
				lo, hi := t.micro.rows(2 * k)
				for row := lo; row < hi; row++ {
					t.micro.weights[row] = 1
				}
			}
		}
		t.differentiate(t.dropout(st.Step, m.lo+1), func(values, grad []float32) {
			for k := range part {
				lo, mid := t.micro.rows(2 * k)
				_, hi := t.micro.rows(2*k + 1)
				chosen, n := weightedMean(values[lo:mid], answers[lo:mid])
				rejected, nr := weightedMean(values[mid:hi], answers[mid:hi])
				ratio, dc, dr := oddsRatio(chosen, rejected)
				loss.sum += beta * ratio
				for row := lo; row < mid; row++ {
					nll := share * float64(t.micro.weights[row])
					loss.sum -= nll * float64(values[row])
					grad[row] = float32(beta*dc/n*float64(answers[row]) - nll)
				}
				for row := mid; row < hi; row++ {
					grad[row] = float32(beta * dr / nr * float64(answers[row]))
				}
			}
		})
		return nil
	})
}

// oddsRatio returns -log σ(log odds(eᶜ) − log odds(eʳ)) for mean log-probabilities c and r, and its derivatives. They stay
// finite while an answer becomes certain, except for a rejected one.
func oddsRatio(c, r float64) (loss, dc, dr float64) {
	notC, notR := -math.Expm1(c), -math.Expm1(r)
	z := (c - r) - (math.Log(notC) - math.Log(notR))
	odds := math.Exp(r) / notR
	return softplus(-z), -odds / (math.Exp(c) + odds*notC), 1 / (1 + math.Exp(z)) / notR
}

// weightedMean returns Σ weight·value / Σ weight, and Σ weight.
func weightedMean(values, weights []float32) (mean, total float64) {
	for i, w := range weights {
		mean += float64(w) * float64(values[i])
		total += float64(w)
	}
	return mean / total, total
}
