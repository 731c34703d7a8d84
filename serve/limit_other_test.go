//go:build !unix

package serve

// fileLimit is how many files this process may open.
func fileLimit() int { return 2048 }
