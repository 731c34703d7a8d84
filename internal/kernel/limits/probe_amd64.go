package limits

import "leolm/internal/kernel/cpu"

//go:noescape
func readZ(p *byte, n int)

//go:noescape
func readY(p *byte, n int)

func fmaZ(n int)
func fmaY(n int)
func dotZ(n int)
func dotY(n int)
func bf16Z(n int)
func maddZ(n int)
func maddY(n int)

//go:noescape
func bf16Tiles(config *byte, n int)

//go:noescape
func int8Tiles(config *byte, n int)

// fullTiles configures eight tiles of 16 rows of 64 bytes.
var fullTiles = func() (c [64]byte) {
	c[0] = 1
	for tile := range 8 {
		c[48+tile], c[16+2*tile] = 16, 64
	}
	return c
}()

// read loads every byte of b, whose length is a multiple of 256.
func read(b []byte) {
	switch l := cpu.Active; {
	case len(b) == 0:
	case l.Has(cpu.AVX512):
		readZ(&b[0], len(b))
	case l.Has(cpu.AVX2):
		readY(&b[0], len(b))
	default:
		readGo(b)
	}
}

func probes() (f32, bf16, int8 probe) {
	switch l := cpu.Active; {
	case l.Has(cpu.AVX512):
		f32 = probe{fmaZ, 12 * 32}
		// Without VPDPBUSD three instructions do its work.
		int8 = probe{maddZ, 6 * 128}
		if l.Has(cpu.VNNI) {
			int8 = probe{dotZ, 12 * 128}
		}
		if l.Has(cpu.BF16) {
			bf16 = probe{bf16Z, 12 * 64}
		}
		if l.Has(cpu.AMX) {
			bf16 = probe{func(n int) { bf16Tiles(&fullTiles[0], n) }, 4 * 2 * 16 * 16 * 32}
			int8 = probe{func(n int) { int8Tiles(&fullTiles[0], n) }, 4 * 2 * 16 * 16 * 64}
		}
		return f32, bf16, int8
	case l.Has(cpu.AVX2):
		int8 = probe{maddY, 6 * 64}
		if l.Has(cpu.AVXVNNI) {
			int8 = probe{dotY, 12 * 64}
		}
		return probe{fmaY, 12 * 16}, probe{}, int8
	}
	return probesGo()
}
