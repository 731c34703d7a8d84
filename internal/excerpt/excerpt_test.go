package excerpt

import (
	"bytes"
	"hash/fnv"
	"testing"
)

func TestWrite(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "abcdef": "abcdef",
		"abcdefg":          "abcdef", // in steps of 2
		"0123456789abcdef": "0178ef",
	} {
		got, all := fnv.New64a(), fnv.New64a()
		Write(got, []byte(text), 2, 3)
		all.Write([]byte(want))
		if !bytes.Equal(got.Sum(nil), all.Sum(nil)) {
			t.Errorf("%q: not the hash of %q", text, want)
		}
	}
}
