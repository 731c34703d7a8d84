package sysmem

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"leolm/device"
)

func TestAvailable(t *testing.T) {
	const meminfo = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\nSwapFree:         500000 kB\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no limit":        {map[string]string{"proc/meminfo": meminfo}, 8500000 << 10},
		"version 2":       {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "5\n", "sys/fs/cgroup/a/memory.max": "1000000\n", "sys/fs/cgroup/a/memory.current": "700000\n", "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 100000\n"}, 400000},
		"container":       {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/host/path\n", "sys/fs/cgroup/memory.max": "2000\n", "sys/fs/cgroup/memory.current": "500\n"}, 1500},
		"version 1":       {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "5:cpu:/x\n4:memory:/job\n", "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "3000\n", "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000\n", "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 500\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n"}, 2500},
		"used up":         {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2000\n", "sys/fs/cgroup/memory.current": "5000\n"}, 0},
		"limit above all": {map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "999999999999\n", "sys/fs/cgroup/memory.current": "5000\n"}, 8500000 << 10},
	} {
		root := t.TempDir()
		for file, text := range c.files {
			p := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, ok := available(root); !ok || got != c.want {
			t.Errorf("%s: %d, %v; want %d", name, got, ok, c.want)
		}
	}
	if n, ok := Available(); runtime.GOOS == "linux" && (!ok || n <= 0) {
		t.Errorf("this machine: %d, %v", n, ok)
	}
}

func TestNeed(t *testing.T) {
	if err := Need("a few bytes", 4096); err != nil {
		t.Error(err)
	}
	for _, n := range []float64{1 << 50, math.MaxInt64, 1e40, math.Inf(1)} {
		err := Need("the weights", n)
		var short *device.MemoryError
		if !errors.As(err, &short) || short.Needed != n || !strings.Contains(err.Error(), "the weights need") || !strings.Contains(err.Error(), "available") {
			t.Errorf("%v bytes: %v", n, err)
		}
	}
}
