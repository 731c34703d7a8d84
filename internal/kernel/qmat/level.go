package qmat

import (
	"encoding/binary"
	"math"

	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

// level is what one instruction set offers.
type level struct {
	isa   cpu.Features                      // the one feature that names its kernels; Generic for none
	sizes [len(formats)]*[TileRows + 1]bool // per type the tile rows that it has kernels for; always 1
	ones  [len(formats)]*[TileRows + 1]bool // those whose kernels are not isa's own: see newCove and newLanes
	pairs [len(formats)]*[TileRows + 1]bool // those with kernels for two panels at once
	tiles int                               // how many tiles those of 16 rows take; 0 means one
	// matrix are those that it has kernels of the matrix units for; nil where it has no such units.
	matrix *[len(formats)]*[TileRows + 1]bool
}

var active = choose(cpu.Active)

var generic = level{isa: cpu.Generic}

// kernelID names the kernel of a type for a number of tile rows.
type kernelID uint16

func kernel(d tensor.DType, rows int) kernelID { return kernelID(d)<<8 | kernelID(rows) }

// table returns the look-up table that kernels of type d need: four copies of
// sixteen bytes; NF4 has one for the high and one for the low bytes.
func table(d tensor.DType) *byte {
	switch d {
	case tensor.IQ4_NL:
		return &iq4Table[0]
	case tensor.NF4:
		return &nf4Table[0]
	}
	return nil
}

// NF4's third table holds the levels in fixed point as f32.
var iq4Table, nf4Table = func() (iq [64]byte, nf [192]byte) {
	for i := range 64 {
		iq[i] = iq4Codes[i%16]
		nf[i] = byte(nf4Codes[i%16] >> 8)
		nf[64+i] = byte(nf4Codes[i%16])
	}
	for i, c := range nf4Codes {
		binary.LittleEndian.PutUint32(nf[128+4*i:], math.Float32bits(float32(int(c)-32768)))
	}
	return iq, nf
}()
