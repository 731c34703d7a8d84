package shard

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func writeText(t *testing.T, prefix string, width int, samples []Sample) string {
	t.Helper()
	w, err := NewTextWriter(prefix, width)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	ids := 0
	for _, s := range samples {
		starts := make([]uint32, len(s.Docs))
		for i, d := range s.Docs {
			starts[i] = uint32(d)
		}
		if err := w.Add(AppendIDs(nil, s.IDs, width), starts); err != nil {
			t.Fatal(err)
		}
		ids += len(s.IDs)
		if got := w.Stats(); got.IDs != int64(ids) || got.Last != int64(len(s.IDs)) {
			t.Errorf("after %d ids: %+v", ids, got)
		}
	}
	sum, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestTextShards(t *testing.T) {
	want := []Sample{
		{IDs: []int32{1, 2, 3, 4, 5}, Docs: []int32{0, 2, 4}},
		{IDs: []int32{5, 6, 65499}, Docs: []int32{0}},
		{IDs: nil, Docs: []int32{}},
		{IDs: []int32{7, 8, 9}, Docs: []int32{0, 1}},
	}
	for _, width := range []int{2, 4} {
		prefix := filepath.Join(t.TempDir(), "train")
		if width == 4 {
			want[3].IDs[2] = 1 << 20
		}
		writeText(t, prefix, width, want)
		s, err := Open(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != len(want) || s.HasRoles() {
			t.Fatalf("%d samples, roles: %v", s.Len(), s.HasRoles())
		}
		for i, w := range want {
			got := s.Sample(i)
			if len(w.IDs) == 0 {
				w.Docs = []int32{0} // it begins inside a document, as far as the table knows
			}
			if !slices.Equal(got.IDs, w.IDs) || !slices.Equal(got.Docs, w.Docs) || got.Roles != nil {
				t.Errorf("width %d sample %d: %+v, want %+v", width, i, got, w)
			}
		}
		s.Close()
	}
	if _, err := NewTextWriter(filepath.Join(t.TempDir(), "x"), 3); err == nil {
		t.Error("ids of three bytes: no error")
	}
}

// TestTextBytes pins the files, which other programs read, as written out by hand.
func TestTextBytes(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "x")
	sum := writeText(t, prefix, 2, []Sample{{IDs: []int32{0x7d05, 7, 8}, Docs: []int32{1}}, {IDs: []int32{300}}})
	// sha256 of 05 7d 07 00 08 00 2c 01
	if want := "d948962c63f48e482c163710d2130cc47f129fb0a6de745e587e3ed95b72191a"; sum != want {
		t.Errorf("SHA-256 %s, want %s", sum, want)
	}
	const zero3, zero7 = "\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00"
	for ext, want := range map[string]string{
		".bin": "\x05\x7d\x07\x00\x08\x00\x2c\x01",
		".idx": "MMIDIDX\x00\x00" + "\x01" + zero7 + "\x08" + "\x02" + zero7 + "\x03" + zero7 +
			"\x03" + zero3 + "\x01" + zero3 + "\x00" + zero7 + "\x06" + zero7 + "\x00" + zero7 + "\x01" + zero7 + "\x02" + zero7,
		".docs": "LEODOCS1" + "\x02" + zero7 + "\x01" + zero7 + "\x00" + zero7 + "\x01" + zero7 + "\x01" + zero7 + "\x01" + zero3,
	} {
		if got, err := os.ReadFile(prefix + ext); err != nil || string(got) != want {
			t.Errorf("%s: %x, want %x (%v)", ext, got, want, err)
		}
	}
}

// TestIndexComesLast: while shards are replaced, no index stands beside another run's ids.
func TestIndexComesLast(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "x")
	set := []Sample{{IDs: []int32{1, 2}, Docs: []int32{0}}}
	writeText(t, prefix, 2, set)
	w, err := NewTextWriter(prefix, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add([]byte{3, 0}, []uint32{0}); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(prefix); err != nil {
		t.Errorf("before the new ids are visible: %v", err)
	} else {
		s.Close()
	}
	if err := w.text.commitBin(); err != nil { // here the program dies
		t.Fatal(err)
	}
	if _, err := Open(prefix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("new ids without an index: %v, want that there are no finished shards", err)
	}
	writeText(t, prefix, 2, set)
	s, err := Open(prefix)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
