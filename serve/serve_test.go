package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// newTest starts a server for the embedded model, or for those of cfg.
func newTest(t testing.TB, cfg Config) (*Server, string) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, web.URL
}

// call sends a request and returns status and body.
func call(t testing.TB, method, url, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, b
}

// post sends a request that must succeed, and decodes the answer.
func post(t testing.TB, url, body string, into any) {
	t.Helper()
	status, b := call(t, http.MethodPost, url, body)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, b)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
}

// sse reads the events of a stream; the last one must be [DONE].
func sse(t testing.TB, url, body string) []string {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		b, _ := io.ReadAll(r.Body)
		t.Fatalf("Content-Type %q: %s", got, b)
	}
	var out []string
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			out = append(out, data)
		} else if lines.Text() != "" && !strings.HasPrefix(lines.Text(), ":") {
			t.Errorf("line %q", lines.Text())
		}
	}
	if n := len(out); n == 0 || out[n-1] != "[DONE]" {
		t.Fatalf("the stream does not end with [DONE]: %q", out)
	}
	return out[:len(out)-1]
}

type testChunk struct {
	ID, Object, Model string
	Created           int64
	Choices           []struct {
		Index int
		Delta struct {
			Role      *string
			Content   *string
			ToolCalls []wireCall `json:"tool_calls"`
		}
		Finish *string `json:"finish_reason"`
	}
	Usage *usage
}

type testAnswer struct {
	ID, Object, Model string
	Choices           []struct {
		Index   int
		Message struct {
			Role      string
			Content   *string
			ToolCalls []wireCall `json:"tool_calls"`
		}
		LogProbs *struct{ Content []tokenLogProb }
		Finish   string `json:"finish_reason"`
	}
	Usage usage
}

const hello = `"messages":[{"role":"user","content":"Was ist die Hauptstadt von Frankreich?"}]`

// A stream has one identity, begins with the role, ends with a reason and nothing else, says null where OpenAI does, and
// its text is that of the answer which is no stream.
func TestStreamIsTheAnswer(t *testing.T) {
	_, url := newTest(t, Config{})
	url += "/v1/chat/completions"
	var whole testAnswer
	post(t, url, `{`+hello+`,"temperature":0}`, &whole)
	for _, withUsage := range []bool{false, true} {
		option := ""
		if withUsage {
			option = `,"stream_options":{"include_usage":true}`
		}
		events := sse(t, url, `{`+hello+`,"temperature":0,"stream":true`+option+`}`)
		if withUsage {
			last := events[len(events)-1]
			events = events[:len(events)-1]
			var c testChunk
			if err := json.Unmarshal([]byte(last), &c); err != nil || c.Choices == nil || len(c.Choices) != 0 || c.Usage == nil || c.Usage.Prompt != whole.Usage.Prompt || c.Usage.Completion != whole.Usage.Completion {
				t.Errorf("last event %s", last)
			}
		}
		text, id := "", ""
		for i, e := range events {
			var c testChunk
			if err := json.Unmarshal([]byte(e), &c); err != nil {
				t.Fatal(err)
			}
			if id == "" {
				id = c.ID
			}
			if c.ID != id || c.Object != "chat.completion.chunk" || c.Model != "leo-mini" || c.Created == 0 || len(c.Choices) != 1 {
				t.Errorf("event %d: %s", i, e)
			}
			if got := strings.Contains(e, `"usage":null`); got != withUsage || strings.Contains(e, `"usage"`) != withUsage {
				t.Errorf("usage in event %d: %s", i, e)
			}
			ch := c.Choices[0]
			if first := i == 0; (ch.Delta.Role != nil) != first || first && (*ch.Delta.Role != "assistant" || ch.Delta.Content == nil) {
				t.Errorf("role in event %d: %s", i, e)
			}
			if last := i == len(events)-1; (ch.Finish != nil) != last || !strings.Contains(e, `"finish_reason":`) || last && !strings.Contains(e, `"delta":{}`) {
				t.Errorf("finish_reason in event %d: %s", i, e)
			}
			if ch.Delta.Content != nil {
				text += *ch.Delta.Content
			}
		}
		if text != *whole.Choices[0].Message.Content || whole.Choices[0].Finish != "stop" {
			t.Errorf("stream %q, whole %q", text, *whole.Choices[0].Message.Content)
		}
	}
}

// What a client does wrong is refused before anything is answered, with the field's name.
func TestBadRequests(t *testing.T) {
	_, url := newTest(t, Config{})
	long := strings.Repeat("Haus ", 3000)
	for _, c := range []struct {
		path, body string
		status     int
		param      string
	}{
		{"/v1/chat/completions", ``, 400, ""},
		{"/v1/chat/completions", `[]`, 400, ""},
		{"/v1/chat/completions", `{"messages":[`, 400, ""},
		{"/v1/chat/completions", strings.Repeat(`{"a":`, 20000), 400, ""},
		{"/v1/chat/completions", `{}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":"x"}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":[{"role":"nobody","content":"x"}]}`, 400, "messages[0].role"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://127.0.0.1/x"}}]}]}`, 400, "messages"},
		{"/v1/chat/completions", `{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}]}`, 400, "messages[0].tool_calls"},
		{"/v1/chat/completions", `{` + hello + `,"model":"gpt-9"}`, 404, "model"},
		{"/v1/chat/completions", `{` + hello + `,"n":0,"stream":true}`, 400, "n"},
		{"/v1/chat/completions", `{` + hello + `,"n":200}`, 400, "n"},
		{"/v1/chat/completions", `{` + hello + `,"max_tokens":0}`, 400, "max_tokens"},
		{"/v1/chat/completions", `{` + hello + `,"max_completion_tokens":-1}`, 400, "max_completion_tokens"},
		{"/v1/chat/completions", `{` + hello + `,"temperature":2.1}`, 400, "temperature"},
		{"/v1/chat/completions", `{` + hello + `,"top_p":-0.1}`, 400, "top_p"},
		{"/v1/chat/completions", `{` + hello + `,"presence_penalty":3}`, 400, "presence_penalty"},
		{"/v1/chat/completions", `{` + hello + `,"temperature":"hot"}`, 400, "temperature"},
		{"/v1/chat/completions", `{` + hello + `,"top_logprobs":3}`, 400, "top_logprobs"},
		{"/v1/chat/completions", `{` + hello + `,"logprobs":true,"top_logprobs":21}`, 400, "top_logprobs"},
		{"/v1/chat/completions", `{` + hello + `,"stop":["a","b","c","d","e"]}`, 400, "stop"},
		{"/v1/chat/completions", `{` + hello + `,"stop":""}`, 400, "stop"},
		{"/v1/chat/completions", `{` + hello + `,"stop":[` + strings.Repeat(`"x",`, 10000) + `"x"]}`, 400, "stop"},
		{"/v1/chat/completions", `{` + hello + `,"logit_bias":{"999999":1}}`, 400, "logit_bias"},
		{"/v1/chat/completions", `{` + hello + `,"logit_bias":{"1":101}}`, 400, "logit_bias"},
		{"/v1/chat/completions", `{` + hello + `,"stop_token_ids":[-1]}`, 400, "stop_token_ids"},
		{"/v1/chat/completions", `{` + hello + `,"stream_options":{"include_usage":true}}`, 400, "stream_options"},
		{"/v1/chat/completions", `{` + hello + `,"response_format":{"type":"xml"}}`, 400, "response_format"},
		{"/v1/chat/completions", `{` + hello + `,"response_format":{"type":"json_schema"}}`, 400, "response_format"},
		{"/v1/chat/completions", `{` + hello + `,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"string","pattern":"(?=a)b"}}}}`, 400, "response_format"},
		{"/v1/chat/completions", `{` + hello + `,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"array","uniqueItems":true}}}}`, 400, "response_format"},
		{"/v1/chat/completions", `{` + hello + `,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"$ref":"http://127.0.0.1:1/x"}}}}`, 400, "response_format"},
		{"/v1/chat/completions", `{` + hello + `,"guided_regex":"("}`, 400, "guided_regex"},
		{"/v1/chat/completions", `{` + hello + `,"tool_choice":"required"}`, 400, "tool_choice"},
		{"/v1/chat/completions", `{` + hello + `,"tools":[{"type":"function","function":{"name":"a b"}}]}`, 400, "tools"},
		{"/v1/chat/completions", `{` + hello + `,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}}`, 400, "tool_choice"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + long + `"}]}`, 400, "messages"},
		{"/v1/completions", `{}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[[1,2],[999999]]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":[-1]}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":{}}`, 400, "prompt"},
		{"/v1/completions", `{"prompt":"x","max_tokens":0}`, 400, "max_tokens"},
		{"/v1/completions", `{"prompt":"x","max_tokens":-1}`, 400, "max_tokens"},
		{"/v1/completions", `{"prompt":"x","best_of":3}`, 400, "best_of"},
		{"/v1/completions", `{"prompt":"x","suffix":"y"}`, 400, "suffix"},
		{"/v1/completions", `{"prompt":"` + long + `"}`, 400, "prompt"},
		{"/v1/embeddings", `{}`, 400, "input"},
		{"/v1/embeddings", `{"input":""}`, 400, "input"},
		{"/v1/embeddings", `{"input":[]}`, 400, "input"},
		{"/v1/embeddings", `{"input":["a",""]}`, 400, "input"},
		{"/v1/embeddings", `{"input":"a","encoding_format":"hex"}`, 400, "encoding_format"},
		{"/v1/embeddings", `{"input":"a","dimensions":3}`, 400, "dimensions"},
		{"/v1/embeddings", `{"input":"` + long + `"}`, 400, "input"},
		{"/tokenize", `{}`, 400, "content"},
		{"/detokenize", `{"tokens":[100000000]}`, 400, "tokens"},
		{"/v1/nothing", `{}`, 404, ""},
	} {
		status, body := call(t, http.MethodPost, url+c.path, c.body)
		var e struct {
			Error *struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal(body, &e); err != nil || e.Error == nil || e.Error.Message == "" || e.Error.Type == "" {
			t.Errorf("%s %.80s: no error in OpenAI's shape: %s", c.path, c.body, body)
			continue
		}
		param := ""
		if e.Error.Param != nil {
			param = *e.Error.Param
		}
		if status != c.status || param != c.param {
			t.Errorf("%s %.120s: status %d, param %q, want %d, %q: %s", c.path, c.body, status, param, c.status, c.param, e.Error.Message)
		}
	}
	if status, body := call(t, http.MethodGet, url+"/v1/chat/completions", ""); status != 405 || !bytes.Contains(body, []byte("POST")) {
		t.Errorf("GET: %d %s", status, body)
	}
	if status, body := call(t, http.MethodPost, url+"/v1/chat/completions", `{"messages":[{"role":"user","content":"`+strings.Repeat("x", 9<<20)+`"}]}`); status != 413 {
		t.Errorf("a body of 9 MiB: %d %s", status, body)
	}
}

// Fields that a server must take although it has no use for them, and every form of those that have several.
func TestForgivingRequests(t *testing.T) {
	_, url := newTest(t, Config{})
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", `{` + hello + `,"max_tokens":null,"stop":null,"foo":1,"user":"x","store":true,"metadata":{"a":"b"},"service_tier":"auto","parallel_tool_calls":true,"max_completion_tokens":3}`},
		{"/v1/chat/completions", `{"messages":[{"role":"developer","content":"Du hilfst."},{"role":"user","content":[{"type":"text","text":"Hal"},{"type":"text","text":"lo"}]}],"max_tokens":3}`},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":null,"tool_calls":[{"id":null,"type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"2"}],"max_tokens":3}`},
		{"/v1/chat/completions", `{` + hello + `,"response_format":{"type":"text"},"max_tokens":3,"logit_bias":{"5":-100},"seed":-1,"top_p":0}`},
		{"/v1/chat/completions", `{` + hello + `,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none","max_tokens":3,"model":"leo-mini:latest"}`},
		{"/v1/completions", `{"prompt":["a","b"],"max_tokens":3,"n":2,"best_of":2}`},
		{"/v1/completions", `{"prompt":[5,6,7],"max_tokens":3}`},
		{"/v1/completions", `{"prompt":[[5],[6,7]],"max_tokens":3,"stop":["x","y"]}`},
		{"/v1/embeddings", `{"input":[[5],[6,7]],"encoding_format":null}`},
		{"/tokenize", `{"prompt":"Hallo","return_token_strs":true}`},
		{"/tokenize", `{"content":"Hallo","with_pieces":true}`},
		{"/tokenize", `{` + hello + `}`},
		{"/detokenize", `{"tokens":[5,6]}`},
	} {
		if status, body := call(t, http.MethodPost, url+c.path, c.body); status != http.StatusOK {
			t.Errorf("%s %s: %d %s", c.path, c.body, status, body)
		}
	}
}

// max_completion_tokens counts and wins; a stop string is no part of the text, nor is anything after it; n answers have an
// index each and their prompt is counted once; a seed gives the same answer again.
func TestFieldsDoWhatTheySay(t *testing.T) {
	_, url := newTest(t, Config{})
	url += "/v1/chat/completions"
	var a testAnswer
	post(t, url, `{`+hello+`,"temperature":0,"max_tokens":32,"max_completion_tokens":1}`, &a)
	if a.Usage.Completion != 1 || a.Choices[0].Finish != "length" {
		t.Errorf("one token: %+v", a)
	}
	post(t, url, `{`+hello+`,"temperature":0,"stop":"Ein"}`, &a)
	if text := *a.Choices[0].Message.Content; strings.Contains(text, "Ein") || a.Choices[0].Finish != "stop" || text == "" {
		t.Errorf("stop string: %q, %s", text, a.Choices[0].Finish)
	}
	prompt := a.Usage.Prompt
	var b testAnswer
	for _, to := range []*testAnswer{&a, &b} {
		post(t, url, `{`+hello+`,"temperature":1,"seed":7,"n":3,"max_tokens":12}`, to)
	}
	if len(a.Choices) != 3 || a.Usage.Prompt != prompt || a.Usage.Completion < 4 {
		t.Errorf("n 3: %+v", a)
	}
	different := false
	for i := range a.Choices {
		if a.Choices[i].Index != i || *a.Choices[i].Message.Content != *b.Choices[i].Message.Content {
			t.Errorf("choice %d: %q, again %q", i, *a.Choices[i].Message.Content, *b.Choices[i].Message.Content)
		}
		different = different || *a.Choices[i].Message.Content != *a.Choices[0].Message.Content
	}
	if !different {
		t.Error("three answers are one")
	}
}

// Log-probabilities: one entry a token, whose bytes make the text; echo gives those of the prompt.
func TestLogProbs(t *testing.T) {
	_, url := newTest(t, Config{})
	var a testAnswer
	post(t, url+"/v1/chat/completions", `{`+hello+`,"temperature":0,"logprobs":true,"top_logprobs":3,"logit_bias":{"5":-100}}`, &a)
	var text []byte
	for _, p := range a.Choices[0].LogProbs.Content {
		for _, b := range p.Bytes {
			text = append(text, byte(b))
		}
		if len(p.Top) != 3 || p.LogProb > 0 || p.Top[0].LogProb < p.Top[1].LogProb {
			t.Errorf("%+v", p)
		}
	}
	if string(text) != *a.Choices[0].Message.Content {
		t.Errorf("bytes %q, text %q", text, *a.Choices[0].Message.Content)
	}
	var c struct {
		Choices []struct {
			Text     string
			LogProbs textProbs
		}
	}
	post(t, url+"/v1/completions", `{"prompt":"Der Mond scheint über dem See 😀","echo":true,"logprobs":2,"max_tokens":0}`, &c)
	p := c.Choices[0].LogProbs
	if c.Choices[0].Text != "Der Mond scheint über dem See 😀" || len(p.Tokens) != len(p.LogProbs) || p.LogProbs[0] != nil || p.Top[0] != nil || p.LogProbs[1] == nil {
		t.Errorf("echo: %+v", c)
	}
}

// A tool that must be called is called, with arguments that fit its schema, whole and streamed.
func TestRequiredTools(t *testing.T) {
	_, url := newTest(t, Config{})
	url += "/v1/chat/completions"
	const tools = `,"tools":[{"type":"function","function":{"name":"wetter","parameters":{"type":"object","properties":{"tage":{"$ref":"#/$defs/zahl"}},"required":["tage"],"$defs":{"zahl":{"type":"integer","minimum":1,"maximum":9}}}}},{"type":"function","function":{"name":"zeit"}}]`
	for choice, reason := range map[string]string{`"required"`: "tool_calls", `{"type":"function","function":{"name":"wetter"}}`: "stop"} {
		body := `{` + hello + tools + `,"tool_choice":` + choice + `,"temperature":0`
		var a testAnswer
		post(t, url, body+`}`, &a)
		ch := a.Choices[0]
		if len(ch.Message.ToolCalls) != 1 || ch.Finish != reason || ch.Message.Content != nil {
			t.Fatalf("%s: %+v", choice, ch)
		}
		call := ch.Message.ToolCalls[0]
		var args map[string]any
		if err := json.Unmarshal([]byte(call.Function.Arguments), &args); err != nil || call.ID == "" || call.Type != "function" {
			t.Errorf("%s: %+v, %v", choice, call, err)
		}
		name, streamed, ids := "", "", 0
		for _, e := range sse(t, url, body+`,"stream":true}`) {
			var c testChunk
			if err := json.Unmarshal([]byte(e), &c); err != nil {
				t.Fatal(err)
			}
			for _, d := range c.Choices[0].Delta.ToolCalls {
				if d.Index == nil || *d.Index != 0 {
					t.Errorf("index in %s", e)
				}
				if d.ID != "" {
					ids++
				}
				name += d.Function.Name
				streamed += d.Function.Arguments
			}
			if f := c.Choices[0].Finish; f != nil && *f != reason {
				t.Errorf("%s: streamed finish_reason %s", choice, *f)
			}
		}
		if streamed != call.Function.Arguments || name != call.Function.Name || ids != 1 {
			t.Errorf("%s: streamed %s(%s) with %d ids, whole %+v", choice, name, streamed, ids, call)
		}
	}
}

// An answer that must be JSON is JSON when it ends by itself, and says so when it was cut off.
func TestStructuredAnswers(t *testing.T) {
	_, url := newTest(t, Config{})
	url += "/v1/chat/completions"
	const schema = `,"response_format":{"type":"json_schema","json_schema":{"name":"p","strict":true,"schema":{"type":"object","properties":{"name":{"type":"string","maxLength":10},"alter":{"type":"integer"}},"required":["name","alter"],"additionalProperties":false}}}`
	var a testAnswer
	post(t, url, `{`+hello+schema+`,"temperature":0}`, &a)
	var v struct {
		Name  string
		Alter int
	}
	if err := json.Unmarshal([]byte(*a.Choices[0].Message.Content), &v); err != nil || a.Choices[0].Finish != "stop" {
		t.Errorf("%s: %v, %s", *a.Choices[0].Message.Content, err, a.Choices[0].Finish)
	}
	post(t, url, `{`+hello+schema+`,"temperature":0,"max_tokens":2}`, &a)
	if a.Choices[0].Finish != "length" {
		t.Errorf("cut off: %s", a.Choices[0].Finish)
	}
	post(t, url, `{`+hello+`,"guided_choice":["ja","nein"],"temperature":0}`, &a)
	if text := *a.Choices[0].Message.Content; text != "ja" && text != "nein" {
		t.Errorf("choice: %q", text)
	}
}

// When a client goes away, its answer ends and its place is free.
func TestDisconnect(t *testing.T) {
	s, url := newTest(t, Config{Parallel: 1})
	ctx, cancel := context.WithCancel(t.Context())
	for _, stream := range []string{"true", "false"} {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", strings.NewReader(`{`+hello+`,"ignore_eos":true,"stream":`+stream+`}`))
		go func() {
			if r, err := http.DefaultClient.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
		}()
	}
	m, release, err := s.models.get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	busy := func() bool { st := m.sched.Stats(); return st.Running+st.Waiting > 0 }
	wait(t, busy, "a request came")
	cancel()
	wait(t, func() bool { return !busy() }, "the place is free again")
}

// wait waits until ok, for a few seconds.
func wait(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}
