package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

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

// plain is what a server says, fit for a terminal and not too long.
func plain(msg string) string {
	msg = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, msg[:min(len(msg), 300)])
	return strings.TrimSpace(msg)
}

// A DowngradeError says that the hub sends on from https to an address that
// anybody between could read and change.
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

// retryAfter is how long a server asks to wait: until its rate limit starts anew
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

// What a RateLimit header says of a limit: "api";r=0;t=55 in the IETF's draft 9, which
// Hugging Face follows, limit=500, remaining=0, reset=55 before.
var (
	remainingParam = regexp.MustCompile(`(?i)\b(?:r|remaining)\s*=\s*(\d{1,9})\b`)
	resetParam     = regexp.MustCompile(`(?i)\b(?:t|reset)\s*=\s*(\d{1,9})\b`)
)
