package apikey

import (
	"fmt"
	"time"
)

// bucket lets a number of things through in a minute. A minute's worth may be taken at once; it fills again evenly. Its
// level is below zero after something turned out larger than what was reserved.
type bucket struct {
	limit float64 // 0: no bound
	level float64
	at    time.Time
}

func (b *bucket) fill(now time.Time) {
	if !b.at.IsZero() {
		b.level = min(b.limit, b.level+now.Sub(b.at).Minutes()*b.limit)
	}
	b.at = now
}

// change sets the limit; what has been taken stays taken.
func (b *bucket) change(limit int) {
	if b.limit == float64(limit) {
		return
	}
	b.level += float64(limit) - b.limit
	b.limit = float64(limit)
}

// wait is how long it takes until there are n.
func (b *bucket) wait(n float64) time.Duration {
	if b.limit == 0 || b.level >= n {
		return 0
	}
	return time.Duration((n - b.level) / b.limit * float64(time.Minute))
}

func (k *Key) change(admin bool, l Limits) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.admin, k.limits = admin, l
	k.requests.change(l.RequestsPerMinute)
	k.tokens.change(l.TokensPerMinute)
}

// What a LimitError is about.
const (
	RequestsPerMinute = "requests per minute"
	TokensPerMinute   = "tokens per minute"
	AtATime           = "requests at a time"
)

// LimitError reports that a key has used up what it may.
type LimitError struct {
	What  string        // RequestsPerMinute, TokensPerMinute or AtATime
	Limit int           // of them
	Asked int           // tokens of this request, or 1
	Wait  time.Duration // until it is worth asking again; 0: never, the request alone is too large
}

func (e *LimitError) Error() string {
	switch {
	case e.Wait == 0:
		return fmt.Sprintf("this request needs %d %s, and this key has %d", e.Asked, e.What, e.Limit)
	case e.Asked > 1:
		return fmt.Sprintf("this key has %d %s; this request may need %d, try again in %v", e.Limit, e.What, e.Asked, e.Wait.Round(time.Millisecond))
	}
	return fmt.Sprintf("this key has %d %s; try again in %v", e.Limit, e.What, e.Wait.Round(time.Millisecond))
}

// busyWait is when a key that has its requests running is told to come back.
const busyWait = time.Second

// Use is one request of a key, from its beginning until End. It may be used by several goroutines.
type Use struct {
	key      *Key
	reserved int
	ended    bool
}

// Begin admits a request, or returns a *LimitError.
func (k *Key) Begin() (*Use, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fill()
	if l := k.limits.Concurrent; l > 0 && k.running >= l {
		return nil, &LimitError{What: AtATime, Limit: l, Asked: 1, Wait: busyWait}
	}
	if wait := k.requests.wait(1); wait > 0 {
		return nil, &LimitError{What: RequestsPerMinute, Limit: k.limits.RequestsPerMinute, Asked: 1, Wait: wait}
	}
	k.requests.level--
	k.running++
	return &Use{key: k}, nil
}

func (k *Key) fill() {
	now := time.Now()
	k.requests.fill(now)
	k.tokens.fill(now)
}

// Reserve takes tokens for a part of the request before it is done: least of them are certain, most are possible. What
// requests at the same time may use is counted before any of them has used it. A request that may need more than a minute's
// worth takes all of it; one that certainly does is refused for good.
func (u *Use) Reserve(least, most int) error {
	k := u.key
	k.mu.Lock()
	defer k.mu.Unlock()
	limit := k.limits.TokensPerMinute
	if limit == 0 || u.ended {
		return nil
	}
	if least > limit {
		return &LimitError{What: TokensPerMinute, Limit: limit, Asked: least}
	}
	k.fill()
	n := min(most, limit)
	if wait := k.tokens.wait(float64(n)); wait > 0 {
		return &LimitError{What: TokensPerMinute, Limit: limit, Asked: n, Wait: wait}
	}
	k.tokens.level -= float64(n)
	u.reserved += n
	return nil
}

// End ends the request, which used so many tokens. Further calls do nothing.
func (u *Use) End(used int) {
	k := u.key
	k.mu.Lock()
	defer k.mu.Unlock()
	if u.ended {
		return
	}
	u.ended = true
	k.running--
	k.fill()
	if k.tokens.limit > 0 {
		k.tokens.level = min(k.tokens.limit, k.tokens.level+float64(u.reserved-used))
	}
}

// State is what is left of a limit.
type State struct {
	Limit, Remaining int
	Reset            time.Duration // until all of it is there again
}

// State returns what is left of the key's requests and tokens in a minute; Limit is 0 for what has no bound.
func (u *Use) State() (requests, tokens State) {
	k := u.key
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fill()
	of := func(b *bucket) State {
		return State{Limit: int(b.limit), Remaining: max(0, int(b.level)), Reset: b.wait(b.limit)}
	}
	return of(&k.requests), of(&k.tokens)
}
