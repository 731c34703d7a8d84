package constrain

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxRegular bounds the states of a string that has to fit several things at
// once: a pattern and a length, a pattern and a format.
const maxRegular = 100_000

// nfa is a nondeterministic automaton over characters. State 0 is its start.
type nfa struct{ states []nfaState }

type nfaState struct {
	edges  []nfaEdge
	eps    []int32
	accept bool
}

type nfaEdge struct {
	on class
	to int32
}

// automaton is an expression that matches what an nfa does.
type automaton struct{ *nfa }

type nfaTooLarge struct{}

func (n *nfa) state() int32 {
	if len(n.states) >= maxRegular {
		panic(nfaTooLarge{})
	}
	n.states = append(n.states, nfaState{})
	return int32(len(n.states) - 1)
}

// newNFA builds the automaton of an expression over characters, without
// references.
func newNFA(e expr) *nfa {
	n := &nfa{}
	end := n.add(e, n.state())
	n.states[end].accept = true
	return n
}

func (n *nfa) eps(from, to int32) { n.states[from].eps = append(n.states[from].eps, to) }

func (n *nfa) add(e expr, from int32) int32 {
	switch e := e.(type) {
	case lit:
		for _, r := range string(e) {
			from = n.add(class{r, r}, from)
		}
		return from
	case class:
		to := n.state()
		n.states[from].edges = append(n.states[from].edges, nfaEdge{e, to})
		return to
	case seq:
		for _, x := range e {
			from = n.add(x, from)
		}
		return from
	case alt:
		to := n.state()
		for _, x := range e {
			begin := n.state()
			n.eps(from, begin)
			n.eps(n.add(x, begin), to)
		}
		return to
	case rep:
		for range e.min {
			from = n.add(e.e, from)
		}
		to := n.state()
		if e.max < 0 {
			hub := n.state()
			n.eps(from, hub)
			n.eps(n.add(e.e, hub), hub)
			n.eps(hub, to)
			return to
		}
		for range e.max - e.min {
			n.eps(from, to)
			from = n.add(e.e, from)
		}
		n.eps(from, to)
		return to
	}
	panic(fmt.Sprintf("an expression of kind %T is not regular", e))
}

// lengths is how many characters a match of e has: at least lo, at most hi, or
// any number if that is negative.
func lengths(e expr) (lo, hi int) {
	const many = 1 << 30
	switch e := e.(type) {
	case lit:
		n := utf8.RuneCountInString(string(e))
		return n, n
	case class:
		return 1, 1
	case seq:
		for _, x := range e {
			a, b := lengths(x)
			lo = min(lo+a, many)
			if hi >= 0 && b >= 0 {
				hi = min(hi+b, many)
			} else {
				hi = -1
			}
		}
		return lo, hi
	case alt:
		for i, x := range e {
			a, b := lengths(x)
			if i == 0 {
				lo, hi = a, b
				continue
			}
			lo = min(lo, a)
			if hi >= 0 && b >= 0 {
				hi = max(hi, b)
			} else {
				hi = -1
			}
		}
		return lo, hi
	case rep:
		a, b := lengths(e.e)
		lo, hi = min(a*e.min, many), -1
		if b == 0 {
			hi = 0
		} else if b > 0 && e.max >= 0 {
			hi = min(b, many/max(e.max, 1)) * e.max
		}
		return lo, hi
	}
	return 0, -1
}

// both is the automaton of the texts that all expressions match, of lo to hi
// characters (hi negative: no limit).
func both(list []expr, lo, hi int) (e expr, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case nfaTooLarge:
			err = fmt.Errorf("pattern, format and length limits together need more than %d states", maxRegular)
		default:
			panic(r)
		}
	}()
	n := newNFA(list[0])
	for _, x := range list[1:] {
		n = product(n, newNFA(x))
	}
	if lo > 0 || hi >= 0 {
		n = product(n, newNFA(rep{class{0, unicode.MaxRune}, lo, hi}))
	}
	return automaton{n}, nil
}

// product accepts what both automata do; it has the pairs of states that can
// be reached.
func product(a, b *nfa) *nfa {
	n := &nfa{}
	index := map[[2]int32]int32{}
	var work [][2]int32
	at := func(p [2]int32) int32 {
		i, ok := index[p]
		if !ok {
			i = n.state()
			index[p] = i
			work = append(work, p)
		}
		return i
	}
	at([2]int32{0, 0})
	edges := 0
	for len(work) > 0 {
		p := work[len(work)-1]
		work = work[:len(work)-1]
		from := index[p]
		x, y := &a.states[p[0]], &b.states[p[1]]
		n.states[from].accept = x.accept && y.accept
		for _, to := range x.eps {
			n.eps(from, at([2]int32{to, p[1]}))
		}
		for _, to := range y.eps {
			n.eps(from, at([2]int32{p[0], to}))
		}
		for _, e := range x.edges {
			for _, f := range y.edges {
				on := common(e.on, f.on)
				if len(on) == 0 {
					continue
				}
				if edges += len(on); edges > 20*maxRegular {
					panic(nfaTooLarge{})
				}
				n.states[from].edges = append(n.states[from].edges, nfaEdge{on, at([2]int32{e.to, f.to})})
			}
		}
	}
	return n
}

// common is the characters of both classes.
func common(a, b class) class {
	if len(b) == 2 && b[0] == 0 && b[1] == unicode.MaxRune {
		return a
	}
	a, b = merged(a), merged(b)
	var out class
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if lo, hi := max(a[i], b[j]), min(a[i+1], b[j+1]); lo <= hi {
			out = append(out, lo, hi)
		}
		if a[i+1] < b[j+1] {
			i += 2
		} else {
			j += 2
		}
	}
	return out
}

// escaped is an expression over characters as it stands inside a JSON string.
func escaped(e expr) expr {
	switch e := e.(type) {
	case lit:
		var out seq
		for _, r := range string(e) {
			out = append(out, inString(class{r, r}))
		}
		return out
	case class:
		return inString(e)
	case seq:
		out := make(seq, len(e))
		for i, x := range e {
			out[i] = escaped(x)
		}
		return out
	case alt:
		out := make(alt, len(e))
		for i, x := range e {
			out[i] = escaped(x)
		}
		return out
	case rep:
		return rep{escaped(e.e), e.min, e.max}
	}
	return e // an automaton, which is emitted in strings only
}
