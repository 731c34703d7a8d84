package infer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"leolm/device"
	"leolm/internal/mapped"
)

// SchedulerOptions bound what a Scheduler does at one time. Zero means the default.
type SchedulerOptions struct {
	// MaxSequences is how many answers are written at one time (default 64).
	MaxSequences int
	// MaxTokens is the most tokens in one pass: one of every running answer, the rest of prompts (default: the engine's
	// PrefillChunk). A long prompt is read in parts, so that it holds the others up by no more than this.
	MaxTokens int
	// Queue is how many requests may wait for their turn (default 1024).
	Queue int
}

// Scheduler owns an engine and writes many answers at once: requests come from any goroutine and join and leave between
// passes. An answer is the same, bit for bit, whatever else runs beside it.
//
// Prompts that begin alike share the pages of what they have in common. When the cache is full, pages that no answer uses
// go first, then the youngest answer waits and is computed anew; an answer that doesn't fit even alone ends with
// *device.CacheFullError. Neither a slow reader nor a cancelled request holds the others up.
type Scheduler struct {
	e      *Engine
	opt    SchedulerOptions
	prefix *prefixCache

	mu      sync.Mutex
	waiting []*Ticket
	closed  error
	wake    chan struct{} // holds one when there is something new

	// Of the goroutine that runs:
	active  []*Ticket
	stalled bool // an answer was sent back for want of room, and none has ended since
}

// ErrQueueFull refuses a request: as many wait as may.
var ErrQueueFull = errors.New("too many requests are waiting")

// ErrClosed refuses requests of a scheduler that has ended.
var ErrClosed = errors.New("the scheduler has ended")

// Ticket is one answer that a Scheduler writes or will write.
type Ticket struct {
	ctx    context.Context
	q      *sequence
	leader *Ticket   // whose prompt is this one's too, until it is read
	follow []*Ticket // that wait for this one's prompt

	mu     sync.Mutex
	tokens []Token // written and not read yet; no more than an answer has
	ready  chan struct{}
	ended  bool
	err    error
}

// NewScheduler returns a scheduler on e, which nobody else may use from then on. Run makes it work.
func NewScheduler(e *Engine, opt SchedulerOptions) *Scheduler {
	if opt.MaxSequences <= 0 {
		opt.MaxSequences = 64
	}
	if opt.MaxTokens <= 0 {
		opt.MaxTokens = e.opt.PrefillChunk
	}
	if opt.Queue <= 0 {
		opt.Queue = 1024
	}
	return &Scheduler{e: e, opt: opt, prefix: newPrefixCache(e.cache), wake: make(chan struct{}, 1)}
}

// Submit asks for answers to one prompt, one for each request; the prompt is read once. text makes the decoder of an answer.
// A request that makes no sense is refused here. Cancelling ctx ends the answers.
func (s *Scheduler) Submit(ctx context.Context, text func() Text, reqs ...*Request) ([]*Ticket, error) {
	var ts []*Ticket
	for i, r := range reqs {
		if i > 0 && !slices.Equal(r.Prompt, reqs[0].Prompt) {
			return nil, fmt.Errorf("request %d has another prompt than the first", i)
		}
		for at, id := range r.Prompt {
			if id < 0 || int(id) >= s.e.model.Config.VocabSize {
				return nil, &TokenError{ID: id, Position: at, Vocab: s.e.model.Config.VocabSize}
			}
		}
		t := &Ticket{ctx: ctx, ready: make(chan struct{}, 1)}
		var err error
		if t.q, err = s.e.newSequence(s.e.NewSession(), text(), r, t.put); err != nil {
			return nil, err
		}
		if i > 0 {
			t.leader = ts[0]
			ts[0].follow = append(ts[0].follow, t)
		}
		ts = append(ts, t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed != nil:
		return nil, s.closed
	case len(s.waiting)+len(ts) > s.opt.Queue:
		return nil, ErrQueueFull
	}
	s.waiting = append(s.waiting, ts...)
	s.rouse()
	return ts, nil
}

// rouse tells the running goroutine that there is something new.
func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run writes answers until ctx ends; then all that are not finished end with its error. A model file that is truncated
// meanwhile ends it with an error that names it.
func (s *Scheduler) Run(ctx context.Context) error {
	err := mapped.Guard(func() error { return s.loop(ctx) })
	s.close(err)
	return err
}

func (s *Scheduler) loop(ctx context.Context) error {
	for {
		s.admit()
		if len(s.active) == 0 {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-s.wake:
			}
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.pass(); err != nil {
			return err
		}
	}
}

// close ends all answers with err.
func (s *Scheduler) close(err error) {
	s.mu.Lock()
	s.closed = ErrClosed
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, t := range append(s.active, waiting...) {
		t.end(err)
	}
	s.active = nil
	s.prefix.clear()
}

// admit takes requests from the queue while there is room.
func (s *Scheduler) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && len(s.active) < s.opt.MaxSequences && !(s.stalled && len(s.active) > 0) {
		t := s.waiting[0]
		s.waiting = s.waiting[1:]
		if t.leader == nil && !t.q.again {
			if pages := s.prefix.find(t.q.prompt); len(pages) > 0 {
				n := len(pages) * s.e.cache.PageLen()
				t.q.s.pages, t.q.s.ids = pages, slices.Clone(t.q.prompt[:n])
				t.q.cached(n)
			}
		}
		s.active = append(s.active, t)
	}
}

// pass runs one forward pass: a token of every answer that is being written, and as much of prompts as the budget leaves.
func (s *Scheduler) pass() error {
	var feeds []Feed
	var fed []*Ticket
	budget := s.opt.MaxTokens
	for _, prompts := range []bool{false, true} {
		for _, t := range slices.Clone(s.active) {
			if !slices.Contains(s.active, t) || t.leader != nil || t.q.reading() != prompts || prompts && budget <= 0 {
				continue
			}
			feed, err := t.q.next(t.ctx, s.e, budget)
			if err == nil {
				err = s.room(t, len(feed.IDs), fed)
			}
			if err != nil {
				s.leave(t, err)
				continue
			}
			if !slices.Contains(s.active, t) {
				continue // waits for room
			}
			budget -= len(feed.IDs)
			feeds, fed = append(feeds, feed), append(fed, t)
		}
	}
	if len(feeds) == 0 {
		return nil
	}
	logits, err := s.e.Step(feeds)
	if err != nil {
		return err // of the device: nothing of one request gets here
	}
	vocab, at := s.e.model.Vocab, 0
	for i, t := range fed {
		n := 0
		switch feeds[i].Want {
		case WantLast:
			n = vocab
		case WantAll:
			n = vocab * len(feeds[i].IDs)
		}
		s.took(t, len(feeds[i].IDs), logits[at:at+n], vocab)
		at += n
	}
	return nil
}

// took gives a ticket, and those that wait for its prompt, the logits of its feed.
func (s *Scheduler) took(t *Ticket, n int, logits []float32, vocab int) {
	reading := t.q.reading() && !t.q.again
	err := t.q.took(n, logits, vocab)
	if reading && !t.q.reading() {
		s.lead(t, logits, vocab)
	}
	s.prefix.keep(t.q.s)
	if err != nil || t.q.done {
		s.leave(t, err)
	}
}

// lead gives the followers of t the prompt that it has read: they go on from a copy of its session.
func (s *Scheduler) lead(t *Ticket, logits []float32, vocab int) {
	for _, f := range t.follow {
		f.leader = nil
		session, err := s.fork(t.q.s)
		if err != nil {
			// No room for another session now: it reads the prompt when there is.
			continue
		}
		f.q.s = session
		f.q.cached(session.Len() - 1)
		f.q.rest = f.q.prompt[len(f.q.prompt)-1:]
		if err := f.q.took(1, logits, vocab); err != nil || f.q.done {
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

// room makes sure that t can feed n tokens: pages of the prefix cache go first, then the youngest answer that is not in the
// pass yet has to wait.
func (s *Scheduler) room(t *Ticket, n int, fed []*Ticket) error {
	for {
		err := t.q.s.grow(n)
		var full *device.CacheFullError
		if err == nil || !errors.As(err, &full) {
			return err
		}
		if s.prefix.evict() {
			continue
		}
		// Whoever came last waits: t, or one that holds pages and is not in the pass.
		var victim *Ticket
		others := false
		for _, a := range s.active {
			holds := a != t && len(a.q.s.pages) > 0
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

// preempt sends t back to the head of the queue.
func (s *Scheduler) preempt(t *Ticket) {
	t.q.preempt()
	s.stalled = true
	s.active = slices.DeleteFunc(s.active, func(a *Ticket) bool { return a == t })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append([]*Ticket{t}, s.waiting...)
}

// leave ends a ticket. Those that wait for its prompt read it themselves.
func (s *Scheduler) leave(t *Ticket, err error) {
	s.stalled = false
	s.active = slices.DeleteFunc(s.active, func(a *Ticket) bool { return a == t })
	for _, f := range t.follow {
		f.leader = nil
	}
	t.follow = nil
	t.end(err)
}

// put is called by the running goroutine for every token. It never waits: what is not read yet is kept, and no answer is
// longer than the context.
func (t *Ticket) put(tok Token) error {
	t.mu.Lock()
	t.tokens = append(t.tokens, tok)
	t.mu.Unlock()
	t.signal()
	return nil
}

func (t *Ticket) signal() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

// end finishes the ticket and gives its pages back.
func (t *Ticket) end(err error) {
	if len(t.q.res.IDs) > 0 {
		err = t.q.end(err)
	}
	t.q.s.Close()
	t.mu.Lock()
	t.ended, t.err = true, err
	t.mu.Unlock()
	t.signal()
}

// Next waits for the next token. It returns false when the answer has ended: Result says how. One goroutine reads a ticket.
func (t *Ticket) Next() (Token, bool) {
	for {
		t.mu.Lock()
		if len(t.tokens) > 0 {
			tok := t.tokens[0]
			t.tokens = t.tokens[1:]
			t.mu.Unlock()
			return tok, true
		}
		ended := t.ended
		t.mu.Unlock()
		if ended {
			t.signal() // for Result
			return Token{}, false
		}
		<-t.ready
	}
}

// Result waits for the end of the answer, whose tokens may be read before or not at all. On an error (cancellation
// included) the result holds what was generated so far.
func (t *Ticket) Result() (*Result, error) {
	for {
		t.mu.Lock()
		ended, err := t.ended, t.err
		t.mu.Unlock()
		if ended {
			t.signal()
			return &t.q.res, err
		}
		<-t.ready
	}
}
