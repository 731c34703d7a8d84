package qmat

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// The committed assembly is what the generator writes.
func TestGeneratedIsCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	src, err := os.ReadFile("level_amd64.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	gen := filepath.Join(dir, "gen")
	build := exec.Command("go", "build", "-o", gen, ".")
	build.Dir = "_asm"
	// Only modules that are already here: tests need no network.
	build.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOARCH=", "GOOS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("the generator does not build here (needs avo in the module cache): %s", out)
	}
	lines := regexp.MustCompile(`-level (\w+) -pkg qmat -out \.\./(\w+\.s)(?: -calls \.\./(\w+\.go))?`).FindAllSubmatch(src, -1)
	if len(lines) < 4 {
		t.Fatalf("found %d go:generate lines", len(lines))
	}
	for _, m := range lines {
		args := []string{"-level", string(m[1]), "-pkg", "qmat", "-out", filepath.Join(dir, string(m[2]))}
		files := []string{string(m[2])}
		if len(m[3]) > 0 {
			args = append(args, "-calls", filepath.Join(dir, string(m[3])))
			files = append(files, string(m[3]))
		}
		if out, err := exec.Command(gen, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		for _, f := range files {
			want, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(body(got), body(want)) {
				t.Errorf("%s differs from what the generator writes: run go generate", f)
			}
		}
	}
}

// body drops the first line, which quotes the command.
func body(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] }
