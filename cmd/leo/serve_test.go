//go:build !nomodel && unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"leolm/internal/recipe"
)

// server is a running leo serve.
type server struct {
	cmd  *exec.Cmd
	url  string
	mu   sync.Mutex
	text bytes.Buffer  // what it says
	done chan struct{} // closed at the end of it
	err  error
}

var listeningOn = regexp.MustCompile(`listening on (\S+)`)

// startServer starts leo serve with a port of its own and waits until it is ready.
func startServer(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command("leo", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...), done: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), env...)
	stderr, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			s.mu.Lock()
			s.text.WriteString(lines.Text() + "\n")
			s.mu.Unlock()
			if m := listeningOn.FindStringSubmatch(lines.Text()); m != nil {
				s.url = m[1]
			}
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.done
	})
	select {
	case <-ready:
	case <-s.done:
		t.Fatalf("it ended: %v\n%s", s.err, s.said())
	case <-time.After(30 * time.Second):
		t.Fatalf("it is not ready:\n%s", s.said())
	}
	return s
}

func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// status asks for a path; 0 means no answer.
func (s *server) status(path string) int {
	r, err := http.Get(s.url + path)
	if err != nil {
		return 0
	}
	r.Body.Close()
	return r.StatusCode
}

// stream starts answers that take long, and returns once they have begun.
func (s *server) stream(t *testing.T, n int) *http.Response {
	t.Helper()
	body := fmt.Sprintf(`{"messages":[{"role":"user","content":"Erzähle mir vom Meer."}],"ignore_eos":true,"n":%d,"stream":true}`, n)
	r, err := http.Post(s.url+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	if _, err := io.ReadFull(r.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *server) end(t *testing.T) error {
	t.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not end:\n%s", s.said())
		return nil
	}
}

// SIGTERM in the middle of a stream: not ready at once, alive, the stream comes to its end, exit status 0.
func TestServeDrains(t *testing.T) {
	s := startServer(t, nil, "--drain-delay", "300ms", "--drain", "20s")
	r := s.stream(t, 2)
	if a, b := s.status("/livez"), s.status("/readyz"); a != 200 || b != 200 {
		t.Errorf("before: livez %d, readyz %d", a, b)
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	unready := false
	for end := time.Now().Add(250 * time.Millisecond); time.Now().Before(end) && !unready; {
		unready = s.status("/readyz") == 503
	}
	if a := s.status("/livez"); !unready || a != 200 {
		t.Errorf("after SIGTERM: unready %v, livez %d", unready, a)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil || !bytes.HasSuffix(b, []byte("data: [DONE]\n\n")) {
		t.Errorf("the stream: %v, %d bytes", err, len(b))
	}
	if err := s.end(t); err != nil {
		t.Errorf("%v\n%s", err, s.said())
	}
}

// At the deadline a stream ends with an error event, and the exit status says so.
func TestServeCutsAtTheDeadline(t *testing.T) {
	s := startServer(t, nil, "--drain", "10ms")
	r := s.stream(t, 64)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil || !bytes.Contains(b, []byte(`data: {"error":{"message":"the server is stopping"`)) {
		t.Errorf("the stream: %v, %q", err, b[max(0, len(b)-200):])
	}
	var exit *exec.ExitError
	if err := s.end(t); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(s.said(), "1 answer was cut off after 10ms; give them longer with --drain") {
		t.Errorf("%v\n%s", err, s.said())
	}
}

// A second signal ends it at once.
func TestServeEndsAtASecondSignal(t *testing.T) {
	s := startServer(t, nil, "--drain-delay", "30s")
	s.stream(t, 64)
	for range 2 {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	start := time.Now()
	if err := s.end(t); err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// Each way to listen prints an address that works, and says why it cannot.
func TestServeListens(t *testing.T) {
	dir := t.TempDir()
	for listen, want := range map[string]string{"127.0.0.1:0": `^http://127\.0\.0\.1:[1-9]\d*$`, "localhost:0": `^http://(127\.0\.0\.1|\[::1\]):[1-9]\d*$`, "[::1]:0": `^http://\[::1\]:[1-9]\d*$`, "unix:" + dir + "/s": "^unix:" + dir + "/s$"} {
		if ln, err := net.Listen("tcp6", "[::1]:0"); err != nil && strings.HasPrefix(listen, "[::1]") {
			continue
		} else if err == nil {
			ln.Close()
		}
		s := startServer(t, nil, "--listen", listen)
		if !regexp.MustCompile(want).MatchString(s.url) {
			t.Errorf("%s: %s", listen, s.url)
		}
		if out, _, err := command("serve", "health", "--listen", strings.TrimPrefix(s.url, "http://")); err != nil || !strings.Contains(out, "ok") {
			t.Errorf("the health of %s: %v, %s", s.url, err, out)
		}
		if n := s.status("/v1/models"); n != 200 && !strings.HasPrefix(s.url, "unix:") {
			t.Errorf("%s: status %d", s.url, n)
		}
	}
	for _, c := range []struct{ listen, want string }{
		{"::1:8080", "such as 127.0.0.1:8080 or [::1]:8080"},
		{"8080", "such as"},
		{"0.0.0.0:0", "without keys anybody"},
		{":0", "without keys anybody"},
		{"unix:" + dir + "/no/s", "no such file"},
		{"192.0.2.1:80", "cannot assign"},
	} {
		if _, _, err := command("serve", "--listen", c.listen); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.listen, err)
		}
	}
	if _, _, err := command("serve", "health", "--listen", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "no server at 127.0.0.1:1") {
		t.Errorf("the health of nobody: %v", err)
	}
	s := startServer(t, nil, "--listen", "0.0.0.0:0", "--no-keys")
	if n := s.status("/v1/models"); n != 200 {
		t.Errorf("without keys on request: %d", n)
	}
}

// A key that leo serve key makes opens the server that reads its file, also when the file grows later.
func TestServeKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	secret := func(name string) string {
		stdout, stderr, err := command("serve", "key", name, "--keys", file, "--requests", "100")
		if err != nil || !strings.HasPrefix(stdout, "leo-") || strings.Contains(stderr, strings.TrimSpace(stdout)) {
			t.Fatalf("%v: %s %s", err, stdout, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	alice := secret("alice")
	s := startServer(t, []string{"LEO_SERVE_KEYS=" + file})
	status := func(key string) int {
		req, _ := http.NewRequest("GET", s.url+"/v1/models", nil)
		req.Header.Set("Authorization", "Bearer "+key)
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.StatusCode
	}
	if a, b := status("x"), status(alice); a != 401 || b != 200 {
		t.Errorf("a wrong key %d, the right one %d", a, b)
	}
	bob := secret("bob")
	for end := time.Now().Add(10 * time.Second); status(bob) != 200; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a new key does not count")
		}
	}
	if _, _, err := command("serve", "key", "bob", "--keys", file); err == nil || !strings.Contains(err.Error(), "the name is that of line 2") {
		t.Errorf("a name twice: %v", err)
	}
	if text := s.said(); strings.Contains(text, alice) || strings.Contains(text, bob) {
		t.Errorf("the log has a key: %s", text)
	}
}

// Spans reach a collector over OTLP/HTTP, the last ones before the end.
func TestServeTraces(t *testing.T) {
	got := make(chan string, 10)
	collector := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(b)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = collector.Serve(ln) }()
	defer collector.Close()
	s := startServer(t, nil, "--trace-endpoint", "http://"+ln.Addr().String()+"/v1/traces")
	s.status("/v1/models")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.end(t); err != nil {
		t.Errorf("%v\n%s", err, s.said())
	}
	select {
	case text := <-got:
		if !strings.HasPrefix(text, "/v1/traces ") || !strings.Contains(text, "GET /v1/models") || !strings.Contains(text, "service.name") {
			t.Errorf("%q", text)
		}
	default:
		t.Error("no trace came")
	}
}

// load reads settings from a file, the environment and flags.
func load(t *testing.T, file string, env []string, args ...string) (*serveSettings, error) {
	t.Helper()
	fl := pflag.NewFlagSet("", pflag.ContinueOnError)
	addServeFlags(fl)
	if err := fl.Parse(args); err != nil {
		t.Fatal(err)
	}
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "leo.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return loadServeSettings(path, fl, env)
}

// Flags come before the environment, the environment before the file, and the file before the defaults.
func TestServeSettings(t *testing.T) {
	const file = `
listen: 127.0.0.1:1
parallel: 3
queue: 4
drain: 5s
host: [a, b]
models:
  - path: x.gguf
    name: x
    context: 100
    cache_size: 1GiB
    adapters: [{path: y, name: z}]
`
	s, err := load(t, file, []string{"LEO_SERVE_QUEUE=40", "LEO_SERVE_DRAIN=50s", "LEO_SERVE_CORS_ORIGIN=https://a.example,https://b.example", "LEO_SERVE_PORT=tcp://10.0.0.1:80", "LEO_SERVE_SERVICE_HOST=10.0.0.1", "PATH=x"},
		"--drain", "500s", "--host", "c", "--open-metrics")
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:1" || s.Parallel != 3 || s.Queue != 40 || s.Drain != 500*time.Second || s.WriteTimeout != 30*time.Second || !s.OpenMetrics ||
		!reflect.DeepEqual(s.Host, []string{"c"}) || !reflect.DeepEqual(s.CORSOrigin, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("%+v", s)
	}
	src, err := s.sources()
	if err != nil || len(src) != 1 || src[0].Name != "x" || src[0].Options.Context != 100 || src[0].Options.CacheBytes != 1<<30 || src[0].Adapters[0].Name != "z" || src[0].Adapters[0].Strength != 1 {
		t.Errorf("%+v, %v", src, err)
	}
	// What is printed is read back as the same.
	var b bytes.Buffer
	if err := recipe.Print(&b, s.shown()); err != nil {
		t.Fatal(err)
	}
	again, err := load(t, b.String(), nil)
	if err != nil || !reflect.DeepEqual(s, again) {
		t.Errorf("%v: printed and read again:\n%+v\n%+v", err, s, again)
	}
	s.TraceEndpoint = "http://user:secret@localhost/v1/traces"
	if text := s.shown().TraceEndpoint; strings.Contains(text, "secret") {
		t.Errorf("printed: %s", text)
	}
	s.take([]string{"name=a.gguf", "b.gguf"}, []string{"l=c"})
	if len(s.Models) != 2 || s.Models[0].Name != "name" || s.Models[1].Path != "b.gguf" || s.Models[0].Adapters[0].Path != "c" {
		t.Errorf("%+v", s.Models)
	}
}

func TestMistakesInServeSettings(t *testing.T) {
	for _, c := range []struct {
		file string
		env  []string
		args []string
		want string
	}{
		{"liste: x", nil, nil, "leo.yaml:1:1: liste: unknown key; did you mean listen?"},
		{"queue: many", nil, nil, "leo.yaml:1:8: queue"},
		{"models: [{name: x, pfad: y}]", nil, nil, "pfad"},
		{"models: [{cache_size: 3 apples}]", nil, nil, "leo.yaml:1:23: models.0.cache_size: \"3 apples\" is no size"},
		{"models: [{path: x, adapters: [{name: y}]}]", nil, nil, "path"},
		{"", []string{"LEO_SERVE_QUEU=3"}, nil, "LEO_SERVE_QUEU is none of"},
		{"", []string{"LEO_SERVE_QUEUE=x"}, nil, "LEO_SERVE_QUEUE: "},
		{"", []string{"LEO_SERVE_LOG_LEVEL=loud"}, nil, "LEO_SERVE_LOG_LEVEL: "},
		{"", nil, []string{"--queue=0"}, "--queue: "},
		{"", nil, []string{"--tls-cert=x"}, "--tls-cert: a certificate and its key belong together"},
		{"", nil, []string{"--debug"}, "--debug: profiles are for administrators"},
		{"", nil, []string{"--max-body=8 apples"}, "--max-body: "},
		{"", nil, []string{"--cache-type=f8"}, "--cache-type: "},
		{"", nil, []string{"--drain=-1s"}, "--drain: a time must not be negative"},
		{"", nil, []string{"--trace-endpoint=localhost:4318"}, "--trace-endpoint: want a URL"},
		{"", nil, []string{"--metrics-names=x"}, "--metrics-names: "},
	} {
		_, err := load(t, c.file, c.env, c.args...)
		var u usageError
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &u) {
			t.Errorf("%q %q %q: %v, want %q", c.file, c.env, c.args, err, c.want)
		}
	}
}

// Every flag of the server is a key, and its default is that of the key.
func TestServeFlagsAreKeys(t *testing.T) {
	fl := pflag.NewFlagSet("", pflag.ContinueOnError)
	addServeFlags(fl)
	values, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, o := range serveOptions() {
		got := fmt.Sprint(reflect.ValueOf(values).Elem().FieldByIndex(o.field.Index).Interface())
		if f := fl.Lookup(o.flag); f == nil || f.DefValue != got {
			t.Errorf("%s: flag %v, key %q", o.key, f, got)
		}
		n++
	}
	if n < 30 {
		t.Errorf("%d options", n)
	}
	if _, err := json.Marshal(values); err != nil {
		t.Error(err)
	}
}

// The settings in the manifests and on the page are settings.
func TestDeployedSettings(t *testing.T) {
	text, err := os.ReadFile("../../deploy/kubernetes/leo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^  leo\.yaml: \|\n((?:    .*\n)+)`).FindSubmatch(text)
	if found == nil {
		t.Fatal("no settings in the manifest")
	}
	s, err := load(t, regexp.MustCompile(`(?m)^    `).ReplaceAllString(string(found[1]), ""), nil)
	if err != nil || s.Keys == "" || s.MetricsNames != "vllm" || s.DrainDelay == 0 {
		t.Errorf("%v: %+v", err, s)
	}
	page, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	for _, b := range blocks {
		if _, err := load(t, string(b[1]), nil); err != nil {
			t.Errorf("docs/serve.md: %v", err)
		}
	}
	if len(blocks) == 0 {
		t.Error("no settings on the page")
	}
	for _, o := range serveOptions() {
		if !bytes.Contains(page, []byte("`"+o.key+"`")) && !bytes.Contains(page, []byte("`--"+o.flag)) {
			t.Errorf("docs/serve.md does not say what %s is", o.key)
		}
	}
}

// blocks are the code blocks of a page in a language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(text, -1) {
		out = append(out, string(block[1]))
	}
	return out
}

// askAll sends the requests of a page to a server.
func askAll(t *testing.T, page, url string) {
	t.Helper()
	n := 0
	for _, block := range blocks(t, page, "sh") {
		for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
			if !strings.HasPrefix(line, "curl ") {
				continue
			}
			n++
			line = strings.Replace(line, "curl ", "curl -sS --fail-with-body ", 1)
			line = strings.ReplaceAll(line, "http://127.0.0.1:8080", url)
			if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	}
	if n < 4 {
		t.Errorf("only %d requests on %s", n, page)
	}
}

// The programs of the page run with OpenAI's and Ollama's libraries. They need LEO_PYTHON with openai and ollama.
func TestAPIPageClients(t *testing.T) {
	python := os.Getenv("LEO_PYTHON")
	if python == "" || exec.Command(python, "-c", "import openai, ollama").Run() != nil {
		t.Skip("LEO_PYTHON is no Python with openai and ollama")
	}
	s := startServer(t, nil)
	programs := blocks(t, "api.md", "python")
	for _, program := range programs {
		program = strings.ReplaceAll(program, "http://127.0.0.1:8080", s.url)
		if out, err := exec.Command(python, "-c", program).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) == 0 {
			t.Errorf("%s\n%v\n%s", program, err, out)
		}
	}
	if len(programs) < 3 {
		t.Errorf("only %d programs", len(programs))
	}
}

// What the pages ask a server with curl is answered.
func TestServePages(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	page, err := os.ReadFile("../../docs/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t, nil)
	askAll(t, "serve.md", s.url)
	askAll(t, "api.md", s.url)
	for _, metric := range regexp.MustCompile("leo_[a-z_]+").FindAllString(string(page), -1) {
		r, err := http.Get(s.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !bytes.Contains(b, []byte("\n"+metric)) {
			t.Errorf("the page has the metric %s, the server has not: %v", metric, err)
		}
	}
}
