package llmclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server answers chat requests with what f returns: a status and a body.
func server(t *testing.T, f func(n int, r Request, h http.Header) (int, string, http.Header)) *Client {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/chat/completions" || r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		var req Request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		status, body, head := f(int(n.Add(1)), req, r.Header)
		for k, v := range head {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return &Client{BaseURL: s.URL + "/v1/", Key: "k", Model: "m", Pause: time.Millisecond}
}

func answer(text string) string {
	b, _ := json.Marshal(text)
	return fmt.Sprintf(`{"model":"m1","choices":[{"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}`, b)
}

func ask(text string) Request { return Request{Messages: []Message{{"user", text}}} }

func TestChat(t *testing.T) {
	zero := 0.0
	c := server(t, func(n int, r Request, h http.Header) (int, string, http.Header) {
		if h.Get("Authorization") != "Bearer k" || r.Model != "m" || *r.Temperature != 0 || r.Messages[0].Content != "Grüße" {
			t.Errorf("request %+v %v", r, h)
		}
		return 200, answer("Hallo"), nil
	})
	req := ask("Grüße")
	req.Temperature = &zero
	r, err := c.Chat(context.Background(), req)
	if err != nil || r != (Response{"Hallo", "stop", "m1", Usage{10, 5}, 1}) {
		t.Errorf("%+v, %v", r, err)
	}
	if cost := (Price{2, 10}).Cost(r.Usage); cost != 70e-6 {
		t.Errorf("cost %v", cost)
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		status   int
		body     string
		head     http.Header
		attempts int // expected requests
		want     string
	}{
		{500, `{"error":{"message":"oops"}}`, nil, 3, "HTTP 500: oops (after 3 attempts)"},
		{429, `{"error":"slow down"}`, http.Header{"Retry-After": {"0.001"}}, 3, "HTTP 429: slow down (rate limit"},
		{503, `<html>`, nil, 3, "HTTP 503: <html>"},
		{400, `{"message":"bad"}`, nil, 1, "HTTP 400: bad"},
		{401, `{"detail":"no"}`, nil, 1, "HTTP 401: no (check the API key)"},
		{404, ``, nil, 1, "check the base URL"},
		{200, `{"choices":[]}`, nil, 3, "an answer without text"},
		{200, `nonsense`, nil, 3, "not JSON"},
	} {
		var n atomic.Int64
		client := server(t, func(int, Request, http.Header) (int, string, http.Header) {
			n.Add(1)
			return c.status, c.body, c.head
		})
		client.Attempts = 3
		_, err := client.Chat(context.Background(), ask("x"))
		if err == nil || !strings.Contains(err.Error(), c.want) || int(n.Load()) != c.attempts {
			t.Errorf("%d %s: %v after %d requests, want %q after %d", c.status, c.body, err, n.Load(), c.want, c.attempts)
		}
	}
	client := server(t, func(n int, _ Request, _ http.Header) (int, string, http.Header) {
		if n < 3 {
			return 502, "", nil
		}
		return 200, answer("ok"), nil
	})
	if r, err := client.Chat(context.Background(), ask("x")); err != nil || r.Attempts != 3 {
		t.Errorf("%+v %v", r, err)
	}
	client.Pause = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	client = server(t, func(int, Request, http.Header) (int, string, http.Header) { return 500, "", nil })
	client.Pause = time.Hour
	if _, err := client.Chat(ctx, ask("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("canceled while waiting: %v", err)
	}
	if _, err := (&Client{BaseURL: "localhost:1"}).Chat(context.Background(), ask("x")); err == nil || !strings.Contains(err.Error(), "base URL") {
		t.Errorf("bad URL: %v", err)
	}
	if d := retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); d < 59*time.Minute || d > time.Hour {
		t.Errorf("date: %v", d)
	}
}

func jobs(n int) (out []Job) {
	for i := range n {
		out = append(out, Job{ID: fmt.Sprint(i), Request: ask(fmt.Sprintf("q%d", i))})
	}
	return out
}

func TestBatchResumes(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "j.jsonl")
	var mu sync.Mutex
	asked := map[string]int{}
	now, most := 0, 0
	fail := true
	c := server(t, func(n int, r Request, _ http.Header) (int, string, http.Header) {
		mu.Lock()
		asked[r.Messages[0].Content]++
		now++
		most = max(most, now)
		stop := fail && n > 20
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		if stop {
			return 403, "", nil
		}
		return 200, answer("a-" + r.Messages[0].Content), nil
	})
	b := &Batch{Client: c, Journal: journal, Concurrency: 4}
	if _, err := b.Run(context.Background(), jobs(50)); err == nil || !strings.Contains(err.Error(), "HTTP 403") {
		t.Fatalf("first run: %v", err)
	}
	if most > 4 {
		t.Errorf("%d requests at a time", most)
	}
	// An answer that is on its way when another one ends the run is asked for again.
	kept, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	first := int64(bytes.Count(kept, []byte("\n")))
	// A crash in the middle of a line.
	f, _ := os.OpenFile(journal, os.O_APPEND|os.O_WRONLY, 0)
	f.WriteString(`{"id":"49","key":"x","resp`)
	f.Close()
	fail = false
	b = &Batch{Client: c, Journal: journal, Concurrency: 4}
	got, err := b.Run(context.Background(), jobs(50))
	if err != nil || len(got) != 50 || got["49"].Response.Text != "a-q49" {
		t.Fatalf("second run: %d results, %v", len(got), err)
	}
	all, run := b.Usage()
	if all.Prompt != 500 || run.Prompt != 10*(50-first) || first < 10 {
		t.Errorf("usage %+v, of this run %+v, after %d in the first", all, run, first)
	}
	twice := 0
	for _, n := range asked {
		if n > 1 {
			twice++
		}
	}
	if twice > 4 { // those that failed
		t.Errorf("%d questions asked twice", twice)
	}
	// Another request under the same name is not the same job.
	changed := jobs(50)
	changed[7].Request = ask("new")
	b = &Batch{Client: c, Journal: journal}
	if got, err = b.Run(context.Background(), changed); err != nil || got["7"].Response.Text != "a-new" || asked["new"] != 1 || asked["q8"] != 1 {
		t.Errorf("changed job: %+v %v", got["7"], err)
	}
	os.WriteFile(journal, []byte("nonsense\n"), 0o644)
	if _, err := b.Run(context.Background(), jobs(1)); err == nil || !strings.Contains(err.Error(), "line 1 is no result") {
		t.Errorf("foreign journal: %v", err)
	}
	if _, err := (&Batch{Client: c, Journal: filepath.Join(t.TempDir(), "x")}).Run(context.Background(), append(jobs(2), jobs(1)...)); err == nil {
		t.Error("two jobs of one name: no error")
	}
}

func TestBatchChecksAndBudget(t *testing.T) {
	c := server(t, func(n int, r Request, _ http.Header) (int, string, http.Header) {
		return 200, answer(fmt.Sprint(n)), nil
	})
	good := func(want string) func(Response) error {
		return func(r Response) error {
			if r.Text != want {
				return fmt.Errorf("not %s", want)
			}
			return nil
		}
	}
	dir := t.TempDir()
	b := &Batch{Client: c, Journal: filepath.Join(dir, "a"), Tries: 3, Concurrency: 1}
	got, err := b.Run(context.Background(), []Job{{"x", ask("x"), good("2")}, {"y", ask("y"), good("99")}})
	if err != nil || got["x"].Problem != "" || got["x"].Response.Attempts != 2 || got["x"].Response.Usage.Prompt != 20 || got["y"].Problem != "not 99" {
		t.Errorf("%+v %v", got, err)
	}
	b = &Batch{Client: c, Journal: filepath.Join(dir, "b"), Concurrency: 1, Price: Price{1e6, 0}, Budget: 35}
	if got, err = b.Run(context.Background(), jobs(10)); !errors.Is(err, ErrBudget) || len(got) != 4 {
		t.Errorf("budget: %d results, %v", len(got), err)
	}
}
