package dataset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"leolm/dataset/shard"
	"leolm/internal/durable"
)

// TestFullDisk prepares into a file system that is too small at every size
// from nothing to nearly enough: a clear error, and nothing that looks done.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	m := writeMix(t, "jsonl: true\n"+oneSource, map[string]string{"a.jsonl": qa(3000, "A")})
	full, done := 0, false
	for _, size := range []string{"8k", "200k", "400k", "600k", "800k", "1000k", "1200k", "8m"} {
		if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
		_, err := Prepare(context.Background(), m, disk, PrepareOptions{})
		if err == nil {
			done = true
			continue
		}
		full++
		var space *durable.SpaceError
		if !errors.Is(err, syscall.ENOSPC) && !errors.As(err, &space) {
			t.Errorf("%s: %v is not an error about space", size, err)
		}
		if _, err := shard.Open(filepath.Join(disk, "x-train")); err == nil {
			t.Errorf("%s: shards after a failure", size)
		}
		entries, _ := os.ReadDir(disk)
		for _, e := range entries {
			if strings.Contains(e.Name(), "leo-") {
				t.Errorf("%s: %s left behind", size, e.Name())
			}
			os.Remove(filepath.Join(disk, e.Name()))
		}
	}
	if full < 3 || !done {
		t.Errorf("%d sizes were too small, enough space: %v", full, done)
	}
}
