package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"leolm/internal/durable"
)

// File is one file of a repository. SHA256 is "" for files outside large-file
// storage, Size -1 if the hub doesn't say.
type File struct {
	Name   string
	Size   int64
	SHA256 string
}

// Listing is a repository at a commit.
type Listing struct {
	Commit string
	Files  []File // by name
}

// metadata is what HEAD says of a file.
type metadata struct {
	commit string
	etag   string // SHA-256 or Git's SHA-1, also the blob's name
	size   int64
	url    string // where the content is
}

// unreachableError is a failure of the connection or the server, as opposed to
// an answer that refuses.
type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// An Error is an answer of the hub that refuses.
type Error struct {
	Status int
	Code   string // X-Error-Code, such as "EntryNotFound"
	Msg    string
}

func (e *Error) Error() string { return e.Msg }

// refusal turns a status of 400 and more into an error that says what to do.
func (c *Client) refusal(r *http.Response, repo Repo, what string) error {
	code := r.Header.Get("X-Error-Code")
	msg := r.Header.Get("X-Error-Message")
	e := &Error{Status: r.StatusCode, Code: code}
	token := "no token is set: put one in HF_TOKEN"
	if c.Token != "" {
		token = "the token in use was not accepted for it"
	}
	switch {
	case code == "EntryNotFound":
		e.Msg = fmt.Sprintf("%s has no %s at revision %s", repo.ID, what, repo.revision())
	case code == "RevisionNotFound":
		e.Msg = fmt.Sprintf("%s has no revision %s", repo.ID, repo.revision())
	case code == "GatedRepo":
		e.Msg = fmt.Sprintf("%s is gated: accept its conditions at %s/%s, and %s", repo.ID, c.Endpoint, repo.ID, token)
	case code == "RepoNotFound" || r.StatusCode == http.StatusUnauthorized:
		e.Msg = fmt.Sprintf("%s does not exist or is private (%s); %s", repo.ID, r.Status, token)
	default:
		e.Msg = fmt.Sprintf("%s: %s answers %s to the request for %s", repo.ID, c.Endpoint, r.Status, what)
	}
	if msg != "" {
		e.Msg += ": " + strings.TrimSpace(msg[:min(len(msg), 300)])
	}
	return e
}

// do sends a request, repeating it while the server or the connection fails.
// Redirects are followed only as far as follow says. The caller closes the body.
func (c *Client) do(ctx context.Context, method, address string, header http.Header, follow func(from, to *url.URL) bool) (*http.Response, error) {
	client := *c.HTTP
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return fmt.Errorf("%d redirects", len(via))
		}
		if !follow(via[len(via)-1].URL, req.URL) {
			return http.ErrUseLastResponse
		}
		if req.URL.Host != via[0].URL.Host {
			// The token is the hub's alone.
			req.Header.Del("Authorization")
		}
		return nil
	}
	for attempt := 1; ; attempt++ {
		req, err := http.NewRequestWithContext(ctx, method, address, nil)
		if err != nil {
			return nil, err
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", "leo (https://huggingface.co/LeoLM)")
		req.Header.Set("Accept-Encoding", "identity")
		if c.Token != "" && strings.HasPrefix(address, c.Endpoint+"/") {
			req.Header.Set("Authorization", "Bearer "+c.Token)
		}
		resp, err := client.Do(req)
		wait := backoff(attempt)
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			err = &unreachableError{err}
		case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
			asked, ok := retryAfter(resp.Header.Get("Retry-After"))
			_ = resp.Body.Close()
			if ok {
				wait = asked
			}
			err = &unreachableError{fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)}
			if wait > c.MaxWait {
				return nil, fmt.Errorf("%w and asks to wait %v; try again later", err, wait)
			}
		default:
			return resp, nil
		}
		if attempt >= c.Attempts {
			return nil, fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		if err := c.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func backoff(attempt int) time.Duration {
	return min(time.Second<<min(attempt-1, 10), 30*time.Second)
}

// retryAfter reads seconds or a date.
func retryAfter(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < 1<<30 {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), 0), true
	}
	return 0, false
}

func (c *Client) resolveURL(repo Repo, file string) string {
	prefix := ""
	if repo.Kind == Dataset {
		prefix = "datasets/"
	}
	parts := strings.Split(file, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return fmt.Sprintf("%s/%s%s/resolve/%s/%s", c.Endpoint, prefix, repo.ID, url.PathEscape(repo.revision()), strings.Join(parts, "/"))
}

func sameHost(from, to *url.URL) bool { return from.Host == to.Host }

// head asks for a file's commit, checksum and size. The hub answers for files
// in large-file storage with a redirect elsewhere that carries them.
func (c *Client) head(ctx context.Context, repo Repo, file string) (metadata, error) {
	address := c.resolveURL(repo, file)
	resp, err := c.do(ctx, http.MethodHead, address, nil, sameHost)
	if err != nil {
		return metadata{}, fmt.Errorf("%s: %s: %w", repo, file, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		return metadata{}, c.refusal(resp, repo, file)
	}
	h := resp.Header
	m := metadata{commit: h.Get("X-Repo-Commit"), size: -1, url: address}
	if m.etag = h.Get("X-Linked-Etag"); m.etag == "" {
		m.etag = h.Get("ETag")
	}
	m.etag = strings.Trim(strings.TrimPrefix(m.etag, "W/"), `"`)
	size := h.Get("X-Linked-Size")
	if size == "" && resp.StatusCode < 300 {
		size = h.Get("Content-Length")
	}
	if n, err := strconv.ParseInt(size, 10, 64); err == nil && n >= 0 {
		m.size = n
	}
	if !commitPattern.MatchString(m.commit) {
		return m, fmt.Errorf("%s: %s: %s gives no commit (X-Repo-Commit is %q): is it a Hugging Face hub?", repo, file, c.Endpoint, m.commit)
	}
	if !etagPattern.MatchString(m.etag) || strings.Trim(m.etag, ".") == "" {
		return m, fmt.Errorf("%s: %s: the hub gives the unusable checksum %q", repo, file, m.etag)
	}
	return m, nil
}

// place brings the file's content into blobs and links it.
func (c *Client) place(ctx context.Context, repo Repo, file string, m metadata, progress Progress) (string, error) {
	root := filepath.Join(c.CacheDir, repo.folder())
	blob := filepath.Join(root, "blobs", m.etag)
	entry := filepath.Join(root, "snapshots", m.commit, filepath.FromSlash(file))
	locks := filepath.Join(c.CacheDir, ".locks", repo.folder())
	for _, dir := range []string{filepath.Dir(blob), locks} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	if !exists(blob) {
		unlock, err := c.lock(ctx, filepath.Join(locks, m.etag+".lock"))
		if err != nil {
			return "", err
		}
		defer unlock()
	}
	if !exists(blob) { // another program may have finished it meanwhile
		if err := c.download(ctx, repo, file, m, blob, progress); err != nil {
			return "", err
		}
	} else if progress != nil && m.size >= 0 {
		progress(file, m.size, m.size)
	}
	if err := link(blob, entry); err != nil {
		return "", err
	}
	if repo.revision() != m.commit {
		if err := c.writeRef(repo, m.commit); err != nil {
			return "", err
		}
	}
	return entry, nil
}

// errMoved says that the server doesn't have the bytes after those we have.
var errMoved = errors.New("the server doesn't continue the file")

// download writes the content to blob, resuming blob.incomplete.
func (c *Client) download(ctx context.Context, repo Repo, file string, m metadata, blob string, progress Progress) error {
	partial := blob + ".incomplete"
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	done, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if m.size >= 0 {
		if done > m.size {
			done = 0
			if err := f.Truncate(0); err != nil {
				return err
			}
		}
		if err := durable.Need(partial, m.size-done); err != nil {
			return err
		}
	}
	failures := 0
	for m.size < 0 || done < m.size || m.size == 0 {
		before := done
		done, err = c.transfer(ctx, repo, file, m, f, done, progress)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %s: stopped at %d of %d bytes; the next pull goes on there: %w", repo, file, done, m.size, ctx.Err())
		}
		var refused *Error
		if errors.As(err, &refused) {
			return err
		}
		if errors.Is(err, errMoved) && before > 0 {
			done = 0 // start over, once per piece of headway
		}
		if failures++; done > before {
			failures = 1
		}
		if failures >= c.Attempts {
			return fmt.Errorf("%s: %s: gave up at %d of %d bytes after %d attempts without headway; the next pull goes on there: %w", repo, file, done, m.size, failures, err)
		}
		if err := c.sleep(ctx, backoff(failures)); err != nil {
			return err
		}
	}
	if progress != nil {
		progress(file, done, m.size)
	}
	if err := check(f, done, m); err != nil {
		_ = f.Close()
		_ = os.Remove(partial)
		return fmt.Errorf("%s: %s: %w; the download was deleted, pull it again", repo, file, err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(partial, blob)
}

// transfer appends what the server gives from byte `from` on and returns where
// the file ends now.
func (c *Client) transfer(ctx context.Context, repo Repo, file string, m metadata, f *os.File, from int64, progress Progress) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{}
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := c.do(ctx, http.MethodGet, m.url, header, func(_, _ *url.URL) bool { return true })
	if err != nil {
		return from, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return from, errMoved
	case resp.StatusCode >= 400:
		return from, c.refusal(resp, repo, file)
	case resp.StatusCode == http.StatusPartialContent:
		var first int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &first); err != nil || first != from {
			return from, errMoved
		}
	case resp.StatusCode == http.StatusOK:
		from = 0 // the server ignored the range
	default:
		return from, fmt.Errorf("%s answers %s", resp.Request.URL.Host, resp.Status)
	}
	if err := f.Truncate(from); err != nil {
		return from, err
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return from, err
	}
	idle := time.AfterFunc(c.Idle, func() { cancel(fmt.Errorf("no byte for %v", c.Idle)) })
	defer idle.Stop()
	buf := make([]byte, 1<<18)
	for {
		n, err := resp.Body.Read(buf)
		idle.Reset(c.Idle)
		if m.size >= 0 && from+int64(n) > m.size {
			return from, &Error{Status: resp.StatusCode, Msg: fmt.Sprintf("%s: %s: the server sends more than the %d bytes it announced", repo, file, m.size)}
		}
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return from, &Error{Msg: err.Error()} // the disk: no use to ask the server again
			}
			from += int64(n)
			if progress != nil {
				progress(file, from, m.size)
			}
		}
		if err == io.EOF {
			if m.size >= 0 && from < m.size {
				return from, io.ErrUnexpectedEOF
			}
			return from, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if err != nil {
			return from, err
		}
	}
}

// check holds a whole file against the hub's size and checksum.
func check(f *os.File, size int64, m metadata) error {
	if m.size >= 0 && size != m.size {
		return fmt.Errorf("%d bytes came, %d were announced", size, m.size)
	}
	var h hash.Hash
	switch len(m.etag) {
	case 64:
		h = sha256.New()
	case 40:
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", size)
	default:
		return nil // a hub that names no checksum
	}
	if _, err := hex.DecodeString(m.etag); err != nil {
		return nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != m.etag {
		return fmt.Errorf("its checksum is %s, the hub names %s", got, m.etag)
	}
	return nil
}

// maxListing bounds the hub's answer to List.
const maxListing = 64 << 20

// List names the files of a repository and its commit. Offline, or when the hub
// can't be reached, it lists what the cache has.
func (c *Client) List(ctx context.Context, repo Repo) (Listing, error) {
	if err := repo.check(); err != nil {
		return Listing{}, err
	}
	cached, known := c.listCached(repo)
	if c.Offline {
		if known {
			return cached, nil
		}
		return Listing{}, fmt.Errorf("%s is not in the cache %s, and HF_HUB_OFFLINE forbids to fetch it", repo, c.CacheDir)
	}
	address := fmt.Sprintf("%s/api/%s/%s/revision/%s?blobs=true", c.Endpoint, repo.Kind, repo.ID, url.PathEscape(repo.revision()))
	resp, err := c.do(ctx, http.MethodGet, address, nil, sameHost)
	if err != nil {
		var unreachable *unreachableError
		if known && errors.As(err, &unreachable) && ctx.Err() == nil {
			c.warn("%s: %v; using the files in the cache", repo, err)
			return cached, nil
		}
		return Listing{}, fmt.Errorf("%s: %w", repo, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return Listing{}, c.refusal(resp, repo, "the list of files")
	}
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
			Size *int64 `json:"size"`
			LFS  *struct {
				SHA256 string `json:"sha256"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxListing)).Decode(&answer); err != nil {
		return Listing{}, fmt.Errorf("%s: the hub's list of files: %w", repo, err)
	}
	if !commitPattern.MatchString(answer.SHA) {
		return Listing{}, fmt.Errorf("%s: the hub names the unusable commit %q", repo, answer.SHA)
	}
	l := Listing{Commit: answer.SHA}
	for _, s := range answer.Siblings {
		if err := checkFile(s.Name); err != nil {
			return Listing{}, fmt.Errorf("%s: the hub's list of files: %w", repo, err)
		}
		f := File{Name: s.Name, Size: -1}
		if s.Size != nil {
			f.Size = *s.Size
		}
		if s.LFS != nil {
			f.SHA256 = s.LFS.SHA256
		}
		l.Files = append(l.Files, f)
	}
	sort.Slice(l.Files, func(a, b int) bool { return l.Files[a].Name < l.Files[b].Name })
	return l, nil
}
