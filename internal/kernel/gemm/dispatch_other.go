//go:build !amd64 && !arm64

package gemm

import "leolm/tensor"

func runTile(kd kind, t *tile) { genericTile(kd, t, PanelWidth) }
func runHalfTile(t *tile)      { genericTile(kindF32, t, PanelWidth/2) }

func hasTileRows() bool { return false }

func runTileRows(tensor.DType, *tile) {}
