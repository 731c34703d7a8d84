// Package llmclient talks to OpenAI-compatible chat endpoints: translation of
// datasets and judging of answers both run many requests through one.
//
// It owns: the request and its answer, retries with growing pauses, limits on
// concurrency and cost, and a journal from which an interrupted run resumes. It does not own prompts or what an answer means.
package llmclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Message is one turn of a request.
type Message struct {
	Role    string `json:"role"` // "system", "user" or "assistant"
	Content string `json:"content"`
}

// Request is one chat completion. Fields with their zero value are left to the
// server; a Temperature of 0 is a value, nil is none.
type Request struct {
	Model          string          `json:"model"` // empty: the client's
	Messages       []Message       `json:"messages"`
	Temperature    *float64        `json:"temperature,omitempty"`
	TopP           *float64        `json:"top_p,omitempty"`
	MaxTokens      int             `json:"max_tokens,omitempty"`
	Seed           *int64          `json:"seed,omitempty"`
	Stop           []string        `json:"stop,omitempty"`
	ResponseFormat json.RawMessage `json:"response_format,omitempty"`
}

// Usage counts tokens as the server reports them.
type Usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
}

// Add sums usage.
func (u *Usage) Add(v Usage) { u.Prompt += v.Prompt; u.Completion += v.Completion }

// Response is the answer to a Request.
type Response struct {
	Text   string `json:"text"`
	Finish string `json:"finish_reason"` // "stop", "length", …
	Model  string `json:"model,omitempty"`
	Usage  Usage  `json:"usage"`
	// Attempts is how many requests it took.
	Attempts int `json:"attempts,omitempty"`
}

// APIError is an answer of the server that is not a completion.
type APIError struct {
	URL     string
	Status  int // HTTP status
	Message string
	// After is how long the server asks to wait, 0 if it does not say.
	After time.Duration
}

func (e *APIError) Error() string {
	hint := ""
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint = " (check the API key)"
	case http.StatusNotFound:
		hint = " (check the base URL and the model's name)"
	case http.StatusTooManyRequests:
		hint = " (rate limit or quota: lower the concurrency)"
	}
	return fmt.Sprintf("%s: HTTP %d: %s%s", e.URL, e.Status, e.Message, hint)
}

// temporary reports whether the same request may succeed later.
func (e *APIError) temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500
}

// Price is the cost of a million tokens.
type Price struct{ Prompt, Completion float64 }

// Cost of some usage.
func (p Price) Cost(u Usage) float64 {
	return (float64(u.Prompt)*p.Prompt + float64(u.Completion)*p.Completion) / 1e6
}

// Client sends requests to one endpoint. Safe for concurrent use.
type Client struct {
	// BaseURL ends before /chat/completions, as "https://api.openai.com/v1".
	BaseURL string
	Key     string // bearer token; empty for none
	Model   string
	HTTP    *http.Client // nil: http.DefaultClient
	// Timeout of one attempt; 0: 10 minutes.
	Timeout time.Duration
	// Attempts per request; 0: 6. Pauses between them grow from Pause (0: one
	// second) to a minute, or as the server asks for, at most five minutes.
	Attempts int
	Pause    time.Duration
	// Log is called for repeated attempts; may be nil.
	Log func(format string, args ...any)
}

const (
	maxAnswer = 64 << 20
	maxPause  = time.Minute
	maxAsked  = 5 * time.Minute
)

// Chat sends a request and returns the first choice. Temporary errors
// (no connection, timeouts, 408, 409, 425, 429, 5xx, broken answers) are
// tried again.
func (c *Client) Chat(ctx context.Context, req Request) (Response, error) {
	if req.Model == "" {
		req.Model = c.Model
	}
	var r Response
	attempts, err := c.send(ctx, "/chat/completions", req, func(target string, data []byte) (err error) {
		r, err = chatResponse(target, data)
		return err
	})
	r.Attempts = attempts
	return r, err
}

func chatResponse(target string, data []byte) (Response, error) {
	var doc struct {
		Model   string
		Usage   Usage
		Choices []struct {
			Message struct{ Content *string }
			Finish  string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return Response{}, fmt.Errorf("%s: the answer is not JSON: %w", target, err)
	}
	if len(doc.Choices) == 0 || doc.Choices[0].Message.Content == nil {
		return Response{}, fmt.Errorf("%s: an answer without text: %.200s", target, data)
	}
	return Response{Text: *doc.Choices[0].Message.Content, Finish: doc.Choices[0].Finish, Model: doc.Model, Usage: doc.Usage}, nil
}

// send posts a request below the base URL until read accepts the answer, and says how many attempts it took.
func (c *Client) send(ctx context.Context, path string, req any, read func(target string, data []byte) error) (int, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return 0, err
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return 0, fmt.Errorf("base URL %q: want http(s)://host/…, as https://api.openai.com/v1", c.BaseURL)
	}
	target := strings.TrimSuffix(c.BaseURL, "/") + path
	attempts, pause := c.Attempts, c.Pause
	if attempts <= 0 {
		attempts = 6
	}
	if pause <= 0 {
		pause = time.Second
	}
	for n := 1; ; n++ {
		data, err := c.once(ctx, target, body)
		if err == nil {
			err = read(target, data)
		}
		if err == nil {
			return n, nil
		}
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		var api *APIError
		isAPI := errors.As(err, &api)
		if isAPI && !api.temporary() {
			return n, err
		}
		if n == attempts {
			return n, fmt.Errorf("%w (after %d attempts)", err, n)
		}
		// Half of the pause is random, so that clients do not retry in step.
		wait := pause/2 + rand.N(pause/2+1)
		if isAPI && api.After > 0 {
			wait = min(api.After, maxAsked)
		}
		pause = min(2*pause, maxPause)
		if c.Log != nil {
			c.Log("%v; next attempt in %s", err, wait.Round(time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return n, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// once posts a body and returns that of the answer.
func (c *Client) once(ctx context.Context, target string, body []byte) ([]byte, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%s: the answer broke off: %w", target, err)
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("%s: an answer of more than %d bytes", target, maxAnswer)
	}
	if res.StatusCode/100 != 2 {
		return nil, &APIError{URL: target, Status: res.StatusCode, Message: errorMessage(data), After: retryAfter(res.Header.Get("Retry-After"))}
	}
	return data, nil
}

// errorMessage finds the message in the usual shapes of an error body.
func errorMessage(data []byte) string {
	var doc struct {
		Error   json.RawMessage
		Message string
		Detail  string
	}
	if json.Unmarshal(data, &doc) == nil {
		var inner struct{ Message string }
		var text string
		switch {
		case json.Unmarshal(doc.Error, &inner) == nil && inner.Message != "":
			return inner.Message
		case json.Unmarshal(doc.Error, &text) == nil && text != "":
			return text
		case doc.Message != "":
			return doc.Message
		case doc.Detail != "":
			return doc.Detail
		}
	}
	return fmt.Sprintf("%.300s", strings.TrimSpace(string(data)))
}

// retryAfter reads the header: seconds or a date.
func retryAfter(h string) time.Duration {
	if s, err := strconv.ParseFloat(h, 64); err == nil && s > 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second))
	}
	if at, err := http.ParseTime(h); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
