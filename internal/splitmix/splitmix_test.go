package splitmix

import "testing"

// The first numbers after seed 0 and after 1234567, as the authors' splitmix64.c prints them.
func TestPublishedSequence(t *testing.T) {
	for seed, want := range map[uint64][]uint64{
		0:       {0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f},
		1234567: {6457827717110365317, 3203168211198807973, 9817491932198370423},
	} {
		for n, w := range want {
			if got := Mix(seed + uint64(n+1)*Gamma); got != w {
				t.Errorf("seed %d, number %d: %#x, want %#x", seed, n, got, w)
			}
		}
	}
}
