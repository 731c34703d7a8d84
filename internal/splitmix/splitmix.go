// Package splitmix owns SplitMix64 (Steele, Lea and Flood 2014): the finalizer that scatters 64-bit numbers and the
// constant that its sequence steps by. Seeds, shuffles, dropout and hashes of words are made of it; what is drawn from them
// is the business of who draws. Its values are part of what a seed means in files, and never change.
package splitmix

// Gamma is the step of the sequence: 2⁶⁴ divided by the golden ratio, made odd.
const Gamma = 0x9e3779b97f4a7c15

// Mix is the finalizer, a bijection in which every bit of x reaches every bit of the result. The n-th number after a seed
// is Mix(seed + n·Gamma).
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
