package infer

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"leolm/device"
)

// fed is how many tokens a pass fed.
type fed struct {
	answers int // one or, with proposals, a few of every running answer
	prompts int // of texts that are read
	works   int // whose tokens they are
}

// pass runs one forward pass: a token of every running answer, and as many tokens of prompts as the budget leaves. The
// oldest prompt gets half of the budget, the shortest ones the rest: a long one delays neither short ones nor is it
// delayed by them for ever.
func (s *Scheduler) pass() (fed, error) {
	b := batch{s: s}
	for _, t := range slices.Clone(s.active) {
		if t.leader == nil && !t.w.reading() && !t.pause() {
			b.add(t, 0)
		}
	}
	answers := b.n
	budget := min(s.opt.MaxTokens-answers, s.pace.budget(answers))
	var prompts []*Ticket
	for _, t := range s.active {
		if t.leader == nil && t.w.reading() {
			prompts = append(prompts, t)
		}
	}
	if len(prompts) > 1 && budget > 1 {
		b.add(prompts[0], (budget+1)/2)
		slices.SortStableFunc(prompts[1:], func(x, y *Ticket) int { return cmp.Compare(x.w.remaining(), y.w.remaining()) })
		prompts = append(prompts[1:], prompts[0])
	}
	for _, t := range prompts {
		if left := budget - (b.n - answers); left > 0 {
			b.add(t, left)
		}
	}
	n := fed{answers, b.n - answers, len(b.feeds)}
	if len(b.feeds) == 0 {
		return n, nil
	}
	h, err := s.e.pass(b.feeds)
	if err != nil {
		return n, err // an error of the device: those of single requests were handled above
	}
	b.hand(h)
	return n, nil
}

// batch is what one pass feeds.
type batch struct {
	s       *Scheduler
	feeds   []Feed
	tickets []*Ticket
	n       int // tokens
}

// add adds the next tokens of t, at most budget of them if they are of a prompt. A ticket that cannot go on leaves.
func (b *batch) add(t *Ticket, budget int) {
	if !slices.Contains(b.s.active, t) || slices.Contains(b.tickets, t) {
		return // preempted, or in the batch already
	}
	feed, err := t.w.next(t.ctx, b.s.e, budget)
	if err == nil {
		err = b.s.room(t, len(feed.IDs), b.tickets)
	}
	switch {
	case err != nil:
		b.s.leave(t, err)
	case slices.Contains(b.s.active, t): // not preempted
		b.feeds, b.tickets, b.n = append(b.feeds, feed), append(b.tickets, t), b.n+len(feed.IDs)
	}
}

// scoreRows is how many rows of logits exist at a time for scores.
const scoreRows = 64

// hand gives the works what they wanted of the hidden states h, and releases h.
func (b *batch) hand(h *device.Tensor) {
	e := b.s.e
	var logits []int32 // rows of h
	starts := make([]int, len(b.feeds))
	at := 0
	for i := range b.feeds {
		f := &b.feeds[i]
		starts[i] = at
		n := f.rows()
		if f.Want == WantLast || f.Want == WantAll {
			for row := range n {
				logits = append(logits, int32(at+row))
			}
		}
		at += n
	}
	b.answers(h, logits)
	for i, t := range b.tickets {
		f := &b.feeds[i]
		n := len(f.IDs)
		switch f.Want {
		case wantScores:
			for row := 0; row < n; row += scoreRows {
				part := e.dev.Gather(h, span(starts[i]+row, min(scoreRows, n-row)))
				t.w.(scorer).scores(row, e.head(part), e.model.Vocab)
				e.release(part)
			}
			b.took(t, n, nil, 0)
		case wantHidden:
			part := e.dev.Gather(h, span(starts[i], n))
			v := make([]float32, part.Rows*part.Cols)
			e.dev.Read(part, v)
			e.release(part)
			b.took(t, n, v, h.Cols)
		}
	}
	e.release(h)
}

// answers computes the logits of the given rows of h, all together, and hands them to the answers. These sample in
// parallel.
func (b *batch) answers(h *device.Tensor, rows []int32) {
	e := b.s.e
	var logits []float32
	switch {
	case len(rows) == h.Rows:
		logits = e.head(h)
	case len(rows) > 0:
		part := e.dev.Gather(h, rows)
		logits = e.head(part)
		e.release(part)
	}
	vocab, at := e.model.Vocab, 0
	parts := make([][]float32, len(b.feeds))
	for i := range b.feeds {
		f := &b.feeds[i]
		if f.Want <= WantAll {
			n := f.rows() * vocab
			parts[i], at = logits[at:at+n], at+n
		}
	}
	errs := make([]error, len(b.feeds))
	first := make([]bool, len(b.feeds))
	parallel(len(b.feeds), func(i int) {
		t, f := b.tickets[i], &b.feeds[i]
		if f.Want > WantAll {
			return
		}
		first[i] = t.q != nil && t.q.reading() && !t.q.again
		errs[i] = t.w.took(len(f.IDs), parts[i], vocab)
		first[i] = first[i] && !t.q.reading()
	})
	for i, t := range b.tickets {
		if b.feeds[i].Want > WantAll {
			continue
		}
		if first[i] {
			b.s.lead(t, parts[i], vocab)
		}
		b.s.took(t, errs[i])
	}
}

// took hands rows to a work.
func (b *batch) took(t *Ticket, n int, rows []float32, width int) {
	b.s.took(t, t.w.took(n, rows, width))
}

// took keeps the new pages of a ticket for others, and lets it leave if its work has ended.
func (s *Scheduler) took(t *Ticket, err error) {
	s.prefix.keep(t.w.session())
	if err != nil || t.w.done() {
		s.leave(t, err)
	}
}

// lead lets the followers of t continue from a fork of its session, now that it has read their prompt.
func (s *Scheduler) lead(t *Ticket, logits []float32, vocab int) {
	for _, f := range t.follow {
		f.leader = nil
		session, err := s.fork(t.q.s)
		if err != nil {
			// No room for another session now: the follower reads the prompt itself later.
			continue
		}
		f.q.s = session
		f.q.cached(session.Len() - 1)
		f.q.rest = f.q.prompt[len(f.q.prompt)-1:]
		if err := f.q.took(1, logits, vocab); err != nil || f.q.over {
			s.leave(f, err)
		}
	}
	t.follow = nil
}

func (s *Scheduler) fork(of *Session) (*Session, error) {
	for {
		session, err := of.Fork()
		var full *device.CacheFullError
		if err == nil || !errors.As(err, &full) || !s.prefix.evict() {
			return session, err
		}
	}
}

// room makes room for n more tokens of t: it evicts pages of the prefix cache first, and then preempts the youngest work
// that is not in this pass yet.
func (s *Scheduler) room(t *Ticket, n int, fed []*Ticket) error {
	for {
		err := t.w.session().grow(n)
		var full *device.CacheFullError
		if err == nil || !errors.As(err, &full) {
			return err
		}
		if s.prefix.evict() {
			continue
		}
		// The last to come is preempted: t, or one that holds pages and is not in this pass.
		var victim *Ticket
		others := false
		for _, a := range s.active {
			holds := a != t && len(a.w.session().pages) > 0
			others = others || holds
			if a == t || holds && !slices.Contains(fed, a) {
				victim = a
			}
		}
		if !others {
			return err
		}
		s.preempt(victim)
		if victim == t {
			return nil
		}
	}
}

// preempt puts t back at the head of the queue.
func (s *Scheduler) preempt(t *Ticket) {
	t.w.preempt()
	s.stalled = true
	s.count.Preempted++
	s.active = slices.DeleteFunc(s.active, func(a *Ticket) bool { return a == t })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append([]*Ticket{t}, s.waiting...)
}

// leave ends a ticket. Its followers must read the prompt themselves.
func (s *Scheduler) leave(t *Ticket, err error) {
	s.stalled = false
	s.active = slices.DeleteFunc(s.active, func(a *Ticket) bool { return a == t })
	for _, f := range t.follow {
		f.leader = nil
	}
	t.follow = nil
	if l := t.leader; l != nil {
		l.follow = slices.DeleteFunc(l.follow, func(f *Ticket) bool { return f == t })
	}
	t.end(err)
}

// pace decides how many tokens of prompts a pass may read without delaying the answers that are written. It measures: the
// last pass that read nothing, and what a token of a prompt adds to one.
type pace struct {
	stretch float64
	quick   time.Duration // of a pass without prompts
	token   time.Duration // that a token of a prompt adds, smoothed
	mixed   int           // passes with prompts since quick was measured
}

const (
	minPiece     = 16 // tokens of prompts that are always read
	unknownPiece = 64 // while nothing was measured
	// Batches grow, so that quick must be measured now and then, at the cost of one pass in so many.
	measureAfter = 24
)

// budget is the number of tokens of prompts in a pass with that many tokens of answers.
func (p *pace) budget(answers int) int {
	switch {
	case answers == 0:
		return 1 << 30
	case p.quick == 0 || p.mixed >= measureAfter:
		return 0 // measures quick
	case p.token == 0:
		return unknownPiece
	}
	return max(minPiece, int((p.stretch-1)*float64(p.quick)/float64(p.token)))
}

// took records how long a pass took.
func (p *pace) took(n fed, d time.Duration) {
	switch {
	case n.answers == 0:
		return
	case n.prompts == 0:
		p.quick, p.mixed = d, 0
		return
	}
	p.mixed++
	if n.prompts >= minPiece {
		token := max(d-p.quick, time.Microsecond) / time.Duration(n.prompts)
		if p.token == 0 {
			p.token = token
		}
		p.token += (token - p.token) / 4
	}
}

// span is the n integers from first on.
func span(first, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(first + i)
	}
	return out
}

// parallel calls f with 0 to n-1, on as many goroutines as there are processors, and returns when all have.
func parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
