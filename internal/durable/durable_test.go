package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func entries(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

func TestCommitReplacesWhole(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "a.txt")
	if err := WriteFile(p, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "newer"); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(p); string(got) != "old" {
		t.Fatalf("before Commit the file holds %q, want the old content", got)
	}
	if _, err := f.WriteAt([]byte("N"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort() // must not remove the committed file
	if got, _ := os.ReadFile(p); string(got) != "Newer" {
		t.Fatalf("after Commit: %q", got)
	}
	if es := entries(t, dir); len(es) != 1 {
		t.Fatalf("leftovers: %v", es)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Fatalf("Write after Commit: %v", err)
	}
}

func TestAbortLeavesOld(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "a")
	if err := WriteFile(p, []byte("old")); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if err := WriteTo(p, func(w io.Writer) error { w.Write([]byte("half")); return boom }); !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	if got, _ := os.ReadFile(p); string(got) != "old" {
		t.Fatalf("holds %q", got)
	}
	if es := entries(t, dir); len(es) != 1 {
		t.Fatalf("leftovers: %v", es)
	}
}

func TestMark(t *testing.T) {
	dir := t.TempDir()
	if Marked(dir, "done") {
		t.Fatal("marked before Mark")
	}
	if err := Mark(dir, "done", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if !Marked(dir, "done") {
		t.Fatal("not marked")
	}
	for range 2 { // the second time it is missing: no error
		if err := Unmark(dir, "done"); err != nil {
			t.Fatal(err)
		}
	}
	if Marked(dir, "done") {
		t.Fatal("still marked")
	}
}

// A writer that lives keeps its temporary file; a killed one loses it.
func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("DURABLE_CHILD") != "" {
		f, err := Create(filepath.Join(os.Getenv("DURABLE_CHILD"), "b"))
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("half"))
		os.Stdout.WriteString("ready\n")
		time.Sleep(time.Minute)
		return
	}
	alive, err := Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Abort()
	cmd := exec.Command(os.Args[0], "-test.run=TestRemoveStale$")
	cmd.Env = append(os.Environ(), "DURABLE_CHILD="+dir)
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, _ := out.Read(buf); !bytes.HasPrefix(buf[:n], []byte("ready")) {
		t.Fatalf("child says %q", buf[:n])
	}
	cmd.Process.Kill()
	cmd.Wait()
	if n := len(entries(t, dir)); n != 2 {
		t.Fatalf("%d files before cleaning, want 2", n)
	}
	if n, err := RemoveStale(dir, time.Hour); n != 0 || err != nil {
		t.Fatalf("young files removed: %d %v", n, err)
	}
	if n, err := RemoveStale(dir, 0); n != 1 || err != nil {
		t.Fatalf("removed %d (%v), want 1", n, err)
	}
	if _, err := alive.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := alive.Commit(); err != nil {
		t.Fatalf("the living writer lost its file: %v", err)
	}
}

func TestErrorsName(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "no", "file")
	for _, c := range []struct {
		name string
		err  error
		want []string
	}{
		{"missing folder", WriteFile(missing, nil), []string{missing}},
		{"folder as file", WriteFile(dir, nil), []string{dir, "folder"}},
		{"not enough space", Need(dir, 1<<62), []string{dir, "4611686018427387904 bytes", "free is"}},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(c.err.Error(), w) {
				t.Errorf("%s: %q lacks %q", c.name, c.err, w)
			}
		}
	}
	if err := Need(missing, 1); err != nil {
		t.Errorf("one byte: %v", err)
	}
}

func TestDevFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	g, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("/dev/full cannot be opened:", err)
	}
	f := &File{f: g, path: filepath.Join(t.TempDir(), "out")}
	_, err = f.Write(make([]byte, 4096))
	var se *SpaceError
	if !errors.As(err, &se) || se.Needed != 4096 || se.Free <= 0 {
		t.Fatalf("got %v", err)
	}
	f.f.Close()
}

// The next writer of a file takes over what a killed one left, and nothing of a living one.
func TestLeftoversAreTakenOver(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("who lives is told by locks")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "model")
	left := filepath.Join(dir, ".model.leo-tmp-00")
	if err := os.WriteFile(left, bytes.Repeat([]byte("old"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	// Two living writers of one file at a time.
	a, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.OS().Name() != left || b.OS().Name() == left {
		t.Errorf("temporary files %s and %s", a.OS().Name(), b.OS().Name())
	}
	for i, f := range []*File{b, a} {
		if _, err := fmt.Fprintf(f, "writer %d", i); err != nil {
			t.Fatal(err)
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); string(got) != "writer 1" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if es := entries(t, dir); len(es) != 1 {
		t.Errorf("left: %v", es)
	}
	// A link that somebody put there is not followed.
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, left); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(victim); string(got) != "precious" {
		t.Errorf("a link was followed: %q", got)
	}
}

// A folder that is in use is refused with the process that uses it, and free again when that gives it back.
func TestLockDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("locks are per process there")
	}
	dir := t.TempDir()
	unlock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if _, err := LockDir(dir); !errors.As(err, &busy) || busy.Process != fmt.Sprint(os.Getpid()) {
		t.Errorf("taken twice: %v", err)
	}
	unlock()
	again, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// Writers and those who clean up after killed ones do not take each other's files.
func TestWritersBesideRemoveStale(t *testing.T) {
	dir := t.TempDir()
	stop := make(chan struct{})
	var cleaners, writers sync.WaitGroup
	cleaners.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := RemoveStale(dir, 0); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for w := range 3 {
		writers.Go(func() {
			for range 100 {
				f, err := Create(filepath.Join(dir, fmt.Sprint("file", w)))
				if err != nil {
					t.Error(err)
					return
				}
				if err := f.Commit(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	cleaners.Wait()
}
