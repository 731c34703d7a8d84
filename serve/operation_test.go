package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"leolm/serve/apikey"
)

// logBuffer is a log that a test reads while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// records are the records of a log with a message.
func (l *logBuffer) records(t testing.TB, message string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(l.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if r["msg"] == message {
			out = append(out, r)
		}
	}
	return out
}

// testKeys makes keys; each line is a name and its limits.
func testKeys(t testing.TB, lines ...string) (*apikey.File, map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	secrets := map[string]string{}
	for _, l := range lines {
		name, rest, _ := strings.Cut(l, " ")
		secret, line, err := apikey.New(name)
		if err == nil {
			err = apikey.Append(path, line+" "+rest)
		}
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = secret
	}
	f, err := apikey.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f, secrets
}

// ask sends a request with headers ("Name: value") and returns the response, its body read.
func ask(t testing.TB, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	r, err := http.DefaultTransport.RoundTrip(req) // redirects are answers here
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

// errorCode is the code of an error in OpenAI's shape.
func errorCode(body string) string {
	var e struct{ Error struct{ Code string } }
	_ = json.Unmarshal([]byte(body), &e)
	return e.Error.Code
}

// Before the first model is loaded and warm, the process is alive but not ready.
func TestReadiness(t *testing.T) {
	s, url := newTest(t, Config{})
	status := func(path string) int { r, _ := ask(t, "GET", url+path, ""); return r.StatusCode }
	if a, b, c := status("/livez"), status("/readyz"), status("/health"); a != 200 || b != 503 || c != 503 {
		t.Errorf("before loading: livez %d, readyz %d, health %d", a, b, c)
	}
	if _, body := ask(t, "GET", url+"/health", ""); !strings.Contains(body, `"Loading model"`) {
		t.Errorf("health: %s", body)
	}
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a, b, c := status("/livez"), status("/readyz"), status("/health"); a != 200 || b != 200 || c != 200 {
		t.Errorf("after loading: livez %d, readyz %d, health %d", a, b, c)
	}
	s.draining.Store(true)
	if a, b, c := status("/livez"), status("/readyz"), status("/health"); a != 200 || b != 503 || c != 503 {
		t.Errorf("draining: livez %d, readyz %d, health %d", a, b, c)
	}
}

// A request id comes back as it was sent, or a new one; the same is in the log.
func TestRequestIDs(t *testing.T) {
	var log logBuffer
	_, url := newTest(t, Config{Log: log.logger()})
	for _, c := range []struct{ sent, want string }{{"abc-1:2", "abc-1:2"}, {"", "req-"}, {"a b", "req-"}, {strings.Repeat("x", 200), "req-"}, {"-x", "req-"}} {
		r, _ := ask(t, "GET", url+"/v1/models", "", "X-Request-Id: "+c.sent)
		if got := r.Header.Get("X-Request-Id"); !strings.HasPrefix(got, c.want) || c.want == "req-" && len(got) != 28 {
			t.Errorf("%q came back as %q", c.sent, got)
		} else {
			wait(t, func() bool { return strings.Contains(log.String(), `"id":"`+got+`"`) }, "the id is in the log")
		}
	}
}

// No text of a user or a model is logged, wherever a client puts it.
func TestNoTextIsLogged(t *testing.T) {
	var log logBuffer
	keys, secrets := testKeys(t, "alice")
	s, url := newTest(t, Config{Log: log.logger(), Keys: keys})
	auth := "Authorization: Bearer " + secrets["alice"]
	const canary = "Kanarienvogel"
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"Kanarienvogel"}],"user":"Kanarienvogel"}`},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"Kanarienvogel"}],"stream":true}`},
		{"/v1/chat/completions", `{"messages":[{"role":"Kanarienvogel","content":"x"}]}`},
		{"/v1/chat/completions", `{"model":"Kanarienvogel"}`},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + strings.Repeat("Kanarienvogel ", 2000) + `"}]}`},
		{"/v1/chat/completions", `{Kanarienvogel`},
		{"/v1/completions", `{"prompt":"Kanarienvogel"}`},
		{"/v1/embeddings", `{"input":"Kanarienvogel"}`},
		{"/tokenize?x=Kanarienvogel", `{"content":"Kanarienvogel"}`},
		{"/Kanarienvogel", `{}`},
		{"/v1/models/Kanarienvogel", ``},
	} {
		ask(t, "POST", url+c.path, c.body, auth, "X-Request-Id: x", "User-Agent: Kanarienvogel")
	}
	ask(t, "GET", url+"/v1/models/Kanarienvogel", "", auth)
	ask(t, "GET", url+"/v1/models", "", "Authorization: Bearer Kanarienvogel")
	ask(t, "GET", url+"/v1/models", "", auth, "Origin: http://kanarienvogel.test", "Referer: Kanarienvogel")
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return len(log.records(t, "request")) == 14 }, "all is logged")
	if text := strings.ToLower(log.String()); strings.Contains(text, strings.ToLower(canary)) || strings.Contains(text, secrets["alice"]) {
		t.Errorf("the log has a text or a key:\n%s", log.String())
	}
	first := log.records(t, "request")[0]
	for _, name := range []string{"id", "method", "route", "status", "bytes", "seconds", "key", "model", "prompt_tokens", "tokens", "first_token_seconds"} {
		if first[name] == nil {
			t.Errorf("no %s in %v", name, first)
		}
	}
}

// brokenWriter is a client that goes away after some bytes.
type brokenWriter struct {
	*httptest.ResponseRecorder
	left int
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > b.left {
		n := b.left
		b.left = 0
		return n, errors.New("the pipe broke")
	}
	b.left -= len(p)
	return len(p), nil
}

// A status that did not reach the client is not logged as if it had.
func TestLostAnswersAreLogged(t *testing.T) {
	for _, stream := range []string{"true", "false"} {
		var log logBuffer
		s, err := New(t.Context(), Config{Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(`{`+hello+`,"stream":`+stream+`}`))
		s.ServeHTTP(&brokenWriter{httptest.NewRecorder(), 5}, r)
		rec := log.records(t, "request")
		if len(rec) != 1 || rec[0]["status"] != 499.0 || rec[0]["status_sent"] != 200.0 || rec[0]["bytes"] != 5.0 || rec[0]["write_error"] == nil || rec[0]["level"] != "WARN" {
			t.Errorf("stream %s: %v", stream, rec)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Texts are logged only into a file that was named, which nobody else can read and which stops growing.
func TestTextLog(t *testing.T) {
	var log logBuffer
	path := filepath.Join(t.TempDir(), "texts")
	texts, err := OpenTextLog(path, 2000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := texts.Close(); err != nil {
			t.Error(err)
		}
	})
	s, url := newTest(t, Config{Log: log.logger(), Texts: texts})
	ask(t, "GET", url+"/v1/models", "")
	for range 4 {
		ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`}`)
	}
	wait(t, func() bool { return len(log.records(t, "request")) == 5 && s.busy.Load() == 0 }, "all requests have ended")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(b)) {
		var r struct{ ID, Request, Response string }
		if err := json.Unmarshal([]byte(line), &r); err != nil || !strings.Contains(r.Request, "Frankreich") || !strings.Contains(r.Response, "assistant") || r.ID == "" {
			t.Errorf("%v: %s", err, line)
		}
		lines++
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 2000 || lines < 1 || lines > 3 {
		t.Errorf("%v, %v: %d lines", info, err, lines)
	}
	if n := len(log.records(t, "the file for texts is full; later requests are not in it")); n != 1 {
		t.Errorf("%d warnings", n)
	}
	if strings.Contains(log.String(), "Frankreich") {
		t.Error("the other log has texts, too")
	}
}

// With keys, nothing is answered without one but health.
func TestEveryRouteNeedsAKey(t *testing.T) {
	keys, secrets := testKeys(t, "alice", "root admin")
	s, url := newTest(t, Config{Keys: keys, Debug: true})
	free := []string{"GET /livez", "GET /readyz", "GET /health"}
	n := 0
	for _, pattern := range append(s.patterns, "GET /nowhere", "DELETE /v1/models", "OPTIONS /v1/models", "HEAD /v1/models") {
		if keyless[pattern] {
			continue
		}
		verb, path, ok := strings.Cut(pattern, " ")
		if !ok {
			verb, path = "POST", pattern
		}
		path = strings.NewReplacer("{name...}", "leo-mini", "{$}", "").Replace(path)
		for _, headers := range [][]string{nil, {"Authorization: Bearer wrong"}, {"Authorization: Basic YTpi"}, {"X-Api-Key: " + secrets["alice"][1:]}, {"Authorization: Bearer"}} {
			r, body := ask(t, verb, url+path, `{}`, headers...)
			if open := slices.Contains(free, pattern); (r.StatusCode == 401) == open {
				t.Errorf("%s with %q: %d %s", pattern, headers, r.StatusCode, body)
			} else if shaped := errorCode(body) != "" || isOllama(path) && strings.HasPrefix(string(body), `{"error":"`); !open && verb != "HEAD" && (!shaped || r.Header.Get("WWW-Authenticate") != "Bearer") {
				t.Errorf("%s: %s", pattern, body)
			}
		}
		for _, h := range []string{"Authorization: Bearer " + secrets["alice"], "Authorization: bearer " + secrets["alice"], "X-Api-Key: " + secrets["alice"]} {
			if strings.Contains(path, "/profile") || strings.Contains(path, "/trace") {
				continue
			}
			if r, body := ask(t, verb, url+path, `{}`, h); r.StatusCode == 401 {
				t.Errorf("%s with a key: %d %s", pattern, r.StatusCode, body)
			} else if strings.HasPrefix(path, "/debug/") && r.StatusCode != 403 {
				t.Errorf("%s with a user's key: %d", pattern, r.StatusCode)
			}
		}
		n++
	}
	if n < 14 {
		t.Errorf("only %d routes", n)
	}
	if r, body := ask(t, "GET", url+"/debug/pprof/goroutine?debug=1", "", "Authorization: Bearer "+secrets["root"]); r.StatusCode != 200 || !strings.Contains(body, "goroutine") {
		t.Errorf("an administrator: %d", r.StatusCode)
	}
	_, open := newTest(t, Config{Keys: keys, OpenMetrics: true})
	if r, _ := ask(t, "GET", open+"/metrics", ""); r.StatusCode != 200 {
		t.Errorf("open metrics: %d", r.StatusCode)
	}
	if r, _ := ask(t, "GET", open+"/debug/pprof/", "", "Authorization: Bearer "+secrets["root"]); r.StatusCode != 404 {
		t.Errorf("debug that nobody asked for: %d", r.StatusCode)
	}
}

// Each key has limits of its own; who is over them is told so and until when, and five at once do not slip through.
func TestLimits(t *testing.T) {
	keys, secrets := testKeys(t, "slow requests=2", "small tokens=200", "one concurrent=1", "free")
	_, url := newTest(t, Config{Keys: keys})
	url += "/v1/chat/completions"
	auth := func(name string) string { return "Authorization: Bearer " + secrets[name] }
	for i, want := range []int{200, 200, 429, 429} {
		r, body := ask(t, "POST", url, `{`+hello+`,"max_tokens":3}`, auth("slow"))
		if r.StatusCode != want || r.Header.Get("X-Ratelimit-Limit-Requests") != "2" && want == 200 {
			t.Errorf("request %d: %d, want %d: %s %v", i, r.StatusCode, want, body, r.Header)
		}
		if want == 429 && (r.Header.Get("Retry-After") == "" || errorCode(body) != "rate_limit_exceeded") {
			t.Errorf("request %d: %v %s", i, r.Header, body)
		}
	}
	if r, _ := ask(t, "POST", url, `{`+hello+`,"max_tokens":3}`, auth("free")); r.StatusCode != 200 || r.Header.Get("X-Ratelimit-Limit-Requests") != "" {
		t.Errorf("another key: %d %v", r.StatusCode, r.Header)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 5 {
		wg.Go(func() {
			r, _ := ask(t, "POST", url, `{`+hello+`,"max_tokens":60,"ignore_eos":true}`, auth("small"))
			mu.Lock()
			defer mu.Unlock()
			count[r.StatusCode]++
		})
	}
	wg.Wait()
	if count[200] != 2 || count[429] != 3 {
		t.Errorf("200 tokens a minute, five at once with 24 and 60 each: %v", count)
	}
	if r, body := ask(t, "POST", url, `{"messages":[{"role":"user","content":"`+strings.Repeat("Haus ", 250)+`"}]}`, auth("small")); r.StatusCode != 400 || errorCode(body) != "request_too_large" {
		t.Errorf("a prompt beyond the limit: %d %s", r.StatusCode, body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(`{`+hello+`,"ignore_eos":true,"stream":true}`))
	req.Header.Set("Authorization", "Bearer "+secrets["one"])
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(r.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if r, _ := ask(t, "POST", url, `{`+hello+`}`, auth("one")); r.StatusCode != 429 {
		t.Errorf("the second at a time: %d", r.StatusCode)
	}
	cancel()
	r.Body.Close()
	wait(t, func() bool {
		r, _ := ask(t, "POST", url, `{`+hello+`,"max_tokens":1}`, auth("one"))
		return r.StatusCode == 200
	}, "the place of a canceled request is free")
}

// The prompt of one key is no prefix for another: not even the time it takes tells what others asked.
func TestKeysShareNoPrefixes(t *testing.T) {
	keys, secrets := testKeys(t, "alice", "bob")
	_, url := newTest(t, Config{Keys: keys})
	long := strings.Repeat("Der Mond scheint hell über dem stillen Wald. ", 12)
	cached := func(name string) int {
		var a testAnswer
		_, body := ask(t, "POST", url+"/v1/chat/completions", `{"messages":[{"role":"user","content":"`+long+`"}],"max_tokens":1}`, "Authorization: Bearer "+secrets[name])
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return a.Usage.Details.Cached
	}
	if a, b, c := cached("alice"), cached("alice"), cached("bob"); a != 0 || b == 0 || c != 0 {
		t.Errorf("cached tokens: %d, again %d, another key %d", a, b, c)
	}
}

// More requests than may wait are refused with a time to come back, whether they are counted or their tokens.
func TestFullQueue(t *testing.T) {
	for name, cfg := range map[string]Config{"requests": {Parallel: 1, Queue: 2}, "tokens": {Parallel: 1, QueueTokens: 50}} {
		t.Run(name, func(t *testing.T) {
			s, url := newTest(t, cfg)
			m, release, err := s.models.get(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer release()
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			send := func() {
				wg.Go(func() {
					req, _ := http.NewRequestWithContext(ctx, "POST", url+"/v1/chat/completions", strings.NewReader(`{`+hello+`,"ignore_eos":true}`))
					if r, err := http.DefaultClient.Do(req); err == nil {
						r.Body.Close()
					}
				})
			}
			s.turn.Lock() // nothing runs meanwhile
			defer s.turn.Unlock()
			// The scheduler may have taken the first one out of the queue already.
			for i := 0; i < 3 && m.sched.Stats().Waiting < 2; i++ {
				send()
				for end := time.Now().Add(300 * time.Millisecond); m.sched.Stats().Waiting <= i && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
			}
			if n := m.sched.Stats().Waiting; n != 2 {
				t.Fatalf("%d wait", n)
			}
			r, body := ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`}`)
			if r.StatusCode != 429 || r.Header.Get("Retry-After") != "1" || errorCode(body) != "queue_full" || !strings.Contains(body, name) {
				t.Errorf("%d %v %s", r.StatusCode, r.Header, body)
			}
		})
	}
}
