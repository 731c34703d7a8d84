package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const stream = `: still reading

data: {"choices":[{"text":"","index":0,"finish_reason":null}],"usage":null}

data: {"choices":[{"text":"Guten","index":0,"finish_reason":null}]}

data: {"choices":[{"text":" Tag","index":0,"finish_reason":null}]}

data: {"choices":[{"text":"","index":0,"finish_reason":"length"}]}

data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}},"timings":{"predicted_per_second":12.5}}

data: [DONE]

`

// answering returns a server that gives everybody the same answer, and where it keeps what it was asked.
func answering(t *testing.T, status int, body string) (*server, *string) {
	t.Helper()
	var asked string
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.Path + " " + string(b)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(h.Close)
	return &server{name: "fake", base: h.URL, model: "m", stops: []int32{2}, client: h.Client()}, &asked
}

func TestComplete(t *testing.T) {
	s, asked := answering(t, http.StatusOK, stream)
	var heard []int
	a, err := s.complete(context.Background(), request{prompt: []int32{7, 8, 9}, tokens: 2},
		func(n int, at time.Time) { heard = append(heard, n) })
	if err != nil {
		t.Fatal(err)
	}
	if len(a.chunks) != 2 || len(heard) != 2 || heard[1] != 2 {
		t.Errorf("%d pieces of text, heard %v", len(a.chunks), heard)
	}
	if a.prompt != 3 || a.tokens != 2 || a.cached != 1 || a.serverRate != 12.5 || a.end.Before(a.chunks[1]) || a.first() <= 0 {
		t.Errorf("%+v", a)
	}
	head, body, _ := strings.Cut(*asked, "{")
	if head != "POST /v1/completions " {
		t.Errorf("asked %q", head)
	}
	var sent struct {
		Prompt []int32            `json:"prompt"`
		Max    int                `json:"max_tokens"`
		Bias   map[string]float64 `json:"logit_bias"`
		Stream bool               `json:"stream"`
	}
	if err := json.Unmarshal([]byte("{"+body), &sent); err != nil {
		t.Fatal(err)
	}
	if len(sent.Prompt) != 3 || sent.Max != 2 || sent.Bias["2"] != -100 || !sent.Stream {
		t.Errorf("sent %s", body)
	}
}

func TestCompleteRefuses(t *testing.T) {
	cut := stream[:strings.Index(stream, "data: [DONE]")]
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"status":      {http.StatusTooManyRequests, `{"error":{"message":"the queue is full"}}`, "429 Too Many Requests: {\"error\""},
		"cut off":     {http.StatusOK, cut, "unexpected EOF"},
		"error later": {http.StatusOK, "data: {\"error\":{\"message\":\"broken\"}}\n\n", "broken"},
		"no JSON":     {http.StatusOK, "data: {\n\n", "event"},
		"no text":     {http.StatusOK, "data: [DONE]\n\n", "no text"},
		"too short":   {http.StatusOK, strings.Replace(stream, `"completion_tokens":2`, `"completion_tokens":1`, 1), "1 of the answer"},
		"more prompt": {http.StatusOK, strings.Replace(stream, `"prompt_tokens":3`, `"prompt_tokens":4`, 1), "4 tokens of the prompt"},
	} {
		s, _ := answering(t, c.status, c.body)
		_, err := s.complete(context.Background(), request{prompt: []int32{7, 8, 9}, tokens: 2}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "fake") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSendEndsWithTheFirstError(t *testing.T) {
	s, _ := answering(t, http.StatusInternalServerError, "no")
	far := request{at: time.Hour, prompt: []int32{1}, tokens: 1}
	_, err := send(context.Background(), s, []request{{prompt: []int32{1}, tokens: 1}, far})
	if err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("%v", err)
	}
}

func TestSendAtItsTimes(t *testing.T) {
	s, _ := answering(t, http.StatusOK, stream)
	r := request{prompt: []int32{1, 2, 3}, tokens: 2}
	later := r
	later.at = 60 * time.Millisecond
	answers, err := send(context.Background(), s, []request{r, later})
	if err != nil {
		t.Fatal(err)
	}
	if d := answers[1].due.Sub(answers[0].due); d != later.at {
		t.Errorf("due %v apart", d)
	}
	if !answers[1].chunks[0].After(answers[1].due) {
		t.Error("answered before it was due")
	}
}
