// Package clustertest finds the ranks of a launcher, for tests that kill them or wait for their end. It reads Linux's /proc.
package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Living lists the processes of a program, by the name of its file, that descend from a launcher and have not ended.
func Living(launcher int, program string) []int {
	const most = 15 // bytes of a name, as the kernel keeps it
	program = program[:min(len(program), most)]
	parents, found := map[int]int{}, []int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		head, rest, _ := strings.Cut(string(text), ") ")
		number, name, _ := strings.Cut(head, " (")
		pid, _ := strconv.Atoi(number)
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
			continue // it has gone
		}
		parents[pid] = parent
		if state != "Z" && name == program {
			found = append(found, pid)
		}
	}
	var below []int
	for _, pid := range found {
		for p := pid; p > 1; p = parents[p] {
			if p == launcher {
				below = append(below, pid)
				break
			}
		}
	}
	return below
}
