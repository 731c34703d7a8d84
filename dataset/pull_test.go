package dataset

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// datasetHub is a local hub with one dataset. The first request for a big
// file is cut off in the middle.
func datasetHub(t *testing.T, files map[string]string) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	var cut, served atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/datasets/org/name") {
			type sibling struct {
				Name string `json:"rfilename"`
			}
			var list []sibling
			for name := range files {
				list = append(list, sibling{name})
			}
			json.NewEncoder(w).Encode(map[string]any{"id": "org/name", "sha": commit, "siblings": list})
			return
		}
		rest := strings.TrimPrefix(r.URL.Path, "/datasets/org/name/resolve/")
		_, name, _ := strings.Cut(rest, "/")
		data, ok := files[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Repo-Commit", commit)
		// Large files are named by their SHA-256, small ones by git's hash.
		etag := fmt.Sprintf("%x", sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(data), data))))
		if len(data) > 1000 {
			etag = fmt.Sprintf("%x", sha256.Sum256([]byte(data)))
		}
		w.Header().Set("ETag", `"`+etag+`"`)
		if r.Method == http.MethodGet && len(data) > 1000 {
			served.Add(1)
			if cut.Add(1) == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(len(data)))
				w.Write([]byte(data[:len(data)/2]))
				panic(http.ErrAbortHandler)
			}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader([]byte(data)))
	}))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s, &served
}

func TestPull(t *testing.T) {
	big := qa(500, "A")
	s, served := datasetHub(t, map[string]string{"data/train.jsonl": big, "README.md": "x", "dataset_infos.json": "{}", "extra.csv": "a,b\n"})
	home := t.TempDir()
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HOME", home)
	t.Setenv("HF_HUB_CACHE", filepath.Join(home, "hub"))
	to := t.TempDir()
	for range 2 { // the second time from the cache
		got, err := Pull(context.Background(), []string{"org/name"}, to, PullOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || len(got[0].Files) != 2 {
			t.Fatalf("pulled %+v", got)
		}
	}
	if served.Load() != 2 {
		t.Errorf("the big file was asked for %d times, want 2: once cut off, once resumed", served.Load())
	}
	data, err := os.ReadFile(filepath.Join(to, "org", "name", "data", "train.jsonl"))
	if err != nil || string(data) != big {
		t.Errorf("%d bytes, %v", len(data), err)
	}

	// A mix finds the files by pattern.
	m := writeMix(t, "sources:\n  - {name: A, reader: qa, hub: org/name, files: [org/name/**/*.jsonl]}\n", map[string]string{})
	m.Tokenizer, m.Base = m.path(m.Tokenizer), to
	if r, _ := prepare(t, m); r.Train[0].Accepted != 500 {
		t.Errorf("%d samples", r.Train[0].Accepted)
	}
	if ids := m.HubIDs(); len(ids) != 1 || ids[0] != "org/name" {
		t.Errorf("hub ids %v", ids)
	}

	if _, err := Pull(context.Background(), []string{"../x"}, to, PullOptions{}); err == nil {
		t.Error("a name that is no repository was accepted")
	}
	s, _ = datasetHub(t, map[string]string{"README.md": "x"})
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	if _, err := Pull(context.Background(), []string{"org/name"}, to, PullOptions{}); err == nil || !strings.Contains(err.Error(), "no Parquet, JSON") {
		t.Errorf("no data: %v", err)
	}
}
