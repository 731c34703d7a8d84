package constrain

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// Vocabulary is the tokens a model writes with, as byte strings in an order
// that shares their beginnings. It is immutable and may be shared.
type Vocabulary struct {
	size  int
	words int // of a mask
	ids   []int32
	text  [][]byte // by rank; ids[i] writes text[i]
	lcp   []uint16 // how many bytes text[i] shares with text[i-1]
	byID  [][]byte
	stops []int32
}

// NewVocabulary takes the number of tokens, the bytes that each writes in the
// middle of a text (nil or empty for control, unknown and unused tokens, which
// never occur in constrained text), and the ids that end an answer.
func NewVocabulary(size int, text func(id int32) []byte, stops []int32) *Vocabulary {
	v := &Vocabulary{size: size, words: (size + 63) / 64, byID: make([][]byte, size)}
	for id := range int32(size) {
		if slices.Contains(stops, id) {
			continue
		}
		if b := text(id); len(b) > 0 {
			v.byID[id] = bytes.Clone(b)
			v.ids = append(v.ids, id)
		}
	}
	for _, id := range stops {
		if id >= 0 && int(id) < size {
			v.stops = append(v.stops, id)
		}
	}
	slices.SortFunc(v.ids, func(a, b int32) int { return bytes.Compare(v.byID[a], v.byID[b]) })
	v.text = make([][]byte, len(v.ids))
	v.lcp = make([]uint16, len(v.ids))
	for i, id := range v.ids {
		v.text[i] = v.byID[id]
		if i > 0 {
			n, a, b := 0, v.text[i-1], v.text[i]
			for n < len(a) && n < len(b) && n < 0xffff && a[n] == b[n] {
				n++
			}
			v.lcp[i] = uint16(n)
		}
	}
	return v
}

// Bytes are what a token writes in the middle of a text; nil for tokens that write nothing. They must not be changed.
func (v *Vocabulary) Bytes(id int32) []byte {
	if uint(id) >= uint(len(v.byID)) {
		return nil
	}
	return v.byID[id]
}

// frame is a configuration's stack: where to go on, and what after that.
type frame struct {
	state  int32
	depth  int32
	number uint64 // names the frame in keys of sets
	parent *frame
}

type frameKey struct {
	state  int32
	parent *frame
}

// set is a state of a match: all configurations that want a byte, and whether
// the text may end here.
type set struct {
	frames []*frame
	accept bool
	next   [256]*set // nil: not known yet
	mask   []uint64  // nil: not known yet
}

// dead is the state of a text that can't be continued to a match.
var dead = &set{}

// Matcher is a grammar over a vocabulary, with the states computed so far. It is safe for concurrent use.
type Matcher struct {
	g *Grammar
	v *Vocabulary

	mu     sync.Mutex
	frames map[frameKey]*frame
	sets   map[string]*set
	start  *set
	made   uint64 // frames so far
	seen   map[*frame]struct{}
	work   []*frame
	found  []*frame
	accept bool
	path   []*set

	memory int         // bytes of what is remembered, about
	spent  int         // configurations looked at in this call
	over   *LimitError // why this call gave up
}

// Bind joins a grammar and a vocabulary. It fails with a [*LimitError] if the
// grammar is too ambiguous to begin.
func (g *Grammar) Bind(v *Vocabulary) (*Matcher, error) {
	m := &Matcher{g: g, v: v, seen: map[*frame]struct{}{}}
	m.forget()
	m.start = m.closure([]*frame{m.frame(g.starts[0], nil)})
	if m.over != nil {
		return nil, m.over
	}
	if m.start == dead {
		return nil, &LimitError{"rules are nested too deep at its beginning", m.depth()}
	}
	return m, nil
}

// begin resets the work counted for a call.
func (m *Matcher) begin() { m.spent, m.over = 0, nil }

// depth is how deep calls of rules may nest. Without recursion they nest less
// deep than there are rules.
func (m *Matcher) depth() int { return maxStack + len(m.g.starts) }

// forget frees the cached states. States that texts are in stay valid: what
// follows them is computed again.
func (m *Matcher) forget() {
	for _, s := range m.sets {
		s.next, s.mask = [256]*set{}, nil
	}
	m.frames, m.sets, m.memory = map[frameKey]*frame{}, map[string]*set{}, 0
}

func (m *Matcher) frame(state int32, parent *frame) *frame {
	k := frameKey{state, parent}
	f := m.frames[k]
	if f == nil {
		m.made++
		f = &frame{state: state, number: m.made, parent: parent}
		if parent != nil {
			f.depth = parent.depth + 1
		}
		m.frames[k] = f
		m.memory += 128
	}
	return f
}

// closure follows everything that takes no byte and interns the result.
func (m *Matcher) closure(from []*frame) *set {
	clear(m.seen)
	m.work = append(m.work[:0], from...)
	m.found, m.accept = m.found[:0], false
	for len(m.work) > 0 {
		f := m.work[len(m.work)-1]
		m.work = m.work[:len(m.work)-1]
		if _, ok := m.seen[f]; ok {
			continue
		}
		m.seen[f] = struct{}{}
		if int(f.depth) > m.depth() {
			return dead // as if the grammar ended here: nesting is bounded
		}
		if m.spend(1); len(m.seen) > maxConfigs && m.over == nil {
			m.over = &LimitError{"a text can be in more places at once than are kept", maxConfigs}
		}
		if m.over != nil {
			return dead
		}
		s := &m.g.states[f.state]
		if s.accept {
			if f.parent == nil {
				m.accept = true
			} else {
				m.work = append(m.work, f.parent)
			}
		}
		for _, to := range s.eps {
			m.work = append(m.work, m.frame(to, f.parent))
		}
		for _, k := range s.calls {
			back := f.parent
			// A call at a rule's end returns to where the rule would.
			if !m.g.states[k.to].last {
				back = m.frame(k.to, f.parent)
			}
			m.work = append(m.work, m.frame(m.g.starts[k.rule], back))
		}
		if len(s.edges) > 0 {
			m.found = append(m.found, f)
		}
	}
	if len(m.found) == 0 && !m.accept {
		return dead
	}
	// Frames are interned, so their numbers name the set.
	slices.SortFunc(m.found, func(a, b *frame) int { return cmp.Compare(a.number, b.number) })
	key := make([]byte, 0, 8*len(m.found)+1)
	for _, f := range m.found {
		key = binary.LittleEndian.AppendUint64(key, f.number)
	}
	if m.accept {
		key = append(key, 1)
	}
	if s := m.sets[string(key)]; s != nil {
		return s
	}
	if m.memory > maxMemory {
		m.forget()
	}
	s := &set{frames: slices.Clone(m.found), accept: m.accept}
	m.sets[string(key)] = s
	m.memory += 256*8 + 2*8*len(m.found) + 200
	return s
}

// spend counts n configurations that were looked at.
func (m *Matcher) spend(n int) {
	if m.spent += n; m.spent > maxWork && m.over == nil {
		m.over = &LimitError{"a mask takes more steps than are made", maxWork}
	}
}

// step is the state after byte b.
func (m *Matcher) step(s *set, b byte) *set {
	if n := s.next[b]; n != nil {
		return n
	}
	if m.spend(len(s.frames)/8 + 1); m.over != nil {
		return dead
	}
	var to []*frame
	for _, f := range s.frames {
		for _, e := range m.g.states[f.state].edges {
			if e.lo <= b && b <= e.hi {
				to = append(to, m.frame(e.to, f.parent))
			}
		}
	}
	n := dead
	if len(to) > 0 {
		n = m.closure(to)
	}
	if m.over == nil {
		s.next[b] = n
	}
	return n
}

// maskOf computes which tokens may follow s.
func (m *Matcher) maskOf(s *set) ([]uint64, error) {
	if s.mask != nil {
		return s.mask, nil
	}
	m.begin()
	v := m.v
	mask := make([]uint64, v.words)
	// path[d] is the state after d bytes of the token at hand; a token that
	// shares more bytes with the one before than that one survived fails too.
	path := append(m.path[:0], s)
	alive := 0
	for i, text := range v.text {
		shared := int(v.lcp[i])
		if alive < shared {
			continue
		}
		alive = shared
		path = path[:shared+1]
		at := path[shared]
		for _, b := range text[shared:] {
			if at = m.step(at, b); at == dead {
				break
			}
			path = append(path, at)
			alive++
		}
		if m.over != nil {
			return nil, m.over
		}
		if alive == len(text) {
			id := v.ids[i]
			mask[id>>6] |= 1 << (uint(id) & 63)
		}
	}
	m.path = path
	if s.accept {
		for _, id := range v.stops {
			mask[id>>6] |= 1 << (uint(id) & 63)
		}
	}
	s.mask = mask
	m.memory += 8 * len(mask)
	return mask, nil
}

// Constraint is the place of one text in a grammar. It is not safe for
// concurrent use; its matcher may be shared.
type Constraint struct {
	m       *Matcher
	at      *set
	stopped bool
}

// Start begins a text.
func (m *Matcher) Start() *Constraint { return &Constraint{m: m, at: m.start} }

// Clone is an independent copy, for another continuation of the text.
func (c *Constraint) Clone() *Constraint {
	d := *c
	return &d
}

// Mask says which tokens may come next: bit id%64 of word id/64. The slice
// is shared and must not be changed. The stop ids are in it where the text
// may end. No bit is set once the text has ended, or if the vocabulary lacks a
// token for a byte that the grammar wants. The error is a [*LimitError].
func (c *Constraint) Mask() ([]uint64, error) {
	if c.stopped {
		return make([]uint64, c.m.v.words), nil
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.m.maskOf(c.at)
}

// CanStop reports whether the text is a whole match.
func (c *Constraint) CanStop() bool { return c.at.accept }

// Done reports whether the text has ended, or is a whole match that nothing can
// follow.
func (c *Constraint) Done() bool { return c.stopped || c.at.accept && len(c.at.frames) == 0 }

// Accept advances by a token.
func (c *Constraint) Accept(id int32) error {
	if slices.Contains(c.m.v.stops, id) {
		if !c.at.accept {
			return fmt.Errorf("constrain: token %d ends the text, which is not complete", id)
		}
		c.stopped = true
		return nil
	}
	if id < 0 || int(id) >= c.m.v.size || len(c.m.v.byID[id]) == 0 {
		return fmt.Errorf("constrain: token %d writes no text", id)
	}
	return c.AcceptBytes(c.m.v.byID[id])
}

// AcceptBytes advances by bytes. After an error the constraint is unchanged.
func (c *Constraint) AcceptBytes(text []byte) error {
	if c.stopped {
		return fmt.Errorf("constrain: %q after the text has ended", text)
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.begin()
	at := c.at
	for i, b := range text {
		at = c.m.step(at, b)
		if c.m.over != nil {
			return c.m.over
		}
		if at == dead {
			return fmt.Errorf("constrain: %q is not allowed after %q here", text[i:], text[:i])
		}
	}
	c.at = at
	return nil
}
