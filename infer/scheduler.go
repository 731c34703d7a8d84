package infer

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"leolm/internal/mapped"
	"leolm/sample"
)

// SchedulerOptions bound what a Scheduler does at the same time. Zero means the default.
type SchedulerOptions struct {
	// MaxSequences is the largest number of works that run together (default 64).
	MaxSequences int
	// MaxTokens is the largest number of tokens in one pass (default: the engine's PrefillChunk): one for every running
	// answer, the others for prompts.
	MaxTokens int
	// Stretch is how many times as long a pass may take because it reads prompts while answers are written (default 2.3).
	// Long prompts are read in pieces of this size.
	Stretch float64
	// Queue is the largest number of waiting requests (default 1024), QueueTokens of tokens in their prompts (default: no
	// bound).
	Queue, QueueTokens int
	// Turn, if not nil, is held during each pass: engines that share a device take turns.
	Turn sync.Locker
}

// Scheduler owns an engine and does many works together (continuous batching): it writes answers, scores and embeds texts.
// Requests come from any goroutine, and join and leave the batch between passes. A result is the same, bit for bit,
// whatever runs beside it.
//
// Prompts with a common beginning share its cache pages. When the cache is full, pages that nobody uses are evicted
// first; then the youngest work is preempted, waits, and is recomputed. A work that does not fit even alone ends with
// a *device.CacheFullError. Neither a slow reader nor a canceled request delays the others.
type Scheduler struct {
	e      *Engine
	opt    SchedulerOptions
	prefix *prefixCache

	mu      sync.Mutex
	waiting []*Ticket
	closed  error
	stats   SchedulerStats
	wake    chan struct{} // has a value when there is something new

	// Used by the goroutine of Run only:
	active  []*Ticket
	stalled bool // a work was preempted, and none has ended since
	pace    pace
	count   SchedulerStats // what publish makes visible in stats
}

// SchedulerStats say what a Scheduler is doing and has done.
type SchedulerStats struct {
	Waiting, WaitingTokens int // requests in the queue, and the tokens of their prompts
	Running                int // works in the batch
	Pages, PageLen         int // of the cache; a page holds PageLen tokens
	PagesInUse             int // by works
	PagesKept              int // of ended works, for their prefixes

	// Counted since the start:
	Passes                   int64
	BatchTokens              int64 // fed in all passes
	PrefixAsked, PrefixFound int64 // tokens that were looked for in the prefix cache, and found
	Preempted                int64
	BatchWorks               int64     // works in all passes
	BatchSizes               [14]int64 // passes with at most 1, 2, 4, 8 … works and more than half as many
}

// ErrClosed reports that Run has returned.
var ErrClosed = errors.New("the scheduler has ended")

// QueueFullError reports that no more requests may wait.
type QueueFullError struct {
	Waiting, Limit int
	What           string // "requests" or "tokens"
}

func (e *QueueFullError) Error() string {
	return fmt.Sprintf("too many requests: %d %s are waiting, of at most %d", e.Waiting, e.What, e.Limit)
}

// NewScheduler returns a scheduler that owns e: nothing else may use e from then on. Works are done by Run.
func NewScheduler(e *Engine, opt SchedulerOptions) *Scheduler {
	if opt.MaxSequences <= 0 {
		opt.MaxSequences = 64
	}
	if opt.MaxTokens <= 0 {
		opt.MaxTokens = e.opt.PrefillChunk
	}
	if opt.Stretch <= 1 {
		opt.Stretch = 2.3
	}
	if opt.Queue <= 0 {
		opt.Queue = 1024
	}
	s := &Scheduler{e: e, opt: opt, prefix: newPrefixCache(e.cache), wake: make(chan struct{}, 1)}
	s.pace.stretch = opt.Stretch
	s.count.Pages, s.count.PageLen = e.cache.Pages(), e.cache.PageLen()
	s.stats = s.count
	return s
}

// Submit queues one answer for each request. All requests have the same prompt, tenant and salt; the prompt is read once.
// text makes the decoder of an answer. Invalid requests are refused here, a full queue with a *QueueFullError. Canceling
// ctx ends the answers. It may be called from any goroutine.
func (s *Scheduler) Submit(ctx context.Context, text func() Text, reqs ...*Request) ([]*Ticket, error) {
	var ts []*Ticket
	for i, r := range reqs {
		if i > 0 && !slices.Equal(r.Prompt, reqs[0].Prompt) {
			return nil, fmt.Errorf("request %d has another prompt than the first", i)
		}
		if err := s.checkIDs(r.Prompt); err != nil {
			return nil, err
		}
		t := s.ticket(ctx, r.Tenant)
		q, err := s.e.newSequence(s.session(r.Tenant, r.Salt, len(r.Prompt)), text(), r, t.put)
		if err != nil {
			return nil, err
		}
		t.w, t.q = q, q
		if i > 0 {
			t.leader = ts[0]
			ts[0].follow = append(ts[0].follow, t)
		}
		ts = append(ts, t)
	}
	return ts, s.enqueue(ts...)
}

// Score returns how probable the tokens of texts are, for each of them one Score for every token from From on. The texts are
// equal before From, and what they share is read once: they are the choices of one question, say. Its errors are those of
// Submit.
func (s *Scheduler) Score(ctx context.Context, reqs ...*ScoreRequest) ([][]Score, error) {
	ts := make([]*Ticket, 0, len(reqs))
	works := make([]*scoring, 0, len(reqs))
	for i, r := range reqs {
		if err := s.checkScore(r); err != nil {
			return nil, err
		}
		if first := reqs[0]; r.From != first.From || !slices.Equal(r.IDs[:r.From], first.IDs[:r.From]) || r.Tenant != first.Tenant || r.Salt != first.Salt {
			return nil, fmt.Errorf("text %d begins in another way than the first", i)
		}
		w := &scoring{s: s.session(r.Tenant, r.Salt, len(r.IDs)), req: r}
		works = append(works, w)
		if w.done() {
			continue // the text ends where its scores would begin
		}
		t := s.ticket(ctx, r.Tenant)
		t.w = w
		if len(ts) > 0 {
			if leader := ts[0].w.(*scoring); leader.s.root == w.s.root { // otherwise its keys are of another length of text
				t.leader = ts[0]
				ts[0].follow = append(ts[0].follow, t)
				leader.choices = append(leader.choices, w)
			}
		}
		ts = append(ts, t)
	}
	if len(ts) > 0 {
		if err := s.enqueue(ts...); err != nil {
			return nil, err
		}
	}
	var err error
	for _, t := range ts {
		if e := t.wait(); err == nil {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	out := make([][]Score, len(works))
	for i, w := range works {
		out[i] = w.found
	}
	return out, nil
}

func (s *Scheduler) checkScore(r *ScoreRequest) error {
	if r.From < 1 || r.From > len(r.IDs) {
		return fmt.Errorf("scores from token %d on, in a text of %d", r.From, len(r.IDs))
	}
	if err := s.checkIDs(r.IDs); err != nil {
		return err
	}
	if n := len(r.IDs) - 1; n > s.e.opt.Context {
		return &ContextError{Tokens: n, Limit: s.e.opt.Context}
	}
	return nil
}

// Embed returns the sentence embedding of a text: the hidden states after the final norm, averaged over the tokens and
// scaled to length 1. Its errors are those of Submit.
func (s *Scheduler) Embed(ctx context.Context, tenant string, ids []int32) ([]float32, error) {
	if len(ids) == 0 {
		return nil, errors.New("nothing to embed: the text has no tokens")
	}
	if err := s.checkIDs(ids); err != nil {
		return nil, err
	}
	if len(ids) > s.e.opt.Context {
		return nil, &ContextError{Tokens: len(ids), Limit: s.e.opt.Context}
	}
	t := s.ticket(ctx, tenant)
	w := &embedding{s: s.session(tenant, "", len(ids)), ids: ids}
	t.w = w
	if err := s.enqueue(t); err != nil {
		return nil, err
	}
	if err := t.wait(); err != nil {
		return nil, err
	}
	return unit(w.sum), nil
}

// Beam answers a prompt with beam search and returns the answers, best first. Beams share the cached pages of their
// common prefix. Beams that would not fit into memory are a *device.MemoryError; other errors are those of Submit.
func (s *Scheduler) Beam(ctx context.Context, prompt []int32, p sample.BeamParams) ([]BeamAnswer, error) {
	if err := s.checkIDs(prompt); err != nil {
		return nil, err
	}
	t := s.ticket(ctx, "")
	w, err := newBeams(s.e, s.session("", "", len(prompt)), prompt, p)
	if err != nil {
		return nil, err
	}
	t.w = w
	if err := s.enqueue(t); err != nil {
		return nil, err
	}
	if err := t.wait(); err != nil {
		return nil, err
	}
	return w.answers(), nil
}

// Context is the largest number of tokens of a prompt with its answer.
func (s *Scheduler) Context() int { return s.e.opt.Context }

// Stats may be called from any goroutine.
func (s *Scheduler) Stats() SchedulerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Waiting = len(s.waiting)
	for _, t := range s.waiting {
		st.WaitingTokens += t.w.remaining()
	}
	return st
}

func (s *Scheduler) checkIDs(ids []int32) error {
	rows := s.e.model.Config.VocabSize
	for at, id := range ids {
		if id < 0 || int(id) >= rows {
			return &TokenError{ID: id, Position: at, Vocab: rows}
		}
	}
	return nil
}

// session is that of a text of so many tokens.
func (s *Scheduler) session(tenant, salt string, tokens int) *Session {
	n := s.e.NewSession()
	n.root = rootKey(tenant, salt, s.e.model.TextLength(tokens))
	n.key = n.root
	return n
}

// ticket returns one without its work.
func (s *Scheduler) ticket(ctx context.Context, tenant string) *Ticket {
	return &Ticket{ctx: ctx, tenant: tenant, ready: make(chan struct{}, 1), rouse: s.rouse}
}

// enqueue lets tickets wait for admission. Their contexts rouse the scheduler, so that a canceled one does not stay.
func (s *Scheduler) enqueue(ts ...*Ticket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return s.closed
	}
	if n := len(s.waiting); n+len(ts) > s.opt.Queue {
		return &QueueFullError{Waiting: n, Limit: s.opt.Queue, What: "requests"}
	}
	if s.opt.QueueTokens > 0 && len(s.waiting) > 0 {
		n := 0
		for _, t := range s.waiting {
			n += t.w.remaining()
		}
		if n+ts[0].w.remaining() > s.opt.QueueTokens {
			return &QueueFullError{Waiting: n, Limit: s.opt.QueueTokens, What: "tokens"}
		}
	}
	for _, t := range ts {
		t.stop = context.AfterFunc(t.ctx, s.rouse)
	}
	s.waiting = append(s.waiting, ts...)
	s.rouse()
	return nil
}

// rouse wakes the goroutine of Run.
func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run does the works until ctx ends; unfinished ones then end with its error. If a model file is truncated
// meanwhile, Run returns an error that names it.
func (s *Scheduler) Run(ctx context.Context) error {
	err := mapped.Guard(func() error { return s.loop(ctx) })
	s.close(err)
	return err
}

func (s *Scheduler) loop(ctx context.Context) error {
	for {
		s.admit()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.opt.Turn != nil {
			s.opt.Turn.Lock()
		}
		start := time.Now()
		fed, err := s.pass()
		if s.opt.Turn != nil {
			s.opt.Turn.Unlock()
		}
		if err != nil {
			return err
		}
		s.publish(fed)
		if fed.answers+fed.prompts > 0 {
			s.pace.took(fed, time.Since(start))
			continue
		}
		s.mu.Lock()
		more := len(s.waiting) > 0 && s.vacant()
		s.mu.Unlock()
		if more {
			continue // works have ended; others join
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		}
	}
}

// vacant reports whether another work may join the batch. After a preemption, none does before one has ended.
func (s *Scheduler) vacant() bool {
	return len(s.active) < s.opt.MaxSequences && !(s.stalled && len(s.active) > 0)
}

// publish makes the counters of a pass visible.
func (s *Scheduler) publish(fed fed) {
	c := &s.count
	c.Running = len(s.active)
	c.PagesKept = s.prefix.idle.Len()
	c.PagesInUse = s.e.cache.PagesInUse() - c.PagesKept
	c.PrefixAsked, c.PrefixFound = s.prefix.asked, s.prefix.hits
	if n := fed.answers + fed.prompts; n > 0 {
		c.Passes++
		c.BatchTokens += int64(n)
		c.BatchWorks += int64(fed.works)
		c.BatchSizes[min(bits.Len(uint(max(fed.works-1, 0))), len(c.BatchSizes)-1)]++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats = *c
}

// close ends all works with err.
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
	s.publish(fed{})
}

// admit moves requests from the queue into the batch while there is room. Canceled ones leave the queue.
func (s *Scheduler) admit() {
	s.mu.Lock()
	var canceled []*Ticket
	s.waiting = slices.DeleteFunc(s.waiting, func(t *Ticket) bool {
		gone := t.ctx.Err() != nil
		if gone {
			canceled = append(canceled, t)
		}
		return gone
	})
	for len(s.waiting) > 0 && s.vacant() {
		i := s.turn()
		t := s.waiting[i]
		s.waiting = slices.Delete(s.waiting, i, i+1)
		if session := t.w.sessions()[0]; t.leader == nil && session.Len() == 0 {
			if ids, n := t.w.tokens(); n > 0 {
				if n = s.prefix.fill(session, ids[:n]); n > 0 {
					t.w.cached(n)
				}
			}
		}
		if t.q != nil && t.q.res.Stats.QueueTime == 0 {
			t.q.res.Stats.QueueTime = time.Since(t.q.start)
		}
		t.since, t.toRead = time.Now(), t.w.remaining()
		s.active = append(s.active, t)
	}
	s.mu.Unlock()
	for _, t := range canceled {
		s.leave(t, context.Cause(t.ctx))
	}
}

// turn is the index of the waiting request whose turn it is: the first of the tenant with the fewest works in the batch.
func (s *Scheduler) turn() int {
	running := map[string]int{}
	for _, t := range s.active {
		running[t.tenant]++
	}
	best := 0
	for i, t := range s.waiting {
		if running[t.tenant] < running[s.waiting[best].tenant] {
			best = i
		}
	}
	return best
}
