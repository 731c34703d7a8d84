package cluster

import "context"

// The methods here are what package train asks of a group: collectives of float32 that wait.

// SumParts writes the sum of src over all ranks, in their order and rounded once, to dst: of the elements from parts[r] to
// before parts[r+1], r being this rank.
func (c *Comm) SumParts(ctx context.Context, dst, src []float32, parts []int) error {
	return ReduceScatter(c, Sum, dst, src, parts).Wait(ctx)
}

// AddParts is SumParts without the rounding, and for sums over several calls: each rank's elements are added to sum in
// float64, in the order of ranks. The first call, with fresh, does not look at what sum holds.
func (c *Comm) AddParts(ctx context.Context, sum []float64, src []float32, parts []int, fresh bool) error {
	cuts := Parts(parts)
	if err := cuts.check(len(src), c.size); err != nil {
		return refuse("AddParts: %w", err).Wait(ctx)
	}
	from, to := cuts.Of(c.rank)
	if len(sum) != to-from {
		return refuse("AddParts: %d elements for a part of %d", len(sum), to-from).Wait(ctx)
	}
	return c.start(func() error {
		mine := call{op: opReduceScatter, elem: elemBytes[float32](), reduce: uint8(Sum), count: uint64(len(src)), parts: cuts.digest()}
		if _, err := c.meet(mine); err != nil {
			return err
		}
		if c.size == 1 {
			add(sum, [][]float32{src}, fresh)
			return nil
		}
		p, err := newPasses(c, partPieces(src, cuts))
		if err != nil {
			return err
		}
		return p.overlap(pieces(cuts.longest(), p.n), p.scatter, func(k int) error {
			a, b := cut(0, len(sum), k, p.n)
			values, err := p.values(k, b-a)
			if err == nil {
				add(sum[a:b], values, fresh)
			}
			return err
		})
	}).Wait(ctx)
}

// add adds values in order; with fresh, the first ones replace what sum holds.
func add(sum []float64, values [][]float32, fresh bool) {
	for r, v := range values {
		if r == 0 && fresh {
			for i, x := range v {
				sum[i] = float64(x)
			}
			continue
		}
		for i, x := range v {
			sum[i] += float64(x)
		}
	}
}

// GatherParts gives all ranks the elements of values from parts[r] to before parts[r+1] of every rank r.
func (c *Comm) GatherParts(ctx context.Context, values []float32, parts []int) error {
	from, to := parts[c.rank], parts[c.rank+1]
	return AllGather(c, values, values[from:to], parts).Wait(ctx)
}
