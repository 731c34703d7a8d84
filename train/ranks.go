package train

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"leolm/device"
	"leolm/grad"
	"leolm/internal/recipe"
)

// Comm joins the processes that train together. Every rank calls the same methods in the same order; a method returns when
// the others have called it, too. Package cluster has one over MPI.
type Comm interface {
	// Rank is the number of this process, from 0, and Size how many there are.
	Rank() int
	Size() int
	// Gather gives every rank the values of all, by rank.
	Gather(ctx context.Context, value []byte) ([][]byte, error)
	// SumParts sums up src over all ranks in their order, and rounds once: dst gets the elements from parts[r] to before
	// parts[r+1], r being this rank.
	SumParts(ctx context.Context, dst, src []float32, parts []int) error
	// AddParts adds those elements of all ranks to sum in float64, in the order of ranks. With fresh, the first rank's
	// replace what sum holds.
	AddParts(ctx context.Context, sum []float64, src []float32, parts []int, fresh bool) error
	// GatherParts gives every rank the values from parts[r] to before parts[r+1] of every rank r.
	GatherParts(ctx context.Context, values []float32, parts []int) error
	// GatherLists gives every rank the bytes of lists[r] of every rank r. They have the same lengths everywhere.
	GatherLists(ctx context.Context, lists [][][]byte) error
}

// alone is the Comm of a run in one process.
type alone struct{}

func (alone) Rank() int { return 0 }
func (alone) Size() int { return 1 }

func (alone) Gather(_ context.Context, value []byte) ([][]byte, error) { return [][]byte{value}, nil }

func (alone) SumParts(_ context.Context, dst, src []float32, _ []int) error {
	copy(dst, src)
	return nil
}

func (alone) AddParts(_ context.Context, sum []float64, src []float32, _ []int, fresh bool) error {
	for i, v := range src {
		if fresh {
			sum[i] = float64(v)
		} else {
			sum[i] += float64(v)
		}
	}
	return nil
}

func (alone) GatherParts(context.Context, []float32, []int) error { return nil }

func (alone) GatherLists(context.Context, [][][]byte) error { return nil }

// RankError says that a rank failed, on all the others.
type RankError struct {
	Rank     int
	Text     string
	Canceled bool // it was told to stop
}

func (e *RankError) Error() string { return fmt.Sprintf("rank %d: %s", e.Rank, e.Text) }

// Unwrap returns context.Canceled, where that was the reason.
func (e *RankError) Unwrap() error {
	if e.Canceled {
		return context.Canceled
	}
	return nil
}

// RanksDifferError says that two ranks of a run disagree about what to do.
type RanksDifferError struct {
	What  string // a key of the recipe, "data …", "leo version", …
	Ranks [2]int
	Value [2]string
}

func (e *RanksDifferError) Error() string {
	return fmt.Sprintf("%s: rank %d has %q, rank %d has %q", e.What, e.Ranks[0], e.Value[0], e.Ranks[1], e.Value[1])
}

// ranks is what a run knows of the processes that it consists of.
//
// The examples of a step are cut into parts. The gradient of a part is summed as by a run alone, in float32; those of all
// parts are added in their order in float64 and rounded once. Part p belongs to rank p modulo the number of ranks.
// Therefore the bits of a run depend on the number of parts, not on that of ranks; a run with one part is the run alone.
type ranks struct {
	Comm
	parts int
}

// rounds is how many parts a rank computes one after another.
func (r *ranks) rounds() int { return r.parts / r.Size() }

// NewRank is New for one of the processes that train together. All have the same recipe, and the same files at the same
// paths; a difference between them, also in facts, such as the program's version, is a *RanksDifferError. Rank 0 writes
// what is not each rank's own, and its Observer alone is told of steps.
func NewRank(ctx context.Context, cfg *Config, dev device.Device, obs Observer, comm Comm, facts map[string]string) (*Trainer, error) {
	r := &ranks{Comm: comm, parts: comm.Size()}
	if err := cfg.agree(ctx, r, facts); err != nil {
		return nil, err // as on all others
	}
	// All at once, before any of them takes some.
	if err := r.failed(ctx, checkMemory(dev, cfg, r.Size(), r.here())); err != nil {
		return nil, err
	}
	if err := r.sameFolder(ctx, cfg.Output, lateProbe); err != nil {
		return nil, err
	}
	var pool *pooled
	if cfg.Parallel.shardsParameters() && comm.Size() > 1 {
		var err error
		if pool, err = newPooled(dev, r); err != nil {
			return nil, err // as on all others
		}
		dev = pool
	}
	t, err := newTrainer(cfg, dev, obs, r)
	if pool != nil {
		err = errors.Join(err, pool.serve())
		pool.opened = true
	}
	if err = r.failed(ctx, err); err != nil {
		if t != nil {
			t.Close()
		}
		return nil, err
	}
	if err := t.join(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// join makes sure that all ranks have opened the same, and goes on from where an unfinished run stopped.
func (t *Trainer) join(ctx context.Context) error {
	facts := maps.Clone(t.dataIdentity())
	facts["tokenizer"], facts["steps"] = t.sub.vocab.fingerprint, strconv.Itoa(t.length.steps)
	if t.sub.base != nil && t.ranks.Size() > 1 {
		facts["model.base"] = t.sub.base.Checkpoint.Identity()
	}
	if err := t.ranks.agree(ctx, facts); err != nil {
		return err
	}
	before, err := t.resume(ctx)
	if err != nil {
		return err
	}
	t.ranks.parts = t.cfg.parts(t.ranks.Size(), before)
	if err := checkParts(t.ranks.Size(), t.ranks.parts, t.cfg.Batch.Global); err != nil {
		return err
	}
	if before > 0 && t.ranks.parts != before {
		t.obs.note("the gradient of a step was the sum of %d parts and is now that of %d: the bits of the run are not those it would have had", before, t.ranks.parts)
	}
	return nil
}

// parts is the number of parts of a step on n ranks: what the recipe says, else what an unfinished run had, else one for
// each rank, or for each micro-batch where gradients are sharded.
func (c *Config) parts(n, before int) int {
	switch {
	case c.Parallel.shardsGradients():
		return c.Batch.Global / c.Batch.Micro
	case c.Parallel.Parts > 0:
		return c.Parallel.Parts
	case before > 0 && before%n == 0:
		return before
	}
	return n
}

// checkParts refuses parts that n ranks cannot share, and more than a batch has sequences.
func checkParts(n, parts, batch int) error {
	switch {
	case parts%n != 0:
		return &PartsError{Parts: parts, Ranks: n}
	case parts > batch:
		return &PartsError{Parts: parts, Ranks: n, Batch: batch}
	}
	return nil
}

// PartsError says that the parts of a step cannot be shared evenly, or, with a Batch, that they are more than its sequences.
type PartsError struct{ Parts, Ranks, Batch int }

func (e *PartsError) Error() string {
	if e.Batch > 0 {
		return fmt.Sprintf("batch.global: %d sequences cannot be cut into %d parts for %d ranks", e.Batch, e.Parts, e.Ranks)
	}
	return fmt.Sprintf("parallel.parts: %d parts of a step cannot be shared evenly by %d ranks", e.Parts, e.Ranks)
}

// agree makes sure that all ranks have the same recipe and facts.
func (c *Config) agree(ctx context.Context, r *ranks, facts map[string]string) error {
	all := maps.Clone(facts)
	if all == nil {
		all = map[string]string{}
	}
	keys, err := recipe.Values(c.essence())
	if err != nil {
		return err
	}
	maps.Copy(all, keys)
	all["output"], all["parallel.sharding"], all["parallel.parts"] = c.Output, c.Parallel.Sharding, strconv.Itoa(c.Parallel.Parts)
	return r.agree(ctx, all)
}

// exchange gives everybody the values of all ranks, unless one of them has failed.
func (r *ranks) exchange(ctx context.Context, value float64, failed error) ([]float64, error) {
	if r.Size() == 1 {
		return []float64{value}, failed
	}
	mine := binary.LittleEndian.AppendUint64(nil, math.Float64bits(value))
	if failed != nil {
		why := byte('!')
		if errors.Is(failed, context.Canceled) {
			why = 'c'
		}
		mine = append(append(mine, why), failed.Error()...)
	}
	all, err := r.Gather(ctx, mine)
	if err != nil {
		return nil, errors.Join(failed, err)
	}
	if failed != nil {
		return nil, failed
	}
	out := make([]float64, len(all))
	for rank, b := range all {
		if len(b) < 8 {
			return nil, fmt.Errorf("rank %d sent %d bytes", rank, len(b))
		}
		if len(b) > 8 {
			return nil, &RankError{Rank: rank, Text: string(b[9:]), Canceled: b[8] == 'c'}
		}
		out[rank] = math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	return out, nil
}

// numbers gives everybody the values of all ranks.
func (r *ranks) numbers(ctx context.Context, mine []float64) ([][]float64, error) {
	b := make([]byte, 0, 8*len(mine))
	for _, v := range mine {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	all, err := r.Gather(ctx, b)
	if err != nil {
		return nil, err
	}
	out := make([][]float64, len(all))
	for rank, b := range all {
		for ; len(b) >= 8; b = b[8:] {
			out[rank] = append(out[rank], math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
		if len(out[rank]) != len(mine) {
			return nil, fmt.Errorf("rank %d sent %d numbers, this one has %d", rank, len(out[rank]), len(mine))
		}
	}
	return out, nil
}

// any reports whether a rank says yes.
func (r *ranks) any(ctx context.Context, yes bool) (bool, error) {
	v := 0.0
	if yes {
		v = 1
	}
	all, err := r.exchange(ctx, v, nil)
	return slices.ContainsFunc(all, func(v float64) bool { return v != 0 }), err
}

// failed ends a stretch in which a rank may fail by itself, such as writing a file: all fail if one does.
func (r *ranks) failed(ctx context.Context, err error) error {
	_, err = r.exchange(ctx, 0, err)
	return err
}

// agree fails with a *RanksDifferError unless all ranks have the same facts.
func (r *ranks) agree(ctx context.Context, facts map[string]string) error {
	if r.Size() == 1 {
		return nil
	}
	b, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	all, err := r.Gather(ctx, b)
	if err != nil {
		return err
	}
	var zero map[string]string
	for rank, b := range all {
		var theirs map[string]string
		if err := json.Unmarshal(b, &theirs); err != nil {
			return fmt.Errorf("rank %d: %w", rank, err)
		}
		if rank == 0 {
			zero = theirs
			continue
		}
		keys := maps.Clone(zero)
		maps.Copy(keys, theirs)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if zero[k] != theirs[k] {
				return &RanksDifferError{What: k, Ranks: [2]int{0, rank}, Value: [2]string{zero[k], theirs[k]}}
			}
		}
	}
	return nil
}

// micro is a micro-batch of a step: examples lo to before hi. index counts those of all ranks from 0.
type micro struct{ lo, hi, index int }

// part returns the micro-batches of part p of n examples, of size at most.
func (r *ranks) part(p, n, size int) []micro {
	index := 0
	for before := range p {
		index += (r.bound(before+1, n) - r.bound(before, n) + size - 1) / size
	}
	var out []micro
	for lo, hi := r.bound(p, n), r.bound(p+1, n); lo < hi; lo += size {
		out = append(out, micro{lo, min(lo+size, hi), index + len(out)})
	}
	return out
}

// bound is the first example of part p of n examples.
func (r *ranks) bound(p, n int) int { return p * n / r.parts }

// micros counts the micro-batches that n examples make.
func (r *ranks) micros(n, size int) int {
	count := 0
	for p := range r.parts {
		count += len(r.part(p, n, size))
	}
	return count
}

// losses adds up what the micro-batches of a part have lost, in their order.
type losses struct {
	sum  float64
	late []func() float64 // what a device may still compute
}

// later adds a value that is asked for when all micro-batches of the part are on their way.
func (l *losses) later(value func() float64) { l.late = append(l.late, value) }

// total waits for all values.
func (l *losses) total() float64 {
	for _, value := range l.late {
		l.sum += value()
	}
	l.late = nil
	return l.sum
}

// rounds is called after each part of a rank, if it is not nil, also if that failed.
type rounds func(round int) error

// eachMicro calls f for the micro-batches of this rank, out of n examples, and returns the sum of what all ranks have added
// to sum: part by part, in their order.
func (t *Trainer) eachMicro(ctx context.Context, n int, f func(m micro, sum *losses) error, then rounds) (float64, error) {
	r := t.ranks
	total := 0.0
	for round := range r.rounds() {
		var sum losses
		var err error
		if t.pool != nil {
			t.pool.goAhead()
		}
		part := r.part(round*r.Size()+r.Rank(), n, t.cfg.Batch.Micro)
		for i, m := range part {
			t.lastMicro = i == len(part)-1
			if err = f(m, &sum); err != nil {
				break
			}
		}
		err = t.settle(err)
		if then != nil {
			err = errors.Join(err, then(round))
		}
		all, err := r.exchange(ctx, sum.total(), err)
		if err != nil {
			return 0, err
		}
		for i, v := range all {
			if round+i == 0 {
				total = v // not 0 + v, which is not -0
				continue
			}
			total += v
		}
	}
	return total, nil
}

// newTape makes the tape of a micro-batch.
func (t *Trainer) newTape() *grad.Tape {
	tape := grad.New(t.dev, t.cfg.Compute.Recompute)
	if t.onSegment != nil && t.lastMicro {
		tape.OnSegment(t.onSegment)
	}
	return tape
}

// sized returns n elements, in the memory of s if there is enough.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
