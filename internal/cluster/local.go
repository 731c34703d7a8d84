package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrKilled is what the calls of a rank return that Faults killed.
var ErrKilled = errors.New("cluster: this rank was killed")

// Faults are what goes wrong on purpose, in tests. Both are asked at each call, with the rank and the call's number in
// its group.
type Faults struct {
	Kill  func(rank int, call uint64) bool          // the rank dies
	Delay func(rank int, call uint64) time.Duration // the rank comes late
}

// Local makes a cluster of size ranks within this process: for tests, and for a run of one rank. The caller runs each
// rank in a goroutine of its own. A rank that dies is noticed at once.
func Local(size int, faults Faults, o Options) ([]*Comm, error) {
	if size < 1 {
		return nil, fmt.Errorf("cluster: %d ranks", size)
	}
	h := &hub{opts: o, slots: map[slotKey]*slot{}, dead: make([]error, size)}
	h.changed = sync.NewCond(&h.mu)
	here := thisSeat()
	members := make([]int, size)
	seats := make([]Seat, size)
	for r := range size {
		members[r] = r
		seats[r] = here
	}
	comms := make([]*Comm, size)
	for r := range comms {
		h.seats = seats
		e := newEngine(&localLife{h, r}, "local", faults, o)
		comms[r] = &Comm{engine: e, t: &localGroup{hub: h, id: "", members: members, rank: r}, rank: r, size: size, seats: seats}
		go e.loop()
	}
	return comms, nil
}

// hub is where the ranks of a process meet.
type hub struct {
	seats []Seat
	opts  Options

	mu      sync.Mutex
	changed *sync.Cond
	slots   map[slotKey]*slot
	dead    []error // why a rank is no more; nil for the living
}

// slotKey names an exchange: the number that it has in a group.
type slotKey struct {
	group  string
	number uint64
}

// slot is an exchange in progress.
type slot struct {
	send    [][][]byte // by sender and receiver
	arrived int
	copied  int
	left    int
}

// die marks a rank as gone.
func (h *hub) die(rank int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead[rank] == nil {
		h.dead[rank] = err
	}
	h.changed.Broadcast()
}

// grief is the error of whoever waits for ranks of which one is gone. The caller holds the lock.
func (h *hub) grief() error {
	for r, err := range h.dead {
		switch {
		case err == nil:
		case errors.Is(err, ErrKilled):
			return &DeadError{Rank: r, Seat: h.seats[r]}
		default:
			return &AbortError{Rank: r, Seat: h.seats[r], Reason: err.Error()}
		}
	}
	return nil
}

// localLife is the life of one rank.
type localLife struct {
	hub  *hub
	rank int
}

func (l *localLife) tick() error {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	return l.hub.grief()
}

func (l *localLife) abort(err error) { l.hub.die(l.rank, err) }

func (l *localLife) diagnose(err error) error { return err }

func (l *localLife) seated([]Seat) {}

func (l *localLife) waits(*call) {}

func (l *localLife) lost(err error) {
	if l.hub.opts.Lost != nil {
		l.hub.opts.Lost(err)
	}
}

func (l *localLife) close() error { return nil }

// localGroup is a rank's place in a group of the hub.
type localGroup struct {
	hub     *hub
	id      string
	members []int // ranks of the process, by rank of the group
	rank    int
	count   uint64 // exchanges so far
}

func (g *localGroup) memory(n int) ([]byte, error) {
	return bytesOf(make([]float64, (n+7)/8))[:n], nil
}

type localPending struct {
	g    *localGroup
	key  slotKey
	recv [][]byte
}

func (g *localGroup) exchange(send, recv [][]byte) (pending, error) {
	h := g.hub
	g.count++
	key := slotKey{g.id, g.count}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.slots[key]
	if s == nil {
		s = &slot{send: make([][][]byte, len(g.members))}
		h.slots[key] = s
	}
	s.send[g.rank] = send
	s.arrived++
	h.changed.Broadcast()
	return &localPending{g, key, recv}, h.grief()
}

// wait copies what the others send, and returns when they have copied too: their memory may then be used again.
func (p *localPending) wait() error {
	h, n := p.g.hub, len(p.g.members)
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.slots[p.key]
	for s.arrived < n {
		if err := h.grief(); err != nil {
			return err
		}
		h.changed.Wait()
	}
	h.mu.Unlock()
	for r := range n {
		if r == p.g.rank {
			continue
		}
		if got := s.send[r][p.g.rank]; len(got) != len(p.recv[r]) {
			h.mu.Lock()
			return fmt.Errorf("cluster: %d bytes from rank %d, want %d", len(got), r, len(p.recv[r]))
		}
		copy(p.recv[r], s.send[r][p.g.rank])
	}
	h.mu.Lock()
	s.copied++
	h.changed.Broadcast()
	for s.copied < n {
		if err := h.grief(); err != nil {
			return err
		}
		h.changed.Wait()
	}
	if s.left++; s.left == n {
		delete(h.slots, p.key)
	}
	return nil
}

func (g *localGroup) gather(dst, src []byte) error {
	n := len(g.members)
	send, recv := make([][]byte, n), make([][]byte, n)
	for r := range n {
		send[r], recv[r] = src, dst[r*len(src):(r+1)*len(src)]
	}
	copy(recv[g.rank], src)
	p, err := g.exchange(send, recv)
	if err != nil {
		return err
	}
	return p.wait()
}

func (g *localGroup) broadcast(root int, buf []byte) error {
	n := len(g.members)
	send, recv := make([][]byte, n), make([][]byte, n)
	for r := range n {
		if g.rank == root {
			send[r] = buf
		} else if r == root {
			recv[r] = buf
		}
	}
	p, err := g.exchange(send, recv)
	if err != nil {
		return err
	}
	return p.wait()
}

func (g *localGroup) split(color, key int) (transport, error) {
	n := len(g.members)
	all := make([]byte, 16*n)
	var mine [16]byte
	putInts(mine[:], color, key)
	if err := g.gather(all, mine[:]); err != nil {
		return nil, err
	}
	if color < 0 {
		return nil, nil
	}
	child := &localGroup{hub: g.hub, id: fmt.Sprintf("%s/%d.%d", g.id, g.count, color)}
	for r, m := range membersOf(all, n, color) {
		if m == g.rank {
			child.rank = r
		}
		child.members = append(child.members, g.members[m])
	}
	return child, nil
}
