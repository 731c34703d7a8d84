//go:build !amd64

package qmat

import "leolm/internal/kernel/cpu"

func choose(cpu.Level) *level { return &generic }

func call(*level, kernelID, *args) { panic("qmat: no kernels on this machine") }

func quantise(dst []byte, step int, x []float32) { quantiseGeneric(dst, step, x) }
