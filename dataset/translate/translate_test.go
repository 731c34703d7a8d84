package translate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leolm/internal/llmclient"
)

// translator is a local endpoint that puts "de:" before what it is given and
// fails as told.
func translator(t *testing.T, spoil func(n int, text string) (status int, answer string)) (Endpoint, *atomic.Int64) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req llmclient.Request
		json.NewDecoder(r.Body).Decode(&req)
		text := strings.TrimPrefix(req.Messages[len(req.Messages)-1].Content, "Übersetze ins Deutsche:\n")
		status, answer := 200, "de:"+text
		if spoil != nil {
			status, answer = spoil(int(n.Add(1)), text)
		} else {
			n.Add(1)
		}
		if status != 200 {
			w.WriteHeader(status)
			return
		}
		b, _ := json.Marshal(answer)
		fmt.Fprintf(w, `{"choices":[{"message":{"content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}`, b)
	}))
	t.Cleanup(s.Close)
	return Endpoint{URL: s.URL}, &n
}

func TestTranslate(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.json"), filepath.Join(dir, "out.jsonl")
	os.WriteFile(in, []byte(`[{"id":1,"conversations":[{"from":"human","value":"Use {name} and 1,234.5"},{"from":"gpt","value":""}],"x":null},
{"id":2,"conversations":[{"from":"human","value":"b"},{"from":"gpt","value":"c\n"}],"x":"y"}]`), 0o644)
	endpoint, asked := translator(t, func(n int, text string) (int, string) {
		if strings.HasPrefix(text, "Use") {
			return 200, "Nimm {name} und 1.234,5"
		}
		if n == 2 {
			return 503, ""
		}
		return 200, "de:" + text
	})
	make := func() *Translation {
		return &Translation{Input: in, Output: out, Fields: []string{"conversations[].value"}, Prompt: "Übersetze ins Deutsche:\n{text}",
			Endpoint: endpoint, Tries: 2, Concurrency: 1, Price: Price{Prompt: 1e6, Completion: 1e6}, pause: time.Millisecond}
	}
	e, err := make().Estimate()
	if err != nil || e.Rows != 2 || e.Requests != 3 || e.Chars != 25 || e.Cost == 0 {
		t.Errorf("estimate %+v, %v", e, err)
	}
	res, err := make().Run(context.Background())
	if err != nil || res.Rows != 2 || res.Requests != 3 || res.Problems != 0 || res.Cost != 30 {
		t.Fatalf("%+v, %v", res, err)
	}
	want := `{"id": 1, "conversations": [{"from": "human", "value": "Nimm {name} und 1.234,5"}, {"from": "gpt", "value": ""}], "x": null}
{"id": 2, "conversations": [{"from": "human", "value": "de:b"}, {"from": "gpt", "value": "de:c"}], "x": "y"}
`
	if got, _ := os.ReadFile(out); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Again: everything comes from the journal.
	before := asked.Load()
	if _, err := make().Run(context.Background()); err != nil || asked.Load() != before {
		t.Errorf("a second run asked %d times more, %v", asked.Load()-before, err)
	}
	// With a suffix the original stays.
	tr := make()
	tr.Suffix = "_de"
	if _, err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(out); !strings.Contains(string(got), `{"from": "human", "value": "b", "value_de": "de:b"}`) {
		t.Errorf("suffix: %s", got)
	}
}

func TestTranslateProblemsAndErrors(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	os.WriteFile(in, []byte("{\"a\":\"It costs 42 dollars.\"}\n{\"a\":\"x\"}\n"), 0o644)
	endpoint, asked := translator(t, func(n int, text string) (int, string) { return 200, "Es kostet viel." })
	tr := &Translation{Input: in, Output: out, Fields: []string{"a"}, Prompt: "{text}", Endpoint: endpoint, Tries: 3}
	res, err := tr.Run(context.Background())
	if err != nil || res.Problems != 1 || asked.Load() != 4 {
		t.Errorf("%+v after %d requests, %v", res, asked.Load(), err)
	}
	if list, _ := os.ReadFile(out + ".problems.jsonl"); !strings.Contains(string(list), `"problem":"the number 42 is missing"`) {
		t.Errorf("list: %s", list)
	}
	for _, c := range []struct {
		fields       []string
		prompt, want string
	}{
		{[]string{"b"}, "{text}", `row 1 (line 1), column "b": the field is missing; there are a`},
		{[]string{"a[]"}, "{text}", `column "a": want a list, found text`},
		{[]string{"a"}, "no place", "must contain {text} exactly once"},
		{nil, "{text}", "no fields"},
	} {
		tr := &Translation{Input: in, Output: out, Fields: c.fields, Prompt: c.prompt, Endpoint: endpoint}
		if _, err := tr.Run(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.fields, err, c.want)
		}
	}
}

func TestTranslationChecks(t *testing.T) {
	code := "Look:\n```python\n# add\nx = 1\nprint(x)  # show\n```\nDone."
	for _, c := range []struct{ source, got, finish, want string }{
		{"Hello", "Hallo", "stop", ""},
		{"Hello", "", "stop", "the answer is empty"},
		{"Hello", "Hal", "length", "cut off"},
		{"Hello", "Hier ist die Übersetzung: Hallo", "stop", "talk around"},
		{code, "Schau:\n```python\n# addiere\nx = 1\nprint(x)  # zeigen\n```\nFertig.", "stop", ""},
		{code, "Schau:\n```python\n# addiere\ny = 1\nprint(x)\n```\nFertig.", "stop", "code block 1 was changed"},
		{code, "Schau: x = 1 und drucke. Das ist alles, was man tun muss.", "stop", "1 code blocks became 0"},
		{"Call `f(x)` now", "Rufe f auf", "stop", "the code `f(x)` is missing"},
		{"Dear {name}, see https://a.de/x", "Liebe {Name}, siehe https://a.de/x", "stop", "{name} is missing"},
		{"In 1,234.56 of 1999", "In 1.234,56 von 1999", "stop", ""},
		{"It was 1999 and 1999", "Es war 1999", "stop", "the number 1999 is missing"},
		{"3 cats", "drei Katzen", "stop", ""},
		{strings.Repeat("long text ", 20), "kurz", "stop", "0.0 times the length"},
	} {
		err := checkTranslation(c.source, c.got, c.finish)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q → %q: %v, want %q", c.source, c.got, err, c.want)
		}
	}
}
