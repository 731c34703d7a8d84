package cluster

// stage is the memory through which data passes. Nothing else is ever given to a back end: MPI libraries keep
// registrations of memory for the network card, and do not see when Go gives pages back to the system and gets others.
// It is small enough to stay in the processor's caches.
type stage struct {
	whole []byte // all of it
	piece int    // bytes of a piece
	sets  [2]struct {
		send, recv, parts [][]byte // a piece for each rank
		own               []byte   // a piece for all
	}
}

// pieceBytes is how much of a rank's part moves at once, in a group of size ranks.
func pieceBytes(size int) int { return max(2<<20/size, 16<<10) &^ 63 }

// staging allocates the stage when the first call needs it.
func (c *Comm) staging() (*stage, error) {
	if c.stage != nil {
		return c.stage, nil
	}
	s := &stage{piece: pieceBytes(c.size)}
	if p := c.engine.opts.piece; p > 0 {
		s.piece = p
	}
	var err error
	if s.whole, err = c.t.memory(2 * (3*c.size + 1) * s.piece); err != nil {
		return nil, err
	}
	rest := s.whole
	next := func() (b []byte) {
		b, rest = rest[:s.piece:s.piece], rest[s.piece:]
		return b
	}
	for i := range s.sets {
		set := &s.sets[i]
		for range c.size {
			set.send, set.recv, set.parts = append(set.send, next()), append(set.recv, next()), append(set.parts, next())
		}
		set.own = next()
	}
	c.stage = s
	return s, nil
}

// passes move data piece by piece: at each pass every rank has one, at the same place of all ranks' buffers.
type passes[T Number] struct {
	c  *Comm
	s  *stage
	n  int // elements of a piece
	at func(k, n int) [][]T
	// What is on its way: passes k and k+1 may be.
	flying [2]flight[T]
}

// flight is the state of one pass.
type flight[T Number] struct {
	at      [][]T // the piece of each rank
	pending pending
}

// newPasses prepares passes over the pieces that at returns: for pass k one of at most n elements for each rank.
func newPasses[T Number](c *Comm, at func(k, n int) [][]T) (*passes[T], error) {
	s, err := c.staging()
	if err != nil {
		return nil, err
	}
	return &passes[T]{c: c, s: s, n: s.piece / int(elemBytes[T]()), at: at}, nil
}

func (p *passes[T]) set(k int) *flight[T] { return &p.flying[k%2] }

// scatter begins to send everybody's pieces to their owners.
func (p *passes[T]) scatter(k int) error {
	f, set := p.set(k), &p.s.sets[k%2]
	f.at = p.at(k, p.n)
	send, recv := make([][]byte, p.c.size), make([][]byte, p.c.size)
	for r, piece := range f.at {
		if r != p.c.rank {
			send[r] = set.send[r][:copy(set.send[r], bytesOf(piece))]
			recv[r] = set.recv[r][:len(bytesOf(f.at[p.c.rank]))]
		}
	}
	var err error
	f.pending, err = p.c.t.exchange(send, recv)
	return err
}

// combine waits for what scatter began, and writes the combination of all ranks' values of the own piece to dst.
func (p *passes[T]) combine(k int, op Op, dst []T) error {
	values, err := p.values(k, len(dst))
	if err == nil {
		combine(op, dst, values)
	}
	return err
}

// values waits for what scatter began, and returns all ranks' values of the own piece, of n elements.
func (p *passes[T]) values(k, n int) ([][]T, error) {
	f, set := p.set(k), &p.s.sets[k%2]
	if err := f.pending.wait(); err != nil {
		return nil, err
	}
	values := make([][]T, p.c.size)
	for r := range values {
		values[r] = numbersOf[T](set.recv[r])[:n]
	}
	values[p.c.rank] = f.at[p.c.rank]
	return values, nil
}

// gather begins to send the own piece to everybody.
func (p *passes[T]) gather(k int) error {
	f, set := p.set(k), &p.s.sets[k%2]
	f.at = p.at(k, p.n)
	own := set.own[:copy(set.own, bytesOf(f.at[p.c.rank]))]
	send, recv := make([][]byte, p.c.size), make([][]byte, p.c.size)
	for r, piece := range f.at {
		if r != p.c.rank {
			send[r], recv[r] = own, set.parts[r][:len(bytesOf(piece))]
		}
	}
	var err error
	f.pending, err = p.c.t.exchange(send, recv)
	return err
}

// gathered waits for what gather began, and puts the others' pieces in their places.
func (p *passes[T]) gathered(k int) error {
	f, set := p.set(k), &p.s.sets[k%2]
	if err := f.pending.wait(); err != nil {
		return err
	}
	for r, piece := range f.at {
		if r != p.c.rank {
			copy(bytesOf(piece), set.parts[r])
		}
	}
	return nil
}

// reduceScatter combines count pieces of the own part into dst.
func (p *passes[T]) reduceScatter(op Op, dst []T, count int) error {
	return p.overlap(count, p.scatter, func(k int) error {
		a, b := cut(0, len(dst), k, p.n)
		return p.combine(k, op, dst[a:b])
	})
}

// allGather collects count pieces of all parts.
func (p *passes[T]) allGather(count int) error { return p.overlap(count, p.gather, p.gathered) }

// overlap begins each pass before the one ahead of it ends.
func (p *passes[T]) overlap(count int, begin, end func(k int) error) error {
	for k := range count + 1 {
		if k < count {
			if err := begin(k); err != nil {
				return err
			}
		}
		if k > 0 {
			if err := end(k - 1); err != nil {
				return err
			}
		}
	}
	return nil
}
