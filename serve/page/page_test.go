package page

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// get asks the page for a path; the header's fields come in pairs.
func get(t *testing.T, h http.Handler, method, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPageAndFilesAreServed(t *testing.T) {
	h := Handler()
	index := get(t, h, "GET", "/")
	text := body(t, index)
	if index.StatusCode != 200 || index.Header.Get("Cache-Control") != "no-cache" ||
		index.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(text, `<div id="app">`) {
		t.Fatalf("index: %d, %v\n%s", index.StatusCode, index.Header, text)
	}
	for _, want := range []struct{ name, value string }{
		{"Content-Security-Policy", Policy}, {"X-Content-Type-Options", "nosniff"}, {"Referrer-Policy", "no-referrer"},
	} {
		if got := index.Header.Get(want.name); got != want.value {
			t.Errorf("%s: %q, want %q", want.name, got, want.value)
		}
	}
	// Everything that the page names is there, under its relative address, below assets, and may be kept if its name has a hash.
	named := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(text, -1)
	if len(named) < 4 {
		t.Fatalf("the page names only %v", named)
	}
	for _, m := range named {
		rest, relative := strings.CutPrefix(m[1], "./")
		if !relative {
			t.Errorf("%s is not relative", m[1])
			continue
		}
		got := get(t, h, "GET", "/"+rest)
		if got.StatusCode != 200 {
			t.Errorf("%s: %d", m[1], got.StatusCode)
		}
		keep := strings.Contains(got.Header.Get("Cache-Control"), "immutable")
		if !strings.HasPrefix(rest, "assets/") || keep == (rest == "assets/boot.js") {
			t.Errorf("%s: Cache-Control is %q", m[1], got.Header.Get("Cache-Control"))
		}
	}
}

// The policy allows nothing inline, so a page that has it would not work.
func TestPageHasNothingInline(t *testing.T) {
	text := body(t, get(t, Handler(), "GET", "/"))
	for _, inline := range []string{`<style`, ` style=`, ` onload=`, ` onclick=`} {
		if strings.Contains(text, inline) {
			t.Errorf("the page has %q", inline)
		}
	}
	if regexp.MustCompile(`<script[^>]*>[^<]`).MatchString(text) {
		t.Error("the page has a script inside")
	}
}

func TestCopiesAreRevalidated(t *testing.T) {
	h := Handler()
	plain := get(t, h, "GET", "/")
	packed := get(t, h, "GET", "/assets/boot.js", "Accept-Encoding", "br, gzip;q=0.8")
	if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("not compressed: %v", packed.Header)
	}
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(z)
	if err != nil || string(unpacked) != body(t, get(t, h, "GET", "/assets/boot.js")) {
		t.Errorf("compressed and plain differ, %v", err)
	}
	again := get(t, h, "GET", "/", "If-None-Match", plain.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || body(t, again) != "" {
		t.Errorf("a current copy is answered with %d", again.StatusCode)
	}
	if other := get(t, h, "GET", "/", "If-None-Match", packed.Header.Get("ETag")); other.StatusCode != 200 {
		t.Errorf("a copy of another file is answered with %d", other.StatusCode)
	}
}

func TestEncodings(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "br, gzip": true, "GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false,
		"gzip;q=x": false, "identity": false, "xgzip": false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}

func TestWhatIsNotServed(t *testing.T) {
	h := Handler()
	for _, path := range []string{"/nothing", "/dist/index.html", "/assets/", "/../page.go", "/v1/models"} {
		got := get(t, h, "GET", path)
		if got.StatusCode != http.StatusNotFound || got.Header.Get("Content-Security-Policy") != Policy {
			t.Errorf("%s: %d, %v", path, got.StatusCode, got.Header)
		}
	}
	if got := get(t, h, "POST", "/"); got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, %v", got.StatusCode, got.Header)
	}
	if got := get(t, h, "HEAD", "/"); got.StatusCode != 200 || body(t, got) != "" || got.ContentLength <= 0 {
		t.Errorf("HEAD: %d, %d bytes announced", got.StatusCode, got.ContentLength)
	}
}

func TestBuiltFilesMustBeKnown(t *testing.T) {
	index := &fstest.MapFile{Data: []byte("page")}
	for name, fsys := range map[string]fstest.MapFS{
		"no index":     {"dist/assets/boot.js": index},
		"unknown type": {"dist/index.html": index, "dist/a.wasm": index},
		"nothing":      {},
	} {
		if _, err := load(fsys); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
