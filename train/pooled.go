package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"leolm/checkpoint"
	"leolm/device"
)

// pooled is a device on which ranks pool their memory for weights: each keeps the values of its share, and has those of the
// others only while it computes with them, a group at a time: a decoder block, the embedding, or the head.
//
// What one rank needs, all give it together, and get it too. Ranks need not compute the same: before each gathering they
// say what they are after, and one that is after nothing takes part until the others are through (serve). So a rank without
// a micro-batch, or the one that exports alone, needs no special care.
type pooled struct {
	device.Device
	sharer device.Sharer
	ranks  *ranks

	groups []*group
	of     map[device.Weight]*lent
	made   maker
	opened bool       // all weights have been made
	mu     sync.Mutex // around wanted, coming and what groups hold, while something is asked for ahead
	wanted []*group   // by operations that run
	asked  []*group   // by the one that is about to
	ahead  ahead
	spare  map[int][][]byte // memory that others' values had, by size
	lent   int              // bytes of others' values that this rank has, spare memory included
	reduce func(layer int)  // adds up the gradients of a decoder block, on all ranks
	err    error            // the first failure, after which values are undefined
	one    sync.Mutex       // around reading, which exports do from several goroutines
}

// group is a set of weights that are gathered together.
type group struct {
	number  int
	weights []*lent
	room    bool // there is memory for the values of all,
	held    bool // and they are here
}

// lent is a weight that belongs to one of the ranks.
type lent struct {
	weight device.Weight
	owner  int
	group  *group
	memory []byte // with the values, while they are here
}

// maker knows to whom the weights of a model go while they are made.
type maker struct {
	owners map[string]int
	load   []int          // bytes that each rank has so far
	groups map[int]*group // by block; negative: those of none
	tied   bool
}

// The groups of no decoder block.
const (
	embedding = -1 - iota
	head
)

// SharerError says that a device keeps all of its weights.
type SharerError struct{ Device string }

func (e *SharerError) Error() string {
	return fmt.Sprintf("parallel.sharding: %s cannot be without the values of its weights, which sharded parameters ask for", e.Device)
}

func newPooled(dev device.Device, r *ranks) (*pooled, error) {
	s, ok := dev.(device.Sharer)
	if !ok {
		return nil, &SharerError{dev.Name()}
	}
	p := &pooled{Device: dev, sharer: s, ranks: r, of: map[device.Weight]*lent{}, spare: map[int][][]byte{}}
	p.made.load = make([]int, r.Size())
	p.ahead.after, p.ahead.recent = map[[2]int]int{}, [2]int{-1, -1}
	return p, nil
}

// announce tells a device on which ranks pool their memory of which model the next weights are. beside says that it is run,
// but not trained; stored are the rows of its vocabulary before it grew.
func announce(dev device.Device, c *Config, m *checkpoint.Config, stored int, beside bool) {
	p, ok := dev.(*pooled)
	if !ok {
		return
	}
	list := c.burdens(m, stored, beside)
	p.made.owners, p.made.groups, p.made.tied = map[string]int{}, map[int]*group{}, m.TieEmbeddings
	for i, owner := range shares(totals(list), p.made.load) {
		p.made.owners[list[i].name] = owner
	}
}

// add takes a new weight into the pool. burden is what it costs its owner.
func (p *pooled) add(name string, w device.Weight, burden int) {
	m := &p.made
	owner, known := m.owners[name]
	if !known { // an adapter
		owner = shares([]int{burden}, m.load)[0]
	}
	key := groupOf(name, m.tied)
	g := m.groups[key]
	if g != nil && g.room {
		p.drop(g)
	}
	if g == nil {
		g = &group{number: len(p.groups)}
		m.groups[key] = g
		p.groups = append(p.groups, g)
	}
	l := &lent{weight: w, owner: owner, group: g}
	g.weights = append(g.weights, l)
	p.of[w] = l
	l.memory = p.sharer.TakeStored(w)
	if p.mine(l) {
		p.sharer.GiveStored(w, l.memory)
		return
	}
	l.memory = nil // for the collector: most of a model is never here at once
}

func (p *pooled) mine(l *lent) bool { return l.owner == p.ranks.Rank() }

// blockOf is the number of the decoder block to which a weight belongs by its name.
func blockOf(name string) (int, bool) {
	rest, ok := strings.CutPrefix(name, "model.layers.")
	number, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	return n, ok && err == nil && n >= 0
}

// groupOf is the group of a weight by its name: a decoder block, or one of those below. The last norm goes with the head.
func groupOf(name string, tied bool) int {
	if n, ok := blockOf(name); ok {
		return n
	}
	if !tied && (strings.HasPrefix(name, "lm_head.") || strings.HasPrefix(name, "model.norm.")) {
		return head
	}
	return embedding
}

// need makes sure that the values of all these weights are here.
func (p *pooled) need(ws ...device.Weight) {
	p.asked = p.asked[:0]
	here := true
	for _, w := range ws {
		if l := p.of[w]; l != nil && !slices.Contains(p.asked, l.group) {
			p.asked = append(p.asked, l.group)
			here = here && slices.Contains(p.wanted, l.group) && l.group.held
		}
	}
	if !here {
		p.needed(p.asked)
	}
}

// wish is what a rank is after.
type wish struct {
	kind   byte
	number int // of a group, or a decoder block
}

const (
	nothing  = iota
	gathered // the values of a group
	reduced  // the sum of a decoder block's gradients
)

// serve takes part in what other ranks are after, until none is after anything.
func (p *pooled) serve() error {
	p.stopAhead()
	p.ask(wish{})
	return p.err
}

// ask takes part in what the ranks are after, one thing after another, until w is done: values first, so that all who need
// them come to the end of a block before its gradients are added up.
func (p *pooled) ask(w wish) {
	for p.err == nil {
		do, err := p.agree(w)
		if err != nil {
			p.err = err
			return
		}
		switch do.kind {
		case gathered:
			p.err = p.gather(p.groups[do.number])
		case reduced:
			p.reduce(do.number)
		}
		if do == w {
			return
		}
	}
}

// agree chooses what is done next: the first rank's wish that can be fulfilled.
func (p *pooled) agree(w wish) (wish, error) {
	all, err := p.ranks.Gather(context.Background(), []byte(fmt.Sprintf("%d %d", w.kind, w.number)))
	if err != nil {
		return wish{}, err
	}
	var do wish
	for r, b := range all {
		var theirs wish
		if _, err := fmt.Sscanf(string(b), "%d %d", &theirs.kind, &theirs.number); err != nil || theirs.kind == gathered && theirs.number >= len(p.groups) {
			return wish{}, fmt.Errorf("rank %d wishes for %q", r, b)
		}
		if theirs.kind != nothing && (do.kind == nothing || do.kind == reduced && theirs.kind == gathered) {
			do = theirs
		}
	}
	return do, nil
}

// gather brings the values of a group to all ranks. Others make room for it, except those that are wanted with it.
func (p *pooled) gather(g *group) error {
	p.mu.Lock()
	for _, h := range p.groups {
		if h.room && h != g && h != p.ahead.coming && !slices.Contains(p.wanted, h) {
			p.drop(h)
		}
	}
	again := g.held // here, where another rank has not got it: this one may be computing with it
	p.makeRoom(g)
	p.mu.Unlock()
	lists := make([][][]byte, p.ranks.Size())
	for _, l := range g.weights {
		b := l.memory
		if again && !p.mine(l) {
			b = make([]byte, len(b))
		}
		lists[l.owner] = append(lists[l.owner], b)
	}
	if err := p.ranks.GatherLists(context.Background(), lists); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	g.held = true
	return nil
}

// makeRoom gives the others' weights of a group memory for their values.
func (p *pooled) makeRoom(g *group) {
	if g.room {
		return
	}
	g.room = true
	for _, l := range g.weights {
		if p.mine(l) {
			continue
		}
		n := p.sharer.StoredBytes(l.weight)
		if free := p.spare[n]; len(free) > 0 {
			l.memory, p.spare[n] = free[len(free)-1], free[:len(free)-1]
		} else {
			p.lent += n
		}
		l.memory = p.sharer.GiveStored(l.weight, l.memory)
	}
}

// drop takes the values away that belong to others. Their memory is kept for the next group.
func (p *pooled) drop(g *group) {
	g.room, g.held = false, false
	for _, l := range g.weights {
		if !p.mine(l) {
			b := p.sharer.TakeStored(l.weight)
			p.spare[len(b)] = append(p.spare[len(b)], b)
			l.memory = nil
		}
	}
}

// changed forgets values that belong to others, because those have changed them.
func (p *pooled) changed() {
	for _, g := range p.groups {
		if g.room {
			p.drop(g)
		}
	}
	p.wanted = p.wanted[:0]
}

// settle lets a rank that has done its part, or failed in it, serve those that have not.
func (t *Trainer) settle(err error) error {
	if t.pool == nil {
		return err
	}
	return errors.Join(err, t.pool.serve())
}
