package train

import (
	"context"
	"math"
)

// dpo is direct preference optimization (Rafailov et al. 2023). The loss of a pair is -log σ(β·z) with
// z = (log π(chosen) − log ref(chosen)) − (log π(rejected) − log ref(rejected)); that of a step is the mean over its pairs.
type dpo struct {
	examples[pair]
	reference
}

func openDPO(t *Trainer) (objective, error) {
	pairs, err := readPairs(t, "dpo.pairs", t.cfg.DPO.Pairs)
	if err != nil {
		return nil, err
	}
	ref, err := openReference(t)
	if err != nil {
		return nil, err
	}
	return &dpo{pairs, ref}, nil
}

// accumulate implements objective.
func (o *dpo) accumulate(ctx context.Context, t *Trainer, st *Step) error {
	return o.learn(ctx, t, st, o.next(t, st))
}

// learn runs the pairs of a step forward and backward.
func (o *dpo) learn(ctx context.Context, t *Trainer, st *Step, pairs []*pair) error {
	beta, n := t.cfg.DPO.Beta, float64(len(pairs))
	countPairs(st, pairs)
	return t.learn(ctx, st, len(pairs), func(m micro, loss *losses) error {
		t.fillPairs(pairs[m.lo:m.hi])
		ref := t.micro.sums(o.run(t))
		t.differentiate(t.dropout(st.Step, m.lo+1), func(values, grad []float32) {
			own := t.micro.sums(values)
			for k := 0; k < len(own); k += 2 {
				z := (own[k] - ref[k]) - (own[k+1] - ref[k+1])
				loss.sum += softplus(-beta*z) / n
				d := beta / (1 + math.Exp(beta*z)) / n
				t.micro.spread(grad, k, -d)
				t.micro.spread(grad, k+1, d)
			}
		})
		return nil
	})
}

// softplus is log(1 + eˣ) without overflow.
func softplus(x float64) float64 {
	if x > 30 {
		return x
	}
	return math.Log1p(math.Exp(x))
}
