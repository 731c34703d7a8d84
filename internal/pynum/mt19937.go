// Package pynum reproduces the random numbers and the number printing of
// Python, NumPy and scikit-learn to the bit, so that splits, shuffles, draws
// and printed tables equal those of LeoLM's original Python pipelines.
//
// It owns: the Mersenne Twister with both of its usual seedings, CPython's
// random.Random (random, shuffle, sample), NumPy's legacy RandomState
// (permutation, shuffle, choice, randint, random_sample), scikit-learn's
// shuffled train_test_split, Python's float repr and percent formatting, and
// statistics.mean of floats, and of ints and floats as they are written. It does
// not own: NumPy's newer Generator (PCG64).
//
// None of the generators is safe for concurrent use.
package pynum

const (
	mtSize   = 624
	mtMiddle = 397
	mtMatrix = 0x9908b0df
)

// twister is MT19937: Matsumoto and Nishimura, "Mersenne Twister: A
// 623-dimensionally equidistributed uniform pseudorandom number generator",
// 1998, with the 2002 initializations init_genrand and init_by_array.
type twister struct {
	state [mtSize]uint32
	next  int
}

// seedInt is init_genrand: NumPy's RandomState(seed) for 0 <= seed < 2^32.
func (t *twister) seedInt(seed uint32) {
	t.state[0] = seed
	for i := 1; i < mtSize; i++ {
		prev := t.state[i-1]
		t.state[i] = 1812433253*(prev^prev>>30) + uint32(i)
	}
	t.next = mtSize
}

// seedArray is init_by_array: CPython's random.seed(int), whose key is the
// absolute value of the seed in 32-bit words, lowest first.
func (t *twister) seedArray(key []uint32) {
	t.seedInt(19650218)
	i, j := 1, 0
	for k := max(mtSize, len(key)); k > 0; k-- {
		prev := t.state[i-1]
		t.state[i] = (t.state[i] ^ (prev^prev>>30)*1664525) + key[j] + uint32(j)
		i++
		j++
		if i >= mtSize {
			t.state[0] = t.state[mtSize-1]
			i = 1
		}
		if j >= len(key) {
			j = 0
		}
	}
	for k := mtSize - 1; k > 0; k-- {
		prev := t.state[i-1]
		t.state[i] = (t.state[i] ^ (prev^prev>>30)*1566083941) - uint32(i)
		i++
		if i >= mtSize {
			t.state[0] = t.state[mtSize-1]
			i = 1
		}
	}
	t.state[0] = 1 << 31
	t.next = mtSize
}

func (t *twister) refill() {
	s := &t.state
	mix := func(hi, lo uint32) uint32 {
		y := hi&0x80000000 | lo&0x7fffffff
		return y>>1 ^ -(y&1)&mtMatrix
	}
	for i := range mtSize - mtMiddle {
		s[i] = s[i+mtMiddle] ^ mix(s[i], s[i+1])
	}
	for i := mtSize - mtMiddle; i < mtSize-1; i++ {
		s[i] = s[i+mtMiddle-mtSize] ^ mix(s[i], s[i+1])
	}
	s[mtSize-1] = s[mtMiddle-1] ^ mix(s[mtSize-1], s[0])
	t.next = 0
}

// Uint32 returns the next 32 bits of the stream.
func (t *twister) Uint32() uint32 {
	if t.next >= mtSize {
		t.refill()
	}
	y := t.state[t.next]
	t.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Float64 returns a number in [0,1) with 53 random bits, made of two 32-bit
// draws: Python's random.random() and NumPy's random_sample().
func (t *twister) Float64() float64 {
	hi, lo := t.Uint32()>>5, t.Uint32()>>6
	return (float64(hi)*67108864 + float64(lo)) / 9007199254740992
}
