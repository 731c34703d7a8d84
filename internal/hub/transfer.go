package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"leolm/internal/durable"
)

// metadata is what HEAD says of a file.
type metadata struct {
	commit string
	etag   string // SHA-256 or Git's SHA-1, also the blob's name
	size   int64
	url    string // where the content is
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

// download writes the content to partial, going on behind what is there, and
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
	return os.Rename(partial, whole)
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

// patientReader ends a request that gives no byte for a while.
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
