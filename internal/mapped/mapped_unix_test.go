//go:build unix

package mapped

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"leolm/internal/pool"
)

// mapTemp maps a file of n pages that the caller may truncate.
func mapTemp(t *testing.T, n int) (f *os.File, data []byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "model.bin"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(int64(n * os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	data, err = unix.Mmap(int(f.Fd()), 0, n*os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(data) })
	return f, data
}

var sink byte

func TestGuard(t *testing.T) {
	page := os.Getpagesize()
	f, data := mapTemp(t, 64)
	defer Register(f.Name(), 1000, data)()
	if err := f.Truncate(int64(page)); err != nil {
		t.Fatal(err)
	}
	p := pool.New(3)
	defer p.Close()
	for name, touch := range map[string]func(){
		"in Go":       func() { sink = data[3*page] },
		"in assembly": func() { xxh3.Hash(data[3*page:]) },
		"on a worker": func() {
			p.Run(60, func(_, c int) {
				if c >= 3 {
					xxh3.Hash(data[c*page : (c+1)*page])
				}
			})
		},
	} {
		err := Guard(func() error { touch(); return nil })
		var fault *FaultError
		if !errors.As(err, &fault) || fault.File != f.Name() || fault.Offset < int64(1000+3*page) || fault.Offset >= int64(1000+64*page) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Guard(func() error { return errors.New("own") }); err == nil || err.Error() != "own" {
		t.Errorf("an error of the function: %v", err)
	}
	// A fault that is asked for after the file was closed still has its name.
	g, more := mapTemp(t, 2)
	err := Guard(func() error {
		defer Register(g.Name(), 0, more)()
		_ = g.Truncate(0)
		xxh3.Hash(more)
		return nil
	})
	var fault *FaultError
	if !errors.As(err, &fault) || fault.File != g.Name() {
		t.Errorf("closed meanwhile: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("another panic was swallowed")
		}
	}()
	_ = Guard(func() error { panic("other") })
}
