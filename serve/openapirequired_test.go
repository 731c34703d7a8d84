package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// What the document demands of a request is demanded by the server, however deep it lies: without it, a request is refused.
func TestRequiredFieldsAreRequired(t *testing.T) {
	_, url := newTest(t, Config{})
	_, body := call(t, http.MethodGet, url+"/openapi.json", "")
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	const (
		tools    = `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]`
		messages = `"messages":[{"role":"user","content":[{"type":"text","text":"Hallo"}]},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"1","tool_call_id":"a"}]`
		format   = `"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{},"additionalProperties":false}}}`
		ollama   = `"messages":[{"role":"user","content":"Hallo"},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]},{"role":"tool","content":"1","tool_name":"f"}]`
	)
	demanded := 0
	for _, r := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"max_tokens":1,` + messages + `,` + tools + `,"tool_choice":{"type":"function","function":{"name":"f"}}}`},
		{"/v1/chat/completions", `{"max_tokens":1,` + messages + `,` + format + `}`},
		{"/apply-template", `{` + messages + `,` + tools + `}`},
		{"/v1/completions", `{"max_tokens":1,"prompt":"Hallo"}`},
		{"/v1/embeddings", `{"input":"Hallo"}`},
		{"/tokenize", `{` + messages + `,` + tools + `}`},
		{"/detokenize", `{"tokens":[1]}`},
		{"/v1/responses", `{"max_output_tokens":1,"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hallo"}]},{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"a","output":[{"type":"input_text","text":"1"}]}],"tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{}}}],"tool_choice":{"type":"function","name":"f"}}`},
		{"/v1/responses", `{"max_output_tokens":1,"input":"Hallo","text":{"format":{"type":"json_schema","name":"a","schema":{"type":"object","properties":{},"additionalProperties":false}}}}`},
		{"/api/chat", `{"stream":false,"options":{"num_predict":1},` + ollama + `,` + tools + `}`},
		{"/api/chat", `{"stream":false,` + tools + `}`}, // loads the model
		{"/api/show", `{"model":"leo-mini"}`},
	} {
		var whole any
		if err := json.Unmarshal([]byte(r.body), &whole); err != nil {
			t.Fatalf("%v in %s", err, r.body)
		}
		if status, answer := call(t, http.MethodPost, url+r.path, r.body); status != http.StatusOK {
			t.Errorf("%s %s: %d %s", r.path, r.body, status, answer)
			continue
		}
		s := at(doc, "paths", r.path, "post", "requestBody", "content", "application/json", "schema")
		for _, place := range fieldsOf(whole, nil) {
			if !demands(doc, s, whole, place) {
				continue
			}
			demanded++
			less, err := json.Marshal(without(whole, place))
			if err != nil {
				t.Fatal(err)
			}
			if status, answer := call(t, http.MethodPost, url+r.path, string(less)); status < 400 || status >= 500 {
				t.Errorf("%s without %v, which the document demands: %d %.200s", r.path, place, status, answer)
			}
		}
	}
	if demanded < 50 {
		t.Errorf("%d demanded fields were left out, too few", demanded)
	}
}

func at(v any, keys ...string) any {
	for _, k := range keys {
		v = v.(map[string]any)[k]
	}
	return v
}

// fieldsOf lists the places of all fields in v: names of fields and indexes of lists.
func fieldsOf(v any, place []any) [][]any {
	var all [][]any
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			here := append(slices.Clone(place), k)
			all = append(append(all, here), fieldsOf(v[k], here)...)
		}
	case []any:
		for i, e := range v {
			all = append(all, fieldsOf(e, append(slices.Clone(place), i))...)
		}
	}
	return all
}

// without is v without the field at place.
func without(v any, place []any) any {
	switch v := v.(type) {
	case map[string]any:
		v = maps.Clone(v)
		if k := place[0].(string); len(place) == 1 {
			delete(v, k)
		} else {
			v[k] = without(v[k], place[1:])
		}
		return v
	case []any:
		v = slices.Clone(v)
		i := place[0].(int)
		v[i] = without(v[i], place[1:])
		return v
	}
	return v
}

// demands reports whether every branch of schema that could mean v demands the field at place.
func demands(doc map[string]any, schema, v any, place []any) bool {
	branches := meant(doc, schema, v)
	for _, b := range branches {
		var ok bool
		switch k := place[0].(type) {
		case int:
			ok = demands(doc, b["items"], v.([]any)[k], place[1:])
		case string:
			if len(place) == 1 {
				required, _ := b["required"].([]any)
				ok = slices.Contains(required, any(k))
			} else if props, _ := b["properties"].(map[string]any); props[k] != nil {
				ok = demands(doc, props[k], v.(map[string]any)[k], place[1:])
			}
		}
		if !ok {
			return false
		}
	}
	return len(branches) > 0
}

// meant are the branches of schema whose type and constants are those of v.
func meant(doc map[string]any, schema, v any) []map[string]any {
	s, _ := schema.(map[string]any)
	if name, ok := s["$ref"].(string); ok {
		return meant(doc, at(doc, strings.Split(strings.TrimPrefix(name, "#/"), "/")...), v)
	}
	if all, ok := s["anyOf"].([]any); ok {
		var out []map[string]any
		for _, b := range all {
			out = append(out, meant(doc, b, v)...)
		}
		return out
	}
	kind := map[reflect.Kind]string{reflect.Map: "object", reflect.Slice: "array", reflect.String: "string", reflect.Float64: "number", reflect.Bool: "boolean"}[reflect.ValueOf(v).Kind()]
	if t := fmt.Sprint(s["type"]); !strings.Contains(t, kind) && !(kind == "number" && strings.Contains(t, "integer")) && s["type"] != nil {
		return nil
	}
	if o, ok := v.(map[string]any); ok {
		props, _ := s["properties"].(map[string]any)
		for k, p := range props {
			if c := at(p, "const"); c != nil && o[k] != c {
				return nil
			}
		}
		required, _ := s["required"].([]any)
		for _, k := range required {
			if _, ok := o[k.(string)]; !ok {
				return nil
			}
		}
	}
	return []map[string]any{s}
}

// A tool without a type is a function, also in what the model reads.
func TestToolsWithoutType(t *testing.T) {
	_, url := newTest(t, Config{})
	prompt := func(tool string) string {
		var p struct{ Prompt string }
		post(t, url+"/apply-template", `{"messages":[{"role":"user","content":"Wetter?"}],"tools":[`+tool+`]}`, &p)
		return p.Prompt
	}
	if with, less := prompt(`{"type":"function","function":{"name":"f"}}`), prompt(` {"function":{"name":"f"}}`); with != less {
		t.Errorf("%s\nand without type\n%s", with, less)
	}
	for _, kind := range []string{`null`, `""`, `"code"`, `1`} {
		if status, b := call(t, http.MethodPost, url+"/apply-template", `{"messages":[{"role":"user","content":"x"}],"tools":[{"type":`+kind+`,"function":{"name":"f"}}]}`); status != http.StatusBadRequest {
			t.Errorf("type %s: %d %s", kind, status, b)
		}
	}
}
