package serve

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"leolm/chat"
	"leolm/infer"
)

// ollamaRequest are the fields that Ollama's calls for answers share.
type ollamaRequest struct {
	Model       string          `json:"model"`
	Stream      *bool           `json:"stream"` // absent: true
	Format      json.RawMessage `json:"format"` // "json" or a schema
	Options     ollamaOptions   `json:"options"`
	KeepAlive   keepAliveValue  `json:"keep_alive"`
	Think       thinkValue      `json:"think"`
	LogProbs    bool            `json:"logprobs"`
	TopLogProbs *whole          `json:"top_logprobs"`
}

// ollamaOptions are the parameters of a model. Those that would load it anew are ignored: num_ctx, num_gpu, num_thread …
type ollamaOptions struct {
	NumPredict       *whole   `json:"num_predict"`
	NumCtx           *whole   `json:"num_ctx"`
	Temperature      *float64 `json:"temperature"`
	TopK             *whole   `json:"top_k"`
	TopP             *float64 `json:"top_p"`
	MinP             *float64 `json:"min_p"`
	TypicalP         *float64 `json:"typical_p"`
	Seed             *whole   `json:"seed"`
	Stop             texts    `json:"stop"`
	RepeatPenalty    *float64 `json:"repeat_penalty"`
	RepeatLastN      *whole   `json:"repeat_last_n"`
	PresencePenalty  *float64 `json:"presence_penalty"`
	FrequencyPenalty *float64 `json:"frequency_penalty"`
}

// keepAliveValue is how long a model stays loaded: seconds, or a duration such as "5m"; negative is forever.
type keepAliveValue struct {
	set bool
	d   time.Duration
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *keepAliveValue) UnmarshalJSON(data []byte) error {
	*k = keepAliveValue{}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		return nil
	case float64:
		switch {
		case v < 0:
			k.d = -1
		case v > math.MaxInt64/float64(time.Second)/2:
			k.d = math.MaxInt64
		default:
			k.d = time.Duration(v * float64(time.Second))
		}
	case string:
		d, err := time.ParseDuration(v)
		if err != nil {
			return bad("keep_alive", "keep_alive %q is no duration; write seconds as a number, or \"5m\"", v)
		}
		k.d = d
	default:
		return bad("keep_alive", "keep_alive must be a number of seconds or a duration such as \"5m\"")
	}
	k.set = true
	return nil
}

// thinkValue is true, false, or how much to think.
type thinkValue struct {
	wanted *bool
	level  string
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *thinkValue) UnmarshalJSON(data []byte) error {
	*t = thinkValue{}
	if string(data) == "null" {
		return nil
	}
	var on bool
	if json.Unmarshal(data, &on) == nil {
		t.wanted = &on
		return nil
	}
	if json.Unmarshal(data, &t.level) == nil && slices.Contains([]string{"low", "medium", "high", "max"}, t.level) {
		on = true
		t.wanted = &on
		return nil
	}
	return bad("think", "think must be true, false, or one of \"low\", \"medium\", \"high\", \"max\"")
}

// stream reports whether the answer comes in pieces.
func (r *ollamaRequest) stream() bool { return r.Stream == nil || *r.Stream }

// chat is the request in the words of the shared core, with its parameters checked.
func (r *ollamaRequest) chat(s *Server) (*chatRequest, error) {
	o := &r.Options
	c := &chatRequest{LogProbs: r.LogProbs, TopLogProbs: r.TopLogProbs}
	c.sampling = sampling{
		Model: r.Model, Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, MinP: o.MinP, TypicalP: o.TypicalP,
		Seed: o.Seed, Stop: o.Stop, RepeatPenalty: o.RepeatPenalty, RepeatLastN: o.RepeatLastN, PresencePenalty: o.PresencePenalty,
		FrequencyPenalty: o.FrequencyPenalty, Stream: r.stream(), moreStops: true,
	}
	if n := o.NumPredict; n != nil && *n > 0 { // 0 and negative numbers: to the end of the context
		c.MaxTokens = n
	}
	c.formatName = "format"
	switch format := strings.TrimSpace(string(r.Format)); {
	case format == "" || format == "null" || format == `""`:
	case format == `"json"`:
		c.ResponseFormat = &responseFormat{Type: "json_object"}
	case format[0] == '{':
		c.ResponseFormat = &responseFormat{Type: "json_object", Schema: r.Format}
	default:
		return nil, bad("format", `format must be "json" or a JSON schema`)
	}
	e, err := s.models.find(r.Model)
	if err != nil {
		return nil, err
	}
	if n := o.NumCtx; n != nil && int(*n) > e.context {
		s.cfg.Log.Warn("num_ctx is larger than the context, which requests don't change", "num_ctx", int(*n), "context", e.context)
	}
	if c.thinking.wanted = r.Think.wanted; r.Think.level != "" {
		c.Effort = &r.Think.level
	}
	if on := r.Think.wanted; on != nil && *on && e.tags.open == "" {
		return nil, bad("think", "%q does not support thinking", e.name)
	}
	if _, err := c.top(); err != nil {
		return nil, err
	}
	return c, c.check()
}

// ollamaMessage is a message of Ollama's API. In calls, arguments are an object.
type ollamaMessage struct {
	Role       string          `json:"role"`
	Content    string          `json:"content"`
	Thinking   string          `json:"thinking"`
	Images     []string        `json:"images"`
	ToolCalls  []chat.ToolCall `json:"tool_calls"`
	ToolName   string          `json:"tool_name"`
	ToolCallID string          `json:"tool_call_id"`
}

// noImages refuses pictures.
func noImages(images []string) error {
	if len(images) > 0 {
		return bad("images", "this model reads text only: images are not possible")
	}
	return nil
}

// ollamaChat answers POST /api/chat.
func (s *Server) ollamaChat(w http.ResponseWriter, r *http.Request) error {
	start := time.Now()
	var req struct {
		ollamaRequest
		Messages []ollamaMessage `json:"messages"`
		Tools    []tool          `json:"tools"`
	}
	if err := read(r, &req); err != nil {
		return err
	}
	c, err := req.chat(s)
	if err != nil {
		return err
	}
	if c.Tools = req.Tools; len(req.Messages) == 0 {
		if _, err := newToolbox(c.Tools, toolChoice{}); err != nil {
			return err
		}
		return s.ollamaLoad(w, r, &req.ollamaRequest, true)
	}
	for _, m := range req.Messages {
		if err := noImages(m.Images); err != nil {
			return err
		}
		c.Messages = append(c.Messages, wireMessage{
			Role: m.Role, Content: content{text: m.Content, given: true}, Name: m.ToolName, Reasoning: m.Thinking, ToolCalls: m.ToolCalls, ToolCallID: m.ToolCallID,
		})
	}
	return s.ollamaAnswer(w, r, c, &ollamaAnswer{start: start, chat: true, req: &req.ollamaRequest})
}

// ollamaGenerate answers POST /api/generate.
func (s *Server) ollamaGenerate(w http.ResponseWriter, r *http.Request) error {
	start := time.Now()
	var req struct {
		ollamaRequest
		Prompt   string   `json:"prompt"`
		System   string   `json:"system"`
		Suffix   string   `json:"suffix"`
		Template string   `json:"template"`
		Context  tokenIDs `json:"context"`
		Raw      bool     `json:"raw"`
		Images   []string `json:"images"`
	}
	if err := read(r, &req); err != nil {
		return err
	}
	if err := noImages(req.Images); err != nil {
		return err
	}
	switch {
	case req.Suffix != "":
		return bad("suffix", "these models do not insert text: suffix is not possible")
	case req.Template != "":
		return bad("template", "template cannot be set by a request; use raw, or a model with another template")
	case req.Raw && (req.System != "" || len(req.Context) > 0):
		return bad("raw", "raw takes the prompt as it is: system and context are not possible with it")
	}
	c, err := req.chat(s)
	if err != nil {
		return err
	}
	if e, err := s.models.find(req.Model); err != nil {
		return err
	} else if err := req.Context.check("context", e.vocab); err != nil {
		return err
	}
	if req.Prompt == "" {
		return s.ollamaLoad(w, r, &req.ollamaRequest, false)
	}
	c.encode = func(m *model) (*chat.Encoded, error) {
		return m.generated(c, req.System, req.Prompt, req.Context, req.Raw)
	}
	return s.ollamaAnswer(w, r, c, &ollamaAnswer{start: start, req: &req.ollamaRequest})
}

// generated writes the prompt of one question, after the ids of earlier ones.
func (m *model) generated(r *chatRequest, system, question string, before []int32, raw bool) (*chat.Encoded, error) {
	if raw {
		return &chat.Encoded{IDs: m.promptIDs(prompt{text: question}, true), Rendered: &chat.Rendered{}}, nil
	}
	var msgs []chat.Message
	if system != "" {
		msgs = append(msgs, chat.Message{Role: chat.System, Content: system})
	}
	opt, err := r.options()
	if err != nil {
		return nil, err
	}
	enc, err := m.render(append(msgs, chat.Message{Role: chat.User, Content: question}), opt)
	if err != nil || len(before) == 0 {
		return enc, err
	}
	ids := enc.IDs
	if bos := m.Tokenizer.BOS(); len(ids) > 0 && ids[0] == bos {
		ids = ids[1:]
	}
	enc.IDs = append(slices.Clone(before), ids...)
	return enc, nil
}

// ollamaLoad answers a request without a question, which loads the model, or unloads it.
func (s *Server) ollamaLoad(w http.ResponseWriter, r *http.Request, req *ollamaRequest, chat bool) error {
	e, err := s.models.find(req.Model)
	if err != nil {
		return err
	}
	a := &ollamaAnswer{start: time.Now(), chat: chat, req: req, name: req.name(e)}
	reason := "load"
	if req.KeepAlive.set && req.KeepAlive.d == 0 {
		reason = "unload"
	} else {
		_, release, err := s.models.get(r.Context(), e.name)
		if err != nil {
			return err
		}
		defer release()
	}
	s.keep(e, req.KeepAlive)
	chunk := a.chunk(&choice{}, nil)
	chunk["done"], chunk["done_reason"] = true, reason
	writeJSON(w, http.StatusOK, chunk)
	return nil
}

func (s *Server) keep(e *entry, k keepAliveValue) {
	if k.set {
		s.models.keepAlive(e, k.d)
	}
}

// name is what the client called the model, or else what it is called.
func (r *ollamaRequest) name(e *entry) string {
	if r.Model != "" {
		return r.Model
	}
	return tagged(e.name)
}

// tagged is a model's name as Ollama's clients expect it.
func tagged(name string) string {
	if strings.Contains(name[strings.LastIndexByte(name, '/')+1:], ":") {
		return name
	}
	return name + ":latest"
}

// ollamaAnswer is an answer in Ollama's shape.
type ollamaAnswer struct {
	start time.Time
	chat  bool
	req   *ollamaRequest
	name  string
	*chatAnswer
}

// ollamaAnswer answers c.
func (s *Server) ollamaAnswer(w http.ResponseWriter, r *http.Request, c *chatRequest, a *ollamaAnswer) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	conv, err := s.converse(ctx, tenant(r), c)
	if err != nil {
		return err
	}
	defer conv.release()
	e, err := s.models.find(c.Model)
	if err != nil {
		return err
	}
	s.keep(e, a.req.KeepAlive)
	a.name = a.req.name(e)
	var tickets []*infer.Ticket
	if a.chatAnswer, tickets, err = conv.begin(ctx, "", c.LogProbs); err != nil {
		return err
	}
	if c.Stream {
		s.streamOllama(ctx, cancel, s.newStream(w, ndjson), a, tickets)
		return nil
	}
	results, err := a.collect(ctx, cancel, tickets)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, a.last(a.chunk(a.choices[0], a.choices[0].content), results[0]))
	return nil
}

// ollamaCall is a tool call in Ollama's shape.
type ollamaCall struct {
	ID       string `json:"id,omitempty"`
	Function struct {
		Index     int             `json:"index"`
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// chunk is a line of a stream, or the whole answer.
func (a *ollamaAnswer) chunk(ch *choice, lp []tokenLogProb) map[string]any {
	out := map[string]any{"model": a.name, "created_at": time.Now().UTC().Format(time.RFC3339Nano), "done": false}
	if len(lp) > 0 {
		out["logprobs"] = lp
	}
	if !a.chat {
		out["response"] = ch.text
		if ch.reasoning != "" {
			out["thinking"] = ch.reasoning
		}
		return out
	}
	message := map[string]any{"role": "assistant", "content": ch.text}
	if ch.reasoning != "" {
		message["thinking"] = ch.reasoning
	}
	var calls []ollamaCall
	for i, c := range ch.calls {
		oc := ollamaCall{ID: c.ID}
		oc.Function.Index, oc.Function.Name, oc.Function.Arguments = i, c.Function.Name, json.RawMessage(c.Function.Arguments)
		if c.Index != nil {
			oc.Function.Index = *c.Index
		}
		calls = append(calls, oc)
	}
	if len(calls) > 0 {
		message["tool_calls"] = calls
	}
	out["message"] = message
	return out
}

// last turns a chunk into the last one, which has the numbers. Durations are in nanoseconds.
func (a *ollamaAnswer) last(chunk map[string]any, r *infer.Result) map[string]any {
	st := &r.Stats
	chunk["done"], chunk["done_reason"] = true, finish(r)
	chunk["total_duration"] = time.Since(a.start).Nanoseconds()
	chunk["load_duration"] = a.c.loading.Nanoseconds()
	chunk["prompt_eval_count"] = st.PromptTokens
	chunk["prompt_eval_duration"] = st.PrefillTime.Nanoseconds()
	chunk["eval_count"] = st.NewTokens
	chunk["eval_duration"] = st.DecodeTime.Nanoseconds()
	if !a.chat {
		chunk["context"] = append(slices.Clone(a.c.req.Prompt), r.IDs...)
	}
	return chunk
}

// streamOllama writes an answer as lines of JSON.
func (s *Server) streamOllama(ctx context.Context, cancel context.CancelFunc, out *stream, a *ollamaAnswer, tickets []*infer.Ticket) {
	line := func(pieces []delta, lp []tokenLogProb) error {
		if len(pieces) == 0 && len(lp) == 0 {
			return nil
		}
		part := &choice{}
		for _, p := range pieces {
			part.add([]delta{p})
			if p.call != nil && p.call.id != "" {
				part.calls[len(part.calls)-1].Index = &p.call.index
			}
		}
		return out.line(a.chunk(part, lp))
	}
	results, err := follow(ctx, cancel, tickets, func(i int, t infer.Token) error {
		return line(a.take(i, t))
	}, func(i int, r *infer.Result) error {
		return line(a.ended(i, r), nil)
	}, nil)
	if err == nil {
		err = out.line(a.last(a.chunk(&choice{}, nil), results[0]))
	}
	if err != nil {
		s.brokenWith(out, err, func(e *Error) error { return out.line(map[string]string{"error": e.Message}) })
	}
}

// ndjson is the content type of Ollama's streams: a JSON object on each line.
const ndjson = "application/x-ndjson"

// line writes one line of JSON.
func (s *stream) line(v any) error {
	b, err := encode(v)
	if err != nil {
		return err
	}
	return s.raw(append(b, '\n'))
}

// notManaged answers the calls of Ollama's API that change which models there are.
func (s *Server) notManaged(http.ResponseWriter, *http.Request) error {
	return &Error{Status: http.StatusForbidden, Message: "this server answers with the models that it was started with; they cannot be changed by requests"}
}

// isOllama reports whether errors have Ollama's shape at this path.
func isOllama(path string) bool { return strings.HasPrefix(path, "/api/") }
