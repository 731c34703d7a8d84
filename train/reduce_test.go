package train

import (
	"context"
	"slices"
	"testing"

	"leolm/internal/cluster"
	"leolm/llama"
	"leolm/tensor"
)

// Bundles hold every parameter once, small ones together, and give each rank what it updates; without owners, equal shares.
func TestBundles(t *testing.T) {
	cfg := workshop(t)
	cfg.Model.Shape.HiddenSize, cfg.Model.Shape.HeadDim, cfg.Model.Shape.IntermediateSize, cfg.Model.Shape.VocabSize = 128, 64, 256, 1000
	m, err := llama.New(newCPU(t, tensor.F32), cfg.Model.Shape.config(), 0.02, 1)
	if err != nil {
		t.Fatal(err)
	}
	const size = 3
	for _, sharded := range []bool{false, true} {
		for r, err := range together(t, size, func(c *cluster.Comm) error {
			o, err := newOptimizer(newCPU(t, tensor.F32), cfg.Optimizer, m.Params(), &ranks{Comm: c, parts: size}, sharded)
			if err != nil {
				return err
			}
			all := make([]int, len(o.params))
			for i := range all {
				all[i] = i
			}
			bundles, seen, owned := o.bundled(all, (*optParam).elements), 0, 0
			for _, b := range bundles {
				if b.total > mostBundled && len(b.params) > 1 || b.cuts[0] != 0 || b.cuts[size] != b.total {
					t.Errorf("a bundle of %d values of %d parameters, cut at %v", b.total, len(b.params), b.cuts)
				}
				values := make([]float32, b.total)
				b.each(values, func(i int, v []float32) {
					if n := o.params[i].elements(); len(v) != n {
						t.Errorf("%s has %d values of %d", o.params[i].Name, len(v), n)
					}
					for j := range v {
						v[j] = float32(o.params[i].owner)
					}
					seen++
				})
				for r := range size {
					part := values[b.cuts[r]:b.cuts[r+1]]
					if sharded && slices.ContainsFunc(part, func(v float32) bool { return v != float32(r) }) {
						t.Errorf("rank %d gets values of others", r)
					}
					if !sharded && len(part) < b.total/size {
						t.Errorf("rank %d gets %d values of %d", r, len(part), b.total)
					}
					if r == c.Rank() {
						owned += len(part)
					}
				}
			}
			if seen != len(o.params) || len(bundles) != 2 || owned == 0 {
				t.Errorf("%d bundles of %d parameters hold %d, of which %d values are this rank's", len(bundles), len(o.params), seen, owned)
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("rank %d: %v", r, err)
			}
		}
	}
}

// early is a Comm that notes how many sums have begun.
type early struct {
	*cluster.Comm
	sums int
}

func (e *early) SumParts(ctx context.Context, dst, src []float32, parts []int) error {
	e.sums++
	return e.Comm.SumParts(ctx, dst, src, parts)
}

// A block's gradients are added up as soon as its last micro-batch is through, and not before.
func TestGradientsAreAddedBesideTheBackwardPass(t *testing.T) {
	cfg := workshop(t)
	cfg.Parallel, cfg.Batch.Micro = ParallelConfig{Sharding: "optimizer", Overlap: "always"}, 2
	for r, err := range together(t, 2, func(c *cluster.Comm) error {
		own, comm := *cfg, &early{Comm: c}
		tr, err := NewRank(t.Context(), &own, newCPU(t, tensor.F32), Observer{}, comm, nil)
		if err != nil {
			return err
		}
		defer tr.Close()
		blocks, others := tr.opt.gradientBundles()
		var calls []int
		var pass int
		err = tr.learn(t.Context(), &Step{}, own.Batch.Global, func(micro, *losses) error {
			pass++
			if tr.onSegment == nil || !tr.lastMicro {
				return nil
			}
			for i := len(blocks) - 1; i >= 0; i-- {
				tr.onSegment(i)
				calls = append(calls, pass)
			}
			return nil
		})
		if want := own.Batch.Global / own.Batch.Micro / 2; pass != want || len(calls) != len(blocks) || calls[0] != pass {
			t.Errorf("blocks were added up after micro-batches %v of %d", calls, want)
		}
		sums := len(others)
		for _, b := range blocks {
			sums += len(b)
		}
		if comm.sums != sums || sums >= len(tr.opt.params) {
			t.Errorf("%d sums of %d bundles of %d parameters", comm.sums, sums, len(tr.opt.params))
		}
		return err
	}) {
		if err != nil {
			t.Errorf("rank %d: %v", r, err)
		}
	}
}
