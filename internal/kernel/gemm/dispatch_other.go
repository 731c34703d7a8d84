//go:build !amd64

package gemm

func runTile(kd kind, t *tile) { genericTile(kd, t, PanelWidth) }
func runHalfTile(t *tile)      { genericTile(kindF32, t, PanelWidth/2) }
