package cpu

import "testing"

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name       string
		best, want Level
		fails      bool
	}{
		{"", BF16, BF16, false},
		{"generic", BF16, Generic, false},
		{" AVX2 ", BF16, AVX2, false},
		{"avx512", AVX2, AVX2, true},
		{"neon", BF16, BF16, true},
		{"avx2", NEON, NEON, true},
		{"generic", NEON, Generic, false},
		{"sse9", VNNI, VNNI, true},
	} {
		got, err := choose(c.name, c.best)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("choose(%q, %v) = %v, %v", c.name, c.best, got, err)
		}
	}
}
