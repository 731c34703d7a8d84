package qmat

import (
	"leolm/tensor"
)

// On the matrix units the products of a block are two: those of the bytes of the records, and those of the high parts of
// their large groups. For the second every row of activations has its high parts in an array of their own, at the places
// where their elements are, with zeros for the others: a tile of it is a factor as a tile of the records is one.

// highSize is what the high parts of 32 activations of one row take.
const highSize = 32

// matrixRows is from how many rows on there may be kernels of the matrix units.
const matrixRows = 8

// matrixModel, where a test sets it, runs the kernels of the matrix units instead of the processor.
var matrixModel func(k kernelID, a *args)

// tileHigh returns the high parts of tile t, in the order of its records, or nil where no kernel wants them.
func (a *Acts) tileHigh(t int) []byte {
	_, padded, _ := a.tile(t)
	if len(a.high) == 0 || padded < matrixRows {
		return nil
	}
	blocks := a.K / 32
	return a.high[t*TileRows*blocks*highSize:][:padded*blocks*highSize]
}

// spreadHigh writes the high parts of rows [from, to) of a tile.
func spreadHigh(high, data []byte, padded, from, to, blocks int) {
	for b := range blocks {
		for r := b*padded + from; r < b*padded+to; r++ {
			rec := (*[recordSize]byte)(data[r*recordSize:])
			row := (*[highSize]byte)(high[r*highSize:])
			*row = [highSize]byte{}
			for i := range 2 {
				at := rec[actGroup+i] / 2 & (highSize - 4) // 8·g is where group g of four is in a register's eighth
				*(*[4]byte)(row[at:]) = [4]byte(rec[actHigh+4*i:])
			}
		}
	}
}

// matrixConfigs are the configurations of the units by the rows of activations, for types with one scale per block and
// with one per half block. Tiles 0–3 are sums, 4 and 5 activations, 6 and 7 codes (_asm/matrix.go).
var matrixConfigs = func() (all [2][TileRows + 1][64]byte) {
	for halves := range all {
		for rows := 1; rows <= TileRows; rows++ {
			c := &all[halves][rows]
			c[0] = 1
			bytes := 32 >> halves
			for tile := range 8 {
				n, width := rows, 64
				switch {
				case tile >= 6:
					n = bytes / 4
				case tile >= 4:
					width = bytes
				}
				c[48+tile], c[16+2*tile] = byte(n), byte(width)
			}
		}
	}
	return all
}()

func matrixConfig(d tensor.DType, rows int) *byte {
	halves := 0
	switch d {
	case tensor.Q2_K, tensor.Q3_K, tensor.Q6_K:
		halves = 1
	}
	return &matrixConfigs[halves][rows][0]
}
