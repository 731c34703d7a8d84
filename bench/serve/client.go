package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// answer is what one request got.
type answer struct {
	due    time.Time   // when it should have been sent
	chunks []time.Time // when each piece of text came
	end    time.Time

	prompt, cached, tokens int // of the usage field

	// serverRate is what llama-server says of its own decoding, in tokens per second; 0 if the server says nothing.
	serverRate float64
}

// first is the time to the first token, from the moment at which the request was due.
func (a *answer) first() float64 { return a.chunks[0].Sub(a.due).Seconds() }

// event is the part of a chunk of /v1/completions that is needed here.
type event struct {
	Choices []struct {
		Text string `json:"text"`
	} `json:"choices"`
	Usage *struct {
		Prompt  int `json:"prompt_tokens"`
		Tokens  int `json:"completion_tokens"`
		Details struct {
			Cached int `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
	Timings struct {
		Rate float64 `json:"predicted_per_second"`
	} `json:"timings"`
	Error json.RawMessage `json:"error"`
}

// complete sends a request to /v1/completions and reads the stream. heard, which may be nil, is told about every piece
// of text as it comes. An answer with fewer tokens than asked for is an error, for rates would not be comparable.
func (s *server) complete(ctx context.Context, r request, heard func(n int, at time.Time)) (*answer, error) {
	// Neither program may end early: ignore_eos is a field of both, the bias is for what else ends an answer.
	bias := map[string]float64{}
	for _, id := range s.stops {
		bias[strconv.Itoa(int(id))] = -100
	}
	body, err := json.Marshal(map[string]any{
		"model": s.model, "prompt": r.prompt, "max_tokens": r.tokens, "temperature": 0,
		"ignore_eos": true, "logit_bias": bias,
		"stream": true, "stream_options": map[string]any{"include_usage": true},
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	a := &answer{due: time.Now()}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return nil, fmt.Errorf("%s answers %s: %s", s.name, resp.Status, bytes.TrimSpace(text))
	}
	if err := a.read(resp.Body, heard); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if a.tokens != r.tokens || a.prompt != len(r.prompt) {
		return nil, fmt.Errorf("%s counts %d tokens of the prompt and %d of the answer, instead of %d and %d",
			s.name, a.prompt, a.tokens, len(r.prompt), r.tokens)
	}
	return a, nil
}

// read reads server-sent events until the one that ends the stream.
func (a *answer) read(body io.Reader, heard func(int, time.Time)) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data:"))
		if !ok {
			continue // an empty line, a comment, or another field
		}
		now := time.Now()
		data = bytes.TrimSpace(data)
		if string(data) == "[DONE]" {
			a.end = now
			if len(a.chunks) == 0 {
				return errors.New("the stream has no text")
			}
			return nil
		}
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("event %q: %w", data, err)
		}
		if len(e.Error) > 0 {
			return fmt.Errorf("error in the stream: %s", e.Error)
		}
		if len(e.Choices) > 0 && e.Choices[0].Text != "" {
			a.chunks = append(a.chunks, now)
			if heard != nil {
				heard(len(a.chunks), now)
			}
		}
		if e.Usage != nil {
			a.prompt, a.tokens, a.cached = e.Usage.Prompt, e.Usage.Tokens, e.Usage.Details.Cached
		}
		if e.Timings.Rate > 0 {
			a.serverRate = e.Timings.Rate
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
