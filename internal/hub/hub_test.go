package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeHub speaks the hub's protocol for one repository. Files in lfs answer
// with a redirect to another path, as the real one's storage does.
type fakeHub struct {
	*httptest.Server
	t      *testing.T
	prefix string // "/org/name" or "/datasets/org/name"
	api    string
	commit string
	files  map[string][]byte
	lfs    map[string]bool

	mu        sync.Mutex
	requests  []string
	intercept func(w http.ResponseWriter, r *http.Request, n int) bool // true: answered
	cdnAuth   string
}

const commitA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func gitSHA(b []byte) string {
	h := sha1.Sum(append([]byte(fmt.Sprintf("blob %d\x00", len(b))), b...))
	return hex.EncodeToString(h[:])
}

func newFakeHub(t *testing.T, kind Kind) *fakeHub {
	h := &fakeHub{t: t, prefix: "/org/name", api: "/api/" + string(kind) + "/org/name/revision/", commit: commitA, files: map[string][]byte{}, lfs: map[string]bool{}}
	if kind == Dataset {
		h.prefix = "/datasets/org/name"
	}
	h.files["config.json"] = []byte(`{"a": 1}`)
	h.files["sub/ordner/ä.txt"] = []byte("Grüße\n")
	h.files["empty"] = nil
	h.files["model.safetensors"] = bytes.Repeat([]byte("0123456789abcdef"), 60000)
	h.lfs["model.safetensors"] = true
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *fakeHub) etag(name string) string {
	b := h.files[name]
	if h.lfs[name] {
		s := sha256.Sum256(b)
		return hex.EncodeToString(s[:])
	}
	return gitSHA(b)
}

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Method+" "+r.URL.Path+" "+r.Header.Get("Range"))
	n := len(h.requests)
	stop := h.intercept
	h.mu.Unlock()
	if stop != nil && stop(w, r, n) {
		return
	}
	if rev, ok := strings.CutPrefix(r.URL.Path, h.api); ok {
		if rev != "main" && rev != h.commit {
			w.Header().Set("X-Error-Code", "RevisionNotFound")
			w.WriteHeader(404)
			return
		}
		var sib []map[string]any
		for name, b := range h.files {
			s := map[string]any{"rfilename": name, "size": len(b)}
			if h.lfs[name] {
				s["lfs"] = map[string]any{"sha256": h.etag(name), "size": len(b)}
			}
			sib = append(sib, s)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": h.commit, "siblings": sib})
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/cdn/"); ok {
		h.cdnAuth = r.Header.Get("Authorization")
		w.Header().Set("ETag", `"other"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.files[name]))
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, h.prefix+"/resolve/")
	if !ok {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.WriteHeader(401)
		return
	}
	_, name, _ := strings.Cut(rest, "/")
	b, ok := h.files[name]
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(404)
		return
	}
	w.Header().Set("X-Repo-Commit", h.commit)
	if h.lfs[name] {
		w.Header().Set("X-Linked-Etag", `"`+h.etag(name)+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(b)))
		// Another host name of the same server: the token must not follow.
		http.Redirect(w, r, strings.Replace(h.URL, "127.0.0.1", "localhost", 1)+"/cdn/"+name, http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+h.etag(name)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (h *fakeHub) log() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.requests
	h.requests = nil
	return l
}

func (h *fakeHub) client(t *testing.T) *Client {
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_CACHE", "")
	t.Setenv("HF_ENDPOINT", h.URL+"/")
	t.Setenv("HF_TOKEN", "secret")
	t.Setenv("HF_HUB_OFFLINE", "")
	c, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	c.sleep = func(ctx context.Context, d time.Duration) error { return ctx.Err() }
	return c
}

func mustFetch(t *testing.T, c *Client, repo Repo, file string, want []byte) string {
	t.Helper()
	p, err := c.Fetch(t.Context(), repo, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(p)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s holds %d bytes, want %d: %v", p, len(got), len(want), err)
	}
	return p
}

func TestFetchLayout(t *testing.T) {
	for _, kind := range []Kind{Model, Dataset} {
		h := newFakeHub(t, kind)
		c := h.client(t)
		repo := Repo{Kind: kind, ID: "org/name"}
		root := filepath.Join(os.Getenv("HF_HOME"), "hub", string(kind)+"--org--name")
		for name, content := range h.files {
			p := mustFetch(t, c, repo, name, content)
			if want := filepath.Join(root, "snapshots", commitA, filepath.FromSlash(name)); p != want {
				t.Errorf("path %s, want %s", p, want)
			}
			link, err := os.Readlink(p)
			if err != nil || filepath.IsAbs(link) || filepath.Join(filepath.Dir(p), link) != filepath.Join(root, "blobs", h.etag(name)) {
				t.Errorf("%s links to %q, %v", name, link, err)
			}
		}
		if ref, err := os.ReadFile(filepath.Join(root, "refs", "main")); err != nil || string(ref) != commitA {
			t.Errorf("refs/main is %q, %v", ref, err)
		}
		if h.cdnAuth != "" {
			t.Errorf("the token went to another host: %q", h.cdnAuth)
		}
		h.log()
		// Unchanged: one HEAD. By commit: no request at all.
		mustFetch(t, c, repo, "config.json", h.files["config.json"])
		if l := h.log(); len(l) != 1 || !strings.HasPrefix(l[0], "HEAD") {
			t.Errorf("a cached file caused %q", l)
		}
		repo.Revision = commitA
		mustFetch(t, c, repo, "config.json", h.files["config.json"])
		if l := h.log(); len(l) != 0 {
			t.Errorf("a cached commit caused %q", l)
		}
		// The branch moves.
		repo.Revision = ""
		h.commit = strings.Repeat("b", 40)
		h.files["config.json"] = []byte("new")
		mustFetch(t, c, repo, "config.json", []byte("new"))
	}
}

func TestResumeAfterBrokenConnections(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	content := h.files["model.safetensors"]
	cuts := 0
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") || cuts >= 3 {
			return false
		}
		cuts++
		first := 0
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)-first))
		if first > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(content)-1, len(content)))
			w.WriteHeader(206)
		}
		_, _ = w.Write(content[first : first+200000])
		panic(http.ErrAbortHandler) // the connection breaks
	}
	var seen []int64
	p, err := c.Fetch(t.Context(), Repo{Kind: Model, ID: "org/name"}, "model.safetensors", func(_ string, done, total int64) {
		if total != int64(len(content)) {
			t.Errorf("total %d", total)
		}
		seen = append(seen, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(p); !bytes.Equal(got, content) {
		t.Error("the resumed file differs")
	}
	var ranges []string
	for _, l := range h.log() {
		if strings.Contains(l, "/cdn/") {
			ranges = append(ranges, l[strings.LastIndex(l, " ")+1:])
		}
	}
	if len(ranges) != 4 || ranges[0] != "" || ranges[1] == "" || ranges[3] <= ranges[1] {
		t.Errorf("ranges asked for: %q", ranges)
	}
	if seen[len(seen)-1] != int64(len(content)) {
		t.Errorf("progress ends at %d", seen[len(seen)-1])
	}
}

// What an earlier run left is continued; what can't be continued starts over.
func TestResumeOfEarlierRun(t *testing.T) {
	h := newFakeHub(t, Model)
	content := h.files["model.safetensors"]
	for name, left := range map[string][]byte{
		"part": content[:300000], "whole": content, "too long": append(append([]byte{}, content...), 'x'),
	} {
		c := h.client(t)
		blobs := filepath.Join(c.CacheDir, "models--org--name", "blobs")
		if err := os.MkdirAll(blobs, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(blobs, h.etag("model.safetensors")+".incomplete"), left, 0o644); err != nil {
			t.Fatal(err)
		}
		h.log()
		mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "model.safetensors", content)
		gets := 0
		for _, l := range h.log() {
			if strings.HasPrefix(l, "GET /cdn") {
				gets++
				if name == "part" && !strings.HasSuffix(l, "bytes=300000-") {
					t.Errorf("asked %q", l)
				}
			}
		}
		if (name == "whole") != (gets == 0) {
			t.Errorf("%s: %d downloads", name, gets)
		}
	}
	// A server that knows no ranges, and one that calls them unsatisfiable.
	for _, status := range []int{200, 416} {
		c := h.client(t)
		blobs := filepath.Join(c.CacheDir, "models--org--name", "blobs")
		_ = os.MkdirAll(blobs, 0o755)
		_ = os.WriteFile(filepath.Join(blobs, h.etag("model.safetensors")+".incomplete"), content[:1000], 0o644)
		h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
			if !strings.HasPrefix(r.URL.Path, "/cdn/") || r.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(status)
			if status == 200 {
				_, _ = w.Write(content)
			}
			return true
		}
		mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "model.safetensors", content)
		h.intercept = nil
	}
}

func TestWrongChecksum(t *testing.T) {
	h := newFakeHub(t, Model)
	for _, file := range []string{"model.safetensors", "config.json"} {
		c := h.client(t)
		h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
			if r.Method == "GET" && (strings.HasPrefix(r.URL.Path, "/cdn/") || file == "config.json") {
				b := bytes.Clone(h.files[file])
				b[3] ^= 1
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
				return true
			}
			return false
		}
		_, err := c.Fetch(t.Context(), Repo{Kind: Model, ID: "org/name"}, file, nil)
		if err == nil || !strings.Contains(err.Error(), h.etag(file)) {
			t.Errorf("%s: %v", file, err)
		}
		left, _ := filepath.Glob(filepath.Join(c.CacheDir, "models--org--name", "blobs", "*"))
		if len(left) != 0 {
			t.Errorf("a damaged download was kept: %q", left)
		}
		// More than announced must not fill the disk.
		h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
			if r.Method == "GET" {
				_, _ = w.Write(append(bytes.Clone(h.files[file]), "more"...))
			}
			return r.Method == "GET"
		}
		if _, err := c.Fetch(t.Context(), Repo{Kind: Model, ID: "org/name"}, file, nil); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	for _, x := range []struct {
		repo Repo
		file string
		want string
	}{
		{Repo{Kind: Model, ID: "org/name"}, "nix.json", "has no nix.json at revision main"},
		{Repo{Kind: Model, ID: "org/other"}, "config.json", "does not exist or is private"},
		{Repo{Kind: Model, ID: "org/name"}, "../../etc/passwd", "is no file name"},
		{Repo{Kind: Model, ID: "org/name"}, "/etc/passwd", "is no file name"},
		{Repo{Kind: Model, ID: "org/../name"}, "x", "is no repository name"},
		{Repo{Kind: Model, ID: "org/name", Revision: "../x"}, "x", "is no revision"},
	} {
		_, err := c.Fetch(t.Context(), x.repo, x.file, nil)
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v %s: %v, want %q", x.repo, x.file, err, x.want)
		}
	}
	if _, err := c.List(t.Context(), Repo{Kind: Model, ID: "org/name", Revision: "nix"}); err == nil || !strings.Contains(err.Error(), "no revision nix") {
		t.Errorf("%v", err)
	}
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		w.Header().Set("X-Error-Code", "GatedRepo")
		w.WriteHeader(403)
		return true
	}
	_, err := c.Fetch(t.Context(), Repo{Kind: Model, ID: "org/name"}, "config.json", nil)
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != 403 || !strings.Contains(err.Error(), "gated") {
		t.Errorf("%v", err)
	}
}

func TestWaitsWhenAsked(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	var waits []time.Duration
	c.sleep = func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d)
		return nil
	}
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		switch n {
		case 1:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		case 2:
			w.WriteHeader(503)
		default:
			return false
		}
		return true
	}
	mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "config.json", h.files["config.json"])
	if len(waits) != 2 || waits[0] != 7*time.Second || waits[1] != 2*time.Second {
		t.Errorf("waited %v", waits)
	}
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(429)
		return true
	}
	if _, err := c.Fetch(t.Context(), Repo{Kind: Model, ID: "org/name"}, "empty", nil); err == nil || !strings.Contains(err.Error(), "1h0m0s") {
		t.Errorf("%v", err)
	}
	// A server that keeps failing ends the patience; the cache stands in.
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool { w.WriteHeader(500); return true }
	if _, err := c.Fetch(t.Context(), Repo{Kind: Model, ID: "org/name"}, "empty", nil); err == nil || !strings.Contains(err.Error(), "6 attempts") {
		t.Errorf("%v", err)
	}
	var warned string
	c.Warn = func(s string) { warned = s }
	mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "config.json", h.files["config.json"])
	if !strings.Contains(warned, "in the cache") {
		t.Errorf("warned %q", warned)
	}
}

func TestStalledTransfer(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	c.Idle = 50 * time.Millisecond
	stalled := false
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") || stalled {
			return false
		}
		stalled = true
		w.Header().Set("Content-Length", strconv.Itoa(len(h.files["model.safetensors"])))
		_, _ = w.Write(h.files["model.safetensors"][:5000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "model.safetensors", h.files["model.safetensors"])
}

func TestCancelKeepsThePart(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Fetch(ctx, Repo{Kind: Model, ID: "org/name"}, "model.safetensors", func(_ string, done, _ int64) {
		if done > 100000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	left, _ := filepath.Glob(filepath.Join(c.CacheDir, "models--org--name", "blobs", "*.incomplete"))
	if len(left) != 1 {
		t.Errorf("left %q", left)
	}
	mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "model.safetensors", h.files["model.safetensors"])
}

func TestOffline(t *testing.T) {
	h := newFakeHub(t, Dataset)
	c := h.client(t)
	repo := Repo{Kind: Dataset, ID: "org/name"}
	mustFetch(t, c, repo, "config.json", h.files["config.json"])
	c.Offline = true
	h.log()
	mustFetch(t, c, repo, "config.json", h.files["config.json"])
	if _, err := c.Fetch(t.Context(), repo, "empty", nil); err == nil || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("%v", err)
	}
	l, err := c.List(t.Context(), repo)
	if err != nil || len(l.Files) != 1 || l.Files[0].Name != "config.json" {
		t.Errorf("%+v, %v", l, err)
	}
	if l := h.log(); len(l) != 0 {
		t.Errorf("offline, but asked %q", l)
	}
}

func TestSnapshot(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	res, err := c.Snapshot(t.Context(), Repo{Kind: Model, ID: "org/name"}, []string{"*.json", "sub/*"}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Commit != commitA || len(res.Files) != 2 {
		t.Errorf("%+v", res)
	}
	if _, err := os.Stat(filepath.Join(res.Dir, "sub", "ordner", "ä.txt")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(res.Dir, "model.safetensors")); err == nil {
		t.Error("a file that was not asked for came")
	}
	if _, err := c.Snapshot(t.Context(), Repo{Kind: Model, ID: "org/name"}, []string{"*.gguf"}, nil, nil, nil); err == nil {
		t.Error("no file matches, no error")
	}
	h.files["../../evil"] = []byte("x")
	if _, err := c.List(t.Context(), Repo{Kind: Model, ID: "org/name"}); err == nil {
		t.Error("a file name that leaves the folder is taken")
	}
}

// Several fetches of one file at one time give one whole file.
func TestConcurrentFetch(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Fetch(context.Background(), Repo{Kind: Model, ID: "org/name"}, "model.safetensors", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	gets := 0
	for _, l := range h.log() {
		if strings.HasPrefix(l, "GET /cdn") {
			gets++
		}
	}
	if gets != 1 {
		t.Errorf("%d downloads", gets)
	}
}

func TestParseRepo(t *testing.T) {
	for s, want := range map[string]Repo{
		"LeoLM/leo-7b":  {Kind: Model, ID: "LeoLM/leo-7b"},
		"gpt2":          {Kind: Model, ID: "gpt2"},
		"a/b@refs/pr/1": {Kind: Model, ID: "a/b", Revision: "refs/pr/1"},
		"a/b@v1.0":      {Kind: Model, ID: "a/b", Revision: "v1.0"},
	} {
		if got, err := ParseRepo(Model, s); err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "a/b/c", "../x", "a/..", "a--b/c", "a/b@", "a/b@../x", "a/b@-x", "/a", "a b"} {
		if got, err := ParseRepo(Model, s); err == nil {
			t.Errorf("%q is taken: %+v", s, got)
		}
	}
}
