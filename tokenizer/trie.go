package tokenizer

import (
	"slices"
	"sort"
)

// trie is a double array over byte strings with one value per key. State 0 is
// the root; a step from state s by byte c leads to base[s]+c if check agrees.
type trie struct {
	cells []trieCell
	first [256]bool // bytes that keys begin with
}

type trieCell struct {
	base, check, value int32
}

const noValue = int32(-1)

// newTrie builds a trie of the keys; values[i] >= 0 belongs to keys[i]. Of equal
// keys the last one counts. Empty keys are ignored.
func newTrie(keys []string, values []int32) *trie {
	order := make([]int, 0, len(keys))
	for i, k := range keys {
		if k != "" {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return keys[order[a]] < keys[order[b]] })
	t := &trie{cells: make([]trieCell, 1024)}
	for i := range t.cells {
		t.cells[i] = trieCell{check: -1, value: noValue}
	}
	t.cells[0].check = 0
	type task struct {
		state, lo, hi, depth int
	}
	queue := []task{{0, 0, len(order), 0}}
	free := 1 // no free cell below
	var labels []byte
	var starts []int
	for len(queue) > 0 {
		k := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		lo := k.lo
		for lo < k.hi && len(keys[order[lo]]) == k.depth {
			t.cells[k.state].value = values[order[lo]]
			lo++
		}
		if lo == k.hi {
			continue
		}
		labels, starts = labels[:0], starts[:0]
		for i := lo; i < k.hi; i++ {
			c := keys[order[i]][k.depth]
			if len(labels) == 0 || labels[len(labels)-1] != c {
				labels, starts = append(labels, c), append(starts, i)
			}
		}
		starts = append(starts, k.hi)
		for free < len(t.cells) && t.cells[free].check >= 0 {
			free++
		}
		base := max(free-int(labels[0]), 1)
	search:
		for ; ; base++ {
			for base+256 > len(t.cells) {
				old := len(t.cells)
				t.cells = append(t.cells, make([]trieCell, old)...)
				for i := old; i < len(t.cells); i++ {
					t.cells[i] = trieCell{check: -1, value: noValue}
				}
			}
			for _, c := range labels {
				if t.cells[base+int(c)].check >= 0 {
					continue search
				}
			}
			break
		}
		// Crowded regions are skipped for good, so that building stays linear.
		if base-free > 4096 {
			free = base
		}
		t.cells[k.state].base = int32(base)
		for i, c := range labels {
			next := base + int(c)
			t.cells[next].check = int32(k.state)
			queue = append(queue, task{next, starts[i], starts[i+1], k.depth + 1})
		}
	}
	for _, i := range order {
		t.first[keys[i][0]] = true
	}
	return t
}

// step follows byte c from state; it returns -1 if no key continues so.
func (t *trie) step(state int32, c byte) int32 {
	next := t.cells[state].base + int32(c)
	if int(next) >= len(t.cells) || t.cells[next].check != state || next == 0 {
		return -1
	}
	return next
}

// longest returns the length and value of the longest key that begins text.
func (t *trie) longest(text string) (n int, value int32) {
	value = noValue
	state := int32(0)
	for i := 0; i < len(text); i++ {
		if state = t.step(state, text[i]); state < 0 {
			break
		}
		if v := t.cells[state].value; v != noValue {
			n, value = i+1, v
		}
	}
	return n, value
}

// inherit gives each state without a value the value of the longest key on the
// way to it, and tells each of each value the one before it on its way.
func (t *trie) inherit(each func(value, before int32)) {
	done := make([]bool, len(t.cells))
	done[0] = true
	var path []int32
	for i := range t.cells {
		path = path[:0]
		for k := int32(i); t.cells[k].check >= 0 && !done[k]; k = t.cells[k].check {
			path = append(path, k)
		}
		for _, k := range slices.Backward(path) {
			before := t.cells[t.cells[k].check].value
			if v := t.cells[k].value; v != noValue {
				each(v, before)
			} else {
				t.cells[k].value = before
			}
			done[k] = true
		}
	}
}
