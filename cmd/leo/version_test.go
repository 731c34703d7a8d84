package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A build without a stamp asks the source folder.
func TestVersionFromSourceFolder(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-05-04T12:00:00+02:00")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	file := filepath.Join(dir, "a.go")
	if err := os.WriteFile(file, []byte("package a\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	v := &versionInfo{Version: "(devel)", Commit: unknownCommit}
	v.fromFolder(dir)
	if v.Source != "" || v.short() != "leo (devel)" {
		t.Errorf("without a repository: %+v", v)
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	head := git("rev-parse", "HEAD")
	v.fromFolder(dir)
	if v.Commit != head || v.Date != "2026-05-04T10:00:00Z" || v.Source != fromSources || v.Dirtiness {
		t.Errorf("%+v, want commit %s", v, head)
	}
	if got, want := v.short(), "leo (devel) "+head[:12]+" (2026-05-04)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := os.WriteFile(file, []byte("package b\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if v.fromFolder(dir); !v.Dirtiness || !strings.Contains(v.commitText(), "(modified), by the source folder") {
		t.Errorf("%+v: %s", v, v.commitText())
	}
	stamped := versionInfo{Version: "v0.0.0-20260504100000-" + head[:12], Commit: head, Date: "2026-05-04T10:00:00Z", Source: fromBuild}
	if got, want := stamped.short(), "leo v0.0.0-20260504100000-"+head[:12]+" (2026-05-04)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"caht", "chat", 1}, {"kitten", "sitting", 3}, {"über", "uber", 1}, {"ca", "abc", 3}, {"plna", "plan", 1}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := edits(c.b, c.a); got != c.want {
			t.Errorf("%s, %s: %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
