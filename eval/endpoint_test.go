package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leolm/chat"
)

// endpoint serves f below /v1: it gets the path's last part and the decoded body.
func endpoint(t *testing.T, f func(path string, req map[string]any) (int, string)) *Endpoint {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req map[string]any
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		status, body := f(strings.TrimPrefix(r.URL.Path, "/v1/"), req)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return NewEndpoint(EndpointOptions{URL: s.URL + "/v1", Model: "m", Attempts: 3, Pause: time.Millisecond, Concurrency: 3, Price: Price{1, 2}})
}

func TestEndpointAnswers(t *testing.T) {
	e := endpoint(t, func(path string, req map[string]any) (int, string) {
		if path == "completions" {
			return 200, `{"choices": [{"text": " und aus", "finish_reason": "length"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}`
		}
		msgs := req["messages"].([]any)
		if req["temperature"] != 0.7 || req["seed"] != 1.0 || req["max_tokens"] != 9.0 || len(msgs) != 2 {
			t.Errorf("%v", req)
		}
		text := msgs[1].(map[string]any)["content"].(string)
		if text == "zu lang" {
			return 400, `{"error": {"message": "context length exceeded"}}`
		}
		return 200, fmt.Sprintf(`{"choices": [{"message": {"content": %q}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 4, "completion_tokens": 5}}`, "zu "+text)
	})
	ask := func(text string) Request {
		return Request{Messages: []chat.Message{{Role: chat.System, Content: "s"}, {Role: chat.User, Content: text}}, Temperature: 0.7, Seed: 1, MaxNewTokens: 9}
	}
	var reqs []Request
	for i := range 20 {
		reqs = append(reqs, ask(fmt.Sprint(i)))
	}
	reqs = append(reqs, ask("zu lang"), Request{Prompt: "Ein", MaxNewTokens: 2})
	got := make([]Answer, len(reqs))
	if err := e.Generate(t.Context(), reqs, func(i int, a Answer) error { got[i] = a; return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if got[i].Text != fmt.Sprint("zu ", i) || got[i].NewTokens != 5 || got[i].CutOff() {
			t.Errorf("%d: %+v", i, got[i])
		}
	}
	if got[20].Err == nil || !strings.Contains(got[20].Err.Error(), "context length") {
		t.Errorf("%+v", got[20])
	}
	if got[21].Text != " und aus" || !got[21].CutOff() {
		t.Errorf("%+v", got[21])
	}
	if u := e.Usage(); u.Prompt != 83 || u.Completion != 102 || u.Requests != 22 || u.Cost < 0.000286 || u.Cost > 0.000288 {
		t.Errorf("%+v", u)
	}
}

func TestEndpointThatIsGoneEndsTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		most   int64 // requests that are sent at most
	}{
		"no key":   {401, `{"error": "no key"}`, 3},
		"down":     {503, ``, (patience + 3) * 3},
		"nonsense": {200, `<html>`, (patience + 3) * 3},
	} {
		var sent atomic.Int64
		e := endpoint(t, func(string, map[string]any) (int, string) { sent.Add(1); return c.status, c.body })
		reqs := make([]Request, 100)
		done := 0
		err := e.Generate(t.Context(), reqs, func(_ int, a Answer) error {
			if a.Err == nil {
				t.Errorf("%s: an answer came: %+v", name, a)
			}
			done++
			return nil
		})
		if err == nil || sent.Load() > c.most || done >= patience {
			t.Errorf("%s: %v after %d requests, %d failures handed on", name, err, sent.Load(), done)
		}
	}
}

func TestEndpointBudget(t *testing.T) {
	e := endpoint(t, func(string, map[string]any) (int, string) {
		return 200, `{"choices": [{"text": "x"}], "usage": {"completion_tokens": 500000}}`
	})
	e.opt.Budget = 2.5
	kept := 0
	err := e.Generate(t.Context(), make([]Request, 50), func(int, Answer) error { kept++; return nil })
	if !errors.Is(err, ErrBudget) || kept != 3 {
		t.Errorf("%v, %d answers kept", err, kept)
	}
}

// scoring answers like an endpoint whose tokens are words with the space before them, and knows nothing but their length.
func scoring(path string, req map[string]any) (int, string) {
	prompt := req["prompt"].(string)
	if path != "completions" || req["echo"] != true || req["logprobs"] != 1.0 {
		return 500, "wrong request"
	}
	lp := map[string]any{}
	var tokens, probs, top, offsets []any
	at := 0
	for _, word := range strings.SplitAfter(strings.ReplaceAll(prompt, " ", "\x00 "), "\x00") {
		word = strings.Trim(word, "\x00")
		var p any = -float64(len(word))
		if at == 0 {
			p = nil
		}
		best := -float64(len(word))
		if len(word) > 5 {
			best = -1
		}
		tokens, probs, top, offsets = append(tokens, word), append(probs, p), append(top, map[string]float64{word: -float64(len(word)), "beste": best}), append(offsets, at)
		at += len([]rune(word))
	}
	tokens, probs, top, offsets = append(tokens, " neu"), append(probs, -9.0), append(top, map[string]float64{}), append(offsets, at)
	lp["tokens"], lp["token_logprobs"], lp["top_logprobs"], lp["text_offset"] = tokens, probs, top, offsets
	if strings.Contains(prompt, "offsets") { // an endpoint that names its tokens differently
		for i := range tokens {
			tokens[i] = fmt.Sprint("token_id:", i) // align finds none of them
		}
	}
	body, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"text": prompt, "logprobs": lp}}})
	return 200, string(body)
}

func TestEndpointScores(t *testing.T) {
	e := endpoint(t, scoring)
	got := score(t, e, ScoreRequest{"Frage: ä?\nAntwort:", " ja doch"}, ScoreRequest{"Frage: ä? ", "Tannenbaum"}, ScoreRequest{"ä offsets", " ja"}, ScoreRequest{"Fra", "ge ja"}, ScoreRequest{"Ei", "ns"})
	for i, want := range []Score{
		{LogProb: -8, Tokens: 2, Greedy: true}, {LogProb: -11, Tokens: 1}, {LogProb: -3, Tokens: 1, Greedy: true}, {LogProb: -3, Tokens: 1, Greedy: true, Uneven: true},
	} {
		if got[i] != want {
			t.Errorf("%d: %+v, want %+v", i, got[i], want)
		}
	}
	if got[4].Err == nil {
		t.Errorf("nothing to score: %+v", got[4])
	}
	var rolling []Score
	if err := e.ScoreRolling(t.Context(), []string{"eins zwei"}, func(_ int, s Score) error { rolling = append(rolling, s); return nil }); err != nil {
		t.Fatal(err)
	}
	if rolling[0].Tokens != 1 || rolling[0].LogProb != -5 {
		t.Errorf("%+v", rolling)
	}
}

func TestTokensAreFoundInTheText(t *testing.T) {
	for name, c := range map[string]struct {
		tokens []string
		text   string
		from   int
		want   []int // nil: refused
	}{
		"plain":                        {[]string{"Der", " Mond", " neu"}, "Der Mond", 3, []int{0, 3, 8}},
		"BOS":                          {[]string{"<s>", "Der", " Mond"}, "Der Mond", 3, []int{0, 0, 3}},
		"SentencePiece's space":        {[]string{" Der", " Mond"}, "Der Mond", 3, []int{0, 3}},
		"BOS and the space":            {[]string{"<s>", " Der", " Mond"}, "Der Mond", 3, []int{0, 0, 3}},
		"a byte each":                  {[]string{"ä ", "\ufffd", "\ufffd", "\ufffd", " ß"}, "ä € ß", 6, []int{0, 3, 4, 5, 6}},
		"two characters, a byte each":  {[]string{"\ufffd", "\ufffd", "\ufffd", "\ufffd", "!"}, "äö!", 2, []int{0, 1, 2, 3, 4}},
		"two bytes in one":             {[]string{"\ufffd", "\ufffd", "!"}, "€!", 3, []int{0, 1, 3}},
		"OpenAI's names":               {[]string{"bytes:\\xe2\\x82", "bytes:\\xac", " x"}, "€ x", 3, []int{0, 1, 3}},
		"pieces at the end":            {[]string{"a", "\ufffd", "\ufffd"}, "aä", 1, []int{0, 1, 2}},
		"a piece behind the text":      {[]string{"a", "\ufffd", "\ufffd", "\ufffd"}, "aä", 1, []int{0, 1, 2, 3}},
		"the character itself":         {[]string{"a\ufffd", "b"}, "a\ufffdb", 4, []int{0, 4}},
		"pieces over the join":         {[]string{"\ufffd", "\ufffd", "\ufffd", "!"}, "äö!", 2, nil},
		"another text":                 {[]string{"Der", " Wald"}, "Der Mond", 3, nil},
		"what comes behind is no text": {[]string{"Der Mond", "bytes:\\xac", "x"}, "Der Mond", 3, []int{0, 8, 8}},
	} {
		got, err := align(c.tokens, c.text, c.from)
		if (err == nil) != (c.want != nil) || err == nil && !slices.Equal(got, c.want) {
			t.Errorf("%s: %v (%v), want %v", name, got, err, c.want)
		}
	}
}

func TestEndpointWithoutLogProbsIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"none":      `{"choices": [{"text": "x"}]}`,
		"all zero":  `{"choices": [{"text": "x", "logprobs": {"tokens": ["Eins, zwei,", " drei, vier"], "token_logprobs": [null, 0.0], "text_offset": [0, 11]}}]}`,
		"chat only": "404",
		"no echo":   "400",
	} {
		e := endpoint(t, func(string, map[string]any) (int, string) {
			switch body {
			case "404":
				return 404, `{"error": "no such path"}`
			case "400":
				return 400, `{"error": "echo is not supported"}`
			}
			return 200, body
		})
		err := e.Score(t.Context(), []ScoreRequest{{"a", " b"}}, func(int, Score) error { t.Errorf("%s: scored", name); return nil })
		var none *NoLogProbsError
		if !errors.As(err, &none) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Lists of different lengths end as an error of the request, not as a crash.
	n := 0
	e := endpoint(t, func(path string, req map[string]any) (int, string) {
		if n++; n > 1 {
			return 200, `{"choices": [{"text": "x", "logprobs": {"tokens": ["a", " b"], "token_logprobs": [null]}}]}`
		}
		return scoring(path, req)
	})
	if got := score(t, e, ScoreRequest{"a", " b"}); got[0].Err == nil {
		t.Errorf("%+v", got)
	}
}
