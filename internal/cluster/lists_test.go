package cluster

import (
	"context"
	"errors"
	"fmt"
)

// checkLists gathers bytes that lie in places of many lengths: ranks with many, with one, with none.
func checkLists(ctx context.Context, c *Comm) error {
	lengths := [][]int{{1, 70001, 0, 5, 300000}, {64}, nil, {3000, 3000, 3000}}
	byteOf := func(r, i, j int) byte { return byte(r*131 + i*17 + j*7 + j>>8) }
	for first := range lengths { // each rank with each of them
		lists := make([][][]byte, c.Size())
		for r := range lists {
			for i, n := range lengths[(first+r)%len(lengths)] {
				b := make([]byte, n)
				if r == c.Rank() {
					for j := range b {
						b[j] = byteOf(r, i, j)
					}
				}
				lists[r] = append(lists[r], b)
			}
		}
		if err := c.GatherLists(ctx, lists); err != nil {
			return err
		}
		for r, list := range lists {
			for i, b := range list {
				for j, got := range b {
					if want := byteOf(r, i, j); got != want {
						return fmt.Errorf("byte %d of place %d of rank %d is %d, want %d", j, i, r, got, want)
					}
				}
			}
		}
	}
	if err := c.GatherLists(ctx, nil); err == nil {
		return errors.New("no lists were taken")
	}
	return nil
}
