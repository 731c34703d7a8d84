package serve

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"leolm/infer"
)

// ollamaLine is a line of Ollama's streams, or a whole answer.
type ollamaLine struct {
	Model   string
	Created string `json:"created_at"`
	Message struct {
		Role, Content, Thinking string
		ToolCalls               []ollamaCall `json:"tool_calls"`
	}
	Response, Thinking string
	Done               bool
	Reason             string `json:"done_reason"`
	Context            []int32
	Error              string
	Total              int64 `json:"total_duration"`
	PromptCount        int   `json:"prompt_eval_count"`
	Count              int   `json:"eval_count"`
	Duration           int64 `json:"eval_duration"`
}

// ollamaStream reads the lines of a stream.
func ollamaStream(t testing.TB, url, body string) []ollamaLine {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got := r.Header.Get("Content-Type"); got != ndjson {
		b, _ := io.ReadAll(r.Body)
		t.Fatalf("Content-Type %q: %s", got, b)
	}
	var out []ollamaLine
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		var l ollamaLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		out = append(out, l)
	}
	return out
}

// Both calls stream by default; the lines make the whole answer, whose last one has the numbers. The prompt is counted
// whole when it comes from the cache, too.
func TestOllamaAnswers(t *testing.T) {
	_, url := newTest(t, Config{})
	for path, body := range map[string]string{
		"/api/chat":     `{"model":"leo-mini",` + hello + `,"options":{"temperature":0,"num_ctx":4096}`,
		"/api/generate": `{"model":"leo-mini","prompt":"Was ist die Hauptstadt von Frankreich?","options":{"temperature":0}`,
	} {
		var whole ollamaLine
		post(t, url+path, body+`,"stream":false}`, &whole)
		text, count := "", 0
		lines := ollamaStream(t, url+path, body+`}`)
		for i, l := range lines {
			text += l.Message.Content + l.Response
			if l.Done != (i == len(lines)-1) || l.Model != "leo-mini" || path == "/api/chat" && l.Message.Role != "assistant" {
				t.Errorf("%s: line %d: %+v", path, i, l)
			}
			if _, err := time.Parse(time.RFC3339Nano, l.Created); err != nil {
				t.Error(err)
			}
			count++
		}
		last := lines[len(lines)-1]
		if text != whole.Message.Content+whole.Response || text == "" || count < 3 {
			t.Errorf("%s: stream %q, whole %+v", path, text, whole)
		}
		if last.Reason != "stop" || last.PromptCount != whole.PromptCount || last.PromptCount < 10 || last.Count != whole.Count || last.Total <= 0 || last.Duration <= 0 || last.Message.Content != "" {
			t.Errorf("%s: last line %+v, whole %+v", path, last, whole)
		}
		if path == "/api/generate" && len(last.Context) != last.PromptCount+last.Count {
			t.Errorf("context of %d ids", len(last.Context))
		}
	}
	var cut ollamaLine
	post(t, url+"/api/chat", `{`+hello+`,"stream":false,"options":{"num_predict":2}}`, &cut)
	if cut.Reason != "length" || cut.Count != 2 || cut.Model != "leo-mini:latest" {
		t.Errorf("%+v", cut)
	}
	for _, n := range []string{"-1", "-2", "0", "3.0"} {
		var l ollamaLine
		post(t, url+"/api/chat", `{`+hello+`,"stream":false,"options":{"temperature":0,"num_predict":`+n+`}}`, &l)
		if want := map[bool]string{true: "length", false: "stop"}[n == "3.0"]; l.Reason != want {
			t.Errorf("num_predict %s: %s", n, l.Reason)
		}
	}
}

// A generated answer's context continues it, and raw leaves the prompt as it is.
func TestOllamaContext(t *testing.T) {
	_, url := newTest(t, Config{})
	ids := func(body string) []int32 {
		var l ollamaLine
		post(t, url+"/api/generate", `{"stream":false,"options":{"num_predict":1,"temperature":0},`+body+`}`, &l)
		return l.Context
	}
	first := ids(`"prompt":"Hallo"`)
	list, _ := json.Marshal(first)
	second := ids(`"prompt":"Hallo","context":` + string(list))
	if len(second) < 2*len(first)-3 || !slices.Equal(second[:len(first)], first) {
		t.Errorf("%v after %v", second, first)
	}
	if raw := ids(`"prompt":"Hallo","raw":true`); len(raw) >= len(first) {
		t.Errorf("raw: %v", raw)
	}
}

// What a client of Ollama does wrong is an error in Ollama's shape.
func TestOllamaErrors(t *testing.T) {
	_, url := newTest(t, Config{})
	long := strings.Repeat("Haus ", 3000)
	for _, c := range []struct {
		path, body string
		status     int
		text       string
	}{
		{"/api/chat", ``, 400, "empty"},
		{"/api/chat", `{"messages":1}`, 400, "messages"},
		{"/api/chat", `{"model":"nix","messages":[]}`, 404, "nix"},
		{"/api/chat", `{` + hello + `,"think":true}`, 400, "does not support thinking"},
		{"/api/chat", `{` + hello + `,"think":"very"}`, 400, "think"},
		{"/api/chat", `{` + hello + `,"think":5}`, 400, "think"},
		{"/api/chat", `{` + hello + `,"keep_alive":"soon"}`, 400, "keep_alive"},
		{"/api/chat", `{` + hello + `,"keep_alive":"5"}`, 400, "keep_alive"},
		{"/api/chat", `{` + hello + `,"keep_alive":[1]}`, 400, "keep_alive"},
		{"/api/chat", `{` + hello + `,"keep_alive":true}`, 400, "keep_alive"},
		{"/api/chat", `{` + hello + `,"format":"xml"}`, 400, "format"},
		{"/api/chat", `{` + hello + `,"format":{"type":"array","uniqueItems":true}}`, 400, "format"},
		{"/api/chat", `{` + hello + `,"options":{"temperature":"hot"}}`, 400, "temperature"},
		{"/api/chat", `{` + hello + `,"options":{"seed":1.5}}`, 400, "whole number"},
		{"/api/chat", `{` + hello + `,"options":[]}`, 400, "options"},
		{"/api/chat", `{` + hello + `,"top_logprobs":2}`, 400, "logprobs"},
		{"/api/chat", `{"messages":[{"role":"user","content":"x","images":["data:image/png;base64,AAAA"]}]}`, 400, "text only"},
		{"/api/chat", `{"messages":[{"role":"robot","content":"x"}]}`, 400, "role"},
		{"/api/chat", `{"messages":[{"role":"user","content":"` + long + `"}]}`, 400, "1024"},
		{"/api/generate", `{"prompt":"x","template":"{{ .Prompt }}"}`, 400, "template"},
		{"/api/generate", `{"prompt":"x","suffix":"y"}`, 400, "suffix"},
		{"/api/generate", `{"prompt":"x","images":["AAAA"]}`, 400, "text only"},
		{"/api/generate", `{"prompt":"x","context":[-1]}`, 400, "context"},
		{"/api/generate", `{"prompt":"x","raw":true,"system":"s"}`, 400, "raw"},
		{"/api/embed", `{"input":"` + long + `"}`, 400, "1024"},
		{"/api/embed", `{"input":[""]}`, 400, "empty"},
		{"/api/embed", `{"input":"x","dimensions":3}`, 400, "dimensions"},
		{"/api/show", `{}`, 400, "model"},
		{"/api/show", `{"model":"nix"}`, 404, "nix"},
		{"/api/pull", `{"model":"llama3"}`, 403, "cannot be changed"},
		{"/api/create", `{}`, 403, "cannot be changed"},
		{"/api/nothing", `{}`, 404, "nothing"},
		{"/api/tags", `{}`, 405, "GET"},
	} {
		status, body := call(t, http.MethodPost, url+c.path, c.body)
		var e struct{ Error *string }
		if err := json.Unmarshal(body, &e); err != nil || e.Error == nil {
			t.Errorf("%s %.80s: no error in Ollama's shape: %s", c.path, c.body, body)
		} else if status != c.status || !strings.Contains(*e.Error, c.text) {
			t.Errorf("%s %.80s: %d %s", c.path, c.body, status, *e.Error)
		}
	}
	if status, body := call(t, http.MethodDelete, url+"/api/delete", `{"model":"leo-mini"}`); status != 403 {
		t.Errorf("%d %s", status, body)
	}
}

// keep_alive holds a model, or unloads it, and a request without a question does only that.
func TestKeepAlive(t *testing.T) {
	s, url := newTest(t, Config{KeepAlive: time.Hour})
	running := func() (expires string) {
		var ps struct {
			Models []struct {
				Name    string
				Expires string `json:"expires_at"`
				Context int    `json:"context_length"`
			}
		}
		_, b := call(t, http.MethodGet, url+"/api/ps", "")
		if err := json.Unmarshal(b, &ps); err != nil || len(ps.Models) > 1 {
			t.Fatalf("%v %s", err, b)
		}
		if len(ps.Models) == 0 {
			return ""
		}
		return ps.Models[0].Expires
	}
	ask := func(path, body, reason string) {
		t.Helper()
		var l ollamaLine
		post(t, url+path, body, &l)
		if !l.Done || l.Reason != reason || l.Count != 0 {
			t.Errorf("%s %s: %+v", path, body, l)
		}
	}
	ask("/api/generate", `{"keep_alive":0}`, "unload") // loads nothing
	if got := running(); got != "" {
		t.Errorf("loaded: %s", got)
	}
	ask("/api/chat", `{"messages":[]}`, "load")
	if got := running(); got == "" || strings.HasPrefix(got, "9999") {
		t.Errorf("expires %q", got)
	}
	ask("/api/generate", `{"prompt":"","keep_alive":-1}`, "load")
	if got := running(); !strings.HasPrefix(got, "9999") {
		t.Errorf("expires %q", got)
	}
	ask("/api/chat", `{"keep_alive":0}`, "unload")
	wait(t, func() bool { return running() == "" }, "keep_alive 0 unloads")
	var l ollamaLine
	post(t, url+"/api/chat", `{`+hello+`,"stream":false,"keep_alive":"20ms","options":{"num_predict":1}}`, &l)
	wait(t, func() bool { return running() == "" }, "a short keep_alive unloads")
	post(t, url+"/api/chat", `{`+hello+`,"stream":false,"keep_alive":0.02,"options":{"num_predict":1}}`, &l)
	wait(t, func() bool { return running() == "" }, "a short keep_alive in seconds unloads")
	e, err := s.models.find("leo-mini")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]time.Duration{`5`: 5 * time.Second, `"5m"`: 5 * time.Minute, `-1`: -1, `"-1s"`: -time.Second, `0`: 0, `"0"`: 0, `1e300`: 1<<63 - 1} {
		var k keepAliveValue
		if err := json.Unmarshal([]byte(text), &k); err != nil || !k.set || k.d != want {
			t.Errorf("%s: %+v %v", text, k, err)
		}
	}
	// A model in use is not unloaded; one that stays forever is not either.
	_, release, err := s.models.get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.models.keepAlive(e, 0)
	time.Sleep(50 * time.Millisecond)
	if running() == "" {
		t.Error("a model in use was unloaded")
	}
	release()
	wait(t, func() bool { return running() == "" }, "it is unloaded after its use")
}

// Clients find out what there is and what it can do.
func TestOllamaModels(t *testing.T) {
	_, url := newTest(t, Config{})
	get := func(path string, into any) {
		t.Helper()
		status, b := call(t, http.MethodGet, url+path, "")
		if err := json.Unmarshal(b, into); err != nil || status != 200 {
			t.Fatalf("%s: %d %v %s", path, status, err, b)
		}
	}
	var v struct{ Version string }
	get("/api/version", &v)
	if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(v.Version) {
		t.Errorf("version %q", v.Version)
	}
	var tags struct {
		Models []struct {
			Name, Model, Digest string
			Modified            time.Time `json:"modified_at"`
			Size                int64
			Details             ollamaDetails
		}
	}
	get("/api/tags", &tags)
	if m := tags.Models[0]; m.Name != "leo-mini:latest" || m.Model != m.Name || len(m.Digest) != 64 || m.Modified.IsZero() || m.Size < 1e6 ||
		m.Details.Family != "llama" || m.Details.Format != "gguf" || m.Details.ParameterSize != "4.2M" || m.Details.QuantizationLevel != "Q8_0" {
		t.Errorf("%+v", m)
	}
	var show struct {
		Details      ollamaDetails
		Template     string
		Parameters   string
		Capabilities []string
		Info         map[string]any `json:"model_info"`
	}
	post(t, url+"/api/show", `{"model":"leo-mini"}`, &show)
	if show.Details.Family != "llama" || !slices.Contains(show.Capabilities, "completion") || show.Info["general.architecture"] != "llama" ||
		show.Info["llama.context_length"] != float64(1024) || show.Template == "" || show.Parameters == "" {
		t.Errorf("%+v", show)
	}
	r, err := http.Head(url + "/")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 {
		t.Errorf("HEAD /: %d", r.StatusCode)
	}
}

// Vectors are those of /v1, for one text or several; a text is cut only where the request allows it.
func TestOllamaEmbed(t *testing.T) {
	_, url := newTest(t, Config{})
	var a struct {
		Embeddings [][]float32
		Count      int `json:"prompt_eval_count"`
	}
	post(t, url+"/api/embed", `{"model":"leo-mini","input":["Hund","Katze"],"options":{"num_ctx":1}}`, &a)
	if len(a.Embeddings) != 2 || len(a.Embeddings[0]) != 192 || a.Count < 2 {
		t.Fatalf("%d vectors, %d tokens", len(a.Embeddings), a.Count)
	}
	var one struct{ Embedding []float32 }
	post(t, url+"/api/embeddings", `{"prompt":"Hund"}`, &one)
	if !slices.Equal(one.Embedding, a.Embeddings[0]) {
		t.Error("two vectors of one text")
	}
	post(t, url+"/api/embed", `{"input":"`+strings.Repeat("Haus ", 3000)+`","truncate":true}`, &a)
	if a.Count != 1024 {
		t.Errorf("%d tokens", a.Count)
	}
	post(t, url+"/api/embed", `{"input":[]}`, &a)
	if len(a.Embeddings) != 0 {
		t.Error("vectors of nothing")
	}
}

// A tool call has arguments that are an object; such a turn ends with stop here, and with tool_calls on /v1.
func TestOllamaTools(t *testing.T) {
	call := `<tool_call>{"name": "wetter", "arguments": {"ort": "Kiel"}}</tool_call>`
	a := &ollamaAnswer{chat: true, name: "m", req: &ollamaRequest{}}
	a.chatAnswer = &chatAnswer{c: &conversation{tools: &toolbox{mode: "auto"}}, choices: []*choice{{split: &callFinder{style: callTags, tools: []tool{named("wetter")}}}}}
	var calls []ollamaCall
	for _, r := range call {
		pieces, _ := a.take(0, infer.Token{ID: -1, Text: string(r)})
		part := &choice{}
		part.add(pieces)
		if m, ok := a.chunk(part, nil)["message"].(map[string]any)["tool_calls"].([]ollamaCall); ok {
			calls = append(calls, m...)
		}
	}
	res := &infer.Result{Finish: infer.FinishStop}
	a.ended(0, res)
	if len(calls) != 1 || calls[0].Function.Name != "wetter" || string(calls[0].Function.Arguments) != `{"ort": "Kiel"}` || calls[0].ID == "" {
		t.Errorf("%+v", calls)
	}
	if a.choices[0].finish != "tool_calls" || finish(res) != "stop" {
		t.Errorf("/v1 %s, /api %s", a.choices[0].finish, finish(res))
	}
	// What clients send back is taken.
	_, url := newTest(t, Config{})
	var l ollamaLine
	post(t, url+"/api/chat", `{"messages":[{"role":"user","content":"Wetter?"},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"wetter","arguments":{"ort":"Kiel"}}}]},{"role":"tool","content":"Regen","tool_name":"wetter"}],"stream":false,"options":{"num_predict":1}}`, &l)
}

func named(name string) tool {
	var t tool
	t.Function.Name = name
	return t
}

// A failure after the start is a line with an error, and the stream ends.
func TestOllamaFault(t *testing.T) {
	s, url := newTest(t, Config{})
	r, err := http.Post(url+"/api/chat", "application/json", strings.NewReader(`{`+hello+`,"options":{"num_predict":0,"temperature":1},"format":{"type":"string","minLength":900}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	if !lines.Scan() {
		t.Fatal("no line")
	}
	s.models.cancel() // as when the server stops
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	var e struct{ Error string }
	if err := json.Unmarshal([]byte(last), &e); err != nil || e.Error == "" || r.StatusCode != 200 {
		t.Errorf("last line %s", last)
	}
}
