package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	tile "leolm/internal/kernel/_tile"
)

// offConfig is the last field of type tile.
const offConfig = 104

// Tiles of the kernels: sums of up to two by two, the rows of A and the columns of B that they come from.
const (
	sumTile = 0 // + 2·(second rows) + (second columns)
	aTile   = 4 // + (second rows)
	bTile   = 6 // + (second columns)

	blockBytes = 64 // of a row of A: 32 elements
)

// Registers of the kernels on tiles. CX and DI are free for what is needed once.
var (
	matrixA  = []GPPhysical{RAX, RBX} // first and second rows of A
	matrixC  = []GPPhysical{R13, R15} // the same of C
	matrixB  = R10
	skip     = R9 // 16 steps of B, or 16 rows of A or C
	matrixAm = RSI
	matrixBk = R11
	matrixLd = R8
	blocks   = R12
	panels   = RDX
)

// matrixKernel multiplies one or two times sixteen rows of A by panels of one or two times sixteen columns of B with
// tiles. A step is a pair of bf16; `steps` counts blocks of as many pairs as the configuration gives B's tiles rows, at
// most sixteen. A's rows hold the pairs one after another (ak is 4).
func matrixKernel(rows, cols int) {
	name := fmt.Sprintf("matrix%dx%dAMX", 16*rows, 16*cols)
	TEXT(name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s runs a tile (type tile) of bf16 of at most %d rows, %d columns per panel, on the matrix units.", name, 16*rows, 16*cols))
	Load(Param("t"), args)
	MOVQ(field(offConfig), RCX)
	tile.LoadConfig(RCX)
	MOVQ(field(offAm), matrixAm)
	MOVQ(field(offBk), matrixBk)
	MOVQ(field(offLdc), matrixLd)
	MOVQ(field(offPanels), panels)

	Label("panel")
	MOVQ(field(offC), matrixC[0])
	MOVQ(field(offA), matrixA[0])
	if rows == 2 {
		for _, x := range []struct{ to, from, distance GPPhysical }{{matrixC[1], matrixC[0], matrixLd}, {matrixA[1], matrixA[0], matrixAm}} {
			MOVQ(x.distance, x.to)
			SHLQ(Imm(4), x.to)
			ADDQ(x.from, x.to)
		}
	}
	MOVQ(field(offB), matrixB)
	MOVQ(field(offSteps), blocks)
	MOVQ(matrixBk, skip)
	SHLQ(Imm(4), skip)
	MOVQ(field(offAdd), RCX)
	TESTQ(RCX, RCX)
	JNZ(LabelRef("load"))
	each := func(f func(i, j, sum int)) {
		for i := range rows {
			for j := range cols {
				f(i, j, sumTile+2*i+j)
			}
		}
	}
	each(func(_, _, sum int) { tile.Zero(sum) })
	JMP(LabelRef("block"))
	Label("load")
	each(func(i, j, sum int) { tile.Load(matrixC[i], matrixLd, 64*j, sum) })

	Label("block")
	for j := range cols {
		tile.Load(matrixB, matrixBk, 64*j, bTile+j)
		if j == 0 {
			tile.Load(matrixA[0], matrixAm, 0, aTile)
		}
		tile.DotBF16(bTile+j, aTile, sumTile+j)
	}
	if rows == 2 {
		tile.Load(matrixA[1], matrixAm, 0, aTile+1)
		for j := range cols {
			tile.DotBF16(bTile+j, aTile+1, sumTile+2+j)
		}
	}
	for i := range rows {
		ADDQ(U8(blockBytes), matrixA[i])
	}
	ADDQ(skip, matrixB)
	DECQ(blocks)
	JNZ(LabelRef("block"))

	each(func(i, j, sum int) { tile.Store(sum, matrixC[i], matrixLd, 64*j) })
	MOVQ(field(offCPanel), RCX)
	ADDQ(RCX, field(offC))
	MOVQ(field(offBPanel), RCX)
	ADDQ(RCX, field(offB))
	DECQ(panels)
	JNZ(LabelRef("panel"))
	tile.Release()
	RET()
}

func matrixKernels() {
	for rows := 1; rows <= 2; rows++ {
		for cols := 1; cols <= 2; cols++ {
			matrixKernel(rows, cols)
		}
	}
}
