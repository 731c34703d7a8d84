package serve

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// descriptors counts the open files of this process; -1 where the system does not tell.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

// openStream sends a request on a connection of its own, with a small window, and waits for the beginning of its answer, if
// that is a stream.
func openStream(addr, body string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := c.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	_, err = fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err == nil && strings.Contains(body, `"stream":true`) {
		_, err = bufio.NewReaderSize(c, 16).ReadString('\n')
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Clients that go away in the middle leave nothing behind: no goroutine, no open file, no place in the batch.
func TestAbortedStreamsLeaveNothing(t *testing.T) {
	s, addr, _ := listening(t, Config{Queue: 1000}, Listening{})
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	time.Sleep(50 * time.Millisecond)
	goroutines, files := runtime.NumGoroutine(), descriptors()
	const all, together = 1000, 50
	places := make(chan struct{}, together)
	var wg sync.WaitGroup
	for i := range all {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			c, err := openStream(addr, `{`+hello+fmt.Sprintf(`,"ignore_eos":true,"n":%d,"stream":%v}`, 1+i%3, i%5 != 0))
			if err != nil {
				t.Error(err)
				return
			}
			if i%2 == 0 {
				_ = c.(*net.TCPConn).SetLinger(0) // a reset instead of a goodbye
			}
			c.Close()
		})
	}
	wg.Wait()
	wait(t, func() bool {
		return s.busy.Load() == 0 && runtime.NumGoroutine() <= goroutines+3 && descriptors() <= files+2
	}, "goroutines and files are back at "+fmt.Sprint(goroutines, files))
	m, release, err := s.models.get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	wait(t, func() bool { st := m.sched.Stats(); return st.Running+st.Waiting+st.PagesInUse == 0 }, "all places are free")
}

// Clients that read slowly or not at all are cut off when their time is up, and delay nobody.
func TestSlowReadersDelayNobody(t *testing.T) {
	var log logBuffer
	s, addr, _ := listening(t, Config{WriteTimeout: 300 * time.Millisecond, Log: log.logger()}, Listening{})
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	answer := func() time.Duration {
		start := time.Now()
		if r, body := ask(t, "POST", "http://"+addr+"/v1/chat/completions", `{`+hello+`,"temperature":0}`); r.StatusCode != 200 {
			t.Errorf("%d %s", r.StatusCode, body)
		}
		return time.Since(start)
	}
	answer()
	// Log-probabilities make events large, so that what the kernel buffers is full before the answer ends.
	const body = `{` + hello + `,"ignore_eos":true,"n":8,"logprobs":true,"top_logprobs":20,"stream":true}`
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 8 {
		wg.Go(func() {
			c, err := openStream(addr, body)
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(2 * time.Second)
			c.Close()
		})
	}
	wait(t, func() bool { return s.busy.Load() == 8 }, "the slow readers came")
	slowest := time.Duration(0)
	for range 10 {
		slowest = max(slowest, answer())
	}
	if slowest > 3*time.Second {
		t.Errorf("beside slow readers an answer took %v", slowest)
	}
	wait(t, func() bool { return s.busy.Load() == 0 }, "the slow readers are gone")
	cut := 0
	for _, r := range log.records(t, "request") {
		if r["write_error"] != nil && r["status"] == 499.0 {
			cut++
		}
	}
	if cut == 0 {
		t.Error("nobody was cut off")
	}
}

// Thousands of connections that say nothing do not keep others out; beyond the bound, more wait until some are closed.
func TestIdleConnections(t *testing.T) {
	n := 10_000
	if testing.Short() || raceEnabled {
		n = 2000
	}
	if limit := fileLimit(); limit < 2*n+200 {
		n = (limit - 200) / 2
	}
	_, addr, _ := listening(t, Config{}, Listening{MaxConnections: n + 10})
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("after %d connections: %v", len(conns), err)
		}
		conns = append(conns, c)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func() error {
		r, err := client.Get("http://" + addr + "/v1/models")
		if err != nil {
			return err
		}
		return r.Body.Close()
	}
	start := time.Now()
	if err := get(); err != nil || time.Since(start) > time.Second {
		t.Errorf("beside %d idle connections: %v after %v", n, err, time.Since(start))
	}
	for range 10 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	done := make(chan error, 1)
	go func() { done <- get() }()
	select {
	case err := <-done:
		t.Errorf("a connection beyond the bound: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	conns[0].Close()
	if err := <-done; err != nil {
		t.Errorf("after one was closed: %v", err)
	}
}

// startStream starts a long answer and returns what has been read of it so far, and the rest when it has ended.
func startStream(t *testing.T, url string) (rest func() string) {
	t.Helper()
	r, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(`{`+hello+`,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	b := bufio.NewReader(r.Body)
	if _, err := b.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return func() string {
		defer r.Body.Close()
		text, err := io.ReadAll(b)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
}

// A server that is told to end says so at once, answers what runs, refuses what is new, and stays alive meanwhile.
func TestDrain(t *testing.T) {
	s, addr, stop := listening(t, Config{}, Listening{Drain: 20 * time.Second, DrainDelay: 300 * time.Millisecond})
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := "http://" + addr
	s.turn.Lock() // the answer is not written before everything is seen
	r := make(chan string, 1)
	go func() {
		_, body := ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`,"stream":true}`)
		r <- body
	}()
	wait(t, func() bool { return s.busy.Load() == 1 }, "a stream runs")
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	status := func(path string) int { r, _ := ask(t, "GET", url+path, ""); return r.StatusCode }
	wait(t, func() bool { return status("/readyz") == 503 }, "the server is not ready")
	if n := status("/v1/models"); n != 200 {
		t.Errorf("within the delay: %d", n)
	}
	wait(t, s.stopping.Load, "the delay is over")
	if r, body := ask(t, "GET", url+"/v1/models", ""); r.StatusCode != 503 || r.Header.Get("Retry-After") == "" || errorCode(body) != "stopping" || !r.Close {
		t.Errorf("a new request: %d %v %s", r.StatusCode, r.Header, body)
	}
	if a, b := status("/livez"), status("/readyz"); a != 200 || b != 503 {
		t.Errorf("livez %d, readyz %d", a, b)
	}
	s.turn.Unlock()
	if body := <-r; !strings.HasSuffix(body, "data: [DONE]\n\n") {
		t.Errorf("the stream was cut: %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}

// What has not ended by the deadline ends with an error that its client sees: in a stream, or as the status.
func TestDrainDeadline(t *testing.T) {
	var log logBuffer
	s, addr, stop := listening(t, Config{Log: log.logger()}, Listening{Drain: 50 * time.Millisecond})
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := "http://" + addr
	rest := startStream(t, url)
	status := make(chan int, 1)
	go func() {
		r, _ := ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`,"ignore_eos":true,"n":8}`)
		status <- r.StatusCode
	}()
	wait(t, func() bool { return s.busy.Load() == 2 }, "two answers run")
	s.turn.Lock()
	go func() {
		time.Sleep(300 * time.Millisecond)
		s.turn.Unlock()
	}()
	err := stop()
	var cut *CutError
	if !errors.As(err, &cut) || cut.Answers != 2 {
		t.Errorf("%v", err)
	}
	if body := rest(); !strings.Contains(body, `data: {"error":{"message":"the server is stopping","type":"server_error","param":null,"code":"stopping"}}`) || strings.Contains(body, "DONE") {
		t.Errorf("the stream ends with %q", body[max(0, len(body)-300):])
	}
	if n := <-status; n != 503 {
		t.Errorf("status %d", n)
	}
	for _, r := range log.records(t, "request") {
		if r["status"] != 503.0 || r["bytes"] == 0.0 {
			t.Errorf("logged as %v", r)
		}
	}
}

// A request is one trace: that of its client, with the time in the queue, for the prompt, and for the answer, and no text.
func TestTraces(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	s, url := newTest(t, Config{Tracer: provider})
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	ask(t, "POST", url+"/v1/chat/completions", `{`+hello+`,"temperature":0}`, "Traceparent: 00-"+id+"-00f067aa0ba902b7-01")
	wait(t, func() bool { return s.busy.Load() == 0 && len(spans.GetSpans()) == 4 }, "all spans have ended")
	names := map[string]tracetest.SpanStub{}
	for _, sp := range spans.GetSpans() {
		names[sp.Name] = sp
		if sp.SpanContext.TraceID().String() != id {
			t.Errorf("%s is in trace %s", sp.Name, sp.SpanContext.TraceID())
		}
		if text := fmt.Sprint(sp.Attributes); strings.Contains(text, "Frankreich") {
			t.Errorf("%s has a text: %s", sp.Name, text)
		}
	}
	server := names["POST /v1/chat/completions"]
	if server.Parent.SpanID().String() != "00f067aa0ba902b7" {
		t.Errorf("the parent is %s", server.Parent.SpanID())
	}
	queue, prefill, decode := names["queue"], names["prefill"], names["decode"]
	for _, sp := range []tracetest.SpanStub{queue, prefill, decode} {
		if sp.Parent.SpanID() != server.SpanContext.SpanID() || sp.EndTime.Before(sp.StartTime) || sp.StartTime.Before(server.StartTime) || sp.EndTime.After(server.EndTime.Add(time.Millisecond)) {
			t.Errorf("%s: %v to %v in %v to %v", sp.Name, sp.StartTime, sp.EndTime, server.StartTime, server.EndTime)
		}
	}
	if !prefill.StartTime.Equal(queue.EndTime) || !decode.StartTime.Equal(prefill.EndTime) || !decode.EndTime.After(decode.StartTime) {
		t.Errorf("queue %v–%v, prefill %v–%v, decode %v–%v", queue.StartTime, queue.EndTime, prefill.StartTime, prefill.EndTime, decode.StartTime, decode.EndTime)
	}
}

// A handler behind all wrappers still flushes and has deadlines.
func TestWrappersUnwrap(t *testing.T) {
	s, err := New(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.mux.HandleFunc("GET /chain", func(w http.ResponseWriter, _ *http.Request) {
		rc := http.NewResponseController(w)
		fmt.Fprint(w, errors.Join(rc.Flush(), rc.SetWriteDeadline(time.Now().Add(time.Second)), rc.SetReadDeadline(time.Time{})))
	})
	web := httptest.NewServer(s)
	defer web.Close()
	if _, body := ask(t, "GET", web.URL+"/chain", ""); body != "<nil>" {
		t.Error(body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Load(ctx); err == nil {
		t.Error("a canceled load")
	}
}
