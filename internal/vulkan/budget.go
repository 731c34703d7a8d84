package vulkan

import "sync/atomic"

// Budget is a limit of device memory that several Devices share. Its methods may be called from any goroutine.
type Budget struct {
	limit int64
	taken atomic.Int64
}

// NewBudget returns a budget of that many bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Taken is how many bytes all devices have taken.
func (b *Budget) Taken() int64 { return b.taken.Load() }

// left is how many bytes can still be taken.
func (b *Budget) left() int64 { return max(b.limit-b.taken.Load(), 0) }

// take takes n bytes, and reports whether there were as many.
func (b *Budget) take(n int64) bool {
	if b.taken.Add(n) <= b.limit {
		return true
	}
	b.taken.Add(-n)
	return false
}

func (b *Budget) give(n int64) { b.taken.Add(-n) }
