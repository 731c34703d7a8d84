package recipe

import (
	"fmt"
	"strings"
)

// suggest names the nearest key, or all of them when none is near.
func suggest(key string, fs []field) string {
	best, dist := "", 3
	for _, f := range fs {
		if n := distance(strings.ToLower(key), strings.ToLower(f.name)); n < dist {
			best, dist = f.name, n
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	var names []string
	for _, f := range fs {
		names = append(names, f.name)
	}
	return "; known here: " + strings.Join(names, ", ")
}

// distance is the number of single-character edits from a to b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return 64
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			diag, row[j] = row[j], min(row[j]+1, row[j-1]+1, diag+cost)
		}
	}
	return row[len(y)]
}
