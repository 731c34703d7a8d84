package serve

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"leolm/open"
)

// fuzzServer is one server for all runs of a fuzz target. Its context is short, so that no answer is long.
var fuzzServer = sync.OnceValues(func() (*Server, error) {
	return New(context.Background(), Config{
		Models: []Source{{Options: open.Options{Context: 96, Sessions: 8}}}, Parallel: 8, MaxBody: 1 << 20, Log: slog.New(slog.DiscardHandler),
	})
})

// fuzzRoute sends bodies and a header to a route: whatever they are, the answer is one that the client has caused, errors
// have their shape, and nothing runs afterward.
func fuzzRoute(f *testing.F, path string) {
	for _, body := range fuzzSeeds[path] {
		f.Add(body, "Content-Type", "application/json")
	}
	f.Add(`{}`, "Accept", "text/event-stream")
	f.Add(``, "Authorization", "Bearer x")
	f.Add(`[]`, "X-Request-Id", strings.Repeat("x", 300))
	f.Add(`{"model":null,"stream":true}`, "Content-Length", "-1")
	f.Fuzz(func(t *testing.T, body, key, value string) { fuzzAsk(t, path, body, key, value) })
}

// fuzzAsk sends a request to the server of fuzz targets, and checks what must hold whatever it is.
func fuzzAsk(t *testing.T, path, body, key, value string) {
	s, err := fuzzServer()
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	req.Header[key] = []string{value}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	if w.Code >= 500 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if w.Code >= 400 {
		var shape struct{ Error any }
		if err := json.Unmarshal(w.Body.Bytes(), &shape); err != nil || shape.Error == nil {
			t.Fatalf("status %d without an error: %s", w.Code, w.Body)
		}
	} else if strings.Contains(w.Body.String(), `"server_error"`) {
		t.Fatalf("an error in the stream: %s", w.Body)
	}
	idle(t, s)
}

// FuzzFields puts a value in the place of a field, wherever it is, of a request that is right otherwise.
func FuzzFields(f *testing.F) {
	var bodies [][2]string
	for path, seeds := range fuzzSeeds {
		for _, body := range seeds {
			bodies = append(bodies, [2]string{path, body})
		}
	}
	slices.SortFunc(bodies, func(a, b [2]string) int { return cmp.Or(strings.Compare(a[0], b[0]), strings.Compare(a[1], b[1])) })
	for i := range bodies {
		for field, value := range []string{`null`, `-1`, `1e300`, `0.5`, `[]`, `{}`, `""`, `true`, `[null]`, `{"$ref":"#"}`, `9223372036854775807`, `text`} {
			f.Add(uint16(i), uint16(field), value)
		}
	}
	f.Fuzz(func(t *testing.T, which, field uint16, value string) {
		at := bodies[int(which)%len(bodies)]
		var body any
		if err := json.Unmarshal([]byte(at[1]), &body); err != nil {
			t.Fatal(err)
		}
		var v any
		if json.Unmarshal([]byte(value), &v) != nil {
			v = value
		}
		var places []func()
		replace(body, v, &places)
		places[int(field)%len(places)]()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		fuzzAsk(t, at[0], string(b), "Content-Type", "application/json")
	})
}

// replace lists functions that put v in a place of body each.
func replace(body, v any, places *[]func()) {
	switch body := body.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(body)) {
			*places = append(*places, func() { body[key] = v })
			replace(body[key], v, places)
		}
	case []any:
		for i := range body {
			*places = append(*places, func() { body[i] = v })
			replace(body[i], v, places)
		}
	}
}

// idle waits until no model of s has anything to do.
func idle(t *testing.T, s *Server) {
	busy := func() bool {
		s.models.mu.Lock()
		defer s.models.mu.Unlock()
		for _, e := range s.models.entries {
			if e.m == nil {
				continue
			}
			if st := e.m.sched.Stats(); st.Running+st.Waiting > 0 {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(5 * time.Second); busy(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a sequence is stuck")
		}
	}
}

const user = `"messages":[{"role":"user","content":"Hallo"}],"max_tokens":2`

// fuzzSeeds are bodies of requests by route.
var fuzzSeeds = map[string][]string{
	"/v1/chat/completions": {
		`{` + user + `,"stream":true,"stream_options":{"include_usage":true},"n":2,"seed":1,"stop":["a","b"],"logprobs":true,"top_logprobs":2}`,
		`{` + user + `,"temperature":2,"top_p":0.1,"top_k":3,"min_p":0.1,"typical_p":0.5,"repeat_penalty":1.1,"repeat_last_n":5,"presence_penalty":1,"frequency_penalty":-1,"logit_bias":{"5":-100}}`,
		`{` + user + `,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"type":["integer","null"],"minimum":3}}}}}}`,
		`{` + user + `,"guided_regex":"(a|b)*c{2,5}","stream":true}`,
		`{` + user + `,"grammar":"root ::= \"a\" root | \"b\""}`,
		`{` + user + `,"guided_choice":["ja","nein"],"reasoning_effort":"low","chat_template_kwargs":{"enable_thinking":false}}`,
		`{` + user + `,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}],"tool_choice":"required","stream":true}`,
		`{"messages":[{"role":"system","content":"s"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"2"}]}],"max_tokens":1}`,
		`{"messages":[{"role":"assistant","content":"Hal"}],"continue_final_message":true,"add_generation_prompt":false,"max_tokens":1,"stop_token_ids":[5],"ignore_eos":true,"cache_salt":"x","min_tokens":1}`,
	},
	"/v1/completions": {
		`{"prompt":"Hallo","max_tokens":2,"echo":true,"logprobs":3}`, `{"prompt":[[5,6],[7]],"max_tokens":0,"echo":true,"logprobs":1}`,
		`{"prompt":["a","b"],"max_tokens":1,"n":2,"best_of":2,"stream":true}`, `{"prompt":[5,6,7],"stop":"x","max_tokens":3.0}`,
	},
	"/v1/responses": {
		`{"input":"Hallo","max_output_tokens":2,"stream":true,"instructions":"i","top_logprobs":2}`,
		`{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"},{"type":"reasoning","summary":[]}],"max_output_tokens":1,"tools":[{"type":"function","name":"f","parameters":{}}],"tool_choice":{"type":"function","name":"f"}}`,
		`{"input":"x","text":{"format":{"type":"json_schema","name":"n","schema":{"type":"array","items":{"enum":[1,2]}}}},"max_output_tokens":2}`,
		`{"input":"x","previous_response_id":"r","store":true,"metadata":{"a":"b"},"reasoning":{"effort":"low"}}`,
	},
	"/api/chat": {
		`{"model":"leo-mini","messages":[{"role":"user","content":"x","images":[]}],"options":{"num_predict":2,"num_ctx":4096,"seed":1,"stop":["a"]},"keep_alive":"5m"}`,
		`{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","content":"1","tool_name":"f"}],"options":{"num_predict":1},"stream":false,"think":false,"tools":[{"type":"function","function":{"name":"f"}}]}`,
		`{"messages":[],"keep_alive":0}`, `{"messages":[{"role":"user","content":"x"}],"format":{"type":"integer"},"think":"low","logprobs":true}`,
	},
	"/api/generate": {
		`{"prompt":"x","system":"s","context":[5,6],"options":{"num_predict":2},"format":"json"}`, `{"prompt":"x","raw":true,"stream":false,"options":{"num_predict":1.0}}`,
		`{"prompt":"","keep_alive":-1}`, `{"prompt":"x","template":"t","suffix":"s","images":["iVBOR"]}`,
	},
	"/v1/embeddings": {
		`{"input":["a","b"],"encoding_format":"base64"}`, `{"input":[[5],[6]],"dimensions":192}`, `{"input":[5]}`,
	},
	"/api/embed": {
		`{"input":"a","truncate":true}`, `{"input":["a","b"],"keep_alive":"1s","dimensions":0,"options":{"x":1}}`,
	},
	"/tokenize": {
		`{"content":"a <|im_end|>","with_pieces":true,"add_special":true}`, `{"prompt":"a","return_token_strs":true}`, `{` + user + `}`,
	},
	"/detokenize": {
		`{"tokens":[5,6,3]}`, `{"tokens":[1.0]}`,
	},
	"/apply-template": {
		`{` + user + `,"tools":[{"type":"function","function":{"name":"f"}}],"chat_template_kwargs":{"x":[1,{"a":null}]},"add_generation_prompt":false}`,
	},
	"/api/show": {
		`{"model":"leo-mini:latest","verbose":true}`, `{"name":"x"}`,
	},
}

func FuzzChat(f *testing.F)           { fuzzRoute(f, "/v1/chat/completions") }
func FuzzCompletions(f *testing.F)    { fuzzRoute(f, "/v1/completions") }
func FuzzResponses(f *testing.F)      { fuzzRoute(f, "/v1/responses") }
func FuzzOllamaChat(f *testing.F)     { fuzzRoute(f, "/api/chat") }
func FuzzOllamaGenerate(f *testing.F) { fuzzRoute(f, "/api/generate") }
func FuzzVectors(f *testing.F)        { fuzzRoute(f, "/v1/embeddings") }
func FuzzOllamaEmbed(f *testing.F)    { fuzzRoute(f, "/api/embed") }
func FuzzTokenize(f *testing.F)       { fuzzRoute(f, "/tokenize") }
func FuzzDetokenize(f *testing.F)     { fuzzRoute(f, "/detokenize") }
func FuzzTemplate(f *testing.F)       { fuzzRoute(f, "/apply-template") }
func FuzzShow(f *testing.F)           { fuzzRoute(f, "/api/show") }
