package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// ticks is processor time in hundredths of a second, as Linux counts it.
type ticks struct {
	all   float64 // that anybody used, what a host took away included
	ours  float64 // of the program and of this command
	since time.Time
}

// ticks reads how busy the machine is, and how much of that is the measurement's own.
func (s *server) ticks() (ticks, error) {
	t := ticks{since: time.Now()}
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t, err
	}
	var user, nice, system, idle, wait, irq, soft, steal float64
	_, err = fmt.Sscanf(string(text), "cpu %f %f %f %f %f %f %f %f", &user, &nice, &system, &idle, &wait, &irq, &soft, &steal)
	if err != nil {
		return t, fmt.Errorf("/proc/stat: %w", err)
	}
	t.all = user + nice + system + irq + soft + steal
	for _, pid := range []int{s.cmd.Process.Pid, os.Getpid()} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return t, err
		}
		// The name, in parentheses, may have spaces; user and system time are the 12th and 13th field behind it.
		fields := strings.Fields(string(text)[strings.LastIndexByte(string(text), ')')+1:])
		var u, k float64
		if _, err := fmt.Sscan(fields[11], &u); err != nil {
			return t, err
		}
		if _, err := fmt.Sscan(fields[12], &k); err != nil {
			return t, err
		}
		t.ours += u + k
	}
	return t, nil
}

// others is how many processors other programs kept busy between two readings: rounds in which it is not near zero say
// little, least of all of a program that waits actively.
func others(from, to ticks) float64 {
	return max(0, to.all-from.all-(to.ours-from.ours)) / 100 / to.since.Sub(from.since).Seconds()
}
