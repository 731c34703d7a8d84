package serve

import (
	"errors"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"leolm/serve/apikey"
)

// tenant names who asks: prefixes of prompts are shared within a tenant only, and tenants take turns.
func tenant(r *http.Request) string {
	if x := exchangeOf(r.Context()); x != nil && x.key != nil {
		return x.key.Name
	}
	return ""
}

// admit decides whether a request may be answered. Nothing of its body has been read. done says that it has been.
func (s *Server) admit(x *exchange) (done bool, err error) {
	r := x.r
	if public[x.route] {
		return false, nil
	}
	if err := s.refuseNew(); err != nil {
		x.w.Header().Set("Connection", "close")
		return false, err
	}
	if err := s.checkHost(r); err != nil {
		return false, err
	}
	if done, err := s.checkOrigin(x.w, r); done || err != nil {
		return done, err
	}
	if r.ContentLength > s.cfg.MaxBody {
		return false, tooLarge(s.cfg.MaxBody)
	}
	if s.cfg.Keys == nil {
		return false, nil
	}
	x.key = s.cfg.Keys.Find(secret(r))
	switch {
	case keyless[x.route], x.route == "GET /metrics" && s.cfg.OpenMetrics:
		return false, nil
	case x.key == nil && secret(r) == "":
		return false, &Error{Status: http.StatusUnauthorized, Code: "missing_api_key", Message: "this server needs a key: send it as Authorization: Bearer KEY"}
	case x.key == nil:
		return false, &Error{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "this server does not know the key"}
	case strings.Contains(x.route, " /debug/") && !x.key.Admin():
		return false, &Error{Status: http.StatusForbidden, Code: "not_admin", Message: "this needs the key of an administrator"}
	case r.Method != http.MethodPost:
		return false, nil
	}
	if x.use, err = beginUse(x.key); err != nil {
		return false, err
	}
	x.limitHeaders()
	return false, nil
}

// beginUse admits a request of a key. A client that sends one request after the other may be faster than the end of its
// last one, so a place that is taken is waited for a little.
func beginUse(k *apikey.Key) (*apikey.Use, error) {
	for wait := time.Millisecond; ; wait *= 2 {
		u, err := k.Begin()
		var limit *apikey.LimitError
		if err == nil || !errors.As(err, &limit) || limit.What != apikey.AtATime || wait > 32*time.Millisecond {
			return u, err
		}
		time.Sleep(wait)
	}
}

func tooLarge(limit int64) error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Message: "the body is larger than " + strconv.FormatInt(limit, 10) + " bytes"}
}

// secret is the key that a request brings.
func secret(r *http.Request) string {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(value)
	}
	return r.Header.Get("X-Api-Key")
}

// asLimit turns a key's limit into what a client sees: to wait, or that it never fits.
func asLimit(err error) *Error {
	var limit *apikey.LimitError
	if !errors.As(err, &limit) {
		return nil
	}
	if limit.Wait == 0 {
		return &Error{Status: http.StatusBadRequest, Code: "request_too_large", Message: limit.Error()}
	}
	return &Error{Status: http.StatusTooManyRequests, Code: "rate_limit_exceeded", Message: limit.Error(), RetryAfter: max(limit.Wait, time.Millisecond)}
}

// hostName is the name in a Host header or an Origin's host, without port and brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// checkHost refuses names by which nobody calls this server: a page of another site whose name was made to point here
// (DNS rebinding). A server for this machine has local names only; one for others, those of Config.Hosts if there are any.
func (s *Server) checkHost(r *http.Request) error {
	if !s.cfg.Local && len(s.cfg.Hosts) == 0 {
		return nil
	}
	name := hostName(r.Host)
	if slices.ContainsFunc(s.cfg.Hosts, func(h string) bool { return h == "*" || strings.EqualFold(h, name) }) {
		return nil
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || s.cfg.Local && strings.HasSuffix(name, ".local") {
		return nil
	}
	if ip, err := netip.ParseAddr(name); err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()) {
		return nil
	}
	return &Error{Status: http.StatusForbidden, Code: "host_not_allowed", Message: "this server is not called by the name " + strconv.Quote(cut(name)) + "; its operator can allow it"}
}

// cut shortens a text of a client that an error repeats.
func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// allowedHeaders are what a page of an allowed origin may send: those of the OpenAI libraries begin with x-stainless.
const allowedHeaders = "Authorization, Content-Type, Accept, X-Request-Id, X-Api-Key, OpenAI-Organization, OpenAI-Project, " +
	"Idempotency-Key, Traceparent, Tracestate, X-Stainless-Arch, X-Stainless-Async, X-Stainless-Custom-Poll-Interval, X-Stainless-Helper-Method, " +
	"X-Stainless-Lang, X-Stainless-OS, X-Stainless-Package-Version, X-Stainless-Poll-Helper, X-Stainless-Retry-Count, " +
	"X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout"

const exposedHeaders = "X-Request-Id, Retry-After, X-Ratelimit-Limit-Requests, X-Ratelimit-Remaining-Requests, X-Ratelimit-Reset-Requests, " +
	"X-Ratelimit-Limit-Tokens, X-Ratelimit-Remaining-Tokens, X-Ratelimit-Reset-Tokens"

// checkOrigin refuses requests from pages of other sites, unless Config.Origins has them: a browser on this machine may
// reach servers that the site cannot. Cookies and stored logins are never allowed. done: it was a preflight, and is
// answered.
func (s *Server) checkOrigin(w http.ResponseWriter, r *http.Request) (done bool, err error) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false, nil
	}
	u, err := url.Parse(origin)
	same := err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
	listed := slices.ContainsFunc(s.cfg.Origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
	h := w.Header()
	h.Add("Vary", "Origin")
	if !same && !listed {
		return false, &Error{Status: http.StatusForbidden, Code: "origin_not_allowed", Message: "pages of " + strconv.Quote(cut(origin)) + " may not use this server; its operator can allow it"}
	}
	if listed {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", exposedHeaders)
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
		h.Set("Access-Control-Allow-Headers", allowedHeaders)
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
		return true, nil
	}
	// A form can send text/plain without asking; JSON needs a preflight.
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodPost && (err != nil || kind != "application/json") {
		return false, &Error{Status: http.StatusUnsupportedMediaType, Message: "a page must send its requests as application/json"}
	}
	return false, nil
}
