package cpu

import (
	"strings"
	"syscall"
	"testing"
)

func TestWide(t *testing.T) {
	for _, c := range []struct {
		name                  string
		vendor, id, last, use uint32
		want                  bool
	}{
		{"Zen 5", 'A', 0xb00f21, 0x80000021, 0xa, true},
		{"Zen 5 in a virtual machine", 'A', 0xb00f21, 0x80000021, 2, true},
		{"Zen 5 without the leaf", 'A', 0xb00f21, 0x80000008, 0xffffffff, true},
		{"Zen 5 with paths of 256 bits", 'A', 0xb20f40, 0x80000021, 6, false},
		{"Zen 4", 'A', 0xa10f11, 0x80000021, 6, false},
		{"Zen 4 in a virtual machine", 'A', 0xa10f11, 0x80000021, 2, false},
		{"Intel", 'G', 0xb00f21, 0x80000021, 0, false},
	} {
		got := wide(func(leaf uint32) (a, b, c2, d uint32) {
			switch leaf {
			case 0:
				return 16, 0x68747500 | c.vendor, 0x444d4163, 0x69746e65
			case 1:
				return c.id, 0, 0, 0
			case 0x80000000:
				return c.last, 0, 0, 0
			case 0x8000001a:
				return c.use, 0, 0, 0
			}
			t.Errorf("%s: leaf %#x", c.name, leaf)
			return 0, 0, 0, 0
		})
		if got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestSlow(t *testing.T) {
	for _, c := range []struct {
		name   string
		vendor [3]uint32 // as the instruction gives it
		id     uint32
		want   Features
	}{
		{"Emerald Rapids", [3]uint32{0x756e6547, 0x6c65746e, 0x49656e69}, 0xc06f2, BF16},
		{"Sapphire Rapids", [3]uint32{0x756e6547, 0x6c65746e, 0x49656e69}, 0x806f8, BF16},
		{"Cooper Lake", [3]uint32{0x756e6547, 0x6c65746e, 0x49656e69}, 0x5065b, Generic},
		{"Zen 4", [3]uint32{0x68747541, 0x444d4163, 0x69746e65}, 0xa10f11, Generic},
		{"another with these numbers", [3]uint32{0x68747541, 0x444d4163, 0x69746e65}, 0xc06f2, Generic},
	} {
		if got := slow(func(leaf uint32) (a, b, c2, d uint32) {
			if leaf == 0 {
				return 32, c.vendor[0], c.vendor[1], c.vendor[2]
			}
			return c.id, 0, 0, 0
		}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestMatrix(t *testing.T) {
	const units, saved, registers = 1<<22 | 1<<24 | 1<<25, 1 << 27, 1<<17 | 1<<18
	for _, c := range []struct {
		name          string
		last, d7, c1  uint32
		xcr0          uint64
		errno         syscall.Errno
		want          bool
		withheld      string
		asked, looked bool // permission; XCR0
	}{
		{"Sapphire Rapids", 32, units, saved, registers | 0xe7, 0, true, "", true, true},
		{"an old kernel", 32, units, saved, 0xe7, 0, false, "does not save", false, true},
		{"half of the registers", 32, units, saved, 1<<17 | 0xe7, 0, false, "does not save", false, true},
		{"XGETBV not for us", 32, units, 0, registers, 0, false, "does not save", false, false},
		{"a sandbox", 32, units, saved, registers | 0xe7, syscall.EINVAL, false, "refuses the matrix units: invalid argument", true, true},
		{"tiles without bf16", 32, 1<<24 | 1<<25, saved, registers, 0, false, "", false, false},
		{"no tiles", 32, 0, saved, 0xe7, 0, false, "", false, false},
		{"no leaf 7", 6, units, saved, registers, 0, false, "", false, false},
	} {
		asked, looked := false, false
		got, withheld := matrix(func(leaf uint32) (a, b, c2, d uint32) {
			switch leaf {
			case 0:
				return c.last, 0, 0, 0
			case 1:
				return 0, 0, c.c1, 0
			}
			return 0, 0, 0, c.d7
		}, func() uint64 { looked = true; return c.xcr0 }, func() error {
			asked = true
			if c.errno != 0 {
				return c.errno
			}
			return nil
		})
		if got != c.want || !strings.Contains(withheld, c.withheld) || (withheld == "") != (c.withheld == "") || asked != c.asked || looked != c.looked {
			t.Errorf("%s: %v, %q, permission asked for: %v", c.name, got, withheld, asked)
		}
	}
}

// TestPermission: the system's own answer goes with what the processor says.
func TestPermission(t *testing.T) {
	has, withheld := matrix(cpuid, xcr0, permitMatrix)
	if has && withheld != "" || has != Detected.Has(AMX) && Detected.Has(VNNI) {
		t.Errorf("%v, %q, detected %v", has, withheld, Detected)
	}
	t.Logf("matrix units: %v %s", has, withheld)
}
