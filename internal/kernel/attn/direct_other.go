//go:build !amd64

package attn

import "leolm/tensor"

func hasDirect() bool { return false }

func scoreKernel(tensor.DType, int, *direct) {}
