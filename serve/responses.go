package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"leolm/chat"
	"leolm/infer"
)

// responseRequest is the body of POST /v1/responses. Nothing of it is stored: conversations are in the hands of clients.
type responseRequest struct {
	Model           string             `json:"model"`
	Input           responseInput      `json:"input"`
	Instructions    *string            `json:"instructions"`
	MaxOutputTokens *whole             `json:"max_output_tokens"`
	Temperature     *float64           `json:"temperature"`
	TopP            *float64           `json:"top_p"`
	TopLogProbs     *whole             `json:"top_logprobs"`
	Seed            *whole             `json:"seed"` // not OpenAI's, as those of the next line
	Stop            texts              `json:"stop"`
	TopK            *whole             `json:"top_k"`
	Include         texts              `json:"include"`
	Text            *responseText      `json:"text"`
	Reasoning       *responseReasoning `json:"reasoning"`
	Tools           []responseTool     `json:"tools"`
	ToolChoice      toolChoice         `json:"tool_choice"`
	Parallel        *bool              `json:"parallel_tool_calls"`
	Metadata        map[string]string  `json:"metadata"`
	TemplateVars    map[string]any     `json:"chat_template_kwargs"`
	Stream          bool               `json:"stream"`

	Background   bool            `json:"background"`
	Previous     *string         `json:"previous_response_id"`
	Conversation json.RawMessage `json:"conversation"`
	StoredPrompt json.RawMessage `json:"prompt"`

	// Fields of chat completions, which have other names here.
	ResponseFormat      json.RawMessage `json:"response_format"`
	Messages            json.RawMessage `json:"messages"`
	MaxTokens           json.RawMessage `json:"max_tokens"`
	MaxCompletionTokens json.RawMessage `json:"max_completion_tokens"`
}

type responseText struct {
	Format *responseFormatFlat `json:"format"`
}

// responseFormatFlat is the format of the text: text, json_object or json_schema.
type responseFormatFlat struct {
	Type   string          `json:"type"`
	Name   string          `json:"name,omitempty"`
	Schema json.RawMessage `json:"schema,omitempty"`
	Strict *bool           `json:"strict,omitempty"`
}

type responseReasoning struct {
	Effort  *string `json:"effort"`
	Summary *string `json:"summary"`
}

// responseTool is a function that the model may call, without the object around it that chat completions have.
type responseTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      *bool           `json:"strict"`
}

// given reports whether a field has a value.
func given(v json.RawMessage) bool { return len(v) > 0 && string(v) != "null" }

// check refuses what a server that stores nothing cannot do, and fields of other calls.
func (r *responseRequest) check() error {
	for _, f := range []struct {
		field json.RawMessage
		name  string
		use   string
	}{
		{r.ResponseFormat, "response_format", "text.format"}, {r.Messages, "messages", "input"},
		{r.MaxTokens, "max_tokens", "max_output_tokens"}, {r.MaxCompletionTokens, "max_completion_tokens", "max_output_tokens"},
	} {
		if given(f.field) {
			return bad(f.name, "%s is a field of chat completions; here it is %s", f.name, f.use)
		}
	}
	switch {
	case r.Previous != nil:
		return bad("previous_response_id", "previous_response_id: no response is stored; send the whole conversation as input")
	case given(r.Conversation):
		return bad("conversation", "conversation: none is stored; send all of it as input")
	case given(r.StoredPrompt):
		return bad("prompt", "prompt: none is stored; send instructions and input")
	case r.Background:
		return bad("background", "background: an answer is not kept for later; set it to false")
	case len(r.Input) == 0:
		return bad("input", "input is missing or empty")
	case r.MaxOutputTokens != nil && *r.MaxOutputTokens < 1:
		return bad("max_output_tokens", "max_output_tokens is %d; it must be at least 1", *r.MaxOutputTokens)
	case r.TopLogProbs != nil && (*r.TopLogProbs < 0 || *r.TopLogProbs > maxTop):
		return bad("top_logprobs", "top_logprobs is %d; it must be between 0 and %d", *r.TopLogProbs, maxTop)
	}
	return nil
}

// logprobs reports whether log-probabilities are wanted.
func (r *responseRequest) logprobs() bool {
	return slices.Contains(r.Include, "message.output_text.logprobs") || r.TopLogProbs != nil && *r.TopLogProbs > 0
}

// chat is the request in the words of the shared core.
func (r *responseRequest) chat() (*chatRequest, error) {
	c := &chatRequest{Messages: slices.Clone([]wireMessage(r.Input)), ToolChoice: r.ToolChoice, MaxCompletionTokens: r.MaxOutputTokens, TemplateVars: r.TemplateVars}
	c.sampling = sampling{Model: r.Model, Temperature: r.Temperature, TopP: r.TopP, TopK: r.TopK, Seed: r.Seed, Stop: r.Stop, Stream: r.Stream}
	if c.LogProbs = r.logprobs(); c.LogProbs {
		c.TopLogProbs = r.TopLogProbs
	}
	if r.Instructions != nil && *r.Instructions != "" {
		c.Messages = slices.Insert(c.Messages, 0, wireMessage{Role: "system", Content: content{text: *r.Instructions, given: true}})
	}
	if r.Reasoning != nil {
		c.Effort = r.Reasoning.Effort
	}
	c.formatName = "text.format"
	if r.Text != nil && r.Text.Format != nil {
		f := r.Text.Format
		if f.Type == "json_schema" && !given(f.Schema) {
			return nil, bad("text.format.schema", "text.format of type json_schema needs a schema")
		}
		c.ResponseFormat = &responseFormat{Type: f.Type, Schema: f.Schema}
	}
	for i, t := range r.Tools {
		if t.Type != "function" {
			return nil, bad("tools", "tools[%d] is of type %q; only functions are known", i, t.Type)
		}
		c.Tools = append(c.Tools, t.nested())
	}
	return c, nil
}

// nested is the tool as chat completions describe it.
func (t *responseTool) nested() tool {
	var out tool
	out.Type = "function"
	f := &out.Function
	f.Name, f.Description, f.Parameters, f.Strict = t.Name, t.Description, t.Parameters, t.Strict
	inner := map[string]any{"name": t.Name}
	if t.Description != "" {
		inner["description"] = t.Description
	}
	if given(t.Parameters) {
		inner["parameters"] = t.Parameters
	}
	out.raw, _ = encode(map[string]any{"type": "function", "function": inner}) // JSON already
	return out
}

// responseInput is a text, or a list of items, as messages.
type responseInput []wireMessage

// UnmarshalJSON implements json.Unmarshaler.
func (in *responseInput) UnmarshalJSON(data []byte) error {
	*in = nil
	if string(data) == "null" {
		return nil
	}
	var text string
	if json.Unmarshal(data, &text) == nil {
		if text != "" {
			*in = responseInput{{Role: "user", Content: content{text: text, given: true}}}
		}
		return nil
	}
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return bad("input", "input must be a string or a list of items")
	}
	names := map[string]string{} // of calls, by id
	for i, raw := range items {
		if err := in.item(i, raw, names); err != nil {
			return err
		}
	}
	return nil
}

// item appends one item of the input.
func (in *responseInput) item(i int, raw json.RawMessage, names map[string]string) error {
	var it struct {
		Type      string          `json:"type"`
		Role      string          `json:"role"`
		Content   json.RawMessage `json:"content"`
		CallID    string          `json:"call_id"`
		Name      string          `json:"name"`
		Arguments string          `json:"arguments"`
		Output    json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(raw, &it); err != nil {
		return bad("input", "input[%d] is no item: %v", i, err)
	}
	switch it.Type {
	case "", "message":
		var c content
		if len(it.Content) == 0 {
			return bad("input", "input[%d]: the message has no content", i)
		}
		if err := c.UnmarshalJSON(it.Content); err != nil {
			return inInput(i, err)
		}
		if _, err := chat.ParseRole(it.Role); err != nil || it.Role == "tool" {
			return bad("input", "input[%d]: role %q; use user, assistant, system or developer", i, it.Role)
		}
		*in = append(*in, wireMessage{Role: it.Role, Content: c})
	case "function_call":
		if it.Name == "" || it.CallID == "" {
			return bad("input", "input[%d]: a function_call needs name and call_id", i)
		}
		args := json.RawMessage(it.Arguments)
		if strings.TrimSpace(it.Arguments) == "" {
			args = json.RawMessage("{}")
		} else if !json.Valid(args) {
			return bad("input", "input[%d]: arguments are not JSON", i)
		}
		call := chat.ToolCall{ID: it.CallID, Name: it.Name, Arguments: args}
		names[it.CallID] = it.Name
		if n := len(*in) - 1; n >= 0 && (*in)[n].Role == "assistant" {
			(*in)[n].ToolCalls = append((*in)[n].ToolCalls, call)
		} else {
			*in = append(*in, wireMessage{Role: "assistant", ToolCalls: []chat.ToolCall{call}})
		}
	case "function_call_output":
		var c content
		if len(it.Output) == 0 || it.CallID == "" {
			return bad("input", "input[%d]: a function_call_output needs call_id and output", i)
		}
		if err := c.UnmarshalJSON(it.Output); err != nil {
			return inInput(i, err)
		}
		*in = append(*in, wireMessage{Role: "tool", Content: c, ToolCallID: it.CallID, Name: names[it.CallID]})
	case "reasoning": // of earlier turns, which templates leave out
	default:
		return bad("input", "input[%d] is of type %q; use message, function_call, function_call_output or reasoning", i, it.Type)
	}
	return nil
}

// inInput says in which item of the input a mistake is.
func inInput(i int, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return bad("input", "input[%d]: %s", i, e.Message)
}

// inResponse names the field as it is called here.
func inResponse(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	out := *e
	for from, to := range map[string]string{"messages": "input", "max_completion_tokens": "max_output_tokens", "reasoning_effort": "reasoning.effort"} {
		if rest, ok := strings.CutPrefix(out.Param, from); ok {
			out.Param = to + rest
		}
	}
	return &out
}

// responses answers POST /v1/responses.
func (s *Server) responses(w http.ResponseWriter, r *http.Request) error {
	var req responseRequest
	if err := read(r, &req); err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	c, err := req.chat()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	conv, err := s.converse(ctx, tenant(r), c)
	if err != nil {
		return inResponse(asOne(err))
	}
	defer conv.release()
	a, tickets, err := conv.begin(ctx, "resp_", c.LogProbs)
	if err != nil {
		return inResponse(asOne(err))
	}
	ra := &responseAnswer{chatAnswer: a, req: &req, effort: c.Effort}
	if req.Stream {
		ra.out = s.eventStream(w)
		s.streamResponse(ctx, cancel, ra, tickets)
		return nil
	}
	results, err := follow(ctx, cancel, tickets, func(i int, t infer.Token) error {
		return ra.pieces(a.take(i, t))
	}, func(i int, r *infer.Result) error {
		return ra.ended(r)
	}, nil)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, ra.response(results))
	return nil
}

// asOne is err as a client sees it, if it is a client's.
func asOne(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return asError(err)
}

// streamResponse writes a response as events.
func (s *Server) streamResponse(ctx context.Context, cancel context.CancelFunc, a *responseAnswer, tickets []*infer.Ticket) {
	err := a.event("response.created", map[string]any{"response": a.response(nil)})
	if err == nil {
		err = a.event("response.in_progress", map[string]any{"response": a.response(nil)})
	}
	var results []*infer.Result
	if err == nil {
		results, err = follow(ctx, cancel, tickets, func(i int, t infer.Token) error {
			return a.pieces(a.take(i, t))
		}, func(i int, r *infer.Result) error {
			return a.ended(r)
		}, a.out.comment)
	}
	if err == nil {
		whole := a.response(results)
		err = a.event("response."+whole["status"].(string), map[string]any{"response": whole})
	}
	if err != nil {
		s.brokenWith(a.out, err, func(e *Error) error {
			failed := a.response(nil)
			failed["status"], failed["error"] = "failed", map[string]string{"code": "server_error", "message": e.Message}
			return a.event("response.failed", map[string]any{"response": failed})
		})
	}
}

// responseAnswer is a response in progress: the list of its items, and the events that make it.
type responseAnswer struct {
	*chatAnswer
	req    *responseRequest
	effort *string
	out    *stream // nil if only the whole is wanted
	seq    int
	items  []*responseItem
}

// usageOf counts tokens in the words of this call.
func (a *responseAnswer) usageOf(results []*infer.Result) any {
	if results == nil {
		return nil
	}
	u, _ := a.measured(results)
	return map[string]any{
		"input_tokens": u.Prompt, "input_tokens_details": map[string]int{"cached_tokens": u.Details.Cached},
		"output_tokens": u.Completion, "output_tokens_details": map[string]int{"reasoning_tokens": u.CompletionDetails.Reasoning},
		"total_tokens": u.Total,
	}
}

// response is the object as it is now; results are those of an answer that has ended.
func (a *responseAnswer) response(results []*infer.Result) map[string]any {
	r := a.req
	output := []any{}
	for _, it := range a.items {
		output = append(output, it.object())
	}
	status, incomplete, completed := "in_progress", any(nil), any(nil)
	if results != nil {
		status, completed = "completed", time.Now().Unix()
		if finish(results[0]) == "length" {
			status, incomplete, completed = "incomplete", map[string]string{"reason": "max_output_tokens"}, nil
		}
	}
	format := any(map[string]string{"type": "text"})
	if r.Text != nil && r.Text.Format != nil {
		format = r.Text.Format
	}
	summary := any(nil)
	if r.Reasoning != nil && r.Reasoning.Summary != nil {
		summary = *r.Reasoning.Summary
	}
	p := &a.c.req.Params
	topP := p.TopP
	if topP == 0 || topP > 1 {
		topP = 1
	}
	metadata := r.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	return map[string]any{
		"id": a.ID, "object": "response", "created_at": a.Created, "completed_at": completed, "status": status, "background": false,
		"error": nil, "incomplete_details": incomplete, "instructions": r.Instructions, "max_output_tokens": r.MaxOutputTokens,
		"max_tool_calls": nil, "model": a.c.model.card.name, "output": output, "parallel_tool_calls": r.Parallel == nil || *r.Parallel,
		"previous_response_id": nil, "reasoning": map[string]any{"effort": a.effort, "summary": summary}, "store": false,
		"temperature": p.Temperature, "text": map[string]any{"format": format}, "tool_choice": a.toolChoice(), "tools": a.tools(),
		"top_logprobs": or(r.TopLogProbs, 0), "top_p": topP, "truncation": "disabled", "usage": a.usageOf(results), "metadata": metadata,
		"service_tier": "default", "user": nil,
	}
}

func or[T any](p *T, otherwise T) T {
	if p != nil {
		return *p
	}
	return otherwise
}

// toolChoice says again what was asked for.
func (a *responseAnswer) toolChoice() any {
	switch box := a.c.tools; {
	case box.mode == "named":
		return map[string]string{"type": "function", "name": box.name}
	case len(box.tools) == 0:
		return "auto"
	default:
		return box.mode
	}
}

// tools says them again, with the fields that clients want to see.
func (a *responseAnswer) tools() []any {
	out := []any{}
	for _, t := range a.req.Tools {
		parameters := t.Parameters
		if !given(parameters) {
			parameters = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		out = append(out, map[string]any{"type": "function", "name": t.Name, "description": t.Description, "parameters": parameters, "strict": t.Strict})
	}
	return out
}
