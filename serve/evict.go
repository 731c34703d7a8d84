package serve

import (
	"context"
	"time"
)

// makeRoom waits until e may be loaded, and evicts the model that was idle longest if it must.
func (r *registry) makeRoom(e *entry) error {
	limit := r.s.cfg.MaxLoaded
	r.mu.Lock()
	defer r.mu.Unlock()
	if limit <= 0 || r.loaded() < limit {
		e.taking = true
		return nil
	}
	// Requests that come from now on wait, so that a busy model becomes idle.
	r.turns++
	defer func() {
		r.turns--
		r.broadcast()
	}()
	for r.loaded() >= limit {
		if idle := r.idlest(); idle != nil {
			r.evict(idle)
			continue
		}
		if err := r.wait(r.ctx); err != nil {
			return err
		}
	}
	e.taking = true
	return nil
}

// loaded counts the models that hold weights or are about to. r.mu is held.
func (r *registry) loaded() int {
	n := 0
	for _, e := range r.entries {
		if e.base == nil && (e.m != nil || e.taking) {
			n++
		}
	}
	return n
}

// idlest returns the loaded model that has been idle for the longest time, or nil. Adapters come before the models whose
// weights they use. r.mu is held.
func (r *registry) idlest() *entry {
	var best *entry
	for _, e := range r.entries {
		if e.m == nil || e.users+e.pending > 0 || e.keepSet && e.keep < 0 {
			continue
		}
		if best == nil || e.last.Before(best.last) {
			best = e
		}
	}
	return best
}

// evict frees an idle model. r.mu is held, but not while its memory is freed.
func (r *registry) evict(e *entry) {
	m := e.m
	e.m, e.keepSet = nil, false
	r.mu.Unlock()
	err := m.stop()
	r.mu.Lock()
	e.past = plusCounts(e.past, m.sched.Stats())
	r.s.cfg.Log.Info("unloaded a model", "model", e.name, "error", err)
	r.broadcast()
}

// evictOne frees the model that has been idle for the longest time, if there is one.
func (r *registry) evictOne() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.idlest()
	if e != nil {
		r.evict(e)
	}
	return e != nil
}

// keptFor is how long e stays loaded without being used; negative: until its memory is needed.
func (r *registry) keptFor(e *entry) time.Duration {
	switch {
	case e.keepSet:
		return e.keep
	case r.s.cfg.KeepAlive > 0:
		return r.s.cfg.KeepAlive
	}
	return -1
}

// keepAlive sets how long the model stays loaded after its use, until it is unloaded: negative is forever, 0 unloads it as
// soon as nobody uses it.
func (r *registry) keepAlive(e *entry, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.keep, e.keepSet = d, true
	r.broadcast()
}

// sweepIdle unloads models that have been idle for long.
func (r *registry) sweepIdle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed {
		next, idle := time.Duration(-1), (*entry)(nil)
		for _, e := range r.entries {
			keep := r.keptFor(e)
			if e.m == nil || e.users > 0 || keep < 0 {
				continue
			}
			if left := keep - time.Since(e.last); left <= 0 {
				idle = e
			} else if next < 0 || left < next {
				next = left
			}
		}
		if idle != nil {
			r.evict(idle)
			continue
		}
		ctx, cancel := r.ctx, context.CancelFunc(func() {})
		if next >= 0 {
			ctx, cancel = context.WithTimeout(r.ctx, next)
		}
		_ = r.wait(ctx) // whatever it was, it is looked at
		cancel()
	}
}
