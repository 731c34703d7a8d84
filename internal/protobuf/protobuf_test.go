package protobuf

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestFields(t *testing.T) {
	b := AppendVarint(nil, 3, 300)
	b = AppendVarint(b, 4, -1)
	b = AppendBytes(b, 1, "Öl")
	b = AppendFloat(b, 2, 1.5)
	b = AppendBool(AppendBool(b, 5, true), 6, false)
	b = append(AppendTag(b, 7, 1), 1, 0, 0, 0, 0, 0, 0, 0)
	var got []string
	err := Fields(b, 100, func(num int, v uint64, data []byte, at int) error {
		got = append(got, fmt.Sprintf("%d: %d %q @%d", num, int64(v), data, at))
		return nil
	})
	want := []string{`3: 300 "" @101`, `4: -1 "" @104`, `1: 0 "Öl" @116`, fmt.Sprintf(`2: %d "" @120`, math.Float32bits(1.5)), `5: 1 "" @125`, `6: 0 "" @127`, `7: 1 "" @129`}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v\n%s", err, strings.Join(got, "\n"))
	}
	for cut := 1; cut < len(b); cut++ {
		n := 0
		err := Fields(b[:cut], 0, func(int, uint64, []byte, int) error { n++; return nil })
		if whole := bytes.IndexByte([]byte{3, 14, 19, 24, 26, 28}, byte(cut)) >= 0; whole != (err == nil) {
			t.Errorf("cut at %d: %d fields, %v", cut, n, err)
		}
	}
	for _, bad := range []string{"\x00", "\x0f", "\x0b", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if err := Fields([]byte(bad), 0, func(int, uint64, []byte, int) error { return nil }); err == nil || !strings.Contains(err.Error(), "byte 0") && !strings.Contains(err.Error(), "byte 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
