package constrain

import "fmt"

// leftRecursion refuses rules that call themselves before any byte.
func (c *compiler) leftRecursion() error {
	g := c.g
	n := len(g.starts)
	nullable, _ := g.live(false)
	reach := make([]bool, len(g.states))
	// visit walks from the rule's start over everything that takes no byte
	// and reports the rules called on the way. Rules have states of their own,
	// so each state is seen once.
	visit := func(rule int, called func(int32)) {
		stack := []int32{g.starts[rule]}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if reach[i] {
				continue
			}
			reach[i] = true
			s := &g.states[i]
			stack = append(stack, s.eps...)
			for _, k := range s.calls {
				called(k.rule)
				if nullable[k.rule] {
					stack = append(stack, k.to)
				}
			}
		}
	}
	calls := make([][]int32, n)
	for r := range n {
		visit(r, func(to int32) { calls[r] = append(calls[r], to) })
	}
	// A cycle among first calls is left recursion.
	const (
		active = 1
		done   = 2
	)
	mark := make([]byte, n)
	type frame struct {
		rule int32
		next int
	}
	for r := range n {
		if mark[r] != 0 {
			continue
		}
		stack := []frame{{int32(r), 0}}
		mark[r] = active
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if f.next == len(calls[f.rule]) {
				mark[f.rule] = done
				stack = stack[:len(stack)-1]
				continue
			}
			to := calls[f.rule][f.next]
			f.next++
			switch mark[to] {
			case active:
				return fmt.Errorf("constrain: %s begins with itself (left recursion); write it as a repetition", c.names[to])
			case 0:
				mark[to] = active
				stack = append(stack, frame{to, 0})
			}
		}
	}
	return nil
}

// live computes for each rule whether its end can be reached, and for each state
// whether its rule's end can: over all edges, or only over those that take no
// byte. It works backwards from the ends, so that each state and call is
// looked at a fixed number of times.
func (g *Grammar) live(bytes bool) (ends, live []bool) {
	type pred struct {
		from int32
		rule int32 // -1 for an edge
	}
	preds := make([][]pred, len(g.states))
	for i := range g.states {
		s := &g.states[i]
		if bytes {
			for _, e := range s.edges {
				preds[e.to] = append(preds[e.to], pred{int32(i), -1})
			}
		}
		for _, to := range s.eps {
			preds[to] = append(preds[to], pred{int32(i), -1})
		}
		for _, k := range s.calls {
			preds[k.to] = append(preds[k.to], pred{int32(i), k.rule})
		}
	}
	live = make([]bool, len(g.states))
	ends = make([]bool, len(g.starts))
	waiting := make([][]int32, len(g.starts)) // states whose call waits for a rule to have an end
	ruleAt := make(map[int32]int, len(g.starts))
	for r, s := range g.starts {
		ruleAt[s] = r
	}
	var stack []int32
	push := func(i int32) {
		if !live[i] {
			live[i] = true
			stack = append(stack, i)
		}
	}
	for i := range g.states {
		if g.states[i].accept {
			push(int32(i))
		}
	}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if r, ok := ruleAt[i]; ok && !ends[r] {
			ends[r] = true
			for _, from := range waiting[r] {
				push(from)
			}
		}
		for _, p := range preds[i] {
			if p.rule < 0 || ends[p.rule] {
				push(p.from)
			} else {
				waiting[p.rule] = append(waiting[p.rule], p.from)
			}
		}
	}
	return ends, live
}

// prune removes what cannot lead to an end: calls of rules that never end, and
// edges to states from which the rule's end is out of reach. It reports
// whether anything is left to match.
func (g *Grammar) prune() bool {
	ends, live := g.live(true)
	for i := range g.states {
		s := &g.states[i]
		edges, eps, calls := s.edges[:0], s.eps[:0], s.calls[:0]
		for _, e := range s.edges {
			if live[e.to] {
				edges = append(edges, e)
			}
		}
		for _, to := range s.eps {
			if live[to] {
				eps = append(eps, to)
			}
		}
		for _, k := range s.calls {
			if live[k.to] && ends[k.rule] {
				calls = append(calls, k)
			}
		}
		s.edges, s.eps, s.calls = edges, eps, calls
	}
	return ends[0]
}
