package serve

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"leolm/infer"
)

// responseEvent is an event of a stream of POST /v1/responses.
type responseEvent struct {
	Type     string
	Sequence *int    `json:"sequence_number"`
	Output   *int    `json:"output_index"`
	Content  *int    `json:"content_index"`
	Item     *string `json:"item_id"`
	Delta    string
	Text     string
	Args     string `json:"arguments"`
	Response *responseObject
	Whole    map[string]any `json:"item"`
}

type responseObject struct {
	ID, Object, Status, Model string
	Incomplete                *struct{ Reason string } `json:"incomplete_details"`
	Error                     *struct{ Code, Message string }
	Output                    []struct {
		Type, ID, Status, Name, Arguments string
		CallID                            string `json:"call_id"`
		Content                           []struct {
			Type, Text string
			LogProbs   []tokenLogProb
		}
	}
	Usage *struct {
		Input   int `json:"input_tokens"`
		Output  int `json:"output_tokens"`
		Total   int `json:"total_tokens"`
		Details struct {
			Cached *int `json:"cached_tokens"`
		} `json:"input_tokens_details"`
		Reasoned struct {
			Tokens *int `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	}
	Store bool
}

// events reads a stream of POST /v1/responses; the name before each event must be its type.
func responseEvents(t testing.TB, url, body string) []responseEvent {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(r.Body)
		t.Fatalf("%d %s", r.StatusCode, b)
	}
	var out []responseEvent
	name := ""
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			name = n
		} else if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e responseEvent
			if err := json.Unmarshal([]byte(data), &e); err != nil || e.Type != name {
				t.Fatalf("event %q: %v %s", name, err, data)
			}
			out = append(out, e)
		}
	}
	return out
}

func types(events []responseEvent) []string {
	var out []string
	for _, e := range events {
		out = append(out, strings.TrimPrefix(e.Type, "response."))
	}
	return slices.Compact(out)
}

// Events come in OpenAI's order with rising numbers and indices, and end with the whole response, which is that of the
// call that is no stream.
func TestResponseEvents(t *testing.T) {
	_, url := newTest(t, Config{})
	url += "/v1/responses"
	const tools = `"tools":[{"type":"function","name":"wetter","parameters":{"type":"object","properties":{"tage":{"type":"integer","maximum":9,"minimum":1}},"required":["tage"],"additionalProperties":false}}],"tool_choice":"required"`
	for _, c := range []struct {
		body, status string
		want         []string
	}{
		{`{"input":"Wie heißt du?","temperature":0`, "completed", []string{"created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"}},
		{`{"input":"Wie heißt du?","temperature":0,"max_output_tokens":2`, "incomplete", []string{"created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done", "incomplete"}},
		{`{"input":"Wetter?","temperature":0,` + tools, "completed", []string{"created", "in_progress", "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done", "completed"}},
	} {
		var whole responseObject
		post(t, url, c.body+`}`, &whole)
		events := responseEvents(t, url, c.body+`,"stream":true}`)
		if got := types(events); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", c.body, got)
		}
		text := ""
		for i, e := range events {
			if e.Sequence == nil || *e.Sequence != i {
				t.Errorf("event %d has the number %v", i, e.Sequence)
			}
			about := strings.Contains(e.Type, ".output_item.") || e.Response == nil
			if about && (e.Output == nil || *e.Output != 0) || strings.HasPrefix(e.Type, "response.output_text.") && (e.Content == nil || e.Item == nil) || strings.HasSuffix(e.Type, ".delta") && e.Item == nil {
				t.Errorf("event %d: %+v", i, e)
			}
			text += e.Delta
		}
		last := events[len(events)-1].Response
		if last == nil || last.Status != c.status || whole.Status != c.status || last.ID != events[0].Response.ID || last.Usage == nil || last.Usage.Output != whole.Usage.Output {
			t.Fatalf("%s: %+v, whole %+v", c.body, last, whole)
		}
		item, same := last.Output[0], whole.Output[0]
		got, want := item.Arguments, same.Arguments
		if item.Type == "message" {
			got, want = item.Content[0].Text, same.Content[0].Text
		}
		if got != want || text != want || got == "" || item.Type != same.Type || item.Status != c.status {
			t.Errorf("%s: streamed %q, last %q, whole %q", c.body, text, got, want)
		}
		u := whole.Usage
		if u.Total != u.Input+u.Output || u.Details.Cached == nil || u.Reasoned.Tokens == nil || whole.Store {
			t.Errorf("%+v", whole)
		}
		if (c.status == "incomplete") != (whole.Incomplete != nil) || whole.Incomplete != nil && whole.Incomplete.Reason != "max_output_tokens" {
			t.Errorf("%+v", whole)
		}
	}
}

// A conversation with calls and results is taken back, a schema is kept to, and log-probabilities make the text.
func TestResponseInput(t *testing.T) {
	_, url := newTest(t, Config{})
	url += "/v1/responses"
	var a responseObject
	post(t, url, `{"model":"leo-mini","instructions":"Du hilfst.","input":[{"role":"developer","content":"kurz"},{"role":"user","content":[{"type":"input_text","text":"Wetter?"}]},{"type":"reasoning","id":"rs_1","summary":[]},{"type":"function_call","id":"fc_1","call_id":"c1","name":"wetter","arguments":"{\"ort\":\"Kiel\"}"},{"type":"function_call","call_id":"c2","name":"wetter","arguments":""},{"type":"function_call_output","call_id":"c1","output":"Regen"},{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"Sonne"}]}],"store":true,"max_output_tokens":3,"text":{"format":{"type":"text"}},"include":["reasoning.encrypted_content"],"unknown":1}`, &a)
	var v struct{ A int }
	post(t, url, `{"input":"x","text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}}}}`, &a)
	if err := json.Unmarshal([]byte(a.Output[0].Content[0].Text), &v); err != nil {
		t.Errorf("%v in %+v", err, a)
	}
	post(t, url, `{"input":"Wie heißt du?","temperature":0,"include":["message.output_text.logprobs"],"top_logprobs":2}`, &a)
	text := ""
	for _, p := range a.Output[0].Content[0].LogProbs {
		text += p.Token
		if len(p.Top) != 2 {
			t.Errorf("%+v", p)
		}
	}
	if text != a.Output[0].Content[0].Text {
		t.Errorf("tokens %q, text %q", text, a.Output[0].Content[0].Text)
	}
}

// Calls are items of their own, one after the other, also beside text.
func TestResponseParallelCalls(t *testing.T) {
	a := &responseAnswer{chatAnswer: &chatAnswer{c: &conversation{tools: &toolbox{mode: "auto"}}, choices: []*choice{{split: &callFinder{style: callTags, tools: []tool{named("f")}}}}}, req: &responseRequest{}}
	for _, r := range `Gut. <tool_call>{"name":"f","arguments":{"a":1}}</tool_call><tool_call>{"name":"f","arguments":{"a":2}}</tool_call>` {
		if err := a.pieces(a.take(0, infer.Token{ID: -1, Text: string(r)})); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.ended(&infer.Result{Finish: infer.FinishStop}); err != nil {
		t.Fatal(err)
	}
	var got []string
	ids := map[string]bool{}
	for _, it := range a.items {
		got = append(got, fmt.Sprint(it.kind, " ", it.text, " ", it.status))
		ids[it.callID] = true
	}
	if want := []string{"message Gut.  completed", `function_call {"a":1} completed`, `function_call {"a":2} completed`}; !slices.Equal(got, want) || len(ids) != 3 {
		t.Errorf("%q", got)
	}
}

// What cannot be done is refused, with the field's name.
func TestResponseErrors(t *testing.T) {
	_, url := newTest(t, Config{})
	for _, c := range []struct {
		fields string
		status int
		param  string
	}{
		{``, 400, "input"},
		{`"input":""`, 400, "input"},
		{`"input":[]`, 400, "input"},
		{`"input":5`, 400, "input"},
		{`"input":[5]`, 400, "input"},
		{`"input":[{"role":"nobody","content":"x"}]`, 400, "input"},
		{`"input":[{"role":"user"}]`, 400, "input"},
		{`"input":[{"type":"item_reference","id":"x"}]`, 400, "input"},
		{`"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{"}]`, 400, "input"},
		{`"input":[{"type":"function_call_output","output":"x"}]`, 400, "input"},
		{`"input":[{"role":"user","content":[{"type":"input_image","image_url":"http://127.0.0.1:1/"}]}]`, 400, "input"},
		{`"input":"` + strings.Repeat("Haus ", 3000) + `"`, 400, "input"},
		{`"input":"x","model":"gpt-9"`, 404, "model"},
		{`"input":"x","previous_response_id":"resp_1"`, 400, "previous_response_id"},
		{`"input":"x","conversation":"c"`, 400, "conversation"},
		{`"input":"x","background":true`, 400, "background"},
		{`"input":"x","prompt":{"id":"p"}`, 400, "prompt"},
		{`"input":"x","response_format":{"type":"json_object"}`, 400, "response_format"},
		{`"input":"x","max_tokens":5`, 400, "max_tokens"},
		{`"messages":[]`, 400, "messages"},
		{`"input":"x","max_output_tokens":0`, 400, "max_output_tokens"},
		{`"input":"x","max_output_tokens":"many"`, 400, "max_output_tokens"},
		{`"input":"x","temperature":3`, 400, "temperature"},
		{`"input":"x","top_logprobs":21`, 400, "top_logprobs"},
		{`"input":"x","text":{"format":{"type":"xml"}}`, 400, "text.format"},
		{`"input":"x","text":{"format":{"type":"json_schema","name":"n"}}`, 400, "text.format.schema"},
		{`"input":"x","text":{"format":{"type":"json_schema","name":"n","schema":{"type":"array","uniqueItems":true}}}`, 400, "text.format"},
		{`"input":"x","tools":[{"type":"web_search"}]`, 400, "tools"},
		{`"input":"x","tool_choice":"required"`, 400, "tool_choice"},
		{`"input":"x","reasoning":{"effort":"much"}`, 400, "reasoning.effort"},
		{`"input":"x","stream":true,"temperature":-1`, 400, "temperature"},
	} {
		status, body := call(t, http.MethodPost, url+"/v1/responses", `{`+c.fields+`}`)
		var e struct {
			Error struct {
				Message string
				Param   *string
			}
		}
		if err := json.Unmarshal(body, &e); err != nil || status != c.status || e.Error.Param == nil && c.param != "" || e.Error.Param != nil && *e.Error.Param != c.param {
			t.Errorf("%.80s: %d %s", c.fields, status, body)
		}
	}
}

// A failure after the start is an event that says so.
func TestResponseFault(t *testing.T) {
	s, url := newTest(t, Config{})
	r, err := http.Post(url+"/v1/responses", "application/json", strings.NewReader(`{"input":"x","stream":true,"text":{"format":{"type":"json_schema","schema":{"type":"string","minLength":900}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Scan()
	s.models.cancel() // as when the server stops
	last := ""
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			last = data
		}
	}
	var e responseEvent
	if err := json.Unmarshal([]byte(last), &e); err != nil || e.Type != "response.failed" || e.Response.Status != "failed" || e.Response.Error.Message == "" {
		t.Errorf("%v %s", err, last)
	}
}
