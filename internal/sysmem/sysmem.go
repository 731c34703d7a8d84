// Package sysmem finds out how much memory this process may still take:
// what the system has free or can free, and what the cgroup (the container's or
// job's limit) leaves. It allocates nothing itself.
package sysmem

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"leolm/device"
)

// Need returns a *device.MemoryError if n bytes are more than are available. Where the
// system does not say what is available, the limit is a petabyte.
func Need(what string, n float64) error {
	available, ok := Available()
	if !ok {
		available = math.MaxInt64 >> 13 // a petabyte
	}
	if n <= float64(available) {
		return nil
	}
	return &device.MemoryError{What: what, Needed: n, Available: available}
}

// Available is the memory that this process can take before the system or its
// cgroup runs out, page cache that can be dropped and free swap included; false
// if the system doesn't say.
func Available() (int64, bool) { return available("/") }

// available reads Linux's files under root, "/" except in tests.
func available(root string) (int64, bool) {
	info, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return systemAvailable()
	}
	free := field(info, "MemAvailable:")
	if free < 0 {
		return systemAvailable()
	}
	free = 1024 * (free + max(field(info, "SwapFree:"), 0))
	if left, ok := cgroupLeft(root); ok {
		free = min(free, left)
	}
	return free, true
}

// field returns the number after a name, or -1.
func field(data []byte, name string) int64 {
	for line := range bytes.Lines(data) {
		f := strings.Fields(string(line))
		if len(f) >= 2 && f[0] == name {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// cgroupLeft is what the tightest of the cgroups (version 1 or 2) that this process is in leaves.
func cgroupLeft(root string) (int64, bool) {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0, false
	}
	tightest, found := int64(0), false
	take := func(dir, limit, usage, cached string) {
		top, ok := number(filepath.Join(dir, limit))
		if !ok || top <= 0 || top >= 1<<60 { // "max", or version 1's number for it
			return
		}
		used, ok := number(filepath.Join(dir, usage))
		if !ok {
			return
		}
		if stat, err := os.ReadFile(filepath.Join(dir, "memory.stat")); err == nil {
			used -= max(field(stat, cached), 0) // page cache that can be dropped
		}
		left := max(top-max(used, 0), 0)
		if !found || left < tightest {
			tightest, found = left, true
		}
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy-id:controllers:path; version 2 has no controllers.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 || f[1] != "" && !strings.Contains(","+f[1]+",", ",memory,") {
			continue
		}
		// A limit of any parent binds too. Inside a container the path may belong to
		// the host; then only the mount's own root exists.
		for dir := filepath.Clean("/" + f[2]); ; dir = filepath.Dir(dir) {
			if f[1] == "" {
				take(filepath.Join(root, "sys/fs/cgroup", dir), "memory.max", "memory.current", "inactive_file")
			} else {
				take(filepath.Join(root, "sys/fs/cgroup/memory", dir), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
			}
			if dir == "/" {
				break
			}
		}
	}
	return tightest, found
}

func number(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}
