package qmat

import (
	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

// On arm64 the generic code runs with its inner products on SDOT.
var neon = level{isa: cpu.NEON}

func choose(f cpu.Features) *level {
	if f.Has(cpu.NEON) {
		return &neon
	}
	return &generic
}

func call(*level, tensor.DType, int, *args) { panic("qmat: no such kernel on arm64") }

func callPair(*level, kernelID, *args) { panic("qmat: no such kernel on arm64") }

func runMatrix(kernelID, *args) { panic("qmat: no matrix units on this machine") }

func expand(*level, tensor.DType, *args) bool { return false }

func packPanel([]byte, tensor.DType, *[PanelRows][]byte, int) bool { return false }

func quantize(dst []byte, skip int, x []float32, stride, rows, blocks int) {
	quantizeGeneric(dst, skip, x, stride, rows, blocks)
}

func dots(u *[512]uint8, rec *[recordSize]byte) (dot [2][PanelRows]int32) {
	if active.isa != cpu.NEON {
		return dotsGeneric(u, rec)
	}
	dotsNEON(&dot, u, rec)
	// SDOT takes both operands as signed: the codes were lowered by 128.
	for h := range dot {
		back := int32(0)
		for _, q := range rec[16*h : 16*h+16] {
			back += 128 * int32(int8(q))
		}
		for r := range PanelRows {
			dot[h][r] += back
		}
	}
	return dot
}

// dotsNEON returns Σ (u−128)·q per half block and row.
//
//go:noescape
func dotsNEON(dot *[2][PanelRows]int32, u *[512]uint8, rec *[recordSize]byte)
