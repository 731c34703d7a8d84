package serve

import (
	"bytes"
	"slices"
	"strings"

	"leolm/infer"
)

// afterThought returns constraints that begin when a thought has ended, for prompts that end inside one.
func (m *model) afterThought(build func() infer.Constraint) func() infer.Constraint {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.free == nil {
		m.free = m.freeMask()
	}
	return func() infer.Constraint {
		return &afterThought{inner: build(), m: m, free: m.free, names: m.controlTags()}
	}
}

// freeMask allows every token of a thought: those that write something, but nothing besides white space after a ">" or
// "]", so that the end of a thought ends a token, and the constraint sees all that follows.
func (m *model) freeMask() []uint64 {
	vocab := m.Engine.Model().Vocab
	mask := make([]uint64, (m.Engine.Model().Config.VocabSize+63)/64)
	last := m.card.tags.close[len(m.card.tags.close)-1:]
	names := m.controlTags()
	for id := range int32(vocab) {
		text := m.vocab().Bytes(id)
		_, after, found := bytes.Cut(text, []byte(last))
		_, tag := names[id]
		if !tag && (len(text) == 0 || found && len(bytes.TrimSpace(after)) > 0) || slices.Contains(m.StopIDs, id) {
			continue
		}
		mask[id/64] |= 1 << (id % 64)
	}
	return mask
}

// afterThought lets a model think before its answer is constrained.
type afterThought struct {
	inner infer.Constraint
	m     *model
	free  []uint64
	names map[int32]string
	tail  string // of the thought: the part of the closing tag that may have been written
	ended bool
}

// Mask implements infer.Constraint.
func (a *afterThought) Mask() ([]uint64, error) {
	if !a.ended {
		return a.free, nil
	}
	return a.inner.Mask()
}

// Accept implements infer.Constraint.
func (a *afterThought) Accept(id int32) error {
	if a.ended {
		return a.inner.Accept(id)
	}
	text, ok := a.names[id]
	if !ok {
		text = string(a.m.vocab().Bytes(id))
	}
	a.tail += text
	mark := a.m.card.tags.close
	if a.ended = strings.Contains(a.tail, mark); !a.ended {
		a.tail = a.tail[max(0, len(a.tail)-len(mark)):]
	}
	return nil
}

// Done implements infer.Constraint.
func (a *afterThought) Done() bool { return a.ended && a.inner.Done() }
