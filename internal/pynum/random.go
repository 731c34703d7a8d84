package pynum

import (
	"fmt"
	"math/bits"
)

// Random is CPython's random.Random, seeded with an integer.
type Random struct{ twister }

// NewRandom returns random.Random(seed). Python seeds with the absolute
// value, so 5 and -5 give the same stream.
func NewRandom(seed int64) *Random {
	abs := uint64(seed)
	if seed < 0 {
		abs = -abs
	}
	key := []uint32{uint32(abs)}
	if abs>>32 != 0 {
		key = append(key, uint32(abs>>32))
	}
	r := new(Random)
	r.seedArray(key)
	return r
}

// Below returns a uniform integer in [0,n): Python's _randbelow, which draws
// as many bits as n has and rejects results that are too large. It panics if
// n is not in [1, 2^32).
func (r *Random) Below(n int) int {
	width := bits.Len(uint(n))
	if n <= 0 || width > 32 {
		panic(fmt.Sprintf("pynum: Below(%d): bound out of range", n))
	}
	for {
		if v := int(r.Uint32() >> (32 - width)); v < n {
			return v
		}
	}
}

// Shuffle permutes n elements as random.shuffle does.
func (r *Random) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, r.Below(i+1))
	}
}

// Sample returns random.sample(range(n), k): k distinct indices in the order
// drawn. It panics if k is not in [0, n].
func (r *Random) Sample(n, k int) []int {
	if k < 0 || k > n {
		panic(fmt.Sprintf("pynum: Sample(%d, %d): sample larger than population or negative", n, k))
	}
	// Python compares the costs of a list of n and a set of k; the threshold
	// decides which numbers are drawn, so it is part of the contract:
	// 21 + 4^ceil(log4(3k)) for k > 5.
	threshold := 21
	if k > 5 {
		power := 1
		for power < 3*k {
			power *= 4
		}
		threshold += power
	}
	out := make([]int, k)
	if n <= threshold {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range out {
			j := r.Below(n - i)
			out[i] = pool[j]
			pool[j] = pool[n-i-1]
		}
		return out
	}
	seen := make(map[int]bool, k)
	for i := range out {
		j := r.Below(n)
		for seen[j] {
			j = r.Below(n)
		}
		seen[j] = true
		out[i] = j
	}
	return out
}
