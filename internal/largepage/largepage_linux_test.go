package largepage

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// advised reports whether the system was asked for large pages (flag hg of /proc/self/smaps) at an address.
func advised(t *testing.T, p unsafe.Pointer) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	inside := false
	for line := range strings.Lines(string(b)) {
		var from, to uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= uintptr(p) && uintptr(p) < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.Contains(flags, " hg")
		}
	}
	t.Fatalf("%p is not in /proc/self/smaps", p)
	return false
}

func TestMakeAsksForLargePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		t.Skip("this kernel has no large pages:", err)
	}
	b := Make[float32](4 << 20)
	if len(b) != 4<<20 {
		t.Fatalf("%d elements", len(b))
	}
	for i, v := range b {
		if v != 0 {
			t.Fatalf("element %d is %v", i, v)
		}
	}
	for _, i := range []int{0, len(b) / 2, len(b) - 1} {
		if !advised(t, unsafe.Pointer(&b[i])) {
			t.Errorf("element %d lies in memory without the advice", i)
		}
	}
	runtime.KeepAlive(b)
}

func TestMakeOfLittleMemory(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		if b := Make[byte](n); len(b) != n {
			t.Errorf("Make(%d) has %d elements", n, len(b))
		}
	}
}
