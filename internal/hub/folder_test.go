package hub

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leolm/internal/bounded/boundtest"
)

func TestSnapshotTo(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	repo := Repo{Kind: Model, ID: "org/name"}
	dir := filepath.Join(t.TempDir(), "models", "x")
	pull := func(ctx context.Context, progress Progress) (int, error) {
		t.Helper()
		h.log()
		res, err := c.SnapshotTo(ctx, repo, dir, nil, nil, nil, progress)
		if err == nil && (res.Dir != dir || len(res.Files) != len(h.files)) {
			t.Errorf("%+v", res)
		}
		gets := 0
		for _, l := range h.log() {
			if strings.HasPrefix(l, "GET") && strings.Contains(l, "/resolve/") {
				gets++
			}
		}
		return gets, err
	}
	whole := func(when string) {
		t.Helper()
		for name, want := range h.files {
			p := filepath.Join(dir, filepath.FromSlash(name))
			got, err := os.ReadFile(p)
			info, lerr := os.Lstat(p)
			if err != nil || lerr != nil || !info.Mode().IsRegular() || !bytes.Equal(got, want) {
				t.Errorf("%s: %s holds %d bytes, want %d in a plain file: %v %v", when, name, len(got), len(want), err, lerr)
			}
		}
		left := 0
		_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, _ error) error {
			if strings.HasSuffix(p, ".incomplete") {
				left++
			}
			return nil
		})
		if left != 0 {
			t.Errorf("%s: %d broken downloads are left", when, left)
		}
	}

	// Stopped in the middle, the next run goes on there.
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := pull(ctx, func(_ string, done, _ int64) {
		if done > 100000 {
			cancel()
		}
	}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	ranged := false
	h.intercept = func(_ http.ResponseWriter, r *http.Request, n int) bool {
		ranged = ranged || r.Header.Get("Range") != ""
		return false
	}
	if _, err := pull(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h.intercept = nil
	if !ranged {
		t.Error("the broken download started over")
	}
	whole("resumed")
	if n, err := pull(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("all is there: %d downloads, %v", n, err)
	}
	// Without our notes the checksum tells.
	if err := os.RemoveAll(filepath.Join(dir, ".cache")); err != nil {
		t.Fatal(err)
	}
	if n, err := pull(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("all is there, without notes: %d downloads, %v", n, err)
	}
	// A damaged file of the right size is brought anew.
	p := filepath.Join(dir, "model.safetensors")
	b, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	b[77] ^= 1
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(p, later, later); err != nil {
		t.Fatal(err)
	}
	if n, err := pull(t.Context(), nil); n != 1 || err != nil {
		t.Errorf("a damaged file: %d downloads, %v", n, err)
	}
	whole("mended")
	// The branch moves: only what changed comes.
	h.commit = strings.Repeat("b", 40)
	h.files["config.json"] = []byte(`{"a": 2}`)
	if n, err := pull(t.Context(), nil); n != 1 || err != nil {
		t.Errorf("a new commit: %d downloads, %v", n, err)
	}
	whole("new commit")
	// What the cache has is copied, without a connection too.
	if _, err := c.Snapshot(t.Context(), repo, nil, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.Offline = true
	if n, err := pull(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("from the cache: %d downloads, %v", n, err)
	}
	whole("from the cache")
	// A name in the repository must not touch our notes.
	c.Offline = false
	h.files[".cache/huggingface/download/config.json.metadata"] = []byte("x")
	res, err := c.SnapshotTo(t.Context(), repo, dir, nil, nil, nil, nil)
	if err != nil || len(res.Files) != len(h.files)-1 {
		t.Errorf("%+v, %v", res, err)
	}
}

func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"sha":"` + commitA + `","siblings":[{"rfilename":"a/b","size":3,"lfs":{"sha256":"x"}},{"rfilename":"c","size":null}]}`))
	f.Add([]byte(`{"sha":"` + commitA + `","siblings":[{"rfilename":"../a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var l Listing
		var err error
		boundtest.Run(t, 1<<20+100*uint64(len(data)), 10*time.Second, func() { l, err = parseListing(data) })
		if err != nil {
			return
		}
		for _, file := range l.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Name)) || file.Size < -1 || strings.ContainsAny(file.Name, "\x1b\x00\\") {
				t.Errorf("%+v is taken", file)
			}
		}
	})
}
