package tokenizer

// search is a search of one text.
type search struct {
	l     *linear
	text  []rune
	seen  []uint64 // a bit for each instruction at each place
	width int      // words a place
	stack []state
	subs  []*search
	// Of a sub-expression, whose places come in any order: the way under
	// way, and the ends of the matches that are known to begin at a state.
	inner bool
	path  []state
	ends  map[state]int
}

// state is a place in the program and in the text; depth is how long the path
// was when it was put off.
type state struct{ pc, at, depth int }

func (l *linear) search(text []rune, inner bool) *search {
	r := &search{l: l, text: text, width: (len(l.prog) + 63) / 64, inner: inner, ends: map[state]int{}}
	r.seen = make([]uint64, r.width*(len(text)+1))
	for _, s := range l.subs {
		r.subs = append(r.subs, s.search(text, true))
	}
	return r
}

// match returns where the first match that begins at a place ends, or -1. Unless
// the search is an inner one, the places must not go back from call to call.
func (r *search) match(at int) int {
	r.stack, r.path = append(r.stack[:0], state{0, at, 0}), r.path[:0]
	for len(r.stack) > 0 {
		s := r.stack[len(r.stack)-1]
		r.stack = r.stack[:len(r.stack)-1]
		r.path = r.path[:s.depth]
		for ok := true; ok; {
			if r.inner {
				key := state{pc: s.pc, at: s.at}
				if end, known := r.ends[key]; known {
					return r.won(end)
				}
				r.path = append(r.path, key)
			}
			word, bit := &r.seen[s.at*r.width+s.pc/64], uint64(1)<<(s.pc%64)
			if *word&bit != 0 {
				break // it did not match from here before
			}
			*word |= bit
			i := &r.l.prog[s.pc]
			s.pc++
			switch i.op {
			case opMatch:
				if !r.inner {
					// The way that led here passed this place, and the next search begins at it.
					clear(r.seen[s.at*r.width : (s.at+1)*r.width])
				}
				return r.won(s.at)
			case opChar:
				if ok = s.at < len(r.text) && i.set.has(r.text[s.at]); ok {
					s.at++
				}
			case opSplit:
				r.stack = append(r.stack, state{i.y, s.at, len(r.path)})
				s.pc = i.x
			case opJump:
				s.pc = i.x
			case opAssert:
				ok = r.holds(i, s.at)
			case opBehind:
				ok = (s.at > 0 && i.set.has(r.text[s.at-1])) != i.not
			case opAhead:
				ok = (r.subs[i.y].match(s.at) >= 0) != i.not
			case opAtomic:
				end := r.subs[i.y].match(s.at)
				if ok = end >= 0; ok {
					s.at = end
				}
			}
		}
	}
	return -1
}

// won notes that a match to end begins at each state of the path.
func (r *search) won(end int) int {
	for _, s := range r.path {
		r.ends[s] = end
	}
	return end
}

func (r *search) holds(i *inst, at int) bool {
	n := len(r.text)
	switch i.kind {
	case 'A', '^':
		return at == 0
	case 'z':
		return at == n
	case '$':
		return at == n || at == n-1 && r.text[at] == '\n'
	case 'm':
		return at == 0 || r.text[at-1] == '\n'
	case 'M':
		return at == n || r.text[at] == '\n'
	}
	before := at > 0 && i.set.has(r.text[at-1])
	after := at < n && i.set.has(r.text[at])
	return (before != after) == (i.kind == 'b')
}

// all calls f with the matches from left to right, empty ones too.
func (l *linear) all(text []rune, f func(start, end int)) {
	r := l.search(text, false)
	for at := 0; at <= len(text); {
		end := r.match(at)
		if end >= 0 {
			f(at, end)
		}
		at = max(end, at+1)
	}
}
