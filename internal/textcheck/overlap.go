package textcheck

import (
	"fmt"
	"slices"
)

// Overlap finds word n-grams of evaluation texts in training texts (n = 13 is
// the length of Brown et al. 2020, appendix C; n = 8 catches short questions).
// Fill it with Add, then Check from any number of goroutines.
type Overlap struct {
	n     []int
	grams map[uint64]int32 // n-gram hash → evaluation text
	names []string
	short int
}

// A Hit is what Check found.
type Hit struct {
	N     int    // words of the longest n-gram length that matched
	Grams int    // n-grams of the text that occur in an evaluation text
	Name  string // name of the evaluation text that matched first
	Word  int    // index of the first matching word in the text checked
}

// NewOverlap makes an empty index over the given n-gram lengths.
func NewOverlap(n ...int) (*Overlap, error) {
	if len(n) == 0 {
		n = []int{13, 8}
	}
	n = slices.Clone(n)
	slices.Sort(n)
	slices.Reverse(n)
	for _, x := range n {
		if x < 1 || x > 64 {
			return nil, fmt.Errorf("overlap: n-gram length %d: want 1 to 64", x)
		}
	}
	return &Overlap{n: slices.Compact(n), grams: map[uint64]int32{}}, nil
}

// Add indexes one evaluation text. A text with fewer words than the shortest
// n-gram cannot be found; TooShort counts those.
func (o *Overlap) Add(name, text string) {
	w, _ := appendWordHashes(nil, nil, text)
	if len(w) < o.n[len(o.n)-1] {
		o.short++
		return
	}
	id := int32(len(o.names))
	o.names = append(o.names, name)
	for _, n := range o.n {
		for i := 0; i+n <= len(w); i++ {
			h := ngramHash(w[i : i+n])
			if _, ok := o.grams[h]; !ok {
				o.grams[h] = id
			}
		}
	}
}

// Texts is the number of indexed texts, TooShort those that could not be.
func (o *Overlap) Texts() int    { return len(o.names) }
func (o *Overlap) TooShort() int { return o.short }

// Check looks for indexed n-grams in text.
func (o *Overlap) Check(text string) (Hit, bool) {
	if len(o.grams) == 0 {
		return Hit{}, false
	}
	w, _ := appendWordHashes(make([]uint64, 0, 256), make([]byte, 0, 64), text)
	for _, n := range o.n {
		var hit Hit
		for i := 0; i+n <= len(w); i++ {
			if id, ok := o.grams[ngramHash(w[i:i+n])]; ok {
				if hit.Grams == 0 {
					hit = Hit{N: n, Name: o.names[id], Word: i}
				}
				hit.Grams++
			}
		}
		if hit.Grams > 0 {
			return hit, true
		}
	}
	return Hit{}, false
}
