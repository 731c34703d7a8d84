package cpu

import "testing"

func TestWorkersFinishTogether(t *testing.T) {
	for _, c := range []struct{ n, queries, heads, workers, want int }{
		{2, 144, 3, 2, 2},  // 9 rows of heads each
		{1, 128, 3, 2, 2},  // not one worker twice
		{1, 100, 4, 2, 1},  // even already
		{1, 128, 1, 4, 4},  // one head for four workers
		{1, 40, 1, 4, 2},   // pieces must not become tiny
		{8, 1000, 3, 2, 8}, // many pieces
	} {
		if got := evenPieces(c.n, c.queries, c.heads, c.workers); got != c.want {
			t.Errorf("%d queries of %d heads for %d workers: %d pieces, want %d", c.queries, c.heads, c.workers, got, c.want)
		}
	}
}
