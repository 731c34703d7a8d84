package train

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"leolm/device"
)

// bundle is a set of parameters whose values pass between ranks together: a large one, or several small ones, for which
// the way would take longer than the values.
type bundle struct {
	params []int // of the optimizer, by owner
	from   []int // where their values begin
	total  int
	cuts   []int     // which values each rank has: those of its parameters, or an equal share
	sums   []float64 // of the values that this rank sums up, where a step has several rounds
}

// Parameters of up to smallBundled values share bundles of up to mostBundled.
const (
	smallBundled = 1 << 16
	mostBundled  = 1 << 20
)

// bundled makes bundles of some of the parameters, in an order that is the same on all ranks. size is how many values of
// a parameter pass.
func (o *Optimizer) bundled(params []int, size func(p *optParam) int) []*bundle {
	var all []*bundle
	var open *bundle
	for _, i := range params {
		n := size(&o.params[i])
		if n > smallBundled {
			all = append(all, &bundle{params: []int{i}, total: n})
			continue
		}
		if open == nil || open.total+n > mostBundled {
			open = &bundle{}
			all = append(all, open)
		}
		open.params = append(open.params, i)
		open.total += n
	}
	for _, b := range all {
		slices.SortStableFunc(b.params, func(i, j int) int { return cmp.Compare(o.params[i].owner, o.params[j].owner) })
		b.cuts = make([]int, o.ranks.Size()+1)
		at := 0
		for _, i := range b.params {
			b.from = append(b.from, at)
			at += size(&o.params[i])
			for r := o.params[i].owner + 1; r < len(b.cuts); r++ {
				b.cuts[r] = at
			}
		}
		if o.params[b.params[0]].owner < 0 {
			for r := range b.cuts {
				b.cuts[r] = r * b.total / o.ranks.Size()
			}
		}
	}
	return all
}

// each calls f with the place of every parameter's values.
func (b *bundle) each(values []float32, f func(param int, values []float32)) {
	for k, i := range b.params {
		to := b.total
		if k+1 < len(b.from) {
			to = b.from[k+1]
		}
		f(i, values[b.from[k]:to])
	}
}

// gradientBundles are those of the gradients, by decoder block and of the other parameters.
func (o *Optimizer) gradientBundles() (blocks [][]*bundle, others []*bundle) {
	if o.blockBundles == nil && o.otherBundles == nil {
		for _, params := range o.layers {
			o.blockBundles = append(o.blockBundles, o.bundled(params, (*optParam).elements))
		}
		o.otherBundles = o.bundled(o.others, (*optParam).elements)
	}
	return o.blockBundles, o.otherBundles
}

// learn runs f, which adds gradients to the weights and losses to loss, on the micro-batches of this rank, and adds up
// gradients and losses of all.
func (t *Trainer) learn(ctx context.Context, st *Step, n int, f func(m micro, loss *losses) error) (err error) {
	var then rounds
	if t.ranks.parts > 1 {
		a := &adding{t: t, ctx: ctx}
		a.blocks, a.others = t.opt.gradientBundles()
		a.beside = t.ranks.Size() > 1 && t.cfg.Parallel.overlaps(t.dev)
		then = a.rest
		switch {
		case t.pool != nil:
			t.pool.ahead.wanted = a.beside
			t.pool.reduce, t.onSegment = a.agreed, a.ask
			defer func() { t.pool.ahead.wanted = false }()
		case t.cfg.Parallel.shardsGradients() || a.beside:
			t.onSegment = a.block
		}
		defer func() { t.onSegment = nil }()
	}
	st.Loss, err = t.eachMicro(ctx, n, f, then)
	return err
}

// overlaps reports whether gradients are added up beside the backward pass.
func (p *ParallelConfig) overlaps(dev device.Device) bool {
	switch p.Overlap {
	case "always":
		return true
	case "never":
		return false
	}
	if p, ok := dev.(*pooled); ok {
		dev = p.Device
	}
	d, ok := dev.(interface{ Workers() int })
	return ok && runtime.GOMAXPROCS(0) > d.Workers()
}

// adding adds up the gradients of all ranks' parts, decoder block by decoder block from the last one, in an order that is
// the same on all ranks. After the last round, the weights hold the sums: all of them, or with a sharded optimizer those that
// this rank updates.
type adding struct {
	t      *Trainer
	ctx    context.Context
	blocks [][]*bundle
	others []*bundle
	beside bool // blocks are added up while the backward pass goes on

	round   int
	next    int // of the blocks, counted from the last one
	err     error
	waiting *reduction
}

// reduction is what is added up beside the backward pass: a block at a time, since each takes memory.
type reduction struct {
	number int // of the block
	values [][]float32
	done   chan struct{}
	err    error
}

// block is told in the backward pass that the gradients of a decoder block are complete.
func (a *adding) block(number int) {
	if n := len(a.blocks); a.next != n-1-number {
		return
	}
	a.next++
	if a.beside {
		a.begin(number)
		return
	}
	a.add(a.blocks[number])
}

// ask is block where ranks pool their memory for weights: they agree before they add anything up, since others may still
// need values for it.
func (a *adding) ask(number int) {
	switch {
	case !a.beside:
		a.t.pool.ask(wish{reduced, number})
	case a.next == len(a.blocks)-1-number:
		a.next++
		a.begin(number)
	}
}

// agreed adds up the gradients of a block when all ranks have come to it, or have nothing more to add.
func (a *adding) agreed(number int) {
	if r := a.waiting; r != nil && r.number == number {
		r.err = a.sumAll(r)
		return
	}
	if a.next == len(a.blocks)-1-number {
		a.next++
		a.add(a.blocks[number])
	}
}

// rest adds what the backward pass has left, or everything where there was none.
func (a *adding) rest(round int) error {
	a.end()
	for n := len(a.blocks); a.next < n; a.next++ {
		a.add(a.blocks[n-1-a.next])
	}
	a.add(a.others)
	err := a.err
	a.round, a.next, a.err = round+1, 0, nil
	return err
}

// add adds up the gradients of bundles.
func (a *adding) add(bundles []*bundle) {
	for _, b := range bundles {
		if a.err != nil {
			return
		}
		values := a.t.room.floats(b.total)
		a.take(b, values)
		if a.err = a.sum(b, values); a.err == nil {
			a.keep(b, values)
		}
	}
}

// begin adds up the gradients of bundles while the caller goes on. It must not call the other ranks before end.
func (a *adding) begin(number int) {
	a.end()
	if a.err != nil {
		return
	}
	r := &reduction{number: number, done: make(chan struct{})}
	for i, b := range a.blocks[number] {
		if len(a.t.beside) <= i {
			a.t.beside = append(a.t.beside, nil)
		}
		a.t.beside[i] = sized(a.t.beside[i], b.total)
		r.values = append(r.values, a.t.beside[i])
		a.take(b, a.t.beside[i])
	}
	a.waiting = r
	if p := a.t.pool; p != nil {
		r.done = p.later(func() {
			if p.ask(wish{reduced, number}); r.err == nil {
				r.err = p.err
			}
		})
		return
	}
	go func() {
		r.err = a.sumAll(r)
		close(r.done)
	}()
}

// sumAll adds up what is waiting.
func (a *adding) sumAll(r *reduction) error {
	for i, b := range a.blocks[r.number] {
		if err := a.sum(b, r.values[i]); err != nil {
			return err
		}
	}
	return nil
}

// end waits for what begin began.
func (a *adding) end() {
	r := a.waiting
	if r == nil {
		return
	}
	<-r.done
	if a.waiting = nil; r.err != nil {
		a.err = r.err
		return
	}
	for i, b := range a.blocks[r.number] {
		a.keep(b, r.values[i])
	}
}

// take reads gradients and clears them.
func (a *adding) take(b *bundle, values []float32) {
	drop := a.t.dev.ZeroGrad
	if a.t.cfg.Parallel.shardsGradients() {
		drop = a.t.dev.DropGrad
	}
	b.each(values, func(i int, values []float32) {
		w := a.t.opt.params[i].Weight
		a.t.dev.ReadGrad(w, values)
		drop(w)
	})
}

// sum adds the gradients of all ranks, of which values are this one's. In the last round, values become the sums where
// they are wanted.
func (a *adding) sum(b *bundle, values []float32) error {
	r := a.t.ranks
	mine := values[b.cuts[r.Rank()]:b.cuts[r.Rank()+1]]
	failed := func(err error) error {
		if err != nil {
			err = fmt.Errorf("gradient of %s: %w", a.t.opt.params[b.params[0]].Name, err)
		}
		return err
	}
	if r.rounds() == 1 {
		if err := r.SumParts(a.ctx, mine, values, b.cuts); err != nil {
			return failed(err)
		}
	} else {
		b.sums = sized(b.sums, len(mine))
		if err := r.AddParts(a.ctx, b.sums, values, b.cuts, a.round == 0); err != nil {
			return failed(err)
		}
		for j, v := range b.sums {
			mine[j] = float32(v)
		}
	}
	if a.round < r.rounds()-1 || a.t.opt.params[b.params[0]].owner >= 0 {
		return nil
	}
	return failed(r.GatherParts(a.ctx, values, b.cuts))
}

// keep gives sums to the weights that want them, after the last round.
func (a *adding) keep(b *bundle, values []float32) {
	if a.round < a.t.ranks.rounds()-1 {
		return
	}
	b.each(values, func(i int, values []float32) {
		if p := &a.t.opt.params[i]; a.t.opt.mine(p) {
			a.t.dev.WriteGrad(p.Weight, values)
		}
	})
}
