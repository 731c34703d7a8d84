package unpack

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gz(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zst(t testing.TB, s string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}

// skippable is a zstd frame that holds no data.
func skippable(n byte, data string) string {
	return string([]byte{0x50 | n, 0x2a, 0x4d, 0x18, byte(len(data)), 0, 0, 0}) + data
}

func TestReader(t *testing.T) {
	zeros := strings.Repeat("\x00", 700)
	for name, tc := range map[string]struct{ in, want, err string }{
		"plain":                     {"abc", "abc", ""},
		"empty":                     {"", "", ""},
		"short":                     {"\x1f", "\x1f", ""},
		"gzip":                      {gz(t, "abc"), "abc", ""},
		"gzip, empty":               {gz(t, ""), "", ""},
		"gzip, members":             {gz(t, "abc") + gz(t, "") + gz(t, "def"), "abcdef", ""},
		"gzip, padded":              {gz(t, "abc") + zeros, "abc", ""},
		"gzip, padding in between":  {gz(t, "abc") + zeros + gz(t, "def") + "\x00", "abcdef", ""},
		"gzip, text behind":         {gz(t, "abc") + "\x00xyz, and more", "abc", "damaged; fetch it again"},
		"gzip, half a second magic": {gz(t, "abc") + "\x1f", "abc", "cut off; fetch it again"},
		"gzip, cut off":             {gz(t, "abc")[:20], "abc", "cut off; fetch it again"},
		"zstd":                      {zst(t, "abc"), "abc", ""},
		"zstd, frames":              {zst(t, "abc") + zst(t, "def"), "abcdef", ""},
		"zstd, skippable first":     {skippable(0, "table") + zst(t, "abc"), "abc", ""},
		"zstd, skippable all over":  {skippable(15, "") + zst(t, "abc") + skippable(7, "xy") + zst(t, "def") + skippable(3, "z"), "abcdef", ""},
		"zstd, nothing else":        {skippable(1, "table"), "", ""},
		"zstd, cut off":             {zst(t, strings.Repeat("abc", 100))[:9], "", "cut off; fetch it again"},
		// A frame header that asks for a window of 2 GiB.
		"zstd, window": {"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", "", "window is larger than 256 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Reader(bufio.NewReader(strings.NewReader(tc.in)))
			var got []byte
			if err == nil {
				got, err = io.ReadAll(r)
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Errorf("%T is not an *Error", err)
			}
			if string(got) != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestDeviceError: an error of the reader below is not taken for damage.
func TestDeviceError(t *testing.T) {
	gone := errors.New("the disk is gone")
	_, err := Reader(bufio.NewReader(iotestErr{gone}))
	if !errors.Is(err, gone) {
		t.Errorf("error %v", err)
	}
}

type iotestErr struct{ err error }

func (r iotestErr) Read([]byte) (int, error) { return 0, r.err }

func FuzzReader(f *testing.F) {
	for _, s := range []string{"abc", gz(f, "abc") + "\x00\x00" + gz(f, "def"), skippable(0, "x") + zst(f, "abc")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Reader(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			return
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20))
		if err == nil && Format(in) == "" && n != int64(len(in)) {
			t.Errorf("%d of %d plain bytes", n, len(in))
		}
	})
}
