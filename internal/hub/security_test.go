package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The token is the hub's alone: not another host's, not another port's, and it
// never goes over a line that everybody can read.
func TestTokenStaysWithTheHub(t *testing.T) {
	var leaked []string
	listen := func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "" {
			leaked = append(leaked, r.Host+" got "+a)
		}
		w.Header().Set("X-Repo-Commit", commitA)
		w.Header().Set("ETag", `"`+gitSHA([]byte("x"))+`"`)
		_, _ = fmt.Fprint(w, "x")
	}
	plainHTTP := httptest.NewServer(http.HandlerFunc(listen))
	defer plainHTTP.Close()
	otherTLS := httptest.NewTLSServer(http.HandlerFunc(listen))
	defer otherTLS.Close()
	var to string
	hub := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("the hub got the token %q", r.Header.Get("Authorization"))
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	}))
	defer hub.Close()
	c := (&fakeHub{Server: hub}).client(t)
	c.HTTP = hub.Client()
	c.HTTP.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true}

	repo := Repo{Kind: Model, ID: "org/name"}
	samePort, err := url.Parse(hub.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, to = range []string{plainHTTP.URL + "/x?sig=private", "http://" + samePort.Host + "/x"} {
		for what, ask := range map[string]func() error{
			"file": func() error { _, err := c.Fetch(t.Context(), repo, "a", nil); return err },
			"list": func() error { _, err := c.List(t.Context(), repo); return err },
		} {
			err := ask()
			var downgrade *DowngradeError
			if !errors.As(err, &downgrade) || strings.Contains(err.Error(), "private") {
				t.Errorf("%s: from https to %s: %v", what, to, err)
			}
		}
	}
	to = otherTLS.URL + "/x"
	if _, err := c.Fetch(t.Context(), repo, "a", nil); err != nil {
		t.Errorf("to another host by https: %v", err)
	}
	if len(leaked) != 0 {
		t.Errorf("the token went elsewhere: %q", leaked)
	}
}

// A mirror may send the list and the description of a file on to another host.
func TestRedirectToAnotherHub(t *testing.T) {
	h := newFakeHub(t, Model)
	auth := ""
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		auth += r.Header.Get("Authorization")
		return false
	}
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(h.URL, "127.0.0.1", "localhost", 1)+r.URL.RequestURI(), http.StatusFound)
	}))
	defer mirror.Close()
	c := (&fakeHub{Server: mirror}).client(t)
	res, err := c.Snapshot(t.Context(), Repo{Kind: Model, ID: "org/name"}, nil, nil, nil, nil)
	if err != nil || len(res.Files) != len(h.files) {
		t.Errorf("%+v, %v", res, err)
	}
	if auth != "" {
		t.Errorf("the token went to the other host: %q", auth)
	}
}

func TestBounds(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	c.MaxUnsized = 1 << 20
	repo := Repo{Kind: Model, ID: "org/name"}
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.Method == http.MethodHead {
			w.Header().Set("X-Repo-Commit", commitA)
			w.Header().Set("ETag", `"abc"`)
			w.(http.Flusher).Flush() // no length
			return true
		}
		part := strings.Repeat(" ", 1<<16)
		for range 2000 { // 125 MiB, were they all taken
			if _, err := fmt.Fprint(w, part); err != nil {
				break
			}
		}
		return true
	}
	if _, err := c.Fetch(t.Context(), repo, "config.json", nil); err == nil || !strings.Contains(err.Error(), "more than the 1048576 bytes") {
		t.Errorf("a file without end: %v", err)
	}
	if _, err := c.List(t.Context(), repo); err == nil || !strings.Contains(err.Error(), "more than the 64 MiB") {
		t.Errorf("a list without end: %v", err)
	}
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		_, _ = fmt.Fprint(w, "{")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	c.Idle = 50 * time.Millisecond
	if _, err := c.List(t.Context(), repo); err == nil || !strings.Contains(err.Error(), "no byte for") {
		t.Errorf("a list that stops: %v", err)
	}
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		w.Header().Set("X-Error-Message", "red \x1b[31mtext")
		w.WriteHeader(403)
		return true
	}
	if _, err := c.List(t.Context(), repo); err == nil || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("escape sequences of the hub: %q", err)
	}
}

func TestRateLimit(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		want   time.Duration
		ok     bool
	}{
		{http.Header{}, 0, false},
		{http.Header{"Ratelimit": {`"api";r=0;t=55`}}, 56 * time.Second, true},
		{http.Header{"Ratelimit": {`"api"; r = 0 ; t = 55`}, "Ratelimit-Policy": {`"fixed window";"api";q=500;w=300`}}, 56 * time.Second, true},
		{http.Header{"Ratelimit": {`"resolvers";r=12;t=200, "api";r=0;t=5`}}, 6 * time.Second, true},
		{http.Header{"Ratelimit": {`"api";r=3;t=55`}}, 0, false},
		{http.Header{"Ratelimit": {"limit=100, remaining=0, reset=9"}}, 10 * time.Second, true},
		{http.Header{"Ratelimit": {"nonsense"}, "Retry-After": {"4"}}, 4 * time.Second, true},
		{http.Header{"Ratelimit": {`"api";r=0;t=55`}, "Retry-After": {"60"}}, time.Minute, true},
		{http.Header{"Ratelimit": {`"api";r=0;t=99999999999`}, "Retry-After": {"-1"}}, 0, false},
	} {
		if got, ok := retryAfter(c.header); got != c.want || ok != c.ok {
			t.Errorf("%v: %v, %v; want %v, %v", c.header, got, ok, c.want, c.ok)
		}
	}
	h := newFakeHub(t, Model)
	c := h.client(t)
	var waits []time.Duration
	c.sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
	var warned string
	c.Warn = func(s string) { warned = s }
	h.intercept = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n == 1 {
			w.Header().Set("RateLimit", `"api";r=0;t=300`) // the whole of Hugging Face's window
			w.WriteHeader(429)
		}
		return n == 1
	}
	mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "config.json", h.files["config.json"])
	if len(waits) != 1 || waits[0] != 301*time.Second || !strings.Contains(warned, "5m1s") {
		t.Errorf("waited %v, said %q", waits, warned)
	}
}

// What will fail again is not tried six times.
func TestLastingFailures(t *testing.T) {
	h := newFakeHub(t, Model)
	tries := 0
	for name, x := range map[string]struct {
		err   error
		tries int
	}{
		"no such host":      {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "nix", IsNotFound: true}}, 1},
		"no network":        {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, 1},
		"wrong certificate": {&tls.CertificateVerificationError{Err: errors.New("expired")}, 1},
		"name server busy":  {&net.OpError{Op: "dial", Err: &net.DNSError{Err: "server misbehaving", Name: "nix", IsTemporary: true}}, 6},
		"broken connection": {errors.New("connection reset by peer"), 6},
	} {
		c := h.client(t)
		c.HTTP = &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) { tries++; return nil, x.err })}
		tries = 0
		if _, err := c.List(t.Context(), Repo{Kind: Model, ID: "org/name"}); err == nil || tries != x.tries {
			t.Errorf("%s: %d attempts, %v", name, tries, err)
		}
	}
	// A scheme that doesn't exist.
	c := h.client(t)
	c.Endpoint = "htps://example.invalid"
	slept := 0
	c.sleep = func(context.Context, time.Duration) error { slept++; return nil }
	if _, err := c.List(t.Context(), Repo{Kind: Model, ID: "org/name"}); err == nil || slept != 0 {
		t.Errorf("htps: slept %d times, %v", slept, err)
	}
	// A file in the cache still stands in.
	c = h.client(t)
	mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "config.json", h.files["config.json"])
	c.HTTP = &http.Client{Transport: transport(func(*http.Request) (*http.Response, error) {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	})}
	mustFetch(t, c, Repo{Kind: Model, ID: "org/name"}, "config.json", h.files["config.json"])
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSweep(t *testing.T) {
	h := newFakeHub(t, Model)
	c := h.client(t)
	repo := Repo{Kind: Model, ID: "org/name"}
	blobs := filepath.Join(c.CacheDir, repo.folder(), "blobs")
	snapshot := filepath.Join(c.CacheDir, repo.folder(), "snapshots", commitA)
	locks := filepath.Join(c.CacheDir, ".locks", repo.folder())
	for _, d := range []string{blobs, snapshot, locks} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	for p, at := range map[string]time.Time{
		filepath.Join(blobs, "aa.incomplete"):       old,
		filepath.Join(blobs, "bb.incomplete"):       time.Now(),
		filepath.Join(blobs, "cc.incomplete"):       old,
		filepath.Join(snapshot, "config.link-4711"): old,
	} {
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := c.lock(t.Context(), filepath.Join(locks, "cc.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := c.Snapshot(t.Context(), repo, []string{"empty"}, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"bb.incomplete": true, "cc.incomplete": true}
	left, _ := filepath.Glob(filepath.Join(blobs, "*.incomplete"))
	for _, p := range left {
		if !want[filepath.Base(p)] {
			t.Errorf("%s is still there", p)
		}
		delete(want, filepath.Base(p))
	}
	if len(want) != 0 {
		t.Errorf("a young or a living download is gone: %v", want)
	}
	if _, err := os.Lstat(filepath.Join(snapshot, "config.link-4711")); err == nil {
		t.Error("an old link is still there")
	}
}
