package serve

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A page of another site whose name was made to point to this machine is refused, and so is any other name that nobody
// listed; local names and numbers are not.
func TestHostNames(t *testing.T) {
	_, local := newTest(t, Config{Local: true, Hosts: []string{"leo.example.org"}})
	_, remote := newTest(t, Config{Hosts: []string{"leo.example.org"}})
	_, open := newTest(t, Config{})
	_, any := newTest(t, Config{Local: true, Hosts: []string{"*"}})
	for _, c := range []struct {
		url, host string
		want      int
	}{
		{local, "localhost:8080", 200}, {local, "LOCALHOST", 200}, {local, "localhost.", 200}, {local, "127.0.0.1", 200}, {local, "[::1]:8080", 200},
		{local, "192.168.1.5:8080", 200}, {local, "10.0.0.1", 200}, {local, "x.localhost", 200}, {local, "haus.local", 200}, {local, "leo.example.org:443", 200},
		{local, "evil.test", 403}, {local, "evil.test:8080", 403}, {local, "8.8.8.8", 403}, {local, "localhost.evil.test", 403}, {local, "127.0.0.1.nip.io", 403},
		{remote, "leo.example.org", 200}, {remote, "localhost", 200}, {remote, "haus.local", 403}, {remote, "evil.test", 403},
		{open, "evil.test", 200}, {any, "evil.test", 200},
	} {
		r, body := ask(t, "GET", c.url+"/v1/models", "", "Host: "+c.host)
		if r.StatusCode != c.want || c.want == 403 && errorCode(body) != "host_not_allowed" {
			t.Errorf("Host: %s: %d, want %d: %s", c.host, r.StatusCode, c.want, body)
		}
	}
	if r, _ := ask(t, "GET", local+"/livez", "", "Host: 10.1.2.3.evil.test"); r.StatusCode != 200 {
		t.Errorf("a probe: %d", r.StatusCode)
	}
}

// Pages of other origins are refused unless they are listed, never with credentials; a listed one passes its preflight with
// all headers that the OpenAI library sends, and must send JSON.
func TestOrigins(t *testing.T) {
	keys, secrets := testKeys(t, "alice")
	_, url := newTest(t, Config{Keys: keys, Origins: []string{"https://app.example.org"}})
	host := strings.TrimPrefix(url, "http://")
	const app = "Origin: https://app.example.org"
	auth, kind := "Authorization: Bearer "+secrets["alice"], "Content-Type: application/json"
	for _, c := range []struct {
		headers []string
		want    int
	}{
		{[]string{auth}, 200}, {[]string{auth, app, kind}, 200}, {[]string{auth, app, "Content-Type: application/json; charset=utf-8"}, 200},
		{[]string{auth, "Origin: http://" + host, kind}, 200},
		{[]string{auth, app}, 415}, {[]string{auth, app, "Content-Type: text/plain"}, 415}, {[]string{auth, "Origin: http://" + host, "Content-Type: text/plain"}, 415},
		{[]string{auth, "Origin: https://evil.test", kind}, 403}, {[]string{auth, "Origin: null", kind}, 403}, {[]string{auth, "Origin: https://app.example.org.evil.test", kind}, 403},
		{[]string{auth, "Origin: http://app.example.org", kind}, 403}, {[]string{app, kind}, 401},
	} {
		r, body := ask(t, "POST", url+"/tokenize", `{"content":"x"}`, c.headers...)
		if r.StatusCode != c.want {
			t.Errorf("%q: %d, want %d: %s", c.headers[1:], r.StatusCode, c.want, body)
		}
		allowed := r.Header.Get("Access-Control-Allow-Origin")
		if listed := strings.Contains(strings.Join(c.headers, " "), app+" ") || c.headers[len(c.headers)-1] == app; listed != (allowed != "") || allowed == "*" || r.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%q: allows %q", c.headers, allowed)
		}
	}
	r, _ := ask(t, "OPTIONS", url+"/v1/chat/completions", "", app, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type,x-stainless-os")
	headers := strings.ToLower(r.Header.Get("Access-Control-Allow-Headers"))
	for _, want := range []string{"authorization", "content-type", "x-request-id", "x-stainless-os", "x-stainless-retry-count", "x-stainless-timeout", "x-stainless-helper-method"} {
		if !strings.Contains(headers, want) {
			t.Errorf("the preflight does not list %s", want)
		}
	}
	if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "https://app.example.org" || !strings.Contains(r.Header.Get("Vary"), "Origin") {
		t.Errorf("preflight: %d %v", r.StatusCode, r.Header)
	}
	if r, _ := ask(t, "OPTIONS", url+"/v1/chat/completions", "", "Origin: https://evil.test", "Access-Control-Request-Method: POST"); r.StatusCode != 403 || r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign preflight: %d", r.StatusCode)
	}
}

// Behind a proxy that passes a path on, everything is below it; probes also come from beside.
func TestPathPrefix(t *testing.T) {
	var log logBuffer
	_, url := newTest(t, Config{PathPrefix: "/a/llm/", Log: log.logger()})
	for path, want := range map[string]int{
		"/a/llm/v1/models": 200, "/a/llm/v1/models/leo-mini": 200, "/a/llm/livez": 200, "/livez": 200, "/metrics": 200, "/a/llm/metrics": 200,
		"/v1/models": 404, "/a/llmv1/models": 404, "/a": 404, "/": 404, "/a/llm": 308,
	} {
		r, body := ask(t, "GET", url+path, "")
		if r.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", path, r.StatusCode, want, body)
		}
		if want == 308 && r.Header.Get("Location") != "/a/llm/" {
			t.Errorf("%s leads to %q", path, r.Header.Get("Location"))
		}
	}
	wait(t, func() bool { return strings.Contains(log.String(), `"route":"GET /v1/models"`) }, "the route is in the log")
	for _, no := range []string{"llm", "/a/../b", "/a//b", "/{x}", "/a b", "/a?b"} {
		if _, err := New(t.Context(), Config{PathPrefix: no}); err == nil {
			t.Errorf("%q is taken", no)
		}
	}
}

// dial sends raw bytes and returns a reader of the answer.
func dial(t *testing.T, url, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, _ = io.WriteString(c, text) // a server that has heard enough may close it
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// A client that asks before it sends a large body is told at once: go on, no key, too large.
func TestExpectContinue(t *testing.T) {
	keys, secrets := testKeys(t, "alice")
	_, url := newTest(t, Config{Keys: keys, MaxBody: 4 << 20})
	auth := "Authorization: Bearer " + secrets["alice"] + "\r\n"
	for _, c := range []struct {
		headers string
		length  int
		want    string
	}{
		{"", 2 << 20, "401"}, {"Authorization: Bearer x\r\n", 2 << 20, "401"}, {auth, 5 << 20, "413"}, {auth, 2 << 20, "100"},
	} {
		start := time.Now()
		_, r := dial(t, url, fmt.Sprintf("POST /tokenize HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", c.headers, c.length))
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+c.want) || time.Since(start) > 500*time.Millisecond {
			t.Errorf("%.20q, %d bytes: %q after %v, %v", c.headers, c.length, line, time.Since(start), err)
		}
	}
}

// A body that does not come ends its request; headers have a bound; an answer may take longer than a body.
func TestSlowBodies(t *testing.T) {
	_, url := newTest(t, Config{BodyTimeout: 200 * time.Millisecond})
	_, r := dial(t, url, "POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 408") {
		t.Errorf("a slow body: %q, %v", line, err)
	}
	// The same where nobody reads it.
	keys, _ := testKeys(t, "alice")
	_, locked := newTest(t, Config{BodyTimeout: 200 * time.Millisecond, Keys: keys})
	_, r = dial(t, locked, "POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 401") {
		t.Errorf("a slow body that nobody reads: %q, %v", line, err)
	}
	_, r = dial(t, url, "GET /livez HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 2<<20)+"\r\n\r\n")
	if line, err := r.ReadString('\n'); err == nil && !strings.HasPrefix(line, "HTTP/1.1 431") {
		t.Errorf("large headers: %q", line)
	}
	// The prompt came in time; what follows is not bound by the time for bodies.
	s, url := newTest(t, Config{BodyTimeout: 100 * time.Millisecond})
	s.mux.Handle("POST /late", s.handle(func(w http.ResponseWriter, r *http.Request) error {
		var v map[string]any
		if err := read(r, &v); err != nil {
			return err
		}
		select {
		case <-r.Context().Done():
			return r.Context().Err()
		case <-time.After(400 * time.Millisecond):
		}
		writeJSON(w, 200, v)
		return nil
	}))
	if r, body := ask(t, "POST", url+"/late", `{"a":1}`); r.StatusCode != 200 {
		t.Errorf("an answer that takes longer than a body may: %d %s", r.StatusCode, body)
	}
}

// smallBuffers makes the kernel keep little of what a client does not read.
type smallBuffers struct{ net.Listener }

func (s smallBuffers) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		err = tcp.SetWriteBuffer(4096)
	}
	return c, err
}

// listening runs Serve on a port of this machine until the end of the test, or until stop is called.
func listening(t *testing.T, cfg Config, how Listening) (s *Server, addr string, stop func() error) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = (&logBuffer{}).logger()
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, smallBuffers{ln}, how) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return errors.Join(<-done, s.Close())
	}
	t.Cleanup(func() { _ = stop() })
	return s, ln.Addr().String(), stop
}

// writeCertificate makes a certificate with a serial number.
func writeCertificate(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leo"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A renewed certificate counts without a restart, also when only a link was turned, in the middle of a stream; a broken one
// leaves the old one in place.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	path := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	for i, d := range []string{"one", "two"} {
		if err := os.Mkdir(path(d), 0o700); err != nil {
			t.Fatal(err)
		}
		writeCertificate(t, path(d, "tls.crt"), path(d, "tls.key"), int64(i+1))
	}
	link := path("live")
	if err := os.Symlink("one", link); err != nil {
		t.Skip(err)
	}
	var log logBuffer
	c, err := OpenCertificates(filepath.Join(link, "tls.crt"), filepath.Join(link, "tls.key"), log.logger())
	if err != nil {
		t.Fatal(err)
	}
	_, addr, _ := listening(t, Config{}, Listening{Certificates: c})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	stream, err := client.Post("https://"+addr+"/v1/chat/completions", "application/json", strings.NewReader(`{`+hello+`,"ignore_eos":true,"max_tokens":300,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if stream.ProtoMajor != 2 {
		t.Errorf("protocol %s", stream.Proto)
	}
	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	again := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.checked = time.Time{}
	}
	if n := serial(); n != 1 {
		t.Errorf("serial number %d", n)
	}
	if err := errors.Join(os.Symlink("two", path("next")), os.Rename(path("next"), link)); err != nil {
		t.Fatal(err)
	}
	again()
	if n := serial(); n != 2 {
		t.Errorf("after the swap: %d", n)
	}
	for range 2 {
		if err := os.WriteFile(path("two", "tls.crt"), []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		again()
		if n := serial(); n != 2 {
			t.Errorf("with a broken file: %d", n)
		}
	}
	writeCertificate(t, path("two", "tls.crt"), path("two", "tls.key"), 3)
	again()
	if n := serial(); n != 3 {
		t.Errorf("mended: %d", n)
	}
	if b, err := io.ReadAll(stream.Body); err != nil || !strings.HasSuffix(string(b), "data: [DONE]\n\n") {
		t.Errorf("the stream: %v, %d bytes", err, len(b))
	}
	if _, err := OpenCertificates(path("one", "tls.crt"), path("two", "tls.key"), log.logger()); err == nil {
		t.Error("a key of another certificate is taken")
	}
}

// A socket is replaced if nobody listens on it, and refused with the reason if somebody does.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := ListenUnix(path)
	if err != nil {
		t.Skip(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another process listens on "+path) {
		t.Errorf("the second: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as if the process had been killed
	first.Close()
	again, err := ListenUnix(path)
	if err != nil {
		t.Fatalf("after a dead process: %v", err)
	}
	again.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
	if _, err := ListenUnix(filepath.Join(path, "x", "y")); err == nil {
		t.Error("a path below a file is taken")
	}
}

// A handler that panics in the middle of a stream says so in an event and closes the connection; before its answer, it is a
// 500. The log has the place, and the server goes on.
func TestPanics(t *testing.T) {
	var log logBuffer
	s, err := New(t.Context(), Config{Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.mux.Handle("GET /early", s.handle(func(http.ResponseWriter, *http.Request) error { panic("early") }))
	s.mux.Handle("GET /stream", s.handle(func(w http.ResponseWriter, _ *http.Request) error {
		_ = s.eventStream(w).data(map[string]int{"a": 1})
		panic("late")
	}))
	s.mux.Handle("GET /body", s.handle(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"half`)
		panic("late")
	}))
	web := httptest.NewServer(s)
	defer web.Close()
	if r, body := ask(t, "GET", web.URL+"/early", ""); r.StatusCode != 500 || !strings.Contains(body, `"server_error"`) || strings.Contains(body, "early") {
		t.Errorf("early: %d %s", r.StatusCode, body)
	}
	r, err := http.Get(web.URL + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err == nil || !strings.Contains(string(b), `data: {"error":{"message":`) || strings.Contains(string(b), "DONE") {
		t.Errorf("stream: %v, %q", err, b)
	}
	if r, err = http.Get(web.URL + "/body"); err == nil {
		if b, err := io.ReadAll(r.Body); err == nil {
			t.Errorf("half a body is a whole one: %q", b)
		}
		r.Body.Close()
	}
	if n := len(log.records(t, "a handler panicked")); n != 3 || !strings.Contains(log.String(), "guard_test.go") {
		t.Errorf("%d records: %s", n, log.String())
	}
	wait(t, func() bool { return len(log.records(t, "request")) == 3 && s.busy.Load() == 0 }, "all requests have ended")
	for _, rec := range log.records(t, "request") {
		if rec["status"] != 500.0 {
			t.Errorf("%v", rec)
		}
	}
}
