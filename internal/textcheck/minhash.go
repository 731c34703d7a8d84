package textcheck

import (
	"encoding/binary"
	"fmt"
	"leolm/internal/splitmix"

	"github.com/zeebo/xxh3"
)

// MinHashOptions are the shape of a signature. A pair of texts with Jaccard
// similarity s of their word n-grams shares at least one band with probability
// 1 − (1 − s^Rows)^Bands (Broder 1997; Leskovec et al., Mining of Massive
// Datasets, §3.4). The default 14 × 8 with 5-grams is FineWeb's: 92 % at
// s = 0.8, 50 % at 0.72, 0.1 % at 0.3.
type MinHashOptions struct {
	Bands int    // buckets per text
	Rows  int    // minima per bucket; all must agree
	Ngram int    // words per shingle
	Seed  uint64 // of the hash functions
}

// DefaultMinHash is FineWeb's 14 bands × 8 rows over 5-grams.
var DefaultMinHash = MinHashOptions{Bands: 14, Rows: 8, Ngram: 5}

// Probability is the chance that two texts of similarity s share a band.
func (o MinHashOptions) Probability(s float64) float64 {
	row := 1.0
	for range o.Rows {
		row *= s
	}
	miss := 1.0
	for range o.Bands {
		miss *= 1 - row
	}
	return 1 - miss
}

// Hash128 is the exact-duplicate key of a text.
type Hash128 struct{ Hi, Lo uint64 }

// A Hasher makes duplicate keys. It holds scratch memory of a few times the
// longest text's words: use one per goroutine.
type Hasher struct {
	opt   MinHashOptions
	a, b  []uint64
	words []uint64
	buf   []byte
	bytes []byte
	mins  []uint32
}

// NewHasher checks the options and makes a Hasher.
func NewHasher(o MinHashOptions) (*Hasher, error) {
	if o.Bands < 1 || o.Rows < 1 || o.Ngram < 1 || o.Bands*o.Rows > 4096 || o.Ngram > 64 {
		return nil, fmt.Errorf("minhash: bands %d, rows %d, ngram %d: want each at least 1, bands × rows at most 4096, ngram at most 64", o.Bands, o.Rows, o.Ngram)
	}
	h := &Hasher{opt: o, mins: make([]uint32, o.Bands*o.Rows)}
	x := o.Seed
	next := func() uint64 { x += splitmix.Gamma; return splitmix.Mix(x) }
	for range h.mins {
		h.a = append(h.a, next()|1)
		h.b = append(h.b, next())
	}
	return h, nil
}

// Exact is the hash of the text's words in order: equal for texts that differ
// only in case, punctuation and spacing. ok is false for a text without words.
func (h *Hasher) Exact(text string) (key Hash128, ok bool) {
	h.words, h.buf = appendWordHashes(h.words[:0], h.buf, text)
	return h.exact()
}

func (h *Hasher) exact() (Hash128, bool) {
	if len(h.words) == 0 {
		return Hash128{}, false
	}
	h.bytes = h.bytes[:0]
	for _, w := range h.words {
		h.bytes = binary.LittleEndian.AppendUint64(h.bytes, w)
	}
	s := xxh3.Hash128(h.bytes)
	return Hash128{s.Hi, s.Lo}, true
}

// Keys computes the exact key and appends one 64-bit key per band to bands.
// Two texts are near-duplicate candidates when some band key (same index) is
// equal. A text with fewer words than Ngram has one shingle, all its words.
// ok is false, and nothing is appended, for a text without words.
func (h *Hasher) Keys(bands []uint64, text string) (exact Hash128, _ []uint64, ok bool) {
	h.words, h.buf = appendWordHashes(h.words[:0], h.buf, text)
	exact, ok = h.exact()
	if !ok {
		return exact, bands, false
	}
	for i := range h.mins {
		h.mins[i] = ^uint32(0)
	}
	n := min(h.opt.Ngram, len(h.words))
	for i := 0; i+n <= len(h.words); i++ {
		h.add(ngramHash(h.words[i : i+n]))
	}
	for b := range h.opt.Bands {
		h.bytes = h.bytes[:0]
		for _, m := range h.mins[b*h.opt.Rows : (b+1)*h.opt.Rows] {
			h.bytes = binary.LittleEndian.AppendUint32(h.bytes, m)
		}
		bands = append(bands, xxh3.HashSeed(h.bytes, uint64(b)))
	}
	return exact, bands, true
}

// add lowers every minimum by one shingle: multiply-shift hashing
// (Dietzfelbinger et al. 1997), upper 32 bits of a·x + b.
func (h *Hasher) add(x uint64) {
	mins := h.mins
	a, b := h.a[:len(mins)], h.b[:len(mins)]
	for i := range mins {
		mins[i] = min(mins[i], uint32((a[i]*x+b[i])>>32))
	}
}

// Jaccard is the exact similarity of the word n-gram sets of two texts, for
// tests and for looking at a pair.
func Jaccard(a, b string, ngram int) float64 {
	set := func(t string) map[uint64]bool {
		w, _ := appendWordHashes(nil, nil, t)
		n := min(ngram, len(w))
		s := map[uint64]bool{}
		for i := 0; n > 0 && i+n <= len(w); i++ {
			s[ngramHash(w[i:i+n])] = true
		}
		return s
	}
	x, y := set(a), set(b)
	both := 0
	for k := range x {
		if y[k] {
			both++
		}
	}
	if len(x)+len(y) == 0 {
		return 1
	}
	return float64(both) / float64(len(x)+len(y)-both)
}

// Clusters joins items 0..n−1 into groups; the smallest item stands for its
// group. 4 bytes an item.
type Clusters struct{ parent []uint32 }

// NewClusters starts with n groups of one.
func NewClusters(n int) *Clusters {
	c := &Clusters{make([]uint32, n)}
	for i := range c.parent {
		c.parent[i] = uint32(i)
	}
	return c
}

// Find is the smallest item of i's group.
func (c *Clusters) Find(i int) int {
	x := uint32(i)
	for c.parent[x] != x {
		c.parent[x] = c.parent[c.parent[x]]
		x = c.parent[x]
	}
	return int(x)
}

// Union joins two groups and reports whether they were apart before.
func (c *Clusters) Union(i, j int) bool {
	i, j = c.Find(i), c.Find(j)
	switch {
	case i == j:
		return false
	case i > j:
		i, j = j, i
	}
	c.parent[j] = uint32(i)
	return true
}

// NearDup finds exact and near duplicates among texts that arrive one by one
// and fit in memory as keys (about 40 bytes a band): for datasets of dialogues.
// The first text of a group is the one to keep. Not safe for concurrent use.
type NearDup struct {
	h     *Hasher
	exact map[Hash128]int
	bands []map[uint64]int
	keys  []uint64
	n     int
}

// NewNearDup makes an empty index; for the options see NewHasher.
func NewNearDup(o MinHashOptions) (*NearDup, error) {
	h, err := NewHasher(o)
	if err != nil {
		return nil, err
	}
	d := &NearDup{h: h, exact: map[Hash128]int{}, bands: make([]map[uint64]int, o.Bands)}
	for i := range d.bands {
		d.bands[i] = map[uint64]int{}
	}
	return d, nil
}

// Kind of a duplicate.
type Kind uint8

// The results of NearDup.Add.
const (
	Unique Kind = iota // a new text
	Exact              // the same words as text `of`
	Near               // shares a band with text `of`
)

// Add takes the next text (they are numbered from 0) and says which earlier
// text it repeats, −1 if none. A text without words is always Unique.
func (d *NearDup) Add(text string) (of int, kind Kind) {
	id := d.n
	d.n++
	key, keys, ok := d.h.Keys(d.keys[:0], text)
	d.keys = keys
	if !ok {
		return -1, Unique
	}
	if of, dup := d.exact[key]; dup {
		return of, Exact
	}
	of = -1
	for b, k := range keys {
		if o, dup := d.bands[b][k]; dup && (of < 0 || o < of) {
			of = o
		}
	}
	first := id
	if of >= 0 {
		first = of
	}
	d.exact[key] = first
	for b, k := range keys {
		if _, dup := d.bands[b][k]; !dup {
			d.bands[b][k] = first
		}
	}
	if of >= 0 {
		return of, Near
	}
	return -1, Unique
}
