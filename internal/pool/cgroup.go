package pool

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Processors is how many workers this process can keep busy: the smallest of
// GOMAXPROCS, the processors it may run on (affinity, cpuset) and the cgroup's
// CPU quota rounded to the nearest whole number; at least 1.
func Processors() int {
	n := min(runtime.GOMAXPROCS(0), runtime.NumCPU())
	if q := quota("/"); q > 0 {
		n = min(n, int(math.Round(q)))
	}
	return max(n, 1)
}

// quota returns the tightest CPU quota, in processors, of the cgroups (version
// 1 or 2) that this process is in, or 0 if there is none. root is "/" except
// in tests.
func quota(root string) float64 {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0 // not Linux
	}
	tightest := 0.0
	take := func(q float64) {
		if q > 0 && (tightest == 0 || q < tightest) {
			tightest = q
		}
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy-id:controllers:path; version 2 has no controllers.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		v2 := f[1] == ""
		if !v2 && !strings.Contains(","+f[1]+",", ",cpu,") {
			continue
		}
		// A quota on any parent binds too. Inside a container the path may
		// belong to the host; then only the mount's own root exists.
		for dir := filepath.Clean("/" + f[2]); ; dir = filepath.Dir(dir) {
			if v2 {
				take(quotaV2(filepath.Join(root, "sys/fs/cgroup", dir, "cpu.max")))
				take(quotaV2(filepath.Join(root, "sys/fs/cgroup/unified", dir, "cpu.max")))
			} else {
				for _, mount := range []string{"cpu", "cpu,cpuacct"} {
					d := filepath.Join(root, "sys/fs/cgroup", mount, dir)
					take(ratio(number(filepath.Join(d, "cpu.cfs_quota_us")), number(filepath.Join(d, "cpu.cfs_period_us"))))
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return tightest
}

// quotaV2 reads "max 100000" or "150000 100000".
func quotaV2(path string) float64 {
	b, err := os.ReadFile(path)
	f := strings.Fields(string(b))
	if err != nil || len(f) != 2 {
		return 0
	}
	q, err1 := strconv.ParseFloat(f[0], 64)
	p, err2 := strconv.ParseFloat(f[1], 64)
	if err1 != nil || err2 != nil {
		return 0
	}
	return ratio(q, p)
}

func number(path string) float64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil {
		return 0
	}
	return v
}

func ratio(quota, period float64) float64 {
	if quota <= 0 || period <= 0 {
		return 0
	}
	return quota / period
}
