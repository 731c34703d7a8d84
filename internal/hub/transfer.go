package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"leolm/internal/bounded"
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
// an answer that refuses. A lasting one will be the same in a minute.
type unreachableError struct {
	err     error
	lasting bool
}

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
		e.Msg += ": " + plain(msg)
	}
	return e
}

// plain is a server's message, made safe for a terminal and shortened.
func plain(msg string) string {
	msg = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, msg[:min(len(msg), 300)])
	return strings.TrimSpace(msg)
}

// A DowngradeError says that the hub redirects from https to an address whose traffic
// others on the way could read and change.
type DowngradeError struct{ From, To string }

func (e *DowngradeError) Error() string {
	return fmt.Sprintf("%s sends on to %s, which is not encrypted; refused", e.From, e.To)
}

// bare names an address without what may be secret in it: user and query.
func bare(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }

// do sends a request, repeating it while the server or the connection fails.
// A redirect is followed unless stop says that the answer which carries it is
// what was asked for. The caller closes the body.
//
// The token goes to the endpoint's own scheme, host and port only, and no
// redirect leads from https to anything else.
func (c *Client) do(ctx context.Context, method, address string, header http.Header, stop func(redirect *http.Response) bool) (*http.Response, error) {
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the hub's address %q: %w", c.Endpoint, err)
	}
	client := *c.HTTP
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if stop(req.Response) {
			return http.ErrUseLastResponse
		}
		if from := via[len(via)-1].URL; from.Scheme == "https" && req.URL.Scheme != "https" {
			return &DowngradeError{bare(from), bare(req.URL)}
		}
		if len(via) >= 10 {
			return errTooManyRedirects
		}
		if req.URL.Scheme != endpoint.Scheme || req.URL.Host != endpoint.Host {
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
		var downgrade *DowngradeError
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.As(err, &downgrade):
			return nil, downgrade
		case err != nil:
			failed := &unreachableError{err, lasting(err)}
			if failed.lasting {
				return nil, failed
			}
			err = failed
		case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
			asked, ok := retryAfter(resp.Header)
			_ = resp.Body.Close()
			if ok {
				wait = asked
			}
			err = &unreachableError{fmt.Errorf("%s answers %s", req.URL.Host, resp.Status), false}
			if wait > c.MaxWait {
				return nil, fmt.Errorf("%w and asks to wait %v; try again later", err, wait)
			}
		default:
			return resp, nil
		}
		if attempt >= c.Attempts {
			return nil, fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		if wait > 2*time.Second {
			c.warn("%v; next attempt in %v", err, wait.Round(time.Second))
		}
		if err := c.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

var errTooManyRedirects = errors.New("sent on from address to address ten times")

// lasting reports whether a failed request would fail in a minute too: the name
// doesn't exist, this machine has no network, the certificate is wrong.
func lasting(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsNotFound && !dns.IsTemporary && !dns.IsTimeout
	}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		address   *net.AddrError
		syntax    *url.EscapeError
	)
	for _, target := range []any{&authority, &host, &invalid, &verify, &record, &address, &syntax} {
		if errors.As(err, target) {
			return true
		}
	}
	if errors.Is(err, errTooManyRedirects) || errors.Is(err, syscall.ENETUNREACH) {
		return true
	}
	// net/http has no types for these.
	text := err.Error()
	return strings.Contains(text, "unsupported protocol scheme") || strings.Contains(text, "no Host in request URL") ||
		strings.Contains(text, "server gave HTTP response to HTTPS client")
}

// follow is for requests whose answer is at the end of all redirects.
func follow(*http.Response) bool { return false }

func backoff(attempt int) time.Duration {
	return min(time.Second<<min(attempt-1, 10), 30*time.Second)
}

// What a RateLimit header says of a limit: "api";r=0;t=55 in the IETF's draft 9, which
// Hugging Face follows, limit=500, remaining=0, reset=55 before.
var (
	remainingParam = regexp.MustCompile(`(?i)\b(?:r|remaining)\s*=\s*(\d{1,9})\b`)
	resetParam     = regexp.MustCompile(`(?i)\b(?:t|reset)\s*=\s*(\d{1,9})\b`)
)

// retryAfter is how long a server asks to wait: until its rate limit resets
// (RateLimit), or as Retry-After says, seconds or a date. The longer one counts.
func retryAfter(h http.Header) (time.Duration, bool) {
	var wait time.Duration
	found := false
	longer := func(d time.Duration) { wait, found = max(wait, d), true }
	for _, value := range h.Values("RateLimit") {
		items := strings.Split(value, ",")
		if !strings.Contains(value, `"`) {
			items = []string{value} // the older form is one item
		}
		for _, item := range items {
			left, reset := remainingParam.FindStringSubmatch(item), resetParam.FindStringSubmatch(item)
			if reset == nil || left != nil && strings.Trim(left[1], "0") != "" {
				continue // not the limit that was reached
			}
			n, err := strconv.Atoi(reset[1])
			if err == nil {
				longer(time.Duration(n+1) * time.Second) // it counts whole seconds
			}
		}
	}
	if s := strings.TrimSpace(h.Get("Retry-After")); s != "" {
		if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < 1<<30 {
			longer(time.Duration(n) * time.Second)
		} else if t, err := http.ParseTime(s); err == nil {
			longer(max(time.Until(t), 0))
		}
	}
	return wait, found
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

// describes reports whether a redirect carries what head asks for: the hub answers so
// for files in large-file storage, on its way to them. One that doesn't is followed,
// to wherever a mirror or a renamed repository sends.
func describes(redirect *http.Response) bool {
	return redirect.Header.Get("X-Linked-Etag") != "" && redirect.Header.Get("X-Repo-Commit") != ""
}

// head asks for a file's commit, checksum and size.
func (c *Client) head(ctx context.Context, repo Repo, file string) (metadata, error) {
	address := c.resolveURL(repo, file)
	resp, err := c.do(ctx, http.MethodHead, address, nil, describes)
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
		if err := c.download(ctx, repo, file, m, blob+".incomplete", blob, progress); err != nil {
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

// download writes the content to partial, resuming after what is there, and
// renames it to whole.
func (c *Client) download(ctx context.Context, repo Repo, file string, m metadata, partial, whole string, progress Progress) error {
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
	if progress != nil {
		progress(file, done, m.size)
	}
	failures, first := 0, done
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
		var downgrade *DowngradeError
		if errors.As(err, &refused) || errors.As(err, &downgrade) {
			return err
		}
		// A lost network that was there before may come back.
		var unreachable *unreachableError
		if errors.As(err, &unreachable) && unreachable.lasting && done == first {
			return fmt.Errorf("%s: %s: %w", repo, file, err)
		}
		if errors.Is(err, errMoved) && before > 0 {
			done = 0 // start over, once per progress
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
	return os.Rename(partial, whole)
}

// transfer appends what the server sends from byte `from` on and returns the new length
// of the file.
func (c *Client) transfer(ctx context.Context, repo Repo, file string, m metadata, f *os.File, from int64, progress Progress) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{}
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := c.do(ctx, http.MethodGet, m.url, header, follow)
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
	body := c.patient(resp.Body, cancel)
	defer body.stop()
	buf := make([]byte, 1<<18)
	for {
		n, err := body.Read(buf)
		if m.size < 0 && from+int64(n) > c.MaxUnsized {
			return from, &Error{Status: resp.StatusCode, Msg: fmt.Sprintf("%s: %s: the server announces no size, and sends more than the %d bytes that such a file may have", repo, file, c.MaxUnsized)}
		}
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

// patientReader cancels a request that delivers nothing for a while.
type patientReader struct {
	r     io.Reader
	timer *time.Timer
	idle  time.Duration
}

func (c *Client) patient(r io.Reader, cancel context.CancelCauseFunc) *patientReader {
	return &patientReader{r, time.AfterFunc(c.Idle, func() { cancel(fmt.Errorf("no byte for %v", c.Idle)) }), c.Idle}
}

func (p *patientReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.timer.Reset(p.idle)
	return n, err
}

func (p *patientReader) stop() { p.timer.Stop() }

// check compares a whole file with the hub's size and checksum.
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
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.do(ctx, http.MethodGet, address, nil, follow)
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
	body := c.patient(resp.Body, cancel)
	data, err := bounded.Read(ctx, body, "the hub's list of files", maxListing)
	body.stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return Listing{}, fmt.Errorf("%s: the hub's list of files: %w", repo, err)
	}
	answer, err := parseListing(data)
	if err != nil {
		return Listing{}, fmt.Errorf("%s: the hub's list of files: %w", repo, err)
	}
	return answer, nil
}

// parseListing reads the hub's description of a repository.
func parseListing(data []byte) (Listing, error) {
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
	if err := json.Unmarshal(data, &answer); err != nil {
		return Listing{}, err
	}
	if !commitPattern.MatchString(answer.SHA) {
		return Listing{}, fmt.Errorf("names the unusable commit %q", answer.SHA)
	}
	l := Listing{Commit: answer.SHA}
	for _, s := range answer.Siblings {
		if err := checkFile(s.Name); err != nil {
			return Listing{}, err
		}
		f := File{Name: s.Name, Size: -1}
		if s.Size != nil && *s.Size >= 0 {
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
