package cluster

import "context"

// GatherLists gives every rank the bytes of all: those of lists[r] are rank r's. They lie in many places, of the same
// lengths on every rank, and travel as if they were one.
func (c *Comm) GatherLists(ctx context.Context, lists [][][]byte) error {
	if len(lists) != c.size {
		return refuse("GatherLists: %d lists for %d ranks", len(lists), c.size).Wait(ctx)
	}
	return c.start(func() error {
		ends, lengths := make(Parts, c.size+1), Parts{}
		for r, list := range lists {
			ends[r+1] = ends[r]
			for _, b := range list {
				ends[r+1] += len(b)
				lengths = append(lengths, r, len(b))
			}
		}
		mine := call{op: opAllGather, elem: 1, count: uint64(ends[c.size]), parts: lengths.digest()}
		if _, err := c.meet(mine); err != nil || c.size == 1 {
			return err
		}
		s, err := c.staging()
		if err != nil {
			return err
		}
		g := &listGather{c: c, s: s, lists: make([]byteList, c.size)}
		for r := range lists {
			g.lists[r] = byteList{rest: lists[r], left: ends[r+1] - ends[r]}
		}
		return g.run(pieces(ends.longest(), s.piece))
	}).Wait(ctx)
}

// byteList is what is left of bytes in many places.
type byteList struct {
	rest [][]byte
	left int
}

// each calls f for the next n bytes, place by place.
func (l *byteList) each(n int, f func(b []byte)) {
	l.left -= n
	for n > 0 {
		b := l.rest[0][:min(n, len(l.rest[0]))]
		f(b)
		n -= len(b)
		if l.rest[0] = l.rest[0][len(b):]; len(l.rest[0]) == 0 {
			l.rest = l.rest[1:]
		}
	}
}

// listGather moves lists through the stage, two pieces at a time.
type listGather struct {
	c       *Comm
	s       *stage
	lists   []byteList
	pending [2]pending
	lengths [2][]int // of the pieces on their way, by rank
}

func (g *listGather) run(count int) error {
	for k := range count + 1 {
		if k < count {
			if err := g.begin(k); err != nil {
				return err
			}
		}
		if k > 0 {
			if err := g.end(k - 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin sends the next piece to everybody.
func (g *listGather) begin(k int) error {
	c, set := g.c, &g.s.sets[k%2]
	own := set.own[:0]
	mine := &g.lists[c.rank]
	mine.each(min(mine.left, g.s.piece), func(b []byte) { own = append(own, b...) })
	send, recv, lengths := make([][]byte, c.size), make([][]byte, c.size), make([]int, c.size)
	for r := range send {
		if r == c.rank {
			continue
		}
		// What is on its way has not been taken off the list.
		left := g.lists[r].left
		if k > 0 {
			left -= g.lengths[(k-1)%2][r]
		}
		lengths[r] = min(left, g.s.piece)
		send[r], recv[r] = own, set.parts[r][:lengths[r]]
	}
	g.lengths[k%2] = lengths
	var err error
	g.pending[k%2], err = c.t.exchange(send, recv)
	return err
}

// end puts the others' pieces in their places.
func (g *listGather) end(k int) error {
	if err := g.pending[k%2].wait(); err != nil {
		return err
	}
	set := &g.s.sets[k%2]
	for r, n := range g.lengths[k%2] {
		at := set.parts[r]
		g.lists[r].each(n, func(b []byte) { at = at[copy(b, at):] })
	}
	return nil
}
