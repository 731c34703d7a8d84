package infer

import (
	"context"
	"sync"
	"time"
)

// Ticket is one work of a Scheduler, waiting, running or finished.
type Ticket struct {
	ctx    context.Context
	w      work
	tenant string
	q      *sequence // w, if it is an answer
	leader *Ticket   // reads the same prompt for this one; nil once it is read
	follow []*Ticket // the tickets that this one reads the prompt for
	stop   func() bool
	rouse  func()
	since  time.Time // when it joined the batch, with toRead tokens to read
	toRead int

	mu     sync.Mutex
	tokens []Token // generated but not yet taken by Next; at most a whole answer
	paused bool    // for its reader
	ready  chan struct{}
	ended  bool
	err    error
}

// enough is how many of the largest logits the work needs, and those that follow it; 0: all logits.
func (t *Ticket) enough() int {
	c, ok := t.w.(chooser)
	if !ok {
		return 0
	}
	most := c.enough()
	for _, f := range t.follow {
		n := f.enough()
		if n == 0 || most == 0 {
			return 0
		}
		most = max(most, n)
	}
	return most
}

// put is called by the scheduler for every token. It never blocks: unread tokens are kept, and Request.Unread and the
// context bound their number.
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

// pause reports whether the answer must wait for its reader.
func (t *Ticket) pause() bool {
	if t.q == nil || t.q.req.Unread <= 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paused = len(t.tokens) >= t.q.req.Unread && t.ctx.Err() == nil
	return t.paused
}

// end finishes the ticket and frees its pages.
func (t *Ticket) end(err error) {
	err = t.w.end(err)
	for _, s := range t.w.sessions() {
		s.Close()
	}
	t.stop()
	t.mu.Lock()
	t.ended, t.err = true, err
	t.mu.Unlock()
	t.signal()
}

// Next waits for the next token. It returns false when the answer has ended; Result says how. A ticket is read by one
// goroutine.
func (t *Ticket) Next() (Token, bool) {
	for {
		tok, ok, ended := t.Poll()
		if ok || ended {
			return tok, ok
		}
		<-t.ready
	}
}

// Ready has a value when Poll may have something to say.
func (t *Ticket) Ready() <-chan struct{} { return t.ready }

// Poll is Next without waiting: ok is false when there is no token now, and ended then says that there will be none.
func (t *Ticket) Poll() (tok Token, ok, ended bool) {
	t.mu.Lock()
	ended = t.ended
	if ok = len(t.tokens) > 0; ok {
		tok, ended = t.tokens[0], false
		t.tokens = t.tokens[1:]
	}
	resume := t.paused && len(t.tokens) < t.q.req.Unread
	t.paused = t.paused && !resume
	t.mu.Unlock()
	if resume {
		t.rouse()
	}
	if ended {
		t.signal() // for Result
	}
	return tok, ok, ended
}

// wait waits for the end of the work.
func (t *Ticket) wait() error {
	for {
		t.mu.Lock()
		ended, err := t.ended, t.err
		t.mu.Unlock()
		if ended {
			t.signal()
			return err
		}
		<-t.ready
	}
}

// Result waits for the end of the answer, whether or not its tokens have been read with Next. On an error (cancellation
// included) the result holds what was generated so far. An answer with a bound on its unread tokens must be read first.
func (t *Ticket) Result() (*Result, error) {
	err := t.wait()
	return &t.q.res, err
}
