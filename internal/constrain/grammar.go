// Package constrain keeps a model's output inside a grammar: it says which
// tokens may come next so that the text can still become a match.
//
// It owns the grammars (JSON schema, regular expressions, GBNF), the byte
// automaton they are compiled to, and the token masks over a vocabulary. It
// does not own sampling (package sample applies the masks) or tokenization.
//
// A grammar is a set of rules; a rule is a nondeterministic automaton over
// bytes whose edges are byte ranges or calls of rules. A state of the match is
// a set of configurations (a state with a stack of return states), found
// lazily and remembered together with its 256 successors and its mask. Tokens
// are byte strings and may span any number of grammar symbols or end inside
// a character.
//
// Grammars come from strangers too: sizes, nesting and the number of
// configurations are bounded, and what is not supported is an error with a
// name, never ignored.
package constrain

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Bounds on what a grammar may be.
const (
	maxStates = 400_000
	maxDepth  = 200
	maxRepeat = 100_000
	// maxConfigs bounds the configurations of one state of a match. maxStack
	// is how much deeper than there are rules they may be nested in one.
	maxConfigs = 100_000
	maxStack   = 2000
	// maxWork bounds the configurations looked at for one mask or piece of
	// text: some seconds.
	maxWork = 20_000_000
	// maxMemory bounds the bytes of the states that a Matcher remembers.
	maxMemory = 256 << 20
)

// LimitError means that a grammar is too ambiguous to be followed: the memory
// or time that it takes exceeds a bound.
type LimitError struct {
	What  string
	Limit int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("constrain: the grammar is too ambiguous: %s; the limit is %d", e.What, e.Limit)
}

// Expressions that rules are made of.
type (
	expr interface{}

	lit   string   // these bytes
	class []rune   // a character in one of the ranges lo, hi, lo, hi, …
	seq   []expr   // one after the other
	alt   []expr   // one of
	ref   int      // a rule by number
	rep   struct { // min to max times; max -1: no limit
		e        expr
		min, max int
	}
)

// Grammar is a compiled grammar: immutable, safe for concurrent use.
type Grammar struct {
	states []state
	starts []int32 // first state of each rule; rule 0 is the root
}

type state struct {
	edges  []edge
	eps    []int32
	calls  []call
	accept bool // the rule may end here
	last   bool // and there is nothing else to do here
}

type edge struct {
	lo, hi byte
	to     int32
}

type call struct {
	rule, to int32
}

var errTooLarge = fmt.Errorf("constrain: the grammar has more than %d states", maxStates)

// compiler builds states from expressions.
type compiler struct {
	g     *Grammar
	rules []expr
	names []string
	err   error
}

// compile builds the automata of rules; rule 0 is the root. names are for
// errors.
func compile(rules []expr, names []string) (*Grammar, error) {
	c := &compiler{g: &Grammar{}, rules: rules, names: names}
	for i := 0; i < len(c.rules) && c.err == nil; i++ { // rep adds rules
		start := c.state()
		c.g.starts = append(c.g.starts, start)
		end := c.emit(c.rules[i], start, 0)
		if c.err == nil {
			c.g.states[end].accept = true
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	if err := c.leftRecursion(); err != nil {
		return nil, err
	}
	if !c.g.prune() {
		return nil, errors.New("constrain: nothing matches this grammar")
	}
	for i := range c.g.states {
		s := &c.g.states[i]
		s.last = s.accept && len(s.edges)+len(s.eps)+len(s.calls) == 0
	}
	return c.g, nil
}

func (c *compiler) state() int32 {
	if len(c.g.states) >= maxStates {
		c.err = errTooLarge
		return 0
	}
	c.g.states = append(c.g.states, state{})
	return int32(len(c.g.states) - 1)
}

// emit adds e after state from and returns the state at its end.
func (c *compiler) emit(e expr, from int32, depth int) int32 {
	if c.err != nil {
		return from
	}
	if depth > maxDepth {
		c.err = fmt.Errorf("constrain: the grammar is nested deeper than %d levels", maxDepth)
		return from
	}
	st := func(i int32) *state { return &c.g.states[i] }
	switch e := e.(type) {
	case lit:
		for i := range len(e) {
			to := c.state()
			st(from).edges = append(st(from).edges, edge{e[i], e[i], to})
			from = to
		}
		return from
	case class:
		to := c.state()
		for i := 0; i+1 < len(e); i += 2 {
			c.runes(from, to, e[i], e[i+1])
		}
		return to
	case seq:
		for _, x := range e {
			from = c.emit(x, from, depth+1)
		}
		return from
	case alt:
		to := c.state()
		branches := make([][]expr, len(e))
		for i, x := range e {
			branches[i] = flatten(nil, x)
		}
		c.branches(branches, from, to, depth)
		return to
	case automaton:
		return c.emitNFA(e.nfa, from)
	case ref:
		to := c.state()
		st(from).calls = append(st(from).calls, call{int32(e), to})
		return to
	case rep:
		x := e.e
		if e.min > maxRepeat || e.max > maxRepeat {
			c.err = fmt.Errorf("constrain: a repetition of more than %d times", maxRepeat)
			return from
		}
		if max(e.min, e.max) > 2 && size(x) > 2 {
			// Copies of a large expression are calls of one rule.
			c.rules = append(c.rules, x)
			c.names = append(c.names, "a repeated part")
			x = ref(len(c.rules) - 1)
		}
		for range e.min {
			from = c.emit(x, from, depth+1)
		}
		to := c.state()
		if e.max < 0 {
			// A loop through a state of its own.
			hub := c.state()
			st(from).eps = append(st(from).eps, hub)
			end := c.emit(x, hub, depth+1)
			st(end).eps = append(st(end).eps, hub)
			st(hub).eps = append(st(hub).eps, to)
			return to
		}
		for range e.max - e.min {
			st(from).eps = append(st(from).eps, to)
			from = c.emit(x, from, depth+1)
		}
		st(from).eps = append(st(from).eps, to)
		return to
	}
	c.err = fmt.Errorf("constrain: an expression of unknown kind %T", e)
	return from
}

// branches adds alternatives between two states. Those that begin alike share
// their beginning, so that a text is in few of them at once.
func (c *compiler) branches(list [][]expr, from, to int32, depth int) {
	eps := func(from, to int32) { c.g.states[from].eps = append(c.g.states[from].eps, to) }
	for more := true; more && c.err == nil; {
		more = false
		groups := map[string][][]expr{}
		var order []string
		for i, b := range list {
			if len(b) == 0 {
				eps(from, to)
				continue
			}
			k := likeness(b[0], i)
			if groups[k] == nil {
				order = append(order, k)
			}
			groups[k] = append(groups[k], b)
		}
		for i, k := range order {
			group := groups[k]
			if c.err != nil {
				return
			}
			begin := from
			if len(order) > 1 && k[0] != 'l' {
				begin = c.state() // a loop must not come back to where others begin
				eps(from, begin)
			}
			if len(group) == 1 {
				eps(c.emit(seq(group[0]), begin, depth+1), to)
				continue
			}
			next := c.emit(group[0][0], begin, depth+1)
			for j := range group {
				group[j] = group[j][1:]
			}
			if i == len(order)-1 { // without recursion, for long beginnings
				list, from, more = group, next, true
				break
			}
			c.branches(group, next, to, depth)
		}
	}
}

// flatten appends e as a sequence of its smallest parts.
func flatten(dst []expr, e expr) []expr {
	switch e := e.(type) {
	case lit:
		for i := range len(e) {
			dst = append(dst, e[i:i+1])
		}
		return dst
	case seq:
		for _, x := range e {
			dst = flatten(dst, x)
		}
		return dst
	case alt:
		if len(e) == 1 {
			return flatten(dst, e[0])
		}
	}
	return append(dst, e)
}

// likeness is equal for parts that match the same; i is the part's own.
func likeness(e expr, i int) string {
	switch e := e.(type) {
	case lit:
		return "l" + string(e)
	case ref:
		return fmt.Sprintf("r%d", int(e))
	case class:
		return fmt.Sprint("c", []rune(e))
	}
	return fmt.Sprintf("u%d", i)
}

// emitNFA adds an automaton over characters as it stands inside a JSON string.
func (c *compiler) emitNFA(n *nfa, from int32) int32 {
	states := make([]int32, len(n.states))
	for i := range states {
		states[i] = c.state()
	}
	end := c.state()
	if c.err != nil {
		return from
	}
	eps := func(from, to int32) { c.g.states[from].eps = append(c.g.states[from].eps, to) }
	eps(from, states[0])
	for i, s := range n.states {
		for _, e := range s.edges {
			last := c.emit(inString(e.on), states[i], 0)
			if c.err != nil {
				return from
			}
			eps(last, states[e.to])
		}
		for _, to := range s.eps {
			eps(states[i], states[to])
		}
		if s.accept {
			eps(states[i], end)
		}
	}
	return end
}

// size is about how many states an expression needs, counted up to a few.
func size(e expr) int {
	switch e := e.(type) {
	case lit:
		return len(e)
	case class:
		n := 0
		for i := 0; i+1 < len(e); i += 2 {
			n++
			if e[i+1] >= utf8.RuneSelf {
				n += 4
			}
		}
		return n
	case seq:
		return size(alt(e))
	case alt:
		n := 1
		for _, x := range e {
			if n += size(x); n > 10 {
				break
			}
		}
		return n
	case ref:
		return 1
	case rep, automaton:
		return 10
	}
	return 0
}

// runes adds the UTF-8 encodings of the characters lo to hi between two
// states. Surrogates are left out.
func (c *compiler) runes(from, to int32, lo, hi rune) {
	if lo < 0xd800 && hi > 0xdfff {
		c.runes(from, to, lo, 0xd7ff)
		c.runes(from, to, 0xe000, hi)
		return
	}
	if lo >= 0xd800 && lo <= 0xdfff {
		lo = 0xe000
	}
	if hi >= 0xd800 && hi <= 0xdfff {
		hi = 0xd7ff
	}
	if lo > hi {
		return
	}
	// Split at the lengths of encodings.
	for _, last := range []rune{0x7f, 0x7ff, 0xffff} {
		if lo <= last && hi > last {
			c.runes(from, to, lo, last)
			c.runes(from, to, last+1, hi)
			return
		}
	}
	// Split until all but a prefix of the bytes runs through whole ranges.
	if hi >= utf8.RuneSelf {
		for i := 1; i < 4; i++ {
			m := rune(1)<<(6*i) - 1
			if lo&^m != hi&^m {
				if lo&m != 0 {
					c.runes(from, to, lo, lo|m)
					c.runes(from, to, (lo|m)+1, hi)
					return
				}
				if hi&m != m {
					c.runes(from, to, lo, (hi&^m)-1)
					c.runes(from, to, hi&^m, hi)
					return
				}
			}
		}
	}
	a, b := utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi)
	for i := range a {
		next := to
		if i < len(a)-1 {
			next = c.state()
		}
		if c.err != nil {
			return
		}
		c.g.states[from].edges = append(c.g.states[from].edges, edge{a[i], b[i], next})
		from = next
	}
}
