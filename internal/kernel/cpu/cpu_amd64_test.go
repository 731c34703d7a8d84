package cpu

import "testing"

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
