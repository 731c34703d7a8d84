package train

// ahead lets a rank ask for the weights that it needs next while it computes, and add up gradients meanwhile. What is asked
// for runs in one goroutine after another, in the order in which it was asked for, so that the ranks are still called by
// one at a time. It serves the others like any wish.
//
// Which group follows is what followed the last time after the same two.
type ahead struct {
	wanted bool // by the recipe, for what is trained
	on     bool // in a pass over micro-batches
	recent [2]int
	after  map[[2]int]int
	last   chan struct{} // closed when all that was asked for is done; nil if nothing was
	coming *group        // was asked for, and not needed yet
	come   chan struct{} // closed when it is here
}

// later runs f when all that was asked for before is done, and closes the channel when it has.
func (p *pooled) later(f func()) chan struct{} {
	before, done := p.ahead.last, make(chan struct{})
	p.ahead.last = done
	go func() {
		if before != nil {
			<-before
		}
		f()
		close(done)
	}()
	return done
}

// join waits for all that was asked for. Afterwards the caller alone calls the other ranks.
func (p *pooled) join() {
	if p.ahead.last != nil {
		<-p.ahead.last
		p.ahead.last = nil
	}
}

// goAhead begins a pass over micro-batches, which ends with serve.
func (p *pooled) goAhead() { p.ahead.on = p.ahead.wanted }

// stopAhead ends it.
func (p *pooled) stopAhead() {
	p.join()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = p.wanted[:0]
	p.ahead.on, p.ahead.recent, p.ahead.coming = false, [2]int{-1, -1}, nil
}

// came waits for the group that was asked for ahead, if it is among those that are wanted, and claims them all if they are
// here.
func (p *pooled) came(wanted []*group) bool {
	a := &p.ahead
	for _, g := range wanted {
		if g == a.coming {
			<-a.come
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range wanted {
		if !g.held {
			return false
		}
	}
	p.claim(wanted)
	return true
}

// claim keeps what is wanted here until something else is. The caller holds the lock.
func (p *pooled) claim(wanted []*group) {
	p.wanted = append(p.wanted[:0], wanted...)
	for _, g := range wanted {
		if g == p.ahead.coming {
			p.ahead.coming = nil
		}
	}
}

// foresee asks for the group that is likely to be needed after those that have just been claimed.
func (p *pooled) foresee() {
	a := &p.ahead
	if !a.on {
		return
	}
	now := p.wanted[len(p.wanted)-1].number
	if a.recent[1] >= 0 {
		a.after[a.recent] = now
	}
	a.recent = [2]int{a.recent[1], now}
	next, known := a.after[a.recent]
	if !known {
		return
	}
	g := p.groups[next]
	p.mu.Lock()
	ask := !g.held
	if ask {
		a.coming = g
	}
	p.mu.Unlock()
	if ask {
		a.come = p.later(func() { p.ask(wish{gathered, g.number}) })
	}
}

// needed is need for what is not claimed.
func (p *pooled) needed(wanted []*group) {
	if !p.came(wanted) {
		p.join()
		p.mu.Lock()
		p.claim(wanted)
		p.mu.Unlock()
		for _, g := range wanted {
			if !g.held {
				p.ask(wish{gathered, g.number})
			}
			if !g.held { // the run has failed; until it ends, there must be something to compute with
				p.makeRoom(g)
				g.held = true
			}
		}
	}
	p.foresee()
}
