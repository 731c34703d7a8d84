package eval

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"time"

	"leolm/open"
)

// Ranks are processes that each have a whole model, as a launcher such as mpirun started them. Every rank calls the same
// methods in the same order.
type Ranks interface {
	// Rank is the number of this process, from 0; Size is how many there are.
	Rank() int
	Size() int
	// Gather gives every rank the values of all, by rank.
	Gather(ctx context.Context, value []byte) ([][]byte, error)
	// Share gives every rank the value of root.
	Share(ctx context.Context, root int, value []byte) ([]byte, error)
}

// Replicas is a Model whose requests are dealt out to ranks that each have the whole of it. Rank 0 asks it, and ends with
// Close; the others call Follow. A result depends on its request only, and so not on the number of ranks.
type Replicas struct {
	own   Model
	ranks Ranks
	ended bool
}

// NewReplicas makes one model of those of all ranks, of which own is that of rank 0. It refuses models that differ.
func NewReplicas(ctx context.Context, ranks Ranks, own Model) (*Replicas, error) {
	if err := sameModel(ctx, ranks, own); err != nil {
		return nil, err
	}
	return &Replicas{own: own, ranks: ranks}, nil
}

// Follow does this rank's part of what rank 0 asks its Replicas, with its own model, until they are closed.
func Follow(ctx context.Context, ranks Ranks, own Model) error {
	if err := sameModel(ctx, ranks, own); err != nil {
		return err
	}
	always := context.WithoutCancel(ctx) // rank 0 ends the run
	for {
		b, err := ranks.Share(always, 0, nil)
		if err != nil {
			return err
		}
		var o order
		if err := decode(b, &o); err != nil {
			return err
		}
		if o.End {
			return nil
		}
		mine := o.do(ctx, own, o.Cuts[ranks.Rank()], o.Cuts[ranks.Rank()+1], func(int, result) error { return nil })
		if b, err = encode(mine); err != nil {
			return err
		}
		if _, err := ranks.Gather(always, b); err != nil {
			return err
		}
	}
}

// sameModel compares the models of all ranks.
func sameModel(ctx context.Context, ranks Ranks, own Model) error {
	id := own.Identity()
	all, err := ranks.Gather(context.WithoutCancel(ctx), []byte(HashOf(id)))
	if err != nil {
		return err
	}
	for rank, b := range all {
		if string(b) != string(all[0]) {
			return &open.DifferError{Rank: rank, Model: id.Name, Prints: [2]string{string(all[0]), string(b)}}
		}
	}
	return nil
}

// Identity implements Model.
func (r *Replicas) Identity() Identity { return r.own.Identity() }

// Close lets the other ranks return from Follow.
func (r *Replicas) Close() error {
	if r.ended {
		return nil
	}
	r.ended = true
	return r.share(&order{End: true})
}

func (r *Replicas) share(o *order) error {
	b, err := encode(o)
	if err != nil {
		return err
	}
	_, err = r.ranks.Share(context.Background(), 0, b)
	return err
}

// order is what the ranks do together: one of the lists, of which rank r has those from Cuts[r] to Cuts[r+1].
type order struct {
	End    bool
	Scores []ScoreRequest
	Texts  []string
	Asks   []Request
	Cuts   []int
}

// result is what came of one request.
type result struct {
	Score Score
	Ask   Answer
	Err   string // of the request alone
}

// results are those of a rank.
type results struct {
	From int
	List []result
	Err  string // why there are no more
	err  error  // the same, on the rank itself
}

// do asks m for the requests from from to to, and tells done of each.
func (o *order) do(ctx context.Context, m Model, from, to int, done func(i int, r result) error) results {
	out := results{From: from, List: make([]result, to-from)}
	if to == from {
		return out
	}
	keep := func(i int, r result, err error) error {
		if err != nil {
			r.Err = err.Error()
		}
		r.Score.Err, r.Ask.Err = nil, nil // errors do not travel
		out.List[i] = r
		return done(from+i, r)
	}
	score := func(i int, s Score) error { return keep(i, result{Score: s}, s.Err) }
	switch {
	case o.Scores != nil:
		out.err = m.Score(ctx, o.Scores[from:to], score)
	case o.Texts != nil:
		out.err = m.ScoreRolling(ctx, o.Texts[from:to], score)
	default:
		out.err = m.Generate(ctx, o.Asks[from:to], func(i int, a Answer) error { return keep(i, result{Ask: a}, a.Err) })
	}
	if out.err != nil {
		out.Err, out.List = out.err.Error(), nil
	}
	return out
}

// Score implements Scorer. Requests that begin alike stay together on a rank, which reads what they share once.
func (r *Replicas) Score(ctx context.Context, reqs []ScoreRequest, done func(i int, s Score) error) error {
	sorted := make([]int, len(reqs))
	for i := range sorted {
		sorted[i] = i
	}
	slices.SortStableFunc(sorted, func(a, b int) int { return cmp.Compare(reqs[a].Context, reqs[b].Context) })
	work := make([]int, len(reqs))
	before := ""
	for k, i := range sorted {
		c := reqs[i].Context
		work[k] = 1 + len(c) - common(before, c) + len(reqs[i].Continuation)
		before = c
	}
	return r.deal(ctx, work, scoreWork, func(from, to int) *order {
		o := &order{}
		for _, i := range sorted[from:to] {
			o.Scores = append(o.Scores, reqs[i])
		}
		return o
	}, func(k int, x result) error { return done(sorted[k], x.Score) })
}

// ScoreRolling implements Scorer.
func (r *Replicas) ScoreRolling(ctx context.Context, texts []string, done func(i int, s Score) error) error {
	work := make([]int, len(texts))
	for i, t := range texts {
		work[i] = 1 + len(t)
	}
	return r.deal(ctx, work, scoreWork, func(from, to int) *order { return &order{Texts: texts[from:to]} },
		func(i int, x result) error { return done(i, x.Score) })
}

// Generate implements Generator.
func (r *Replicas) Generate(ctx context.Context, reqs []Request, done func(i int, a Answer) error) error {
	work := make([]int, len(reqs))
	for i := range work {
		work[i] = 1
	}
	return r.deal(ctx, work, askWork, func(from, to int) *order { return &order{Asks: reqs[from:to]} },
		func(i int, x result) error { return done(i, x.Ask) })
}

// The ranks meet after a round, whose work is at first so much for each (bytes of texts; answers), and later what takes
// about roundTime: results of a round that a crash ends are lost.
const (
	scoreWork = 1 << 14
	askWork   = 64
	roundTime = 20 * time.Second
)

// deal does requests round by round: work says how much each is.
func (r *Replicas) deal(ctx context.Context, work []int, least int, pick func(from, to int) *order, done func(i int, x result) error) error {
	size := r.ranks.Size()
	for from, round := 0, least*size; from < len(work); {
		to, sum := from, 0
		for to < len(work) && sum < round {
			sum += work[to]
			to++
		}
		o := pick(from, to)
		o.Cuts = cuts(work[from:to], size)
		if err := r.share(o); err != nil {
			return err
		}
		start := time.Now()
		err := r.round(ctx, o, func(i int, x result) error { return done(from+i, x) })
		if err != nil {
			return err
		}
		pace := min(max(float64(roundTime)/float64(time.Since(start)+1), 0.25), 4)
		from, round = to, max(size*least/4, int(pace*float64(round)))
	}
	return nil
}

// round does this rank's part of an order, and collects the others'.
func (r *Replicas) round(ctx context.Context, o *order, done func(i int, x result) error) error {
	mine := o.do(ctx, r.own, o.Cuts[0], o.Cuts[1], func(i int, x result) error { return done(i, x.whole()) })
	b, err := encode(results{Err: mine.Err}) // the rest is here already
	if err != nil {
		return err
	}
	all, err := r.ranks.Gather(context.Background(), b)
	if err != nil || mine.err != nil {
		return errors.Join(mine.err, err)
	}
	for rank, b := range all[1:] {
		var theirs results
		if err := decode(b, &theirs); err != nil {
			return err
		}
		if theirs.Err != "" {
			return &open.RankError{Rank: rank + 1, Reason: theirs.Err}
		}
		for i, x := range theirs.List {
			if err := done(theirs.From+i, x.whole()); err != nil {
				return err
			}
		}
	}
	return nil
}

// whole puts the error of a request back where it belongs.
func (x result) whole() result {
	if x.Err != "" {
		x.Score.Err = errors.New(x.Err)
		x.Ask.Err = x.Score.Err
	}
	return x
}

// cuts parts a list of work into n pieces of about equal sums.
func cuts(work []int, n int) []int {
	total := 0
	for _, w := range work {
		total += w
	}
	at := []int{0}
	sum := 0
	for i, w := range work {
		for len(at) < n && sum+w/2 >= total*len(at)/n {
			at = append(at, i)
		}
		sum += w
	}
	for len(at) <= n {
		at = append(at, len(work))
	}
	return at
}

// common is the length of the common beginning of two texts.
func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return nil, fmt.Errorf("a message for another rank: %w", err)
	}
	return b.Bytes(), nil
}

func decode(b []byte, v any) error {
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(v); err != nil {
		return fmt.Errorf("a message of another rank: %w", err)
	}
	return nil
}
