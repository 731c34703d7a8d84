package mtbench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"leolm/eval"
)

// hostile is a judge's server that fails every request in some way before it answers it, each time in another one.
type hostile struct {
	mu    sync.Mutex
	seen  map[string]int // by request
	fails int            // before an answer; 0: healthy
	kinds map[string]int
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct{ Messages []struct{ Content string } }
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || len(req.Messages) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	content := req.Messages[len(req.Messages)-1].Content
	h.mu.Lock()
	n := h.seen[content]
	h.seen[content]++
	kind := "answer"
	if n < h.fails {
		kind = []string{"429", "500", "503", "cut", "nonsense", "empty", "slow", "no choices", "null", "hang up", "half JSON"}[(len(content)+n)%11]
	}
	h.kinds[kind]++
	h.mu.Unlock()
	body := fmt.Sprintf(`{"choices": [{"message": {"content": "Gut. Note: [[%d]]"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}`, 1+len(content)%10)
	switch kind {
	case "429":
		w.Header().Set("Retry-After", "0.001")
		w.WriteHeader(http.StatusTooManyRequests)
	case "500", "503":
		w.WriteHeader(map[string]int{"500": 500, "503": 503}[kind])
		fmt.Fprint(w, `{"error": {"message": "overloaded"}}`)
	case "cut": // the length is announced, and not reached
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		fmt.Fprint(w, body[:len(body)/2])
	case "half JSON": // the length is right, and the text ends all the same
		fmt.Fprint(w, body[:len(body)/2])
	case "nonsense":
		fmt.Fprint(w, "<html>Bad gateway [[10]]</html>")
	case "empty":
	case "no choices":
		fmt.Fprint(w, `{"choices": []}`)
	case "null":
		fmt.Fprint(w, `{"choices": [{"message": {"content": null}}]}`)
	case "slow":
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	case "hang up":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	default:
		fmt.Fprint(w, body)
	}
}

// judged runs a judge behind a server that fails before each answer, and returns what is written.
func judged(t *testing.T, fails, attempts int, questions int) (*Judged, map[string]string, *hostile, error) {
	t.Helper()
	h := &hostile{seen: map[string]int{}, kinds: map[string]int{}, fails: fails}
	s := httptest.NewServer(h)
	defer s.Close()
	dir := t.TempDir()
	r, err := OpenRun(t.Context(), dir, ownSet(t).Head(questions))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Answer(t.Context(), model(), AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	e := eval.NewEndpoint(eval.EndpointOptions{
		URL: s.URL + "/v1", Model: "richter", Attempts: attempts, Pause: time.Millisecond, Timeout: 200 * time.Millisecond, Concurrency: 8,
	})
	j, err := r.Judge(t.Context(), e, ownJudge(t), eval.Software{}, nil)
	return j, stable(t, dir), h, err
}

func TestJudgeBehindAHostileServer(t *testing.T) {
	_, want, _, err := judged(t, 0, 1, 30)
	if err != nil {
		t.Fatal(err)
	}
	j, got, h, err := judged(t, 3, 4, 30)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s differs from that of a healthy server", name)
		}
	}
	if len(j.Failures) != 0 || !j.Result.Complete && len(h.kinds) < 12 {
		t.Errorf("%v, met %v", j.Failures, h.kinds)
	}
	// Fewer attempts than failures: the server counts as gone, and nothing is made up.
	if _, got, h, err = judged(t, 3, 2, 30); err == nil || h.kinds["answer"] > 0 {
		t.Errorf("%v after %v", err, h.kinds)
	}
	for name := range got {
		if strings.HasPrefix(name, "richter/") {
			t.Errorf("%s was written without a judge", name)
		}
	}
}

func TestJudgeThatRefuses(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	r, err := OpenRun(t.Context(), t.TempDir(), ownSet(t).Head(2))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Answer(t.Context(), model(), AnswerOptions{}, eval.Software{}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = r.Judge(t.Context(), eval.NewEndpoint(eval.EndpointOptions{URL: s.URL, Pause: time.Millisecond}), ownJudge(t), eval.Software{}, nil)
	if err == nil || !strings.Contains(err.Error(), "401") || errors.Is(err, ErrNoRatings) {
		t.Errorf("%v", err)
	}
}
