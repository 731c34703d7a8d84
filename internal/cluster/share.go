package cluster

import "context"

// Shared is a group whose ranks share a model: one of them tells the others what they do (Share), so that all make the same
// calls, many times for each token.
type Shared struct{ *Comm }

// GatherParts is that of Comm without the meeting before data moves, which takes as long as small data itself.
func (s Shared) GatherParts(ctx context.Context, values []float32, parts []int) error {
	c := s.Comm
	if err := Parts(parts).check(len(values), c.size); err != nil {
		return refuse("GatherParts: %w", err).Wait(ctx)
	}
	return c.start(func() error { return collect(c, values, parts) }).Wait(ctx)
}
