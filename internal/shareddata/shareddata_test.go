package shareddata

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv(Variable, dir)
	if got, want := Path(t, "data"), filepath.Join(dir, "data"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	t.Run("missing", func(t *testing.T) {
		defer func() {
			if !t.Skipped() {
				t.Error("a test goes on without its data")
			}
		}()
		Path(t, "nowhere")
	})
	t.Setenv(Variable, "")
	if got, want := filepath.Base(Folder(t)), "shared"; got != want {
		t.Errorf("the folder is called %s, want %s", got, want)
	}
}
