package sample

import (
	"leolm/internal/splitmix"
	"math/bits"
)

// RNG is xoshiro256++ (Blackman and Vigna 2019), seeded by four steps of
// splitmix64. It is written out here so that a seed means the same tokens in
// every version of Leo.
type RNG struct{ s [4]uint64 }

// NewRNG seeds a generator.
func NewRNG(seed uint64) RNG {
	var r RNG
	for i := range r.s {
		seed += splitmix.Gamma
		r.s[i] = splitmix.Mix(seed)
	}
	return r
}

// Uint64 is the next number.
func (r *RNG) Uint64() uint64 {
	s := &r.s
	out := bits.RotateLeft64(s[0]+s[3], 23) + s[0]
	t := s[1] << 17
	s[2] ^= s[0]
	s[3] ^= s[1]
	s[1] ^= s[2]
	s[0] ^= s[3]
	s[2] ^= t
	s[3] = bits.RotateLeft64(s[3], 45)
	return out
}

// Float64 is the next number in [0, 1), a multiple of 2^-53.
func (r *RNG) Float64() float64 { return float64(r.Uint64()>>11) * 0x1p-53 }
