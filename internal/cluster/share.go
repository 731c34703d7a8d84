package cluster

import (
	"context"
	"time"
)

// Shared is a group whose ranks share a model: one of them tells the others what they do (Share), so that all make the same
// calls, many times for each token.
type Shared struct {
	*Comm
	inside bool      // Do runs; the engine's goroutine has it then
	ticked time.Time // within Do
}

// NewShared makes c such a group.
func NewShared(c *Comm) *Shared { return &Shared{Comm: c} }

// GatherParts is that of Comm without the meeting before data moves, which takes as long as small data itself.
func (s *Shared) GatherParts(ctx context.Context, values []float32, parts []int) error {
	c := s.Comm
	if err := Parts(parts).check(len(values), c.size); err != nil {
		return refuse("GatherParts: %w", err).Wait(ctx)
	}
	if !s.inside {
		return c.start(func() error { return collect(c, values, parts) }).Wait(ctx)
	}
	if now := time.Now(); now.Sub(s.ticked) > beatEvery/4 {
		s.ticked = now
		if err := c.engine.life.tick(); err != nil {
			return err
		}
	}
	return collect(c, values, parts)
}

// Do runs f where collectives run: GatherParts within f costs no switch between threads, which for small data is most of
// its time. Other calls must not be made there. Signs of life are sent when f gathers, so that it must do so often; f returns
// the error of a gathering that failed.
func (s *Shared) Do(f func() error) error {
	return s.start(func() error {
		s.inside, s.ticked = true, time.Now()
		defer func() { s.inside = false }()
		return f()
	}).Wait(context.Background())
}
