package infer

import (
	"cmp"
	"slices"
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
	var prompts []*Ticket
	for _, t := range s.active {
		if t.leader == nil && t.w.reading() {
			prompts = append(prompts, t)
		}
	}
	late := 0.0
	for _, t := range prompts {
		late = max(late, s.pace.late(time.Since(t.since), t.toRead))
	}
	budget := min(s.opt.MaxTokens-answers, s.pace.budget(answers, len(prompts), late))
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
	n := fed{answers, b.n - answers, len(b.works)}
	if len(b.feeds) == 0 {
		return n, nil
	}
	h, err := s.e.pass(b.feeds)
	if err == nil {
		err = b.hand(h)
		s.e.release(h)
	}
	if err != nil {
		err = b.relieve(err)
	}
	return n, err // an error of the device: those of single requests were handled above
}

// batch is what one pass feeds.
type batch struct {
	s     *Scheduler
	feeds []Feed
	works []fedWork
	n     int  // tokens
	taken bool // results were handed over
}

// fedWork is a ticket and its part of a batch.
type fedWork struct {
	*Ticket
	row, rows int // the first of its hidden states, and how many there are
	n         int // tokens
	want      Want
}

// add adds the next tokens of t, at most budget of them if they are of a prompt. A ticket that cannot go on leaves.
func (b *batch) add(t *Ticket, budget int) {
	if !slices.Contains(b.s.active, t) || slices.ContainsFunc(b.works, func(w fedWork) bool { return w.Ticket == t }) {
		return // preempted, or in the batch already
	}
	w := fedWork{Ticket: t}
	feeds, err := t.w.next(t.ctx, b.s.e, budget, b.feeds)
	for i := len(b.feeds); err == nil && i < len(feeds); i++ {
		f := &feeds[i]
		err = b.s.room(t, f.Session, len(f.IDs), b.works)
		w.rows, w.n, w.want = w.rows+f.rows(), w.n+len(f.IDs), f.Want
	}
	switch {
	case err != nil:
		b.s.leave(t, err)
	case slices.Contains(b.s.active, t): // not preempted
		if n := len(b.works); n > 0 {
			w.row = b.works[n-1].row + b.works[n-1].rows
		}
		b.feeds, b.works, b.n = feeds, append(b.works, w), b.n+w.n
	}
}

// scoreRows is how many rows of logits exist at a time for scores.
const scoreRows = 64

// hand gives the works what they wanted of the hidden states h.
func (b *batch) hand(h *device.Tensor) error {
	e := b.s.e
	if err := b.answers(h); err != nil {
		return err
	}
	if err := b.scores(h); err != nil {
		return err
	}
	for _, w := range b.works {
		switch w.want {
		case wantScores:
			err := w.w.took(w.n, nil)
			if own, ok := w.w.(*scoring); ok && err == nil {
				b.s.branch(w.Ticket, own)
			}
			b.s.took(w.Ticket, err)
		case wantHidden:
			part := e.dev.Gather(h, span(w.row, w.rows))
			v := make([]float32, part.Rows*part.Cols)
			e.dev.Read(part, v)
			e.release(part)
			if err := e.dev.Sync(); err != nil {
				return err
			}
			b.s.took(w.Ticket, w.w.took(w.n, rowsOf(v, h.Cols)))
		}
	}
	return nil
}

// scores computes the logits of works that want scores, a few rows at a time, whosever they are, and hands them over.
func (b *batch) scores(h *device.Tensor) error {
	e := b.s.e
	type piece struct {
		w           *fedWork
		first, rows int // of the work's
	}
	var pieces []piece
	var rows []int32
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		logits, err := e.head(h, rows)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			n := p.rows * e.model.Vocab
			p.w.w.(scorer).scores(p.first, logits[:n], e.model.Vocab)
			logits = logits[n:]
		}
		pieces, rows = pieces[:0], rows[:0]
		return nil
	}
	for i := range b.works {
		w := &b.works[i]
		for at := 0; w.want == wantScores && at < w.rows; {
			n := min(scoreRows-len(rows), w.rows-at)
			pieces, rows = append(pieces, piece{w, at, n}), append(rows, span(w.row+at, n)...)
			if at += n; len(rows) == scoreRows {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// answers computes the logits that works want all at once, together, and hands them over. Answers sample in parallel.
func (b *batch) answers(h *device.Tensor) error {
	e := b.s.e
	var rows []int32
	var need []int
	for _, w := range b.works {
		if w.want <= WantAll {
			rows = append(rows, span(w.row, w.rows)...)
			for range w.rows {
				need = append(need, w.enough())
			}
		}
	}
	wanted := rows
	if len(rows) == h.Rows {
		wanted = nil
	}
	found, err := e.outputs(h, wanted, need)
	if err != nil {
		return err
	}
	b.taken = true
	parts := make([][]row, len(b.works))
	for i, w := range b.works {
		if w.want <= WantAll {
			parts[i], found = found[:w.rows], found[w.rows:]
		}
	}
	errs := make([]error, len(b.works))
	first := make([]bool, len(b.works))
	parallel(len(b.works), func(i int) {
		w := &b.works[i]
		if w.want > WantAll {
			return
		}
		reads := w.q != nil && w.q.reading() && !w.q.again
		errs[i] = w.w.took(w.n, parts[i])
		first[i] = reads && !w.q.reading()
	})
	for i, w := range b.works {
		if w.want > WantAll {
			continue
		}
		if first[i] {
			b.s.lead(w.Ticket, parts[i])
		}
		b.s.took(w.Ticket, errs[i])
	}
	return nil
}

// took keeps the new pages of a ticket for others, lets it branch, and lets it leave if its work has ended.
func (s *Scheduler) took(t *Ticket, err error) {
	for _, session := range t.w.sessions() {
		s.prefix.keep(session)
	}
	if w, ok := t.w.(brancher); ok && err == nil && !t.w.done() {
		w.branch(s.prefix.evict)
	}
	if err != nil || t.w.done() {
		s.leave(t, err)
	}
}

// lead lets the followers of t continue from a fork of its session, now that it has read their prompt.
func (s *Scheduler) lead(t *Ticket, rows []row) {
	for _, f := range t.follow {
		f.leader = nil
		session, err := t.q.s.forkEvicting(t.q.s.Len(), s.prefix.evict)
		if err != nil {
			// No room for another session now: the follower reads the prompt itself later.
			continue
		}
		f.q.s = session
		f.q.cached(session.Len() - 1)
		f.q.rest = f.q.prompt[len(f.q.prompt)-1:]
		if err := f.q.took(1, rows); err != nil || f.q.over {
			s.leave(f, err)
		}
	}
	t.follow = nil
}

// branch lets the followers of t, which score other texts with the same beginning, continue from a fork of its session
// once it has read that.
func (s *Scheduler) branch(t *Ticket, w *scoring) {
	shared := w.req.From
	if len(t.follow) == 0 || w.at < shared {
		return
	}
	for _, f := range t.follow {
		f.leader = nil
		own := f.w.(*scoring)
		own.at = shared
		if own.done() {
			s.leave(f, nil)
			continue
		}
		session, err := w.s.forkEvicting(shared, s.prefix.evict)
		if err != nil {
			own.at = 0 // no room for another session now: the follower reads the text itself later
			continue
		}
		own.s = session
	}
	t.follow = nil
}

// forkEvicting is forkAt that makes room for itself with evict, while that can.
func (s *Session) forkEvicting(n int, evict func() bool) (*Session, error) {
	for {
		f, err := s.forkAt(n)
		if !noRoom(err) || !evict() {
			return f, err
		}
	}
}

// room makes room for n more tokens in a session of t: it evicts pages of the prefix cache first, and then preempts the
// youngest work that is not in this pass yet.
func (s *Scheduler) room(t *Ticket, session *Session, n int, fed []fedWork) error {
	for {
		err := session.grow(n)
		if !noRoom(err) {
			return err
		}
		if s.prefix.evict() || s.reclaim() {
			continue
		}
		// The last to come is preempted: t, or one that holds pages and is not in this pass.
		var victim *Ticket
		others := false
		for _, a := range s.active {
			holds := a != t && slices.ContainsFunc(a.w.sessions(), func(s *Session) bool { return len(s.pages) > 0 })
			others = others || holds
			if a == t || holds && !slices.ContainsFunc(fed, func(w fedWork) bool { return w.Ticket == a }) {
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

// reclaim takes the pages of the last waiting ticket that has any: it was given them by its leader.
func (s *Scheduler) reclaim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range slices.Backward(s.waiting) {
		if slices.ContainsFunc(t.w.sessions(), func(s *Session) bool { return len(s.pages) > 0 }) {
			t.w.preempt()
			return true
		}
	}
	return false
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

// leave ends a ticket, which may be a follower that was not admitted yet. Its followers must read the prompt themselves.
func (s *Scheduler) leave(t *Ticket, err error) {
	s.stalled = false
	s.active = slices.DeleteFunc(s.active, func(a *Ticket) bool { return a == t })
	s.mu.Lock()
	s.waiting = slices.DeleteFunc(s.waiting, func(a *Ticket) bool { return a == t })
	s.mu.Unlock()
	for _, f := range t.follow {
		f.leader = nil
	}
	t.follow = nil
	if l := t.leader; l != nil {
		l.follow = slices.DeleteFunc(l.follow, func(f *Ticket) bool { return f == t })
	}
	t.end(err)
}

// pace decides how many tokens of prompts a pass may read: beside answers that are written, so many that these are not
// delayed too much; otherwise so many that new requests and canceled ones need not wait long for the end of the pass. It
// measures how long passes take.
type pace struct {
	stretch float64
	quick   time.Duration // of the last pass without prompts
	beside  time.Duration // what a token of a prompt adds to one: falls smoothly, rises at once
	alone   time.Duration // of a token of a prompt in a pass without answers, likewise
	mixed   int           // passes with prompts since quick was measured
}

const (
	minPiece     = 4  // tokens of prompts that are always read
	unknownPiece = 64 // while nothing was measured
	// Batches grow, so that quick must be measured now and then, at the cost of one pass in so many.
	measureAfter = 24
	// A pass without answers should not take longer, but is not cut so small that it becomes inefficient.
	longestPass, minPass = time.Second, 64
)

// late is how long a prompt of so many tokens has been waiting, in times of what it takes beside answers when no other is
// read.
func (p *pace) late(waited time.Duration, tokens int) float64 {
	if p.beside == 0 || tokens == 0 {
		return 0
	}
	return float64(waited) / (float64(tokens) * float64(p.beside)) * (p.stretch - 1) / p.stretch
}

// tolerated is how late a prompt may be before answers wait for it longer.
const tolerated = 1.5

// budget is the number of tokens that a pass reads of so many prompts, beside that many tokens of answers. One prompt, or a
// few beside more answers, stretch a pass as they may; where most requests wait for their first token, or one is late since
// others were read before it, answers wait in proportion: small pieces cost everybody more.
func (p *pace) budget(answers, prompts int, late float64) int {
	switch {
	case answers == 0 && p.alone == 0:
		return 4 * unknownPiece
	case answers == 0:
		return max(minPass, int(longestPass/p.alone))
	case p.quick == 0 || p.mixed >= measureAfter:
		return 0 // measures quick
	}
	token := cmp.Or(p.beside, 2*p.alone) // in small pieces a token costs more
	if token == 0 {
		return unknownPiece
	}
	more, longer := (p.stretch-1)*float64(p.quick), 1.0
	if many := 4 * float64(prompts) / float64(answers); prompts > 1 {
		longer = max(longer, many)
	}
	if late > tolerated {
		longer *= late
	}
	if longer > 1 {
		more = min(longer*more, max(more, float64(longestPass)))
	}
	return max(minPiece, int(more/float64(token)))
}

// took records how long a pass took.
func (p *pace) took(n fed, d time.Duration) {
	if n.prompts == 0 {
		p.quick, p.mixed = d, 0
		return
	}
	to := &p.alone
	if n.answers > 0 {
		p.mixed++
		to, d = &p.beside, d-p.quick
	}
	if n.prompts < minPiece {
		return // too few to tell
	}
	token := max(d, time.Microsecond) / time.Duration(n.prompts)
	if *to < token {
		*to = token // also because the text has become long: at once, or the next pass takes too long as well
	}
	*to += (token - *to) / 4
}
