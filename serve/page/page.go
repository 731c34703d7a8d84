// Package page owns the web page of the server: its built files, embedded, and the HTTP handler that serves them. What
// the page does is written in TypeScript, in the folder web of this repository; the folder dist here is what its build
// writes, committed so that Go alone builds Leo. The API that the page talks to is not this package's.
package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// Policy is the page's Content-Security-Policy: everything comes from the server that gave the page, nothing is inline,
// no other page may frame it.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// types are the media types of the built files by the endings of their names. They are listed here because
// mime.TypeByExtension depends on the machine.
var types = map[string]string{
	".html":  "text/html; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".svg":   "image/svg+xml",
	".woff2": "font/woff2",
	".txt":   "text/plain; charset=utf-8",
}

// hash is the end of a name that the build makes of a file's content.
var hash = regexp.MustCompile(`^assets/.*-[A-Za-z0-9_-]{8}\.[a-z0-9]+$`)

// file is one built file as it is sent.
type file struct {
	data   []byte
	gzip   []byte // nil if it isn't shorter
	media  string
	etag   string
	hashed bool // its name changes with its content
}

// Handler serves the page at "/" and its files below "/assets/". A server that has it below a path strips that path first
// (http.StripPrefix): all addresses in the page are relative. Any other path is answered with 404, any method but GET
// and HEAD with 405. It panics if a built file is of an unknown type, which its tests rule out.
func Handler() http.Handler {
	files, err := load(dist)
	if err != nil {
		panic(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, files)
	})
}

// load reads the built files, by their paths in URLs.
func load(fsys fs.FS) (map[string]file, error) {
	files := map[string]file{}
	err := fs.WalkDir(fsys, "dist", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		media, known := types[path.Ext(p)]
		if !known {
			return fmt.Errorf("page: the built file %s is of an unknown type", p)
		}
		name := strings.TrimPrefix(p, "dist/")
		sum := sha256.Sum256(data)
		files["/"+name] = file{
			data:   data,
			gzip:   shorter(data, media),
			media:  media,
			etag:   hex.EncodeToString(sum[:12]),
			hashed: hash.MatchString(name),
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	index, ok := files["/index.html"]
	if !ok {
		return nil, fmt.Errorf("page: the built files have no index.html")
	}
	files["/"] = index
	return files, nil
}

// shorter compresses text; fonts are compressed already.
func shorter(data []byte, media string) []byte {
	if strings.HasPrefix(media, "font/") {
		return nil
	}
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is valid
	_, _ = w.Write(data)                                  // a bytes.Buffer takes everything
	_ = w.Close()
	if b.Len() >= len(data) {
		return nil
	}
	return b.Bytes()
}

func serve(w http.ResponseWriter, r *http.Request, files map[string]file) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", Policy)
	f, ok := files[r.URL.Path]
	if !ok {
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "this page is read with GET", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", f.media)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if f.hashed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, etag := f.data, f.etag
	if f.gzip != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body, etag = f.gzip, etag+"-gzip"
	}
	h.Set("ETag", `"`+etag+`"`)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// Without a time of modification the entity tag alone says whether a copy is current.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// acceptsGzip reads an Accept-Encoding header.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		value, given := strings.CutPrefix(strings.TrimSpace(params), "q=")
		quality, err := strconv.ParseFloat(value, 64)
		return !given || err == nil && quality > 0
	}
	return false
}
