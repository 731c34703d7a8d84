package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// hostileGGUF is a model file whose strings are escape sequences and line breaks.
func hostileGGUF(t *testing.T) string {
	t.Helper()
	const bad = "\x1b[31mROT\x1b]0;x\a\u009b2J\x7f\u202e\nNote\tgefälscht"
	var b bytes.Buffer
	u64 := func(n int) { b.Write(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	str := func(s string) { u64(len(s)); b.WriteString(s) }
	b.WriteString("GGUF")
	b.Write(binary.LittleEndian.AppendUint32(nil, 3))
	u64(0)
	u64(4)
	for _, kv := range [][2]string{{"general.architecture", "llama" + bad}, {"general.name", bad}, {"tokenizer.ggml.model", "x" + bad}, {bad, bad}} {
		str(kv[0])
		b.Write(binary.LittleEndian.AppendUint32(nil, 8))
		str(kv[1])
	}
	path := filepath.Join(t.TempDir(), "esc.gguf")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// Whatever files, names and arguments contain, reports and errors are plain text.
func TestOutputIsHarmless(t *testing.T) {
	path := hostileGGUF(t)
	const name = "\x1b[31mrot\u009b"
	for _, args := range [][]string{
		{"inspect", path}, {"inspect", path, "--json"}, {"inspect", path, "--tensors"}, {"chat", "-m", path, "Hallo"},
		{"tokenizer", "encode", path, "Hallo"}, {"quantize", path, "x.gguf", "--type", "q8_0"},
		{"inspect", name}, {"chat", "--model", name, "x"}, {"chat", "--preset", name, "x"}, {"chat", "--" + name}, {name},
		{"train", name}, {"data", "stats", name}, {"chat", "--regex", "(" + name, "x"},
	} {
		out, _ := exec.Command("leo", args...).CombinedOutput()
		if len(out) == 0 {
			t.Errorf("%q says nothing", args)
		}
		if i := strings.IndexFunc(string(out), func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' || r == 0x202e }); i >= 0 {
			t.Errorf("%q writes %q", args, out)
		}
		if args[0] == "inspect" && bytes.Contains(out, []byte("\nNote\tgef")) {
			t.Errorf("%q has a line that a file made up:\n%s", args, out)
		}
	}
}
