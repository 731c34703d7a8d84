//go:build !amd64 && !arm64

package gemm

import (
	"unsafe"

	"leolm/tensor"
)

func runTile(kd kind, t *tile)     { genericTile(kd, t, PanelWidth) }
func runHalfTile(kd kind, t *tile) { genericTile(kd, t, PanelWidth/2) }

func zipRows([]uint32, int, []uint16, int, int) bool { return false }

// runMatrixTile has a model to run in at most: no other processor has these units.
func runMatrixTile(k matrixKernel, t *tile) {
	matrixModel(k, *(*rawTile)(unsafe.Pointer(t)))
}

func hasSpread() bool { return false }

func hasTileRows() bool { return false }

func runTileRows(tensor.DType, *tile, unsafe.Pointer) {}
