//go:build !amd64 && !arm64

package qmat

import (
	"leolm/internal/kernel/cpu"
	"leolm/tensor"
)

func choose(cpu.Features) *level { return &generic }

func call(*level, tensor.DType, int, *args) { panic("qmat: no kernels on this machine") }

func callPair(*level, kernelID, *args) { panic("qmat: no kernels on this machine") }

func runMatrix(kernelID, *args) { panic("qmat: no matrix units on this machine") }

func expand(*level, tensor.DType, *args) bool { return false }

func packPanel([]byte, tensor.DType, *[PanelRows][]byte, int) bool { return false }

func quantize(dst []byte, skip int, x []float32, stride, rows, blocks int) {
	quantizeGeneric(dst, skip, x, stride, rows, blocks)
}

func dots(u *[512]uint8, rec *[recordSize]byte) [2][PanelRows]int32 { return dotsGeneric(u, rec) }
