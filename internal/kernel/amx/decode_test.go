package amx

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// encodings are bytes and what GNU objdump 2.40 makes of them in Intel's syntax.
var encodings = []struct{ bytes, text string }{
	{"c4 e2 78 49 07", "ldtilecfg [rdi]"},
	{"c4 c2 78 49 04 24", "ldtilecfg [r12]"},
	{"c4 e2 78 49 c0", "tilerelease"},
	{"c4 e2 7b 49 e0", "tilezero tmm4"},
	{"c4 a2 7b 4b 04 09", "tileloadd tmm0,[rcx+r9*1]"},
	{"c4 82 7b 4b 74 1a 40", "tileloadd tmm6,[r10+r11*1+0x40]"},
	{"c4 e2 79 4b bc 30 00 10 00 00", "tileloaddt1 tmm7,[rax+rsi*1+0x1000]"},
	{"c4 a2 7a 4b 04 09", "tilestored [rcx+r9*1],tmm0"},
	{"c4 82 7a 4b 5c 05 c0", "tilestored [r13+r8*1-0x40],tmm3"},
	{"c4 e2 4b 5e c4", "tdpbssd tmm0,tmm4,tmm6"},
	{"c4 e2 42 5e cc", "tdpbsud tmm1,tmm4,tmm7"},
	{"c4 e2 41 5e d5", "tdpbusd tmm2,tmm5,tmm7"},
	{"c4 e2 48 5e dd", "tdpbuud tmm3,tmm5,tmm6"},
	{"c4 e2 42 5c dd", "tdpbf16ps tmm3,tmm5,tmm7"},
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	var b []byte
	for f := range strings.FieldsSeq(s) {
		var x byte
		if _, err := fmt.Sscanf(f, "%x", &x); err != nil {
			t.Fatal(err)
		}
		b = append(b, x)
	}
	return b
}

func TestDecode(t *testing.T) {
	for _, e := range encodings {
		b := unhex(t, e.bytes)
		got, n, err := Decode(b)
		if err != nil || n != len(b) || got.String() != e.text {
			t.Errorf("%s: %v, %d bytes, %v, want %s", e.bytes, got, n, err, e.text)
		}
		for i := range b {
			if _, _, err := Decode(b[:i]); err == nil {
				t.Errorf("%s: %d bytes are enough", e.bytes, i)
			}
		}
	}
	for _, bad := range []string{
		"62 92 06 40 52 c6",       // VDPBF16PS
		"c4 e2 78 49 c8",          // TILERELEASE of a tile
		"c4 62 7b 49 e0",          // tile 12
		"c4 e2 0b 5e c4",          // a factor beyond tile 7
		"c4 a2 7b 4b 44 49 01",    // a scaled index
		"c4 e2 7b 4b 01",          // a tile load without an index
		"c4 e2 7b 4b 04 0d 00 00", // memory without a base
	} {
		if got, _, err := Decode(unhex(t, bad)); err == nil {
			t.Errorf("%s is %v", bad, got)
		}
	}
}

// kernelFiles are the committed files with tile instructions.
func kernelFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../*/*_amd64.s")
	must(t, err)
	var with []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		must(t, err)
		if bytes.Contains(text, []byte("LDTILECFG")) {
			with = append(with, f)
		}
	}
	if len(with) == 0 {
		t.Fatal("no file of kernels holds tile instructions")
	}
	return with
}

// TestDisassembler shows the tile instructions of all kernels, and the table above, to objdump.
func TestDisassembler(t *testing.T) {
	tool, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("needs objdump, of GNU binutils")
	}
	var code []byte
	var want []string
	seen := map[string]bool{}
	add := func(b []byte, text string) {
		if !seen[string(b)] {
			seen[string(b)] = true
			code, want = append(code, b...), append(want, text)
		}
	}
	for _, e := range encodings {
		add(unhex(t, e.bytes), e.text)
	}
	for _, f := range kernelFiles(t) {
		p, err := ParseFile(f)
		must(t, err)
		for _, fn := range p.functions {
			for _, in := range fn.code {
				if in.bytes != nil {
					add(in.bytes, in.tile.String())
				}
			}
		}
	}
	file := filepath.Join(t.TempDir(), "code")
	must(t, os.WriteFile(file, code, 0o666))
	out, err := exec.Command(tool, "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--insn-width=16", file).CombinedOutput()
	if err != nil {
		t.Skipf("objdump cannot: %v: %s", err, out)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^ *[0-9a-f]+:\t[0-9a-f ]+\t(\w+) *(.*)$`).FindAllStringSubmatch(string(out), -1) {
		// A base of R13 or RBP has a displacement always.
		got = append(got, strings.TrimSpace(m[1]+" "+strings.Replace(strings.TrimSpace(m[2]), "+0x0]", "]", 1)))
	}
	if !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("objdump reads %q, the model %q", got[i], want[i])
			}
		}
		t.Errorf("%d instructions, want %d", len(got), len(want))
	}
}

// comment is how the generator of a kernel describes a tile instruction, in the order of Go's assembler.
var comment = regexp.MustCompile(`^// (LDTILECFG|TILE|TDP)`)

// TestComments: the comment in front of the bytes says what they are.
func TestComments(t *testing.T) {
	for _, f := range kernelFiles(t) {
		text, err := os.ReadFile(f)
		must(t, err)
		p, err := Parse(string(text))
		must(t, err)
		at := map[int]Tile{}
		for _, fn := range p.functions {
			for _, in := range fn.code {
				if in.bytes != nil {
					at[in.line] = in.tile
				}
			}
		}
		n := 0
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			line = strings.TrimSpace(line)
			if !comment.MatchString(line) {
				continue
			}
			tile, ok := at[i+2]
			if want := "// " + goText(tile); !ok || line != want {
				t.Errorf("%s:%d: %q stands before %q", f, i+1, line, want)
			}
			n++
		}
		if n != len(at) {
			t.Errorf("%s: %d comments for %d instructions", f, n, len(at))
		}
	}
}

// goText is a tile instruction in the order of Go's assembler.
func goText(t Tile) string {
	names := map[int]string{}
	for name, n := range generalNumbers {
		names[n] = name
	}
	op := strings.ToUpper(t.Op.String())
	mem := fmt.Sprintf("%d(%s)(%s*1)", t.Disp, names[t.Base], names[max(t.Index, 0)])
	switch t.Op {
	case TILERELEASE:
		return op
	case LDTILECFG:
		return fmt.Sprintf("%s (%s)", op, names[t.Base])
	case TILEZERO:
		return fmt.Sprintf("%s TMM%d", op, t.C)
	case TILELOADD, TILELOADDT1:
		return fmt.Sprintf("%s %s, TMM%d", op, mem, t.C)
	case TILESTORED:
		return fmt.Sprintf("%s TMM%d, %s", op, t.C, mem)
	}
	return fmt.Sprintf("%s TMM%d, TMM%d, TMM%d", op, t.B, t.A, t.C)
}
