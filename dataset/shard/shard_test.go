package shard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testSet has samples of the given lengths; ids tell sample and position.
func testSet(lengths ...int) []Sample {
	var m []Sample
	for i, n := range lengths {
		s := Sample{IDs: make([]int32, n), Roles: make([]uint8, n)}
		for k := range n {
			s.IDs[k] = int32(1000*i + k)
			s.Roles[k] = uint8(1 + k*2/n)
		}
		m = append(m, s)
	}
	return m
}

func writeShards(t *testing.T, prefix string, vocab int, set []Sample) {
	t.Helper()
	w, err := NewWriter(prefix, Record{Vocab: vocab})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, s := range set {
		if err := w.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestShards(t *testing.T) {
	for _, vocab := range []int{32007, 65499, 65500, 128256} {
		prefix := filepath.Join(t.TempDir(), "p-train")
		set := testSet(3, 0, 1, 17, 5)
		writeShards(t, prefix, vocab, set)
		s, err := Open(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != len(set) {
			t.Fatalf("%d samples, want %d", s.Len(), len(set))
		}
		for i, want := range set {
			got := s.Sample(i)
			if s.Length(i) != len(want.IDs) || !slices.Equal(got.IDs, want.IDs) || !slices.Equal(got.Roles, want.Roles) {
				t.Errorf("vocab %d sample %d: got %v", vocab, i, got)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestShardBytes(t *testing.T) {
	// The bytes of docs/leolm.md#token-files, written out by hand.
	prefix := filepath.Join(t.TempDir(), "x")
	writeShards(t, prefix, 32007, []Sample{{IDs: []int32{32005, 7}, Roles: []uint8{1, 1}}, {IDs: []int32{300}, Roles: []uint8{2}}})
	want := []byte("MMIDIDX\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x08" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" +
		"\x02\x00\x00\x00\x01\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00")
	for name, bin := range map[string]string{"text": "\x05\x7d\x07\x00\x2c\x01", "role": "\x01\x00\x01\x00\x02\x00"} {
		idx, err := os.ReadFile(prefix + "-" + name + ".idx")
		if err != nil || !bytes.Equal(idx, want) {
			t.Errorf("%s.idx: %x, %v", name, idx, err)
		}
		got, err := os.ReadFile(prefix + "-" + name + ".bin")
		if err != nil || string(got) != bin {
			t.Errorf("%s.bin: %x, %v", name, got, err)
		}
	}
}

func TestShardErrors(t *testing.T) {
	dir := t.TempDir()
	prefix := filepath.Join(dir, "x")
	if _, err := Open(prefix); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no finished shards at ") {
		t.Errorf("missing: %v", err)
	}
	w, err := NewWriter(prefix, Record{Vocab: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []Sample{{IDs: []int32{100}, Roles: []uint8{1}}, {IDs: []int32{-1}, Roles: []uint8{1}}, {IDs: []int32{1}}} {
		if err := w.Add(bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
	w.Abort()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("after Abort: %v", left)
	}

	writeShards(t, prefix, 2000, testSet(4, 2))
	for _, c := range []struct {
		file, want string
		damage     func([]byte) []byte
	}{
		{"text.bin", "-text.bin: 11 bytes, its index names 12", func(b []byte) []byte { return b[:len(b)-1] }},
		{"role.bin", "-role.bin: 0 bytes, its index names 12", func(b []byte) []byte { return nil }},
		{"text.idx", "cut off", func(b []byte) []byte { return b[:len(b)-3] }},
		{"text.idx", "not a Megatron index", func(b []byte) []byte { return b[:5] }},
		{"text.idx", "not a Megatron index", func(b []byte) []byte { b[0] ^= 1; return b }},
		{"text.idx", "index version 2", func(b []byte) []byte { b[9] = 2; return b }},
		{"text.idx", "element type 7", func(b []byte) []byte { b[17] = 7; return b }},
		{"text.idx", "sequence 1: 2 elements at byte 9, expected at 8", func(b []byte) []byte { b[50]++; return b }},
		{"text.idx", "sequence 0: -1 elements", func(b []byte) []byte { binary.LittleEndian.PutUint32(b[34:], 0xffffffff); return b }},
		{"text.idx", "cut off", func(b []byte) []byte { binary.LittleEndian.PutUint64(b[18:], 1<<62); return b }},
	} {
		path := prefix + "-" + c.file
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(path, c.damage(bytes.Clone(whole)), 0o644)
		if _, err := Open(prefix); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.file, err, c.want)
		}
		os.WriteFile(path, whole, 0o644)
	}
	writeShards(t, filepath.Join(dir, "y"), 2000, testSet(4, 3))
	for _, ext := range []string{".bin", ".idx"} {
		os.Rename(filepath.Join(dir, "y-role"+ext), prefix+"-role"+ext)
	}
	if _, err := Open(prefix); err == nil || !strings.Contains(err.Error(), "sample 1 has 2 ids but 3 roles") {
		t.Errorf("foreign roles: %v", err)
	}
}

func TestDocTable(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "c")
	writeShards(t, prefix, 100, []Sample{{IDs: []int32{1, 2, 3, 4}, Roles: make([]uint8, 4)}, {IDs: []int32{5, 6}, Roles: make([]uint8, 2)}})
	for _, ext := range []string{".bin", ".idx"} {
		os.Rename(prefix+"-text"+ext, prefix+ext)
	}
	s, err := Open(prefix)
	if err != nil || s.Sample(0).Docs != nil || s.Sample(0).Roles != nil {
		t.Fatalf("plain: %v", err)
	}
	table := []byte(docsMagic)
	for _, x := range []uint64{2, 2, 0, 2, 2} {
		table = binary.LittleEndian.AppendUint64(table, x)
	}
	table = binary.LittleEndian.AppendUint32(table, 1)
	table = binary.LittleEndian.AppendUint32(table, 3)
	os.WriteFile(prefix+".docs", table, 0o644)
	if s, err = Open(prefix); err != nil {
		t.Fatal(err)
	}
	if got := s.Sample(0).Docs; !slices.Equal(got, []int32{0, 1, 3}) {
		t.Errorf("documents of sample 0: %v", got)
	}
	if got := s.Sample(1).Docs; !slices.Equal(got, []int32{0}) {
		t.Errorf("documents of sample 1: %v", got)
	}
	s.Close()
	for i := range table {
		bad := bytes.Clone(table)
		bad[i] ^= 0x81
		os.WriteFile(prefix+".docs", bad, 0o644)
		if s, err := Open(prefix); err == nil {
			t.Errorf("byte %d damaged: no error", i)
			s.Close()
		}
	}
}

// FuzzOpen: damaged indices and tables are errors, never panics, and
// what opens can be read.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	w, err := NewWriter(filepath.Join(dir, "x"), Record{Vocab: 100})
	if err != nil {
		f.Fatal(err)
	}
	w.Add(Sample{IDs: []int32{1, 2, 3}, Roles: []uint8{1, 2, 2}})
	w.Add(Sample{IDs: []int32{4}, Roles: []uint8{1}})
	if err := w.Commit(); err != nil {
		f.Fatal(err)
	}
	idx, err := os.ReadFile(filepath.Join(dir, "x-text.idx"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(idx, []byte{1, 0, 2, 0, 3, 0, 4, 0}, []byte(nil))
	f.Add(idx, []byte{}, []byte(docsMagic+"\x02\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(idx[:40], []byte{1}, []byte("LEODOCS1"))
	f.Fuzz(func(t *testing.T, idx, bin, docs []byte) {
		prefix := filepath.Join(t.TempDir(), "f")
		os.WriteFile(prefix+".idx", idx, 0o644)
		os.WriteFile(prefix+".bin", bin, 0o644)
		if docs != nil {
			os.WriteFile(prefix+".docs", docs, 0o644)
		}
		s, err := Open(prefix)
		if err != nil {
			return
		}
		defer s.Close()
		for i := range s.Len() {
			if n := len(s.Sample(i).IDs); n != s.Length(i) {
				t.Fatalf("sample %d has %d ids, its length is %d", i, n, s.Length(i))
			}
		}
	})
}
